//! Models on CPU and GPU: engines, and what keeps them from being wrong, stuck or overrun.
//!
//! [`Engines`] loads an ONNX file onto a device and hands back a [`Loaded`] model, which answers
//! [`infer`](aimass_core::seam::Model::infer). The CPU engine (tract) takes every model that is valid here at all.
//! The GPU engine (wonnx) is faster for some and wrong for others, so a model gets there only through a whitelist, a
//! comparison with the CPU on random inputs and, on real hardware, a race against it; otherwise it stays on the CPU,
//! and [`Placement`] says why.
//!
//! Tenants' bytes are parsed, and run, on threads of this crate alone; panics end there as errors.

pub mod backend;
mod cpu;
mod engines;
mod gpu;
mod isolated;
mod loaded;
mod onnx;
mod onnxruntime;
mod pool;
pub mod process;
mod schedule;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use cpu::Tract;
pub use engines::{Device, DeviceInfo, EngineConfig, Engines, GpuPolicy};
pub use gpu::Wonnx;
pub use loaded::{Loaded, Placement, Race};
pub use onnxruntime::{OnnxRuntime, Unusable};

/// Reads, checks and lowers a file as the GPU engine would, for `tests/fuzz`: parsing itself is not public.
#[cfg(fuzzing)]
pub fn fuzz_lowering(bytes: &[u8]) {
    gpu::fuzz(bytes);
}
