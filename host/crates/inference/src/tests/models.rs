//! Whole real models through the GPU path, compared with the CPU. The models are not in the repository: the test runs
//! where `AIMASS_MODELS` names folders with `.onnx` files (with `:` between them), and says that it was skipped
//! elsewhere.
//!
//! ONNX's `light_*` models come without weights: they make theirs, all alike, from a number. Seeded random ones are
//! put in their place, or nearly everything would be hidden by zeros.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};

use super::*;
use crate::Tract;
use crate::backend::{Backend, LoadOptions};
use crate::testing::floats;

fn models() -> Vec<PathBuf> {
    let folders = std::env::var("AIMASS_MODELS").unwrap_or_default();
    let inside =
        |folder: &str| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let files = folders.split(':').filter(|f| !f.is_empty()).flat_map(inside);
    let mut models: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "onnx")).collect();
    models.sort();
    models
}

#[test]
fn real_models_agree_with_the_cpu() {
    let models = models();
    if models.is_empty() {
        println!("SKIPPED: AIMASS_MODELS names no folder of models");
        return;
    }
    if let Err(reason) = crate::gpu::Gpu::default().device() {
        println!("SKIPPED: no Vulkan device: {reason}");
        return;
    }
    let mut wrong = Vec::new();
    for path in models {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let model = read(&path);
        let start = Instant::now();
        let options = LoadOptions { run_limit: Duration::from_secs(300), ..LoadOptions::default() };
        let cpu = match Tract.load(&model, &options) {
            Ok(cpu) => cpu,
            Err(refused) => {
                println!("{name}: the CPU engine refuses it: {refused}");
                continue;
            }
        };
        let outcome = crate::gpu::lowered(&model, cpu, &options);
        println!("{name}: {outcome:?} ({:.1?})", start.elapsed());
        if outcome.as_ref().is_ok_and(|error| *error > 1e-3) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "these differ from the CPU: {wrong:?}");
}

fn read(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let light = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("light_"));
    if !light {
        return bytes;
    }
    let mut model = ModelProto::decode(&bytes[..]).unwrap();
    fill(model.graph.as_mut().unwrap());
    model.encode_to_vec()
}

/// Puts random weights where a `ConstantOfShape` made equal ones.
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
