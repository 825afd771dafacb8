//! The audit log: the journal as people read it, its chain, and what is recorded of reads.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aimass_auth::SignedCheckpoint;
use aimass_core::event::{Actor, Event};
use aimass_core::{Fault, Name, Result};
use aimass_store::{ChainReport, Record, State, Store};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

/// Records that one page looks through: a filter that nothing passes gives an empty page with a cursor, not a long
/// wait.
pub(crate) const SCAN: u64 = 50_000;

/// Lines of one page of an export.
const EXPORT: usize = 1_000;

/// Walks through the journal at once: each reads whole segments.
const WALKS: usize = 2;

/// The same holder's reads of the same thing are recorded once in this time.
const AGAIN: Duration = Duration::from_secs(60);

/// Reads that are remembered for that, at most.
const REMEMBERED: usize = 10_000;

/// Which records.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Those behind this number.
    pub after: u64,
    /// At most so many; 100 at most.
    pub limit: Option<usize>,
    /// What concerns this tenant. A tenant's own token sees only that anyway.
    pub tenant: Option<Name>,
    /// By this subject.
    pub actor: Option<String>,
    /// Of this kind: `version_created`.
    pub kind: Option<String>,
    /// Not before, milliseconds since the epoch.
    pub since_ms: Option<u64>,
    /// Not after, milliseconds since the epoch.
    pub until_ms: Option<u64>,
}

/// A record as the audit log shows it: what a request carried (settings, for example) is not in it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AuditDocument {
    /// Its number in the journal, of all tenants together.
    pub seq: u64,
    /// When, milliseconds since the epoch.
    pub time_ms: u64,
    /// Who. Of somebody outside of the tenant, a tenant sees the subject alone.
    pub actor: Actor,
    /// What happened: `token_minted`.
    pub kind: String,
    /// Whose thing it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// To which thing: a name, a name and a version, a token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The record's hash, hex.
    pub hash: String,
}

/// What the audit keeps in memory.
pub(crate) struct Audits {
    walks: Semaphore,
    reads: Mutex<HashMap<(String, Option<Name>, String), Instant>>,
}

impl Default for Audits {
    fn default() -> Self {
        Self { walks: Semaphore::new(WALKS), reads: Mutex::default() }
    }
}

impl Audits {
    /// Whether this read is to be recorded, and not the same as one just before.
    fn is_new(&self, token: &str, tenant: Option<&Name>, what: &str) -> bool {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        if reads.len() >= REMEMBERED {
            reads.retain(|_, at| at.elapsed() < AGAIN);
        }
        if reads.len() >= REMEMBERED {
            // Too many to remember: then rather twice than never.
            reads.clear();
        }
        let key = (token.to_owned(), tenant.cloned(), what.to_owned());
        let before = reads.get(&key).is_some_and(|at| at.elapsed() < AGAIN);
        if !before {
            reads.insert(key, Instant::now());
        }
        !before
    }

    fn forget(&self, token: &str, tenant: Option<&Name>, what: &str) {
        let key = (token.to_owned(), tenant.cloned(), what.to_owned());
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

impl Platform {
    /// One page of the audit log, oldest first. The page may be empty and still have a next one.
    ///
    /// # Errors
    /// `insufficient_scope`; `not_found` for a tenant that asks for another one's; `integrity` where the journal is
    /// damaged.
    pub async fn audit(&self, asked: Asked<'_>, mut query: AuditQuery) -> Result<Page<AuditDocument>> {
        let viewer = self.audit_viewer(&asked, &mut query).await?;
        self.walk(move |store| page(store, &query, viewer.as_ref())).await
    }

    /// As whom the caller sees the log, a tenant or nobody in particular; the query is narrowed to what that may see.
    pub(crate) async fn audit_viewer(&self, asked: &Asked<'_>, query: &mut AuditQuery) -> Result<Option<Name>> {
        if asked.by.require(Scope::Operator).is_ok() {
            self.record_read(asked, query.tenant.as_ref(), "audit").await?;
            return Ok(None);
        }
        let own = asked.tenant(Scope::AuditRead)?.name().clone();
        if query.tenant.get_or_insert_with(|| own.clone()) != &own {
            return Err(Fault::not_found());
        }
        Ok(Some(own))
    }

    /// Walks along the whole chain on the disk; `noted` is what a checkpoint said.
    ///
    /// # Errors
    /// `insufficient_scope`; a bad record is none: the report names it.
    pub async fn verify_audit(&self, asked: Asked<'_>, noted: Option<(u64, [u8; 32])>) -> Result<ChainReport> {
        asked.by.require(Scope::Operator)?;
        self.walk(move |store| aimass_store::verify_journal_against(store.folder(), noted)).await
    }

    /// Says, signed, where the journal stands.
    ///
    /// # Errors
    /// `insufficient_scope`; what signing says.
    pub fn audit_checkpoint(&self, asked: Asked<'_>) -> Result<SignedCheckpoint> {
        asked.by.require(Scope::Operator)?;
        let (records, head) = self.store.head()?;
        self.auth.sign_checkpoint(records, hex::encode(head), now_ms())
    }

    /// The next lines of an export behind record `after`, each with its end; empty behind the last one.
    ///
    /// # Errors
    /// `insufficient_scope`; `integrity` where the journal is damaged.
    pub async fn audit_export(&self, asked: Asked<'_>, after: u64) -> Result<String> {
        asked.by.require(Scope::Operator)?;
        self.record_read(&asked, None, "audit export").await?;
        self.walk(move |store| {
            let (mut text, mut lines, last) = (String::new(), 0, store.sequence());
            aimass_store::export_journal(store.folder(), after, &mut |seq, line| {
                if seq > last || lines == EXPORT {
                    return ControlFlow::Break(());
                }
                lines += 1;
                text.push_str(&line);
                text.push('\n');
                ControlFlow::Continue(())
            })?;
            Ok(text)
        })
        .await
    }

    /// Records that something sensitive is read, before it is: a read that cannot be recorded is not done.
    pub(crate) async fn record_read(&self, asked: &Asked<'_>, tenant: Option<&Name>, what: &str) -> Result<()> {
        let token = asked.by.jti.as_str();
        if !self.audits.is_new(token, tenant, what) {
            return Ok(());
        }
        let event = Event::Read { tenant: tenant.cloned(), what: what.to_owned() };
        let written = self.store.write(asked.actor(), move |_| Ok((Some(event), ()))).await;
        written.inspect_err(|_| self.audits.forget(token, tenant, what))
    }

    /// Runs a walk through the journal where it may block.
    pub(crate) async fn walk<T: Send + 'static>(
        &self,
        walk: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _turn = self.audits.walks.acquire().await.map_err(Fault::internal)?;
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || walk(&store)).await.map_err(Fault::internal)?
    }
}

