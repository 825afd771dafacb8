//! A model in an engine process, as the rest of the platform holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aimass_core::{Result, Signature, Tensor, seam};
use async_trait::async_trait;

use super::blame::ModelKey;
use super::engine::Engine;
use super::link::Link;
use super::wire::{LoadedHead, RequestBody};
use crate::loaded::{Placement, in_order};

/// A loaded model. Dropping it unloads it. It dies with its process: then [`alive`](Self::alive) says so, and it has
/// to be loaded again.
pub struct ProcessModel {
    pub(super) key: ModelKey,
    pub(super) engine: Arc<Engine>,
    pub(super) link: Arc<Link>,
    /// Its number in the process.
    pub(super) number: u64,
    signature: Signature,
    placement: Arc<Placement>,
    memory: AtomicU64,
}

impl ProcessModel {
    pub(super) fn new(key: ModelKey, engine: Arc<Engine>, link: Arc<Link>, number: u64, head: &LoadedHead) -> Self {
        Self {
            signature: head.signature(),
            placement: Arc::new(head.placement()),
            memory: head.memory.into(),
            key,
            engine,
            link,
            number,
        }
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
        !self.link.closed()
    }

    /// Runs it, and tells how long the engine computed.
    ///
    /// # Errors
    /// As for [`seam::Model::infer`].
    pub async fn infer_timed(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<(Vec<Tensor>, Duration)> {
        self.signature.check_inputs(&inputs)?;
        let inputs = in_order(&self.signature, inputs);
        let outputs = self.engine.run(&self.link, (self.number, &self.key), inputs, deadline).await?;
        self.memory.store(outputs.memory, Ordering::Relaxed);
        Ok((outputs.tensors, outputs.compute))
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
        self.link.tell(RequestBody::Unload { model: self.number });
    }
}
