//! A plugin that is ready to be called: compiled, linked, its exports looked up.

use aimass_core::event::Inspection;
use aimass_core::limits::InvocationLimits;
use aimass_core::{Code, Digest, Fault, Result};
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::inspect;
use crate::state::Guest;

/// A linked component. Instances are made from it; it holds none.
pub struct Plugin {
    digest: Digest,
    inspection: Inspection,
    pre: InstancePre<Guest>,
    pub(crate) model: Option<ModelExports>,
    pub(crate) http: Option<ProxyPre<Guest>>,
    /// The function `handle` of `events`.
    pub(crate) events: Option<ComponentExportIndex>,
}

/// How a model plugin's functions are found in an instance.
pub(crate) struct ModelExports {
    pub(crate) signature: ComponentExportIndex,
    pub(crate) infer: ComponentExportIndex,
}

impl Plugin {
    pub(crate) fn link(
        engine: &Engine,
        linker: &Linker<Guest>,
        digest: Digest,
        component: Component,
        limits: &InvocationLimits,
    ) -> Result<Self> {
        let inspection = inspect::surface(engine, &component)?;
        inspect::resources(&component, limits)?;
        let pre = linker.instantiate_pre(&component).map_err(|error| {
            // The names fit, so a type does not: the message says which, and quotes nothing but the component.
            Fault::new(Code::UnsupportedImport, format!("an import does not fit: {error:#}"))
        })?;
        let has = |world| inspection.worlds.iter().any(|w| w == world);
        let model = if has(inspect::MODEL_WORLD) { Some(model_exports(&component)?) } else { None };
        let http = if has(inspect::HTTP_WORLD) {
            let proxy = ProxyPre::new(pre.clone()).map_err(|error| {
                Fault::new(Code::InvalidComponent, format!("wasi:http/incoming-handler does not fit: {error:#}"))
            })?;
            Some(proxy)
        } else {
            None
        };
        let events = has(inspect::EVENTS_WORLD).then(|| events_export(&component)).transpose()?;
        Ok(Self { digest, inspection, pre, model, http, events })
    }

    /// The component's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What it imports and exports. The signature is not in it: that costs a call, see
    /// [`Sandbox::signature`](crate::Sandbox::signature).
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// Whether [`Sandbox::infer`](crate::Sandbox::infer) can call it.
    pub fn is_model(&self) -> bool {
        self.model.is_some()
    }

    /// Whether [`Sandbox::http`](crate::Sandbox::http) can call it.
    pub fn is_http(&self) -> bool {
        self.http.is_some()
    }

    pub(crate) fn pre(&self) -> &InstancePre<Guest> {
        &self.pre
    }

    pub(crate) fn unsupported(what: &str) -> Fault {
        Fault::new(Code::UnsupportedOperation, format!("the plugin does not export `{what}`"))
    }
}

fn model_exports(component: &Component) -> Result<ModelExports> {
    let interface = export(component, None, inspect::MODEL_INTERFACE)?;
    Ok(ModelExports {
        signature: export(component, Some(&interface), "signature")?,
        infer: export(component, Some(&interface), "infer")?,
    })
}

fn events_export(component: &Component) -> Result<ComponentExportIndex> {
    let interface = export(component, None, inspect::EVENTS_INTERFACE)?;
    export(component, Some(&interface), "handle")
}

fn export(component: &Component, within: Option<&ComponentExportIndex>, name: &str) -> Result<ComponentExportIndex> {
    let found = component.get_export_index(within, name);
    found.ok_or_else(|| Fault::new(Code::InvalidComponent, format!("the export `{name}` is missing")))
}
