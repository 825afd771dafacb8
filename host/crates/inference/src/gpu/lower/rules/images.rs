//! Convolutions and pools: of images, of signals (images of one row), and pools of volumes.

use super::super::context::Context;
use super::super::emit::Window;
use super::super::graph::{Id, count};
use super::super::op::Op;

/// The geometry of a node over its axes of space.
struct Space {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    before: Vec<usize>,
    after: Vec<usize>,
}

impl Space {
    /// `size` and `out` without the two first axes.
    fn read(op: &Op<'_>, kernel: Vec<usize>, size: &[usize], out: &[usize]) -> Result<Self, String> {
        let rank = kernel.len();
        if rank != size.len() || rank != out.len() || rank == 0 || rank > 3 {
            return Err("it has no one, two or three axes of space".into());
        }
        let read = |name: &str, default: usize| -> Result<Vec<usize>, String> {
            let all = op.ints(name).map_or_else(|| vec![default as i64; rank], <[i64]>::to_vec);
            all.iter().map(|&n| usize::try_from(n).map_err(|_| format!("its {name} are below 0"))).collect()
        };
        let (strides, dilations) = (read("strides", 1)?, read("dilations", 1)?);
        let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
        match op.text("auto_pad", "NOTSET") {
            "NOTSET" => {
                if let Some(pads) = op.ints("pads").filter(|p| p.len() == 2 * rank) {
                    for axis in 0..rank {
                        before[axis] = usize::try_from(pads[axis]).map_err(|_| "its pads are below 0")?;
                        after[axis] = usize::try_from(pads[axis + rank]).map_err(|_| "its pads are below 0")?;
                    }
                }
            }
            "VALID" => {}
            same @ ("SAME_UPPER" | "SAME_LOWER") => {
                for axis in 0..rank {
                    let covered = (out[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1;
                    let missing = covered.saturating_sub(size[axis]);
                    before[axis] = if same == "SAME_UPPER" { missing / 2 } else { missing.div_ceil(2) };
                    after[axis] = missing - before[axis];
                }
            }
            other => return Err(format!("its auto_pad is {other}")),
        }
        if strides.len() != rank || dilations.len() != rank || strides.contains(&0) {
            return Err("its attributes do not fit its kernel".into());
        }
        Ok(Self { kernel, strides, dilations, before, after })
    }

    /// Two axes of it as a window; a missing one is of size 1.
    fn window(&self, out: &[usize]) -> Window {
        let pair = |all: &[usize], alone: usize| if let [one] = all { [alone, *one] } else { [all[0], all[1]] };
        Window {
            kernel: pair(&self.kernel, 1),
            strides: pair(&self.strides, 1),
            dilations: pair(&self.dilations, 1),
            before: pair(&self.before, 0),
            out: pair(out, 1),
        }
    }
}

/// [N, C, L] as [N, C, 1, L].
fn flat(shape: &[usize]) -> Vec<usize> {
    let mut dims = shape.to_vec();
    if dims.len() == 3 {
        dims.insert(2, 1);
    }
    dims
}

pub(super) fn conv(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (shape, out, of_weights) = (c.shape(op, 0)?, c.out(0)?, c.shape(op, 1)?);
    if shape.len() != 3 && shape.len() != 4 {
        return Err("it has no one or two axes of space".into());
    }
    let space = Space::read(op, of_weights[2..].to_vec(), &shape[2..], &out[2..])?;
    let weights = c.floats(op, 1)?.ok_or("it has no weights")?;
    let bias = c.floats(op, 2)?;
    let x = c.x0(op)?;
    let x = c.g.view(&x, &flat(&shape));
    let groups = op.int("group", 1).max(1) as usize;
    Ok(c.g.conv(&x, (flat(&of_weights), weights), bias, space.window(&out[2..]), groups))
}

/// Zeros between the numbers, and a convolution with the kernel turned around.
pub(super) fn conv_transpose(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (shape, out, of_weights) = (flat(&c.shape(op, 0)?), flat(&c.out(0)?), flat(&c.shape(op, 1)?));
    let ([n, channels, h, w], [_, _, kh, kw]) = (&shape[..], &of_weights[..]) else {
        return Err("it has no one or two axes of space".into());
    };
    let (n, channels, h, w, kh, kw) = (*n, *channels, *h, *w, *kh, *kw);
    let rank = c.shape(op, 0)?.len() - 2;
    let listed = |name: &str, default: usize| {
        let all: Vec<usize> =
            op.ints(name).map_or_else(|| vec![default; rank], |v| v.iter().map(|&n| n.max(0) as usize).collect());
        if rank == 1 { [default, all[0]] } else { [all[0], all[1]] }
    };
    let (strides, dilations) = (listed("strides", 1), listed("dilations", 1));
    let kernel = [kh, kw];
    let extra = if rank == 1 { [0, listed("output_padding", 0)[1]] } else { listed("output_padding", 0) };
    // What is cut off in front: as given, or as follows from the size that is asked for.
    let mut before = [0usize; 2];
    for axis in 0..2 {
        let whole = (shape[2 + axis] - 1) * strides[axis] + extra[axis] + (kernel[axis] - 1) * dilations[axis] + 1;
        let cut = whole.checked_sub(out[2 + axis]);
        let pads = op.ints("pads").filter(|p| p.len() == 2 * rank);
        let given = pads.map(|p| if rank == 1 { [0, p[0]] } else { [p[0], p[1]] });
        before[axis] = match (op.text("auto_pad", "NOTSET"), given) {
            ("NOTSET", given) if !op.has("output_shape") => given.map_or(0, |g| g[axis].max(0) as usize),
            ("SAME_UPPER", _) => cut.unwrap_or(0) / 2,
            ("VALID", _) => 0,
            ("SAME_LOWER" | "NOTSET", _) => cut.unwrap_or(0).div_ceil(2),
            _ => return Err("its auto_pad".into()),
        };
    }
    let groups = op.int("group", 1).max(1) as usize;
    let (weights, bias) = (c.floats(op, 1)?.ok_or("it has no weights")?, c.floats(op, 2)?);
    // [C, M / groups, kh, kw] → [M, C / groups, kh, kw], turned around.
    let (each_in, each_out) = (channels / groups, of_weights[1]);
    let mut turned = vec![0.0; weights.len()];
    for (i, &weight) in weights.iter().enumerate() {
        let (place, o, input) = (i % (kh * kw), i / (kh * kw) % each_out, i / (kh * kw * each_out));
        let (group, within) = (input / each_in, input % each_in);
        turned[((group * each_out + o) * each_in + within) * kh * kw + (kh * kw - 1 - place)] = weight;
    }
    let dims = vec![each_out * groups, each_in, kh, kw];
    let mut x = c.x0(op)?;
    let mut size = [h, w];
    for axis in 0..2 {
        if strides[axis] > 1 {
            let (before, behind) =
                if axis == 0 { (n * channels * h, size[1]) } else { (n * channels * size[0] * w, 1) };
            let cube = c.g.view(&x, &[before, 1, behind]);
            x = c.g.pad(&cube, 1, 0, strides[axis] - 1, 0.0);
            size[axis] *= strides[axis];
        }
    }
    x = c.g.view(&x, &[n, channels, size[0], size[1]]);
    let mut pads = [0usize; 2];
    for axis in 0..2 {
        let reach = (kernel[axis] - 1) * dilations[axis];
        match reach.checked_sub(before[axis]) {
            Some(pad) => pads[axis] = pad,
            // More is cut off than the kernel reaches.
            None => {
                let rows: Vec<usize> = (before[axis] - reach..size[axis]).collect();
                x = c.g.take(&x, 2 + axis, &rows);
            }
        }
    }
    let window = Window { kernel, strides: [1, 1], dilations, before: pads, out: [out[2], out[3]] };
    Ok(c.g.conv(&x, (dims, turned), bias, window, groups))
}

pub(super) fn pool(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    c.all_exact(op)?;
    if c.outputs.len() > 1 || op.int("storage_order", 0) != 0 {
        return Err("its indices are asked for".into());
    }
    let (shape, out) = (c.shape(op, 0)?, c.out(0)?);
    let [n, channels, ref size @ ..] = shape[..] else { return Err("its input has no channels".into()) };
    let kernel = op.ints("kernel_shape").ok_or("it has no kernel_shape")?.iter().map(|&k| k.max(1) as usize).collect();
    let space = Space::read(op, kernel, size, &out[2..])?;
    let mut name = op.name();
    let padding_counts = op.int("count_include_pad", 0) != 0;
    let mut x = c.x0(op)?;
    let overhangs = (0..size.len()).any(|a| {
        let covered = (out[2 + a] - 1) * space.strides[a] + (space.kernel[a] - 1) * space.dilations[a] + 1;
        covered > size[a] + space.before[a] + space.after[a]
    });
    if name == "AveragePool" && padding_counts && overhangs {
        return Err("its windows hang over what is padded, which is counted".into());
    }
    let p = op.int("p", 2);
    if name == "LpPool" {
        if p != 1 && p != 2 {
            return Err(format!("it is of order {p}"));
        }
        x = if p == 1 { c.g.map("Abs", &x) } else { c.g.mul(&x, &x) };
        name = "AveragePool";
    }
    let sums = op.name() == "LpPool";
    let mut y = if let [d, h, w] = size[..] {
        // Volumes: the largest of the largest, and (of equal numbers) the mean of the means.
        if name == "AveragePool" && !(padding_counts || sums || (space.before.iter().all(|&p| p == 0) && !overhangs)) {
            return Err("it is a mean of volumes that does not count what is padded".into());
        }
        let flat = Space {
            kernel: space.kernel[1..].to_vec(),
            strides: space.strides[1..].to_vec(),
            dilations: space.dilations[1..].to_vec(),
            before: space.before[1..].to_vec(),
            after: vec![],
        };
        let images = c.g.view(&x, &[n, channels * d, h, w]);
        let images = c.g.pool(name, &images, &flat.window(&out[3..]), padding_counts || sums);
        let columns = c.g.view(&images, &[n, channels, d, out[3] * out[4]]);
        let along = Window {
            kernel: [space.kernel[0], 1],
            strides: [space.strides[0], 1],
            dilations: [space.dilations[0], 1],
            before: [space.before[0], 0],
            out: [out[2], out[3] * out[4]],
        };
        c.g.pool(name, &columns, &along, padding_counts || sums)
    } else {
        let images = c.g.view(&x, &flat(&shape));
        c.g.pool(name, &images, &space.window(&out[2..]), padding_counts || sums)
    };
    if sums {
        y = c.g.affine(&y, count(&space.kernel) as f32, 0.0);
        if p == 2 {
            y = c.g.map("Sqrt", &y);
        }
    }
    Ok(y)
}

pub(super) fn global_pool(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, rank) = (c.x0(op)?, c.shape(op, 0)?.len());
    let axes: Vec<usize> = (2..rank).collect();
    let name = match (op.name(), op.int("p", 2)) {
        ("GlobalAveragePool", _) => "ReduceMean",
        ("GlobalMaxPool", _) => "ReduceMax",
        (_, 1) => "ReduceL1",
        (_, 2) => "ReduceL2",
        (_, p) => return Err(format!("it is of order {p}")),
    };
    super::reduce::over(c, name, &x, &axes)
}
