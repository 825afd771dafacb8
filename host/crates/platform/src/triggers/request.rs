//! What a run is: a request of the tenant's own, which the queue of asynchronous calls takes.

use aimass_auth::{Caller, Scope};
use aimass_core::cloud_event::CloudEvent;
use aimass_core::data::FileName;
use aimass_core::event::{BatchTarget, RunCause, TriggerRun, TriggerTarget};
use aimass_core::{Code, Fault, Name, ObjectRef, Result, Selector, Tenant};
use bytes::Bytes;
use serde_json::{Value, json};

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

    /// The data file that an event tells of.
    ///
    /// # Errors
    /// `conflict` if it is no such event.
    fn file(&self) -> Result<FileName> {
        let told = match self {
            Self::Event(event) => serde_json::from_slice::<Value>(&event.data).ok(),
            _ => None,
        };
        let name = told.as_ref().and_then(|data| data["name"].as_str());
        name.ok_or_else(|| Fault::new(Code::Conflict, "what fired the trigger names no data file"))?.parse()
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

/// What it takes to begin a batch job, beside the right to call what it calls.
pub(super) const BATCH_SCOPES: [Scope; 3] = [Scope::JobsWrite, Scope::DataRead, Scope::DataWrite];

/// On whose behalf runs are made: the tenant's trigger may call whatever is the tenant's. Who made it was asked for the
/// right to then.
pub(super) fn caller(tenant: &Tenant, trigger: &Name, target: &TriggerTarget) -> Caller {
    let batch = matches!(target, TriggerTarget::Batch(_)).then_some(BATCH_SCOPES).into_iter().flatten();
    let scopes = [Scope::PluginsInvoke, Scope::ModelsInvoke].into_iter().chain(batch).collect();
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
    let as_json = ("content-type".to_owned(), "application/json".to_owned());
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
            (name, "POST".to_owned(), path, vec![as_json], body)
        }
        TriggerTarget::Function(function) => {
            let ObjectRef { name, .. } = function.plugin.parse()?;
            let (mut headers, mut body) = brought.message();
            if let Some(fixed) = &function.body {
                headers.retain(|(name, _)| name != "content-type");
                headers.push(as_json);
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
        TriggerTarget::Batch(batch) => {
            let ObjectRef { name, .. } = batch.target.parse()?;
            let body = job(batch, run, &brought, now_ms)?.to_string().into();
            (name, "POST".to_owned(), "/api/v1/jobs".to_owned(), vec![as_json], body)
        }
    };
    // A function's request has a host, and this one comes from the node itself.
    headers.push(host);
    Ok((name, StoredRequest { method, path, headers, body }))
}

/// The job that a run begins.
fn job(batch: &BatchTarget, run: &TriggerRun, brought: &Brought, now_ms: u64) -> Result<Value> {
    let BatchTarget { target, input, output, columns, keep, on_error } = batch;
    let input = input.clone().map_or_else(|| brought.file(), Ok)?;
    // A run that was caught up with is of the day that it was missed on.
    let at = if let RunCause::Cron { slot_ms, .. } = run.cause { slot_ms } else { now_ms };
    let time = rfc3339(at).ok_or_else(|| Fault::internal("a time beyond the calendar"))?;
    let output = output_of(output, &run.id, time.split('T').next().unwrap_or_default())?;
    Ok(json!({
        "kind": "batch", "target": target, "input": input, "output": output, "columns": columns, "keep": keep,
        "on_error": on_error,
    }))
}

/// The name of a run's result.
///
/// # Errors
/// `invalid_name`.
pub(super) fn output_of(pattern: &str, run: &str, date: &str) -> Result<FileName> {
    pattern.replace("{date}", date).replace("{run}", run).parse()
}
