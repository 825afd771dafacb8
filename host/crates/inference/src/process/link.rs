//! The parent's end of one child: requests out, answers back to whoever waits for them, and its end.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aimass_core::{Code, Fault, Result, Tensor};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::oneshot;

use super::blame::ModelKey;
use super::dispatch::Permit;
use super::region::Region;
use super::slots::{Slot, Slots};
use super::socket::{self, PACKET};
use super::wire::{self, INLINE, Outgoing, Packet, Reply, ReplyBody, Request, RequestBody};
use crate::pool::lock;

/// One child that runs, or ran.
pub(super) struct Link {
    /// Of packets in order; tokio's name for sockets whose messages stay whole.
    socket: UnixDatagram,
    child: Mutex<Child>,
    pub(super) pid: u32,
    waiting: Mutex<HashMap<u64, Waiting>>,
    next: AtomicU64,
    slots: Arc<Slots>,
    /// It takes no more requests: it is dead, or about to be replaced.
    closed: AtomicBool,
}

/// A request that the child has.
struct Waiting {
    answer: oneshot::Sender<Answered>,
    /// When the child counts as hanging.
    late: Instant,
    /// The model that it runs or reads: whom to blame if the child dies of it.
    model: Option<ModelKey>,
    slot: Option<Slot>,
    /// Held until the child is done with it, however long its caller waits.
    permit: Option<Permit>,
}

/// What goes with a request while it is under way.
struct Pending {
    model: Option<ModelKey>,
    limit: Duration,
    slot: Option<Slot>,
    permit: Option<Permit>,
}

struct Answered {
    packet: Packet<Reply>,
    slot: Option<Slot>,
}

/// Outputs, and what the child said about the run.
pub(super) struct Outputs {
    pub(super) tensors: Vec<Tensor>,
    pub(super) memory: u64,
    /// Time until its turn came.
    pub(super) queue: Duration,
    /// Time that the engine took, for all that ran together.
    pub(super) compute: Duration,
    /// Requests that ran together.
    pub(super) batch: u32,
}

