//! ONNX Runtime as a backend, beside the node tests. Without its library these tests say so and pass.

use super::ramp;
use aimass_core::Tensor;
use aimass_toolchain::Cache;
use aimass_toolchain::onnxruntime::{Build, install};
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{StringStringEntryProto, TensorProto};

use crate::backend::{Backend, LoadOptions};
use crate::testing::{conv_net, floats, mlp};
use crate::{OnnxRuntime, Tract};

fn runtime() -> Option<OnnxRuntime> {
    let library = install(&Cache::user(), Build::Cpu).map_err(|e| println!("SKIPPED: no ONNX Runtime: {e}")).ok()?;
    Some(OnnxRuntime::open(&library).unwrap())
}

#[test]
fn it_agrees_with_tract_also_when_many_runs_go_side_by_side() {
    let Some(runtime) = runtime() else { return };
    let (model, options) = (conv_net().build(), LoadOptions::default());
    let mut cpu = Tract.load(&model, &options).unwrap();
    let loaded = runtime.load(&model, &options).unwrap();
    assert_eq!(loaded.signature(), cpu.signature());
    let x = ramp(&[1, 3, 16, 16]);
    let right = cpu.run(vec![x.clone()]).unwrap()[0].elements::<f32>().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (mut fork, x, right) = (loaded.fork().unwrap(), x.clone(), &right);
            scope.spawn(move || {
                for _ in 0..20 {
                    let ours = fork.run(vec![x.clone()]).unwrap()[0].elements::<f32>().unwrap();
                    assert!(ours.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-4));
                }
            });
        }
    });
}

#[test]
fn bytes_that_are_not_aligned_are_copied() {
    let Some(runtime) = runtime() else { return };
    let mut model = runtime.load(&mlp(1, 4, 4, 4).build(), &LoadOptions::default()).unwrap();
    let aligned = ramp(&[1, 4]);
    let shifted = [&[0], &aligned.data()[..]].concat();
    let shifted = bytes::Bytes::from(shifted).slice(1..);
    let shifted = Tensor::new("x", aligned.element_type(), [1, 4], shifted).unwrap();
    assert_eq!(model.run(vec![aligned]).unwrap(), model.run(vec![shifted]).unwrap());
}

#[test]
fn f06_it_opens_no_file_that_a_model_names() {
    let Some(runtime) = runtime() else { return };
    let place = StringStringEntryProto { key: "location".into(), value: "/etc/passwd".into() };
    let outside = TensorProto {
        raw_data: vec![],
        data_location: Some(DataLocation::External as i32),
        external_data: vec![place],
        ..floats("elsewhere", &[1], &[1.0])
    };
    let model = mlp(1, 4, 4, 4).initializer(outside).build();
    let refused = runtime.load(&model, &LoadOptions::default()).err().unwrap();
    assert!(refused.0.contains("in another file"), "{refused}");
    // The same inside a function, where the checks do not look: so there may be none.
    let hidden = [mlp(1, 4, 4, 4).build(), vec![0xca, 0x01, 0x00]].concat();
    let refused = runtime.load(&hidden, &LoadOptions::default()).err().unwrap();
    assert!(refused.0.contains("functions of its own"), "{refused}");
}

#[test]
#[ignore = "measures the process's memory: run it alone"]
fn unloading_gives_the_memory_back() {
    let Some(runtime) = runtime() else { return };
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4 / 1024
    };
    let model = mlp(1, 2_200, 2_200, 10).build();
    let cycle = || {
        let mut loaded = runtime.load(&model, &LoadOptions::default()).unwrap();
        loaded.run(vec![ramp(&[1, 2_200])]).unwrap();
    };
    (0..20).for_each(|_| cycle());
    let before = resident();
    (0..300).for_each(|_| cycle());
    let after = resident();
    println!("{before} MiB after 20 loads of a 20 MB model, {after} MiB after 320");
    assert!(after <= before + before / 20);
}
