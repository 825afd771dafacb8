//! Normalisations, as means and roots.

use super::super::context::Context;
use super::super::emit::{CHANNELED, Window};
use super::super::graph::{Id, count, float};
use super::super::op::Op;
use super::arithmetic::power;
use super::reduce::{kept, over};

/// wonnx starts a group a channel and one an image, and at most this many.
const GROUPS: usize = 65_535;

pub(super) fn batch(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    if op.int("training_mode", 0) != 0 || c.outputs.len() > 1 || op.int("spatial", 1) == 0 {
        return Err("it is in training mode".into());
    }
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let [n, channels, ..] = shape[..] else { return Err("its input has no channels".into()) };
    let rest = count(&shape[2..]);
    if n > GROUPS || channels > GROUPS || rest > GROUPS {
        return Err("its input is too large".into());
    }
    let epsilon = op.float("epsilon", 1e-5);
    let constants = (1..5).map(|position| c.floats(op, position).ok().flatten()).collect::<Option<Vec<_>>>();
    if let Some([scale, bias, mean, variance]) = constants.as_deref()
        && count(&shape) <= CHANNELED
    {
        // wonnx's own walks over a channel in one thread.
        let factors: Vec<f32> =
            scale.iter().zip(variance).map(|(&s, &v)| (f64::from(s) / f64::from(v + epsilon).sqrt()) as f32).collect();
        let terms = (bias.iter().zip(mean).zip(&factors))
            .map(|((&b, &m), &f)| (f64::from(b) - f64::from(m) * f64::from(f)) as f32)
            .collect();
        // Images stay as they are, so that wonnx can join it with the activation behind.
        let x = if shape.len() == 4 { x } else { c.g.view(&x, &[n, channels, rest, 1]) };
        return Ok(c.g.channels(&x, factors, terms));
    }
    let x = c.g.view(&x, &[n, channels, rest, 1]);
    let mut parameters = vec![x];
    for position in 1..5 {
        parameters.push(c.x(op, position)?);
    }
    let inputs: Vec<&str> = parameters.iter().map(String::as_str).collect();
    Ok(c.g.push("BatchNormalization", &inputs, &[n, channels, rest, 1], vec![float("epsilon", epsilon)]))
}

/// (x − mean) / √(variance + epsilon) over these axes.
fn standard(c: &mut Context<'_>, x: &str, axes: &[usize], epsilon: f32) -> Result<Id, String> {
    let kept = kept(&c.g.shape(x), axes);
    let mean = over(c, "ReduceMean", x, axes)?;
    let mean = c.g.view(&mean, &kept);
    let apart = c.g.sub(x, &mean);
    scaled(c, &apart, axes, epsilon)
}

/// x / √(mean of x² + epsilon).
fn scaled(c: &mut Context<'_>, x: &str, axes: &[usize], epsilon: f32) -> Result<Id, String> {
    let kept = kept(&c.g.shape(x), axes);
    let square = c.g.mul(x, x);
    let mean = over(c, "ReduceMean", &square, axes)?;
    let mean = c.g.affine(&mean, 1.0, epsilon);
    let root = c.g.map("Sqrt", &mean);
    let root = c.g.view(&root, &kept);
    Ok(c.g.div(x, &root))
}

fn scale_and_shift(c: &mut Context<'_>, op: &Op<'_>, mut y: Id, shape: Option<&[usize]>) -> Result<Id, String> {
    for (position, name) in [(1, "Mul"), (2, "Add")] {
        if op.input(position).is_some() {
            let mut parameter = c.x(op, position)?;
            if let Some(shape) = shape {
                parameter = c.g.view(&parameter, shape);
            }
            y = c.g.binary(name, &y, &parameter);
        }
    }
    Ok(y)
}

pub(super) fn layer(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let axes: Vec<usize> = (op.axis(-1, shape.len())?..shape.len()).collect();
    let y = standard(c, &x, &axes, op.float("epsilon", 1e-5))?;
    scale_and_shift(c, op, y, None)
}

pub(super) fn root_mean_square(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let axes: Vec<usize> = (op.axis(-1, shape.len())?..shape.len()).collect();
    let y = scaled(c, &x, &axes, op.float("epsilon", 1e-5))?;
    scale_and_shift(c, op, y, None)
}

pub(super) fn group(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let [n, channels, ..] = shape[..] else { return Err("its input has no channels".into()) };
    let instance = op.name() == "InstanceNormalization";
    let groups = if instance { channels } else { op.int("num_groups", 1).max(1) as usize };
    let rest = count(&shape[2..]);
    let cube = c.g.view(&x, &[n, groups, channels / groups * rest]);
    let y = standard(c, &cube, &[2], op.float("epsilon", 1e-5))?;
    let parameters = count(&c.shape(op, 1)?);
    if parameters != channels {
        // Before operator set 21, one a group.
        return scale_and_shift(c, op, y, Some(&[1, parameters, 1]));
    }
    let y = c.g.view(&y, &[n, channels, rest]);
    scale_and_shift(c, op, y, Some(&[1, channels, 1]))
}

pub(super) fn mean_variance(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let x = c.x0(op)?;
    let axes = c.axes(op, 1)?.unwrap_or_else(|| vec![0, 2, 3]);
    standard(c, &x, &axes, 1e-9)
}

pub(super) fn lp(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let axis = op.axis(-1, shape.len())?;
    let name = if op.int("p", 2) == 1 { "ReduceL1" } else { "ReduceL2" };
    let size = over(c, name, &x, &[axis])?;
    // Nothing but zeros stays zeros.
    let some = c.g.map("Sign", &size);
    let none = c.g.not(&some);
    let size = c.g.add(&size, &none);
    let size = c.g.view(&size, &kept(&shape, &[axis]));
    Ok(c.g.div(&x, &size))
}

/// x / (bias + alpha · mean of x² over neighbouring channels)^beta.
pub(super) fn local_response(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let (x, shape) = (c.x0(op)?, c.shape(op, 0)?);
    let [n, channels, ..] = shape[..] else { return Err("its input has no channels".into()) };
    let (size, rest) = (op.int("size", 1).max(1) as usize, count(&shape[2..]));
    let square = c.g.mul(&x, &x);
    let images = c.g.view(&square, &[n, 1, channels, rest]);
    let window = Window {
        kernel: [size, 1],
        strides: [1, 1],
        dilations: [1, 1],
        before: [(size - 1) / 2, 0],
        out: [channels, rest],
    };
    let mean = c.g.pool("AveragePool", &images, &window, true);
    let mean = c.g.view(&mean, &shape);
    let base = c.g.affine(&mean, op.float("alpha", 1e-4), op.float("bias", 1.0));
    let divisor = power(&mut c.g, &base, op.float("beta", 0.75));
    Ok(c.g.div(&x, &divisor))
}
