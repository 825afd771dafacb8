//! Small ONNX models, built field by field: for the tests, and for the benchmark, which includes this file.

use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, type_proto,
};

/// A graph under construction.
#[derive(Clone)]
pub(crate) struct Builder {
    pub(crate) opset: i64,
    pub(crate) graph: GraphProto,
    seed: u32,
}

impl Default for Builder {
    fn default() -> Self {
        Self { opset: 13, graph: GraphProto { name: "g".into(), ..Default::default() }, seed: 1 }
    }
}

impl Builder {
    /// An input; −1 for an open dimension.
    pub(crate) fn input(mut self, name: &str, shape: &[i64]) -> Self {
        self.graph.input.push(value(name, DataType::Float, shape));
        self
    }

    pub(crate) fn output(mut self, name: &str, shape: &[i64]) -> Self {
        self.graph.output.push(value(name, DataType::Float, shape));
        self
    }

    pub(crate) fn node(mut self, op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> Self {
        self.graph.node.push(NodeProto {
            op_type: op.into(),
            name: format!("{op}_{output}"),
            input: inputs.iter().map(|&i| i.into()).collect(),
            output: vec![output.into()],
            attribute: attributes,
            ..Default::default()
        });
        self
    }

    /// An initialiser with numbers in [−scale, scale).
    pub(crate) fn weights(mut self, name: &str, shape: &[i64], scale: f32) -> Self {
        let count: i64 = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|_| self.random() * scale).collect();
        self.graph.initializer.push(floats(name, shape, &numbers));
        self
    }

    pub(crate) fn initializer(mut self, tensor: TensorProto) -> Self {
        self.graph.initializer.push(tensor);
        self
    }

    pub(crate) fn build(self) -> Vec<u8> {
        let opset = OperatorSetIdProto { domain: String::new(), version: self.opset };
        let model =
            ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(self.graph), ..Default::default() };
        model.encode_to_vec()
    }

    /// Numerical Recipes' generator: enough for weights.
    fn random(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.seed >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

/// Two layers with a ReLU between: `x` [batch, inputs] → `y` [batch, outputs].
pub(crate) fn mlp(batch: i64, inputs: i64, hidden: i64, outputs: i64) -> Builder {
    Builder::default()
        .input("x", &[batch, inputs])
        .weights("w1", &[inputs, hidden], 0.5)
        .weights("b1", &[hidden], 0.5)
        .node("Gemm", &["x", "w1", "b1"], "h", vec![])
        .node("Relu", &["h"], "r", vec![])
        .weights("w2", &[hidden, outputs], 0.5)
        .weights("b2", &[outputs], 0.5)
        .node("Gemm", &["r", "w2", "b2"], "y", vec![])
        .output("y", &[batch, outputs])
}

/// Convolution, ReLU, max pooling, a matrix: `x` [1, 3, 16, 16] → `y` [1, 12].
pub(crate) fn conv_net() -> Builder {
    Builder::default()
        .input("x", &[1, 3, 16, 16])
        .weights("w", &[8, 3, 3, 3], 0.3)
        .weights("b", &[8], 0.3)
        .node("Conv", &["x", "w", "b"], "c", vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])])
        .node("Relu", &["c"], "r", vec![])
        .node("MaxPool", &["r"], "p", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])])
        .node("Flatten", &["p"], "f", vec![])
        .weights("w2", &[512, 12], 0.1)
        .weights("b2", &[12], 0.1)
        .node("Gemm", &["f", "w2", "b2"], "g", vec![])
        .node("Sigmoid", &["g"], "y", vec![])
        .output("y", &[1, 12])
}

pub(crate) fn value(name: &str, element_type: DataType, shape: &[i64]) -> ValueInfoProto {
    let dim = |&n: &i64| Dimension {
        denotation: String::new(),
        value: Some(if n < 0 { dimension::Value::DimParam(format!("d{name}")) } else { dimension::Value::DimValue(n) }),
    };
    let shape = TensorShapeProto { dim: shape.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: element_type as i32, shape: Some(shape) };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto { denotation: String::new(), value: Some(type_proto::Value::TensorType(tensor)) }),
        doc_string: String::new(),
    }
}

pub(crate) fn floats(name: &str, shape: &[i64], numbers: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: shape.to_vec(),
        data_type: DataType::Float as i32,
        raw_data: numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
        ..Default::default()
    }
}

pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..Default::default()
    }
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i: value, ..Default::default() }
}

pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::String as i32, s: value.into(), ..Default::default() }
}
