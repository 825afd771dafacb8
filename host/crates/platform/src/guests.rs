//! How a guest reaches its tenant's models: the other half of `wasi:nn`.

use std::sync::{Arc, OnceLock, Weak};

use aimass_core::event::Kind;
use aimass_core::seam::{Inference, Model};
use aimass_core::{Fault, ObjectRef, Result, Tenant};
use async_trait::async_trait;
use bytes::Bytes;

use crate::Platform;

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
    async fn by_name(&self, tenant: &Tenant, reference: &ObjectRef) -> Result<Arc<dyn Model>> {
        let platform = self.platform()?;
        let resolved = platform.directory.resolve(tenant, reference)?;
        if resolved.kind != Kind::Model {
            return Err(Fault::not_found());
        }
        Ok(platform.models.load_resolved(tenant, &resolved).await?)
    }

    async fn from_bytes(&self, tenant: &Tenant, onnx: Bytes) -> Result<Arc<dyn Model>> {
        Ok(self.platform()?.models.load_bytes(tenant, onnx).await?)
    }
}
