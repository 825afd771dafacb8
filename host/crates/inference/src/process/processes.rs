//! The engine processes of one node, and which of them holds a model.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aimass_core::{Code, Fault, Result, Signature, seam::Model as _};
use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};

use super::blame::{Blame, ModelKey};
use super::dispatch::Owner;
use super::engine::{Engine, Spec};
use super::link::Link;
use super::models::ProcessModel;
use super::region::Region;
use super::weights::Weights;
use super::wire::{ReplyBody, RequestBody};
use crate::engines::{Device, DeviceInfo, EngineConfig, GpuPolicy};
use crate::loaded::Placement;

/// A load of a child ends by the child's own limit; this is for one that does not even do that.
const LOAD_SLACK: Duration = Duration::from_secs(10);

/// Models that are read at once, by each engine: reading takes a core, and memory beside the model's own.
const LOADS: usize = 2;

/// How a child is started: a program that calls [`serve`](super::serve), and the arguments before the device.
#[derive(Clone, Debug)]
pub struct EngineCommand {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<OsString>,
}

/// Variables that a child needs to find drivers, and to be told what to log. Secrets of the server stay with it.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "LD_LIBRARY_PATH", "RUST_LOG"];
const ENVIRONMENT_PREFIXES: [&str; 7] = ["AIMASS_LOG", "VK_", "WGPU_", "CUDA_", "NVIDIA_", "XDG_", "MESA_"];

impl EngineCommand {
    /// This program itself, with the command `engine`.
    ///
    /// # Errors
    /// `internal` if the system does not say which program this is.
    pub fn own() -> Result<Self> {
        let program = std::env::current_exe().map_err(Fault::internal)?;
        Ok(Self { program, arguments: vec!["engine".into(), "--device".into()] })
    }

    pub(super) fn build(&self, device: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(device).env_clear();
        let kept = |name: &str| ENVIRONMENT.contains(&name) || ENVIRONMENT_PREFIXES.iter().any(|p| name.starts_with(p));
        command.envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(kept)));
        command
    }
}

/// What the processes are given.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Threads, queue, devices and limits of loading.
    pub engines: EngineConfig,
    /// How they are started.
    pub command: EngineCommand,
    /// The most memory that the process of an engine may take, bytes: it is replaced when it takes more. What a
    /// graphics card holds by itself does not count.
    pub memory: u64,
    /// The longest that a model may run: an engine that does not answer for so long is replaced.
    pub run_limit: Duration,
}

/// The engines of one node, each in a process of its own, started when it is first needed.
pub struct EngineProcesses {
    config: ProcessConfig,
    pub(super) blame: Arc<Blame>,
    weights: Weights,
    /// Reads what is uploaded, and holds nothing: a file that ends it ends nobody's calls.
    inspector: Arc<Engine>,
    inspecting: Semaphore,
    cpu: Arc<Engine>,
    loading: Semaphore,
    gpu: OnceCell<Result<(Arc<Engine>, DeviceInfo), String>>,
    numbers: AtomicU64,
}

impl EngineProcesses {
    /// Starts nothing yet.
    pub fn new(config: ProcessConfig) -> Self {
        let blame = Arc::new(Blame::default());
        let cpu = EngineConfig { gpu: GpuPolicy::Off, ..config.engines.clone() };
        let engine = |device, config: &ProcessConfig, engines: EngineConfig, blame| {
            let (command, memory, run_limit) = (config.command.clone(), config.memory, config.run_limit);
            Engine::new(Spec { device, command, config: engines, memory, bounded: true, run_limit }, blame)
        };
        let inspector = EngineConfig { threads: 1, ..cpu.clone() };
        Self {
            inspector: engine("inspect", &config, inspector, Arc::default()),
            inspecting: Semaphore::new(1),
            cpu: engine("cpu", &config, cpu, blame.clone()),
            loading: Semaphore::new(LOADS),
            gpu: OnceCell::new(),
            numbers: AtomicU64::new(0),
            weights: Weights::default(),
            blame,
            config,
        }
    }

