//! Moving data: transposing, joining, choosing, repeating, padding, and reducing axes (which needs them moved).

use super::pointwise::aligned;
use super::{exact, next_exact};
use crate::gpu::lower::graph::{Graph, Id, count, int, ints};

/// What a shader can read at once: eight buffers, less the one it writes.
const JOINED: usize = 7;

/// Up to this many rows are chosen one by one in the middle of a tensor; for more, the axis is moved to the front.
const ROWS: usize = 1 << 20;

impl Graph {
    pub(in crate::gpu::lower) fn transpose(&mut self, x: &str, perm: &[usize]) -> Id {
        let shape = self.shape(x);
        let out: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
        let moved: Vec<usize> = perm.iter().copied().filter(|&p| shape[p] != 1).collect();
        if moved.is_sorted() {
            return self.view(x, &out);
        }
        if let Some(numbers) = self.constants.get(x) {
            let strides = strides(&shape);
            let strides: Vec<usize> = perm.iter().map(|&p| strides[p]).collect();
            let numbers = offsets(&out, &strides).into_iter().map(|i| numbers[i]).collect();
            return self.constant(&out, numbers);
        }
        self.push("Transpose", &[x], &out, vec![ints("perm", perm)])
    }

    /// Copies a value: what only passes another's buffer on cannot be read back.
    pub(in crate::gpu::lower) fn copy(&mut self, x: &str) -> Id {
        let n = count(&self.shape(x));
        let flat = self.view(x, &[n]);
        self.push("Transpose", &[&flat], &[n], vec![ints("perm", &[0])])
    }

    /// Joins values along an axis. wonnx lays them one behind the other, which is right for the outermost.
    pub(in crate::gpu::lower) fn concat(&mut self, xs: &[Id], axis: usize) -> Id {
        let xs: Vec<Id> = xs.iter().filter(|x| !self.shape(x).contains(&0)).cloned().collect();
        if let [one] = &xs[..] {
            return one.clone();
        }
        let shapes: Vec<Vec<usize>> = xs.iter().map(|x| self.shape(x)).collect();
        let mut out = shapes[0].clone();
        out[axis] = shapes.iter().map(|s| s[axis]).sum();
        let (before, behind) = (count(&out[..axis]), count(&out[axis + 1..]));
        let constants: Option<Vec<&Vec<f32>>> = xs.iter().map(|x| self.constants.get(x)).collect();
        if let Some(constants) = constants {
            let mut numbers = Vec::with_capacity(count(&out));
            for outer in 0..before {
                for (constant, shape) in constants.iter().zip(&shapes) {
                    let row = shape[axis] * behind;
                    numbers.extend_from_slice(&constant[outer * row..(outer + 1) * row]);
                }
            }
            return self.constant(&out, numbers);
        }
        if before == 1 {
            return self.join(xs, &out, axis);
        }
        let moved: Vec<Id> = (xs.iter().zip(&shapes))
            .map(|(x, shape)| {
                let cube = self.view(x, &[before, shape[axis], behind]);
                self.transpose(&cube, &[1, 0, 2])
            })
            .collect();
        let joined = self.join(moved, &[out[axis], before, behind], 0);
        let back = self.transpose(&joined, &[1, 0, 2]);
        self.view(&back, &out)
    }

    fn join(&mut self, mut xs: Vec<Id>, out: &[usize], axis: usize) -> Id {
        while xs.len() > 1 {
            let last = xs.len() <= JOINED;
            let part: Vec<Id> = xs.drain(..xs.len().min(JOINED)).collect();
            let mut shape = out.to_vec();
            shape[axis] = part.iter().map(|x| self.shape(x)[axis]).sum();
            let inputs: Vec<&str> = part.iter().map(String::as_str).collect();
            let joined = self.push("Concat", &inputs, &shape, vec![int("axis", axis as i64)]);
            if last {
                return joined;
            }
            xs.insert(0, joined);
        }
        xs.pop().unwrap_or_default()
    }

    /// Rows of `row` numbers, chosen by constant indices: as [number of indices, row].
    pub(in crate::gpu::lower) fn gather(&mut self, x: &str, row: usize, indices: &[usize]) -> Id {
        if let Some(numbers) = self.constants.get(x) {
            let numbers = indices.iter().flat_map(|&i| numbers[i * row..(i + 1) * row].to_vec()).collect();
            return self.constant(&[indices.len(), row], numbers);
        }
        if indices.iter().copied().eq(0..indices.len()) {
            return self.view(x, &[indices.len(), row]);
        }
        // A row is copied by as many threads as it has chunks, with nothing to stop those too many.
        let chunks =
            |row: usize| if row.is_multiple_of(4) { row / 4 } else { row / (1 + row.is_multiple_of(2) as usize) };
        let parts = (1..=row).find(|&p| row.is_multiple_of(p) && chunks(row / p) <= 65_535).unwrap_or(1);
        let mut all: Vec<i32> = indices.iter().flat_map(|&i| (0..parts).map(move |p| (i * parts + p) as i32)).collect();
        let (chosen, part) = (all.len(), row / parts);
        all.resize(next_exact(chosen), 0);
        let threads = all.len();
        let rows = count(&self.shape(x)) / part;
        let rows = self.view(x, &[rows, part]);
        let index = self.index(all);
        let y = self.push("Gather", &[&rows, &index], &[threads, part], vec![int("axis", 0)]);
        self.view(&y, &[indices.len(), row])
    }

