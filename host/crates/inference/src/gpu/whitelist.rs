//! What wonnx 0.5.1 is known to compute rightly: everything else is refused, with the reason.
//!
//! The list looks at one node at a time, of what the lowering pass emits. wonnx also merges a `Conv` with the
//! activation behind it, and its general convolution kernel then forgets a `LeakyRelu`: so that is not on the list.

mod nodes;
mod sizes;

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::prelude::DatumType;

use super::prepare::{Prepared, Value};
use crate::backend::Refused;
use crate::onnx::check::shown;

/// The largest storage buffer of a device with WebGPU's default limits; wonnx panics beyond.
const MAX_BUFFER: u64 = 128 << 20;

/// wonnx recurses over the graph with several large frames a node, on a stack of [`crate::isolated::STACK`].
const MAX_NODES: usize = 4_000;

/// wonnx's own limits of `opset_version`: below 7 operators broadcast in another way, above 15 it refuses Softmax, and
/// more operators take their attributes as inputs.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=15;

/// Operators that wonnx forwards without computing: their output is their input's buffer.
const FORWARDS: [&str; 6] = ["Reshape", "Identity", "Flatten", "Squeeze", "Unsqueeze", "Dropout"];

/// Everything about the graph that a rule may ask for.
struct Graph<'a> {
    /// The nodes by what they make.
    makers: HashMap<&'a str, &'a NodeProto>,
    values: &'a HashMap<String, Value>,
    constants: HashMap<&'a str, &'a TensorProto>,
    opset: i64,
}

/// # Errors
/// The first node, value or property that is not on the list.
pub(super) fn check(prepared: &Prepared) -> Result<(), Refused> {
    let Some(proto) = prepared.proto.graph.as_ref() else { return refuse("the ONNX file holds no graph") };
    let opset = opset(prepared)?;
    let constants = proto.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let makers = proto.node.iter().flat_map(|n| n.output.iter().map(move |o| (o.as_str(), n))).collect();
    let graph = Graph { makers, values: &prepared.values, constants, opset };

    if proto.input.is_empty() {
        return refuse("the GPU engine needs a model whose outputs depend on its inputs");
    }
    if proto.node.len() > MAX_NODES {
        return refuse(format!(
            "the GPU engine takes at most {MAX_NODES} nodes, and the model has {}",
            proto.node.len()
        ));
    }
    for value in proto.input.iter().chain(&proto.output) {
        graph.number(&value.name)?;
    }
    for node in &proto.node {
        graph.node(node).map_err(|reason| {
            Refused::new(format!("the GPU engine cannot serve the {} {}: {reason}", node.op_type, label(node)))
        })?;
    }
    outputs_are_computed(proto)
}

fn opset(prepared: &Prepared) -> Result<i64, Refused> {
    let imports = &prepared.proto.opset_import;
    if let Some(other) = imports.iter().find(|i| !i.domain.is_empty()) {
        let domain = shown(&other.domain);
        return refuse(format!("the GPU engine knows the default operator set alone, and the model imports {domain}"));
    }
    match imports.as_slice() {
        [one] if OPSETS.contains(&one.version) => Ok(one.version),
        [one] => refuse(format!(
            "the GPU engine knows the operator sets {} to {}, and the model uses {}",
            OPSETS.start(),
            OPSETS.end(),
            one.version
        )),
        _ => refuse("the GPU engine needs exactly one operator set"),
    }
}

/// A buffer that is only forwarded cannot be read back.
fn outputs_are_computed(graph: &GraphProto) -> Result<(), Refused> {
    let computed: HashSet<&str> = (graph.node.iter())
        .filter(|n| !FORWARDS.contains(&n.op_type.as_str()))
        .flat_map(|n| &n.output)
        .map(String::as_str)
        .collect();
    match graph.output.iter().find(|o| !computed.contains(o.name.as_str())) {
        Some(output) => refuse(format!(
            "the GPU engine cannot read back the output {}, which only forwards another value",
            shown(&output.name)
        )),
        None => Ok(()),
    }
}

impl Graph<'_> {
    /// What every node must hold to, and the rule of its operator.
    fn node(&self, node: &NodeProto) -> Result<(), String> {
        if node.output.len() != 1 || node.output[0].is_empty() {
            return Err("only nodes with one output are computed rightly".into());
        }
        if node.op_type == "Constant" {
            return Err("constants must be initialisers".into());
        }
        if node.input.first().is_none_or(String::is_empty) {
            return Err("it has no input".into());
        }
        if node.input.iter().all(|i| i.is_empty() || self.constants.contains_key(i.as_str())) {
            return Err("constant expressions must be computed before".into());
        }
        self.rule(node)?;
        let folded_away = self.folded_away(node);
        for (position, name) in node.input.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            // The indices of a Gather are integers, which its rule looks at.
            if position < folded_away && !(node.op_type == "Gather" && position == 1) {
                self.number(name).map_err(|refused| refused.0)?;
            }
        }
        if node.op_type == "Cast" {
            return Ok(());
        }
        self.number(&node.output[0]).map_err(|refused| refused.0)
    }

    /// The inputs from this position on are parameters that wonnx reads on the CPU, from initialisers.
    fn folded_away(&self, node: &NodeProto) -> usize {
        if matches!(node.op_type.as_str(), "Reshape" | "Clip") { 1 } else { usize::MAX }
    }

    /// A value that the GPU computes with: f32, not empty, within a buffer.
    fn number(&self, name: &str) -> Result<(), Refused> {
        let shown = shown(name);
        let Some(value) = self.values.get(name) else {
            return refuse(format!("the shape of {shown} depends on the data"));
        };
        if value.datum_type != DatumType::F32 {
            return refuse(format!("the GPU engine computes in f32 alone, and {shown} is {:?}", value.datum_type));
        }
        if value.shape.contains(&0) {
            return refuse(format!("the GPU engine takes no empty tensors, and {shown} is one"));
        }
        let bytes = value.shape.iter().fold(4u64, |bytes, &d| bytes.saturating_mul(d as u64));
        if bytes > MAX_BUFFER {
            return refuse(format!("{shown} has {} MiB; a GPU buffer has at most {}", bytes >> 20, MAX_BUFFER >> 20));
        }
        // wonnx knows a raw and a typed form, and reads the wrong one where a tensor has both.
        if let Some(tensor) = self.constants.get(name)
            && (tensor.data_type != DataType::Float as i32
                || !(tensor.raw_data.is_empty() || tensor.float_data.is_empty()))
        {
            return refuse(format!("the initialiser {shown} is not plain f32"));
        }
        // Shaders read four numbers at once, and wonnx makes the buffer no longer than the data.
        if let Some(tensor) = self.constants.get(name)
            && !((tensor.raw_data.len() + 4 * tensor.float_data.len()) as u64).is_multiple_of(16)
            && bytes > 64
        {
            return refuse(format!("the constant {shown} of {} elements, which is no multiple of 4", bytes / 4));
        }
        Ok(())
    }

    fn shape(&self, name: &str) -> Result<&[usize], String> {
        self.values
            .get(name)
            .map(|v| v.shape.as_slice())
            .ok_or_else(|| format!("the shape of {} is not known", shown(name)))
    }
}

fn label(node: &NodeProto) -> String {
    shown(if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name })
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::new(reason))
}
