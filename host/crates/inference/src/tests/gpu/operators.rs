//! One small model for every operator that has a rule: at a size, a type or a place where wonnx is wrong or refuses.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, NodeProto};

use super::lowered::{float, opset, whole, x, y};
use crate::testing::{Builder, floats, int, ints, text, value};

type Case = (&'static str, Builder);

/// A size that does not divide into workgroups: the threads too many write over what lies behind.
const UNEVEN: i64 = 4 * 65_537;

pub(super) fn cases() -> Vec<Case> {
    [unary(), several(), truths(), moved(), chosen(), reduced(), windows(), normalised()]
        .into_iter()
        .flatten()
        .collect()
}

/// One input and one output of these shapes.
fn one(op: &'static str, from: &[i64], attributes: Vec<AttributeProto>, to: &[i64]) -> Case {
    (op, y(x(from).node(op, &["x"], "y", attributes), to))
}

fn unary() -> Vec<Case> {
    let plain = [
        "Relu",
        "Elu",
        "Sigmoid",
        "Tanh",
        "Softsign",
        "Abs",
        "Neg",
        "Exp",
        "Log",
        "Sqrt",
        "Reciprocal",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Sin",
        "Cos",
        "Tan",
        "Asin",
        "Acos",
        "Atan",
        "Sinh",
        "Cosh",
        "Asinh",
        "Acosh",
        "Atanh",
    ];
    let mut cases: Vec<Case> = plain.iter().map(|op| one(op, &[1, UNEVEN], vec![], &[1, UNEVEN])).collect();
    for op in [
        "LeakyRelu",
        "Selu",
        "Celu",
        "ThresholdedRelu",
        "Softplus",
        "HardSigmoid",
        "Erf",
        "Shrink",
        "QuickGelu",
        "FastGelu",
    ] {
        cases.push(one(op, &[2, 7], vec![], &[2, 7]));
    }
    for (op, version) in [("HardSwish", 14), ("Mish", 18), ("Gelu", 20), ("Swish", 24)] {
        let (op, model) = one(op, &[2, 7], vec![], &[2, 7]);
        cases.push((op, opset(version, model)));
    }
    let slopes = x(&[1, UNEVEN]).weights("s", &[1, UNEVEN], 1.0);
    cases.push(("PRelu", y(slopes.node("PRelu", &["x", "s"], "y", vec![]), &[1, UNEVEN])));
    cases
}

fn several() -> Vec<Case> {
    let two = |op: &'static str| {
        (op, y(x(&[1, UNEVEN]).weights("w", &[1, UNEVEN], 1.0).node(op, &["x", "w"], "y", vec![]), &[1, UNEVEN]))
    };
    let mut cases: Vec<Case> = ["Add", "Sub", "Mul", "Div"].into_iter().map(two).collect();
    for op in ["Sum", "Mean", "Max", "Min"] {
        cases.push((op, y(x(&[4]).weights("w", &[4], 1.0).node(op, &["x", "w"], "y", vec![]), &[4])));
    }
    let power = x(&[4]).initializer(floats("e", &[1], &[3.0]));
    cases.push(("Pow", y(power.node("Pow", &["x", "e"], "y", vec![]), &[4])));
    let bounds = x(&[4]).initializer(floats("l", &[], &[-0.25])).initializer(floats("h", &[], &[0.75]));
    cases.push(("Clip", y(bounds.node("Clip", &["x", "l", "h"], "y", vec![]), &[4])));
    let product = x(&[2, 3]).weights("w", &[3, 5], 1.0);
    cases.push(("MatMul", y(product.node("MatMul", &["x", "w"], "y", vec![]), &[2, 5])));
    let scaled = x(&[4, 4]).weights("w", &[4, 4], 1.0);
    cases.push(("Gemm", y(scaled.node("Gemm", &["x", "w"], "y", vec![float("alpha", 0.5)]), &[4, 4])));
    let stacks = x(&[2, 3, 4]).weights("w", &[2, 4, 5], 1.0);
    let equation = vec![text("equation", "bij,bjk->bik")];
    cases.push(("Einsum", y(stacks.node("Einsum", &["x", "w"], "y", equation), &[2, 3, 5])));
    let mut one = whole("a", &[1]);
    one.dims.clear();
    let axis = x(&[2, 5]).initializer(one);
    cases.push(("CumSum", y(axis.node("CumSum", &["x", "a"], "y", vec![]), &[2, 5])));
    let mut bytes = Builder::default().initializer(floats("s", &[], &[0.5]));
    bytes.graph.input.push(value("x", DataType::Uint8, &[8]));
    cases.push(("DequantizeLinear", y(bytes.node("DequantizeLinear", &["x", "s"], "y", vec![]), &[8])));
    cases
}

