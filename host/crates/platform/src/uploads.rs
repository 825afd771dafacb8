//! Uploads: bytes stream to disk, are validated, and become a version. Nothing is visible before it is durable.

use std::collections::{BTreeSet, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aimass_core::event::{Actor, Device, Event, Inspection, Kind, Provenance, Settings, SignedBy, UploadWish};
use aimass_core::limits::{MAX_COMPONENT, MAX_MODEL};
use aimass_core::{Code, Digest, Fault, Name, Result, Tenant};
use aimass_sandbox::Call;
use aimass_store::{BlobWriter, State, VersionRow};
use bytes::Bytes;

use crate::objects::{VersionDocument, live};
use crate::quotas::room;
use crate::{Asked, Platform, Scope, UploadDocument};

/// What is to be uploaded, known before the bytes.
#[derive(Clone, Debug)]
pub struct UploadRequest {
    /// Plugin or model.
    pub kind: Kind,
    /// Under which name.
    pub name: Name,
    /// The request's `Idempotency-Key`: the same key answers with the same version again.
    pub idempotency_key: Option<String>,
    /// The device that a model must run on.
    pub device: Device,
    /// `If-Match`: what the newest version must be, or the upload is refused.
    pub expected: Option<Digest>,
    /// A plugin's signature, as it came ([`aimass_auth::PluginSignature`]).
    pub signature: Option<String>,
    /// Whether a plugin may import more than the version before.
    pub allow_new_imports: bool,
    /// How long to wait for a plugin to be compiled; none waits as long as the node does by default.
    pub wait: Option<Duration>,
}

/// The result of an upload.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The version.
    pub version: VersionDocument,
    /// Whether this upload made it; otherwise it stood already.
    pub created: bool,
}

/// How an upload ends, for whoever brought it.
#[derive(Clone, Debug)]
pub enum UploadEnd {
    /// It is a version.
    Done(Uploaded),
    /// It is durable, and compiled in the background.
    Accepted(UploadDocument),
}

/// An upload under way. Dropping it leaves nothing behind.
pub struct Upload {
    request: UploadRequest,
    tenant: Tenant,
    writer: BlobWriter,
    taken: u64,
    reservation: Arc<Reservation>,
}

impl Upload {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// `payload_too_large` as soon as the limit is passed; `storage_full`.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.taken += bytes.len() as u64;
        let limit = match self.request.kind {
            Kind::Plugin => MAX_COMPONENT,
            Kind::Model => MAX_MODEL,
        };
        if self.taken > limit {
            let detail = format!("a {} is at most {limit} bytes", self.request.kind.as_str());
            return Err(Fault::new(Code::PayloadTooLarge, detail));
        }
        self.writer.write(bytes).await
    }
}

impl Platform {
    /// Starts an upload, or finds that the same `Idempotency-Key` was answered before.
    ///
    /// # Errors
    /// `insufficient_scope`; `upload_in_progress` while another one runs under the same name; `conflict` if the name
    /// is of the other kind; `precondition_failed` if the newest version is not the expected one.
    pub async fn begin_upload(&self, asked: Asked<'_>, request: UploadRequest) -> Result<Result<Upload, Uploaded>> {
        let tenant = asked.tenant(match request.kind {
            Kind::Plugin => Scope::PluginsWrite,
            Kind::Model => Scope::ModelsWrite,
        })?;
        if let Some(key) = &request.idempotency_key {
            if key.is_empty() || key.len() > 256 {
                return Err(Fault::invalid("an `Idempotency-Key` is 1 to 256 bytes"));
            }
            if let Some(version) = repeated(&self.store.state(), tenant, &request, key)? {
                return Ok(Err(Uploaded { version: version.into(), created: false }));
            }
        }
        check_kind(&self.store.state(), tenant, request.kind, &request.name)?;
        check_expected(&self.store.state(), tenant, &request.name, request.expected)?;
        room(&self.store.state(), &self.limits_of(tenant), tenant, (request.kind, &request.name), None)?;
        let reservation = Reservation::take(&self.uploading, tenant, &request.name)?;
        let writer = self.store.blobs().writer(tenant).await?;
        Ok(Ok(Upload { request, tenant: tenant.clone(), writer, taken: 0, reservation }))
    }

