//! What the queue's committer does.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use aimass_core::{Fault, Result};
use tokio::sync::{oneshot, watch};

use super::desk::{Desk, Overlay, Step};
use super::index::Index;
use super::item::{self, ItemRow, Values};
use super::table::{Changes, Staged, Table};
use crate::failure::stopped;
use crate::lock::FolderLock;
use crate::log::{Committer, Log, Machine, Segment};

/// What readers share with the committer.
pub(super) struct Shared {
    pub(super) index: RwLock<Index>,
    /// Counts the groups that changed something.
    pub(super) changed: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn read(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        // Nothing panics while it is written to.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A decision that waits for its turn: it looks at the items, and says what changes and whom to tell.
pub(super) struct Job(Box<dyn FnOnce(&Desk<'_>) -> (Vec<Step>, Answer) + Send>);

/// Tells the one who asked how it went.
type Answer = Box<dyn FnOnce(Result<()>) + Send>;

/// Brings a decision, and waits until what it changed, and everything that it saw, is durable.
pub(super) async fn change<T: Send + 'static>(
    committer: &Committer<Job>,
    decide: impl FnOnce(&Desk<'_>) -> Result<(Vec<Step>, T)> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    let job = Job(Box::new(move |desk| {
        let (steps, value) = match decide(desk) {
            Ok((steps, value)) => (steps, Ok(value)),
            Err(fault) => (vec![], Err(fault)),
        };
        let answer = move |outcome: Result<()>| {
            // The asker may be gone.
            let _ = sender.send(outcome.and(value));
        };
        (steps, Box::new(answer) as Answer)
    }));
    committer.send(job).await?;
    // A job that is dropped was not looked at.
    receiver.await.map_err(|_| stopped())?
}

/// The queue log's [`Machine`].
pub(super) struct Keeper {
    table: Table,
    shared: Arc<Shared>,
    pending: Overlay,
    staged: Vec<(Vec<Step>, Staged)>,
    answers: Vec<Answer>,
    /// The folder stays locked until the thread has ended.
    _lock: Arc<FolderLock>,
}

impl Keeper {
    pub(super) fn new(table: Table, shared: Arc<Shared>, lock: Arc<FolderLock>) -> Self {
        Self { table, shared, pending: Overlay::default(), staged: vec![], answers: vec![], _lock: lock }
    }
}

impl Machine for Keeper {
    type Job = Job;

    fn stage(&mut self, job: Job, _sequence: u64) -> Option<Vec<u8>> {
        let index = self.shared.read();
        let (mut steps, answer) = (job.0)(&Desk { index: &index, staged: &self.pending });
        self.answers.push(answer);
        if steps.is_empty() {
            return None;
        }
        let mut changes = vec![];
        for step in &mut steps {
            let before = Desk { index: &index, staged: &self.pending }.row(&step.tenant, &step.id).cloned();
            changed(&mut changes, before.as_ref(), step);
            self.pending.add(&index, step);
        }
        let (record, staged) = Table::stage(changes);
        self.staged.push((steps, staged));
        Some(record)
    }

    fn commit(&mut self, segment: &Arc<Segment>, offsets: &[u64]) {
        let changed = !self.staged.is_empty();
        {
            let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
            for ((steps, staged), offset) in self.staged.drain(..).zip(offsets) {
                self.table.commit(&staged, segment, *offset);
                for step in steps {
                    index.set(&step.tenant, &step.id, step.row);
                }
            }
        }
        self.pending.clear();
        for answer in self.answers.drain(..) {
            answer(Ok(()));
        }
        if changed {
            self.shared.changed.send_modify(|groups| *groups += 1);
        }
    }

    fn refuse(&mut self, fault: &Fault) {
        self.staged.clear();
        self.pending.clear();
        for answer in self.answers.drain(..) {
            answer(Err(fault.clone()));
        }
    }

    fn reject(&mut self, job: Job, _fault: &Fault) {
        // It is only rejected when the store stops, and that is what whoever waits learns by this.
        drop(job);
    }

    fn tidy(&mut self, log: &mut Log) {
        self.table.tidy(log);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.refuse(&stopped());
    }
}

/// The values of the table that a step sets and removes.
fn changed(changes: &mut Changes, before: Option<&ItemRow>, step: &mut Step) {
    let kept: BTreeSet<char> = step.row.iter().flat_map(ItemRow::kinds).collect();
    let gone = before.into_iter().flat_map(ItemRow::kinds).filter(|kind| !kept.contains(kind));
    let mut put = |kind, value| changes.push((item::key(kind, &step.tenant, &step.id), value));
    gone.for_each(|kind| put(kind, None));
    // A row of ours always becomes JSON.
    if let Some(row) = step.row.as_ref().and_then(|row| serde_json::to_vec(row).ok()) {
        put(item::ROW, Some(row.into()));
    }
    let parts = [
        (item::REQUEST_HEAD, item::REQUEST_BODY, step.request.take()),
        (item::RESULT_HEAD, item::RESULT_BODY, step.result.take()),
    ];
    for (head_kind, body_kind, values) in parts {
        if let Some(Values { head, body }) = values {
            put(head_kind, Some(head));
            if let Some(body) = body {
                put(body_kind, Some(body));
            }
        }
    }
}
