//! A wonnx session on a thread of its own: it blocks without a limit, must never run twice at once, and panics.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use aimass_core::{Port, Signature, Tensor};
use prost::Message;
use wonnx::utils::{InputTensor, OutputTensor};

use super::convert;
use super::lower::Feed;
use super::prepare::Prepared;
use crate::backend::{LoadOptions, Loaded, Refused, RunError, one_line};
use crate::isolated;

/// Opening compiles a shader a node. llvmpipe, the slowest device, does a hundred a second.
const OPEN_LIMIT: Duration = Duration::from_secs(60);

/// The caller's end. Dropping it ends the thread, unless it is stuck in the driver.
pub(super) struct Session {
    signature: Signature,
    memory: u64,
    limit: Duration,
    calls: SyncSender<Call>,
    lost: bool,
}

/// How the signature's inputs and outputs are called on the device.
struct Wires {
    feeds: Vec<Feed>,
    fetches: Vec<String>,
    outputs: Vec<Port>,
}

struct Call {
    inputs: Vec<Tensor>,
    answer: SyncSender<Result<Vec<Tensor>, RunError>>,
}

/// Compiles the model for the device, on the session's thread.
///
/// # Errors
/// wonnx's reason, its panic, or that it did not end.
pub(super) fn open(prepared: Prepared, options: &LoadOptions) -> Result<Session, Refused> {
    let Prepared { proto, signature, weights, values, feeds, fetches, .. } = prepared;
    // Intermediate values are buffers on the device as well; wonnx shares some, so this is an upper bound.
    let inside = values.values().map(|v| v.shape.iter().product::<usize>() as u64 * 4).sum::<u64>();
    let (calls, receiver) = sync_channel::<Call>(1);
    let (opened, answer) = sync_channel(1);
    let wires = Wires { feeds, fetches, outputs: signature.outputs.clone() };
    let work = move || {
        let session = isolated::catch(|| compile(&proto)).unwrap_or_else(|panic| Err(format!("it panicked: {panic}")));
        drop(proto);
        match session {
            Ok(session) if opened.send(Ok(())).is_ok() => serve(session, &wires, &receiver),
            Ok(_) => {}
            Err(reason) => drop(opened.send(Err(reason))),
        }
    };
    let refused = |reason: String| Refused::new(format!("the GPU engine cannot load it: {reason}"));
    isolated::spawn("gpu-session", work).map_err(|e| refused(e.to_string()))?;
    match answer.recv_timeout(OPEN_LIMIT) {
        Ok(Ok(())) => Ok(Session { signature, memory: weights + inside, limit: options.run_limit, calls, lost: false }),
        Ok(Err(reason)) => Err(refused(reason)),
        Err(_) => Err(refused(format!("it did not end within {OPEN_LIMIT:?}"))),
    }
}

fn compile(proto: &tract_onnx::pb::ModelProto) -> Result<wonnx::Session, String> {
    let bytes = proto.encode_to_vec();
    super::blocking()?.block_on(wonnx::Session::from_bytes(&bytes)).map_err(|e| one_line(&e.to_string()))
}

fn serve(session: wonnx::Session, wires: &Wires, calls: &Receiver<Call>) {
    let Ok(executor) = super::blocking() else { return };
    while let Ok(Call { inputs, answer }) = calls.recv() {
        let result = isolated::catch(|| {
            let run = || executor.block_on(run(&session, wires, &inputs));
            run()
        });
        let broken = result.is_err();
        // After a panic in the middle of a run nothing is known of the device's state.
        let result = result.unwrap_or_else(|panic| Err(RunError::Lost(format!("it panicked: {panic}"))));
        let _ = answer.send(result);
        if broken {
            // Its destructors may panic or hang as well.
            std::mem::forget(session);
            return;
        }
    }
    let _ = isolated::catch(move || drop(session));
}

async fn run(session: &wonnx::Session, wires: &Wires, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
    let failed = |e: String| RunError::Failed(one_line(&e));
    let mut feed: HashMap<String, InputTensor<'_>> = HashMap::with_capacity(inputs.len());
    for (tensor, wire) in inputs.iter().zip(&wires.feeds) {
        feed.insert(wire.id.clone(), InputTensor::F32(convert::to_device(tensor, wire).map_err(failed)?.into()));
    }
    let made = session.run(&feed).await.map_err(|e| failed(e.to_string()))?;
    let tensor = |(port, id): (&Port, &String)| match made.get(id) {
        Some(OutputTensor::F32(numbers)) => convert::from_device(port, numbers).map_err(failed),
        _ => Err(failed(format!("it gave no f32 for `{}`", port.name))),
    };
    wires.outputs.iter().zip(&wires.fetches).map(tensor).collect()
}

impl Loaded for Session {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn run(&mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        if self.lost {
            return Err(RunError::Lost("its session is stuck".into()));
        }
        let (answer, answered) = sync_channel(1);
        let sent = self.calls.try_send(Call { inputs, answer });
        let result = match sent {
            Ok(()) => answered.recv_timeout(self.limit).unwrap_or_else(|error| {
                Err(RunError::Lost(match error {
                    RecvTimeoutError::Timeout => format!("it did not answer within {:?}", self.limit),
                    RecvTimeoutError::Disconnected => "its thread ended".into(),
                }))
            }),
            Err(_) => Err(RunError::Lost("its thread ended".into())),
        };
        self.lost = matches!(result, Err(RunError::Lost(_)));
        result
    }

    /// Two runs at once on a session corrupt one another.
    fn fork(&self) -> Option<Box<dyn Loaded>> {
        None
    }
}
