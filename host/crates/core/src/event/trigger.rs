//! What the journal records of triggers: when something shall run by itself, what, and that it did.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BucketSource, OnError, Sealed, Seen};
use crate::data::FileName;
use crate::{Digest, Name};

/// Something that runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// When it fires.
    pub on: TriggerSource,
    /// What it runs.
    pub run: TriggerTarget,
}

/// When a trigger fires. Kinds are only added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerSource {
    /// At times of a calendar.
    Cron(CronSource),
    /// When something happens on the platform.
    Event(EventSource),
    /// When a signed webhook comes in.
    Webhook(WebhookSource),
    /// When an object arrives in a folder.
    Object(ObjectSource),
    /// When an object arrives in a bucket.
    Bucket(BucketSource),
    /// When figures of a plugin or model begin to fulfil a condition.
    Metric(MetricSource),
}

impl TriggerSource {
    /// The kind as a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cron(_) => "cron",
            Self::Event(_) => "event",
            Self::Webhook(_) => "webhook",
            Self::Object(_) => "object",
            Self::Bucket(_) => "bucket",
            Self::Metric(_) => "metric",
        }
    }
}

/// Times of a calendar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CronSource {
    /// Five fields (minute, hour, day of the month, month, day of the week), or six with seconds before them.
    pub schedule: String,
    /// The zone whose clock the schedule means, by its IANA name.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// How late the newest missed time may still be caught up with, seconds; 0 for not at all.
    #[serde(default = "an_hour")]
    pub catch_up_seconds: u64,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// An hour: a node that was updated or moved is back by then, and what should have run at night does not run at noon.
fn an_hour() -> u64 {
    3_600
}

/// Events of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventSource {
    /// The kinds of events: `version.created`.
    pub kinds: Vec<String>,
    /// A condition in the Common Expression Language over `event`, the event's document.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// Webhooks. The secret that they are signed with is made by the platform and kept apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSource {}

/// Objects that arrive in a folder which the operator lets the tenant watch; those that lie there already as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectSource {
    /// The folder, with what is below it.
    pub folder: String,
    /// What an object's name ends with: `.csv`. Left out, whatever it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// How often the folder is looked into, seconds. An object is taken when it is the same at two looks.
    #[serde(default = "ten")]
    pub every_seconds: u64,
}

impl ObjectSource {
    /// Whether an object of this path is meant.
    pub fn wants(&self, path: &str) -> bool {
        self.suffix.as_ref().is_none_or(|suffix| path.ends_with(suffix))
    }
}

fn ten() -> u64 {
    10
}

/// A condition over the last minute of a version. It fires when it begins to hold, and again after it did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricSource {
    /// `name`, `name@3` or `name:prod`; of a split, the version with the largest part.
    pub of: String,
    /// The condition, in the Common Expression Language, over `requests`, `errors`, `error_rate`, `p50_ms`, `p99_ms`.
    pub when: String,
    /// How often it is asked, seconds.
    #[serde(default = "ten")]
    pub every_seconds: u64,
}

/// What a trigger runs. Kinds are only added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerTarget {
    /// Inference on a model, or on a plugin that is called like one.
    Infer(InferTarget),
    /// A call of an HTTP function.
    Function(FunctionTarget),
    /// Telling a plugin of the event.
    Event(EventTarget),
    /// Inference over every row of a data file.
    Batch(BatchTarget),
}

/// Inference with a fixed input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InferTarget {
    /// `name`, `name@3` or `name:prod`.
    pub model: String,
    /// The request's body as the Open Inference Protocol has it. Left out, the body is what the trigger brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// A call of an HTTP function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionTarget {
    /// `name`, `name@3` or `name:prod`.
    pub plugin: String,
    /// The method.
    #[serde(default = "post")]
    pub method: String,
    /// The path behind the plugin's name, with its query.
    #[serde(default = "root")]
    pub path: String,
    /// The body's type. Left out, it is what the trigger brings, or JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The body. Left out, it is what the trigger brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// A plugin that is told of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTarget {
    /// `name`, `name@3` or `name:prod`.
    pub plugin: String,
}

/// Inference over every row of a data file: a job, with the id of the run that began it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchTarget {
    /// A model or a plugin: `name`, `name@3` or `name:prod`.
    pub target: String,
    /// The data file with the rows. Left out, it is the one that the event `file.stored` tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<FileName>,
    /// The data file that the result becomes. `{date}` in it stands for the day of the run (UTC), `{run}` for its id.
    pub output: String,
    /// Which columns make up an input, by its name; without it, the column of that name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, Vec<String>>,
    /// The columns that stand in the result beside the outputs; all if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Vec<String>>,
    /// What to do about a row that cannot be computed.
    #[serde(default)]
    pub on_error: OnError,
}

