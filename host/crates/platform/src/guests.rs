//! How a guest reaches its tenant's models: the other half of `wasi:nn`.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use aimass_core::event::Kind;
use aimass_core::seam::{Inference, Model};
use aimass_core::{Fault, ObjectRef, Result, Signature, Tenant, Tensor};
use aimass_inference::process::ProcessModel;
use async_trait::async_trait;
use bytes::Bytes;

use crate::Platform;
use crate::deployments::Routing;
use crate::statistics::Recorder;

/// Made before the platform, because the sandbox needs it, and connected to it afterwards.
#[derive(Default)]
pub struct Guests {
    platform: OnceLock<Weak<Platform>>,
}

impl Guests {
    pub(crate) fn connect(&self, platform: &Arc<Platform>) {
        // A second platform on the same sandbox would be a mistake of compose; the first one stays.
        let _ = self.platform.set(Arc::downgrade(platform));
    }

    pub(crate) fn platform(&self) -> Result<Arc<Platform>> {
        let weak = self.platform.get().ok_or_else(|| Fault::internal("guests are not connected"))?;
        weak.upgrade().ok_or_else(|| Fault::internal("the platform is gone"))
    }
}

/// A guest's model, whose calls count in the figures of its version.
struct Watched {
    model: Arc<ProcessModel>,
    recorder: Arc<Recorder>,
}

#[async_trait]
impl Model for Watched {
    fn signature(&self) -> &Signature {
        Model::signature(&*self.model)
    }

    async fn infer(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<Vec<Tensor>> {
        let started = Instant::now();
        let outcome = self.model.infer_timed(inputs, deadline).await.map(|(outputs, _)| outputs);
        let failed = outcome.as_ref().err().map(|fault| fault.code().source());
        self.recorder.ended_with(started.elapsed(), failed);
        outcome
    }
}

#[async_trait]
impl Inference for Guests {
    async fn by_name(&self, tenant: &Tenant, reference: &ObjectRef) -> Result<Arc<dyn Model>> {
        let platform = self.platform()?;
        let (resolved, _) = platform.directory.resolve(tenant, reference, &Routing::default())?;
        if resolved.kind != Kind::Model {
            return Err(Fault::not_found());
        }
        let model = platform.models.load_resolved(tenant, &resolved).await?;
        Ok(Arc::new(Watched { model, recorder: resolved.recorder.clone() }))
    }

    async fn from_bytes(&self, tenant: &Tenant, onnx: Bytes) -> Result<Arc<dyn Model>> {
        Ok(self.platform()?.models.load_bytes(tenant, onnx).await?)
    }
}
