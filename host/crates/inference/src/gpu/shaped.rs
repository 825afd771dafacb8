//! A model on the GPU at whatever shapes it is asked for: wonnx fixes them, so every combination is lowered, opened
//! and compared with the CPU on its own, and a few are kept.

use aimass_core::{Signature, Tensor};

use super::canary;
use super::lower::{self, Feed};
use super::prepare::Prepared;
use super::session::{self, Session};
use super::whitelist;
use crate::backend::{LoadOptions, Loaded, Refused, RunError};
use crate::cpu::TractModel;
use crate::isolated;
use crate::onnx::Onnx;

/// What to try for dimensions that the file leaves open: the first one (nearly always the batch) as 1, the others as
/// each of these. Lengths of text, sizes of images, windows of sound; 1 last, which hides much.
const SIZES: [u64; 6] = [16, 224, 640, 64, 128, 1];

/// Sessions at once. Each holds the weights, and a device of its own: every way into wonnx 0.5.1 that makes a session
/// asks the driver for a device itself, and what takes one that is there (`GpuModel::from`) is private to it.
const SESSIONS: usize = 4;

/// Refusals that are remembered: one costs a lowering to find.
const REFUSALS: usize = 64;

pub(super) struct Shaped {
    onnx: Onnx,
    options: LoadOptions,
    /// Compares what is opened later; nothing does if there is none.
    cpu: Option<TractModel>,
    first: First,
    /// The latest used last.
    sessions: Vec<(Vec<u64>, Session)>,
    refused: Vec<(Vec<u64>, String)>,
}

/// What the model was first opened for.
#[derive(Clone)]
pub(super) struct First {
    pub(super) signature: Signature,
    pub(super) feeds: Vec<Feed>,
    /// Of the outputs, for the canary.
    pub(super) scales: Vec<f64>,
}

impl First {
    pub(super) fn of(prepared: &Prepared) -> Self {
        let Prepared { signature, feeds, scales, .. } = prepared;
        Self { signature: signature.clone(), feeds: feeds.clone(), scales: scales.clone() }
    }
}

impl Shaped {
    /// Opens the model at its own shapes, or the first that work.
    ///
    /// # Errors
    /// Why it cannot be served at the first shapes that were tried.
    pub(super) fn load(onnx: Onnx, options: &LoadOptions, cpu: Option<TractModel>) -> Result<Self, Refused> {
        let inputs = &onnx.signature.inputs;
        let open = inputs.iter().any(|p| p.shape.iter().any(|&d| d < 0));
        let mut first_reason = None;
        for &size in if open { &SIZES[..] } else { &SIZES[..1] } {
            let pick = |(axis, &dim): (usize, &i64)| u64::try_from(dim).unwrap_or(if axis == 0 { 1 } else { size });
            let shapes: Vec<Vec<u64>> = inputs.iter().map(|p| p.shape.iter().enumerate().map(pick).collect()).collect();
            match open_at(&onnx, &shapes, options) {
                Ok((session, first)) => {
                    let sessions = vec![(shapes.concat(), session)];
                    return Ok(Self { onnx, options: options.clone(), cpu, first, sessions, refused: vec![] });
                }
                Err(reason) => first_reason.get_or_insert(reason),
            };
        }
        Err(first_reason.unwrap_or_else(|| Refused::new("it has no shapes")))
    }

    pub(super) fn first(&self) -> &First {
        &self.first
    }

    fn at(&mut self, inputs: &[Tensor]) -> Result<&mut Session, RunError> {
        let key: Vec<u64> = inputs.iter().flat_map(|t| t.shape().iter().copied()).collect();
        if let Some(found) = self.sessions.iter().position(|(k, _)| *k == key) {
            let session = self.sessions.remove(found);
            self.sessions.push(session);
        } else {
            if let Some((_, reason)) = self.refused.iter().find(|(k, _)| *k == key) {
                return Err(RunError::Failed(reason.clone()));
            }
            let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.shape().to_vec()).collect();
            match self.open(&shapes) {
                Ok(session) => {
                    if self.sessions.len() >= SESSIONS.min(self.options.plans.max(1)) {
                        self.sessions.remove(0);
                    }
                    self.sessions.push((key, session));
                }
                Err(Refused(reason)) => {
                    if self.refused.len() >= REFUSALS {
                        self.refused.remove(0);
                    }
                    self.refused.push((key, reason.clone()));
                    return Err(RunError::Failed(reason));
                }
            }
        }
        let last = self.sessions.last_mut().map(|(_, session)| session);
        last.ok_or_else(|| RunError::Failed("no session".into()))
    }

    fn open(&mut self, shapes: &[Vec<u64>]) -> Result<Session, Refused> {
        let (mut session, first) = open_at(&self.onnx, shapes, &self.options)?;
        if let Some(cpu) = &mut self.cpu {
            let error = canary::error(&mut session, cpu, &first).map_err(|e| Refused::new(e.to_string()))?;
            if error > canary::TOLERANCE {
                return Err(Refused::new(canary::differs(error)));
            }
        }
        Ok(session)
    }
}

fn open_at(onnx: &Onnx, shapes: &[Vec<u64>], options: &LoadOptions) -> Result<(Session, First), Refused> {
    let prepared = isolated::catch(|| lower::lower(onnx, shapes, options.max_tensor))
        .map_err(|panic| Refused::new(format!("it cannot be lowered for the GPU engine: {panic}")))??;
    whitelist::check(&prepared)?;
    let first = First::of(&prepared);
    Ok((session::open(prepared, options)?, first))
}

impl Loaded for Shaped {
    /// With the dimensions that the file leaves open.
    fn signature(&self) -> &Signature {
        &self.onnx.signature
    }

    fn memory(&self) -> u64 {
        self.onnx.weights + self.sessions.iter().map(|(_, session)| session.memory()).sum::<u64>()
    }

    fn run(&mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        self.at(&inputs)?.run(inputs)
    }

    /// Two runs at once on a session corrupt one another.
    fn fork(&self) -> Option<Box<dyn Loaded>> {
        None
    }
}
