//! Functions of one number.

use super::super::context::Context;
use super::super::graph::{Graph, Id};
use super::super::op::Op;
use super::arithmetic::clamp;

pub(super) fn unary(c: &mut Context<'_>, op: &Op<'_>) -> Result<Id, String> {
    let integers = c.known(op, 0)?.range.is_some();
    if integers && !matches!(op.name(), "Abs" | "Neg" | "Relu" | "Sign") {
        return Err("it computes with integers".into());
    }
    c.all_exact(op)?;
    let alpha = |default| op.float("alpha", default);
    let known = matches!(
        op.name(),
        "Relu"
            | "Sigmoid"
            | "Tanh"
            | "Softsign"
            | "Abs"
            | "Neg"
            | "Exp"
            | "Log"
            | "Sqrt"
            | "Reciprocal"
            | "Floor"
            | "Ceil"
            | "Round"
            | "Sign"
            | "Sin"
            | "Cos"
            | "Tan"
            | "Asin"
            | "Acos"
            | "Atan"
            | "Sinh"
            | "Cosh"
            | "Asinh"
            | "Acosh"
            | "Atanh"
            | "LeakyRelu"
            | "PRelu"
            | "Elu"
            | "Selu"
            | "Celu"
            | "ThresholdedRelu"
            | "HardSigmoid"
            | "HardSwish"
            | "Softplus"
            | "Mish"
            | "Swish"
            | "Silu"
            | "QuickGelu"
            | "Erf"
            | "Gelu"
            | "FastGelu"
            | "Shrink"
    );
    if !known {
        return Err("the operator is not on the list of what can be lowered".into());
    }
    let x = c.x0(op)?;
    if op.name() == "PRelu" {
        // Slopes broadcast in one direction only.
        let slope = c.x(op, 1)?;
        return Ok(c.g.binary("PRelu", &x, &slope));
    }
    let g = &mut c.g;
    Ok(match op.name() {
        "LeakyRelu" => leaky(g, &x, alpha(0.01)),
        "Elu" => g.elu(&x, alpha(1.0)),
        "Selu" => {
            let (alpha, gamma) = (alpha(1.673_263_2), op.float("gamma", 1.050_701));
            let y = g.elu(&x, alpha);
            g.affine(&y, gamma, 0.0)
        }
        // alpha · (exp(x / alpha) − 1) is an Elu of a scaled number.
        "Celu" => {
            let y = g.affine(&x, 1.0 / alpha(1.0), 0.0);
            let y = g.elu(&y, 1.0);
            g.affine(&y, alpha(1.0), 0.0)
        }
        "ThresholdedRelu" => {
            let above = g.affine(&x, 1.0, -alpha(1.0));
            let above = g.positive(&above);
            g.mul(&x, &above)
        }
        "Shrink" => {
            let (lambda, bias) = (op.float("lambd", 0.5), op.float("bias", 0.0));
            let (abs, sign) = (g.map("Abs", &x), g.map("Sign", &x));
            let above = g.affine(&abs, 1.0, -lambda);
            let above = g.positive(&above);
            let bias = g.affine(&sign, bias, 0.0);
            let y = g.sub(&x, &bias);
            g.mul(&y, &above)
        }
        "HardSigmoid" => {
            let y = g.affine(&x, alpha(0.2), op.float("beta", 0.5));
            clamp(g, &y, Some(0.0), Some(1.0))
        }
        "HardSwish" => {
            let y = g.affine(&x, 1.0 / 6.0, 0.5);
            let y = clamp(g, &y, Some(0.0), Some(1.0));
            g.mul(&x, &y)
        }
        "Softplus" => softplus(g, &x),
        // tanh(log(1 + e)) = n / (n + 2), where n = e · (e + 2) and e = exp(x): nothing cancels out.
        "Mish" => {
            let e = clamp(g, &x, Some(-100.0), Some(20.0));
            let e = g.map("Exp", &e);
            let n = g.affine(&e, 1.0, 2.0);
            let n = g.mul(&n, &e);
            let whole = g.affine(&n, 1.0, 2.0);
            let part = g.div(&n, &whole);
            g.mul(&x, &part)
        }
        "Swish" | "Silu" | "QuickGelu" => {
            let y = g.affine(&x, alpha(if op.name() == "QuickGelu" { 1.702 } else { 1.0 }), 0.0);
            let y = g.map("Sigmoid", &y);
            g.mul(&x, &y)
        }
        "Tanh" => tanh(g, &x),
        "Erf" => erf(g, &x),
        "Gelu" | "FastGelu" => {
            let inner = if op.name() == "FastGelu" || op.text("approximate", "none") == "tanh" {
                let square = g.mul(&x, &x);
                let cube = g.affine(&square, 0.044_715, 1.0);
                let cube = g.mul(&cube, &x);
                let y = g.affine(&cube, std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2, 0.0);
                g.map("Tanh", &y)
            } else {
                let y = g.affine(&x, std::f32::consts::FRAC_1_SQRT_2, 0.0);
                erf(g, &y)
            };
            let half = g.affine(&inner, 0.5, 0.5);
            g.mul(&x, &half)
        }
        plain => g.map(plain, &x),
    })
}

