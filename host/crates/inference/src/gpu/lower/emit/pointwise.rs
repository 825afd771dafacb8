//! Element by element.

use super::{exact, next_exact};
use crate::gpu::lower::graph::{Graph, Id, count, float, int, ints};

/// The largest size of an axis that is tried when a broadcast does not divide into workgroups.
const STRETCH: usize = 4_096;

/// wonnx starts this many threads for a convolution at most.
pub(in crate::gpu::lower) const CHANNELED: usize = 65_535 * 256;

impl Graph {
    /// An operator of one input. wonnx computes four elements a thread and checks no bounds.
    pub(in crate::gpu::lower) fn map(&mut self, op: &str, x: &str) -> Id {
        self.map_with(op, x, vec![])
    }

    pub(in crate::gpu::lower) fn map_with(
        &mut self,
        op: &str,
        x: &str,
        attributes: Vec<tract_onnx::pb::AttributeProto>,
    ) -> Id {
        let shape = self.shape(x);
        let threads = count(&shape).div_ceil(4);
        if exact(threads) {
            return self.push(op, &[x], &shape, attributes);
        }
        let long = [next_exact(threads) * 4];
        let x = self.stretch(x, &long);
        let y = self.push(op, &[&x], &long, attributes);
        self.view(&y, &shape)
    }

    /// `Elu`, with its factor.
    pub(in crate::gpu::lower) fn elu(&mut self, x: &str, alpha: f32) -> Id {
        self.map_with("Elu", x, vec![float("alpha", alpha)])
    }

    /// An operator of two inputs, which broadcast.
    pub(in crate::gpu::lower) fn binary(&mut self, op: &str, a: &str, b: &str) -> Id {
        let (of_a, of_b) = (self.shape(a), self.shape(b));
        let shape = broadcast(&of_a, &of_b).unwrap_or_default();
        if of_a == shape
            && let Some(y) = self.by_channel(op, a, b)
        {
            return y;
        }
        if of_b == shape
            && matches!(op, "Add" | "Mul")
            && let Some(y) = self.by_channel(op, b, a)
        {
            return y;
        }
        if of_a == shape && of_b == shape {
            let threads = count(&shape).div_ceil(4);
            if exact(threads) {
                return self.push(op, &[a, b], &shape, vec![]);
            }
            let long = [next_exact(threads) * 4];
            let (a, b) = (self.stretch(a, &long), self.stretch(b, &long));
            let y = self.push(op, &[&a, &b], &long, vec![]);
            return self.view(&y, &shape);
        }
        if exact(count(&shape)) {
            return self.push(op, &[a, b], &shape, vec![]);
        }
        // One thread an element, too many: raise the outermost axis (of neighbours that broadcast alike, as one).
        let (mut of_a, mut of_b, mut merged) = merge(&of_a, &of_b, &shape);
        let rest = count(&merged[1..]);
        let Some(outer) = (merged[0]..merged[0] + STRETCH).find(|&n| exact(n * rest)) else {
            return self.push(op, &[a, b], &shape, vec![]);
        };
        for dims in [&mut of_a, &mut of_b] {
            if dims[0] == merged[0] {
                dims[0] = outer;
            }
        }
        merged[0] = outer;
        let (a, b) = (self.stretch(a, &of_a), self.stretch(b, &of_b));
        let y = self.push(op, &[&a, &b], &merged, vec![]);
        self.view(&y, &shape)
    }

    /// Along the rows of a matrix; one thread a row.
    pub(in crate::gpu::lower) fn softmax(&mut self, x: &str) -> Id {
        let shape = self.shape(x);
        let long = [next_exact(shape[0]), shape[1]];
        let x = self.stretch(x, &long);
        let y = self.push("Softmax", &[&x], &long, vec![int("axis", 1)]);
        self.view(&y, &shape)
    }

    pub(in crate::gpu::lower) fn add(&mut self, a: &str, b: &str) -> Id {
        self.binary("Add", a, b)
    }

    pub(in crate::gpu::lower) fn sub(&mut self, a: &str, b: &str) -> Id {
        self.binary("Sub", a, b)
    }

    pub(in crate::gpu::lower) fn mul(&mut self, a: &str, b: &str) -> Id {
        self.binary("Mul", a, b)
    }

    pub(in crate::gpu::lower) fn div(&mut self, a: &str, b: &str) -> Id {
        self.binary("Div", a, b)
    }

    /// `x * factor + term`.
    pub(in crate::gpu::lower) fn affine(&mut self, x: &str, factor: f32, term: f32) -> Id {
        let shape = self.shape(x);
        if factor == 1.0 && term == 0.0 {
            return x.into();
        }
        if let Some(numbers) = self.constants.get(x) {
            let numbers = numbers.iter().map(|n| n * factor + term).collect();
            return self.constant(&shape, numbers);
        }
        let n = count(&shape);
        if n <= CHANNELED {
            let row = self.view(x, &[1, 1, 1, n]);
            let y = self.channels(&row, vec![factor], vec![term]);
            return self.view(&y, &shape);
        }
        let mut y: Id = x.into();
        for (op, number, nothing) in [("Mul", factor, 1.0), ("Add", term, 0.0)] {
            if number != nothing {
                let number = self.constant(&vec![1; shape.len().min(1)], vec![number]);
                y = self.binary(op, &y, &number);
            }
        }
        y
    }

