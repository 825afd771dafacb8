//! Fires what waits for objects: looks into folders again and again. An object is one run, however often it is seen.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aimass_core::cloud_event::CloudEvent;
use aimass_core::event::{Actor, ObjectSource, RunCause, TriggerRun, TriggerSource};
use aimass_core::{Code, Fault, Name, Result, Tenant};
use aimass_store::{Bucket, FoundObject, TriggerRow, WatchedFolder};
use bytes::Bytes;

use super::journal_events::{PREFIX, rfc3339};
use super::request::Brought;
use crate::Platform;

/// How often it is looked whether a folder is to be looked into.
const LOOK: Duration = Duration::from_secs(1);

/// Objects of one folder that are looked at.
const MAX_OBJECTS: usize = 10_000;

/// An object up to this many bytes is brought along; of a larger one, where it is.
const MAX_BROUGHT: u64 = 16 << 20;

/// How often a folder may be looked into, seconds.
pub(super) const EVERY: std::ops::RangeInclusive<u64> = 1..=24 * 3600;

/// What is watched.
pub(super) enum Watched {
    Folder(WatchedFolder),
    /// With the bucket's URL.
    Bucket(Bucket, String),
}

impl Watched {
    async fn read(&self, object: &FoundObject) -> Result<Option<Bytes>> {
        match self {
            Self::Folder(folder) => folder.read(object).await,
            Self::Bucket(bucket, _) => bucket.read(object).await,
        }
    }

    /// Where an object is, for whoever is let in there.
    fn place(&self, object: &FoundObject) -> String {
        match self {
            Self::Folder(_) => object.path.clone(),
            Self::Bucket(_, url) => format!("{url}/{}", object.path),
        }
    }
}

/// What this node saw when it last looked: an object that is still written changes from one look to the next.
#[derive(Default)]
struct Seen {
    looked: Option<Instant>,
    versions: BTreeMap<String, String>,
}

