//! The one thread that writes a log.
//!
//! It takes what waits as one group: decides every job in turn, appends their records as one frame, syncs once, and
//! only then applies and answers. Under load a group is as large as what arrived during the sync before it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use aimass_core::{Fault, Result};
use tokio::sync::{mpsc, oneshot};

use super::{Log, Segment};
use crate::failure::{io_fault, stopped};
use crate::options::Options;

/// Jobs that may wait; then those who bring more wait themselves.
const QUEUE: usize = 4096;
/// A group is ended behind this many bytes, so that nobody waits long for others.
const GROUP_BYTES: usize = 4 << 20;
/// The same, in jobs: those that write nothing would never end it.
const GROUP_JOBS: usize = 1024;

/// What a log is written for.
pub(crate) trait Machine: Send + 'static {
    /// What is asked of it.
    type Job: Send + 'static;

    /// Whether jobs can be taken; the fault is every job's answer otherwise.
    fn ready(&mut self) -> Result<()> {
        Ok(())
    }

    /// Decides a job against what is applied and what is staged. Its record, if it changes anything, will have
    /// number `sequence`.
    fn stage(&mut self, job: Self::Job, sequence: u64) -> Option<Vec<u8>>;

    /// The staged records are durable, at these offsets of `segment`: apply them and answer.
    fn commit(&mut self, segment: &Arc<Segment>, offsets: &[u64]);

    /// The staged records were not written: forget them and answer with the fault.
    fn refuse(&mut self, fault: &Fault);

    /// Answers a job that was not staged.
    fn reject(&mut self, job: Self::Job, fault: &Fault);

    /// After a group: a chance to tidy the log.
    fn tidy(&mut self, _log: &mut Log) {}
}

enum Message<J> {
    Job(J),
    /// Nothing to do but to look whether jobs can be taken again.
    Nudge,
    Close(oneshot::Sender<()>),
}

/// Why not all is well.
#[derive(Default)]
struct Health {
    /// What the last group failed with.
    write: Option<Fault>,
    /// Why jobs cannot be taken.
    ready: Option<Fault>,
}

/// The way to the thread.
pub(crate) struct Committer<J> {
    sender: Mutex<Option<mpsc::Sender<Message<J>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    health: Arc<Mutex<Health>>,
    dead: Arc<AtomicBool>,
}

impl<J: Send + 'static> Committer<J> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start<M: Machine<Job = J>>(name: &str, log: Log, machine: M, options: &Options) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let health = Arc::new(Mutex::new(Health::default()));
        let dead = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            log,
            machine,
            receiver,
            options: options.clone(),
            health: Arc::clone(&health),
            _dead: SetOnDrop(Arc::clone(&dead)),
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || worker.run())
            .map_err(|e| io_fault("start a thread", &e))?;
        Ok(Self { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), health, dead })
    }

    /// Brings a job. That it is done is told through the job itself.
    ///
    /// # Errors
    /// `unavailable`: the thread is gone.
    pub(crate) async fn send(&self, job: J) -> Result<()> {
        self.sender().ok_or_else(stopped)?.send(Message::Job(job)).await.map_err(|_| stopped())
    }

    /// The last group was written, jobs can be taken, and the thread lives. Where they cannot, it is tried again
    /// soon, so that this heals without a job. A failed write is handed to `judge`, which may find that all is well by
    /// now.
    ///
    /// # Errors
    /// What the last group failed with, or why jobs are not taken.
    pub(crate) fn healthy(&self, judge: &dyn Fn(Fault) -> Result<()>) -> Result<()> {
        if self.dead.load(Ordering::Acquire) {
            return Err(stopped());
        }
        let (write, ready) = {
            let health = lock(&self.health);
            (health.write.clone(), health.ready.clone())
        };
        if let (Some(_), Some(sender)) = (&ready, self.sender()) {
            let _ = sender.try_send(Message::Nudge);
        }
        ready.map_or(Ok(()), Err)?;
        write.map_or(Ok(()), judge)
    }

    /// Ends the thread when what was sent before is done.
    pub(crate) async fn close(&self) {
        if let Some(sender) = self.sender() {
            let (done, wait) = oneshot::channel();
            if sender.send(Message::Close(done)).await.is_ok() {
                let _ = wait.await;
            }
        }
    }

    fn sender(&self) -> Option<mpsc::Sender<Message<J>>> {
        lock(&self.sender).clone()
    }
}

