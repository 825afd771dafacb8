//! Plugins that take long to compile: made durable, promised, compiled on, also after a restart.

use std::sync::Arc;

use aimass_core::event::{Actor, Device, Event, Inspection, Kind};
use aimass_core::{Code, Digest, Fault, Name, Result, Tenant};
use aimass_store::{Staged, UploadOutcome, UploadRow};
use serde::Serialize;

use crate::objects::{PAGE, Page, VersionDocument};
use crate::uploads::{Inspecting, Job, Reservation};
use crate::{Asked, Platform, Scope};

/// How far an accepted upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadState {
    /// It waits for its turn.
    Queued,
    /// It is being compiled.
    Compiling,
    /// It is a version.
    Ready,
    /// It did not become one.
    Failed,
}

/// An upload that was accepted to be compiled in the background.
#[derive(Clone, Debug, Serialize)]
pub struct UploadDocument {
    /// Its id.
    pub id: String,
    /// The plugin's name.
    pub name: Name,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was accepted, milliseconds since the epoch.
    pub accepted_ms: u64,
    /// How far it is.
    pub state: UploadState,
    /// For how long it has been compiled by now, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The version that it became, unless that was deleted since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionDocument>,
    /// Why it failed.
    #[serde(skip)]
    pub failure: Option<Fault>,
}

impl Platform {
    /// Shows how far an upload is that was accepted to be compiled in the background.
    ///
    /// # Errors
    /// `not_found`: also of one that ended so long ago that it is no longer kept.
    pub fn upload(&self, asked: Asked<'_>, id: &str) -> Result<UploadDocument> {
        self.show_upload(asked.tenant(Scope::PluginsRead)?, id)
    }

    /// Lists the tenant's uploads that were accepted to be compiled in the background, oldest first: those under way,
    /// and the last hundred that ended.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn uploads(&self, asked: Asked<'_>, after: Option<&str>, limit: Option<usize>) -> Result<Page<UploadDocument>> {
        let tenant = asked.tenant(Scope::PluginsRead)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().uploads(tenant, after, limit + 1)?;
        let documents: Vec<_> = rows.into_iter().map(|row| self.upload_document(tenant, row)).collect::<Result<_>>()?;
        Ok(Page::cut(documents.into_iter(), limit, |upload: &UploadDocument| upload.id.clone()))
    }

    /// Makes an upload durable, so that it may be promised, and lets its validation go on.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        asked: Asked<'_>,
        mut job: Job,
        staged: Staged,
        inspecting: Inspecting,
    ) -> Result<UploadDocument> {
        let (digest, size) = staged.commit().await?;
        // Ordered by time, as lists of them are; the request's id is its sender's, and may come twice.
        let id = uuid::Uuid::now_v7().as_simple().to_string();
        let (tenant, name, wish) = (job.tenant.clone(), job.name.clone(), job.wish.clone());
        let event = Event::UploadAccepted { tenant: tenant.name().clone(), id: id.clone(), name, digest, size, wish };
        self.store.write(asked.actor(), move |_| Ok((Some(event), ()))).await?;
        job.upload = Some(id.clone());
        let (platform, actor) = (self.clone(), asked.actor());
        tokio::spawn(async move {
            let inspected = inspecting.await;
            platform.end(actor, job, inspected, size).await;
        });
        self.show_upload(&tenant, &id)
    }

    /// Goes on with what was accepted before this start. Call it once, before anything is uploaded.
    ///
    /// # Errors
    /// What reading the store says.
    pub fn resume_uploads(self: &Arc<Self>) -> Result<()> {
        for row in self.store.state().uploads_under_way()? {
            let UploadRow { tenant, id, name, digest, size, wish, actor, .. } = row;
            let tenant = aimass_auth::resumed(tenant);
            // Two under one name may be left by a disk that was full when the first one ended.
            let _reservation = Reservation::take(&self.uploading, &tenant, &name).ok();
            tracing::info!(tenant = %tenant.name(), plugin = %name, upload = %id, "compiling goes on");
            let (kind, device, upload) = (Kind::Plugin, Device::Auto, Some(id.clone()));
            let job = Job { kind, name, device, tenant, digest, wish, upload, _reservation };
            let platform = self.clone();
            tokio::spawn(async move {
                let inspected = match platform.store.blobs().read(&job.tenant, &job.digest).await {
                    Ok(bytes) => job.inspect(platform.clone(), bytes, &id).await,
                    Err(fault) => Err(fault),
                };
                platform.end(actor, job, inspected, size).await;
            });
        }
        Ok(())
    }

    /// Records what became of an accepted upload.
    async fn end(&self, actor: Actor, job: Job, inspected: Result<Inspection>, size: u64) {
        let settled = match inspected {
            Ok(inspection) => self.settle(actor.clone(), &job, inspection, size).await.map(drop),
            Err(fault) => Err(fault),
        };
        let (Err(fault), Some(id)) = (settled, &job.upload) else { return };
        let (tenant, code) = (job.tenant.name().clone(), fault.code().to_string());
        tracing::info!(%tenant, plugin = %job.name, upload = %id, code, cause = fault.cause(), "an upload failed");
        let event = Event::UploadFailed { tenant, id: id.clone(), code, detail: fault.detail().to_owned() };
        if let Err(fault) = self.store.write(actor, move |_| Ok((Some(event), ()))).await {
            // It is still recorded as under way: the next start tries again.
            tracing::warn!(upload = %id, %fault, cause = fault.cause(), "how an upload ended could not be recorded");
        }
    }

    fn show_upload(&self, tenant: &Tenant, id: &str) -> Result<UploadDocument> {
        let row = self.store.state().upload(tenant, id)?.ok_or_else(Fault::not_found)?;
        self.upload_document(tenant, row)
    }

    fn upload_document(&self, tenant: &Tenant, row: UploadRow) -> Result<UploadDocument> {
        let UploadRow { id, name, digest, size, accepted_ms, outcome, .. } = row;
        let (mut seconds, mut version, mut failure) = (None, None, None);
        let state = match outcome {
            None => {
                seconds = self.sandbox.compiling(&digest).map(|so_far| so_far.as_secs_f64());
                // What is compiled already is asked for its signature.
                let begun = seconds.is_some() || self.sandbox.is_loaded(&digest);
                if begun { UploadState::Compiling } else { UploadState::Queued }
            }
            Some(UploadOutcome::Ready { version: number }) => {
                version = self.store.state().version(tenant, &name, number)?.map(Into::into);
                UploadState::Ready
            }
            Some(UploadOutcome::Failed { code, detail }) => {
                failure = Some(Fault::new(Code::named(&code).unwrap_or(Code::Internal), detail));
                UploadState::Failed
            }
        };
        Ok(UploadDocument { id, name, digest, size, accepted_ms, state, seconds, version, failure })
    }
}
