//! What the journal records of webhook endpoints: where a tenant wants to be told what has happened.

use serde::{Deserialize, Serialize};

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookEndpoint {
    /// Where messages are sent to.
    pub url: String,
    /// Messages wait until it is not any more.
    #[serde(default)]
    pub paused: bool,
    /// What the secret is derived from, beside the tenant's data key: the secret itself is nowhere.
    pub nonce: String,
    /// The same for the secret before this one, under which messages are signed as well until a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousSecret>,
}

/// A secret that is going out of use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// What it is derived from.
    pub nonce: String,
    /// Until when, milliseconds since the epoch.
    pub until_ms: u64,
}
