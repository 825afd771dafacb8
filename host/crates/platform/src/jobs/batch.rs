//! Batch inference: rows are read, computed and written in a row, and a piece of the result is made durable from time to
//! time. A piece depends on its rows alone, so that a job that was killed ends with the same bytes as one that was not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aimass_core::event::{BatchWork, JobOutcome, JobPart, OnError, RowErrors};
use aimass_core::{Code, Fault, Result, Tenant};
use aimass_data::{Batch, Mapping, News, PartWriter, Plan, ReadCommand, ReadOptions, Source, read_in_child};
use aimass_store::{BlobReader, JobRow};
use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, watch};

use super::calls::Target;
use super::running::Progress;
use crate::{Platform, Servable};

/// Batches that are computed at once: while one is in the engine, the next one is made ready.
const AHEAD: usize = 3;

impl Platform {
    /// Runs a batch job from where it was to its end.
    ///
    /// # Errors
    /// What ends it.
    pub(super) async fn run_batch(
        self: &Arc<Self>,
        tenant: &Tenant,
        row: &JobRow,
        work: &BatchWork,
        progress: &watch::Sender<Progress>,
    ) -> Result<JobOutcome> {
        let parts = self.parts(tenant, row).await?;
        let errors = if parts.is_empty() { RowErrors::default() } else { row.errors.clone() };
        let resumed = !parts.is_empty();
        let (rows, parts) = self.compute(tenant, row, work, (parts, errors), progress).await?;
        match self.join_parts(tenant, row, work, &parts).await {
            Ok((digest, size)) => Ok(JobOutcome::Done { rows, digest, size }),
            // Once: what is computed now is not damaged a moment later.
            Err(fault) if fault.code() == Code::Integrity && resumed => {
                tracing::warn!(%tenant, job = %row.id, cause = fault.cause(), "a piece of a job's result is damaged");
                self.begin_again(tenant, row).await?;
                let (rows, parts) = self.compute(tenant, row, work, Default::default(), progress).await?;
                let (digest, size) = self.join_parts(tenant, row, work, &parts).await?;
                Ok(JobOutcome::Done { rows, digest, size })
            }
            Err(fault) => Err(fault),
        }
    }

    /// Computes all rows behind the pieces that are there; returns how many rows the input has, and all pieces.
    async fn compute(
        self: &Arc<Self>,
        tenant: &Tenant,
        row: &JobRow,
        work: &BatchWork,
        (mut parts, mut errors): (Vec<JobPart>, RowErrors),
        progress: &watch::Sender<Progress>,
    ) -> Result<(u64, Vec<JobPart>)> {
        let servable = Servable(self.job_target(tenant, work)?, None);
        let signature = servable.signature()?;
        let from = parts.last().map_or(0, |part| part.rows);
        progress.send_modify(|progress| {
            let since = Some((Instant::now(), from));
            *progress = Progress { since, rows: from, durable: from, errors: errors.clone(), ..Progress::default() };
        });
        let keep = work.keep.as_deref();
        let options = ReadOptions {
            format: work.input_format,
            columns: Plan::needed(signature, &work.columns, keep),
            batch: work.batch_size as usize,
            skip: from,
        };
        let blob = self.store.blobs().open_reader(tenant, &work.input_digest).await?;
        let mut reading = Reading::start(self.reader.clone(), blob, options);
        let opened = reading.opened().await?;
        let plan = Plan::new(signature, &work.columns as &Mapping, keep, &opened.schema)?;
        let first = PartWriter::new(work.output_format, &plan.schema(), parts.is_empty())?;
        progress.send_modify(|progress| progress.total = opened.total);

        let target = &Target { platform: self, tenant, servable: &servable, plan: &plan, job: &row.id };
        let batches = stream::unfold(reading, |mut reading| async move { Some((reading.next().await?, reading)) });
        let computed = batches.map(|batch: Result<(Batch, Option<f64>)>| async move {
            let (batch, done) = batch?;
            let mut answers = target.compute(&batch).await?;
            let result = answers.result(target.plan, &batch, work.on_error == OnError::Skip)?;
            let bad = answers.bad().to_vec();
            Ok::<_, Fault>((batch.first, batch.records.num_rows() as u64, result, bad, done))
        });
        let mut computed = std::pin::pin!(computed.buffered(AHEAD));
        let (mut part, mut rows, mut began) = (first, from, from);
        while let Some(batch) = computed.next().await {
            let (first, count, result, bad, done) = batch?;
            for (at, why) in bad {
                errors.add(first + at as u64 + 1, why.clone());
                if work.on_error == OnError::Fail {
                    progress.send_modify(|progress| progress.errors = errors.clone());
                    let detail = format!("row {}: {why}", first + at as u64 + 1);
                    return Err(Fault::new(Code::InvalidData, detail));
                }
            }
            part.write(&result)?;
            rows = first + count;
            progress.send_modify(|progress| {
                (progress.rows, progress.done) = (rows, done);
                progress.errors = errors.clone();
            });
            if rows - began >= work.checkpoint_rows.into() || part.is_full() {
                let next = PartWriter::new(work.output_format, &plan.schema(), false)?;
                let full = std::mem::replace(&mut part, next);
                parts.push(self.keep_part(tenant, row, (full, rows), errors.clone()).await?);
                progress.send_modify(|progress| progress.durable = rows);
                began = rows;
            }
        }
        // A file without rows has its columns still.
        if rows > began || parts.is_empty() {
            parts.push(self.keep_part(tenant, row, (part, rows), errors).await?);
            progress.send_modify(|progress| progress.durable = rows);
        }
        Ok((rows, parts))
    }
}

