//! How a guest reaches its tenant's models: the other half of `wasi:nn`.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use aimass_core::event::Kind;
use aimass_core::seam::{Asking, Inference, Model};
use aimass_core::trace::{SpanKind, Trace};
use aimass_core::{Fault, ObjectRef, Result, Signature, Tensor};
use aimass_inference::process::ProcessModel;
use async_trait::async_trait;
use bytes::Bytes;

use crate::Platform;
use crate::calls::tell_timing;
use crate::deployments::Routing;
use crate::directory::Resolved;
use crate::statistics::Record;

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

#[async_trait]
impl Inference for Guests {
    async fn by_name(&self, by: Asking<'_>, reference: &ObjectRef) -> Result<Arc<dyn Model>> {
        let platform = self.platform()?;
        let tenant = by.tenant;
        let (resolved, _) = platform.directory.resolve(tenant, reference, &Routing::default())?;
        if resolved.kind != Kind::Model {
            return Err(Fault::not_found());
        }
        let model = platform.models.load_resolved(tenant, &resolved).await?;
        let record = resolved.record.clone();
        Ok(Arc::new(GuestsModel { model, of: Some(resolved), record, trace: by.trace.clone() }))
    }

    async fn from_bytes(&self, by: Asking<'_>, onnx: Bytes) -> Result<Arc<dyn Model>> {
        let platform = self.platform()?;
        let model = platform.models.load_bytes(by.tenant, onnx).await?;
        let record = platform.records.of(by.tenant, by.plugin, Kind::Plugin);
        Ok(Arc::new(GuestsModel { model, of: None, record, trace: by.trace.clone() }))
    }
}

/// A model, for one call of one guest: it counts in the figures of its version, and as what the tenant uses.
struct GuestsModel {
    model: Arc<ProcessModel>,
    /// None of a model that the guest brought itself.
    of: Option<Arc<Resolved>>,
    /// Whose use it is: the model's, or the plugin's that brought it.
    record: Arc<Record>,
    trace: Trace,
}

#[async_trait]
impl Model for GuestsModel {
    fn signature(&self) -> &Signature {
        Model::signature(&*self.model)
    }

    async fn infer(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<Vec<Tensor>> {
        let mut span = self.trace.span("inference", SpanKind::Internal);
        if let Some(of) = &self.of {
            span.note_with("aimass.model.name", || of.name.to_string());
            span.note_with("aimass.model.version", || of.version.to_string());
        }
        let trace = span.below(&self.trace);
        let called = Instant::now();
        let outcome = self.model.infer_timed(inputs, deadline).await;
        self.record.used.guest_inference(outcome.is_err());
        if let Some(of) = &self.of {
            of.recorder.ended_with(called.elapsed(), outcome.as_ref().err().map(|fault| fault.code().source()));
        }
        match outcome {
            Ok((outputs, timing)) => {
                tell_timing(&trace, called.elapsed(), &timing);
                self.record.used.engine(timing.compute, timing.batch);
                Ok(outputs)
            }
            Err(fault) => {
                span.fail(|| fault.code().as_str().into());
                Err(fault)
            }
        }
    }
}