impl Link {
    /// Starts a child. Blocks for as long as that takes.
    pub(super) fn spawn(mut command: Command) -> io::Result<(Arc<Self>, impl Future<Output = ()> + use<>)> {
        let (ours, theirs) = socket::pair()?;
        rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::NONBLOCK)?;
        let child = command.stdin(theirs).stdout(Stdio::null()).spawn()?;
        let link = Arc::new(Self {
            socket: UnixDatagram::from_std(ours.into())?,
            pid: child.id(),
            child: Mutex::new(child),
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            slots: Arc::default(),
            closed: AtomicBool::new(false),
        });
        let reading = link.clone().read();
        Ok((link, reading))
    }

    /// Sends a request about `model` and waits for its answer. A child that has not answered within `limit` hangs.
    ///
    /// # Errors
    /// What the child answers; `unavailable` if it dies first.
    pub(super) async fn ask(
        &self,
        body: RequestBody,
        file: Option<BorrowedFd<'_>>,
        model: Option<ModelKey>,
        limit: Duration,
    ) -> Result<ReplyBody> {
        let waiting = Pending { model, limit, slot: None, permit: None };
        let answered = self.exchange(body, &[], file, waiting).await?;
        answered.packet.head.body.map_err(Into::into)
    }

    /// Runs a model.
    ///
    /// # Errors
    /// What the child answers; `unavailable` if it dies first.
    pub(super) async fn infer(
        &self,
        (model, key): (u64, &ModelKey),
        inputs: Vec<Tensor>,
        millis: u64,
        permit: Option<Permit>,
        limit: Duration,
    ) -> Result<Outputs> {
        let (tensors, length) = wire::heads(&inputs);
        let (mut slot, mut inline) = (None, vec![]);
        if length <= INLINE {
            inline = wire::inline(&inputs, &tensors, length);
        } else {
            let taken = self.slots.take(length).map_err(Fault::internal)?;
            wire::put(&inputs, &tensors, taken.region().map_err(Fault::internal)?).map_err(Fault::internal)?;
            slot = Some(taken);
        }
        drop(inputs);
        let body = RequestBody::Infer { model, millis, slot: slot.as_ref().map(Slot::reference), tensors };
        let waiting = Pending { model: Some(key.clone()), limit, slot, permit };
        let Answered { packet, mut slot } = self.exchange(body, &inline, None, waiting).await?;
        let Packet { head, inline, file } = packet;
        let (tensors, place, memory, compute_nanos) = match head.body.map_err(Fault::from)? {
            ReplyBody::Outputs { tensors, slot, memory, compute_nanos } => (tensors, slot, memory, compute_nanos),
            _ => return Err(Fault::internal("an engine's answer is of another kind")),
        };
        let (own, region);
        let source = match (place, file) {
            (None, _) => None,
            (Some(_), Some(file)) => {
                own = Region::open(file).map_err(Fault::internal)?;
                Some(&own)
            }
            (Some(place), None) => {
                let slot = slot.as_mut().ok_or_else(|| Fault::internal("an answer in no slot"))?;
                slot.follow(place.length).map_err(Fault::internal)?;
                region = slot.region().map_err(Fault::internal)?;
                Some(region)
            }
        };
        let tensors = wire::tensors(tensors, |at, length| match source {
            Some(region) => region.copy(at, length),
            None if at.checked_add(length).is_some_and(|end| end <= inline.len()) => Ok(inline.slice(at..at + length)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        })?;
        let compute = Duration::from_nanos(compute_nanos);
        Ok(Outputs { tensors, memory, queue: Duration::ZERO, compute, batch: 1 })
    }

    /// Sends what needs no answer. A child that is gone needs it no longer.
    pub(super) fn tell(self: &Arc<Self>, body: RequestBody) {
        let Ok(outgoing) = Outgoing::new(&Request { id: self.id(), body }, &[]) else { return };
        if self.closed() || outgoing.send(self.socket.as_fd(), None).is_ok() {
            return;
        }
        // The socket's buffer is full: somebody has to wait.
        let link = self.clone();
        tokio::spawn(async move { link.send(&outgoing, None).await });
    }

    /// It takes no more requests; those that it has may end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends the child at once.
    pub(super) fn kill(&self) {
        self.close();
        // It may have ended by itself; either way its end is collected here, so that no zombie stays.
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }

    /// The models of requests that have taken longer than they may.
    pub(super) fn late(&self, now: Instant) -> Vec<ModelKey> {
        let waiting = lock(&self.waiting);
        waiting.values().filter(|w| w.late <= now).filter_map(|w| w.model.clone()).collect()
    }

    /// Nobody is blamed for the end that is coming: it was seen before whose fault it is.
    pub(super) fn forgive(&self) {
        lock(&self.waiting).values_mut().for_each(|waiting| waiting.model = None);
    }

    /// How many requests it has.
    pub(super) fn busy(&self) -> usize {
        lock(&self.waiting).len()
    }

    fn id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    async fn exchange(
        &self,
        body: RequestBody,
        inline: &[u8],
        file: Option<BorrowedFd<'_>>,
        Pending { model, limit, slot, permit }: Pending,
    ) -> Result<Answered> {
        if self.closed() {
            return Err(died());
        }
        for slot in self.slots.forgotten() {
            self.send(&Outgoing::new(&Request { id: self.id(), body: RequestBody::Forget { slot } }, &[])?, None)
                .await?;
        }
        let id = self.id();
        let outgoing = Outgoing::new(&Request { id, body }, inline)?;
        // A new slot's memory goes along with its first request.
        let attached = match &slot {
            Some(slot) if slot.new => {
                Some(slot.region().map_err(Fault::internal)?.file().try_clone_to_owned().map_err(Fault::internal)?)
            }
            _ => None,
        };
        let file = attached.as_ref().map(AsFd::as_fd).or(file);
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).insert(id, Waiting { answer, late: Instant::now() + limit, model, slot, permit });
        if let Err(fault) = self.send(&outgoing, file).await {
            lock(&self.waiting).remove(&id);
            return Err(fault);
        }
        if let Some(slot) = lock(&self.waiting).get_mut(&id).and_then(|waiting| waiting.slot.as_mut()) {
            slot.new = false;
        }
        // Whoever reads closes first and then drops those that wait, so one that came between is dropped here.
        if self.closed() && self.gone() {
            lock(&self.waiting).remove(&id);
        }
        answered.await.map_err(|_| died())
    }

    async fn send(&self, outgoing: &Outgoing, file: Option<BorrowedFd<'_>>) -> Result<()> {
        let sent = self.socket.async_io(Interest::WRITABLE, || outgoing.send(self.socket.as_fd(), file)).await;
        sent.map_err(|e| died().caused_by(e))
    }

    fn gone(&self) -> bool {
        let mut child = lock(&self.child);
        !matches!(child.try_wait(), Ok(None))
    }

    /// Hands out answers until the child is gone.
    async fn read(self: Arc<Self>) {
        let mut buffer = vec![0; PACKET];
        loop {
            let got =
                self.socket.async_io(Interest::READABLE, || socket::receive(&self.socket, &mut buffer)).await.and_then(
                    |(length, file)| match length {
                        0 => Ok(None),
                        length => wire::read::<Reply>(&buffer[..length], file).map(Some),
                    },
                );
            let packet = match got {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, pid = self.pid, "an engine process answers what cannot be read");
                    break;
                }
            };
            let waiting = lock(&self.waiting).remove(&packet.head.id);
            if let Some(Waiting { answer, mut slot, permit, .. }) = waiting {
                if let Some(slot) = &mut slot {
                    slot.new = false;
                }
                if let Some(permit) = permit {
                    permit.ran();
                }
                // Its caller may have left; then the slot goes back with the answer.
                let _ = answer.send(Answered { packet, slot });
            }
        }
        self.kill();
    }

    /// Tells those whose answer will never come, once `first` has been told the models that they were about.
    pub(super) fn abandon(&self, first: impl FnOnce(&[ModelKey])) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        let models: Vec<ModelKey> = waiting.values().filter_map(|waiting| waiting.model.clone()).collect();
        first(&models);
        drop(waiting);
    }
}

/// What callers are told whose engine died.
pub(super) fn died() -> Fault {
    let fault = Fault::new(Code::Unavailable, "the inference engine ended while it had this request; try again");
    fault.retry_after(Duration::from_secs(1))
}
