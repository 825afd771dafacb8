//! What the journal records of triggers: when something shall run by itself, what, and that it did.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Name;

/// Something that runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// When it fires.
    pub on: TriggerSource,
    /// What it runs.
    pub run: TriggerTarget,
}

/// When a trigger fires. Kinds are only added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerSource {
    /// At times of a calendar.
    Cron(CronSource),
}

impl TriggerSource {
    /// The kind as a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cron(_) => "cron",
        }
    }
}

/// Times of a calendar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What a trigger runs. Kinds are only added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerTarget {
    /// Inference on a model, or on a plugin that is called like one.
    Infer(InferTarget),
    /// A call of an HTTP function.
    Function(FunctionTarget),
}

/// Inference with a fixed input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InferTarget {
    /// `name`, `name@3` or `name:prod`.
    pub model: String,
    /// The request's body as the Open Inference Protocol has it. Left out, the body is what the trigger brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// A call of an HTTP function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

fn post() -> String {
    "POST".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

/// One firing of a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerRun {
    /// Its id: the same cause gives the same one, so what is fired twice is one run.
    pub id: String,
    /// Why it was fired.
    pub cause: RunCause,
}

/// Why a trigger fired. Kinds are only added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Somebody asked for it.
    Manual,
    /// Somebody asked for an earlier run once more.
    Replay {
        /// That run's id.
        of: String,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// Whether what it called said that all is well.
    pub succeeded: bool,
    /// The status of the answer.
    pub status: u16,
    /// The fault's sentence, or the first words of what the function said; none where it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Trigger {
    /// Which plugin or model it calls.
    pub fn calls(&self) -> &str {
        match &self.run {
            TriggerTarget::Infer(infer) => &infer.model,
            TriggerTarget::Function(function) => &function.plugin,
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