impl Platform {
    /// Fires triggers when objects arrive in their folders, for as long as it is polled. One node does.
    pub async fn follow_folders(self: &Arc<Self>) {
        let mut seen: HashMap<(Name, Name, u64), Seen> = HashMap::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let rows = match self.store.state().all_triggers() {
                Ok(rows) => rows,
                Err(fault) => {
                    tracing::error!(%fault, cause = fault.cause(), "the triggers cannot be read");
                    continue;
                }
            };
            let mut kept = HashMap::new();
            for row in rows.into_iter().filter(|row| !row.paused) {
                let TriggerSource::Object(source) = &row.trigger.on else { continue };
                let key = (row.tenant.clone(), row.name.clone(), row.since_seq);
                let mut before = seen.remove(&key).unwrap_or_default();
                let every = Duration::from_secs(source.every_seconds);
                if before.looked.is_none_or(|at| at.elapsed() >= every) {
                    before.looked = Some(Instant::now());
                    let outcome = self.look_into(source, &row, &mut before).await;
                    self.troubles.note(&row, outcome);
                }
                kept.insert(key, before);
            }
            seen = kept;
        }
    }

    async fn look_into(self: &Arc<Self>, source: &ObjectSource, row: &TriggerRow, seen: &mut Seen) -> Result<()> {
        let tenant = aimass_auth::resumed(row.tenant.clone());
        let folder = self.watched_folder(&tenant, source)?;
        let found = folder.list(MAX_OBJECTS).await?;
        let folder = Watched::Folder(folder);
        if found.len() == MAX_OBJECTS {
            tracing::warn!(tenant = %row.tenant, trigger = %row.name, "only {MAX_OBJECTS} objects are looked at");
        }
        let before = std::mem::take(&mut seen.versions);
        for object in found.into_iter().filter(|object| source.wants(&object.path)) {
            let settled = before.get(&object.path) == Some(&object.version);
            let known = self.store.state().trigger_object(&tenant, &row.name, &object.path)?;
            seen.versions.insert(object.path.clone(), object.version.clone());
            if settled && known.as_ref() != Some(&object.version) {
                self.arrived(&tenant, row, &folder, object).await?;
            }
        }
        Ok(())
    }

    /// Fires for an object, unless it is not there any more as it was: then it says so.
    pub(super) async fn arrived(
        self: &Arc<Self>,
        tenant: &Tenant,
        row: &TriggerRow,
        watched: &Watched,
        object: FoundObject,
    ) -> Result<bool> {
        let Some(brought) = bring(tenant, watched, &object).await? else { return Ok(false) };
        let key = format!("object {} {}", object.version, object.path);
        let (at, FoundObject { path, version, size, .. }) = (object.modified_ms, object);
        let cause = RunCause::Object { path, version, size };
        let run = TriggerRun::new((tenant.name(), &row.name), row.generation, at, &key, cause);
        self.fire(Actor::system(), tenant, &row.name, row.generation, run, brought).await?;
        Ok(true)
    }

    /// What an object brought, once more.
    pub(super) async fn object_again(
        self: &Arc<Self>,
        tenant: &Tenant,
        row: &TriggerRow,
        (path, version): (&str, &str),
    ) -> Result<Brought> {
        let gone = || Fault::new(Code::Conflict, "the object is not there any more as it was");
        let (watched, found) = match &row.trigger.on {
            TriggerSource::Object(source) => {
                let folder = self.watched_folder(tenant, source)?;
                let found = folder.list(MAX_OBJECTS).await?.into_iter().find(|object| object.path == path);
                (Watched::Folder(folder), found)
            }
            TriggerSource::Bucket(source) => {
                let bucket = self.bucket(tenant, row, source)?;
                let found = bucket.find(path).await?;
                (Watched::Bucket(bucket, source.bucket_url()), found)
            }
            _ => return Err(gone()),
        };
        let object = found.filter(|object| object.version == version).ok_or_else(gone)?;
        bring(tenant, &watched, &object).await?.ok_or_else(gone)
    }

    /// The folder, if the operator lets the tenant watch it.
    ///
    /// # Errors
    /// `invalid_request` if not; `unavailable` if it is not there.
    pub(super) fn watched_folder(&self, tenant: &Tenant, source: &ObjectSource) -> Result<WatchedFolder> {
        let folder = Path::new(&source.folder);
        let plain = folder.is_absolute() && folder.components().all(|part| part != Component::ParentDir);
        let allowed = self.watched.iter().filter(|(owner, _)| owner == tenant.name()).map(|(_, path)| path);
        // A link in an allowed folder leads nowhere else.
        let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let inside = |path: &PathBuf| {
            folder.starts_with(path) && path.canonicalize().is_ok_and(|allowed| real.starts_with(allowed))
        };
        if !plain || !allowed.into_iter().any(inside) {
            let detail = "the node lets the tenant watch no such folder (aimass serve --watch-folder TENANT=FOLDER)";
            return Err(Fault::invalid(detail));
        }
        WatchedFolder::open(&real)
    }
}

/// An object as an event; none if it is not there any more as it was.
async fn bring(tenant: &Tenant, watched: &Watched, object: &FoundObject) -> Result<Option<Brought>> {
    let source = format!("/tenants/{}/objects", tenant.name());
    let id = format!("{} {}", object.version, object.path);
    let mut event = CloudEvent {
        subject: Some(object.path.clone()),
        time: rfc3339(object.modified_ms),
        ..CloudEvent::new(id, source, format!("{PREFIX}object.arrived"))
    };
    if object.size > MAX_BROUGHT {
        // What is too large to be brought is told where it is (the extension `dataref` of CloudEvents).
        event.extensions.insert("dataref".to_owned(), watched.place(object));
        return Ok(Some(Brought::Event(event)));
    }
    let Some(bytes) = watched.read(object).await? else { return Ok(None) };
    event.data_content_type = Some(content_type(&object.path).to_owned());
    event.data = bytes.to_vec();
    Ok(Some(Brought::Event(event)))
}

/// What a file is, by the end of its name.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).as_deref() {
        Some("json") => "application/json",
        Some("ndjson" | "jsonl") => "application/x-ndjson",
        Some("csv") => "text/csv",
        Some("txt") => "text/plain",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("parquet") => "application/vnd.apache.parquet",
        _ => "application/octet-stream",
    }
}
