//! What a file may not hold. Nothing is allocated and no other file is opened for these checks.

use std::collections::HashSet;

use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto, tensor_shape_proto, type_proto};

use super::{TRACT, subgraphs};
use crate::backend::Refused;

/// The largest published models have some ten thousand nodes.
const MAX_NODES: usize = 100_000;

/// Graphs within graphs (`If` in `Loop` in …): real models use one or two levels.
const MAX_GRAPH_DEPTH: usize = 8;

/// Checks the graph and those inside it. Returns the bytes of the initialisers.
pub(super) fn graph(graph: &GraphProto, max_tensor: u64) -> Result<u64, Refused> {
    let mut walk = Walk { max_tensor, nodes: 0, weights: 0 };
    walk.graph(graph, 0)?;
    outputs_exist(graph)?;
    Ok(walk.weights)
}

struct Walk {
    max_tensor: u64,
    nodes: usize,
    weights: u64,
}

impl Walk {
    fn graph(&mut self, graph: &GraphProto, depth: usize) -> Result<(), Refused> {
        if depth > MAX_GRAPH_DEPTH {
            return refuse(format!("graphs are nested more than {MAX_GRAPH_DEPTH} deep"));
        }
        self.nodes += graph.node.len();
        if self.nodes > MAX_NODES {
            return refuse(format!("the model has more than {MAX_NODES} nodes"));
        }
        if !graph.sparse_initializer.is_empty() {
            return refuse("sparse initialisers are not supported");
        }
        for tensor in &graph.initializer {
            self.weights += self.tensor(tensor)?;
        }
        for value in graph.input.iter().chain(&graph.output).chain(&graph.value_info) {
            self.declared(value)?;
        }
        for node in &graph.node {
            operator(node)?;
            for tensor in node.attribute.iter().flat_map(|a| a.t.iter().chain(&a.tensors)) {
                self.weights += self.tensor(tensor)?;
            }
            for inner in subgraphs(node) {
                self.graph(inner, depth + 1)?;
            }
        }
        Ok(())
    }

    /// A tensor in the file: its data must be there, and be as much as its shape and type say. Returns its bytes.
    fn tensor(&self, tensor: &TensorProto) -> Result<u64, Refused> {
        let name = shown(&tensor.name);
        if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
            return refuse(format!("the tensor {name} has its data in another file; a model is one file"));
        }
        if tensor.segment.is_some() {
            return refuse(format!("the tensor {name} is a segment of a larger one"));
        }
        let Some(size) = element_size(tensor.data_type) else {
            return refuse(format!("the tensor {name} has the element type {}", type_name(tensor.data_type)));
        };
        let count = self.elements(&name, tensor.dims.iter().copied(), size)?;
        let found = if tensor.raw_data.is_empty() {
            let typed = [
                tensor.float_data.len(),
                tensor.int32_data.len(),
                tensor.int64_data.len(),
                tensor.double_data.len(),
                tensor.uint64_data.len(),
            ];
            typed.iter().sum::<usize>() as u64 * size
        } else {
            tensor.raw_data.len() as u64
        };
        if found != count * size {
            return refuse(format!(
                "the tensor {name} has the shape {:?}, which is {} bytes, and holds {found}",
                tensor.dims,
                count * size
            ));
        }
        Ok(count * size)
    }

    /// A declared value: as far as its dimensions are fixed, its size must be sane.
    fn declared(&self, value: &ValueInfoProto) -> Result<(), Refused> {
        let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
            return Ok(());
        };
        let fixed = tensor.shape.iter().flat_map(|s| &s.dim).filter_map(|d| match &d.value {
            Some(tensor_shape_proto::dimension::Value::DimValue(n)) if *n > 0 => Some(*n),
            _ => None,
        });
        self.elements(&shown(&value.name), fixed, element_size(tensor.elem_type).unwrap_or(1)).map(|_| ())
    }

    fn elements(&self, name: &str, dims: impl Iterator<Item = i64>, size: u64) -> Result<u64, Refused> {
        let mut count = 1u64;
        let mut empty = false;
        for dim in dims {
            let Ok(dim) = u64::try_from(dim) else {
                return refuse(format!("the tensor {name} has the dimension {dim}"));
            };
            empty |= dim == 0;
            count = count.saturating_mul(dim.max(1));
        }
        if count.saturating_mul(size) > self.max_tensor {
            return refuse(format!("the tensor {name} is larger than {} MiB", self.max_tensor >> 20));
        }
        Ok(if empty { 0 } else { count })
    }
}

fn operator(node: &NodeProto) -> Result<(), Refused> {
    // The domains whose operators tract's table holds; in others the same name may mean something else.
    let known_domain = matches!(node.domain.as_str(), "" | "ai.onnx" | "ai.onnx.ml" | "com.microsoft");
    if known_domain && TRACT.op_register.0.contains_key(&node.op_type) {
        return Ok(());
    }
    let domain = if node.domain.is_empty() { String::new() } else { format!(" (domain {})", shown(&node.domain)) };
    refuse(format!("the operator {}{domain} is not supported", shown(&node.op_type)))
}

fn outputs_exist(graph: &GraphProto) -> Result<(), Refused> {
    let made: HashSet<&str> = (graph.node.iter().flat_map(|n| &n.output).map(String::as_str))
        .chain(graph.initializer.iter().map(|t| t.name.as_str()))
        .chain(graph.input.iter().map(|v| v.name.as_str()))
        .collect();
    match graph.output.iter().find(|v| !made.contains(v.name.as_str())) {
        Some(missing) => refuse(format!("nothing in the graph makes the output {}", shown(&missing.name))),
        None => Ok(()),
    }
}

/// Bytes of one element, of the types that the engines here compute with.
fn element_size(onnx: i32) -> Option<u64> {
    Some(match DataType::try_from(onnx).ok()? {
        DataType::Bool | DataType::Int8 | DataType::Uint8 => 1,
        DataType::Int16 | DataType::Uint16 | DataType::Float16 => 2,
        DataType::Int32 | DataType::Uint32 | DataType::Float => 4,
        DataType::Int64 | DataType::Uint64 | DataType::Double => 8,
        _ => return None,
    })
}

pub(super) fn type_name(onnx: i32) -> String {
    match DataType::try_from(onnx) {
        Ok(known) => format!("{}, which is not supported", known.as_str_name()),
        Err(_) => format!("{onnx}, which is not known"),
    }
}

/// A name out of the file, short and quoted, so that it cannot play with the message it stands in.
pub(crate) fn shown(name: &str) -> String {
    let short: String = name.chars().take(80).collect();
    format!("{short:?}")
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::new(reason))
}
