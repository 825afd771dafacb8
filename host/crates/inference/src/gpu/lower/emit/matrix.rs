//! Products of matrices. wonnx multiplies blocks of 4×4 (its smaller blocks are wrong), and single rows in steps of 4.

use super::exact;
use super::pointwise::broadcast;
use crate::gpu::lower::graph::{Graph, Id, count};

/// wonnx starts one thread a column for a single row, and at most this many.
const COLUMNS: usize = 65_535;

impl Graph {
    /// numpy's `matmul` of tensors with at least two axes.
    pub(in crate::gpu::lower) fn matmul(&mut self, a: &str, b: &str) -> Result<Id, String> {
        let (of_a, of_b) = (self.shape(a), self.shape(b));
        let ([stack_a @ .., m, k], [stack_b @ .., _, n]) = (&of_a[..], &of_b[..]) else {
            return Err("its inputs are no matrices".into());
        };
        let (m, k, n) = (*m, *k, *n);
        let stack = broadcast(stack_a, stack_b).ok_or("its stacks do not broadcast")?;
        let mut out = stack.clone();
        out.extend([m, n]);
        let y = if count(stack_b) == 1 {
            let rows = count(&stack) * m;
            let (a, b) = (self.view(a, &[rows, k]), self.view(b, &[k, n]));
            self.product(&a, &b, rows, k, n)
        } else {
            let full = |dims: [usize; 2]| stack.iter().copied().chain(dims).collect::<Vec<_>>();
            let (a, b) = (self.expand(a, &full([m, k])), self.expand(b, &full([k, n])));
            self.stacked(&a, &b, count(&stack), [m, k, n])
        };
        Ok(self.view(&y, &out))
    }

    /// `a` [m, k] by `b` [k, n].
    fn product(&mut self, a: &str, b: &str, m: usize, k: usize, n: usize) -> Id {
        let k4 = k.next_multiple_of(4);
        let (a, b) = (self.pad_to(a, 1, k4), self.pad_to(b, 0, k4));
        if m == 1 && n <= COLUMNS {
            return self.push("MatMul", &[&a, &b], &[1, n], vec![]);
        }
        let n4 = n.next_multiple_of(4);
        let b = self.pad_to(&b, 1, n4);
        let mut m4 = m.next_multiple_of(4);
        while !exact((m4 / 4) * (n4 / 4)) && m4 < 2 * m + 1_024 {
            m4 += 4;
        }
        // Rows behind the last are anything, and their products are cut off.
        let a = self.stretch(&a, &[m4, k4]);
        let y = self.push("MatMul", &[&a, &b], &[m4, n4], vec![]);
        let y = self.view(&y, &[m, n4]);
        self.take(&y, 1, &(0..n).collect::<Vec<_>>())
    }

    fn stacked(&mut self, a: &str, b: &str, stack: usize, [m, k, n]: [usize; 3]) -> Id {
        let [m4, k4, n4] = [m, k, n].map(|size| size.next_multiple_of(4));
        let (a, b) = (self.view(a, &[stack, m, k]), self.view(b, &[stack, k, n]));
        let (a, b) = (self.pad_to(&a, 2, k4), self.pad_to(&b, 1, k4));
        let (a, b) = (self.pad_to(&a, 1, m4), self.pad_to(&b, 2, n4));
        let y = self.push("MatMul", &[&a, &b], &[stack, m4, n4], vec![]);
        let y = self.take(&y, 1, &(0..m).collect::<Vec<_>>());
        self.take(&y, 2, &(0..n).collect::<Vec<_>>())
    }
}