/// max(x, 0) − alpha · max(−x, 0): wonnx forgets its own behind a general convolution.
fn leaky(g: &mut Graph, x: &str, alpha: f32) -> Id {
    let (above, below) = (g.map("Neg", x), g.map("Relu", x));
    let low = g.map("Relu", &above);
    let low = g.affine(&low, alpha, 0.0);
    g.sub(&below, &low)
}

/// max(x, 0) + log(1 + u), where u = exp(−|x|): as it stands in wonnx, it overflows. The logarithm is the series of
/// 2 · atanh(u / (2 + u)), which is exact for a small u as well, and off by 1e-8 at 1.
fn softplus(g: &mut Graph, x: &str) -> Id {
    let abs = g.map("Abs", x);
    let low = g.map("Neg", &abs);
    let u = g.map("Exp", &low);
    let whole = g.affine(&u, 1.0, 2.0);
    let z = g.div(&u, &whole);
    let square = g.mul(&z, &z);
    let mut series = g.affine(&square, 1.0 / 13.0, 1.0 / 11.0);
    for term in [9.0, 7.0, 5.0, 3.0, 1.0] {
        series = g.mul(&series, &square);
        series = g.affine(&series, 1.0, 1.0 / term);
    }
    let log = g.mul(&series, &z);
    let log = g.affine(&log, 2.0, 0.0);
    let high = g.map("Relu", x);
    g.add(&high, &log)
}

/// Near 0 the device's loses all digits but three, since it subtracts exponentials: there, x − x³ / 3.
fn tanh(g: &mut Graph, x: &str) -> Id {
    let x = clamp(g, x, Some(-10.0), Some(10.0));
    let far = g.map("Tanh", &x);
    let square = g.mul(&x, &x);
    let near = g.affine(&square, -1.0 / 3.0, 1.0);
    let near = g.mul(&near, &x);
    let is_far = g.affine(&square, 1.0, -4e-4);
    let is_far = g.positive(&is_far);
    let is_near = g.not(&is_far);
    let (near, far) = (g.mul(&near, &is_near), g.mul(&far, &is_far));
    g.add(&near, &far)
}

/// Abramowitz and Stegun, 7.1.26: off by 1.5e-7 at most.
fn erf(g: &mut Graph, x: &str) -> Id {
    let abs = g.map("Abs", x);
    let t = g.affine(&abs, 0.327_591_1, 1.0);
    let t = g.map("Reciprocal", &t);
    let mut p = g.affine(&t, 1.061_405_4, 0.0);
    for term in [-1.453_152, 1.421_413_7, -0.284_496_72, 0.254_829_6] {
        p = g.affine(&p, 1.0, term);
        p = g.mul(&p, &t);
    }
    let square = g.mul(x, x);
    let low = g.map("Neg", &square);
    let exp = g.map("Exp", &low);
    let p = g.mul(&p, &exp);
    let y = g.not(&p);
    let sign = g.map("Sign", x);
    g.mul(&y, &sign)
}
