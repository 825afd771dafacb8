//! The engines of one process: they read models, decide where each runs, and own the threads that run them.

use std::borrow::Cow;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aimass_core::{Code, Fault, Result, Signature};
use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::backend::{Backend, LoadOptions, Loaded as _, Refused};
use crate::cpu::{self, Tract, TractModel};
use crate::gpu::{self, Gpu};
use crate::isolated::{self, Lost};
use crate::loaded::{Loaded, Placement};
use crate::onnx::Onnx;
use crate::onnxruntime::OnnxRuntime;
use crate::pool::{Lane, Pool};

/// How many threads, what queue, which devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EngineConfig {
    /// Threads that run models on the CPU.
    pub threads: usize,
    /// Requests that may wait for them; one more is answered `overloaded` at once.
    pub queue: usize,
    /// What to do with Vulkan devices.
    pub gpu: GpuPolicy,
    /// ONNX Runtime's library, which runs models on the CPU in tract's stead where it can.
    pub onnxruntime: Option<PathBuf>,
    /// The longest that reading and loading a model may take.
    pub load_limit: Duration,
    /// What every load is given.
    pub options: LoadOptions,
}

impl Default for EngineConfig {
    /// A thread a core, a queue of 64 a thread, hardware GPUs.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            threads,
            // At 10 ms a run that is two thirds of a second of waiting at most.
            queue: 64 * threads,
            gpu: GpuPolicy::Auto,
            onnxruntime: None,
            load_limit: Duration::from_secs(120),
            options: LoadOptions::default(),
        }
    }
}

/// Which Vulkan devices may serve models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GpuPolicy {
    /// None.
    Off,
    /// Graphics hardware. A software device (llvmpipe) only for a model that asks for the GPU strictly.
    #[default]
    Auto,
    /// Software devices as well, which are slower than the CPU engine: to exercise the GPU path without a GPU.
    Any,
}

/// Where a tenant wants a model to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Device {
    /// On the GPU if it is right and faster there, else on the CPU.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On the GPU or not at all.
    Gpu,
}

/// A device that models can run on, for `doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The engine that uses it.
    pub backend: Cow<'static, str>,
    /// What it calls itself; for the GPU engine without a device, why there is none.
    pub device: String,
    /// Whether it computes in software (llvmpipe); the CPU is no such thing.
    pub software: bool,
    /// Whether it can be used.
    pub available: bool,
}

/// The engines. Make one for the process, and share it in an [`Arc`].
///
/// ```
/// # use aimass_inference::{EngineConfig, Engines, GpuPolicy};
/// let engines = Engines::new(EngineConfig { threads: 1, gpu: GpuPolicy::Off, ..EngineConfig::default() })?;
/// let refused = engines.inspect(b"not a model").unwrap_err();
/// assert_eq!(refused.code(), aimass_core::Code::InvalidModel);
/// # Ok::<(), aimass_core::Fault>(())
/// ```
pub struct Engines {
    config: EngineConfig,
    pool: Pool,
    gpu: Gpu,
    runtime: Option<OnnxRuntime>,
}

impl Engines {
    /// Starts the CPU threads. The GPU is looked for when it is first needed.
    ///
    /// # Errors
    /// `internal` if the system gives no threads.
    pub fn new(config: EngineConfig) -> Result<Self> {
        let pool = Pool::start("infer", config.threads, config.queue)?;
        let runtime = config.onnxruntime.as_deref().and_then(|path| {
            let opened = OnnxRuntime::open(path);
            opened.inspect_err(|unusable| tracing::error!(%unusable, "models run in tract instead")).ok()
        });
        Ok(Self { config, pool, gpu: Gpu::default(), runtime })
    }

    /// Reads a model and checks that the CPU engine can run it. Blocks, up to the load limit.
    ///
    /// # Errors
    /// [`Code::InvalidModel`] with the reason: not ONNX, an operator that is not supported, data in other files,
    /// absurd shapes, strings, a graph that does not work.
    pub fn inspect(&self, onnx: &[u8]) -> Result<Signature> {
        // The thread may outlive this call if it hangs, so it needs bytes of its own.
        let (bytes, options) = (Bytes::copy_from_slice(onnx), self.config.options.clone());
        let read = move || read(&bytes, &options).map(|model| model.signature().clone());
        isolated::run("inspect", self.config.load_limit, read).map_err(lost)?.map_err(invalid)
    }