    /// Reads an uploaded model in a process that holds no others, and checks that the CPU engine can run it.
    ///
    /// # Errors
    /// `invalid_model` with the reason: not ONNX, an operator that is not supported, data in other files, absurd
    /// shapes, strings, a graph that does not work, or one that ends the process that reads it.
    pub async fn inspect(&self, onnx: Bytes) -> Result<Signature> {
        let _one = self.inspecting.acquire().await.map_err(Fault::internal)?;
        let link = self.inspector.link().await?;
        let nobody: Arc<str> = "".into();
        let owner = Owner { weight: self.weights.of(&nobody), tenant: nobody, key: "upload".into() };
        let read = self.load_into(self.inspector.clone(), link.clone(), onnx, Device::Cpu, owner).await;
        match read {
            Ok(model) => Ok(model.signature().clone()),
            Err(fault) if fault.code() == Code::Unavailable && link.closed() => {
                let detail = "reading it ended the process that did: it takes too much memory, or breaks the engine";
                Err(Fault::new(Code::InvalidModel, detail))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Loads a model onto the device that suits it, within `want`. `tenant` decides whose turn it is, and
    /// `key` is the same at every load of the same model.
    ///
    /// # Errors
    /// `invalid_model` with the reason; `unsupported_device` with the reason if the GPU was asked for and cannot serve
    /// it; `unavailable` if the engine dies of it, or did so three times.
    pub async fn load(&self, onnx: Bytes, want: Device, tenant: &str, key: ModelKey) -> Result<ProcessModel> {
        self.blame.check(&key)?;
        let tenant: Arc<str> = tenant.into();
        let owner = Owner { weight: self.weights.of(&tenant), tenant, key };
        let _one = self.loading.acquire().await.map_err(Fault::internal)?;
        let elsewhere = match self.on_gpu(&onnx, want, &owner).await? {
            Ok(model) => return Ok(model),
            Err(placement) => placement,
        };
        if want == Device::Gpu {
            let reason = elsewhere.reason.unwrap_or_default();
            return Err(Fault::new(Code::UnsupportedDevice, format!("the GPU cannot serve this model: {reason}")));
        }
        let link = self.cpu.link().await?;
        let model = self.load_into(self.cpu.clone(), link, onnx, Device::Cpu, owner).await?;
        // Which CPU engine serves is known only now.
        let backend = model.placement().backend.clone();
        Ok(model.placed(Placement { backend, ..elsewhere }))
    }

    /// Gives a tenant's requests that come from now on this weight, beside those of others; before that it is 1.
    pub fn set_weight(&self, tenant: &str, weight: u32) {
        self.weights.set(tenant, weight);
    }

    /// The devices that there are.
    ///
    /// # Errors
    /// `unavailable` if the CPU engine does not start.
    pub async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        let mut devices = devices(&self.cpu).await?;
        if self.config.engines.gpu != GpuPolicy::Off {
            devices.retain(|device| device.backend != crate::gpu::NAME);
            devices.push(match self.gpu().await {
                Ok((_, device)) => device,
                Err(reason) => {
                    DeviceInfo { backend: crate::gpu::NAME.into(), device: reason, software: false, available: false }
                }
            });
        }
        Ok(devices)
    }

    /// The inner result: the model on the GPU, or why it is not there.
    async fn on_gpu(&self, onnx: &Bytes, want: Device, owner: &Owner) -> Result<Result<ProcessModel, Placement>> {
        if want == Device::Cpu {
            return Ok(Err(Placement::cpu("the CPU was asked for")));
        }
        if self.config.engines.gpu == GpuPolicy::Off {
            return Ok(Err(Placement::cpu("the GPU is turned off on this node")));
        }
        let engine = match self.gpu().await {
            Ok((_, device))
                if device.software && want == Device::Auto && self.config.engines.gpu == GpuPolicy::Auto =>
            {
                let reason = format!("the only Vulkan device is a software one, {}", device.device);
                return Ok(Err(Placement::cpu(reason)));
            }
            Ok((engine, _)) => engine,
            Err(reason) => return Ok(Err(Placement::cpu(reason))),
        };
        let link = match engine.link().await {
            Ok(link) => link,
            Err(fault) => return Ok(Err(Placement::cpu(fault.detail()))),
        };
        match self.load_into(engine, link.clone(), onnx.clone(), want, owner.clone()).await {
            Ok(model) if model.placement().backend == crate::gpu::NAME => Ok(Ok(model)),
            // It is unloaded there when this returns.
            Ok(model) => Ok(Err((*model.placement()).clone())),
            Err(fault) if link.closed() => {
                let reason = format!("the GPU engine ended while it loaded it: {}", fault.detail());
                Ok(Err(Placement::cpu(reason)))
            }
            Err(fault) => Err(fault),
        }
    }

    /// The GPU's engine with its device, if there is one.
    async fn gpu(&self) -> Result<(Arc<Engine>, DeviceInfo), String> {
        let found = self.gpu.get_or_init(async || {
            let spec = Spec {
                device: "gpu:0",
                command: self.config.command.clone(),
                // The reference that the GPU's answers are compared with is tract's.
                config: EngineConfig { onnxruntime: None, ..self.config.engines.clone() },
                // Of a software device that is all its memory, of a graphics card the host's part alone.
                memory: self.config.memory,
                bounded: false,
                run_limit: self.config.run_limit,
            };
            let engine = Engine::new(spec, self.blame.clone());
            let found = devices(&engine).await.map_err(|fault| fault.detail().to_owned())?;
            match found.into_iter().find(|device| device.backend == crate::gpu::NAME) {
                Some(device) if device.available => Ok((engine, device)),
                Some(device) => Err(device.device),
                None => Err("there is no GPU engine".to_owned()),
            }
        });
        found.await.clone()
    }

    /// Hands a model to a process. It goes on when the caller leaves, so that what was loaded is unloaded again.
    async fn load_into(
        &self,
        engine: Arc<Engine>,
        link: Arc<Link>,
        onnx: Bytes,
        device: Device,
        owner: Owner,
    ) -> Result<ProcessModel> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let limit = self.config.engines.load_limit + LOAD_SLACK;
        let load = async move {
            let region = Region::create(onnx.len()).map_err(Fault::internal)?;
            region.put(0, &onnx).map_err(Fault::internal)?;
            let body = RequestBody::Load { model: number, length: onnx.len(), device };
            drop(onnx);
            match link.ask(body, Some(region.file()), Some(owner.key.clone()), limit).await? {
                ReplyBody::Loaded(head) => Ok(ProcessModel::new(owner, engine, (link, number), &head)),
                _ => Err(Fault::internal("an engine's answer is of another kind")),
            }
        };
        tokio::spawn(load).await.map_err(Fault::internal)?
    }
}

async fn devices(engine: &Arc<Engine>) -> Result<Vec<DeviceInfo>> {
    let link = engine.link().await?;
    match link.ask(RequestBody::Devices, None, None, Duration::from_secs(60)).await? {
        ReplyBody::Devices(devices) => Ok(devices),
        _ => Err(Fault::internal("an engine's answer is of another kind")),
    }
}
