//! What the journal's committer does: decide, chain, and after the sync apply, publish and answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aimass_core::event::{Actor, Event};
use aimass_core::{Code, Fault, Result};
use arc_swap::ArcSwap;
use tokio::sync::{broadcast, oneshot};

use crate::failure::stopped;
use crate::journal::Record;
use crate::lock::FolderLock;
use crate::log::{Committer, Machine, Segment};
use crate::options::Options;
use crate::seal::Vault;
use crate::view::{Index, Pending, State, changes, rebuild};

/// A write that waits for its turn.
pub(crate) struct Write {
    pub(crate) actor: Actor,
    pub(crate) decide: Box<dyn FnOnce(&State<'_>) -> Decided + Send>,
    /// Answers without a decision.
    pub(crate) reject: Box<dyn FnOnce(Fault) + Send>,
}

/// What a write has decided.
pub(crate) struct Decided {
    pub(crate) event: Option<Event>,
    /// Answers the caller: with what was decided, or with the fault that kept it from being so.
    pub(crate) answer: Box<dyn FnOnce(Result<()>) + Send>,
}

/// Brings a write, and waits for what became of it: see [`Store::write`](crate::Store::write).
pub(crate) async fn write<T: Send + 'static>(
    writes: &Committer<Write>,
    actor: Actor,
    decide: impl FnOnce(&State<'_>) -> Result<(Option<Event>, T)> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel::<Result<T>>();
    // The answer goes out once, from whichever of the two is called.
    let sender = Arc::new(std::sync::Mutex::new(Some(sender)));
    let send = move |sender: &std::sync::Mutex<Option<oneshot::Sender<Result<T>>>>, answer: Result<T>| {
        if let Some(sender) = sender.lock().ok().and_then(|mut s| s.take()) {
            let _ = sender.send(answer);
        }
    };
    let rejected = Arc::clone(&sender);
    let write = Write {
        actor,
        decide: Box::new(move |state| {
            let decided = catch_unwind(AssertUnwindSafe(|| decide(state)))
                .unwrap_or_else(|_| Err(Fault::internal("a decision panicked")));
            let (event, value) = match decided {
                Ok((event, value)) => (event, Ok(value)),
                Err(fault) => (None, Err(fault)),
            };
            Decided { event, answer: Box::new(move |outcome| send(&sender, outcome.and(value))) }
        }),
        reject: Box::new(move |fault| send(&rejected, Err(fault))),
    };
    writes.send(write).await?;
    receiver.await.map_err(|_| stopped())?
}

/// What readers share with the committer.
pub(crate) struct Shared {
    /// Replaced when it had to be rebuilt.
    pub(crate) index: ArcSwap<Index>,
    /// The last record that readers see.
    pub(crate) sequence: AtomicU64,
    pub(crate) records: broadcast::Sender<Arc<Record>>,
}

/// How often a broken index is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The journal's [`Machine`].
pub(crate) struct Writer {
    pub(crate) dir: std::path::PathBuf,
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Options,
    /// The hash of the newest record, staged ones included.
    pub(crate) head: [u8; 32],
    /// The same without staged ones.
    pub(crate) durable: [u8; 32],
    pub(crate) pending: Pending,
    pub(crate) staged: Vec<Arc<Record>>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) broken: Option<Broken>,
    pub(crate) vault: Arc<Vault>,
    /// The folder stays locked until the thread has ended.
    pub(crate) _lock: Arc<FolderLock>,
}

/// Tells the caller of a write how it went.
type Answer = Box<dyn FnOnce(Result<()>) + Send>;

/// The index could not take what the journal holds.
pub(crate) struct Broken {
    fault: Fault,
    since: Instant,
}

impl Machine for Writer {
    type Job = Write;

    /// While the index lags behind the journal nothing can be decided; it is rebuilt as soon as that works.
    fn ready(&mut self) -> Result<()> {
        match &self.broken {
            Some(broken) if broken.since.elapsed() < RETRY => Err(broken.fault.clone()),
            Some(_) => self.mend(),
            None => Ok(()),
        }
    }

