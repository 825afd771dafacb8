//! Reductions, and what is made of them: softmax, the place of the largest.

use super::super::context::Context;
use super::super::graph::{Id, count};
use super::super::op::Op;

pub(super) fn reduce(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    c.all_exact(op)?;
    let (x, rank) = (c.x0(op)?, c.shape(op, 0)?.len());
    let axes = match c.axes(op, 1)? {
        Some(axes) if !axes.is_empty() => axes,
        _ if op.int("noop_with_empty_axes", 0) != 0 => vec![],
        _ => (0..rank).collect(),
    };
    over(c, op.name(), &x, &axes)
}

/// Reduces these axes, which are dropped.
pub(super) fn over(c: &mut Context<'_>, name: &str, x: &str, axes: &[usize]) -> Result<Id, String> {
    let g = &mut c.g;
    let mut axes = axes.to_vec();
    axes.sort_unstable();
    axes.dedup();
    Ok(match name {
        "ReduceLogSumExp" => {
            // As it stands in wonnx, it overflows.
            let kept = kept(&g.shape(x), &axes);
            let top = g.reduce("ReduceMax", x, &axes);
            let high = g.view(&top, &kept);
            let low = g.sub(x, &high);
            let exp = g.map("Exp", &low);
            let sum = g.reduce("ReduceSum", &exp, &axes);
            let log = g.map("Log", &sum);
            g.add(&log, &top)
        }
        "ReduceLogSum" => {
            let sum = g.reduce("ReduceSum", x, &axes);
            g.map("Log", &sum)
        }
        "ReduceL1" => {
            let abs = g.map("Abs", x);
            g.reduce("ReduceSum", &abs, &axes)
        }
        "ReduceSumSquare" | "ReduceL2" => {
            let square = g.mul(x, x);
            let sum = g.reduce("ReduceSum", &square, &axes);
            if name == "ReduceL2" { g.map("Sqrt", &sum) } else { sum }
        }
        "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" => {
            if axes.is_empty() {
                x.into()
            } else {
                g.reduce(name, x, &axes)
            }
        }
        _ => return Err("the operator is not on the list of what can be lowered".into()),
    })
}

/// The shape with these axes as 1.
pub(super) fn kept(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    shape.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect()
}

/// The place of the first or last largest: positions, and behind them all others a position that is too large.
pub(super) fn arg(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    c.all_exact(op)?;
    let (mut x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let axis = op.axis(0, shape.len())?;
    let (n, last) = (shape[axis], op.int("select_last_index", 0) != 0);
    if op.name() == "ArgMin" {
        x = c.g.map("Neg", &x);
    }
    let kept = kept(&shape, &[axis]);
    let top = c.g.reduce("ReduceMax", &x, &[axis]);
    let top = c.g.view(&top, &kept);
    let below = c.g.sub(&top, &x);
    let below = c.g.map("Sign", &below);
    let mut along = vec![1; shape.len()];
    along[axis] = n;
    let away = if last { -(n as f32) } else { n as f32 };
    let below = c.g.affine(&below, away, 0.0);
    let positions = c.g.constant(&along, (0..n).map(|i| i as f32).collect());
    let place = c.g.add(&below, &positions);
    Ok(c.g.reduce(if last { "ReduceMax" } else { "ReduceMin" }, &place, &[axis]))
}

/// 1 at the first largest of an axis.
pub(super) fn hardmax(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let axis = op.axis(if op.opset < 13 { 1 } else { -1 }, shape.len())?;
    let (before, n, behind) = cube(op, &shape, axis);
    let x = c.g.view(&x, &[before, n, behind]);
    let top = c.g.reduce("ReduceMax", &x, &[1]);
    let top = c.g.view(&top, &[before, 1, behind]);
    let below = c.g.sub(&top, &x);
    let below = c.g.map("Sign", &below);
    let below = c.g.affine(&below, n as f32, 0.0);
    let positions = c.g.constant(&[1, n, 1], (0..n).map(|i| i as f32).collect());
    let place = c.g.add(&below, &positions);
    let first = c.g.reduce("ReduceMin", &place, &[1]);
    let first = c.g.view(&first, &[before, 1, behind]);
    let apart = c.g.sub(&place, &first);
    let sign = c.g.map("Sign", &apart);
    Ok(c.g.not(&sign))
}

/// What lies before, along and behind the axis. Before operator set 13, all from the axis on is one.
fn cube(op: &Op<'_>, shape: &[usize], axis: usize) -> (usize, usize, usize) {
    let before = count(&shape[..axis]);
    if op.opset < 13 {
        return (before, count(&shape[axis..]), 1);
    }
    (before, shape[axis], count(&shape[axis + 1..]))
}

pub(super) fn softmax(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let axis = op.axis(if op.opset < 13 { 1 } else { -1 }, shape.len().max(1))?;
    let (before, n, behind) = if shape.is_empty() { (1, 1, 1) } else { cube(op, &shape, axis) };
    let x = c.g.view(&x, &[before, n, behind]);
    let last = c.g.transpose(&x, &[0, 2, 1]);
    let rows = c.g.view(&last, &[before * behind, n]);
    let y = if op.name() == "LogSoftmax" {
        let sum = over(c, "ReduceLogSumExp", &rows, &[1])?;
        let sum = c.g.view(&sum, &[before * behind, 1]);
        c.g.sub(&rows, &sum)
    } else {
        c.g.softmax(&rows)
    };
    let y = c.g.view(&y, &[before, behind, n]);
    Ok(c.g.transpose(&y, &[0, 2, 1]))
}