    /// Validates what came and makes it a version, or promises to: a plugin that takes longer to compile than the
    /// request waits is made durable first, and compiled on in the background.
    ///
    /// The bytes of the newest version again are that version; anything else becomes the next number.
    ///
    /// # Errors
    /// What validation says (`invalid_component`, `compile_budget`, `unsupported_import`, `invalid_model`, …);
    /// `new_imports`; what the signature is refused for. Then nothing is stored.
    pub async fn finish_upload(self: &Arc<Self>, asked: Asked<'_>, upload: Upload) -> Result<UploadEnd> {
        let Upload { request, tenant, writer, reservation, .. } = upload;
        let staged = writer.stage().await?;
        let digest = *staged.digest();
        let signed_by = self.vouched(asked, &tenant, &request, &digest).await?;
        if let Some(version) = unchanged(&self.store.state(), &tenant, &request, &digest, signed_by.as_ref())? {
            return Ok(UploadEnd::Done(Uploaded { version: version.into(), created: false }));
        }
        let bytes = staged.read().await?;
        let size = bytes.len() as u64;
        let wait = match request.kind {
            Kind::Plugin => request.wait.unwrap_or(self.upload_wait),
            Kind::Model => Duration::MAX,
        };
        let UploadRequest { kind, name, idempotency_key, device, expected, allow_new_imports, .. } = request;
        let wish = UploadWish { idempotency_key, expected, allow_new_imports, signed_by };
        let job = Job { kind, name, device, tenant, digest, wish, upload: None, _reservation: Some(reservation) };
        let mut inspecting = job.inspect(self.clone(), bytes, asked.request);
        let Ok(inspection) = tokio::time::timeout(wait, &mut inspecting).await else {
            let accepted = self.accept(asked, job, staged, inspecting).await?;
            return Ok(UploadEnd::Accepted(accepted));
        };
        let inspection = inspection?;
        // Before the bytes become a blob that nothing names; it is decided below.
        new_imports(&self.store.state(), &job, &inspection)?;
        let of = (job.kind, &job.name);
        room(&self.store.state(), &self.limits_of(&job.tenant), &job.tenant, of, Some((&job.digest, size)))?;
        let (_, size) = staged.commit().await?;
        let version = self.settle(asked.actor(), &job, inspection, size).await?;
        Ok(UploadEnd::Done(Uploaded { version, created: true }))
    }

    /// Makes a version of what was validated.
    pub(crate) async fn settle(
        &self,
        actor: Actor,
        job: &Job,
        inspection: Inspection,
        size: u64,
    ) -> Result<VersionDocument> {
        let (wanted, limits) = (job.clone(), self.limits_of(&job.tenant));
        let number = self
            .store
            .write(actor, move |state| {
                let Job { kind, name, tenant, digest, wish, upload, .. } = &wanted;
                state.tenant(tenant.name())?.ok_or_else(Fault::not_found)?;
                check_kind(state, tenant, *kind, name)?;
                check_expected(state, tenant, name, wish.expected)?;
                room(state, &limits, tenant, (*kind, name), Some((digest, size)))?;
                let new_imports = new_imports(state, &wanted, &inspection)?;
                let version = state.object(tenant, name)?.map_or(1, |row| row.latest + 1);
                let event = Event::VersionCreated {
                    tenant: tenant.name().clone(),
                    kind: *kind,
                    name: name.clone(),
                    version,
                    digest: *digest,
                    size,
                    inspection,
                    idempotency_key: wish.idempotency_key.clone(),
                    provenance: Provenance { upload: upload.clone(), signed_by: wish.signed_by.clone(), new_imports },
                };
                Ok((Some(event), version))
            })
            .await
            .inspect_err(|_| self.forget_orphan(job))?;
        self.directory.forget(&job.tenant, &job.name);
        self.records.of(&job.tenant, &job.name, job.kind).set_unloaded(false);
        self.show_version(&job.tenant, job.kind, &job.name, number)
    }

    /// What was compiled for a tenant that was erased meanwhile is dropped, unless it is somebody else's as well.
    fn forget_orphan(&self, job: &Job) {
        let state = self.store.state();
        let is_gone = state.tenant(job.tenant.name()).is_ok_and(|row| row.is_none());
        if is_gone && state.named_digests().is_ok_and(|named| !named.contains(&job.digest)) {
            self.sandbox.forget(&job.digest);
        }
    }
}

/// What validation will say.
pub(crate) type Inspecting = Pin<Box<dyn Future<Output = Result<Inspection>> + Send>>;

/// Bytes that are validated and may become a version. A name has one at a time.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    pub(crate) name: Name,
    pub(crate) device: Device,
    pub(crate) tenant: Tenant,
    pub(crate) digest: Digest,
    pub(crate) wish: UploadWish,
    /// The upload's id, if it goes on in the background.
    pub(crate) upload: Option<String>,
    pub(crate) _reservation: Option<Arc<Reservation>>,
}

