//! A model on its device, as the rest of the platform holds it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aimass_core::{Code, Fault, Result, Signature, Tensor, seam};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;

use crate::backend::{self, RunError};
use crate::pool::{Lane, past_deadline};

/// Where a model runs, and how that was decided: for `models show`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Placement {
    /// The engine: `tract`, `onnxruntime` or `wonnx`.
    pub backend: Cow<'static, str>,
    /// The device, as it calls itself; `CPU` for the CPU.
    pub device: String,
    /// Why it is not on the GPU; nothing if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The largest relative difference between GPU and CPU on the canary's inputs, if it got that far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<f64>,
    /// Median milliseconds of a run on the CPU and on the GPU, if they were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub race: Option<Race>,
}

/// Median milliseconds of one run on canary inputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Race {
    /// On the CPU, one thread.
    pub cpu_ms: f64,
    /// On the GPU, with the transfers.
    pub gpu_ms: f64,
}

impl Placement {
    pub(crate) fn cpu(reason: impl Into<String>) -> Self {
        Self { backend: "tract".into(), device: "CPU".into(), reason: Some(reason.into()), canary: None, race: None }
    }
}

/// A model that is loaded, served by a pool of threads (CPU) or by a thread of its own (GPU).
pub struct Loaded {
    pub(crate) signature: Signature,
    pub(crate) cpu: Lane,
    pub(crate) gpu: Option<Lane>,
    /// Asked for the GPU or nothing: a failing GPU is no reason to use the CPU.
    pub(crate) strict: bool,
    pub(crate) placement: ArcSwap<Placement>,
    /// For its size only.
    pub(crate) cpu_model: Mutex<Box<dyn backend::Loaded>>,
    pub(crate) gpu_memory: u64,
}

impl Loaded {
    /// Where it runs now, and why there. It may change: a GPU that hangs is left for the CPU.
    pub fn placement(&self) -> Arc<Placement> {
        self.placement.load_full()
    }

    /// Bytes that it holds, estimated: weights as they came, as each plan repacked them, and on the GPU.
    pub fn memory(&self) -> u64 {
        self.cpu_model.lock().unwrap_or_else(PoisonError::into_inner).memory() + self.gpu_memory
    }

    /// The GPU hung or broke in the middle of a run: it gets no more of them.
    fn leave_gpu(&self, why: &str) {
        tracing::error!(cause = why, "a model lost its GPU session");
        let now = self.placement.load();
        if now.backend != "tract" {
            let reason = format!("the GPU failed while it served this model: {why}");
            let device = if self.strict { now.device.clone() } else { "CPU".into() };
            self.placement.store(Arc::new(Placement { device, ..Placement::cpu(reason) }));
        }
    }

    /// Runs it on this thread, or on the GPU's while this one waits: for a thread that is there to run models.
    /// `inputs` fit the signature, in its order.
    ///
    /// # Errors
    /// As for [`infer`](seam::Model::infer).
    pub(crate) fn run_here(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<Vec<Tensor>> {
        if let Some(gpu) = self.on_gpu() {
            match gpu.run_blocking(inputs.clone(), deadline)? {
                Ok(outputs) => return Ok(outputs),
                Err(error) => self.failed_on_gpu(error)?,
            }
        } else if self.strict {
            return Err(no_other_engine());
        }
        self.cpu.run_here(inputs).map_err(Fault::from)
    }

    /// Whether the CPU may try now.
    fn failed_on_gpu(&self, error: RunError) -> Result<()> {
        match error {
            RunError::Lost(why) => self.leave_gpu(&why),
            error if self.strict => return Err(error.into()),
            error => tracing::warn!(%error, "a run failed on the GPU and moves to the CPU"),
        }
        if self.strict { Err(no_other_engine()) } else { Ok(()) }
    }

    fn on_gpu(&self) -> Option<&Lane> {
        self.gpu.as_ref().filter(|_| self.placement.load().backend != "tract")
    }
}

#[async_trait]
impl seam::Model for Loaded {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    async fn infer(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<Vec<Tensor>> {
        self.signature.check_inputs(&inputs)?;
        let inputs = in_order(&self.signature, inputs);
        if Instant::now() >= deadline {
            return Err(past_deadline());
        }
        if let Some(gpu) = self.on_gpu() {
            match gpu.run(inputs.clone(), deadline).await? {
                Ok(outputs) => return Ok(outputs),
                Err(error) => self.failed_on_gpu(error)?,
            }
        } else if self.strict {
            return Err(no_other_engine());
        }
        self.cpu.run(inputs, deadline).await?.map_err(Fault::from)
    }
}

fn no_other_engine() -> Fault {
    Fault::new(Code::Unavailable, "the GPU failed, and this model may run nowhere else")
}

/// The inputs as the signature lists them; every one is there once, which was checked.
pub(crate) fn in_order(signature: &Signature, mut inputs: Vec<Tensor>) -> Vec<Tensor> {
    for (position, port) in signature.inputs.iter().enumerate() {
        if inputs[position].name() != port.name
            && let Some(found) = inputs.iter().position(|t| t.name() == port.name)
        {
            inputs.swap(position, found);
        }
    }
    inputs
}
