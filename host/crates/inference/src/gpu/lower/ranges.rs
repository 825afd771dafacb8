//! Integers are computed in f32, which is right as long as they stay exact there and within their own type (where
//! the CPU wraps around, f32 does not). So every value carries the range that it can be in.

use super::context::Context;
use super::known::Range;
use super::op::Op;
use tract_onnx::prelude::DatumType;

/// The range of the output of this node, whose type is an integer's or bool.
///
/// # Errors
/// That it may leave what can be computed, or that nothing is known of this operator.
pub(super) fn after(context: &Context<'_>, op: &Op<'_>, output: DatumType, shape: &[usize]) -> Result<Range, String> {
    let all = Range::of(output).ok_or("its type has no range")?;
    if output == DatumType::Bool {
        return Ok(Range::TRUTH);
    }
    let of = |position: usize| {
        let known = op.input(position).and_then(|_| context.known(op, position).ok());
        known.and_then(|k| k.range).ok_or_else(|| "its integers may be anything".to_owned())
    };
    let union = |positions: std::ops::Range<usize>| {
        let mut all: Option<Range> = None;
        for position in positions.filter(|&p| op.input(p).is_some()) {
            let range = of(position)?;
            all = Some(all.map_or(range, |a| a.union(range)));
        }
        all.ok_or_else(|| "it has no inputs".to_owned())
    };
    let reduced = || {
        let n = context.known(op, 0).map(|k| k.shape.iter().product::<usize>()).unwrap_or(1);
        (n / shape.iter().product::<usize>().max(1)) as f64
    };
    let range = match op.name() {
        "Add" => of(0)?.corners(of(1)?, |a, b| a + b),
        "Sub" => of(0)?.corners(of(1)?, |a, b| a - b),
        "Mul" => of(0)?.corners(of(1)?, |a, b| a * b),
        "Neg" => of(0)?.corners(of(0)?, |a, _| -a),
        "Abs" => {
            let a = of(0)?;
            Range::new(0.0, a.low.abs().max(a.high.abs()))
        }
        "Sign" => Range::new(-1.0, 1.0),
        "Relu" => of(0)?.union(Range::new(0.0, 0.0)),
        "Sum" => (1..op.inputs()).try_fold(of(0)?, |sum, i| Ok::<_, String>(sum.corners(of(i)?, |a, b| a + b)))?,
        "ReduceSum" | "CumSum" => {
            let (a, n) =
                (of(0)?, if op.name() == "CumSum" { shape.iter().product::<usize>() as f64 } else { reduced() });
            Range::new((a.low * n).min(0.0), (a.high * n).max(0.0))
        }
        // Numbers of floats are cut, and those out of range are the caller's affair.
        "Cast" => match of(0) {
            Ok(range) if range.within(all) => range,
            Ok(_) => return Err("its integers may not fit the type that they are cast to".into()),
            Err(_) => return Ok(all),
        },
        "ArgMax" | "ArgMin" => {
            let input = context.known(op, 0)?;
            Range::new(0.0, input.shape.iter().copied().max().unwrap_or(1) as f64)
        }
        "Where" => union(1..3)?,
        "Pad" => {
            let value = if op.input(2).is_some() { of(2)? } else { Range::new(0.0, 0.0) };
            of(0)?.union(value)
        }
        "Gather" | "GatherElements" | "GatherND" | "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" | "Flatten"
        | "Identity" | "Dropout" | "Slice" | "Split" | "Expand" | "Tile" | "DepthToSpace" | "SpaceToDepth"
        | "ReduceMax" | "ReduceMin" | "MaxPool" | "Resize" | "Upsample" => of(0)?,
        "Trilu" | "Clip" => of(0)?.union(Range::new(0.0, 0.0)).union(union(1..op.inputs()).unwrap_or(Range::TRUTH)),
        "Concat" | "Max" | "Min" => union(0..op.inputs())?,
        _ => return Err("it is not known what integers it makes".into()),
    };
    if !range.within(all) {
        return Err(format!("its integers may leave their type, {output:?}"));
    }
    Ok(range)
}
