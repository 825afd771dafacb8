//! The child: an engine process from its first packet to its end.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aimass_core::{Fault, Result, Tensor, seam::Model as _};
use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::SocketType;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::region::Region;
use super::socket::{self, PACKET};
use super::wire::{self, INLINE, LoadedHead, Outgoing, Packet, Reply, ReplyBody, Request, RequestBody, SlotRef};
use crate::engines::{Device, EngineConfig, Engines};
use crate::isolated::{self, STACK};
use crate::loaded::Loaded;
use crate::pool::lock;

/// Threads of this process beside those that run models: loading, watching, and what the runtime needs.
const OTHER_THREADS: usize = 8;

/// Serves one parent, which is at the other end of standard input, until it is gone. Models of many tenants live here,
/// and nothing else of theirs.
///
/// # Errors
/// `invalid_request` if standard input is no such socket: this is for the server to start, not for people.
pub fn serve() -> Result<()> {
    let socket = std::io::stdin();
    let fits = rustix::net::sockopt::socket_type(&socket).is_ok_and(|kind| kind == SocketType::SEQPACKET);
    if !fits {
        return Err(Fault::invalid("an engine is started by `aimass serve`, which holds the other end of its input"));
    }
    let mut buffer = vec![0; PACKET];
    let (length, file) = socket::receive(&socket, &mut buffer).map_err(Fault::internal)?;
    let Packet { head: Request { id, body }, .. } =
        wire::read::<Request>(&buffer[..length], file).map_err(Fault::internal)?;
    let RequestBody::Start { config, memory } = body else {
        return Err(Fault::internal("the first request to an engine starts it"));
    };
    if let Some(memory) = memory {
        limit_memory(memory, config.threads)?;
    }
    let child = Arc::new(Child::new(config)?);
    answer(socket.as_fd(), id, Ok(ReplyBody::Done))?;

    // A parent that is gone ends this process even when every thread is busy, or stuck.
    isolated::spawn("parent", exit_after_parent).map_err(Fault::internal)?;
    let workers: Vec<_> = (0..child.threads.max(1))
        .map(|number| {
            let child = child.clone();
            isolated::spawn(&format!("engine-{number}"), move || child.work()).map_err(Fault::internal)
        })
        .collect::<Result<_>>()?;
    for worker in workers {
        let _ = worker.join();
    }
    Ok(())
}

/// Allocations beyond it fail, which ends the process: its parent starts another one.
fn limit_memory(bytes: u64, threads: usize) -> Result<()> {
    // The kernel counts what is reserved, and so the whole stacks of threads.
    let stacks = (threads + OTHER_THREADS) as u64 * STACK as u64;
    let limit = Some(bytes.saturating_add(stacks));
    setrlimit(Resource::Data, Rlimit { current: limit, maximum: limit }).map_err(Fault::internal)
}

fn exit_after_parent() {
    let socket = std::io::stdin();
    loop {
        let mut watched = [PollFd::new(&socket, PollFlags::RDHUP)];
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        if poll(&mut watched, None).is_ok() && watched[0].revents().intersects(gone) {
            std::process::exit(0);
        }
    }
}

struct Child {
    engines: Engines,
    threads: usize,
    models: RwLock<HashMap<u64, Arc<Loaded>>>,
    slots: Mutex<HashMap<u32, Arc<Region>>>,
    /// For loading, which waits for threads of its own.
    runtime: tokio::runtime::Runtime,
}