/// `x` where the condition holds, else what it is compared with.
fn truths() -> Vec<Case> {
    let limits = || x(&[64]).weights("v", &[64], 1.0).weights("w", &[64], 1.0);
    let mut cases: Vec<Case> = ["Greater", "Less", "GreaterOrEqual", "LessOrEqual"]
        .into_iter()
        .map(|op| (op, choice(limits().node(op, &["x", "w"], "c", vec![]))))
        .collect();
    let zero = limits().initializer(floats("zero", &[1], &[0.0])).node("Relu", &["x"], "r", vec![]);
    cases.push(("Equal", choice(zero.node("Equal", &["r", "zero"], "c", vec![]))));
    let both = || limits().node("Greater", &["x", "w"], "a", vec![]).node("Less", &["x", "v"], "b", vec![]);
    for op in ["And", "Or", "Xor"] {
        cases.push((op, choice(both().node(op, &["a", "b"], "c", vec![]))));
    }
    cases.push(("Not", choice(both().node("Not", &["a"], "c", vec![]))));
    cases.push(("Where", choice(limits().node("Greater", &["w", "x"], "c", vec![]))));
    let cut = x(&[8]).node("Cast", &["x"], "i", vec![int("to", DataType::Int32 as i64)]);
    cases.push(("Cast", y(cut.node("Cast", &["i"], "y", vec![int("to", DataType::Float as i64)]), &[8])));
    let mut like = Builder::default().initializer(floats("l", &[1], &[0.0]));
    like.graph.input.push(value("x", DataType::Uint8, &[8]));
    cases.push(("CastLike", opset(15, y(like.node("CastLike", &["x", "l"], "y", vec![]), &[8]))));
    cases
}

fn choice(condition: Builder) -> Builder {
    y(condition.node("Where", &["c", "x", "w"], "y", vec![]), &[64])
}

