//! Tests of the whole: engines, faults, the GPU path.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod gpu;
mod models;
mod nodes;
mod onnxruntime;
mod serving;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aimass_core::seam::Model;
use aimass_core::{Result, Tensor};

use crate::{Device, EngineConfig, Engines, GpuPolicy, Loaded};

fn engines(threads: usize, queue: usize) -> Engines {
    Engines::new(EngineConfig { threads, queue, gpu: GpuPolicy::Off, ..EngineConfig::default() }).unwrap()
}

async fn load(engines: &Engines, model: Vec<u8>) -> Arc<Loaded> {
    engines.load(model.into(), Device::Auto).await.unwrap()
}

async fn infer(model: &Loaded, inputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
    model.infer(inputs, Instant::now() + Duration::from_secs(20)).await
}

/// `x`, filled with a ramp.
fn ramp(shape: &[u64]) -> Tensor {
    let count: u64 = shape.iter().product();
    let numbers: Vec<f32> = (0..count).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    Tensor::from_elements("x", shape, &numbers).unwrap()
}
