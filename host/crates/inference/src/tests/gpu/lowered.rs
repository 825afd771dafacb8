//! One small model for every thing that wonnx lacks or gets wrong, and that the lowering pass cures.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, TensorProto};

use crate::testing::{Builder, floats, int, ints, mlp, text, value};

pub(super) fn x(shape: &[i64]) -> Builder {
    Builder::default().input("x", shape)
}

pub(super) fn y(builder: Builder, shape: &[i64]) -> Builder {
    builder.output("y", shape)
}

/// Integers, raw, as exporters write them.
pub(super) fn whole(name: &str, numbers: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![numbers.len() as i64],
        data_type: DataType::Int64 as i32,
        raw_data: numbers.iter().flat_map(|d| d.to_le_bytes()).collect(),
        ..Default::default()
    }
}

pub(super) fn opset(version: i64, mut builder: Builder) -> Builder {
    builder.opset = version;
    builder
}

pub(super) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: 1, f, ..Default::default() }
}

fn conv(inputs: &[&str], kernel: i64, attributes: Vec<AttributeProto>, output: &str) -> Builder {
    let mut all = vec![ints("kernel_shape", &[kernel, kernel])];
    all.extend(attributes);
    let weights = x(&[1, 3, 8, 8]).weights("w", &[4, 3, kernel, kernel], 0.3).weights("b", &[4], 0.3);
    weights.node("Conv", inputs, output, all)
}

/// One operator of one input.
fn unary(op: &str, attributes: Vec<AttributeProto>) -> Builder {
    y(x(&[2, 7]).node(op, &["x"], "y", attributes), &[2, 7])
}

pub(super) fn cases() -> Vec<(&'static str, Builder)> {
    let mut cases = shapes();
    cases.extend(products());
    cases.extend(windows());
    cases.extend(pointwise());
    cases
}

fn shapes() -> Vec<(&'static str, Builder)> {
    vec![
        ("Concat on an inner axis", y(x(&[2, 4]).node("Concat", &["x", "x"], "y", vec![int("axis", 1)]), &[2, 8])),
        (
            "Squeeze with axes as an input, read back",
            y(x(&[1, 4]).initializer(whole("a", &[0])).node("Squeeze", &["x", "a"], "y", vec![]), &[4]),
        ),
        (
            "a Reshape that is read back",
            y(x(&[2, 4]).initializer(whole("s", &[8])).node("Reshape", &["x", "s"], "y", vec![]), &[8]),
        ),
        (
            "Slice",
            y(
                x(&[3, 9])
                    .initializer(whole("from", &[1, -1]))
                    .initializer(whole("to", &[3, -10]))
                    .initializer(whole("axes", &[0, 1]))
                    .initializer(whole("steps", &[1, -2]))
                    .node("Slice", &["x", "from", "to", "axes", "steps"], "y", vec![]),
                &[2, 5],
            ),
        ),
        (
            "Gather on an inner axis, with raw indices",
            y(
                x(&[2, 5, 3]).initializer(whole("i", &[4, 0, -2])).node(
                    "Gather",
                    &["x", "i"],
                    "y",
                    vec![int("axis", 1)],
                ),
                &[2, 3, 3],
            ),
        ),
        (
            "Expand",
            y(x(&[3, 1]).initializer(whole("s", &[2, 3, 5])).node("Expand", &["x", "s"], "y", vec![]), &[2, 3, 5]),
        ),
        ("Tile", y(x(&[2, 3]).initializer(whole("r", &[2, 2])).node("Tile", &["x", "r"], "y", vec![]), &[4, 6])),
        ("Pad", y(x(&[2, 3]).initializer(whole("p", &[1, 2, 0, 3])).node("Pad", &["x", "p"], "y", vec![]), &[3, 8])),
        (
            "Pad by reflection",
            y(
                x(&[2, 5]).initializer(whole("p", &[0, 2, 0, 3])).node(
                    "Pad",
                    &["x", "p"],
                    "y",
                    vec![text("mode", "reflect")],
                ),
                &[2, 10],
            ),
        ),
        (
            "a constant expression",
            y(
                x(&[4]).weights("w", &[4], 1.0).node("Relu", &["w"], "z", vec![]).node("Add", &["x", "z"], "y", vec![]),
                &[4],
            ),
        ),
        (
            "a constant of 17 numbers",
            y(x(&[1, 17]).weights("w", &[1, 17], 1.0).node("Add", &["x", "w"], "y", vec![]), &[1, 17]),
        ),
        ("open dimensions", mlp(-1, 8, 8, 8)),
    ]
}

