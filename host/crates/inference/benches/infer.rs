//! What the queue, the thread and the wait cost: a tiny model through `Loaded::infer`, and through tract alone.
//!
//! `cargo bench -p aimass-inference`. With `AIMASS_MAGIKA_MODEL` naming the file, also magika at batch 1.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../src/testing.rs"]
mod testing;

use std::time::{Duration, Instant};

use aimass_core::seam::Model;
use aimass_core::{ElementType, Tensor};
use aimass_inference::{Device, EngineConfig, Engines, GpuPolicy};
use criterion::{Criterion, criterion_group, criterion_main};
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
    let engines = Engines::new(EngineConfig { gpu: GpuPolicy::Off, ..EngineConfig::default() }).unwrap();
    let mut group = c.benchmark_group("infer");
    group.sample_size(50).measurement_time(Duration::from_secs(4));

    let mut compare = |name: &str, bytes: Vec<u8>, x: Tensor, same: tract_onnx::prelude::Tensor| {
        group.bench_function(format!("{name}/tract"), |b| b.iter(direct(&bytes, same.clone())));
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
criterion_main!(benches);
