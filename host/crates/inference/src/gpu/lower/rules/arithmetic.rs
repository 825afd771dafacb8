//! Operators of two or more numbers, and those with constants beside one.

use tract_onnx::prelude::DatumType;

use super::super::context::Context;
use super::super::graph::{Graph, Id, count};
use super::super::op::Op;

/// Up to here a power by a whole number is multiplied out.
const MULTIPLIED: f32 = 8.0;

pub(super) fn binary(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    c.all_exact(op)?;
    if op.has("axis") || op.int("broadcast", 0) != 0 {
        return Err("it broadcasts as before operator set 7".into());
    }
    // The device divides inexactly, which would be off by one where integers are cut.
    if op.name() == "Div" && c.known(op, 0)?.range.is_some() {
        return Err("it divides integers".into());
    }
    let (a, b) = (c.x0(op)?, c.x(op, 1)?);
    Ok(c.g.binary(op.name(), &a, &b))
}

/// wonnx's power is none for a base below 0.
pub(super) fn pow(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    if c.known(op, 0)?.range.is_some() {
        return Err("its base is an integer".into());
    }
    let exponents = c.floats(op, 1)?.ok_or("it has no exponent")?;
    let (x, of_exponents) = (c.x0(op)?, c.shape(op, 1)?);
    let first = exponents.first().copied().unwrap_or(1.0);
    let g = &mut c.g;
    if exponents.iter().all(|&e| e == first) {
        let out = c.out(0)?;
        let y = power(&mut c.g, &x, first);
        return Ok(c.g.expand(&y, &out));
    }
    // |x|^e, with the sign of x where e is odd; where it is no whole number, a base below 0 gives none.
    if exponents.iter().any(|e| e.fract() != 0.0 || *e == 0.0) {
        return Err("its exponents are several, and not all whole".into());
    }
    let odd = exponents.iter().map(|e| f32::from(u8::from(e % 2.0 != 0.0))).collect::<Vec<_>>();
    let even = odd.iter().map(|o| 1.0 - o).collect();
    let e = g.constant(&of_exponents, exponents);
    let (odd, even) = (g.constant(&of_exponents, odd), g.constant(&of_exponents, even));
    let abs = g.map("Abs", &x);
    let size = g.binary("Pow", &abs, &e);
    let sign = g.map("Sign", &x);
    let sign = g.mul(&sign, &odd);
    let sign = g.add(&sign, &even);
    Ok(g.mul(&size, &sign))
}

/// A power by one constant.
pub(super) fn power(g: &mut Graph, x: &str, exponent: f32) -> Id {
    if exponent == 0.5 {
        return g.map("Sqrt", x);
    }
    if exponent == -0.5 {
        let root = g.map("Sqrt", x);
        return g.map("Reciprocal", &root);
    }
    if exponent.fract() == 0.0 && exponent.abs() <= MULTIPLIED {
        let mut y: Option<Id> = None;
        let (mut square, mut left) = (x.to_owned(), exponent.abs() as u32);
        while left > 0 {
            if left % 2 == 1 {
                y = Some(match y {
                    Some(y) => g.mul(&y, &square),
                    None => square.clone(),
                });
            }
            left /= 2;
            if left > 0 {
                square = g.mul(&square, &square);
            }
        }
        let Some(y) = y else { return g.affine(x, 0.0, 1.0) };
        return if exponent < 0.0 { g.map("Reciprocal", &y) } else { y };
    }
    let rank = g.shape(x).len().min(1);
    if exponent.fract() == 0.0 {
        let e = g.constant(&vec![1; rank], vec![exponent]);
        let abs = g.map("Abs", x);
        let size = g.binary("Pow", &abs, &e);
        if exponent % 2.0 == 0.0 {
            return size;
        }
        let sign = g.map("Sign", x);
        return g.mul(&size, &sign);
    }
    // A base below 0 gives none, as it should: its root does.
    let root = g.map("Sqrt", x);
    let abs = g.map("Abs", &root);
    let twice = g.constant(&vec![1; rank], vec![exponent * 2.0]);
    g.binary("Pow", &abs, &twice)
}

