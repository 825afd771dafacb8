//! What a run is: a request of the tenant's own, which the queue of asynchronous calls takes.

use aimass_auth::{Caller, Scope};
use aimass_core::cloud_event::CloudEvent;
use aimass_core::event::{RunCause, TriggerRun, TriggerTarget};
use aimass_core::{Name, ObjectRef, Result, Selector, Tenant};
use bytes::Bytes;

use super::journal_events::{PREFIX, rfc3339};
use crate::StoredRequest;

/// What the cause of a run brings along.
#[derive(Clone, Debug)]
pub(super) enum Brought {
    /// Nothing but that it is time.
    Nothing,
    /// An event.
    Event(CloudEvent),
    /// A request's body, and what it is.
    Body { content_type: Option<String>, body: Bytes },
}

impl Brought {
    /// As headers and a body: an event in binary mode.
    fn message(self) -> (Vec<(String, String)>, Bytes) {
        match self {
            Self::Nothing => (vec![], Bytes::new()),
            Self::Event(event) => (event.headers(), event.data.into()),
            Self::Body { content_type, body } => {
                (content_type.map(|kind| ("content-type".to_owned(), kind)).into_iter().collect(), body)
            }
        }
    }

    /// As an event, for a plugin that is told of events: an event as it is, anything else as that of the trigger.
    fn event(self, tenant: &Tenant, trigger: &Name, run: &TriggerRun, now_ms: u64) -> CloudEvent {
        let (content_type, data) = match self {
            Self::Event(event) => return event,
            Self::Nothing => {
                let cause = serde_json::to_value(&run.cause).unwrap_or_default();
                (Some("application/json".to_owned()), cause.to_string().into())
            }
            Self::Body { content_type, body } => (content_type, body),
        };
        let source = format!("/tenants/{}/triggers/{trigger}", tenant.name());
        let kind = match &run.cause {
            RunCause::Webhook { .. } => "webhook.received",
            _ => "trigger.fired",
        };
        CloudEvent {
            time: rfc3339(now_ms),
            data_content_type: content_type,
            data: data.to_vec(),
            ..CloudEvent::new(run.id.clone(), source, format!("{PREFIX}{kind}"))
        }
    }
}

/// On whose behalf runs are made: the tenant's trigger may call whatever is the tenant's. Who made it was asked for the
/// right to then.
pub(super) fn caller(tenant: &Tenant, trigger: &Name) -> Caller {
    let scopes = [Scope::PluginsInvoke, Scope::ModelsInvoke].into_iter().collect();
    let subject = format!("trigger {trigger}");
    aimass_auth::resumed_caller(tenant.name().clone(), subject.clone(), subject, scopes)
}

/// The request that runs `target`, and what it calls.
pub(super) fn request(
    (tenant, trigger): (&Tenant, &Name),
    run: &TriggerRun,
    target: &TriggerTarget,
    brought: Brought,
    now_ms: u64,
) -> Result<(Name, StoredRequest)> {
    let json = ("content-type".to_owned(), "application/json".to_owned());
    let host = ("host".to_owned(), "localhost".to_owned());
    let (name, method, path, mut headers, body) = match target {
        TriggerTarget::Infer(infer) => {
            let ObjectRef { name, selector } = infer.model.parse()?;
            let path = match selector {
                Selector::Latest => format!("/v2/models/{name}/infer"),
                Selector::Version(number) => format!("/v2/models/{name}/versions/{number}/infer"),
                Selector::Alias(alias) => format!("/v2/models/{name}:{alias}/infer"),
            };
            let body = match &infer.body {
                Some(body) => body.to_string().into(),
                None => brought.message().1,
            };
            (name, "POST".to_owned(), path, vec![json], body)
        }
        TriggerTarget::Function(function) => {
            let ObjectRef { name, .. } = function.plugin.parse()?;
            let (mut headers, mut body) = brought.message();
            if let Some(fixed) = &function.body {
                headers.retain(|(name, _)| name != "content-type");
                headers.push(json);
                body = fixed.clone().into();
            }
            if let Some(kind) = &function.content_type {
                headers.retain(|(name, _)| name != "content-type");
                headers.push(("content-type".to_owned(), kind.clone()));
            }
            let path = format!("/fn/{}/{}{}", tenant.name(), function.plugin, function.path);
            (name, function.method.clone(), path, headers, body)
        }
        TriggerTarget::Event(target) => {
            let ObjectRef { name, selector } = target.plugin.parse()?;
            let query = match selector {
                Selector::Latest => String::new(),
                Selector::Version(number) => format!("?version={number}"),
                Selector::Alias(alias) => format!("?alias={alias}"),
            };
            let (headers, body) = Brought::Event(brought.event(tenant, trigger, run, now_ms)).message();
            let path = format!("/api/v1/plugins/{name}/events{query}");
            (name, "POST".to_owned(), path, headers, body)
        }
    };
    // A function's request has a host, and this one comes from the node itself.
    headers.push(host);
    Ok((name, StoredRequest { method, path, headers, body }))
}
