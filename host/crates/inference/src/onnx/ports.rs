//! The signature that a graph declares.

use std::collections::HashSet;

use aimass_core::{ElementType, Port, Signature};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, TensorShapeProto, ValueInfoProto, tensor_shape_proto, type_proto};

use super::check::{shown, type_name};
use crate::backend::Refused;

/// Inputs (without those that an initialiser fills) and outputs; −1 for a dimension that the file leaves open. Also
/// the outputs, by position, whose rank the file leaves open: their shape is empty until an engine tells it.
pub(super) fn signature(graph: &GraphProto) -> Result<(Signature, Vec<usize>), Refused> {
    // Older files list the weights among the inputs as well.
    let weights: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let (mut signature, mut unranked) = (Signature::default(), Vec::new());
    for value in graph.input.iter().filter(|v| !weights.contains(v.name.as_str())) {
        let (element_type, shape) = declared("input", value)?;
        let Some(shape) = shape else {
            return Err(Refused::new(format!("the input {} is declared without a shape", shown(&value.name))));
        };
        signature.inputs.push(Port::new(value.name.clone(), element_type, dimensions(shape)));
    }
    for (position, value) in graph.output.iter().enumerate() {
        let (element_type, shape) = declared("output", value)?;
        if shape.is_none() {
            unranked.push(position);
        }
        let shape = shape.map(dimensions).unwrap_or_default();
        signature.outputs.push(Port::new(value.name.clone(), element_type, shape));
    }
    if signature.outputs.is_empty() {
        return Err(Refused::new("the model has no outputs"));
    }
    for (what, ports) in [("input", &signature.inputs), ("output", &signature.outputs)] {
        let mut seen = HashSet::new();
        if let Some(twice) = ports.iter().find(|p| !seen.insert(p.name.as_str())) {
            return Err(Refused::new(format!("the {what} {} is declared twice", shown(&twice.name))));
        }
    }
    Ok((signature, unranked))
}

fn declared<'a>(what: &str, value: &'a ValueInfoProto) -> Result<(ElementType, Option<&'a TensorShapeProto>), Refused> {
    let name = shown(&value.name);
    if value.name.is_empty() {
        return Err(Refused::new(format!("an {what} has no name")));
    }
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err(Refused::new(format!("the {what} {name} is not declared as a tensor")));
    };
    let Some(element_type) = element_type(tensor.elem_type) else {
        return Err(Refused::new(format!("the {what} {name} has the element type {}", type_name(tensor.elem_type))));
    };
    Ok((element_type, tensor.shape.as_ref()))
}

fn dimensions(shape: &TensorShapeProto) -> Vec<i64> {
    let fixed = |d: &tensor_shape_proto::Dimension| match &d.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(n)) if *n >= 0 => *n,
        _ => -1,
    };
    shape.dim.iter().map(fixed).collect()
}

/// ONNX's element types and the protocol's names of them. Not every engine has all of these.
fn element_type(onnx: i32) -> Option<ElementType> {
    Some(match DataType::try_from(onnx).ok()? {
        DataType::Bool => ElementType::Bool,
        DataType::Uint8 => ElementType::Uint8,
        DataType::Uint16 => ElementType::Uint16,
        DataType::Uint32 => ElementType::Uint32,
        DataType::Uint64 => ElementType::Uint64,
        DataType::Int8 => ElementType::Int8,
        DataType::Int16 => ElementType::Int16,
        DataType::Int32 => ElementType::Int32,
        DataType::Int64 => ElementType::Int64,
        DataType::Float16 => ElementType::Fp16,
        DataType::Float => ElementType::Fp32,
        DataType::Double => ElementType::Fp64,
        DataType::Bfloat16 => ElementType::Bf16,
        DataType::String => ElementType::Bytes,
        _ => return None,
    })
}
