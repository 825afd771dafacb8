//! What the key-value committer does.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use aimass_core::{Fault, Name, Result};
use tokio::sync::oneshot;

use super::data::{Data, Value};
use super::sealed::{BucketSeal, Change, Kept, tenant};
use super::{record, snapshot};
use crate::failure::stopped;
use crate::lock::FolderLock;
use crate::log::{Log, Machine, Segment};
use crate::seal::{DataKey, Owner, Vault};

/// A change that waits for its turn.
pub(super) struct Job {
    pub(super) bucket: Vec<u8>,
    pub(super) ask: Ask,
    pub(super) answer: oneshot::Sender<Result<u64>>,
}

/// What is to change.
pub(super) enum Ask {
    Set(Vec<Change>),
    Increment(String, u64, Arc<DataKey>),
    /// Drops all of a tenant's that was erased, if one is named, and writes everything anew, sealed.
    Rewrite(Option<Name>),
}

/// The key-value log's [`Machine`].
pub(super) struct Keeper {
    dir: PathBuf,
    data: Arc<Data>,
    /// Numbers and sets of this group, by bucket and key, for the increments behind them.
    pending: HashMap<(Vec<u8>, String), Option<Kept>>,
    staged: Vec<Staged>,
    answers: Vec<(oneshot::Sender<Result<u64>>, Result<u64>)>,
    /// Bytes of records since the last snapshot.
    log_bytes: u64,
    snapshot_bytes: u64,
    running: Option<Running>,
    /// A snapshot is wanted, whatever the log has grown to.
    rewrite: bool,
    /// Whose data is dropped behind this group.
    erased: Vec<Name>,
    vault: Arc<Vault>,
    /// The folder stays locked until the thread has ended.
    _lock: Arc<FolderLock>,
}

struct Staged {
    bucket: Vec<u8>,
    changes: Vec<Change>,
    /// Where the values begin in the record.
    offsets: Vec<usize>,
    bytes: u64,
}

/// A snapshot that is being written.
struct Running {
    sequence: u64,
    cancel: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Keeper {
    pub(super) fn new(
        dir: PathBuf,
        data: Arc<Data>,
        log_bytes: u64,
        snapshot_bytes: u64,
        vault: Arc<Vault>,
        lock: Arc<FolderLock>,
    ) -> Self {
        Self {
            dir,
            data,
            pending: HashMap::new(),
            staged: Vec::new(),
            answers: Vec::new(),
            log_bytes,
            snapshot_bytes,
            running: None,
            rewrite: false,
            erased: Vec::new(),
            vault,
            _lock: lock,
        }
    }

    fn current(&self, bucket: &[u8], key: &str) -> Result<Option<Kept>> {
        // Not found without an allocation by HashMap; increments are rare beside a sync.
        match self.pending.get(&(bucket.to_vec(), key.to_owned())) {
            Some(value) => Ok(value.clone()),
            None => self.data.get(bucket, key).map(|value| value.read()).transpose(),
        }
    }

    /// The sum, and the change that it makes.
    fn increment(&self, seal: &BucketSeal<'_>, bucket: &[u8], key: String, delta: u64) -> Result<(Change, u64)> {
        let value = self.current(bucket, &key)?.map(|kept| seal.open_value(&key, &kept)).transpose()?;
        let sum = add(value.as_deref(), delta)?;
        Ok((seal.change(key, Some(sum.to_string().as_bytes()))?, sum))
    }

    fn begin_snapshot(&mut self, log: &mut Log) -> Result<()> {
        log.rotate().map_err(|e| crate::failure::io_fault("end a segment", &e))?;
        let sequence = log.next();
        let cancel = Arc::new(AtomicBool::new(false));
        let (dir, data, cancelled) = (self.dir.clone(), Arc::clone(&self.data), Arc::clone(&cancel));
        let vault = Arc::clone(&self.vault);
        let thread = std::thread::Builder::new()
            .name("store-snapshot".to_owned())
            .spawn(move || snapshot::write(&dir, &data, &vault, sequence, &cancelled))
            .map_err(|e| crate::failure::io_fault("start a thread", &e))?;
        self.running = Some(Running { sequence, cancel, thread });
        Ok(())
    }
}

impl Machine for Keeper {
    type Job = Job;

