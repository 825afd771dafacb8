//! Operators that move data without looking at it.

use super::super::context::Context;
use super::super::emit::aligned;
use super::super::graph::Id;
use super::super::op::Op;

pub(super) fn same(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    // The mask of a Dropout, and training, are another matter.
    if op.name() == "Dropout" && c.outputs.len() > 1 {
        return Err("its mask is asked for".into());
    }
    c.x0(op)
}

pub(super) fn transpose(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let rank = c.shape(op, 0)?.len();
    let perm = match op.ints("perm") {
        Some(perm) => perm.iter().map(|&p| super::super::op::axis(p, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).rev().collect(),
    };
    let x = c.x0(op)?;
    Ok(c.g.transpose(&x, &perm))
}

pub(super) fn concat(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let axis = op.axis(1, c.out(0)?.len())?;
    let mut xs = Vec::with_capacity(op.inputs());
    for position in 0..op.inputs() {
        if !c.shape(op, position)?.contains(&0) {
            xs.push(c.x(op, position)?);
        }
    }
    Ok(c.g.concat(&xs, axis))
}

pub(super) fn expand(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, out) = (c.x0(op)?, c.out(0)?);
    Ok(c.g.expand(&x, &out))
}

pub(super) fn tile(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (mut x, shape, out) = (c.x0(op)?, c.shape(op, 0)?, c.out(0)?);
    let shape = aligned(&shape, out.len());
    for (axis, (&size, &to)) in shape.iter().zip(&out).enumerate().rev() {
        x = c.g.take(&x, axis, &(0..to).map(|i| i % size).collect::<Vec<_>>());
    }
    Ok(x)
}

pub(super) fn depth_to_space(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, shape, block) = (c.x0(op)?, c.shape(op, 0)?, op.int("blocksize", 1) as usize);
    let [n, channels, h, w] = shape[..] else { return Err("its input is no image".into()) };
    let deep = channels / (block * block).max(1);
    let columns_first = op.text("mode", "DCR") == "CRD";
    let cube = if columns_first { [n, deep, block, block, h, w] } else { [n, block, block, deep, h, w] };
    let perm = if columns_first { [0, 1, 4, 2, 5, 3] } else { [0, 3, 4, 1, 5, 2] };
    let cube = c.g.view(&x, &cube);
    Ok(c.g.transpose(&cube, &perm))
}

pub(super) fn space_to_depth(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, shape, block) = (c.x0(op)?, c.shape(op, 0)?, op.int("blocksize", 1).max(1) as usize);
    let [n, channels, h, w] = shape[..] else { return Err("its input is no image".into()) };
    let cube = c.g.view(&x, &[n, channels, h / block, block, w / block, block]);
    Ok(c.g.transpose(&cube, &[0, 3, 5, 1, 2, 4]))
}
