//! The canary: the same seeded random inputs through the GPU and the CPU, and the race between the two.

use std::time::Instant;

use aimass_core::{ElementType, Port, Tensor};

use super::convert::numbers;
use super::lower::Feed;
use super::shaped::First;
use crate::backend::{Loaded, RunError};
use crate::loaded::Race;

/// The largest relative difference that passes. Two right f32 engines that sum in different orders stay near 1e-5.
pub(super) const TOLERANCE: f64 = 1e-3;

/// Rounds, and how wide the inputs of each are spread: a small, a usual and a wide range reach different branches of
/// activations, and the sides of clamps.
const ROUNDS: [f32; 4] = [0.1, 1.0, 1.0, 8.0];

/// An integer input that may hold this much is no index.
const WIDE: f64 = 1e6;

/// Timed runs of each engine; the median counts, the first ones of the comparison have warmed both up.
const LAPS: usize = 5;

pub(super) struct Verdict {
    /// The largest relative difference that was seen; infinite if one engine gave a number where the other did not.
    pub(super) error: f64,
    pub(super) race: Race,
}

/// Why the two could not be compared.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoVerdict {
    #[error("the canary: the GPU engine failed: {0}")]
    Gpu(RunError),
    #[error("the canary: the CPU engine failed: {0}")]
    Cpu(RunError),
    #[error("the canary: {0}")]
    Inputs(String),
    #[error("the canary: random inputs do not move the model's output, so the engines cannot be compared")]
    Unmoved,
}

/// Runs both on the same inputs, compares all outputs, and times them.
pub(super) fn compare(gpu: &mut dyn Loaded, cpu: &mut dyn Loaded, first: &First) -> Result<Verdict, NoVerdict> {
    let (error, last) = rounds(gpu, cpu, first)?;
    let race = Race {
        cpu_ms: median_ms(|| cpu.run(last.clone())).map_err(NoVerdict::Cpu)?,
        gpu_ms: median_ms(|| gpu.run(last.clone())).map_err(NoVerdict::Gpu)?,
    };
    Ok(Verdict { error, race })
}

/// The same without the race.
pub(super) fn error(gpu: &mut dyn Loaded, cpu: &mut dyn Loaded, first: &First) -> Result<f64, NoVerdict> {
    rounds(gpu, cpu, first).map(|(error, _)| error)
}

/// The reason of a model that does not pass.
pub(super) fn differs(error: f64) -> String {
    format!(
        "the canary: the GPU's answers differ from the CPU's by a relative {error:.1e}, and {TOLERANCE:.0e} is allowed"
    )
}

fn rounds(gpu: &mut dyn Loaded, cpu: &mut dyn Loaded, first: &First) -> Result<(f64, Vec<Tensor>), NoVerdict> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut error = 0f64;
    let mut before: Option<Vec<Tensor>> = None;
    let mut moved = false;
    let mut last = Vec::new();
    for spread in ROUNDS {
        let inputs = inputs(first, spread, &mut random)?;
        let ours = cpu.run(inputs.clone()).map_err(NoVerdict::Cpu)?;
        let theirs = gpu.run(inputs.clone()).map_err(NoVerdict::Gpu)?;
        if ours.len() != theirs.len() {
            return Err(NoVerdict::Inputs("the engines give different outputs".into()));
        }
        for ((ours, theirs), &scale) in ours.iter().zip(&theirs).zip(&first.scales) {
            if ours.shape() != theirs.shape() || ours.element_type() != theirs.element_type() {
                error = f64::INFINITY;
            }
            let read = |t: &Tensor| numbers(t).map_err(NoVerdict::Inputs);
            error = error.max(difference(&read(ours)?, &read(theirs)?, scale));
        }
        moved |= before.as_ref().is_some_and(|before| *before != ours);
        before.get_or_insert(ours);
        last = inputs;
    }
    if moved { Ok((error, last)) } else { Err(NoVerdict::Unmoved) }
}

fn inputs(first: &First, spread: f32, random: &mut Random) -> Result<Vec<Tensor>, NoVerdict> {
    let ports = first.signature.inputs.iter().zip(&first.feeds);
    ports.map(|(port, feed)| input(port, feed, spread, random).map_err(NoVerdict::Inputs)).collect()
}

