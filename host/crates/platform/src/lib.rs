//! The use cases of AI Mass: what a tenant or the operator can do, free of HTTP and of any command line.
//!
//! Each use case takes a [`Caller`] (who asks, with which scopes), checks the scope, and reaches data only through
//! the caller's [`Tenant`](aimass_core::Tenant) handle. Changes go through the journal and are acknowledged when
//! they are durable; calls ([`Platform::infer`], [`Platform::function`]) touch memory only.

mod admission;
mod answer;
mod audit;
mod background;
mod calls;
mod counters;
mod deployments;
mod directory;
mod egress;
mod files;
mod guests;
mod identity;
mod invocations;
mod jobs;
mod keys;
mod limits;
mod logs;
mod models;
mod newest;
mod node;
mod objects;
mod plugins;
mod quotas;
mod recent;
mod repeats;
mod repository;
mod rule;
mod secrets;
mod signing;
mod statistics;
mod tenants;
mod tokens;
mod triggers;
mod uploads;
mod watch;
mod webhooks;
mod window;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aimass_auth::Auth;
use aimass_core::event::Actor;
use aimass_core::limits::InvocationLimits;
use aimass_core::{Name, Result, Tenant};
use aimass_inference::process::EngineProcesses;
use aimass_sandbox::Sandbox;
use aimass_store::Store;

pub use admission::TenantLimits;
pub use aimass_auth::{Caller, KeyState, NodeKey, Scope, Scopes, SignedCheckpoint, SignerKey};
pub use aimass_data::ReadCommand;
pub use aimass_store::{BadRecord, ChainReport, ItemState, QueueLimits};
pub use answer::Body;
pub use audit::{AuditDocument, AuditQuery};
pub use background::{UploadDocument, UploadState};
pub use calls::{CallOptions, Servable, ServedVersion};
pub use deployments::{
    AliasDocument, AliasWish, Changed, DeployWish, DeploymentDocument, DiffDocument, KeyChanges, Names, PortChange,
    PromoteWish, Routing, ShadowFigures, Side, VersionFigures,
};
pub use egress::{
    CallsDocument, EgressParts, EgressWish, FlowDocument, LOCAL, ObjectUsageDocument, RegionDocument, TransferWish,
    UsageDocument, UsageQuery,
};
pub use files::{FileContent, FileDocument, FileUpload};
pub use guests::Guests;
pub use identity::{IssuerDocument, IssuerRequest, KeyDocument, RevocationWish, RoleDocument, RoleRequest};
pub use invocations::{
    Attempt, CallWish, InvocationDetail, InvocationDocument, InvocationQuery, InvocationsConfig, ProgressDocument, Ran,
    Runner, StoredAnswer, StoredRequest,
};
pub use jobs::{BatchRequest, JobDocument, JobRequest, JobState, Progress};
pub use keys::KeyGenerationDocument;
pub use limits::LimitsChange;
pub use logs::{CallEnd, Follower, LogDocument, LogQuery, Logs, News};
pub use models::ModelDocument;
pub use node::{DeviceDocument, NodeDocument};
pub use objects::{ObjectDocument, ObjectSummary, Page, VersionDocument};
pub use quotas::{Quota, QuotaDocument};
pub use recent::MinuteDocument;
pub use repeats::{FirstWrite, Write};
pub use repository::{IndexEntry, Observed, Residents, VersionStatistics};
pub use secrets::{MAX_SECRET, SecretDocument};
pub use signing::SignerDocument;
pub use statistics::{BatchCounts, Counts, Observation, Sum};
pub use tenants::TenantDocument;
pub use tokens::{TokenDocument, TokenRequest, TokenSecret};
pub use triggers::{LastError, NewTrigger, RunDocument, RunState, TriggerDocument, TriggerWish, Webhook};
pub use uploads::{Upload, UploadEnd, UploadRequest, Uploaded};
pub use webhooks::{DeliveryDocument, WebhookChange, WebhookDocument, WebhookRequest, WebhookSecretDocument};
pub use window::Figures;

use admission::Gate;
use deployments::{Rollouts, Shadows};
use directory::Directory;
use egress::Egress;
use identity::ProviderKeys;
use invocations::Invocations;
use limits::TenantsLimits;
use models::Residency;
use recent::Recent;
use repeats::Repeats;
use statistics::Records;

/// Who asks, and in which request. Every change is recorded under both.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who, with which scopes.
    pub by: &'a Caller,
    /// The request's id.
    pub request: &'a str,
}

impl Asked<'_> {
    fn tenant(&self, scope: Scope) -> Result<&Tenant> {
        self.by.require(scope)?;
        self.by.tenant()
    }

    fn actor(&self) -> Actor {
        self.by.actor(self.request)
    }
}

