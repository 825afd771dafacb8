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

/// Which operators and element types pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Those that tract has.
    Tract,
    /// All that ONNX has: the engine itself says what it lacks.
    Onnx,
}

/// `functions` of `onnx.proto`'s ModelProto, which tract's messages do not have.
const FUNCTIONS: u32 = 25;

/// Whether the file holds functions of its own: graphs that these checks cannot see, and ONNX Runtime would run.
pub(super) fn has_functions(mut file: &[u8]) -> bool {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    while !file.is_empty() {
        let Ok((number, wire)) = decode_key(&mut file) else { return true };
        if number == FUNCTIONS || skip_field(wire, number, &mut file, DecodeContext::default()).is_err() {
            return true;
        }
    }
    false
}

/// Checks the graph and those inside it. Returns the bytes of the initialisers.
pub(super) fn graph(graph: &GraphProto, max_tensor: u64, known: Known) -> Result<u64, Refused> {
    let mut walk = Walk { max_tensor, known, nodes: 0, weights: 0 };
    walk.graph(graph, 0)?;
    outputs_exist(graph)?;
    Ok(walk.weights)
}

struct Walk {
    max_tensor: u64,
    known: Known,
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
            if self.known == Known::Tract {
                operator(node)?;
            }
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
        if tensor.data_type == DataType::String as i32 {
            return self.strings(&name, tensor);
        }
        let Some(size) = element_size(tensor.data_type) else {
            return match (self.known, narrow_bits(tensor.data_type)) {
                (Known::Onnx, Some(bits)) => self.narrow(&name, tensor, bits),
                _ => refuse(format!("the tensor {name} has the element type {}", type_name(tensor.data_type))),
            };
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

    /// As many strings as the shape says. Their bytes are in the file, and so bounded by it.
    fn strings(&self, name: &str, tensor: &TensorProto) -> Result<u64, Refused> {
        let count = self.elements(name, tensor.dims.iter().copied(), size_of::<String>() as u64)?;
        let found = tensor.string_data.len() as u64;
        if found != count {
            return refuse(format!("the tensor {name} has the shape {:?}, and holds {found} strings", tensor.dims));
        }
        Ok(count * size_of::<String>() as u64 + tensor.string_data.iter().map(|s| s.len() as u64).sum::<u64>())
    }

    /// Elements of a byte or less: packed in the raw data, and in the typed list one or two a number.
    fn narrow(&self, name: &str, tensor: &TensorProto, bits: u64) -> Result<u64, Refused> {
        let count = self.elements(name, tensor.dims.iter().copied(), 1)?;
        let bytes = (count * bits).div_ceil(8);
        let (raw, typed) = (tensor.raw_data.len() as u64, tensor.int32_data.len() as u64);
        let fits = if raw > 0 { raw == bytes } else { typed == bytes || typed == count };
        if fits { Ok(bytes) } else { refuse(format!("the tensor {name} holds other data than its shape says")) }
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
    if node.op_type == "GlobalLpPool" {
        // 0.23 divides by the number of elements, which the operator's definition does not.
        return refuse("the operator \"GlobalLpPool\" is not supported: the CPU engine computes another norm");
    }
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
        DataType::Int16 | DataType::Uint16 | DataType::Float16 | DataType::Bfloat16 => 2,
        DataType::Int32 | DataType::Uint32 | DataType::Float => 4,
        DataType::Int64 | DataType::Uint64 | DataType::Double => 8,
        _ => return None,
    })
}

/// Bits of one element of the types that only ONNX Runtime has: the 8-bit floats (17 to 20 and 24 in `onnx.proto`), the
/// 4-bit types (21 to 23), the 2-bit ones (25, 26).
fn narrow_bits(onnx: i32) -> Option<u64> {
    match onnx {
        17..=20 | 24 => Some(8),
        21..=23 => Some(4),
        25 | 26 => Some(2),
        _ => None,
    }
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
