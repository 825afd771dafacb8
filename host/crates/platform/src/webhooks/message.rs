//! Messages: what they say, and how they stand in the queue.

use std::time::{Duration, UNIX_EPOCH};

use aimass_core::{Fault, Name, Result};
use aimass_store::{Failure, ItemRow, ItemState, NewItem, Parts, Topic};
use serde_json::{Value, json};

/// Attempts until a message is given up: with the pauses between them about a day.
const ATTEMPTS: u32 = 8;

/// A message to an endpoint.
pub(crate) struct Message {
    id: String,
    kind: &'static str,
    /// The asynchronous call that it tells of.
    call: Option<String>,
    data: Value,
}

impl Message {
    /// Says that an asynchronous call has ended in this state. A call that is tried again by hand ends again, and that
    /// is another message.
    pub(crate) fn ended(call: &ItemRow, state: ItemState, status: Option<u16>, failure: Option<&Failure>) -> Self {
        let kind = if state == ItemState::Done { "invocation.done" } else { "invocation.dead" };
        let mut data = json!({
            "id": call.id,
            "name": call.subject,
            "state": state,
            "attempts": call.attempts,
            "result": format!("/api/v1/invocations/{}/result", call.id),
        });
        if let Some(trigger) = &call.tag {
            data["trigger"] = trigger.as_str().into();
        }
        if let Some(status) = status {
            data["status"] = status.into();
        }
        if let Some(failure) = failure {
            data["failure"] = json!(failure);
        }
        Self { id: format!("msg_{}_{}", call.id, call.attempts), kind, call: Some(call.id.clone()), data }
    }

    /// Says nothing but that it arrived.
    pub(crate) fn test(request: &str) -> Self {
        Self { id: format!("msg_{request}"), kind: "webhook.test", call: None, data: json!({}) }
    }

    /// The message as it waits in the queue for its endpoint.
    pub(crate) fn item(self, endpoint: &Name, now_ms: u64) -> Result<NewItem> {
        let at = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(now_ms)).to_string();
        let body = json!({ "type": self.kind, "timestamp": at, "data": self.data });
        let body = serde_json::to_vec(&body).map_err(Fault::internal)?;
        Ok(NewItem {
            id: self.id,
            topic: Topic::Webhook,
            subject: endpoint.to_string(),
            tag: self.call,
            once: None,
            due_ms: now_ms,
            max_attempts: ATTEMPTS,
            request: Parts { head: Default::default(), body: body.into() },
        })
    }
}
