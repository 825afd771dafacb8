//! The result of a job: pieces that are durable, and the file that they become.

use aimass_core::event::{BatchWork, Event, JobAdvanced, JobPart, JobRestarted, RowErrors};
use aimass_core::limits::MAX_DATA_FILE;
use aimass_core::{Code, Digest, Fault, Result, Tenant};
use aimass_data::{Joiner, PartWriter};
use aimass_store::JobRow;

use crate::Platform;

impl Platform {
    /// The pieces that a job has made before, if all of them are there still; otherwise it begins again.
    pub(super) async fn parts(&self, tenant: &Tenant, row: &JobRow) -> Result<Vec<JobPart>> {
        let parts = self.store.state().job_parts(tenant, &row.id)?;
        if parts.iter().all(|part| self.store.blobs().has_part(tenant, &row.id, &part.digest)) {
            return Ok(parts);
        }
        // A backup holds none, for example.
        tracing::warn!(%tenant, job = %row.id, "pieces of a job's result are missing: it begins again");
        self.begin_again(tenant, row).await?;
        Ok(vec![])
    }

    /// Forgets the pieces of a job.
    pub(super) async fn begin_again(&self, tenant: &Tenant, row: &JobRow) -> Result<()> {
        let event = JobRestarted { tenant: tenant.name().clone(), id: row.id.clone() };
        self.store.write(row.actor.clone(), move |_| Ok((Some(Event::JobRestarted(event)), ()))).await?;
        self.store.blobs().remove_parts(tenant, &row.id).await;
        Ok(())
    }

    /// Makes a piece durable, and records that the job goes on behind it.
    pub(super) async fn keep_part(
        &self,
        tenant: &Tenant,
        row: &JobRow,
        (part, rows): (PartWriter, u64),
        errors: RowErrors,
    ) -> Result<JobPart> {
        let bytes = tokio::task::spawn_blocking(move || part.finish()).await.map_err(Fault::internal)??;
        let (digest, size) = self.store.blobs().put_part(tenant, &row.id, &bytes).await?;
        let part = JobPart { rows, digest, size };
        let event = JobAdvanced { tenant: tenant.name().clone(), id: row.id.clone(), part: part.clone(), errors };
        self.store.write(row.actor.clone(), move |_| Ok((Some(Event::JobAdvanced(event)), ()))).await?;
        Ok(part)
    }

    /// Makes the file of the pieces: a blob that the job's end will name.
    ///
    /// # Errors
    /// `integrity` if a piece is not what it was.
    pub(super) async fn join_parts(
        &self,
        tenant: &Tenant,
        row: &JobRow,
        work: &BatchWork,
        parts: &[JobPart],
    ) -> Result<(Digest, u64)> {
        let mut writer = self.store.blobs().writer(tenant).await?;
        let (mut joiner, mut size) = (Joiner::new(work.output_format), 0);
        for part in parts {
            let bytes = self.store.blobs().read_part(tenant, &row.id, &part.digest).await?;
            let joined = tokio::task::spawn_blocking(move || joiner.add(bytes).map(|bytes| (joiner, bytes)));
            let bytes;
            (joiner, bytes) = joined.await.map_err(Fault::internal)??;
            size += bytes.len() as u64;
            if size > MAX_DATA_FILE {
                let detail = format!("the result is larger than a data file may be, {MAX_DATA_FILE} bytes");
                return Err(Fault::new(Code::PayloadTooLarge, detail));
            }
            writer.write(&bytes).await?;
        }
        writer.write(&joiner.finish()?).await?;
        writer.finish().await
    }
}