fn products() -> Vec<(&'static str, Builder)> {
    vec![
        ("an inner size that is no multiple of 4", mlp(4, 10, 8, 8)),
        ("rows that are no multiple of 4", mlp(2, 8, 8, 8)),
        ("columns that are no multiple of 4", mlp(8, 8, 8, 7)),
        (
            "Gemm that transposes",
            y(x(&[4, 4]).weights("w", &[4, 4], 1.0).node("Gemm", &["x", "w"], "y", vec![int("transB", 1)]), &[4, 4]),
        ),
        (
            "Gemm with one number as its bias",
            y(
                x(&[1, 4]).weights("w", &[4, 4], 1.0).weights("b", &[1], 1.0).node(
                    "Gemm",
                    &["x", "w", "b"],
                    "y",
                    vec![],
                ),
                &[1, 4],
            ),
        ),
        (
            "stacks of matrices that broadcast",
            y(x(&[2, 3, 1, 5]).weights("w", &[3, 5, 6], 1.0).node("MatMul", &["x", "w"], "y", vec![]), &[2, 3, 1, 6]),
        ),
        ("Softmax on an outer axis", y(x(&[4, 4]).node("Softmax", &["x"], "y", vec![int("axis", 0)]), &[4, 4])),
        ("a late operator set", opset(17, y(x(&[4, 4]).node("Softmax", &["x"], "y", vec![]), &[4, 4]))),
        (
            "a mean that keeps an axis of 1",
            y(x(&[2, 1, 4]).node("ReduceMean", &["x"], "y", vec![ints("axes", &[2])]), &[2, 1, 1]),
        ),
        (
            "LayerNormalization",
            opset(
                17,
                y(
                    x(&[2, 6]).weights("s", &[6], 1.0).weights("b", &[6], 1.0).node(
                        "LayerNormalization",
                        &["x", "s", "b"],
                        "y",
                        vec![],
                    ),
                    &[2, 6],
                ),
            ),
        ),
    ]
}

fn windows() -> Vec<(&'static str, Builder)> {
    let pool = |op: &str, attributes: Vec<AttributeProto>| {
        let mut all = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
        all.extend(attributes);
        x(&[1, 4, 7, 7]).node(op, &["x"], "y", all)
    };
    vec![
        ("a 3×3 convolution without a bias", y(conv(&["x", "w"], 3, vec![], "y"), &[1, 4, 6, 6])),
        (
            "a dilated 3×3 convolution",
            y(conv(&["x", "w", "b"], 3, vec![ints("dilations", &[2, 2])], "y"), &[1, 4, 4, 4]),
        ),
        (
            "a 3×3 convolution that sets auto_pad",
            y(conv(&["x", "w", "b"], 3, vec![text("auto_pad", "NOTSET")], "y"), &[1, 4, 6, 6]),
        ),
        (
            "a convolution that uses auto_pad",
            y(conv(&["x", "w", "b"], 3, vec![text("auto_pad", "SAME_UPPER")], "y"), &[1, 4, 8, 8]),
        ),
        (
            "an activation behind a general convolution",
            y(
                conv(&["x", "w", "b"], 5, vec![], "c").node("LeakyRelu", &["c"], "y", vec![float("alpha", 0.25)]),
                &[1, 4, 4, 4],
            ),
        ),
        ("MaxPool with ceil_mode", y(pool("MaxPool", vec![int("ceil_mode", 1)]), &[1, 4, 4, 4])),
        (
            "ConvTranspose",
            y(
                x(&[1, 2, 3, 3]).weights("w", &[2, 3, 3, 3], 0.5).node(
                    "ConvTranspose",
                    &["x", "w"],
                    "y",
                    vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), ints("pads", &[1, 1, 1, 1])],
                ),
                &[1, 3, 5, 5],
            ),
        ),
        (
            "a convolution of a signal",
            y(
                x(&[1, 3, 9]).weights("w", &[4, 3, 3], 0.5).node(
                    "Conv",
                    &["x", "w"],
                    "y",
                    vec![ints("kernel_shape", &[3])],
                ),
                &[1, 4, 7],
            ),
        ),
        (
            "Resize",
            y(
                x(&[1, 2, 3, 3]).initializer(floats("s", &[4], &[1.0, 1.0, 2.0, 2.0])).node(
                    "Resize",
                    &["x", "", "s"],
                    "y",
                    vec![
                        text("mode", "nearest"),
                        text("coordinate_transformation_mode", "asymmetric"),
                        text("nearest_mode", "floor"),
                    ],
                ),
                &[1, 2, 6, 6],
            ),
        ),
    ]
}

