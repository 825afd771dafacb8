//! Uploads: bytes stream to disk, are validated, and become a version. Nothing is visible before it is durable.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use aimass_core::event::{Event, Inspection, Kind};
use aimass_core::limits::{MAX_COMPONENT, MAX_MODEL};
use aimass_core::{Code, Digest, Fault, Name, Result, Tenant};
use aimass_sandbox::Call;
use aimass_store::{BlobWriter, Staged, State, VersionRow};

use crate::objects::VersionDocument;
use crate::{Asked, Platform, Scope};

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
    pub device: aimass_core::event::Device,
    /// `If-Match`: what the newest version must be, or the upload is refused.
    pub expected: Option<Digest>,
}

/// The result of an upload.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The version.
    pub version: VersionDocument,
    /// Whether this upload made it; otherwise it stood already.
    pub created: bool,
}

/// An upload under way. Dropping it leaves nothing behind.
pub struct Upload {
    request: UploadRequest,
    tenant: Tenant,
    writer: BlobWriter,
    taken: u64,
    _reservation: Reservation,
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
        check_expected(&self.store.state(), tenant, &request)?;
        let reservation = Reservation::take(&self.uploading, tenant, &request.name)?;
        let writer = self.store.blobs().writer(tenant).await?;
        Ok(Ok(Upload { request, tenant: tenant.clone(), writer, taken: 0, _reservation: reservation }))
    }

    /// Validates what came and makes it a version.
    ///
    /// The bytes of the newest version again are that version; anything else becomes the next number.
    ///
    /// # Errors
    /// What validation says (`invalid_component`, `unsupported_import`, `invalid_model`, …); then nothing is stored.
    pub async fn finish_upload(&self, asked: Asked<'_>, upload: Upload) -> Result<Uploaded> {
        let Upload { request, tenant, writer, _reservation, .. } = upload;
        let staged = writer.stage().await?;
        if let Some(version) = unchanged(&self.store.state(), &tenant, &request, staged.digest())? {
            return Ok(Uploaded { version: version.into(), created: false });
        }
        let inspection = self.inspect(&tenant, &request, &staged, asked.request).await?;
        let (digest, size) = staged.commit().await?;

        let owner = tenant.clone();
        let (kind, name) = (request.kind, request.name.clone());
        let number = self
            .store
            .write(asked.actor(), move |state| {
                state.tenant(owner.name())?.ok_or_else(Fault::not_found)?;
                check_kind(state, &owner, kind, &request.name)?;
                check_expected(state, &owner, &request)?;
                let UploadRequest { name, idempotency_key, .. } = request;
                let version = state.object(&owner, &name)?.map_or(1, |row| row.latest + 1);
                let tenant = owner.name().clone();
                let event =
                    Event::VersionCreated { tenant, kind, name, version, digest, size, inspection, idempotency_key };
                Ok((Some(event), version))
            })
            .await?;
        self.directory.forget(&tenant, &name);
        self.records.of(&tenant, &name, kind).set_unloaded(false);
        let version = self.show_version(&tenant, kind, &name, number)?;
        Ok(Uploaded { version, created: true })
    }

    async fn inspect(&self, tenant: &Tenant, request: &UploadRequest, staged: &Staged, id: &str) -> Result<Inspection> {
        let bytes = staged.read().await?;
        match request.kind {
            Kind::Plugin => {
                let call = Call {
                    tenant: tenant.clone(),
                    plugin: request.name.clone(),
                    version: 0,
                    settings: Arc::default(),
                    limits: self.limits.clone(),
                    request_id: id.into(),
                };
                self.sandbox.inspect(call, *staged.digest(), bytes).await
            }
            Kind::Model => self.models.inspect(tenant, bytes, request.device).await,
        }
    }
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

fn check_expected(state: &State<'_>, tenant: &Tenant, request: &UploadRequest) -> Result<()> {
    let Some(expected) = request.expected else { return Ok(()) };
    let newest = match state.object(tenant, &request.name)?.filter(|row| !row.deleted) {
        Some(object) => state.version(tenant, &request.name, object.latest)?.map(|version| version.digest),
        None => None,
    };
    if newest == Some(expected) {
        return Ok(());
    }
    Err(Fault::new(Code::PreconditionFailed, format!("the newest version of `{}` is another one", request.name)))
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
) -> Result<Option<VersionRow>> {
    let Some(object) = state.object(tenant, &request.name)?.filter(|o| o.kind == request.kind && !o.deleted) else {
        return Ok(None);
    };
    let latest = state.version(tenant, &request.name, object.latest)?;
    Ok(latest.filter(|row| row.digest == *digest && row.inspection.device == request.device))
}

/// A name that is being uploaded; freed when dropped.
struct Reservation {
    all: Arc<Mutex<HashSet<(Tenant, Name)>>>,
    own: (Tenant, Name),
}

impl Reservation {
    fn take(all: &Arc<Mutex<HashSet<(Tenant, Name)>>>, tenant: &Tenant, name: &Name) -> Result<Self> {
        let own = (tenant.clone(), name.clone());
        if !all.lock().unwrap_or_else(PoisonError::into_inner).insert(own.clone()) {
            let detail = format!("an upload of `{name}` is under way; try again when it has ended");
            return Err(Fault::new(Code::UploadInProgress, detail));
        }
        Ok(Self { all: all.clone(), own })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.own);
    }
}