/// A blob as a file that is read.
struct Blob {
    size: u64,
    reader: Mutex<BlobReader>,
}

impl Source for Blob {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).read_at(offset, out)
    }
}

/// What is known of a file when it is open.
struct Opened {
    schema: aimass_data::SchemaRef,
    total: Option<u64>,
}

/// A file that is read in a process of its own, a few batches ahead.
struct Reading {
    opened: Option<tokio::sync::oneshot::Receiver<Result<Opened>>>,
    /// Ends with nothing; a channel that ends before that has lost its thread.
    batches: mpsc::Receiver<Result<Option<(Batch, Option<f64>)>>>,
    ended: bool,
}

impl Reading {
    fn start(command: ReadCommand, blob: BlobReader, options: ReadOptions) -> Self {
        let (tell, opened) = tokio::sync::oneshot::channel();
        let (send, batches) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let source = Blob { size: blob.size(), reader: Mutex::new(blob) };
            let mut tell = Some(tell);
            let read = read_in_child(&command, &source, &options, &mut |news| match news {
                News::Opened { schema, total } => {
                    tell.take().is_some_and(|tell| tell.send(Ok(Opened { schema, total })).is_ok())
                }
                // Nobody wants more if that fails: the job has ended.
                News::Batch(batch, done) => send.blocking_send(Ok(Some((batch, done)))).is_ok(),
            });
            match (read, tell) {
                (Err(fault), Some(tell)) => drop(tell.send(Err(fault))),
                (read, _) => drop(send.blocking_send(read.map(|()| None))),
            }
        });
        Self { opened: Some(opened), batches, ended: false }
    }

    async fn opened(&mut self) -> Result<Opened> {
        let opened = self.opened.take().ok_or_else(|| Fault::internal("a file is opened once"))?;
        opened.await.map_err(|_| Fault::internal("reading a file panicked"))?
    }

    async fn next(&mut self) -> Option<Result<(Batch, Option<f64>)>> {
        if self.ended {
            return None;
        }
        let next = self.batches.recv().await;
        self.ended = !matches!(next, Some(Ok(Some(_))));
        next.unwrap_or_else(|| Err(Fault::internal("reading a file panicked"))).transpose()
    }
}
