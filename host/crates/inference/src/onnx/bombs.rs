//! Operators that make large tensors out of a few numbers in the file. Engines fold constants while they read, so
//! these would fill the memory before any plan could be looked at.
//!
//! Sizes that are computed by other operators are not seen here; what an engine's process may use bounds those.

use std::collections::HashMap;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::check::shown;
use super::subgraphs;
use crate::backend::Refused;

/// # Errors
/// Names the node whose constant operand asks for more than `max_tensor` bytes.
pub(super) fn defuse(graph: &GraphProto, max_tensor: u64) -> Result<(), Refused> {
    let mut constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    for node in &graph.node {
        if let ("Constant", [output], Some(tensor)) =
            (node.op_type.as_str(), node.output.as_slice(), node.attribute.iter().find_map(|a| a.t.as_ref()))
        {
            constants.insert(output, tensor);
        }
    }
    for node in &graph.node {
        if elements(node, &constants).saturating_mul(4) > u128::from(max_tensor) {
            return Err(Refused::new(format!(
                "the {} {} would make a tensor larger than {} MiB",
                node.op_type,
                shown(&node.name),
                max_tensor >> 20
            )));
        }
        for inner in subgraphs(node) {
            defuse(inner, max_tensor)?;
        }
    }
    Ok(())
}

/// How many elements the node makes at least, as far as its constant operands tell; 0 if they do not.
fn elements(node: &NodeProto, constants: &HashMap<&str, &TensorProto>) -> u128 {
    let operand = |position: usize| {
        let tensor = node.input.get(position).and_then(|name| constants.get(name.as_str()));
        tensor.map(|t| integers(t)).unwrap_or_default()
    };
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.ints.clone());
    let product = |sizes: Vec<i64>| {
        if sizes.is_empty() {
            return 0;
        }
        sizes.iter().fold(1u128, |product, &size| product.saturating_mul(size.max(1).unsigned_abs().into()))
    };
    let largest = |sizes: Vec<i64>| sizes.iter().map(|size| u128::from(size.unsigned_abs())).max().unwrap_or(0);
    match node.op_type.as_str() {
        "ConstantOfShape" => product(operand(0)),
        "Expand" | "Tile" => product(operand(1)),
        "Resize" => product(operand(3)),
        // One axis alone may be this long.
        "OneHot" => largest(operand(1)),
        "Pad" => largest(operand(1)).max(largest(attribute("pads").unwrap_or_default())),
        "RandomNormal" | "RandomUniform" => product(attribute("shape").unwrap_or_default()),
        "Range" => match (operand(0).as_slice(), operand(1).as_slice(), operand(2).as_slice()) {
            ([start], [limit], [step]) if *step != 0 => {
                u128::from(limit.abs_diff(*start)) / u128::from(step.unsigned_abs())
            }
            _ => 0,
        },
        _ => 0,
    }
}

/// The numbers of an integer tensor; none for other types.
fn integers(tensor: &TensorProto) -> Vec<i64> {
    match DataType::try_from(tensor.data_type) {
        Ok(DataType::Int64) if tensor.raw_data.is_empty() => tensor.int64_data.clone(),
        Ok(DataType::Int64) => tensor.raw_data.chunks_exact(8).map(eight).collect(),
        Ok(DataType::Int32) if tensor.raw_data.is_empty() => tensor.int32_data.iter().map(|&n| n.into()).collect(),
        Ok(DataType::Int32) => tensor.raw_data.chunks_exact(4).map(|b| i64::from(four(b))).collect(),
        _ => Vec::new(),
    }
}

fn eight(bytes: &[u8]) -> i64 {
    bytes.try_into().map_or(0, i64::from_le_bytes)
}

fn four(bytes: &[u8]) -> i32 {
    bytes.try_into().map_or(0, i32::from_le_bytes)
}