fn page(store: &Store, query: &AuditQuery, viewer: Option<&Name>) -> Result<Page<AuditDocument>> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let (mut items, mut next, mut failed) = (Vec::new(), None, None);
    // What is not acknowledged is not shown.
    let last = store.sequence();
    aimass_store::read_journal(store.folder(), query.after, &mut |record| {
        let seq = record.seq;
        if seq > last {
            return ControlFlow::Break(());
        }
        if items.len() == limit || seq > query.after.saturating_add(SCAN) {
            next = Some((seq - 1).to_string());
            return ControlFlow::Break(());
        }
        match shown(&store.state(), record, query, viewer) {
            Ok(document) => items.extend(document),
            Err(fault) => {
                failed = Some(fault);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(Page { items, next }), Err)
}

/// The record, if the query asks for it.
pub(crate) fn shown(
    state: &State<'_>,
    record: Record,
    query: &AuditQuery,
    viewer: Option<&Name>,
) -> Result<Option<AuditDocument>> {
    let Record { seq, time_ms, mut actor, event, hash, .. } = record;
    if query.since_ms.is_some_and(|since| time_ms < since)
        || query.until_ms.is_some_and(|until| time_ms > until)
        || query.actor.as_ref().is_some_and(|subject| *subject != actor.subject)
    {
        return Ok(None);
    }
    // Every event is shown by the names of its fields, so that a new one needs nothing here.
    let fields = serde_json::to_value(&event).map_err(Fault::internal)?;
    let text = |field: &str| fields[field].as_str().map(str::to_owned);
    let kind = text("type").unwrap_or_default();
    if query.kind.as_ref().is_some_and(|wanted| *wanted != kind) {
        return Ok(None);
    }
    // Nobody did them, and there may be one a minute: shown to who asks for them.
    let unasked = ["usage_recorded", "object_usage_recorded", "trigger_fired"];
    if query.kind.is_none() && unasked.contains(&kind.as_str()) {
        return Ok(None);
    }
    let mut tenant = text("tenant");
    if let (None, Some(jti)) = (&tenant, fields["jti"].as_str()) {
        tenant = state.token(jti)?.and_then(|token| token.tenant).map(|name| name.to_string());
    }
    if let Some(wanted) = &query.tenant {
        let concerns = tenant.as_deref() == Some(wanted.as_str()) || actor.tenant.as_ref() == Some(wanted);
        if !concerns {
            return Ok(None);
        }
    }
    if viewer.is_some() && actor.tenant.as_ref() != viewer {
        (actor.token, actor.request) = (None, None);
    }
    let object = match (text("name"), &fields["version"]) {
        (Some(name), _) if kind.starts_with("secret_") => Some([name, text("key").unwrap_or_default()].join(" ")),
        (Some(name), Value::Number(version)) => Some(format!("{name}@{version}")),
        (Some(name), _) if fields["alias"].is_string() => text("alias").map(|alias| format!("{name}:{alias}")),
        (Some(name), _) => Some(name),
        (None, _) => text("jti")
            .or_else(|| text("kid"))
            .or_else(|| text("what"))
            .or_else(|| rule(&fields))
            .or_else(|| text("id")),
    };
    Ok(Some(AuditDocument { seq, time_ms, actor, kind, tenant, object, hash: hex::encode(hash) }))
}

/// What an event of egress is about: a host, two regions, or the one of the data.
fn rule(fields: &Value) -> Option<String> {
    let rule = if fields["rule"].is_null() { fields } else { &fields["rule"] };
    let text = |field: &str| rule[field].as_str().map(str::to_owned);
    let regions = || Some(format!("{} to {}", text("from")?, text("to")?));
    text("host").or_else(regions).or_else(|| text("region"))
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
