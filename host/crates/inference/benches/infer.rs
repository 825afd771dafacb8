//! What the queue, the threads and the engine process cost: models through a process, in this one, and through tract
//! alone.
//!
//! `cargo bench -p aimass-inference`. With `AIMASS_MAGIKA_MODEL` naming the file, also magika at batch 1.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../src/testing.rs"]
mod testing;

use std::time::{Duration, Instant};

use aimass_core::seam::Model;
use aimass_core::{ElementType, Tensor};
use aimass_inference::process::{EngineCommand, EngineProcesses, ProcessConfig, serve};
use aimass_inference::{Device, EngineConfig, Engines, GpuPolicy};
use criterion::{Criterion, criterion_group};
use tract_onnx::prelude::{Framework, InferenceModelExt, IntoRunnable, IntoTValue, TractResult, tvec};

fn direct(bytes: &[u8], input: tract_onnx::prelude::Tensor) -> impl FnMut() {
    let run = || -> TractResult<_> {
        let mut graph = tract_onnx::onnx()
            .with_ignore_value_info(true)
            .with_ignore_output_shapes(true)
            .model_for_read(&mut &*bytes)?;
        let shape: Vec<usize> = input.shape().to_vec();
        let fact = tract_onnx::tract_hir::infer::InferenceFact::dt_shape(input.datum_type(), shape);
        graph.set_input_fact(0, fact)?;
        graph.into_optimized()?.into_runnable()
    };
    let plan = run().unwrap();
    move || drop(plan.run(tvec!(input.clone().into_tvalue())).unwrap())
}

fn bench(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = EngineConfig { gpu: GpuPolicy::Off, ..EngineConfig::default() };
    let engines = Engines::new(config.clone()).unwrap();
    let processes = EngineProcesses::new(ProcessConfig {
        engines: config,
        // This program, which is an engine when its input is a socket.
        command: EngineCommand { program: std::env::current_exe().unwrap(), arguments: vec![] },
        memory: 4 << 30,
        run_limit: Duration::from_secs(30),
    });
    let mut group = c.benchmark_group("infer");
    group.sample_size(50).measurement_time(Duration::from_secs(4));

    let mut compare = |name: &str, bytes: Vec<u8>, x: Tensor, same: tract_onnx::prelude::Tensor| {
        group.bench_function(format!("{name}/tract"), |b| b.iter(direct(&bytes, same.clone())));
        let key = name.into();
        let remote = runtime.block_on(processes.load(bytes.clone().into(), Device::Cpu, "bench", key)).unwrap();
        group.bench_function(format!("{name}/process"), |b| {
            b.to_async(&runtime).iter(|| {
                let x = x.clone();
                async { remote.infer(vec![x], Instant::now() + Duration::from_secs(10)).await.unwrap() }
            });
        });
        let model = runtime.block_on(engines.load(bytes.into(), Device::Cpu)).unwrap();
        group.bench_function(format!("{name}/loaded"), |b| {
            b.to_async(&runtime).iter(|| {
                let x = x.clone();
                async { model.infer(vec![x], Instant::now() + Duration::from_secs(10)).await.unwrap() }
            });
        });
    };

    let numbers: Vec<f32> = (0..10u8).map(f32::from).collect();
    compare(
        "mlp-1x10",
        testing::mlp(1, 10, 10, 4).build(),
        Tensor::from_elements("x", [1, 10], &numbers).unwrap(),
        tract_onnx::prelude::Tensor::from_shape(&[1, 10], &numbers).unwrap(),
    );
    compare(
        "conv-3x16x16",
        testing::conv_net().build(),
        Tensor::new("x", ElementType::Fp32, [1, 3, 16, 16], vec![0; 3 * 16 * 16 * 4]).unwrap(),
        tract_onnx::prelude::Tensor::zero::<f32>(&[1, 3, 16, 16]).unwrap(),
    );
    // An image, and next to no work on it: what moving 600 kB costs.
    let image = testing::Builder::default().input("x", &[1, 3, 224, 224]);
    compare(
        "pool-3x224x224",
        image.node("GlobalAveragePool", &["x"], "y", vec![]).output("y", &[1, 3, 1, 1]).build(),
        Tensor::new("x", ElementType::Fp32, [1, 3, 224, 224], vec![0; 3 * 224 * 224 * 4]).unwrap(),
        tract_onnx::prelude::Tensor::zero::<f32>(&[1, 3, 224, 224]).unwrap(),
    );
    if let Some(path) = std::env::var_os("AIMASS_MAGIKA_MODEL") {
        let tokens: Vec<i32> = (0..2048).map(|i| i % 257).collect();
        let bytes = std::fs::read(path).unwrap();
        let port = engines.inspect(&bytes).unwrap().inputs[0].clone();
        compare(
            "magika-1x2048",
            bytes,
            Tensor::from_elements(port.name, [1, 2048], &tokens).unwrap(),
            tract_onnx::prelude::Tensor::from_shape(&[1, 2048], &tokens).unwrap(),
        );
    }
    group.finish();
}

criterion_group!(benches, bench);

fn main() {
    // An engine process of the benchmark's own.
    if serve().is_ok() {
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
