//! Operators that choose elements: by constants, which one `Gather` does, or by indices that are computed.

use super::super::context::Context;
use super::super::emit::{offsets, strides};
use super::super::graph::{Id, count, int};
use super::super::op::{Op, axis};

pub(super) fn slice(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (mut x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let starts = c.listed(op, "starts", 1)?.ok_or("it has no starts")?;
    let ends = c.listed(op, "ends", 2)?.ok_or("it has no ends")?;
    let axes = c.listed(op, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = c.ints(op, 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    for (((&start, &end), &at), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let at = axis(at, shape.len())?;
        let chosen = sliced(start, end, step, shape[at] as i64)?;
        x = c.g.take(&x, at, &chosen);
    }
    Ok(x)
}

/// The indices of a slice, with the clamping of ONNX.
fn sliced(start: i64, end: i64, step: i64, size: i64) -> Result<Vec<usize>, String> {
    if step == 0 {
        return Err("a step is 0".into());
    }
    let counted = |n: i64| if n < 0 { n.saturating_add(size) } else { n };
    let mut chosen = Vec::new();
    if step > 0 {
        let (mut at, end) = (counted(start).clamp(0, size), counted(end).clamp(0, size));
        while at < end {
            chosen.push(at as usize);
            at = at.saturating_add(step);
        }
    } else {
        let (mut at, end) = (counted(start).clamp(0, size - 1), counted(end).clamp(-1, size - 1));
        while at > end {
            chosen.push(at as usize);
            at = at.saturating_add(step);
        }
    }
    Ok(chosen)
}

pub(super) fn split(c: &mut Context<'_>, op: &Op<'_>) -> Result<Vec<Id>, String> {
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let at = op.axis(0, shape.len())?;
    let mut from = 0;
    let mut parts = Vec::with_capacity(c.outputs.len());
    for position in 0..c.outputs.len() {
        let to = from + c.out(position)?[at];
        parts.push(c.g.take(&x, at, &(from..to).collect::<Vec<_>>()));
        from = to;
    }
    Ok(parts)
}

pub(super) fn pad(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (mut x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let pads = c.listed(op, "pads", 1)?.ok_or("it has no pads")?;
    let axes = match c.ints(op, 3)? {
        Some(axes) => axes.into_iter().map(|a| axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..shape.len()).collect(),
    };
    let with = match c.floats(op, 2)? {
        Some(value) => value.first().copied().unwrap_or(0.0),
        None => op.float("value", 0.0),
    };
    let mode = op.text("mode", "constant").to_owned();
    for (i, &at) in axes.iter().enumerate() {
        let (Some(&front), Some(&back)) = (pads.get(i), pads.get(i + axes.len())) else {
            return Err("its pads are not two an axis".into());
        };
        let size = shape[at] as i64;
        let (cut_front, cut_back) = ((-front).max(0), (-back).max(0));
        let (front, back) = (front.max(0), back.max(0));
        if mode == "constant" {
            x = c.g.take(&x, at, &(cut_front..size - cut_back).map(|i| i as usize).collect::<Vec<_>>());
            x = c.g.pad(&x, at, front as usize, back as usize, with);
            continue;
        }
        let inside = |i: i64| match mode.as_str() {
            "edge" => Some(i.clamp(0, size - 1)),
            "wrap" => Some(i.rem_euclid(size)),
            "reflect" if size > 1 => {
                let i = i.rem_euclid(2 * (size - 1));
                Some(i.min(2 * (size - 1) - i))
            }
            _ => None,
        };
        let chosen: Option<Vec<usize>> =
            (cut_front - front..size - cut_back + back).map(|i| inside(i).map(|i| i as usize)).collect();
        x = c.g.take(&x, at, &chosen.ok_or_else(|| format!("it pads by {mode}"))?);
    }
    Ok(x)
}

pub(super) fn gather(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let shape = c.shape(op, 0)?;
    let at = op.axis(0, shape.len())?;
    let size = shape[at];
    if let Ok(Some(indices)) = c.ints(op, 1) {
        let indices = counted(&indices, size)?;
        let x = c.x0(op)?;
        return Ok(c.g.take(&x, at, &indices));
    }
    c.bound(op, 1, size)?;
    // Chosen on the device: rows of the outermost axis.
    let perm: Vec<usize> = std::iter::once(at).chain((0..shape.len()).filter(|&a| a != at)).collect();
    let (x, indices, of_indices) = (c.x0(op)?, c.x(op, 1)?, c.shape(op, 1)?);
    let front = c.g.transpose(&x, &perm);
    let (n, row) = (count(&of_indices), count(&shape) / size.max(1));
    let rows = c.g.view(&front, &[size, row]);
    let flat = c.g.view(&indices, &[n]);
    let whole = c.g.push("Cast", &[&flat], &[n], vec![int("to", 6)]);
    let chosen = c.g.push("Gather", &[&rows, &whole], &[n, row], vec![int("axis", 0)]);
    // [indices, before, behind] → [before, indices, behind]
    let (before, behind) = (count(&shape[..at]), count(&shape[at + 1..]));
    let cube = c.g.view(&chosen, &[n, before, behind]);
    Ok(c.g.transpose(&cube, &[1, 0, 2]))
}

fn counted(indices: &[i64], size: usize) -> Result<Vec<usize>, String> {
    indices.iter().map(|&i| axis(i, size).map_err(|_| format!("the index {i} is not within its {size} rows"))).collect()
}

pub(super) fn gather_elements(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (shape, of_indices) = (c.shape(op, 0)?, c.shape(op, 1)?);
    let at = op.axis(0, shape.len())?;
    let indices = c.ints(op, 1)?.ok_or("it has no indices")?;
    let mut strides = strides(&shape);
    let along = std::mem::replace(&mut strides[at], 0);
    let indices = counted(&indices, shape[at])?;
    let elements: Vec<usize> = offsets(&of_indices, &strides).iter().zip(indices).map(|(o, i)| o + i * along).collect();
    let x = c.x0(op)?;
    Ok(c.g.gather(&x, 1, &elements))
}

pub(super) fn gather_nd(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    if op.int("batch_dims", 0) != 0 {
        return Err("it has batch dimensions".into());
    }
    let (shape, of_indices) = (c.shape(op, 0)?, c.shape(op, 1)?);
    let indices = c.ints(op, 1)?.ok_or("it has no indices")?;
    let deep = of_indices.last().copied().filter(|&d| d > 0 && d <= shape.len()).ok_or("its indices have no axes")?;
    let (row, strides) = (count(&shape[deep..]), strides(&shape[..deep]));
    let mut rows = Vec::with_capacity(indices.len() / deep);
    for tuple in indices.chunks_exact(deep) {
        let each = tuple.iter().zip(&shape).map(|(&i, &size)| axis(i, size)).collect::<Result<Vec<_>, _>>()?;
        rows.push(each.iter().zip(&strides).map(|(i, s)| i * s).sum());
    }
    let x = c.x0(op)?;
    Ok(c.g.gather(&x, row, &rows))
}

/// The upper or lower triangle: elements, or a zero behind them.
pub(super) fn triangle(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let k = c.ints(op, 1)?.and_then(|k| k.first().copied()).unwrap_or(0);
    let [.., rows, columns] = shape[..] else { return Err("its input is no matrix".into()) };
    let (n, upper) = (count(&shape), op.int("upper", 1) != 0);
    let kept = |i: usize| {
        let (row, column) = ((i / columns % rows) as i64, (i % columns) as i64);
        if upper { column - row >= k } else { column - row <= k }
    };
    let flat = c.g.view(&x, &[n]);
    let longer = c.g.pad(&flat, 0, 0, 1, 0.0);
    let chosen: Vec<usize> = (0..n).map(|i| if kept(i) { i } else { n }).collect();
    Ok(c.g.gather(&longer, 1, &chosen))
}

/// 1 − |sign(index − position)| is 1 at the index.
pub(super) fn one_hot(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    c.all_exact(op)?;
    let out = c.out(0)?;
    let at = op.axis(-1, out.len())?;
    let depth = out[at];
    let values = c.floats(op, 2)?.ok_or("it has no values")?;
    let [off, on] = values[..] else { return Err("its values are not two".into()) };
    if c.known(op, 0)?.range.is_none() {
        return Err("its indices are no integers".into());
    }
    let (x, mut shape) = (c.x0(op)?, c.shape(op, 0)?);
    shape.insert(at, 1);
    let x = c.g.view(&x, &shape);
    let mut along = vec![1; out.len()];
    along[at] = depth;
    let mut hit: Option<Id> = None;
    // An index may be counted from the back.
    for from in [0.0, -(depth as f32)] {
        let positions = c.g.constant(&along, (0..depth).map(|i| i as f32 + from).collect());
        let apart = c.g.sub(&x, &positions);
        let sign = c.g.map("Sign", &apart);
        let apart = c.g.map("Abs", &sign);
        let here = c.g.not(&apart);
        hit = Some(match hit {
            Some(hit) => c.g.add(&hit, &here),
            None => here,
        });
    }
    let hit = hit.unwrap_or_default();
    Ok(c.g.affine(&hit, on - off, off))
}

pub(super) fn reverse_sequence(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let lengths = c.ints(op, 1)?.ok_or("it has no lengths")?;
    let (batch, time) = (axis(op.int("batch_axis", 1), shape.len())?, op.int("time_axis", 0));
    let time = axis(time, shape.len())?;
    let strides = strides(&shape);
    let chosen = |i: usize| {
        let (b, t) = (i / strides[batch] % shape[batch], i / strides[time] % shape[time]);
        let length = lengths.get(b).copied().unwrap_or(0).max(0) as usize;
        if t < length && length <= shape[time] { i - t * strides[time] + (length - 1 - t) * strides[time] } else { i }
    };
    Ok(c.g.gather(&x, 1, &(0..count(&shape)).map(chosen).collect::<Vec<_>>()))
}