    /// `x` and a constant of one number, or of one along one axis. wonnx broadcasts with one thread a workgroup (up
    /// to 65,535 numbers), of which devices run few at once. A convolution of 1×1 does it in workgroups of 256, and gets
    /// the same numbers.
    fn by_channel(&mut self, op: &str, x: &str, constant: &str) -> Option<Id> {
        let shape = self.shape(x);
        let along = aligned(&self.shape(constant), shape.len());
        let numbers = self.constants.get(constant)?.get(..count(&along))?.to_vec();
        let mut long = (0..along.len()).filter(|&axis| along[axis] > 1);
        let (axis, rest) = (long.next(), long.next());
        if rest.is_some() || along.len() != shape.len() || self.constants.contains_key(x) || count(&shape) > CHANNELED {
            return None;
        }
        let (before, c, behind) = match axis {
            Some(axis) => (count(&shape[..axis]), shape[axis], count(&shape[axis + 1..])),
            None => (1, 1, count(&shape)),
        };
        // The number of a channel's group is computed from their product, in 32 bits.
        if c > 65_535 {
            return None;
        }
        let (factors, terms) = match op {
            "Add" => (vec![1.0; c], numbers),
            "Sub" => (vec![1.0; c], numbers.iter().map(|n| -n).collect()),
            "Mul" => (numbers, vec![0.0; c]),
            _ => return None,
        };
        let images = self.view(x, &[before, c, 1, behind]);
        let y = self.channels(&images, factors, terms);
        Some(self.view(&y, &shape))
    }

    /// `x * factor + term`, each for a channel of the images [N, C, H, W].
    pub(in crate::gpu::lower) fn channels(&mut self, images: &str, factors: Vec<f32>, terms: Vec<f32>) -> Id {
        let shape = self.shape(images);
        let c = shape[1];
        let (w, b) = (self.constant(&[c, 1, 1, 1], factors), self.constant(&[c], terms));
        let attributes = vec![ints("kernel_shape", &[1, 1]), int("group", c as i64)];
        self.push("Conv", &[images, &w, &b], &shape, attributes)
    }

    /// 1 where the value is above 0, else 0.
    pub(in crate::gpu::lower) fn positive(&mut self, x: &str) -> Id {
        let sign = self.map("Sign", x);
        self.map("Relu", &sign)
    }

    /// 1 − x: the opposite of a truth value.
    pub(in crate::gpu::lower) fn not(&mut self, x: &str) -> Id {
        self.affine(x, -1.0, 1.0)
    }

    /// The larger, or the smaller, of values of one shape: an exact choice, for infinities as well. wonnx has none,
    /// but it can reduce a stack of them.
    pub(in crate::gpu::lower) fn extreme(&mut self, largest: bool, xs: &[Id], shape: &[usize]) -> Id {
        let n = count(shape);
        let rows: Vec<Id> = xs
            .iter()
            .map(|x| {
                let x = self.expand(x, shape);
                self.view(&x, &[1, n])
            })
            .collect();
        let stack = self.concat(&rows, 0);
        let op = if largest { "ReduceMax" } else { "ReduceMin" };
        let y = self.reduce(op, &stack, &[0]);
        self.view(&y, shape)
    }
}

/// The shape of a broadcast; nothing if the two do not.
pub(in crate::gpu::lower) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let (a, b) = (aligned(a, rank), aligned(b, rank));
    a.iter()
        .zip(&b)
        .map(|(&a, &b)| match (a, b) {
            (a, b) if a == b => Some(a),
            (1, other) | (other, 1) => Some(other),
            _ => None,
        })
        .collect()
}

/// The shape with ones in front.
pub(in crate::gpu::lower) fn aligned(shape: &[usize], rank: usize) -> Vec<usize> {
    let mut dims = vec![1; rank.saturating_sub(shape.len())];
    dims.extend(shape);
    dims
}

/// Both shapes and the result's with neighbouring axes that broadcast alike made one. At least one axis.
fn merge(a: &[usize], b: &[usize], out: &[usize]) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let (a, b) = (aligned(a, out.len()), aligned(b, out.len()));
    let (mut of_a, mut of_b, mut merged) = (vec![], vec![], vec![]);
    let mut last = None;
    for ((&a, &b), &n) in a.iter().zip(&b).zip(out) {
        if n == 1 {
            continue;
        }
        let kind = (a == n, b == n);
        if last == Some(kind) {
            for (dims, size) in [(&mut of_a, a), (&mut of_b, b), (&mut merged, n)] {
                if let Some(dim) = dims.last_mut() {
                    *dim *= size;
                }
            }
        } else {
            of_a.push(a);
            of_b.push(b);
            merged.push(n);
        }
        last = Some(kind);
    }
    if merged.is_empty() {
        return (vec![1], vec![1], vec![1]);
    }
    (of_a, of_b, merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_that_broadcast_alike_are_one() {
        let (a, b, out) = merge(&[1, 64, 112, 112], &[64, 1, 1], &[1, 64, 112, 112]);
        assert_eq!((a, b, out), (vec![64, 12_544], vec![64, 1], vec![64, 12_544]));
        assert_eq!(broadcast(&[3, 1], &[4]), Some(vec![3, 4]));
        assert_eq!(broadcast(&[3], &[4]), None);
    }
}