    fn stage(&mut self, job: Write, sequence: u64) -> Option<Vec<u8>> {
        let state = State::with(self.shared.index.load_full(), &self.pending);
        let Decided { event, answer } = (job.decide)(&state);
        let Some(event) = event else {
            self.answers.push(answer);
            return None;
        };
        let sealed = Record::seal(self.head, sequence, (self.options.clock)(), job.actor, event)
            .and_then(|(record, bytes)| Ok((changes(&state, &record)?, record, bytes)));
        match sealed {
            Ok((rows, record, bytes)) => {
                self.pending.extend(rows);
                self.head = record.hash;
                self.staged.push(Arc::new(record));
                self.answers.push(answer);
                Some(bytes)
            }
            Err(fault) => {
                self.answers.push(Box::new(|outcome| answer(outcome.and(Err(fault)))));
                None
            }
        }
    }

    fn commit(&mut self, _segment: &Arc<Segment>, _offsets: &[u64]) {
        let mut outcome = Ok(());
        if let Some(last) = self.staged.last().cloned() {
            self.durable = last.hash;
            self.staged.iter().for_each(|record| self.vault.applied(&record.event));
            let index = self.shared.index.load_full();
            let applied = self.index_works().and_then(|()| index.apply(&self.pending, last.seq, last.hash));
            if let Err(fault) = applied {
                tracing::error!(cause = fault.cause(), %fault, "the index could not take what the journal holds");
                // The records are durable, and seen after a rebuild, now or later: until then nobody is told so.
                self.broken = Some(Broken { fault: index_fault(&fault), since: Instant::now() });
                outcome = self.mend();
            }
            if outcome.is_ok() {
                self.shared.sequence.store(last.seq, Ordering::Release);
            }
        }
        self.pending.clear();
        for record in self.staged.drain(..) {
            // Nobody may listen.
            let _ = self.shared.records.send(record);
        }
        for answer in self.answers.drain(..) {
            answer(outcome.clone());
        }
    }

    fn refuse(&mut self, fault: &Fault) {
        self.head = self.durable;
        self.pending.clear();
        self.staged.clear();
        for answer in self.answers.drain(..) {
            answer(Err(fault.clone()));
        }
    }

    fn reject(&mut self, job: Write, fault: &Fault) {
        (job.reject)(fault.clone());
    }
}

impl Writer {
    /// It does; but tests need one that does not.
    fn index_works(&self) -> Result<()> {
        #[cfg(test)]
        if self.options.faults.index_fails.load(Ordering::SeqCst) {
            return Err(Fault::new(Code::StorageFull, "injected"));
        }
        Ok(())
    }

    /// Makes the index anew.
    fn mend(&mut self) -> Result<()> {
        match self.index_works().and_then(|()| rebuild(&self.dir)).and_then(|index| Ok((index.applied()?, index))) {
            Ok((applied, index)) => {
                self.shared.index.store(index);
                self.shared.sequence.store(applied.seq, Ordering::Release);
                self.broken = None;
                Ok(())
            }
            Err(fault) => {
                let fault = index_fault(&fault);
                self.broken = Some(Broken { fault: fault.clone(), since: Instant::now() });
                Err(fault)
            }
        }
    }
}

impl Drop for Writer {
    /// The thread ends, orderly or not: nobody is left waiting, and the next start finds the index up to date.
    fn drop(&mut self) {
        self.refuse(&stopped());
        if let Err(fault) = self.shared.index.load().flush() {
            tracing::warn!(%fault, "the index was not written out");
        }
    }
}

fn index_fault(fault: &Fault) -> Fault {
    let kept = if fault.code() == Code::StorageFull { Code::StorageFull } else { Code::Unavailable };
    Fault::new(kept, "the index cannot be written; what was asked may show later")
        .caused_by(fault.cause().unwrap_or(fault.detail()))
}
