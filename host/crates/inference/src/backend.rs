//! What an engine is to the rest of this crate: it loads a model or says why not, and runs what it loaded.

use aimass_core::{Code, Fault, Signature, Tensor};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A library that runs models on one kind of device.
pub trait Backend: Send + Sync {
    /// Its name, as people know it.
    fn name(&self) -> &'static str;

    /// Loads a model (an ONNX file). Blocks, for seconds if the model is large.
    ///
    /// # Errors
    /// [`Refused`], with the reason, if the file is not valid or this backend cannot serve it.
    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Loaded>, Refused>;
}

/// A model in a backend, ready to run: one at a time, which `&mut` sees to.
pub trait Loaded: Send {
    /// What the model takes and gives.
    fn signature(&self) -> &Signature;

    /// Bytes of memory that it holds, estimated.
    fn memory(&self) -> u64;

    /// Runs it on inputs in the signature's order, which the caller has checked against the signature. The outputs
    /// come in the signature's order. Blocks.
    ///
    /// # Errors
    /// [`RunError`]; after [`RunError::Lost`] the instance is of no further use.
    fn run(&mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError>;

    /// Another instance over the same weights, for a run at the same time. `None` if the backend has no such thing.
    fn fork(&self) -> Option<Box<dyn Loaded>>;
}

/// What the caller of [`Backend::load`] decides.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadOptions {
    /// The most bytes that one tensor inside the model may have.
    pub max_tensor: u64,
    /// The most plans (one for every combination of concrete input shapes) that are kept.
    pub plans: usize,
    /// The longest that one run may take where the backend can tell (it then answers [`RunError::Lost`]).
    pub run_limit: Duration,
    /// Threads within one run, where the backend has such: with one, as many runs go side by side as there are cores.
    pub threads: usize,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            // Wide enough for every model of the measurements; a shape bomb asks for much more.
            max_tensor: 1 << 30,
            // A plan holds its own packed copy of the weights, so few: a sequence model is used at a handful of lengths.
            plans: 8,
            run_limit: Duration::from_secs(30),
            threads: 1,
        }
    }
}

/// Why a model was not loaded. The text is for the tenant: it names what to change, and nothing internal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Refused {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Why a run gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunError {
    /// The model does not run on these inputs; it would not the next time either.
    #[error("the model does not run on these inputs: {0}")]
    Inputs(String),
    /// The engine failed, and may work the next time.
    #[error("the engine failed: {0}")]
    Failed(String),
    /// The engine is stuck or broken: this instance must not be used again.
    #[error("the engine was lost: {0}")]
    Lost(String),
}

impl From<RunError> for Fault {
    fn from(error: RunError) -> Self {
        match &error {
            RunError::Inputs(_) => Fault::new(Code::InvalidTensor, error.to_string()),
            RunError::Failed(cause) | RunError::Lost(cause) => {
                Fault::new(Code::Unavailable, "the inference engine failed on this request").caused_by(cause)
            }
        }
    }
}

/// One line of an engine's message, short enough to be shown.
pub(crate) fn one_line(message: &str) -> String {
    const LIMIT: usize = 400;
    let mut line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = line.char_indices().nth(LIMIT) {
        line.truncate(cut);
        line.push('…');
    }
    line
}