impl Child {
    fn new(config: EngineConfig) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
        Ok(Self {
            threads: config.threads,
            engines: Engines::new(config)?,
            models: RwLock::default(),
            slots: Mutex::default(),
            runtime: runtime.map_err(Fault::internal)?,
        })
    }

    /// Takes packets as they come: any thread may, and the kernel gives each to one of them.
    fn work(self: &Arc<Self>) {
        let socket = std::io::stdin();
        let mut buffer = vec![0; PACKET];
        loop {
            let packet = match socket::receive(&socket, &mut buffer) {
                Ok((0, _)) => return,
                Ok((length, file)) => wire::read(&buffer[..length], file),
                Err(e) => Err(e),
            };
            let handled = packet.map_err(Fault::internal).and_then(|packet| self.handle(socket.as_fd(), packet));
            if let Err(fault) = handled {
                // Parent and child are one program, so this is a mistake of ours; the parent replaces the process.
                tracing::error!(%fault, cause = fault.cause(), "an engine process cannot go on");
                std::process::exit(1);
            }
        }
    }

    fn handle(self: &Arc<Self>, socket: BorrowedFd<'_>, packet: Packet<Request>) -> Result<()> {
        let Packet { head: Request { id, body }, inline, file } = packet;
        match body {
            RequestBody::Start { .. } => Err(Fault::internal("an engine is started once")),
            RequestBody::Devices => answer(socket, id, Ok(ReplyBody::Devices(self.engines.devices()))),
            RequestBody::Load { model, length, device } => {
                let file = file.ok_or_else(|| Fault::internal("a model without its bytes"))?;
                let onnx = Arc::new(Region::open(file).map_err(Fault::internal)?).lend(0, length);
                self.load(id, model, onnx.map_err(Fault::internal)?, device);
                Ok(())
            }
            RequestBody::Unload { model } => {
                let unloaded = self.models.write().unwrap_or_else(PoisonError::into_inner).remove(&model);
                drop(unloaded);
                Ok(())
            }
            RequestBody::Forget { slot } => {
                lock(&self.slots).remove(&slot);
                Ok(())
            }
            RequestBody::Infer { model, millis, slot, tensors } => {
                let slot = slot.map(|slot| self.slot(slot, file)).transpose()?;
                let inputs = wire::tensors(tensors, |at, length| match &slot {
                    Some((_, region)) => region.lend(at, length),
                    None if at + length <= inline.len() => Ok(inline.slice(at..at + length)),
                    None => Err(std::io::ErrorKind::UnexpectedEof.into()),
                });
                let outcome = inputs.and_then(|inputs| self.infer(model, millis, inputs));
                self.answer_infer(socket, id, slot, outcome)
            }
        }
    }

    /// On a thread of its own: a load takes long, and calls go on meanwhile.
    fn load(self: &Arc<Self>, id: u64, model: u64, onnx: Bytes, device: Device) {
        let child = self.clone();
        self.runtime.spawn(async move {
            let loaded = child.engines.load(onnx, device).await.map(|loaded| {
                let head = LoadedHead::new(loaded.signature(), &loaded.placement(), loaded.memory());
                child.models.write().unwrap_or_else(PoisonError::into_inner).insert(model, loaded);
                ReplyBody::Loaded(head)
            });
            // The parent is gone if this fails, and then so is this process.
            let _ = answer(std::io::stdin().as_fd(), id, loaded);
        });
    }

    fn slot(&self, slot: SlotRef, file: Option<std::os::fd::OwnedFd>) -> Result<(u32, Arc<Region>)> {
        let mut slots = lock(&self.slots);
        let region = match (file, slots.get(&slot.number)) {
            (Some(file), _) => Region::open(file).map(Arc::new),
            (None, Some(known)) if known.len() >= slot.length => Ok(known.clone()),
            (None, Some(known)) => known.grown(slot.length).map(Arc::new),
            (None, None) => return Err(Fault::internal("a slot that was never attached")),
        };
        let region = region.map_err(Fault::internal)?;
        slots.insert(slot.number, region.clone());
        Ok((slot.number, region))
    }

    fn infer(&self, model: u64, millis: u64, inputs: Vec<Tensor>) -> Result<(Vec<Tensor>, u64, Duration)> {
        let loaded = self.models.read().unwrap_or_else(PoisonError::into_inner).get(&model).cloned();
        let loaded = loaded.ok_or_else(|| Fault::internal("a model that is not loaded"))?;
        let started = Instant::now();
        let outputs = loaded.run_here(inputs, started + Duration::from_millis(millis))?;
        Ok((outputs, loaded.memory(), started.elapsed()))
    }

    fn answer_infer(
        &self,
        socket: BorrowedFd<'_>,
        id: u64,
        slot: Option<(u32, Arc<Region>)>,
        outcome: Result<(Vec<Tensor>, u64, Duration)>,
    ) -> Result<()> {
        let (outputs, memory, compute) = match outcome {
            Ok(outcome) => outcome,
            Err(fault) => return answer(socket, id, Err(fault)),
        };
        let compute_nanos = u64::try_from(compute.as_nanos()).unwrap_or(u64::MAX);
        let (tensors, length) = wire::heads(&outputs);
        if length <= INLINE {
            let inline = wire::inline(&outputs, &tensors, length);
            let body = ReplyBody::Outputs { tensors, slot: None, memory, compute_nanos };
            return send(socket, &Reply { id, body: Ok(body) }, &inline, None);
        }
        // Outputs that are large although the inputs were small travel in a piece of memory made for them.
        let (number, region, new) = match slot {
            Some((number, region)) if region.len() >= length => (number, region, false),
            Some((number, region)) => (number, Arc::new(region.grown(length).map_err(Fault::internal)?), false),
            None => (u32::MAX, Arc::new(Region::create(length).map_err(Fault::internal)?), true),
        };
        wire::put(&outputs, &tensors, &region).map_err(Fault::internal)?;
        if !new {
            lock(&self.slots).insert(number, region.clone());
        }
        let slot = Some(SlotRef { number, length: region.len() });
        let body = ReplyBody::Outputs { tensors, slot, memory, compute_nanos };
        send(socket, &Reply { id, body: Ok(body) }, &[], new.then(|| region.file()))
    }
}

fn answer(socket: BorrowedFd<'_>, id: u64, outcome: Result<ReplyBody>) -> Result<()> {
    send(socket, &Reply { id, body: outcome.map_err(Into::into) }, &[], None)
}

fn send(socket: BorrowedFd<'_>, reply: &Reply, inline: &[u8], file: Option<BorrowedFd<'_>>) -> Result<()> {
    Outgoing::new(reply, inline)?.send(socket, file).map_err(Fault::internal)
}