    /// Loads a model onto the device that suits it, within `want`.
    ///
    /// # Errors
    /// [`Code::InvalidModel`] like [`inspect`](Self::inspect); [`Code::UnsupportedDevice`] with the reason if the GPU
    /// was asked for and cannot serve it.
    pub async fn load(&self, onnx: Bytes, want: Device) -> Result<Arc<Loaded>> {
        if want == Device::Cpu
            && let Some(loaded) = self.load_with_runtime(&onnx).await
        {
            return Ok(Arc::new(loaded));
        }
        let (bytes, options) = (onnx.clone(), self.config.options.clone());
        let model = isolated::run_async("load", self.config.load_limit, move || read(&bytes, &options));
        let model = model.await.map_err(lost)?.map_err(invalid)?;

        let (gpu, placement) = match self.place(onnx, want, &model).await {
            Ok(placed) => (Some(placed.model), placed.placement),
            Err(placement) => (None, placement),
        };
        if want == Device::Gpu && gpu.is_none() {
            let reason = placement.reason.unwrap_or_default();
            return Err(Fault::new(Code::UnsupportedDevice, format!("the GPU cannot serve this model: {reason}")));
        }
        tracing::debug!(?placement, "a model is loaded");
        let gpu_memory = gpu.as_ref().map_or(0, |g| g.memory());
        // One session, so one thread; the queue is as for a CPU thread.
        let gpu = gpu.map(|g| Ok::<_, Fault>(Lane::new(Pool::start("infer-gpu", 1, 64)?, g))).transpose()?;
        Ok(Arc::new(Loaded {
            signature: model.signature().clone(),
            cpu: Lane::new(self.pool.clone(), Box::new(model.clone())),
            gpu,
            strict: want == Device::Gpu,
            placement: ArcSwap::from_pointee(placement),
            cpu_model: Mutex::new(Box::new(model)),
            gpu_memory,
        }))
    }

    /// The model in ONNX Runtime, if that is installed and takes it; what it refuses, tract says why.
    async fn load_with_runtime(&self, onnx: &Bytes) -> Option<Loaded> {
        let (runtime, bytes, options) = (self.runtime.clone()?, onnx.clone(), self.config.options.clone());
        let load = move || runtime.load(&bytes, &options);
        let model = match isolated::run_async("load", self.config.load_limit, load).await {
            Ok(Ok(model)) => model,
            Ok(Err(refused)) => {
                tracing::debug!(reason = refused.0, "ONNX Runtime does not take a model");
                return None;
            }
            Err(lost) => {
                tracing::warn!(%lost, "ONNX Runtime failed on a model");
                return None;
            }
        };
        let backend = self.runtime.as_ref().map_or("", |runtime| runtime.name());
        let placement = Placement { backend: backend.into(), ..Placement::cpu("the CPU was asked for") };
        let fork = model.fork()?;
        Some(Loaded {
            signature: model.signature().clone(),
            cpu: Lane::new(self.pool.clone(), model),
            gpu: None,
            strict: false,
            placement: ArcSwap::from_pointee(placement),
            cpu_model: Mutex::new(fork),
            gpu_memory: 0,
        })
    }

    /// The devices that there are. Blocks while the GPU is looked for the first time.
    pub fn devices(&self) -> Vec<DeviceInfo> {
        let cpu = DeviceInfo {
            backend: Tract.name().into(),
            device: format!("CPU, {} threads", self.config.threads),
            software: false,
            available: true,
        };
        let unavailable = |reason: &str| DeviceInfo {
            backend: gpu::NAME.into(),
            device: reason.to_owned(),
            software: false,
            available: false,
        };
        let gpu = match self.config.gpu {
            GpuPolicy::Off => unavailable("turned off on this node"),
            GpuPolicy::Auto | GpuPolicy::Any => match self.gpu.device() {
                Ok(device) => DeviceInfo {
                    backend: gpu::NAME.into(),
                    device: device.name.clone(),
                    software: device.software,
                    available: true,
                },
                Err(reason) => unavailable(reason),
            },
        };
        vec![cpu, gpu]
    }

    /// The GPU for this model, or the CPU with the reason.
    async fn place(&self, onnx: Bytes, want: Device, cpu: &TractModel) -> Result<gpu::Placed, Placement> {
        if want == Device::Cpu {
            return Err(Placement::cpu("the CPU was asked for"));
        }
        if self.config.gpu == GpuPolicy::Off {
            return Err(Placement::cpu("the GPU is turned off on this node"));
        }
        let (gpu, options, cpu) = (self.gpu.clone(), self.config.options.clone(), cpu.clone());
        let software_too = want == Device::Gpu || self.config.gpu == GpuPolicy::Any;
        let place = move || gpu::place(&gpu, &onnx, software_too, &options, cpu);
        isolated::run_async("place", self.config.load_limit, place)
            .await
            .unwrap_or_else(|lost| Err(Placement::cpu(format!("the GPU engine failed on it: {lost}"))))
    }
}

fn read(bytes: &[u8], options: &LoadOptions) -> Result<TractModel, Refused> {
    cpu::load(Onnx::read(bytes, options.max_tensor)?, options)
}

fn invalid(refused: Refused) -> Fault {
    Fault::new(Code::InvalidModel, refused.0)
}

fn lost(lost: Lost) -> Fault {
    match lost {
        Lost::NoThread(_) => Fault::internal(lost),
        Lost::Panicked(_) | Lost::TimedOut(_) => {
            Fault::new(Code::InvalidModel, format!("the CPU engine failed on it: {lost}"))
        }
    }
}
