//! Small ONNX models, written byte by byte: the tests need no package for them.
//!
//! Field numbers are those of `onnx.proto`.

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: Self) -> Self {
        self.bytes(field, &value.0)
    }
}

/// FP32 in `onnx.proto`'s TensorProto.DataType.
const FLOAT: u64 = 1;

fn value_info(name: &str, shape: &[u64]) -> Message {
    typed_info(name, FLOAT, shape)
}

fn typed_info(name: &str, data_type: u64, shape: &[u64]) -> Message {
    let dimension = |d| match d {
        OPEN => Message::default().text(2, "n"),
        d => Message::default().int(1, d),
    };
    let dimensions = shape.iter().fold(Message::default(), |m, &d| m.message(1, dimension(d)));
    let tensor = Message::default().int(1, data_type).message(2, dimensions);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor))
}

fn model(graph: Message) -> Vec<u8> {
    let opset = Message::default().text(1, "").int(2, 13);
    Message::default().int(1, 8).text(2, "aimass-tests").message(7, graph).message(8, opset).0
}

/// `y = relu(x)` over a 1×n input.
pub fn relu(n: u64) -> Vec<u8> {
    named_relu(n, "graph")
}

/// The same under a graph's name of its own, so that its bytes are its own.
pub fn named_relu(n: u64, name: &str) -> Vec<u8> {
    let node = Message::default().text(1, "x").text(2, "y").text(3, "node").text(4, "Relu");
    let graph = Message::default().message(1, node).text(2, name);
    model(graph.message(11, value_info("x", &[1, n])).message(12, value_info("y", &[1, n])))
}

/// `y = relu(x)` over an image of 3×16×24.
pub fn image() -> Vec<u8> {
    let graph = Message::default().message(1, node("Relu", &["x"], "y", vec![])).text(2, "graph");
    let info = |name| value_info(name, &[1, 3, 16, 24]);
    model(graph.message(11, info("x")).message(12, info("y")))
}

/// `y = x` over a 2×3 tensor of a type of `onnx.proto`'s TensorProto.DataType.
pub fn identity(data_type: u64) -> Vec<u8> {
    let graph = Message::default().message(1, node("Identity", &["x"], "y", vec![])).text(2, "graph");
    let info = |name| typed_info(name, data_type, &[2, 3]);
    model(graph.message(11, info("x")).message(12, info("y")))
}

/// A weight tensor of seeded values in −0.5…0.5.
fn weights(name: &str, shape: &[u64], seed: u64) -> Message {
    let mut state = seed;
    let count: u64 = shape.iter().product();
    let mut raw = vec![];
    for _ in 0..count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        raw.extend_from_slice(&value.to_le_bytes());
    }
    let dimensions = shape.iter().fold(Message::default(), |m, &d| m.int(1, d));
    dimensions.int(2, FLOAT).text(8, name).bytes(9, &raw)
}

/// An attribute that holds a list of integers.
fn ints(name: &str, values: &[u64]) -> Message {
    const INTS: u64 = 7;
    let list = values.iter().fold(Message::default().text(1, name), |m, &v| m.int(8, v));
    list.int(20, INTS)
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: Vec<Message>) -> Message {
    let message = inputs.iter().fold(Message::default(), |m, name| m.text(1, name));
    let message = message.text(2, output).text(3, output).text(4, operator);
    attributes.into_iter().fold(message, |m, a| m.message(5, a))
}

fn graph(nodes: Vec<Message>, initializers: Vec<Message>, input: Message, output: Message) -> Vec<u8> {
    let graph = nodes.into_iter().fold(Message::default(), |m, n| m.message(1, n)).text(2, "graph");
    let graph = initializers.into_iter().fold(graph, |m, i| m.message(5, i));
    model(graph.message(11, input).message(12, output))
}

/// A perceptron of two layers: 1×8 → 16 → 1×4.
pub fn perceptron() -> Vec<u8> {
    two_layers(1)
}

/// A perceptron for tables: n×8 → 16 → n×4, any number of rows at a time.
pub fn table_net() -> Vec<u8> {
    two_layers(OPEN)
}

fn two_layers(rows: u64) -> Vec<u8> {
    graph(
        vec![
            node("MatMul", &["x", "w1"], "h1", vec![]),
            node("Add", &["h1", "b1"], "h2", vec![]),
            node("Relu", &["h2"], "h3", vec![]),
            node("MatMul", &["h3", "w2"], "h4", vec![]),
            node("Add", &["h4", "b2"], "y", vec![]),
        ],
        vec![
            weights("w1", &[8, 16], 1),
            weights("b1", &[1, 16], 2),
            weights("w2", &[16, 4], 3),
            weights("b2", &[1, 4], 4),
        ],
        value_info("x", &[rows, 8]),
        value_info("y", &[rows, 4]),
    )
}

/// A 1×n input times an n×n matrix of seeded weights.
pub fn dense(n: u64, seed: u64) -> Vec<u8> {
    graph(
        vec![node("MatMul", &["x", "w"], "y", vec![])],
        vec![weights("w", &[n, n], seed)],
        value_info("x", &[1, n]),
        value_info("y", &[1, n]),
    )
}

/// The sines of large angles over a 1×8 input, which a GPU computes as coarsely as the numbers are spaced there.
pub fn far_angles() -> Vec<u8> {
    let far = Message::default().int(1, 1).int(1, 1).int(2, FLOAT).text(8, "far").bytes(9, &1e7f32.to_le_bytes());
    graph(
        vec![node("Mul", &["x", "far"], "angle", vec![]), node("Sin", &["angle"], "y", vec![])],
        vec![far],
        value_info("x", &[1, 8]),
        value_info("y", &[1, 8]),
    )
}

