//! The graph that wonnx gets. Everything in it is f32 (numbers of other types as well: small integers and truth values
//! are exact in f32), but for the indices of `Gather`, which are i32.

use std::collections::HashMap;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto};

/// The name of a value in the lowered graph.
pub(super) type Id = String;

/// Nodes in the order of their execution, and the shape of every value.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<NodeProto>,
    pub(super) shapes: HashMap<Id, Vec<usize>>,
    pub(super) constants: HashMap<Id, Vec<f32>>,
    pub(super) indices: HashMap<Id, Vec<i32>>,
    made: usize,
}

impl Graph {
    /// A value that comes from outside.
    pub(super) fn source(&mut self, shape: &[usize]) -> Id {
        self.named("in", shape)
    }

    fn named(&mut self, what: &str, shape: &[usize]) -> Id {
        self.made += 1;
        let id = format!("{what}{}", self.made);
        self.shapes.insert(id.clone(), shape.to_vec());
        id
    }

    pub(super) fn shape(&self, id: &str) -> Vec<usize> {
        self.shapes.get(id).cloned().unwrap_or_default()
    }

    /// A constant; `numbers` are as many as `shape` says, or one that fills it.
    pub(super) fn constant(&mut self, shape: &[usize], mut numbers: Vec<f32>) -> Id {
        let id = self.named("c", shape);
        if let [one] = numbers[..] {
            numbers = vec![one; count(shape)];
        }
        self.constants.insert(id.clone(), numbers);
        id
    }

    /// Indices for `Gather`.
    pub(super) fn index(&mut self, indices: Vec<i32>) -> Id {
        let id = self.named("i", &[indices.len()]);
        self.indices.insert(id.clone(), indices);
        id
    }

    /// Appends a node with one output.
    pub(super) fn push(&mut self, op: &str, inputs: &[&str], shape: &[usize], attribute: Vec<AttributeProto>) -> Id {
        let id = self.named("v", shape);
        self.nodes.push(NodeProto {
            op_type: op.into(),
            name: format!("{op}_{id}"),
            input: inputs.iter().map(|&i| i.into()).collect(),
            output: vec![id.clone()],
            attribute,
            ..Default::default()
        });
        id
    }

    /// The node that makes the value; nothing for sources and constants.
    pub(super) fn maker(&self, id: &str) -> Option<&NodeProto> {
        self.nodes.iter().rev().find(|n| n.output.iter().any(|o| o == id))
    }
}

pub(super) fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values.iter().map(|&v| v as i64).collect(),
        ..Default::default()
    }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i: value, ..Default::default() }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Float as i32, f: value, ..Default::default() }
}
