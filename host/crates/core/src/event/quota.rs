//! Quotas: what a tenant may keep, and use in a day.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// A tenant's own quotas. What is left out is as the node has it for every tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuotaLimits {
    /// Bytes of its plugins and models, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_mib: Option<NonZeroU32>,
    /// Plugins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<NonZeroU32>,
    /// Models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<NonZeroU32>,
    /// Time that its guests run on processors and its models in engines, seconds in a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_seconds_per_day: Option<NonZeroU32>,
    /// Bytes that its guests send out, MiB in a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_mib_per_day: Option<NonZeroU32>,
}

/// That four fifths of a quota are used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaWarning {
    /// Which: the word of the limit.
    pub quota: String,
    /// What is counted: `bytes`, `milliseconds`, `objects`.
    pub unit: String,
    /// How much was used.
    pub used: u64,
    /// How much may be.
    pub limit: u64,
    /// The day (UTC), seconds since the epoch: one warning a day.
    pub day: u64,
}