/// What only passes numbers on: the output could not be read back.
fn moved() -> Vec<Case> {
    let mut cases = vec![
        one("Identity", &[2, 4], vec![], &[2, 4]),
        one("Flatten", &[2, 2, 2], vec![], &[2, 4]),
        one("Dropout", &[2, 4], vec![], &[2, 4]),
        one("DepthToSpace", &[1, 4, 2, 3], vec![int("blocksize", 2)], &[1, 1, 4, 6]),
        one("SpaceToDepth", &[1, 1, 4, 6], vec![int("blocksize", 2)], &[1, 4, 2, 3]),
    ];
    let listed = |op, numbers: &[i64], to: &[i64]| {
        (op, y(x(&[1, 4]).initializer(whole("n", numbers)).node(op, &["x", "n"], "y", vec![]), to))
    };
    cases.push(listed("Reshape", &[2, 2], &[2, 2]));
    cases.push(listed("Squeeze", &[0], &[4]));
    cases.push(listed("Unsqueeze", &[0], &[1, 1, 4]));
    cases.push(listed("Expand", &[3, 4], &[3, 4]));
    cases.push(listed("Tile", &[2, 2], &[2, 8]));
    cases.push(listed("Pad", &[0, 1, 0, 2], &[1, 7]));
    // Right as it stands, but for a number behind the point that no f32 is: the bound of the Clip behind it.
    let turned = x(&[2, 3]).initializer(floats("l", &[], &[-0.25])).initializer(floats("h", &[], &[0.75]));
    let turned = turned.node("Transpose", &["x"], "t", vec![ints("perm", &[1, 0])]);
    cases.push(("Transpose", y(turned.node("Clip", &["t", "l", "h"], "y", vec![]), &[3, 2])));
    cases.push(("Concat", y(x(&[2, 4]).node("Concat", &["x", "x"], "y", vec![int("axis", 1)]), &[2, 8])));
    let mut split = opset(12, x(&[2, 6]));
    split.graph.node.push(NodeProto {
        op_type: "Split".into(),
        input: vec!["x".into()],
        output: vec!["a".into(), "b".into()],
        attribute: vec![int("axis", 1), ints("split", &[2, 4])],
        ..Default::default()
    });
    cases.push(("Split", split.output("a", &[2, 2]).output("b", &[2, 4])));
    cases
}

fn chosen() -> Vec<Case> {
    let by = |op, numbers: &[i64], dims: &[i64], attributes, to: &[i64]| {
        let mut indices = whole("i", numbers);
        indices.dims = dims.to_vec();
        (op, y(x(&[3, 4]).initializer(indices).node(op, &["x", "i"], "y", attributes), to))
    };
    let mut cases = vec![
        by("Gather", &[3, 0], &[2], vec![int("axis", 1)], &[3, 2]),
        by("GatherElements", &[1, 0, 2, 1], &[1, 4], vec![], &[1, 4]),
        by("GatherND", &[2, 1, 0, 3], &[2, 2], vec![], &[2]),
        ("Trilu", opset(14, one("Trilu", &[4, 4], vec![int("upper", 0)], &[4, 4]).1)),
    ];
    let ends = x(&[3, 9]).initializer(whole("from", &[1])).initializer(whole("to", &[7])).initializer(whole("a", &[1]));
    cases.push(("Slice", y(ends.node("Slice", &["x", "from", "to", "a"], "y", vec![]), &[3, 6])));
    let mut hot = Builder::default().initializer(whole("d", &[5])).initializer(floats("v", &[2], &[0.5, 2.0]));
    hot.graph.input.push(value("x", DataType::Int64, &[3]));
    cases.push(("OneHot", y(hot.node("OneHot", &["x", "d", "v"], "y", vec![]), &[3, 5])));
    let doubled = x(&[1, 2, 3, 3]).initializer(floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]));
    let how = vec![text("mode", "linear"), text("coordinate_transformation_mode", "half_pixel")];
    cases.push(("Resize", y(doubled.node("Resize", &["x", "", "s"], "y", how), &[1, 2, 6, 6])));
    cases
}

fn reduced() -> Vec<Case> {
    // An axis of 1 that stays behind a larger one is indexed wrongly.
    let ops = [
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceSumSquare",
    ];
    let one_stays = |op: &&'static str| {
        let (name, model) = one(op, &[2, 1, 4], vec![ints("axes", &[2])], &[2, 1, 1]);
        (name, opset(12, model))
    };
    let mut cases: Vec<Case> = ops.iter().map(one_stays).collect();
    for op in ["Softmax", "LogSoftmax", "Hardmax"] {
        cases.push(one(op, &[4, 4], vec![int("axis", 0)], &[4, 4]));
    }
    for op in ["ArgMax", "ArgMin"] {
        let place = x(&[3, 5]).node(op, &["x"], "i", vec![int("axis", 1)]);
        cases.push((op, y(place.node("Cast", &["i"], "y", vec![int("to", DataType::Float as i64)]), &[3, 1])));
    }
    cases
}

