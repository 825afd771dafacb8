//! What a batch will cost, learnt from what batches did cost.

use std::time::Duration;

/// An exponentially weighted moving average, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Average(Option<f64>);

impl Average {
    /// The share of a new value: about the last ten count, so that a warm-up or a change of load is soon forgotten.
    const ALPHA: f64 = 1.0 / 8.0;

    pub(super) fn observe(&mut self, nanos: f64) {
        self.0 = Some(self.0.map_or(nanos, |mean| mean + (nanos - mean) * Self::ALPHA));
    }

    /// Nothing before the first value.
    pub(super) fn nanos(self) -> Option<f64> {
        self.0
    }
}

/// Compute time of one model's batches by their rows.
///
/// A batch of eight may cost eight times as much as one row (a convolution net on a CPU) or hardly more (a GPU), so
/// small batches have an average each; larger ones share one per power of two.
#[derive(Clone, Debug, Default)]
pub(super) struct Estimates([Bucket; BUCKETS]);

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    batch: Average,
    row: Average,
}

/// One to eight rows, then up to 16, 32, … rows; the last takes all the rest.
const BUCKETS: usize = 16;

impl Estimates {
    pub(super) fn observe(&mut self, rows: u64, compute: Duration) {
        let bucket = &mut self.0[index(rows)];
        bucket.batch.observe(compute.as_nanos() as f64);
        bucket.row.observe(compute.as_nanos() as f64 / rows.max(1) as f64);
    }

    /// Nanoseconds that a batch of so many rows will take; nothing if no batch of the model has run yet.
    pub(super) fn nanos(&self, rows: u64) -> Option<i64> {
        let wanted = index(rows);
        if wanted < EXACT
            && let Some(batch) = self.0[wanted].batch.nanos()
        {
            return Some(batch as i64);
        }
        // The nearest size that has run, as if every row cost the same; the smaller one of two that are equally near.
        let near = (0..BUCKETS)
            .flat_map(|distance| [wanted.checked_sub(distance), wanted.checked_add(distance)])
            .flatten()
            .find_map(|i| self.0.get(i)?.row.nanos())?;
        Some((near * rows.max(1) as f64) as i64)
    }
}

/// Sizes with an average of their own.
const EXACT: usize = 8;

fn index(rows: u64) -> usize {
    let rows = rows.max(1);
    if rows <= EXACT as u64 {
        return rows as usize - 1;
    }
    // 9..=16 is the first shared one.
    let doublings = (rows - 1).ilog2() as usize - 3;
    (EXACT + doublings).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn sizes_have_averages_of_their_own() {
        let mut estimates = Estimates::default();
        assert_eq!(estimates.nanos(1), None);
        estimates.observe(1, ms(10));
        estimates.observe(8, ms(20));
        assert_eq!(estimates.nanos(1), Some(10_000_000));
        assert_eq!(estimates.nanos(8), Some(20_000_000));
        // Unknown sizes take the nearest one's cost of a row.
        assert_eq!(estimates.nanos(2), Some(20_000_000));
        assert_eq!(estimates.nanos(16), Some(40_000_000));
    }

    #[test]
    fn an_estimate_follows_a_change() {
        let mut estimates = Estimates::default();
        estimates.observe(1, ms(100));
        for _ in 0..40 {
            estimates.observe(1, ms(10));
        }
        let now = estimates.nanos(1).unwrap_or_default();
        assert!((10_000_000..11_000_000).contains(&now), "{now}");
    }

    #[test]
    fn every_size_has_a_place() {
        assert_eq!([1, 8, 9, 16, 17, 32, 33].map(index), [0, 7, 8, 8, 9, 9, 10]);
        assert_eq!((index(0), index(u64::MAX)), (0, BUCKETS - 1));
    }
}
