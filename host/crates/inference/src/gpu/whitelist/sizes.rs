//! Rules about sizes: which of them wonnx's kernels cover without a gap and without running over.

/// WebGPU's limit of workgroups in one dimension.
const MAX_GROUPS: u64 = 65_535;

/// Kernels without a bounds check start `count` threads; beyond the limit wonnx rounds up to whole groups, and the
/// threads too many write over the last element.
pub(super) fn exact_dispatch(count: u64) -> Result<(), String> {
    if count <= MAX_GROUPS || count.is_multiple_of(count.div_ceil(MAX_GROUPS)) {
        return Ok(());
    }
    Err(format!("its {count} elements do not divide into workgroups"))
}

pub(super) fn count(shape: &[usize]) -> u64 {
    shape.iter().map(|&d| d as u64).product()
}

/// MatMul and Gemm: `m`×`k` by `k`×`n`, `stack` times.
///
/// With one row wonnx walks `k` in steps of four, and starts one thread a column. With more it works in 4×4 blocks
/// (smaller ones for other sizes exist, and are wrong).
pub(super) fn matrices(m: usize, k: usize, n: usize, stack: u64) -> Result<(), String> {
    let of_four = |what: &str, size: usize| match size % 4 {
        0 => Ok(()),
        _ => Err(format!("its {what} is {size}, which is no multiple of 4")),
    };
    of_four("inner size", k)?;
    if m == 1 {
        if n as u64 > MAX_GROUPS {
            return Err(format!("it has {n} columns, and at most {MAX_GROUPS} are computed"));
        }
    } else {
        of_four("number of rows", m)?;
        of_four("number of columns", n)?;
        exact_dispatch((m as u64 / 4) * (n as u64 / 4))?;
    }
    exact_dispatch(stack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dispatches_are_exact_or_refused() {
        assert!(exact_dispatch(65_535).is_ok());
        assert!(exact_dispatch(65_536).is_ok());
        assert!(exact_dispatch(65_537).is_err());
        assert!(exact_dispatch(3 * 65_535).is_ok());
        assert!(exact_dispatch(1 << 20).is_err());
    }

    #[test]
    fn matrices_are_in_fours() {
        assert!(matrices(4, 8, 12, 1).is_ok());
        assert!(matrices(1, 8, 10, 1).is_ok());
        for (m, k, n) in [(2, 4, 4), (4, 6, 4), (4, 4, 10), (1, 10, 4), (1, 4, 70_000)] {
            assert!(matrices(m, k, n, 1).is_err(), "{m} {k} {n}");
        }
    }
}
