//! Truth values (0 and 1), comparisons, choices, and casts.

use tract_onnx::prelude::DatumType;

use super::super::context::Context;
use super::super::graph::{Id, count, int};
use super::super::known::Range;
use super::super::op::Op;

pub(super) fn compare(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    c.all_exact(op)?;
    let a = c.x0(op)?;
    if op.name() == "Not" {
        return Ok(c.g.not(&a));
    }
    let b = c.x(op, 1)?;
    let g = &mut c.g;
    Ok(match op.name() {
        "And" => g.mul(&a, &b),
        "Or" => {
            let sum = g.add(&a, &b);
            g.map("Sign", &sum)
        }
        "Xor" => {
            let apart = g.sub(&a, &b);
            g.map("Abs", &apart)
        }
        name => {
            let swapped = name.starts_with("Less");
            let apart = if swapped { g.sub(&b, &a) } else { g.sub(&a, &b) };
            let sign = g.map("Sign", &apart);
            match name {
                "Equal" => {
                    let apart = g.map("Abs", &sign);
                    g.not(&apart)
                }
                "Greater" | "Less" => g.map("Relu", &sign),
                _ => {
                    let below = g.map("Neg", &sign);
                    let below = g.map("Relu", &below);
                    g.not(&below)
                }
            }
        }
    })
}

/// Both sides one behind the other, and an index that points into the right one: infinities stay what they are.
pub(super) fn select(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let out = c.out(0)?;
    let n = count(&out);
    // Indices are computed in f32.
    if n > 1 << 22 {
        return Err(format!("it chooses among {n} elements, and at most 4194304 are chosen here"));
    }
    let condition = c.x0(op)?;
    let (yes, no) = (c.x(op, 1)?, c.x(op, 2)?);
    let [condition, yes, no] = [condition, yes, no].map(|x| {
        let x = c.g.expand(&x, &out);
        c.g.view(&x, &[n])
    });
    let both = c.g.concat(&[yes, no], 0);
    let both = c.g.view(&both, &[2 * n, 1]);
    let behind = c.g.not(&condition);
    let behind = c.g.affine(&behind, n as f32, 0.0);
    let positions = c.g.constant(&[n], (0..n).map(|i| i as f32).collect());
    let index = c.g.add(&behind, &positions);
    let threads = super::super::emit::next_exact(n).next_multiple_of(4);
    let threads = super::super::emit::next_exact(threads);
    let index = c.g.stretch(&index, &[threads]);
    let index = c.g.push("Cast", &[&index], &[threads], vec![int("to", 6)]);
    let y = c.g.push("Gather", &[&both, &index], &[threads, 1], vec![int("axis", 0)]);
    Ok(c.g.view(&y, &out))
}

pub(super) fn cast(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (from, to) = (c.known(op, 0)?.datum_type, c.out_type());
    let x = c.x0(op)?;
    let (from, to) = (Range::of(from), (Range::of(to), to));
    Ok(match (from, to) {
        (_, (_, DatumType::Bool)) => {
            let sign = c.g.map("Sign", &x);
            c.g.map("Abs", &sign)
        }
        // Unsigned numbers below 0 wrap around on the CPU.
        (None, (Some(all), _)) if all.low >= 0.0 => return Err("it casts numbers to unsigned ones".into()),
        // Towards 0.
        (None, (Some(_), _)) => {
            let (abs, sign) = (c.g.map("Abs", &x), c.g.map("Sign", &x));
            let whole = c.g.map("Floor", &abs);
            c.g.mul(&whole, &sign)
        }
        _ => x,
    })
}
