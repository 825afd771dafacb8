//! Telling a plugin of an event, for whoever may call it.

use std::sync::Arc;

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
        options: CallOptions,
        request: &str,
    ) -> Result<()> {
        let (tenant, resolved) = (by.tenant()?, self.told(by, reference, &options.routing)?);
        let _entered = self.gate.enter(tenant, &self.limits_of(tenant))?;
        let plugin = self.loaded_plugin(tenant, &resolved).await?;
        let call = self.call(tenant, &resolved, &options, request);
        self.sandbox.handle(&plugin, call, event).await
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