fn windows() -> Vec<Case> {
    let pool = |op, attributes: Vec<AttributeProto>| {
        let mut all = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
        all.extend(attributes);
        one(op, &[1, 4, 7, 7], all, &[1, 4, 4, 4])
    };
    let kernel = || vec![ints("kernel_shape", &[3, 3])];
    let conv = x(&[1, 3, 8, 8]).weights("w", &[4, 3, 3, 3], 0.3).node("Conv", &["x", "w"], "y", kernel());
    let back = x(&[1, 2, 3, 3]).weights("w", &[2, 3, 3, 3], 0.5).node("ConvTranspose", &["x", "w"], "y", kernel());
    vec![
        ("Conv", y(conv, &[1, 4, 6, 6])),
        ("ConvTranspose", y(back, &[1, 3, 5, 5])),
        pool("MaxPool", vec![int("ceil_mode", 1)]),
        pool("AveragePool", vec![int("ceil_mode", 1)]),
        one("GlobalAveragePool", &[1, 3, 5], vec![], &[1, 3, 1]),
        one("GlobalMaxPool", &[1, 3, 5, 5], vec![], &[1, 3, 1, 1]),
    ]
}

fn normalised() -> Vec<Case> {
    let scaled = |version, op, shape: &[i64], size: i64, attributes| {
        let model = x(shape).weights("s", &[size], 1.0).weights("b", &[size], 1.0);
        (op, opset(version, y(model.node(op, &["x", "s", "b"], "y", attributes), shape)))
    };
    let batch = x(&[2, 4]).weights("s", &[4], 1.0).weights("b", &[4], 1.0).weights("m", &[4], 1.0);
    let batch = batch.initializer(floats("v", &[4], &[0.5, 1.0, 1.5, 2.0]));
    let batch = batch.node("BatchNormalization", &["x", "s", "b", "m", "v"], "y", vec![]);
    let root = |op| (op, opset(23, y(x(&[2, 6]).weights("s", &[6], 1.0).node(op, &["x", "s"], "y", vec![]), &[2, 6])));
    vec![
        root("SimplifiedLayerNormalization"),
        root("RMSNormalization"),
        ("BatchNormalization", y(batch, &[2, 4])),
        scaled(17, "LayerNormalization", &[2, 6], 6, vec![]),
        scaled(13, "InstanceNormalization", &[2, 3, 4, 4], 3, vec![]),
        scaled(21, "GroupNormalization", &[2, 4, 3, 3], 4, vec![int("num_groups", 2)]),
        one("LpNormalization", &[2, 5], vec![], &[2, 5]),
        one("MeanVarianceNormalization", &[2, 3, 4, 4], vec![], &[2, 3, 4, 4]),
        one("LRN", &[1, 5, 2, 2], vec![int("size", 3)], &[1, 5, 2, 2]),
    ]
}

/// Operators with a rule that tract, which the GPU is compared with, has not got, or gets wrong.
pub(super) fn without_reference() -> Vec<Case> {
    let kernel = vec![ints("kernel_shape", &[2, 2])];
    let lengths = x(&[2, 3]).initializer(whole("n", &[1, 2, 3]));
    let scales = x(&[1, 1, 2, 2]).initializer(floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]));
    vec![
        ("ReverseSequence", y(lengths.node("ReverseSequence", &["x", "n"], "y", vec![]), &[2, 3])),
        ("Upsample", opset(9, y(scales.node("Upsample", &["x", "s"], "y", vec![]), &[1, 1, 4, 4]))),
        one("LpPool", &[1, 1, 3, 3], kernel, &[1, 1, 2, 2]),
        // tract has it, and divides by the number of elements: the canary refuses what is right here.
        one("GlobalLpPool", &[1, 3, 5, 5], vec![], &[1, 3, 1, 1]),
        one("Silu", &[2, 6], vec![], &[2, 6]),
    ]
}
