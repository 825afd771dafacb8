//! A model in an engine process, as the rest of the platform holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aimass_core::{Result, Signature, Tensor, seam};
use async_trait::async_trait;

use super::dispatch::{Owner, Queued};
use super::engine::Engine;
use super::join::Joins;
use super::link::Link;
use super::wire::{LoadedHead, RequestBody};
use crate::loaded::{Placement, in_order};

/// What a run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// From the call until its turn came.
    pub queue: Duration,
    /// In the engine, for all that ran together.
    pub compute: Duration,
    /// Requests that ran together.
    pub batch: u32,
}

/// A loaded model. Dropping it unloads it. It dies with its process: then [`alive`](Self::alive) says so, and it has
/// to be loaded again.
pub struct ProcessModel {
    queued: Arc<Queued>,
    engine: Arc<Engine>,
    signature: Signature,
    placement: Arc<Placement>,
    memory: AtomicU64,
}

impl ProcessModel {
    /// What `link`'s process said when it loaded number `number`.
    pub(super) fn new(owner: Owner, engine: Arc<Engine>, at: (Arc<Link>, u64), head: &LoadedHead) -> Self {
        let (signature, placement) = (head.signature(), head.placement());
        let alone = placement.backend == crate::gpu::NAME;
        let queued = engine.dispatcher.add(owner, at, Joins::of(&signature), alone);
        Self { queued, engine, signature, placement: Arc::new(placement), memory: head.memory.into() }
    }

    #[cfg(test)]
    pub(super) fn link(&self) -> &Link {
        &self.queued.link
    }

    pub(super) fn placed(mut self, placement: Placement) -> Self {
        self.placement = Arc::new(placement);
        self
    }

    /// Where it runs, and why there.
    pub fn placement(&self) -> Arc<Placement> {
        self.placement.clone()
    }

    /// Bytes that it holds, estimated: weights as they came, as each plan repacked them, and on the GPU.
    pub fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Whether its process still serves.
    pub fn alive(&self) -> bool {
        !self.queued.link.closed()
    }

    /// Runs it, and tells what took how long.
    ///
    /// # Errors
    /// As for [`seam::Model::infer`].
    pub async fn infer_timed(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<(Vec<Tensor>, Timing)> {
        self.infer_at(inputs, deadline, false).await
    }

    /// The same; `behind`, it gives way to what somebody waits for.
    ///
    /// # Errors
    /// As for [`seam::Model::infer`].
    pub async fn infer_at(
        &self,
        inputs: Vec<Tensor>,
        deadline: Instant,
        behind: bool,
    ) -> Result<(Vec<Tensor>, Timing)> {
        self.signature.check_inputs(&inputs)?;
        let inputs = in_order(&self.signature, inputs);
        let outputs = self.engine.dispatcher.run(&self.queued, inputs, deadline, behind).await?;
        self.memory.store(outputs.memory, Ordering::Relaxed);
        let timing = Timing { queue: outputs.queue, compute: outputs.compute, batch: outputs.batch };
        Ok((outputs.tensors, timing))
    }
}

#[async_trait]
impl seam::Model for ProcessModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    async fn infer(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<Vec<Tensor>> {
        self.infer_timed(inputs, deadline).await.map(|(outputs, _)| outputs)
    }
}

impl Drop for ProcessModel {
    fn drop(&mut self) {
        self.engine.dispatcher.remove(&self.queued);
        self.queued.link.tell(RequestBody::Unload { model: self.queued.number });
    }
}
