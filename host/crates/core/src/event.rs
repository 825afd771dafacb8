//! What the journal records: every change of the platform's state, and who made it.

mod bucket;
mod deployment;
mod jobs;
mod quota;
mod sealing;
mod trigger;
mod upload;
mod usage;
mod webhook;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use quota::{QuotaLimits, QuotaWarning};

use crate::identity::{Issuer, Revocation};
use crate::policy::{EgressRule, TransferRule};
use crate::{Digest, Name, Signature};

pub use bucket::{BucketCredentials, BucketSource};
pub use deployment::{AliasDeleted, AliasSet, Canary, Change, Deployment, Route, Seen, Share, VersionDeleted};
pub use jobs::{
    BatchWork, FileDeleted, FileStored, JobAdvanced, JobCreated, JobEnded, JobOutcome, JobPart, JobRestarted, JobWork,
    NAMED_ROWS, OnError, RowError, RowErrors,
};
pub use sealing::{DataKeysRewrapped, Sealed, SecretDeleted, SecretSet, TenantErased};
pub use trigger::*;
pub use upload::{Provenance, SignedBy, UploadWish};
pub use usage::{ObjectUsageRecorded, UsagePruned, UsageRecorded};
pub use webhook::{PreviousSecret, WebhookEndpoint};

/// Who did it, through which token, in which request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// The token's subject; `system` for the platform itself.
    pub subject: String,
    /// The token's tenant; none for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// The token's id (`jti`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl Actor {
    /// The platform itself.
    pub fn system() -> Self {
        Self { subject: "system".to_owned(), tenant: None, token: None, request: None }
    }
}

/// What an uploaded object is. A name is one or the other, not both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A WebAssembly component.
    Plugin,
    /// An ONNX file.
    Model,
}

impl Kind {
    /// The kind as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Model => "model",
        }
    }
}

/// The device that a model must run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// A GPU if one serves it right and faster, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU, or not at all.
    Gpu,
}

/// What validation found out about a version's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// Worlds that a plugin can be used through: `model-plugin`, `wasi:http/proxy`. Empty for a model.
    #[serde(default)]
    pub worlds: Vec<String>,
    /// Interfaces that a plugin imports, with versions, sorted.
    #[serde(default)]
    pub imports: Vec<String>,
    /// Interfaces that a plugin exports, with versions, sorted.
    #[serde(default)]
    pub exports: Vec<String>,
    /// What it takes and gives; none for a plugin that is only an HTTP function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// The device that was asked for at the upload of a model.
    #[serde(default)]
    pub device: Device,
}

/// Settings of a plugin, read by the guest through `wasi:config/store`.
pub type Settings = BTreeMap<String, String>;

/// A tenant's own limits. What is left out is as the node has it for every tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Its part of the engines' time, beside the weights of the others that ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<NonZeroU32>,
    /// Requests a second, on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<NonZeroU32>,
    /// Calls at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<NonZeroU32>,
    /// Memory that its loaded models take together, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_memory_mib: Option<NonZeroU32>,
    /// What it may keep, and use in a day.
    #[serde(flatten)]
    pub quotas: QuotaLimits,
}