fn pointwise() -> Vec<(&'static str, Builder)> {
    let clip = |low: f32, high: f32| {
        let bounds = x(&[4]).initializer(floats("l", &[], &[low])).initializer(floats("h", &[], &[high]));
        y(bounds.node("Clip", &["x", "l", "h"], "y", vec![]), &[4])
    };
    let mut flags = Builder::default().weights("t", &[4], 1.0).node("Where", &["c", "x", "t"], "y", vec![]);
    flags.graph.input.push(value("c", DataType::Bool, &[4]));
    let mut tokens = Builder::default().weights("t", &[50, 6], 1.0).node("Gather", &["t", "ids"], "y", vec![]);
    tokens.graph.input.push(value("ids", DataType::Int64, &[1, 5]));
    vec![
        (
            "Pow of a base below 0",
            y(x(&[4]).initializer(floats("e", &[1], &[3.0])).node("Pow", &["x", "e"], "y", vec![]), &[4]),
        ),
        ("Erf", unary("Erf", vec![])),
        ("HardSigmoid", unary("HardSigmoid", vec![])),
        ("HardSwish", opset(14, unary("HardSwish", vec![]))),
        ("Selu", unary("Selu", vec![])),
        ("Clip to a bound of two digits", clip(0.0, 0.25)),
        ("Sum", y(x(&[4]).weights("w", &[4], 1.0).node("Sum", &["x", "w", "x"], "y", vec![]), &[4])),
        ("Max", y(x(&[4]).weights("w", &[4], 1.0).node("Max", &["x", "w"], "y", vec![]), &[4])),
        ("a choice by a truth value", y(flags.input("x", &[4]), &[4])),
        ("an embedding of integers", y(tokens, &[1, 5, 6])),
    ]
}

/// Models that stay refused, each with a word of the reason that must be given.
pub(super) fn refusals() -> Vec<(&'static str, Builder)> {
    let mut wide = Builder::default().node("Mul", &["a", "a"], "z", vec![]).node("Mul", &["z", "z"], "y", vec![]);
    wide.graph.input.push(value("a", DataType::Uint8, &[4]));
    wide.graph.output.push(value("y", DataType::Uint8, &[4]));
    vec![
        ("at most 128", y(x(&[64 << 20]).node("Relu", &["x"], "y", vec![]), &[64 << 20])),
        ("may leave their type", wide),
        (
            "is no constant",
            y(
                x(&[1, 3, 8, 8]).input("w", &[4, 3, 3, 3]).node(
                    "Conv",
                    &["x", "w"],
                    "y",
                    vec![ints("kernel_shape", &[3, 3])],
                ),
                &[1, 4, 6, 6],
            ),
        ),
    ]
}
