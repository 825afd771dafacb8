//! Triggers as one says them.

use aimass_core::event::{RunCause, TriggerSource, TriggerTarget};
use aimass_platform::RunState;
use maud::{Markup, html};

use super::super::parts;

/// When a trigger fires.
pub(super) fn when(source: &TriggerSource) -> Markup {
    html! {
        @match source {
            TriggerSource::Cron(cron) => { code { (cron.schedule) } " " (cron.time_zone) },
            TriggerSource::Event(event) => {
                "on " (event.kinds.join(", ")) @if let Some(condition) = &event.condition { " if " code { (condition) } }
            },
            TriggerSource::Webhook(_) => { "on a signed webhook" },
            TriggerSource::Object(object) => {
                "on a file in " code { (object.folder) } @if let Some(suffix) = &object.suffix { " that ends with " code { (suffix) } }
            },
            TriggerSource::Bucket(bucket) => {
                "on an object in " code { (bucket.url) } @if let Some(suffix) = &bucket.suffix { " that ends with " code { (suffix) } }
                " at " (bucket.endpoint())
            },
            TriggerSource::Metric(metric) => { "when " code { (metric.when) } " of " (metric.of) },
        }
    }
}

/// What it calls.
pub(super) fn what(target: &TriggerTarget) -> Markup {
    html! {
        @match target {
            TriggerTarget::Infer(infer) => { "infer " code { (infer.model) } },
            TriggerTarget::Function(function) => { (function.method) " " code { (function.plugin) (function.path) } },
            TriggerTarget::Event(event) => { "tell " code { (event.plugin) } },
            TriggerTarget::Batch(batch) => {
                "a job: " code { (batch.target) } " over "
                @match &batch.input { Some(input) => { code { (input) } }, None => { "the file that was stored" } }
                " into " code { (batch.output) }
            },
        }
    }
}

/// Why a run is.
pub(super) fn cause(cause: &RunCause) -> Markup {
    html! {
        @match cause {
            RunCause::Cron { slot_ms, caught_up } => { "its time, " (parts::when(*slot_ms)) @if *caught_up { ", caught up" } },
            RunCause::Event { kind, .. } => { "the event " (kind) },
            RunCause::Webhook { webhook, .. } => { "the webhook " code { (webhook) } },
            RunCause::Object { path, size, .. } => { "the file " code { (path) } ", " (parts::bytes(*size)) },
            RunCause::Metric { seen, .. } => {
                "figures: " (seen.requests) " calls, " (seen.errors) " failed, p99 " (parts::millis(seen.p99_us.saturating_mul(1_000)))
            },
            RunCause::Manual => { "fired by hand" },
            RunCause::Replay { .. } => { "replayed" },
        }
    }
}

/// How a run stands.
pub(super) fn state(state: RunState) -> Markup {
    let (class, word) = match state {
        RunState::Queued => ("badge plain", "queued"),
        RunState::Running => ("badge", "running"),
        RunState::Done => ("badge good", "done"),
        RunState::Dead => ("badge bad", "given up"),
        RunState::Cancelled => ("badge plain", "cancelled"),
        RunState::Forgotten => ("badge plain", "no longer kept"),
    };
    html! { span class=(class) { (word) } }
}