pub(super) fn variadic(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    c.all_exact(op)?;
    let out = c.out(0)?;
    let xs = (0..op.inputs()).map(|position| c.x(op, position)).collect::<Result<Vec<_>, _>>()?;
    if let [one] = &xs[..] {
        return Ok(one.clone());
    }
    if matches!(op.name(), "Max" | "Min") {
        return Ok(c.g.extreme(op.name() == "Max", &xs, &out));
    }
    let mut sum = xs[0].clone();
    for x in &xs[1..] {
        sum = c.g.add(&sum, x);
    }
    Ok(if op.name() == "Mean" { c.g.affine(&sum, 1.0 / xs.len() as f32, 0.0) } else { sum })
}

pub(super) fn clip(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    c.all_exact(op)?;
    let x = c.x0(op)?;
    let bound = |c: &Context<'_>, name: &str, position| {
        let given = c.floats(op, position)?.and_then(|n| n.first().copied());
        Ok::<_, String>(given.or_else(|| op.has(name).then(|| op.float(name, 0.0))))
    };
    let (low, high) = (bound(c, "min", 1)?, bound(c, "max", 2)?);
    Ok(clamp(&mut c.g, &x, low, high))
}

/// Limits numbers. wonnx prints the bounds with one digit behind the point, and needs both.
pub(super) fn clamp(g: &mut Graph, x: &str, low: Option<f32>, high: Option<f32>) -> Id {
    let unbound = |bound: f32| bound.abs() >= f32::MAX;
    let (low, high) = (low.filter(|&b| !unbound(b)), high.filter(|&b| !unbound(b)));
    let printed = |bound: f32| bound.abs() < 1e6 && format!("{bound:.1}").parse() == Ok(bound);
    match (low, high) {
        (None, None) => x.into(),
        (Some(0.0), None) => g.map("Relu", x),
        (Some(low), Some(high)) if low <= high && printed(low) && printed(high) => {
            let (low, high) = (g.constant(&[], vec![low]), g.constant(&[], vec![high]));
            let shape = g.shape(x);
            let threads = count(&shape).div_ceil(4);
            let long = [super::super::emit::next_exact(threads) * 4];
            let long = if super::super::emit::exact(threads) { &shape[..] } else { &long[..] };
            let x = g.stretch(x, long);
            let y = g.push("Clip", &[&x, &low, &high], long, vec![]);
            g.view(&y, &shape)
        }
        _ => {
            let shape = g.shape(x);
            let mut y: Id = x.into();
            for (largest, bound) in [(true, low), (false, high)] {
                if let Some(bound) = bound {
                    let bound = g.constant(&[], vec![bound]);
                    y = g.extreme(largest, &[y, bound], &shape);
                }
            }
            y
        }
    }
}

/// (x − zero) · scale.
pub(super) fn dequantize(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    if c.out_type() != DatumType::F32 || op.int("block_size", 0) != 0 {
        return Err("it does not make f32 by one scale or one an axis".into());
    }
    c.all_exact(op)?;
    let (mut x, shape, of_scale) = (c.x0(op)?, c.shape(op, 0)?, c.shape(op, 1)?);
    let mut along = vec![1; shape.len()];
    if count(&of_scale) > 1 {
        let axis = op.axis(1, shape.len())?;
        along[axis] = count(&of_scale);
    }
    if op.input(2).is_some() {
        let zero = c.x(op, 2)?;
        let zero = c.g.view(&zero, &along);
        x = c.g.sub(&x, &zero);
    }
    let scale = c.x(op, 1)?;
    let scale = c.g.view(&scale, &along);
    Ok(c.g.mul(&x, &scale))
}
