//! Telling a plugin of an event, for whoever may call it.

use std::sync::Arc;
use std::time::Instant;

use aimass_core::cloud_event::CloudEvent;
use aimass_core::event::Kind;
use aimass_core::{Code, Fault, ObjectRef, Result};

use crate::deployments::Routing;
use crate::directory::Resolved;
use crate::{CallOptions, Caller, Platform, Scope};

impl Platform {
    /// Checks that the caller may tell a plugin of events, and that it is there.
    ///
    /// # Errors
    /// `insufficient_scope`; `not_found`; `unsupported_operation` for a model.
    pub fn may_tell(&self, by: &Caller, reference: &ObjectRef) -> Result<()> {
        self.told(by, reference, &Routing::main()).map(drop)
    }

    /// Tells a plugin that exports `events` of an event.
    ///
    /// # Errors
    /// `insufficient_scope`; `not_found`; `unsupported_operation` for what is told of no events; what the plugin says.
    pub async fn tell(
        &self,
        by: &Caller,
        reference: &ObjectRef,
        event: CloudEvent,
        mut options: CallOptions,
        request: &str,
    ) -> Result<()> {
        let (tenant, resolved) = (by.tenant()?, self.told(by, reference, &options.routing)?);
        let _entered = self.admit(tenant, &options.trace)?;
        let request: Arc<str> = request.into();
        let watch = self.watch(tenant, &resolved, &request, &mut options);
        resolved.record.used.came(event.data.len() as u64);
        let started = Instant::now();
        let called = async {
            let plugin = self.loaded_plugin(tenant, &resolved).await?;
            let call = self.call(tenant, &resolved, &options, &request);
            self.sandbox.handle(&plugin, call, event).await
        };
        let told = self.unless_erased(tenant, called).await;
        let failed = told.as_ref().err();
        resolved.recorder.ended_with(started.elapsed(), failed.map(|fault| fault.code().source()));
        watch.ended(failed);
        told.map_err(|fault| fault.of_version(resolved.version))
    }

    fn told(&self, by: &Caller, reference: &ObjectRef, routing: &Routing) -> Result<Arc<Resolved>> {
        by.require(Scope::PluginsInvoke)?;
        let (resolved, _) = self.directory.resolve(by.tenant()?, reference, routing)?;
        match resolved.kind {
            Kind::Plugin => Ok(resolved),
            Kind::Model => Err(Fault::new(Code::UnsupportedOperation, format!("`{}` is a model", resolved.name))),
        }
    }
}
