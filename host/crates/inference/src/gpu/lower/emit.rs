//! The instructions: what wonnx computes rightly, whatever the size, as functions that append nodes.
//!
//! Three facts about wonnx carry most of it. A `Squeeze` passes the buffer of its input on under the shape that the
//! file declares, so it serves as a free reshape ([`Graph::view`]). A declared shape that is smaller than the buffer
//! is a free slice of its beginning; one that is larger reads past the end, which WebGPU makes harmless, and is used
//! only where what comes of it is cut off again ([`Graph::stretch`]). And one `Gather` with constant indices moves
//! data in any way that is known beforehand ([`Graph::gather`]).

mod arrange;
mod matrix;
mod pointwise;
mod windows;

pub(super) use arrange::{offsets, strides};
pub(super) use pointwise::{CHANNELED, aligned};
pub(super) use windows::Window;

use super::graph::{Graph, Id, count};

/// WebGPU's limit of workgroups in one dimension.
const MAX_GROUPS: usize = 65_535;

/// Whether wonnx starts exactly this many threads: beyond the limit it rounds up to whole groups.
pub(super) fn exact(threads: usize) -> bool {
    threads <= MAX_GROUPS || threads.is_multiple_of(threads.div_ceil(MAX_GROUPS))
}

/// The smallest number of threads that is exact and not below.
pub(super) fn next_exact(mut threads: usize) -> usize {
    while !exact(threads) {
        let group = threads.div_ceil(MAX_GROUPS);
        threads = threads.div_ceil(group) * group;
    }
    threads
}

impl Graph {
    /// The same numbers under another shape. If that is smaller, they are the first ones.
    pub(super) fn view(&mut self, x: &str, shape: &[usize]) -> Id {
        if self.shape(x) == shape {
            return x.into();
        }
        if let Some(numbers) = self.constants.get(x) {
            let numbers = numbers.iter().copied().take(count(shape)).collect::<Vec<_>>();
            return self.filled(shape, numbers);
        }
        // Views of views would only make the graph deeper.
        let source = match self.maker(x) {
            Some(node) if node.op_type == "Squeeze" => node.input[0].clone(),
            _ => x.to_owned(),
        };
        if self.shape(&source) == shape {
            return source;
        }
        self.push("Squeeze", &[&source], shape, vec![])
    }

    /// At least as many numbers as there are: those behind the end are anything, and must be cut off later.
    pub(super) fn stretch(&mut self, x: &str, shape: &[usize]) -> Id {
        if let Some(numbers) = self.constants.get(x) {
            let mut numbers = numbers.clone();
            numbers.resize(count(shape), 0.0);
            return self.filled(shape, numbers);
        }
        self.view(x, shape)
    }

    /// [`Graph::constant`] without the filling of a single number.
    fn filled(&mut self, shape: &[usize], numbers: Vec<f32>) -> Id {
        debug_assert!(numbers.len() >= count(shape));
        self.constant(shape, numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_counts_are_raised_until_they_divide() {
        for threads in [1, 65_535, 65_536, 65_537, 802_816, 1_228_800, 3_000_001] {
            let raised = next_exact(threads);
            assert!(exact(raised) && raised >= threads && raised - threads < 300, "{threads} {raised}");
        }
    }
}
