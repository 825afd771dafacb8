//! How a trigger's target is run: as a request of the tenant's own, through whoever reads requests.

use std::sync::{Arc, OnceLock, Weak};

use aimass_auth::{Caller, Scope};
use aimass_core::event::TriggerTarget;
use aimass_core::{Fault, Name, ObjectRef, Result, Selector, Tenant};
use async_trait::async_trait;
use bytes::Bytes;

/// A request that a trigger makes, as a client would.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// On whose behalf, and what that may do.
    pub caller: Caller,
    /// The run's id, which is the request's.
    pub id: String,
    /// `POST`.
    pub method: String,
    /// The path with its query: `/v2/models/sum/infer`, `/fn/acme/hello/`.
    pub path: String,
    /// The body's type, if there is a body.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// How it was answered.
#[derive(Clone, Debug)]
pub struct Performed {
    /// The status.
    pub status: u16,
    /// The fault's sentence, or the first words of an answer that is no success.
    pub detail: Option<String>,
}

/// Serves requests that no connection brought. `http` implements it, since only it reads requests.
#[async_trait]
pub trait Perform: Send + Sync {
    /// Serves the request to its end.
    async fn perform(&self, request: RunRequest) -> Performed;
}

/// Made before the one that performs, and connected to it afterwards.
#[derive(Default)]
pub(crate) struct Performer(OnceLock<Weak<dyn Perform>>);

impl Performer {
    pub(crate) fn connect(&self, performs: Weak<dyn Perform>) {
        // A second one would be a mistake of compose; the first one stays.
        let _ = self.0.set(performs);
    }

    pub(crate) fn get(&self) -> Result<Arc<dyn Perform>> {
        let performs = self.0.get().and_then(Weak::upgrade);
        performs.ok_or_else(|| Fault::internal("nothing performs what triggers fire"))
    }
}

/// The request that runs `target`. The tenant's trigger may call whatever is the tenant's: who made it was asked for the
/// right to then.
pub(super) fn request(tenant: &Tenant, trigger: &Name, id: &str, target: &TriggerTarget) -> Result<RunRequest> {
    let scopes = [Scope::PluginsInvoke, Scope::ModelsInvoke].into_iter().collect();
    let caller = Caller::on_behalf_of(tenant.clone(), format!("trigger {trigger}"), scopes);
    let (method, path, content_type, body) = match target {
        TriggerTarget::Infer(infer) => {
            let ObjectRef { name, selector } = infer.model.parse()?;
            let path = match selector {
                Selector::Latest => format!("/v2/models/{name}/infer"),
                Selector::Version(number) => format!("/v2/models/{name}/versions/{number}/infer"),
                Selector::Alias(alias) => format!("/v2/models/{name}:{alias}/infer"),
            };
            let body = infer.body.as_ref().map(ToString::to_string).unwrap_or_default();
            ("POST".to_owned(), path, Some("application/json".to_owned()), body)
        }
        TriggerTarget::Function(function) => {
            let path = format!("/fn/{}/{}{}", tenant.name(), function.plugin, function.path);
            let body = function.body.clone().unwrap_or_default();
            let kind = function.content_type.clone();
            let kind = kind.or_else(|| (!body.is_empty()).then(|| "application/json".to_owned()));
            (function.method.clone(), path, kind, body)
        }
    };
    Ok(RunRequest { caller, id: id.to_owned(), method, path, content_type, body: body.into() })
}