impl Job {
    /// Validates its bytes. Dropped, the validation ends.
    pub(crate) fn inspect(&self, platform: Arc<Platform>, bytes: Bytes, request: &str) -> Inspecting {
        let (kind, device, tenant, digest) = (self.kind, self.device, self.tenant.clone(), self.digest);
        let call = Call {
            tenant: tenant.clone(),
            plugin: self.name.clone(),
            version: 0,
            settings: Arc::new(Settings::new()),
            limits: platform.limits.clone(),
            request_id: request.into(),
            depth: 0,
            trace: aimass_core::trace::Trace::default(),
            meter: None,
        };
        Box::pin(async move {
            match kind {
                Kind::Plugin => platform.sandbox.inspect(call, digest, bytes).await,
                Kind::Model => platform.models.inspect(&tenant, bytes, device).await,
            }
        })
    }
}

/// Interfaces that a plugin imports and its newest version does not; a version of an interface is not looked at.
fn new_imports(state: &State<'_>, job: &Job, inspection: &Inspection) -> Result<Vec<String>> {
    let Some(object) = state.object(&job.tenant, &job.name)?.filter(|row| live(row, Kind::Plugin)) else {
        return Ok(vec![]);
    };
    let Some(before) = state.version(&job.tenant, &job.name, object.latest)? else { return Ok(vec![]) };
    let interfaces = |imports: &[String]| -> BTreeSet<String> {
        imports.iter().map(|name| name.split_once('@').map_or(&**name, |(name, _)| name).to_owned()).collect()
    };
    let known = interfaces(&before.inspection.imports);
    let new: Vec<String> = interfaces(&inspection.imports).difference(&known).cloned().collect();
    if new.is_empty() || job.wish.allow_new_imports {
        return Ok(new);
    }
    let detail = format!(
        "it imports what version {} does not: `{}`; allow it with `--allow-new-imports` (`?allow-new-imports=true`)",
        object.latest,
        new.join("`, `")
    );
    Err(Fault::new(Code::NewImports, detail))
}

fn check_kind(state: &State<'_>, tenant: &Tenant, kind: Kind, name: &Name) -> Result<()> {
    match state.object(tenant, name)? {
        Some(row) if row.kind != kind && !row.deleted => Err(Fault::new(
            Code::Conflict,
            format!("`{name}` is a {}; a name is a plugin's or a model's, not both", row.kind.as_str()),
        )),
        _ => Ok(()),
    }
}

fn check_expected(state: &State<'_>, tenant: &Tenant, name: &Name, expected: Option<Digest>) -> Result<()> {
    let Some(expected) = expected else { return Ok(()) };
    let newest = match state.object(tenant, name)?.filter(|row| !row.deleted) {
        Some(object) => state.version(tenant, name, object.latest)?.map(|version| version.digest),
        None => None,
    };
    if newest == Some(expected) {
        return Ok(());
    }
    Err(Fault::new(Code::PreconditionFailed, format!("the newest version of `{name}` is another one")))
}

/// The version that this key made before, if the request is the same.
fn repeated(state: &State<'_>, tenant: &Tenant, request: &UploadRequest, key: &str) -> Result<Option<VersionRow>> {
    match state.idempotent(tenant, key)? {
        Some(row) if row.kind == request.kind && row.name == request.name => Ok(Some(row)),
        Some(_) => Err(Fault::new(Code::Conflict, "this `Idempotency-Key` was used for another request")),
        None => Ok(None),
    }
}

/// The newest version, if it holds these bytes under the same conditions.
fn unchanged(
    state: &State<'_>,
    tenant: &Tenant,
    request: &UploadRequest,
    digest: &Digest,
    signed_by: Option<&SignedBy>,
) -> Result<Option<VersionRow>> {
    let Some(object) = state.object(tenant, &request.name)?.filter(|o| o.kind == request.kind && !o.deleted) else {
        return Ok(None);
    };
    let latest = state.version(tenant, &request.name, object.latest)?;
    // Who signs what stands unsigned makes a version that is.
    let signed = |row: &VersionRow| signed_by.is_none() || row.provenance.signed_by.as_ref() == signed_by;
    Ok(latest.filter(|row| row.digest == *digest && row.inspection.device == request.device && signed(row)))
}

/// A name that is being uploaded; freed when dropped.
pub(crate) struct Reservation {
    all: Arc<Mutex<HashSet<(Tenant, Name)>>>,
    own: (Tenant, Name),
}

impl Reservation {
    pub(crate) fn take(all: &Arc<Mutex<HashSet<(Tenant, Name)>>>, tenant: &Tenant, name: &Name) -> Result<Arc<Self>> {
        let own = (tenant.clone(), name.clone());
        if !all.lock().unwrap_or_else(PoisonError::into_inner).insert(own.clone()) {
            let detail = format!("an upload of `{name}` is under way; try again when it has ended");
            return Err(Fault::new(Code::UploadInProgress, detail));
        }
        Ok(Arc::new(Self { all: all.clone(), own }))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.own);
    }
}