/// One change of state. Records of released variants stay readable: fields are only added, with defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A tenant came.
    TenantCreated {
        /// Its name.
        tenant: Name,
    },
    /// A tenant got the key that its data is sealed with.
    DataKeyCreated {
        /// Whose.
        tenant: Name,
        /// The id of the key file whose key wraps it.
        ring: String,
        /// Which of that file's keys.
        generation: u64,
        /// The key, wrapped, hex.
        key: String,
    },
    /// Every tenant's data key was wrapped anew.
    DataKeysRewrapped(DataKeysRewrapped),
    /// A tenant is gone with all that it had.
    TenantErased(TenantErased),
    /// A tenant's limits were replaced.
    TenantLimitsSet {
        /// Whose.
        tenant: Name,
        /// All that are its own.
        limits: Limits,
    },
    /// A token was signed. The token itself is not kept.
    TokenMinted {
        /// Its id.
        jti: String,
        /// Its subject.
        subject: String,
        /// Its tenant; none for the operator.
        tenant: Option<Name>,
        /// Its scopes.
        scopes: Vec<String>,
        /// When it ends, seconds since the epoch.
        expires: u64,
    },
    /// A token is no longer valid.
    TokenRevoked {
        /// Its id.
        jti: String,
    },
    /// A version of a plugin or model was uploaded.
    VersionCreated {
        /// Whose.
        tenant: Name,
        /// Which kind.
        kind: Kind,
        /// Under which name.
        name: Name,
        /// The next number of that name; numbers are never used again.
        version: u64,
        /// The bytes.
        digest: Digest,
        /// How many bytes.
        size: u64,
        /// What validation found.
        inspection: Inspection,
        /// The request's `Idempotency-Key`: the same key answers with this version again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<String>,
        /// Who signed it, what it newly imports, which upload brought it.
        #[serde(default)]
        provenance: Provenance,
    },
    /// A plugin's component is durable and will be compiled; it is no version yet.
    UploadAccepted {
        /// Whose.
        tenant: Name,
        /// The upload's id.
        id: String,
        /// Under which name.
        name: Name,
        /// The bytes.
        digest: Digest,
        /// How many bytes.
        size: u64,
        /// What was asked for.
        wish: UploadWish,
    },
    /// An accepted upload did not become a version.
    UploadFailed {
        /// Whose.
        tenant: Name,
        /// Which upload.
        id: String,
        /// The fault's code.
        code: String,
        /// Its sentence for the caller.
        detail: String,
    },
    /// An upload was refused for its signature. It changes nothing; it is recorded for the audit.
    UploadRefused {
        /// Whose.
        tenant: Name,
        /// Under which name.
        name: Name,
        /// The bytes.
        digest: Digest,
        /// Why: `invalid_signature`, `unknown_signer` or `signature_required`.
        code: String,
        /// The public key that it claims to be signed with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A tenant trusts a signer of plugins.
    SignerAdded {
        /// Whose.
        tenant: Name,
        /// What the tenant calls the signer.
        signer: Name,
        /// The public key (Ed25519), base64 of its 32 bytes.
        key: String,
    },
    /// A tenant trusts a signer no longer. Versions that it signed stay.
    SignerRemoved {
        /// Whose.
        tenant: Name,
        /// Which.
        signer: Name,
    },
    /// A tenant's plugins must (or need no longer) be signed by somebody whom it trusts.
    SignaturesRequired {
        /// Whose.
        tenant: Name,
        /// Whether they must.
        required: bool,
    },
    /// A plugin or model was deleted with all its versions.
    ObjectDeleted {
        /// Whose.
        tenant: Name,
        /// Which.
        name: Name,
    },
    /// An alias says something else from now on.
    AliasSet(AliasSet),
    /// An alias is gone. What it said before stays listed.
    AliasDeleted(AliasDeleted),
    /// A version was deleted, which no alias named.
    VersionDeleted(VersionDeleted),
    /// A plugin's settings were replaced.
    SettingsReplaced {
        /// Whose.
        tenant: Name,
        /// Which plugin's.
        name: Name,
        /// All of them, in the records of before they were sealed.
        #[serde(default, skip_serializing_if = "Settings::is_empty")]
        settings: Settings,
        /// The number of the configuration that this makes; it is the next one. 0 where nothing was sealed yet.
        #[serde(default)]
        number: u64,
        /// All of them, sealed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sealed: Option<Sealed>,
    },
    /// A plugin's secret was set.
    SecretSet(SecretSet),
    /// A plugin's secret was deleted.
    SecretDeleted(SecretDeleted),
    /// A plugin may (or may no longer) be called without a token at `/fn`.
    PublicAccessSet {
        /// Whose.
        tenant: Name,
        /// Which plugin.
        name: Name,
        /// Whether anybody may call it.
        public: bool,
    },
    /// Stored bytes were not what they were, and were refused. It changes nothing, and is there for the audit; the
    /// same bytes are told of once by each start of the server.
    IntegrityFailed {
        /// Whose.
        tenant: Name,
        /// What: `blob sha256:…`.
        what: String,
    },
    /// A tenant registered an identity provider.
    IssuerAdded {
        /// Whose.
        tenant: Name,
        /// What the tenant calls it.
        name: Name,
        /// The provider.
        issuer: Issuer,
    },
    /// A tenant no longer accepts an identity provider's tokens. What was revoked of it is forgotten with it.
    IssuerRemoved {
        /// Whose.
        tenant: Name,
        /// Which.
        name: Name,
    },
    /// A key or a subject of an identity provider is refused, or (not `revoked`) accepted again.
    IssuerRevocationSet {
        /// Whose.
        tenant: Name,
        /// Which provider.
        name: Name,
        /// What of it.
        revocation: Revocation,
        /// Refused from now on, or no longer.
        revoked: bool,
    },
    /// A role of a tenant's own was made or replaced.
    RoleSet {
        /// Whose.
        tenant: Name,
        /// Which.
        name: Name,
        /// All of its scopes.
        scopes: Vec<String>,
    },
    /// A role of a tenant's own is gone.
    RoleDeleted {
        /// Whose.
        tenant: Name,
        /// Which.
        name: Name,
    },
    /// The node signs tokens with a new key.
    SigningKeyRotated {
        /// The new key's id.
        kid: String,
    },
    /// Every token that a key of the node's signed is refused.
    SigningKeyRevoked {
        /// The key's id.
        kid: String,
    },
    /// Something sensitive was read: it changes nothing, and is there for the audit. The same holder's reads of the
    /// same thing are recorded once a minute.
    Read {
        /// Whose; none for what is the operator's, or everybody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<Name>,
        /// What: `tokens`, `audit`, `settings hello`.
        what: String,
    },
    /// Guests may send to a destination, by this rule instead of one with the same host.
    EgressAllowed {
        /// Whose guests.
        tenant: Name,
        /// Where to.
        rule: EgressRule,
    },
    /// Guests may no longer send there by this rule.
    EgressRuleRemoved {
        /// Whose guests.
        tenant: Name,
        /// The rule's host.
        host: String,
    },
    /// A tenant's data was labelled with a region; with none, it is in its node's.
    DataRegionSet {
        /// Whose.
        tenant: Name,
        /// Which one.
        region: Option<Name>,
    },
    /// Data may be sent from one region to another.
    TransferAllowed {
        /// Whose.
        tenant: Name,
        /// From where, where to, what for.
        rule: TransferRule,
    },
    /// Data may no longer be sent from one region to another.
    TransferRuleRemoved {
        /// Whose.
        tenant: Name,
        /// From where.
        from: Name,
        /// Where to.
        to: Name,
    },
    /// Guests' outgoing requests were refused. It changes nothing, and is there for the audit.
    EgressRefused {
        /// Whose guest.
        tenant: Name,
        /// Which plugin.
        plugin: Name,
        /// Why, a stable word.
        reason: String,
        /// Which plugin, where to, and what was missing.
        what: String,
        /// How many such requests this stands for.
        count: u64,
    },
    /// An asynchronous call was given up. It changes nothing here: the queue knows more of it.
    InvocationGivenUp {
        /// Whose.
        tenant: Name,
        /// The call's id.
        id: String,
        /// The plugin or model that was called.
        name: String,
        /// The code of the last attempt's fault.
        code: String,
    },
    /// A webhook endpoint was made, or replaced by this.
    WebhookSet {
        /// Whose.
        tenant: Name,
        /// What the tenant calls it.
        name: Name,
        /// The endpoint.
        endpoint: WebhookEndpoint,
    },
    /// A webhook endpoint is gone.
    WebhookRemoved {
        /// Whose.
        tenant: Name,
        /// Which.
        name: Name,
    },
    /// What a tenant used in one hour, so far.
    UsageRecorded(UsageRecorded),
    /// The same of single plugins and models.
    ObjectUsageRecorded(ObjectUsageRecorded),
    /// What a tenant used long ago is shown no longer.
    UsagePruned(UsagePruned),
    /// A trigger was made or replaced.
    TriggerSet(TriggerSet),
    /// A trigger is gone, with what was recorded of its runs.
    TriggerDeleted(TriggerDeleted),
    /// A trigger fires no longer, or again.
    TriggerPaused(TriggerPaused),
    /// A trigger fired. The same run is recorded once.
    TriggerFired(TriggerFired),
    /// A data file has new content.
    FileStored(FileStored),
    /// A data file was deleted.
    FileDeleted(FileDeleted),
    /// A job was accepted.
    JobCreated(JobCreated),
    /// A piece of a job's result is durable: it goes on from there, whatever happens.
    JobAdvanced(JobAdvanced),
    /// A job begins again, for its pieces are not there any more.
    JobRestarted(JobRestarted),
    /// A job ended. If it is done, its output is a data file with this.
    JobEnded(JobEnded),
    /// Four fifths of a tenant's quota are used.
    QuotaWarned {
        /// Whose.
        tenant: Name,
        /// Which, and how much of it.
        warning: QuotaWarning,
    },
}