    fn stage(&mut self, job: Job, _sequence: u64) -> Option<Vec<u8>> {
        let Job { bucket, ask, answer } = job;
        if let Ask::Rewrite(erased) = ask {
            self.rewrite = true;
            self.erased.extend(erased);
            self.answers.push((answer, Ok(0)));
            return None;
        }
        if tenant(&bucket).is_none_or(|tenant| matches!(self.vault.owner(&tenant), Owner::Erased)) {
            // Asked for before its tenant was erased.
            self.answers.push((answer, Err(Fault::not_found())));
            return None;
        }
        let staged = match ask {
            Ask::Set(changes) => Ok((changes, 0)),
            Ask::Increment(key, delta, data_key) => {
                let seal = BucketSeal::new(&bucket, data_key);
                self.increment(&seal, &bucket, key, delta).map(|(change, sum)| (vec![change], sum))
            }
            // Answered above.
            Ask::Rewrite(_) => Ok((vec![], 0)),
        };
        let (changes, result) = match staged {
            Ok(staged) => staged,
            Err(fault) => {
                self.answers.push((answer, Err(fault)));
                return None;
            }
        };
        self.answers.push((answer, Ok(result)));
        for change in &changes {
            self.pending.insert((bucket.clone(), change.key.clone()), change.value.clone());
        }
        let (bytes, offsets) = record::encode(&bucket, &changes);
        self.staged.push(Staged { bucket, changes, offsets, bytes: bytes.len() as u64 });
        Some(bytes)
    }

    fn commit(&mut self, segment: &Arc<Segment>, offsets: &[u64]) {
        for (staged, offset) in self.staged.drain(..).zip(offsets) {
            self.log_bytes += staged.bytes;
            let changes = staged.changes.iter().zip(&staged.offsets).map(|(Change { key, value, .. }, at)| {
                let value = value.as_ref().map(|v| Value::logged(&v.bytes, v.sealed, segment, offset + *at as u64));
                (key.as_str(), value)
            });
            self.data.apply(&staged.bucket, changes);
        }
        self.pending.clear();
        // Behind what was staged before it; what comes later is refused.
        self.erased.drain(..).for_each(|tenant| self.data.forget(&tenant));
        for (answer, result) in self.answers.drain(..) {
            // The asker may be gone.
            let _ = answer.send(result);
        }
    }

    fn refuse(&mut self, fault: &Fault) {
        self.staged.clear();
        self.pending.clear();
        for (answer, _) in self.answers.drain(..) {
            let _ = answer.send(Err(fault.clone()));
        }
    }

    fn reject(&mut self, job: Job, fault: &Fault) {
        let _ = job.answer.send(Err(fault.clone()));
    }

    /// Begins a snapshot when the log has outgrown what is live, and removes the log that a finished one replaces.
    fn tidy(&mut self, log: &mut Log) {
        if let Some(running) = self.running.take_if(|r| r.thread.is_finished()) {
            let written = running.thread.join().unwrap_or_else(|_| Err(Fault::internal("the snapshot panicked")));
            let removed = written.and_then(|()| {
                log.remove_before(running.sequence).map_err(|e| crate::failure::io_fault("remove old segments", &e))
            });
            if let Err(fault) = removed {
                tracing::error!(cause = fault.cause(), %fault, "no snapshot of the key-value data");
            }
        }
        let due = self.rewrite || self.log_bytes > self.snapshot_bytes.max(2 * self.data.live());
        if self.running.is_none() && due {
            // Also when it fails: the next try is as many bytes away.
            self.log_bytes = 0;
            self.rewrite = false;
            if let Err(fault) = self.begin_snapshot(log) {
                tracing::error!(cause = fault.cause(), %fault, "no snapshot of the key-value data");
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.refuse(&stopped());
        if let Some(running) = self.running.take() {
            running.cancel.store(true, Ordering::Relaxed);
            let _ = running.thread.join();
        }
    }
}

fn add(value: Option<&[u8]>, delta: u64) -> Result<u64> {
    let no_number = || Fault::invalid("the value is not a decimal number that fits 64 bits");
    let number: u64 = match value {
        None => 0,
        Some(text) if !text.is_empty() && text.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(no_number)?
        }
        Some(_) => return Err(no_number()),
    };
    number.checked_add(delta).ok_or_else(|| Fault::invalid("the sum does not fit 64 bits"))
}
