//! The jobs under way in this process: whose turn it is, how far they are, and how they are ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aimass_core::event::{Actor, Event, JobEnded, JobOutcome, JobWork, RowErrors};
use aimass_core::{Code, Name, Tenant};
use aimass_store::JobRow;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::Platform;

/// Jobs that run at once. Each has a file open and some pieces in memory; they share the engines in any case.
const AT_ONCE: usize = 4;
/// Of them, jobs of one tenant.
const OF_TENANT: usize = 1;

/// After what time a full disk is tried again.
const ROOM: Duration = Duration::from_secs(5);

/// How far a job is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// When it began (in this process), and with how many rows; none while it waits.
    pub since: Option<(Instant, u64)>,
    /// Rows that are done.
    pub rows: u64,
    /// Rows that are durable.
    pub durable: u64,
    /// All rows, where the file says so.
    pub total: Option<u64>,
    /// The part of the file that was read, where it does not.
    pub done: Option<f64>,
    /// Rows that could not be computed.
    pub errors: RowErrors,
}

type Key = (Tenant, String);

/// The jobs under way.
pub(crate) struct Jobs {
    running: Mutex<HashMap<Key, Arc<Handle>>>,
    slots: Arc<Semaphore>,
    tenants: Mutex<HashMap<Name, Arc<Semaphore>>>,
}

struct Handle {
    progress: watch::Sender<Progress>,
    /// Who wants it to end.
    cancel: watch::Sender<Option<Actor>>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { running: Mutex::default(), slots: Arc::new(Semaphore::new(AT_ONCE)), tenants: Mutex::default() }
    }
}

impl Jobs {
    pub(super) fn progress(&self, tenant: &Tenant, id: &str) -> Option<Progress> {
        self.handle(tenant, id).map(|handle| handle.progress.borrow().clone())
    }

    pub(super) fn follow(&self, tenant: &Tenant, id: &str) -> Option<watch::Receiver<Progress>> {
        self.handle(tenant, id).map(|handle| handle.progress.subscribe())
    }

    /// Asks a job to end, and waits until it has.
    pub(super) async fn cancel(&self, tenant: &Tenant, id: &str, by: Actor) {
        let Some(mut news) = self.handle(tenant, id).map(|handle| {
            handle.cancel.send_replace(Some(by));
            handle.progress.subscribe()
        }) else {
            return;
        };
        // The sender goes when the end is recorded.
        while news.changed().await.is_ok() {}
    }

    fn handle(&self, tenant: &Tenant, id: &str) -> Option<Arc<Handle>> {
        self.lock().get(&(tenant.clone(), id.to_owned())).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Handle>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn: first behind the tenant's own jobs.
    async fn turn(&self, tenant: &Tenant) -> Option<[OwnedSemaphorePermit; 2]> {
        let own = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for are like new ones.
            tenants.retain(|_, own| Arc::strong_count(own) > 1);
            tenants.entry(tenant.name().clone()).or_insert_with(|| Arc::new(Semaphore::new(OF_TENANT))).clone()
        };
        let own = own.acquire_owned().await.ok()?;
        Some([own, self.slots.clone().acquire_owned().await.ok()?])
    }
}

impl Platform {
    /// Begins a job, or goes on with it, when its turn comes.
    pub(super) fn start_job(self: &Arc<Self>, tenant: Tenant, row: JobRow) {
        let key = (tenant.clone(), row.id.clone());
        let progress =
            Progress { rows: row.rows, durable: row.rows, errors: row.errors.clone(), ..Progress::default() };
        let handle = Arc::new(Handle { progress: watch::Sender::new(progress), cancel: watch::Sender::default() });
        self.jobs.lock().insert(key.clone(), handle.clone());
        let platform = self.clone();
        tokio::spawn(async move {
            let mut cancelled = handle.cancel.subscribe();
            let ended = tokio::select! {
                // An error says that the sender is gone, which the handle holds.
                _ = cancelled.wait_for(Option::is_some) => None,
                ended = platform.work_on(&tenant, &row, &handle.progress) => Some(ended),
            };
            let by = handle.cancel.borrow().clone().unwrap_or_else(|| row.actor.clone());
            platform.end_job(&tenant, &row, by, ended, &handle.progress).await;
            platform.jobs.lock().remove(&key);
        });
    }

    async fn work_on(
        self: &Arc<Self>,
        tenant: &Tenant,
        row: &JobRow,
        progress: &watch::Sender<Progress>,
    ) -> aimass_core::Result<JobOutcome> {
        let _turn = self.jobs.turn(tenant).await;
        let JobWork::Batch(work) = &row.work;
        self.run_batch(tenant, row, work, progress).await
    }

    /// Records how a job ended, and removes what it needed.
    async fn end_job(
        &self,
        tenant: &Tenant,
        row: &JobRow,
        by: Actor,
        ended: Option<aimass_core::Result<JobOutcome>>,
        progress: &watch::Sender<Progress>,
    ) {
        let outcome = match ended {
            None => JobOutcome::Cancelled,
            Some(Ok(outcome)) => outcome,
            Some(Err(fault)) => {
                tracing::info!(tenant = %tenant, job = %row.id, code = %fault.code(), cause = fault.cause(), "a job failed");
                JobOutcome::Failed { code: fault.code().to_string(), detail: fault.detail().to_owned() }
            }
        };
        let errors = progress.borrow().errors.clone();
        let event = Event::JobEnded(JobEnded { tenant: tenant.name().clone(), id: row.id.clone(), outcome, errors });
        loop {
            let written = self.store.write(by.clone(), {
                let event = event.clone();
                move |_| Ok((Some(event), ()))
            });
            match written.await {
                Err(fault) if fault.code() == Code::StorageFull => tokio::time::sleep(ROOM).await,
                // The job, or its tenant, was erased meanwhile.
                Err(fault) if fault.code() != Code::NotFound => {
                    // The store stops: the next start goes on with it.
                    tracing::warn!(job = %row.id, %fault, "how a job ended could not be recorded");
                    return;
                }
                _ => return self.store.blobs().remove_parts(tenant, &row.id).await,
            }
        }
    }
}