fn post() -> String {
    "POST".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

/// One firing of a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriggerRun {
    /// Its id: the same cause gives the same one, so what is fired twice is one run.
    pub id: String,
    /// Why it was fired.
    pub cause: RunCause,
}

/// Why a trigger fired. Kinds are only added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunCause {
    /// A time of its schedule came.
    Cron {
        /// Which, milliseconds since the epoch.
        slot_ms: u64,
        /// It was missed, and is caught up with.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        caught_up: bool,
    },
    /// Something happened on the platform.
    Event {
        /// The number of the record that tells of it.
        seq: u64,
        /// What kind of thing.
        kind: String,
    },
    /// A webhook came in.
    Webhook {
        /// The id that its sender gave it.
        webhook: String,
        /// Its body, among the tenant's sealed bytes.
        body: Digest,
        /// How many bytes.
        size: u64,
        /// What the body is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
    },
    /// An object arrived.
    Object {
        /// Its path within the folder, or its name in the bucket.
        path: String,
        /// What tells it from what lay there before.
        version: String,
        /// How many bytes.
        size: u64,
    },
    /// Figures fulfilled the condition.
    Metric {
        /// When it was asked, milliseconds since the epoch.
        at_ms: u64,
        /// What they were.
        seen: Seen,
    },
    /// Somebody asked for it.
    Manual,
    /// Somebody asked for an earlier run once more.
    Replay {
        /// That run's id.
        of: String,
    },
}

/// A trigger was made or replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerSet {
    /// Whose.
    pub tenant: Name,
    /// Which.
    pub name: Name,
    /// All of it.
    pub trigger: Trigger,
    /// The secret of its webhooks, among the tenant's sealed bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Digest>,
    /// What requests to its bucket are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Sealed>,
}

/// A trigger is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerDeleted {
    /// Whose.
    pub tenant: Name,
    /// Which.
    pub name: Name,
}

/// A trigger fires no longer, or again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerPaused {
    /// Whose.
    pub tenant: Name,
    /// Which.
    pub name: Name,
    /// Whether it rests.
    pub paused: bool,
}

/// A trigger fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerFired {
    /// Whose.
    pub tenant: Name,
    /// Which.
    pub name: Name,
    /// The run.
    pub run: TriggerRun,
}

impl Trigger {
    /// Which plugin or model it calls.
    pub fn calls(&self) -> &str {
        match &self.run {
            TriggerTarget::Infer(infer) => &infer.model,
            TriggerTarget::Function(function) => &function.plugin,
            TriggerTarget::Event(event) => &event.plugin,
            TriggerTarget::Batch(batch) => &batch.target,
        }
    }

    /// Whether it cannot run without what its source brings.
    pub fn needs_input(&self) -> bool {
        match &self.run {
            TriggerTarget::Infer(infer) => infer.body.is_none(),
            TriggerTarget::Batch(batch) => batch.input.is_none(),
            TriggerTarget::Function(_) | TriggerTarget::Event(_) => false,
        }
    }
}

impl TriggerRun {
    /// The run of `trigger` for this cause. `generation` tells triggers apart that bore the same name one after the
    /// other, `at_ms` is when it should run, and `key` is what makes the cause this one: the same slot, the same event.
    ///
    /// The id has the form of a request's: 48 bits of time, so that ids sort, and 80 bits of a hash.
    pub fn new(owner: (&Name, &Name), generation: u64, at_ms: u64, key: &str, cause: RunCause) -> Self {
        let mut hasher = sha2::Sha256::default();
        for part in [owner.0.as_str(), owner.1.as_str(), &generation.to_string(), key] {
            // Neither names nor numbers hold a NUL, and the key comes last.
            sha2::Digest::update(&mut hasher, part);
            sha2::Digest::update(&mut hasher, [0_u8]);
        }
        let hash = sha2::Digest::finalize(hasher);
        let time = at_ms.to_be_bytes();
        Self { id: hex::encode([&time[2..], &hash[..10]].concat()), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f61_the_same_cause_is_the_same_run_and_ids_sort_by_time() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let (acme, nightly) = (name("acme"), name("nightly"));
        let of = |generation, at_ms, key: &str| {
            TriggerRun::new((&acme, &nightly), generation, at_ms, key, RunCause::Manual).id
        };
        assert_eq!(of(1, 1_700_000_000_000, "cron"), of(1, 1_700_000_000_000, "cron"));
        assert_eq!(of(1, 1_700_000_000_000, "cron").len(), 32);
        assert!(of(1, 1_700_000_000_000, "cron") < of(1, 1_700_000_060_000, "cron"));
        assert_ne!(of(1, 0, "a"), of(2, 0, "a"), "another trigger of that name");
        assert_ne!(of(1, 0, "a"), of(1, 0, "b"));
        let other = TriggerRun::new((&acme, &name("hourly")), 1, 0, "a", RunCause::Manual).id;
        assert_ne!(of(1, 0, "a"), other);
    }
}