/// Two 3×3 convolutions over a 1×4×8×8 input, with biases or without.
///
/// Without them wonnx 0.5.1 by itself computes something else than ONNX says.
pub fn convolutions(biases: bool) -> Vec<u8> {
    let attributes = || vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1]), ints("strides", &[1, 1])];
    let inputs = |x, w, b| if biases { vec![x, w, b] } else { vec![x, w] };
    let mut initializers = vec![weights("w1", &[8, 4, 3, 3], 1), weights("w2", &[4, 8, 3, 3], 2)];
    if biases {
        initializers.extend([weights("b1", &[8], 3), weights("b2", &[4], 4)]);
    }
    graph(
        vec![
            node("Conv", &inputs("x", "w1", "b1"), "h1", attributes()),
            node("Relu", &["h1"], "h2", vec![]),
            node("Conv", &inputs("h2", "w2", "b2"), "y", attributes()),
        ],
        initializers,
        value_info("x", &[1, 4, 8, 8]),
        value_info("y", &[1, 4, 8, 8]),
    )
}

/// INT64 in `onnx.proto`'s TensorProto.DataType.
const INT64: u64 = 7;

fn shape(name: &str, shape: &[u64]) -> Message {
    let raw: Vec<u8> = shape.iter().flat_map(|d| d.to_le_bytes()).collect();
    Message::default().int(1, shape.len() as u64).int(2, INT64).text(8, name).bytes(9, &raw)
}

/// x [1,1] → y [1,1] through a tensor of `mib` MiB, which is there only while it runs.
pub fn eater(mib: u64) -> Vec<u8> {
    let nodes = vec![
        node("Expand", &["x", "shape"], "large", vec![]),
        node("Relu", &["large"], "larger", vec![]),
        node("ReduceMax", &["larger"], "y", vec![]),
    ];
    graph(nodes, vec![shape("shape", &[mib, 1 << 18])], value_info("x", &[1, 1]), value_info("y", &[1, 1]))
}

/// x [1,1] → y [1,1] through sixty-four products of matrices, 2,500 wide: the better part of a minute.
pub fn slow() -> Vec<u8> {
    products(64, 2500, [1, 1])
}

/// x → y [1,1] through so many products of matrices, so wide, of the largest number in `x`.
pub fn products<const RANK: usize>(count: u64, width: u64, x: [u64; RANK]) -> Vec<u8> {
    let mut nodes = vec![
        node("ReduceMax", &["x"], "largest", vec![]),
        node("Reshape", &["largest", "one"], "scalar", vec![]),
        node("Expand", &["scalar", "shape"], "t0", vec![]),
    ];
    for step in 0..count {
        nodes.push(node("MatMul", &[&format!("t{step}"), "t0"], &format!("t{}", step + 1), vec![]));
    }
    nodes.push(node("ReduceMax", &[&format!("t{count}")], "y", vec![]));
    let shapes = vec![shape("one", &[1, 1]), shape("shape", &[width, width])];
    graph(nodes, shapes, value_info("x", &x), value_info("y", &[1, 1]))
}

/// An open first dimension.
const OPEN: u64 = u64::MAX;

/// Four 3×3 convolutions over n×8×28×28 inputs: joined they take as long as one after another.
pub fn convolution_net() -> Vec<u8> {
    let attributes = || vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1]), ints("strides", &[1, 1])];
    let (mut nodes, mut initializers, mut from) = (vec![], vec![], "x".to_owned());
    for layer in 0..4u64 {
        let (weight, hidden) = (format!("w{layer}"), format!("h{layer}"));
        let to = if layer == 3 { "y".to_owned() } else { format!("a{layer}") };
        initializers.push(weights(&weight, &[40, if layer == 0 { 8 } else { 40 }, 3, 3], layer + 1));
        nodes.push(node("Conv", &[&from, &weight], &hidden, attributes()));
        nodes.push(node("Relu", &[&hidden], &to, vec![]));
        from = to;
    }
    graph(nodes, initializers, value_info("x", &[OPEN, 8, 28, 28]), value_info("y", &[OPEN, 40, 28, 28]))
}

/// n×1 inputs, spread to n×2000, through two products with 16 MB of weights each, and summed to n×1. A row waits for the
/// weights to come from memory, and eight rows wait no longer.
pub fn wide_net() -> Vec<u8> {
    let nodes = vec![
        node("MatMul", &["x", "spread"], "h0", vec![]),
        node("MatMul", &["h0", "w1"], "h1", vec![]),
        node("MatMul", &["h1", "w2"], "h2", vec![]),
        node("MatMul", &["h2", "gather"], "y", vec![]),
    ];
    let initializers = vec![
        weights("spread", &[1, 2000], 1),
        weights("w1", &[2000, 2000], 2),
        weights("w2", &[2000, 2000], 3),
        weights("gather", &[2000, 1], 4),
    ];
    graph(nodes, initializers, value_info("x", &[OPEN, 1]), value_info("y", &[OPEN, 1]))
}

/// `y = x w` over a 1×n input, with n² weights of their own.
pub fn matrix(n: u64, seed: u64) -> Vec<u8> {
    let nodes = vec![node("MatMul", &["x", "w"], "y", vec![])];
    graph(nodes, vec![weights("w", &[n, n], seed)], value_info("x", &[1, n]), value_info("y", &[1, n]))
}