    /// Chooses along an axis, as numpy's `take`.
    pub(in crate::gpu::lower) fn take(&mut self, x: &str, axis: usize, indices: &[usize]) -> Id {
        let shape = self.shape(x);
        let (before, size, behind) = (count(&shape[..axis]), shape[axis], count(&shape[axis + 1..]));
        let mut out = shape.clone();
        out[axis] = indices.len();
        if indices.iter().copied().eq(0..size) {
            return x.into();
        }
        let y = if before * indices.len() <= ROWS || self.constants.contains_key(x) {
            let rows: Vec<usize> = (0..before).flat_map(|b| indices.iter().map(move |&i| b * size + i)).collect();
            self.gather(x, behind, &rows)
        } else {
            let cube = self.view(x, &[before, size, behind]);
            let front = self.transpose(&cube, &[1, 0, 2]);
            let chosen = self.gather(&front, before * behind, indices);
            let chosen = self.view(&chosen, &[indices.len(), before, behind]);
            self.transpose(&chosen, &[1, 0, 2])
        };
        self.view(&y, &out)
    }

    /// Repeats axes of size 1, and adds them in front.
    pub(in crate::gpu::lower) fn expand(&mut self, x: &str, shape: &[usize]) -> Id {
        let own = aligned(&self.shape(x), shape.len());
        let mut y = self.view(x, &own);
        for (axis, (&from, &to)) in own.iter().zip(shape).enumerate().rev() {
            if from != to {
                y = self.take(&y, axis, &vec![0; to]);
            }
        }
        y
    }

    /// Appends to an axis until it has this size.
    pub(in crate::gpu::lower) fn pad_to(&mut self, x: &str, axis: usize, size: usize) -> Id {
        let more = size.saturating_sub(self.shape(x).get(axis).copied().unwrap_or(0));
        self.pad(x, axis, 0, more, 0.0)
    }

    /// Puts a number before and behind along an axis.
    pub(in crate::gpu::lower) fn pad(&mut self, x: &str, axis: usize, front: usize, back: usize, with: f32) -> Id {
        if front + back == 0 {
            return x.into();
        }
        let shape = self.shape(x);
        let (before, size, behind) = (count(&shape[..axis]), shape[axis], count(&shape[axis + 1..]));
        let mut out = shape.clone();
        out[axis] += front + back;
        if before == 1 {
            let ends = [front, back].map(|size| {
                let mut dims = shape.clone();
                dims[axis] = size;
                self.constant(&dims, vec![with; count(&dims)])
            });
            let [front, back] = ends;
            return self.concat(&[front, x.into(), back], axis);
        }
        // One row of the number behind everything, which the indices point to.
        let rows = self.view(x, &[before * size, behind]);
        let row = self.constant(&[1, behind], vec![with]);
        let all = self.concat(&[rows, row], 0);
        let index = |b: usize, i: usize| {
            let inside = i >= front && i < front + size;
            if inside { b * size + i - front } else { before * size }
        };
        let rows: Vec<usize> = (0..before).flat_map(|b| (0..out[axis]).map(move |i| index(b, i))).collect();
        let y = self.gather(&all, behind, &rows);
        self.view(&y, &out)
    }

    /// Reduces axes, and drops them. Its kernel is right for one axis kept and one reduced, in this order (and for
    /// the other order as well, where the axes lie so).
    pub(in crate::gpu::lower) fn reduce(&mut self, op: &str, x: &str, axes: &[usize]) -> Id {
        let shape = self.shape(x);
        let kept: Vec<usize> = (0..shape.len()).filter(|a| !axes.contains(a)).collect();
        let out: Vec<usize> = kept.iter().map(|&a| shape[a]).collect();
        let (k, r) = (count(&out), count(&axes.iter().map(|&a| shape[a]).collect::<Vec<_>>()));
        let y = if axes.iter().enumerate().all(|(i, &a)| i == a) && k > 1 {
            let flat = self.view(x, &[r, k]);
            self.push(op, &[&flat], &[k], vec![ints("axes", &[0]), int("keepdims", 0)])
        } else {
            let perm: Vec<usize> = kept.iter().chain(axes).copied().collect();
            let moved = self.transpose(x, &perm);
            let flat = self.view(&moved, &[k, r]);
            self.rows(op, flat, k, r)
        };
        self.view(&y, &out)
    }

    /// One thread reduces a row: long ones are halved into two stages, which is quicker and sums more exactly.
    fn rows(&mut self, op: &str, mut flat: Id, k: usize, mut r: usize) -> Id {
        let again = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"].contains(&op);
        let part = (64..=r / 16).rev().find(|&p| p * p <= r * 4 && r.is_multiple_of(p));
        if let Some(part) = part.filter(|part| again && r > 4_096 && exact(k * (r / part))) {
            let split = self.view(&flat, &[k * (r / part), part]);
            let parts = self.push(op, &[&split], &[k * (r / part)], vec![ints("axes", &[1]), int("keepdims", 0)]);
            r /= part;
            flat = self.view(&parts, &[k, r]);
        }
        self.push(op, &[&flat], &[k], vec![ints("axes", &[1]), int("keepdims", 0)])
    }
}

/// Elements from one index to the next, along every axis.
pub(in crate::gpu::lower) fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| count(&shape[axis + 1..])).collect()
}

/// Where the elements of a tensor of this shape lie, at these strides.
pub(in crate::gpu::lower) fn offsets(shape: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut offsets = vec![0];
    for (&size, &stride) in shape.iter().zip(strides) {
        offsets = offsets.iter().flat_map(|&o| (0..size).map(move |i| o + i * stride)).collect();
    }
    offsets
}