impl<J> Drop for Committer<J> {
    /// Waits for the thread, so that whoever opens the folder next finds it at rest.
    fn drop(&mut self) {
        drop(lock(&self.sender).take());
        if let Some(thread) = lock(&self.thread).take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

struct Worker<M: Machine> {
    log: Log,
    machine: M,
    receiver: mpsc::Receiver<Message<M::Job>>,
    options: Options,
    health: Arc<Mutex<Health>>,
    _dead: SetOnDrop,
}

impl<M: Machine> Worker<M> {
    fn run(mut self) {
        let mut close = None;
        while close.is_none()
            && let Some(message) = self.receiver.blocking_recv()
        {
            let mut group = Vec::new();
            let (mut bytes, mut jobs) = (0, 0);
            let ready = self.machine.ready();
            lock(&self.health).ready = ready.clone().err();
            let mut next = Some(message);
            while let Some(message) = next {
                match (message, &ready) {
                    (Message::Close(done), _) => {
                        close = Some(done);
                        break;
                    }
                    (Message::Nudge, _) => {}
                    (Message::Job(job), Err(fault)) => self.machine.reject(job, fault),
                    (Message::Job(job), Ok(())) => {
                        let sequence = self.log.next() + group.len() as u64;
                        if let Some(record) = self.machine.stage(job, sequence) {
                            bytes += record.len();
                            group.push(record);
                        }
                    }
                }
                jobs += 1;
                next = if bytes < GROUP_BYTES && jobs < GROUP_JOBS { self.receiver.try_recv().ok() } else { None };
            }
            if !self.write(&group) {
                break;
            }
            self.machine.tidy(&mut self.log);
        }
        let closes = self.end(close);
        // Whoever closed may open the folder again at once.
        drop(self);
        for done in closes {
            let _ = done.send(());
        }
    }

    /// Writes the staged group; false if nothing can be written any more.
    fn write(&mut self, group: &[Vec<u8>]) -> bool {
        if group.is_empty() {
            self.machine.commit(&Arc::clone(self.log.segment()), &[]);
            return true;
        }
        let offsets = match self.log.append(group) {
            Ok(offsets) => offsets,
            Err(error) => {
                let fault = io_fault("append to a log", &error);
                tracing::error!(%error, records = group.len(), "a log could not be written");
                lock(&self.health).write = Some(fault.clone());
                self.machine.refuse(&fault);
                return true;
            }
        };
        if let Err(error) = self.log.sync() {
            // The kernel may have dropped the pages and will not say so twice: going on would acknowledge
            // what is not there.
            tracing::error!(%error, file = %self.log.segment().path.display(), "fsync failed");
            (self.options.fatal)("fsync failed");
            let fault = Fault::internal(format!("fsync failed: {error}"));
            lock(&self.health).write = Some(fault.clone());
            self.machine.refuse(&fault);
            return false;
        }
        lock(&self.health).write = None;
        self.machine.commit(&Arc::clone(self.log.segment()), &offsets);
        lock(&self.health).ready = self.machine.ready().err();
        true
    }

    /// Refuses what still comes. Returns who wants to know of the end.
    fn end(&mut self, close: Option<oneshot::Sender<()>>) -> Vec<oneshot::Sender<()>> {
        self.receiver.close();
        let mut closes: Vec<_> = close.into_iter().collect();
        while let Ok(message) = self.receiver.try_recv() {
            match message {
                Message::Job(job) => self.machine.reject(job, &stopped()),
                Message::Nudge => {}
                Message::Close(done) => closes.push(done),
            }
        }
        closes
    }
}

/// Says that the thread is gone, also when it panics.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A panic while such a lock was held left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
