//! Resizing: every axis on its own, by choosing (nearest) or by a product with a matrix of weights (linear).

use super::super::context::Context;
use super::super::graph::{Id, count};
use super::super::op::Op;

pub(super) fn resize(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (mut x, shape, out) = (c.x0(op)?, c.shape(op, 0)?, c.out(0)?);
    let old = op.name() == "Upsample" || op.opset < 11;
    let scales = match op.attribute_floats("scales") {
        Some(scales) => Some(scales.to_vec()),
        None => c.floats(op, if old { 1 } else { 2 })?,
    };
    if op.has("axes") || op.int("antialias", 0) != 0 || op.text("keep_aspect_ratio_policy", "stretch") != "stretch" {
        return Err("it resizes some axes alone, keeps the ratio, or smooths".into());
    }
    let transform = if old { "asymmetric" } else { op.text("coordinate_transformation_mode", "half_pixel") };
    let rounding = if old { "floor" } else { op.text("nearest_mode", "round_prefer_floor") };
    let mode = op.text("mode", "nearest").to_owned();
    for axis in 0..shape.len() {
        let (from, to) = (shape[axis], out[axis]);
        if from == to {
            continue;
        }
        let given = scales.as_ref().and_then(|s| s.get(axis)).copied();
        let scale = given.map_or(to as f64 / from as f64, f64::from);
        let places: Vec<f64> = (0..to)
            .map(|i| place(transform, i as f64, scale, from as f64, to as f64))
            .collect::<Option<_>>()
            .ok_or_else(|| format!("its coordinates are {transform}"))?;
        let last = from as f64 - 1.0;
        match mode.as_str() {
            "nearest" => {
                let chosen: Option<Vec<usize>> =
                    places.iter().map(|&p| Some(nearest(rounding, p)?.clamp(0.0, last) as usize)).collect();
                x = c.g.take(&x, axis, &chosen.ok_or_else(|| format!("it rounds by {rounding}"))?);
            }
            "linear" => {
                let mut weights = vec![0.0; from * to];
                for (i, &p) in places.iter().enumerate() {
                    let low = p.floor();
                    for (at, weight) in [(low, 1.0 - (p - low)), (low + 1.0, p - low)] {
                        weights[at.clamp(0.0, last) as usize * to + i] += weight as f32;
                    }
                }
                x = weighted(c, &x, axis, to, weights)?;
            }
            other => return Err(format!("its mode is {other}")),
        }
    }
    Ok(x)
}

/// Where the output's pixel lies in the input.
fn place(transform: &str, i: f64, scale: f64, from: f64, to: f64) -> Option<f64> {
    Some(match transform {
        "half_pixel" => (i + 0.5) / scale - 0.5,
        "pytorch_half_pixel" if to > 1.0 => (i + 0.5) / scale - 0.5,
        "pytorch_half_pixel" => 0.0,
        "asymmetric" => i / scale,
        "align_corners" if to > 1.0 => i * (from - 1.0) / (to - 1.0),
        "align_corners" => 0.0,
        _ => return None,
    })
}

fn nearest(rounding: &str, place: f64) -> Option<f64> {
    Some(match rounding {
        "floor" | "simple" => place.floor(),
        "ceil" => place.ceil(),
        "round_prefer_floor" => (place - 0.5).ceil(),
        "round_prefer_ceil" => (place + 0.5).floor(),
        _ => return None,
    })
}

/// A product with constant weights [from, to] along an axis.
fn weighted(c: &mut Context<'_>, x: &str, axis: usize, to: usize, weights: Vec<f32>) -> Result<Id, String> {
    let mut shape = c.g.shape(x);
    let (before, from, behind) = (count(&shape[..axis]), shape[axis], count(&shape[axis + 1..]));
    let matrix = c.g.constant(&[from, to], weights);
    let cube = c.g.view(x, &[before, from, behind]);
    let last = c.g.transpose(&cube, &[0, 2, 1]);
    let y = c.g.matmul(&last, &matrix)?;
    let y = c.g.transpose(&y, &[0, 2, 1]);
    shape[axis] = to;
    Ok(c.g.view(&y, &shape))
}
