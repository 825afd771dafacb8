//! ONNX's `light_*` models come without weights: they make theirs, all alike, from a number. Seeded random ones are
//! put in their place, or nearly everything would be hidden by zeros.

use std::collections::HashMap;

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};

use crate::testing::floats;

/// The model with random weights where a `ConstantOfShape` made equal ones; as it is, if none did.
pub(super) fn filled(bytes: Vec<u8>) -> Vec<u8> {
    let mut model = ModelProto::decode(&bytes[..]).unwrap();
    let graph = model.graph.as_mut().unwrap();
    if !graph.node.iter().any(|node| node.op_type == "ConstantOfShape") {
        return bytes;
    }
    fill(graph);
    model.encode_to_vec()
}

fn fill(graph: &mut GraphProto) {
    let shapes: HashMap<String, Vec<i64>> =
        graph.initializer.iter().filter(|t| t.dims.len() == 1).map(|t| (t.name.clone(), integers(t))).collect();
    let mut users: HashMap<String, (String, usize)> = HashMap::new();
    for node in &graph.node {
        for (position, input) in node.input.iter().enumerate() {
            users.insert(input.clone(), (node.op_type.clone(), position));
        }
    }
    let mut seed = 1u32;
    let mut random = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    };
    for node in std::mem::take(&mut graph.node) {
        let shape = node.input.first().and_then(|name| shapes.get(name));
        let Some(shape) = shape.filter(|_| node.op_type == "ConstantOfShape") else {
            graph.node.push(node);
            continue;
        };
        let count: i64 = shape.iter().product();
        let positive = matches!(users.get(&node.output[0]), Some((op, 1 | 4)) if op == "BatchNormalization");
        let fan: i64 = shape[1..].iter().product();
        let scale = if shape.len() > 1 { (3.0 / fan as f32).sqrt() } else { 0.1 };
        let numbers: Vec<f32> =
            (0..count).map(|_| if positive { 1.0 + random() / 2.0 } else { random() * scale }).collect();
        graph.initializer.push(floats(&node.output[0], shape, &numbers));
    }
}

fn integers(tensor: &TensorProto) -> Vec<i64> {
    if tensor.raw_data.is_empty() {
        return tensor.int64_data.clone();
    }
    tensor.raw_data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
}