fn input(port: &Port, feed: &Feed, spread: f32, random: &mut Random) -> Result<Tensor, String> {
    let shape = port.shape.iter().map(|&d| u64::try_from(d)).collect::<Result<Vec<u64>, _>>();
    let shape = shape.map_err(|_| format!("`{}` has an open dimension", port.name))?;
    let count = aimass_core::tensor::element_count(&shape).map_err(|e| e.to_string())?;
    // Integers are indices, as far as what they may hold is known, or else flags.
    let indices = feed.range.map(|(_, high)| if high < WIDE { high.max(0.0) as u32 + 1 } else { 2 });
    let draw = |random: &mut Random| match indices {
        Some(indices) => ((random.next() + 1.0) / 2.0 * indices as f32).min(indices as f32 - 1.0).floor(),
        None => random.next() * spread,
    };
    let numbers: Vec<f32> = (0..count).map(|_| draw(random)).collect();
    if port.element_type == ElementType::Fp32 {
        return Tensor::from_elements(port.name.clone(), shape, &numbers).map_err(|e| e.to_string());
    }
    super::convert::from_device(port, &numbers)
}

/// The largest difference between elements, each in units of the right element or of the tensor's root mean square,
/// whichever is larger: what is tiny beside its neighbours is not held to its own size. `scale` is the least of these
/// units. Infinite if the lengths differ, or one side is no number, or infinite, where the other is not.
fn difference(right: &[f64], other: &[f64], scale: f64) -> f64 {
    if right.len() != other.len() {
        return f64::INFINITY;
    }
    let finite = || right.iter().copied().filter(|x| x.is_finite());
    let square = finite().map(|x| x * x).sum::<f64>() / finite().count().max(1) as f64;
    let floor = square.sqrt().max(scale);
    let each = |(&r, &o): (&f64, &f64)| {
        if r == o || (r.is_nan() && o.is_nan()) {
            return 0.0;
        }
        let relative = (r - o).abs() / r.abs().max(floor);
        if relative.is_finite() { relative } else { f64::INFINITY }
    };
    right.iter().zip(other).map(each).fold(0.0, f64::max)
}

fn median_ms(mut run: impl FnMut() -> Result<Vec<Tensor>, RunError>) -> Result<f64, RunError> {
    let mut laps = [0f64; LAPS];
    for lap in &mut laps {
        let start = Instant::now();
        run()?;
        *lap = start.elapsed().as_secs_f64() * 1e3;
    }
    laps.sort_by(f64::total_cmp);
    Ok(laps[LAPS / 2])
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers at every load, so that a verdict can be repeated.
struct Random(u64);

impl Random {
    /// Uniform in [−1, 1).
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper 24 bits: an f32 holds no more.
        (z >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_relative_and_never_hidden() {
        assert_eq!(difference(&[1.0, 2.0], &[1.0, 2.0], 0.0), 0.0);
        assert!(difference(&[1.0, 100.0], &[1.0, 100.05], 0.0) < TOLERANCE);
        assert!(difference(&[1.0, 100.0], &[1.0, 101.0], 0.0) > TOLERANCE);
        assert_eq!(difference(&[1.0], &[f64::NAN], 0.0), f64::INFINITY);
        assert_eq!(difference(&[f64::INFINITY], &[1.0], 0.0), f64::INFINITY);
        assert_eq!(difference(&[f64::NAN], &[f64::NAN], 0.0), 0.0);
        assert_eq!(difference(&[0.0], &[1e-9], 0.0), f64::INFINITY);
        assert_eq!(difference(&[1.0], &[1.0, 1.0], 0.0), f64::INFINITY);
        // Near 0 the reference's own error is not held against the GPU, and a wrong answer is.
        assert!(difference(&[4.8e-7], &[1e-13], 0.0) > 0.99);
        assert!(difference(&[4.8e-7], &[1e-13], 1e-3) < TOLERANCE);
        assert!(difference(&[4.8e-7], &[2e-6], 1e-3) > TOLERANCE);
    }

    #[test]
    fn random_numbers_are_repeatable_and_spread() {
        let draw = || (0..1000).scan(Random(7), |r, _| Some(r.next())).collect::<Vec<_>>();
        let numbers = draw();
        assert_eq!(numbers, draw());
        assert!(numbers.iter().all(|x| (-1.0..1.0).contains(x)));
        assert!((numbers.iter().sum::<f32>() / 1000.0).abs() < 0.1);
    }
}
