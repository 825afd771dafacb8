//! Aliases of plugins and models: which versions serve under a name, and how that came to be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Name;

/// A version, and its part of an alias's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The version's number.
    pub version: u64,
    /// Its part, beside the weights of the others. With 0 it serves only who asks for it.
    pub weight: u32,
    /// The number of the configuration (a plugin's settings and secrets) that it runs with, 0 for that of before there
    /// was any. Said by nobody, it is decided when the alias is told; models and older records have none, which means
    /// the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<u64>,
}

impl Share {
    /// A version's part, with a configuration that is still to be decided.
    pub fn new(version: u64, weight: u32) -> Self {
        Self { version, weight, configuration: None }
    }
}

/// What an alias says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// The versions that serve; at least one, and none twice.
    pub split: Vec<Share>,
    /// A version that gets a copy of each call. Its answers are compared, and never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<u64>,
    /// The number of the configuration that the shadow runs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow_configuration: Option<u64>,
    /// The version that is tried out, if one is: until it is promoted or rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

impl Route {
    /// Every version that it names.
    pub fn versions(&self) -> impl Iterator<Item = u64> {
        self.split.iter().map(|share| share.version).chain(self.shadow)
    }

    /// Every configuration that it names.
    pub fn configurations(&self) -> impl Iterator<Item = u64> {
        self.split.iter().filter_map(|share| share.configuration).chain(self.shadow_configuration)
    }
}

/// A version of the split that is tried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Canary {
    /// Which version.
    pub version: u64,
    /// What must hold of its figures (CEL); when it does not, the alias goes back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// Calls that it must have had in the last minute, or else the last hour, before the gate is asked.
    pub min_requests: u64,
    /// Seconds after which it is promoted by itself, if the gate holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seconds: Option<u64>,
}

/// Why an alias says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was told to, in full.
    Set,
    /// A version was deployed, whole or as a canary.
    Deployed,
    /// The canary serves all calls.
    Promoted,
    /// Somebody took the last change back.
    RolledBack,
    /// The canary's gate did not hold, so the platform took it back.
    GateBroken,
}

impl Change {
    /// The change as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Deployed => "deployed",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::GateBroken => "gate_broken",
        }
    }
}

/// What was seen of a version when an alias changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// Which version.
    pub version: u64,
    /// Calls, but those that failed by the caller's fault.
    pub requests: u64,
    /// How many of them failed.
    pub errors: u64,
    /// Half of them took at most so long, microseconds.
    pub p50_us: u64,
    /// 99 % of them took at most so long, microseconds.
    pub p99_us: u64,
}

/// One change of an alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deployment {
    /// What the alias says from then on.
    pub route: Route,
    /// Why.
    pub change: Change,
    /// The number of the deployment that it goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// The condition that held, or did not, and was asked for this change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// The figures that it was decided by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Seen>,
}

/// An alias says something else from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasSet {
    /// Whose.
    pub tenant: Name,
    /// Which plugin's or model's.
    pub name: Name,
    /// Which alias.
    pub alias: Name,
    /// What it says, and why.
    pub deployment: Deployment,
}

/// An alias is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasDeleted {
    /// Whose.
    pub tenant: Name,
    /// Which plugin's or model's.
    pub name: Name,
    /// Which alias.
    pub alias: Name,
}

/// A version is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionDeleted {
    /// Whose.
    pub tenant: Name,
    /// Which plugin's or model's.
    pub name: Name,
    /// Its number, which is never given again.
    pub version: u64,
}
