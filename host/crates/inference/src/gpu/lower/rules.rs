//! One rule an operator: from a node of the file to instructions. Families share a file.

mod activation;
mod arithmetic;
mod images;
mod index;
mod linear;
mod logic;
mod normalise;
mod reduce;
mod resize;
mod shape;

use tract_onnx::prelude::{tensor0, tensor1};

use super::context::Context;
use super::graph::Id;
use super::known::Known;
use super::op::Op;

/// What a rule gives: the outputs by position, or why there are none.
type Made = Result<Vec<Id>, String>;

/// What depends on the shape of the input alone, and is a constant therefore.
///
/// # Errors
/// An input that nothing makes.
pub(super) fn from_shapes(context: &Context<'_>, op: &Op<'_>) -> Result<Option<Known>, String> {
    let numbers: Vec<i64> = match op.name() {
        "Shape" => {
            let shape: Vec<i64> = context.shape(op, 0)?.iter().map(|&d| d as i64).collect();
            let rank = shape.len() as i64;
            let end = |n: i64| (if n < 0 { n + rank } else { n }).clamp(0, rank) as usize;
            let (from, to) = (end(op.int("start", 0)), end(op.int("end", rank)));
            shape.get(from..to).unwrap_or_default().to_vec()
        }
        "Size" => {
            let size = context.shape(op, 0)?.iter().product::<usize>() as i64;
            return Ok(Some(Known::constant(tensor0(size))));
        }
        _ => return Ok(None),
    };
    Ok(Some(Known::constant(tensor1(&numbers))))
}

/// Applies the rule of the node's operator.
///
/// # Errors
/// There is no rule, or it does not cover this node.
pub(super) fn apply(c: &mut Context<'_>, op: &Op<'_>) -> Made {
    let one = |made: Result<Id, String>| made.map(|id| vec![id]);
    match op.name() {
        "Identity" | "Dropout" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => one(shape::same(c, op)),
        "Cast" | "CastLike" => one(logic::cast(c, op)),
        "Transpose" => one(shape::transpose(c, op)),
        "Concat" => one(shape::concat(c, op)),
        "Expand" => one(shape::expand(c, op)),
        "Tile" => one(shape::tile(c, op)),
        "DepthToSpace" => one(shape::depth_to_space(c, op)),
        "SpaceToDepth" => one(shape::space_to_depth(c, op)),
        "Slice" => one(index::slice(c, op)),
        "Split" => index::split(c, op),
        "Pad" => one(index::pad(c, op)),
        "Gather" => one(index::gather(c, op)),
        "GatherElements" => one(index::gather_elements(c, op)),
        "GatherND" => one(index::gather_nd(c, op)),
        "Trilu" => one(index::triangle(c, op)),
        "OneHot" => one(index::one_hot(c, op)),
        "ReverseSequence" => one(index::reverse_sequence(c, op)),
        "Upsample" | "Resize" => one(resize::resize(c, op)),
        "MatMul" => one(linear::matmul(c, op)),
        "Gemm" => one(linear::gemm(c, op)),
        "Einsum" => one(linear::einsum(c, op)),
        "CumSum" => one(linear::cumulative_sum(c, op)),
        "Conv" => one(images::conv(c, op)),
        "ConvTranspose" => one(images::conv_transpose(c, op)),
        "MaxPool" | "AveragePool" | "LpPool" => one(images::pool(c, op)),
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => one(images::global_pool(c, op)),
        "ArgMax" | "ArgMin" => one(reduce::arg(c, op)),
        name if name.starts_with("Reduce") => one(reduce::reduce(c, op)),
        "Softmax" | "LogSoftmax" => one(reduce::softmax(c, op)),
        "Hardmax" => one(reduce::hardmax(c, op)),
        "BatchNormalization" => one(normalise::batch(c, op)),
        "LayerNormalization" => one(normalise::layer(c, op)),
        "SimplifiedLayerNormalization" | "RMSNormalization" => one(normalise::root_mean_square(c, op)),
        "InstanceNormalization" | "GroupNormalization" => one(normalise::group(c, op)),
        "MeanVarianceNormalization" => one(normalise::mean_variance(c, op)),
        "LpNormalization" => one(normalise::lp(c, op)),
        "LRN" => one(normalise::local_response(c, op)),
        "Add" | "Sub" | "Mul" | "Div" => one(arithmetic::binary(c, op)),
        "Pow" => one(arithmetic::pow(c, op)),
        "Sum" | "Mean" | "Max" | "Min" => one(arithmetic::variadic(c, op)),
        "Clip" => one(arithmetic::clip(c, op)),
        "DequantizeLinear" => one(arithmetic::dequantize(c, op)),
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor" | "Not" => {
            one(logic::compare(c, op))
        }
        "Where" => one(logic::select(c, op)),
        _ => one(activation::unary(c, op)),
    }
}