/// What the platform is built from. `host`'s compose makes the parts.
pub struct Parts {
    /// Journal, view, blobs, key-value data.
    pub store: Store,
    /// Tokens and keys.
    pub auth: Arc<Auth>,
    /// Plugins.
    pub sandbox: Arc<Sandbox>,
    /// Models.
    pub engines: Arc<EngineProcesses>,
    /// How guests reach models; made before the sandbox, which needs it.
    pub guests: Arc<Guests>,
    /// What an invocation may use.
    pub limits: InvocationLimits,
    /// What a tenant may ask for that has no limits of its own.
    pub tenant_limits: TenantLimits,
    /// Bytes that loaded models may take together; the least recently used leave first.
    pub model_memory: u64,
    /// How long an upload of a plugin waits for its component to be compiled, unless it says otherwise.
    pub upload_wait: Duration,
    /// How data files are read.
    pub reader: ReadCommand,
    /// What guests send out.
    pub egress: EgressParts,
    /// Folders that tenants' triggers may watch.
    pub watched: Vec<(Name, PathBuf)>,
    /// What plugins' calls log; the sandbox writes into it as well.
    pub logs: Arc<Logs>,
    /// How long usage can be asked for.
    pub usage_retention: Duration,
    /// How asynchronous calls are run.
    pub invocations: InvocationsConfig,
}

/// The platform of one node. Cheap to share behind an `Arc`.
pub struct Platform {
    store: Store,
    auth: Arc<Auth>,
    sandbox: Arc<Sandbox>,
    models: Arc<Residency>,
    directory: Directory,
    records: Arc<Records>,
    limits: InvocationLimits,
    gate: Gate,
    limits_of_tenants: Arc<TenantsLimits>,
    egress: Egress,
    logs: Arc<Logs>,
    quotas: quotas::Quotas,
    provider_keys: ProviderKeys,
    /// Names whose upload is under way.
    uploading: Arc<Mutex<HashSet<(Tenant, Name)>>>,
    audits: audit::Audits,
    jobs: jobs::Jobs,
    reader: ReadCommand,
    recent: Recent,
    started: Instant,
    upload_wait: Duration,
    timetable: triggers::Timetable,
    hooks: triggers::Hooks,
    troubles: triggers::Troubles,
    watched: Vec<(Name, PathBuf)>,
    usage_retention: Duration,
    invocations: Invocations,
    repeats: Repeats,
    rollouts: Rollouts,
    shadows: Shadows,
    /// Calls under way hear of erased tenants.
    erasures: tokio::sync::Notify,
}

impl Platform {
    /// Wires the parts together and loads what must be in memory: the revoked tokens, and tenants' identity
    /// providers.
    ///
    /// # Errors
    /// What reading the store says.
    pub fn new(parts: Parts) -> Result<Arc<Self>> {
        let Parts { store, auth, sandbox, engines, guests, limits, tenant_limits, .. } = parts;
        let Parts { model_memory, upload_wait, reader, egress, watched, logs, usage_retention, invocations, .. } =
            parts;
        auth.load_revoked(store.state().revoked()?.into_iter());
        let provider_keys = ProviderKeys::new(egress.connector.clone());
        identity::load(&store, &auth, &provider_keys)?;
        let limits_of_tenants = Arc::new(TenantsLimits::new(tenant_limits, &store.state().tenants(None, usize::MAX)?));
        let residency = Residency::new(engines, store.blobs().clone(), model_memory, limits_of_tenants.clone())?;
        let records = Arc::<Records>::default();
        let platform = Arc::new(Self {
            directory: Directory::new(store.clone(), records.clone()),
            records,
            models: Arc::new(residency),
            egress: Egress::new(egress, store.clone())?,
            logs,
            quotas: quotas::Quotas::default(),
            rollouts: Rollouts::load(&store)?,
            shadows: Shadows::default(),
            store,
            auth,
            sandbox,
            limits,
            gate: Gate::default(),
            limits_of_tenants,
            provider_keys,
            uploading: Arc::default(),
            audits: audit::Audits::default(),
            jobs: jobs::Jobs::default(),
            reader,
            recent: Recent::default(),
            started: Instant::now(),
            upload_wait,
            timetable: triggers::Timetable::default(),
            hooks: triggers::Hooks::default(),
            troubles: triggers::Troubles::default(),
            watched,
            erasures: tokio::sync::Notify::new(),
            usage_retention,
            invocations: Invocations::new(invocations),
            repeats: Repeats::default(),
        });
        guests.connect(&platform);
        platform.shadows.connect(&platform);
        Ok(platform)
    }

    /// The token service, for the HTTP layer's guard.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Whether this node can serve: the journal takes writes and the sandbox's clock ticks.
    ///
    /// # Errors
    /// The first part that cannot, with the reason.
    pub fn ready(&self) -> Result<()> {
        self.store.healthy()?;
        self.interruptible()
    }

    /// Whether guests can still be interrupted.
    ///
    /// # Errors
    /// `unavailable` if not: then this process must end.
    pub fn interruptible(&self) -> Result<()> {
        self.sandbox.healthy()
    }

    /// The deadline of a call that asks for none, and the longest that one may ask for.
    pub fn longest_deadline(&self) -> Duration {
        self.limits.deadline
    }

    /// Closes the store; call it last.
    pub async fn close(&self) {
        self.flush_usage(egress::Due::All).await;
        self.store.clone().close().await;
    }
}

/// The folders inside a data folder.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Journal, view, blobs and key-value data.
    pub store: PathBuf,
    /// Signing keys and the cache key; not part of a backup.
    pub keys: PathBuf,
    /// Compiled code; may be deleted at any time.
    pub compiled: PathBuf,
}

impl Folders {
    /// The folders inside `data`.
    pub fn inside(data: &std::path::Path) -> Self {
        Self { store: data.join("store"), keys: data.join("keys"), compiled: data.join("compiled") }
    }
}
