//! Products and sums of products.

use super::super::context::Context;
use super::super::graph::{Id, count};
use super::super::op::Op;

fn no_integers(c: &Context<'_>, op: &Op<'_>) -> Result<(), String> {
    match c.known(op, 0)?.range {
        Some(_) => Err("it multiplies integers".into()),
        None => Ok(()),
    }
}

pub(super) fn matmul(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    no_integers(c, op)?;
    let (mut a, mut b, of_a, of_b) = (c.x0(op)?, c.x(op, 1)?, c.shape(op, 0)?, c.shape(op, 1)?);
    if let [k] = of_a[..] {
        a = c.g.view(&a, &[1, k]);
    }
    if let [k] = of_b[..] {
        b = c.g.view(&b, &[k, 1]);
    }
    c.g.matmul(&a, &b)
}

pub(super) fn gemm(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    no_integers(c, op)?;
    let (mut a, mut b) = (c.x0(op)?, c.x(op, 1)?);
    if op.int("transA", 0) != 0 {
        a = c.g.transpose(&a, &[1, 0]);
    }
    if op.int("transB", 0) != 0 {
        b = c.g.transpose(&b, &[1, 0]);
    }
    let mut y = c.g.matmul(&a, &b)?;
    y = c.g.affine(&y, op.float("alpha", 1.0), 0.0);
    if op.input(2).is_none() {
        return Ok(y);
    }
    let beta = op.float("beta", 1.0);
    let bias = match c.floats(op, 2) {
        Ok(Some(numbers)) => {
            let shape = c.shape(op, 2)?;
            c.g.constant(&shape, numbers.iter().map(|n| n * beta).collect())
        }
        _ => {
            let bias = c.x(op, 2)?;
            c.g.affine(&bias, beta, 0.0)
        }
    };
    Ok(c.g.add(&y, &bias))
}

/// `Einsum` of two: axes are sorted into stacks (in both and the result), rows, columns and those summed over.
pub(super) fn einsum(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    no_integers(c, op)?;
    let equation: String = op.text("equation", "").chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, out) = equation.split_once("->").ok_or("it does not name its result's axes")?;
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphabetic() || c == ',');
    let repeated = |text: &str| text.chars().any(|c| text.matches(c).count() > 1);
    let parts: Vec<&str> = inputs.split(',').collect();
    if !plain(inputs) || !plain(out) || parts.iter().any(|p| repeated(p)) || repeated(out) {
        return Err(format!("its equation is {equation}"));
    }
    let [left, right] = parts[..] else {
        let [only] = parts[..] else { return Err("it has more than two inputs".into()) };
        let axes: Vec<usize> = (0..only.len()).filter(|&i| !out.contains(&only[i..=i])).collect();
        let kept: String = only.chars().filter(|&a| out.contains(a)).collect();
        let mut x = c.x0(op)?;
        if !axes.is_empty() {
            x = c.g.reduce("ReduceSum", &x, &axes);
        }
        return arrange(c, &x, &kept, out);
    };
    let (mut a, mut b, of_a, of_b) = (c.x0(op)?, c.x(op, 1)?, c.shape(op, 0)?, c.shape(op, 1)?);
    let size = |axis: char| left.find(axis).map(|i| of_a[i]).or_else(|| right.find(axis).map(|i| of_b[i])).unwrap_or(1);
    // What is in one input alone, and not in the result, is summed first.
    let alone = |own: &str, other: &str| {
        (0..own.len()).filter(|&i| !other.contains(&own[i..=i]) && !out.contains(&own[i..=i])).collect::<Vec<_>>()
    };
    let (mut of_left, mut of_right) = (left.to_owned(), right.to_owned());
    for (x, own, other) in [(&mut a, &mut of_left, right), (&mut b, &mut of_right, left)] {
        let axes = alone(own, other);
        if !axes.is_empty() {
            *x = c.g.reduce("ReduceSum", x, &axes);
            *own = own.chars().filter(|&a| other.contains(a) || out.contains(a)).collect();
        }
    }
    let stack: String = of_left.chars().filter(|&a| of_right.contains(a) && out.contains(a)).collect();
    let rows: String = of_left.chars().filter(|&a| !of_right.contains(a)).collect();
    let columns: String = of_right.chars().filter(|&a| !of_left.contains(a)).collect();
    let summed: String = of_left.chars().filter(|&a| of_right.contains(a) && !out.contains(a)).collect();
    let sizes = |axes: &str| axes.chars().map(size).product::<usize>();
    a = arrange(c, &a, &of_left, &format!("{stack}{rows}{summed}"))?;
    b = arrange(c, &b, &of_right, &format!("{stack}{summed}{columns}"))?;
    a = c.g.view(&a, &[sizes(&stack), sizes(&rows), sizes(&summed)]);
    b = c.g.view(&b, &[sizes(&stack), sizes(&summed), sizes(&columns)]);
    let y = c.g.matmul(&a, &b)?;
    let made = format!("{stack}{rows}{columns}");
    let y = c.g.view(&y, &made.chars().map(size).collect::<Vec<_>>());
    arrange(c, &y, &made, out)
}

fn arrange(c: &mut Context<'_>, x: &str, from: &str, to: &str) -> Result<Id, String> {
    let perm: Option<Vec<usize>> = to.chars().map(|axis| from.find(axis)).collect();
    let perm = perm.filter(|p| p.len() == from.len()).ok_or("its equation has an axis too many")?;
    Ok(c.g.transpose(x, &perm))
}

/// A product with a triangle of ones.
pub(super) fn cumulative_sum(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    c.all_exact(op)?;
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let axis = c.ints(op, 1)?.and_then(|a| a.first().copied()).ok_or("its axis is missing")?;
    let axis = super::super::op::axis(axis, shape.len())?;
    let (n, exclusive, reverse) = (shape[axis], op.int("exclusive", 0) != 0, op.int("reverse", 0) != 0);
    if n > 4_096 {
        return Err(format!("it sums along {n} numbers, and at most 4096 are summed here"));
    }
    let summed = |from: usize, to: usize| {
        let (from, to) = if reverse { (to, from) } else { (from, to) };
        f32::from(u8::from(from < to || (from == to && !exclusive)))
    };
    let triangle = (0..n * n).map(|i| summed(i / n, i % n)).collect();
    let triangle = c.g.constant(&[n, n], triangle);
    let (before, behind) = (count(&shape[..axis]), count(&shape[axis + 1..]));
    let cube = c.g.view(&x, &[before, n, behind]);
    let last = c.g.transpose(&cube, &[0, 2, 1]);
    let y = c.g.matmul(&last, &triangle)?;
    Ok(c.g.transpose(&y, &[0, 2, 1]))
}
