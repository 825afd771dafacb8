//! What the journal records of usage.

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::usage::{ObjectUsage, Usage};

/// What a tenant used in an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecorded {
    /// Whose.
    pub tenant: Name,
    /// All of the hour, in place of what was recorded of it before.
    pub usage: Usage,
}

/// The same of single plugins and models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectUsageRecorded {
    /// Whose.
    pub tenant: Name,
    /// All of their hours, in place of what was recorded of them before.
    pub objects: Vec<ObjectUsage>,
}

/// What a tenant used long ago is shown no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsagePruned {
    /// Whose.
    pub tenant: Name,
    /// The hours that began before this, seconds since the epoch.
    pub before: u64,
}
