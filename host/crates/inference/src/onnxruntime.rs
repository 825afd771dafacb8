//! ONNX Runtime: about twice tract's speed, and nearly every operator, where its library is installed.
//!
//! The library is Microsoft's, found at run time; nothing of it is part of this binary. It runs what the crate's own
//! checks let pass: above all, no file that names another file.

mod convert;
mod library;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aimass_core::{Signature, Tensor};
use ort::ep::{CUDA, ExecutionProvider as _};
use ort::session::Session;

use self::library::Library;
pub use self::library::Unusable;
use crate::backend::{Backend, LoadOptions, Loaded, Refused, RunError, one_line};
use crate::isolated::catch;
use crate::onnx::Onnx;
use crate::onnx::check::Known;

/// ONNX Runtime, as a [`Backend`].
///
/// ```
/// use aimass_inference::OnnxRuntime;
/// let missing = OnnxRuntime::open("/no/such/libonnxruntime.so".as_ref()).unwrap_err();
/// assert!(missing.to_string().contains("aimass engines install onnxruntime"));
/// ```
#[derive(Clone, Debug)]
pub struct OnnxRuntime {
    library: Arc<Library>,
    /// The CUDA device that it computes on; the CPU if there is none.
    cuda: Option<i32>,
}

impl OnnxRuntime {
    /// Loads the library: the file itself, or a folder that holds `libonnxruntime.so*`. It computes on the CPU. A
    /// process has one such library: opening it again finds it there.
    ///
    /// # Errors
    /// [`Unusable`], which says what to do: no such file, no library of this kind or for this machine, too old, or
    /// another one is loaded already.
    pub fn open(path: &Path) -> Result<Self, Unusable> {
        Ok(Self { library: Library::open(path)?, cuda: None })
    }

    /// The same library computing on a CUDA device.
    ///
    /// # Errors
    /// [`Unusable`] if the library was built without CUDA.
    pub fn on_cuda(self, device: i32) -> Result<Self, Unusable> {
        if !catch(|| CUDA::is_available().unwrap_or(false)).unwrap_or(false) {
            let path = self.library.path.display();
            return Err(Unusable(format!(
                "{path} has no CUDA: install the one that has, by `aimass engines install onnxruntime --gpu`"
            )));
        }
        Ok(Self { cuda: Some(device), ..self })
    }

    /// Its version, as `1.32.0`.
    pub fn version(&self) -> &str {
        &self.library.version
    }

    /// The file that it was loaded from.
    pub fn path(&self) -> &Path {
        &self.library.path
    }
}

impl Backend for OnnxRuntime {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Loaded>, Refused> {
        let Onnx { mut signature, unranked, weights, proto } = Onnx::read_for(model, options.max_tensor, Known::Onnx)?;
        drop(proto);
        let opener = Opener { runtime: self.clone(), model: model.into(), threads: options.threads.max(1) };
        let session = opener.open().map_err(|e| Refused::new(format!("ONNX Runtime cannot load it: {e}")))?;
        for position in unranked {
            let shape = session.outputs().get(position).and_then(|output| output.dtype().tensor_shape());
            signature.outputs[position].shape = shape.map(|s| s.to_vec()).unwrap_or_default();
        }
        Ok(Box::new(OrtModel(Arc::new(Shared { signature, weights, opener, idle: Mutex::new(vec![session]) }))))
    }
}

/// A model and the sessions that were opened for it.
struct OrtModel(Arc<Shared>);

struct Shared {
    signature: Signature,
    weights: u64,
    opener: Opener,
    /// Sessions that no run uses. A session runs one call at a time; no more are opened than runs were ever under way
    /// at once.
    idle: Mutex<Vec<Session>>,
}

/// Opens sessions: each has its own threads and weights, and gives back all of its memory when it is dropped.
struct Opener {
    runtime: OnnxRuntime,
    model: Arc<[u8]>,
    threads: usize,
}

impl Opener {
    /// # Errors
    /// ONNX Runtime's reason, on one line.
    fn open(&self) -> Result<Session, String> {
        catch(|| self.try_open()).unwrap_or_else(|panic| Err(format!("it panicked: {panic}")))
    }

    fn try_open(&self) -> Result<Session, String> {
        let text = |e: ort::Error| one_line(&e.to_string());
        let mut builder = Session::builder(&self.runtime.library.environment).map_err(text)?;
        builder = builder.with_intra_threads(self.threads).map_err(|e| text(e.into()))?;
        // Threads that spin while they wait would take the cores of other models.
        builder = builder.with_intra_op_spinning(false).map_err(|e| text(e.into()))?;
        // Weights beside the arena: in it they would be rounded up to its next power of two.
        builder = builder.with_device_allocated_initializers().map_err(|e| text(e.into()))?;
        if let Some(device) = self.runtime.cuda {
            let cuda = CUDA::default().with_device_id(device).build().error_on_failure();
            builder = builder.with_execution_providers([cuda]).map_err(|e| text(e.into()))?;
        }
        builder.commit_from_memory(&self.model).map_err(text)
    }
}

impl Loaded for OrtModel {
    fn signature(&self) -> &Signature {
        &self.0.signature
    }

    fn memory(&self) -> u64 {
        let sessions = self.0.sessions().len().max(1) as u64;
        self.0.opener.model.len() as u64 + self.0.weights * sessions
    }

    fn run(&mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        let idle = self.0.sessions().pop();
        let mut session = match idle {
            Some(session) => session,
            None => self.0.opener.open().map_err(RunError::Failed)?,
        };
        // A session that panicked in the middle of a run is dropped, not put back.
        let result = catch(|| run(&mut session, &inputs, &self.0.signature));
        match result {
            Ok(outputs) => {
                self.0.sessions().push(session);
                outputs
            }
            Err(panic) => Err(RunError::Failed(panic)),
        }
    }

    fn fork(&self) -> Option<Box<dyn Loaded>> {
        Some(Box::new(Self(Arc::clone(&self.0))))
    }
}

impl Shared {
    /// The list is consistent after every statement, so a poisoned lock means nothing here.
    fn sessions(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(session: &mut Session, inputs: &[Tensor], signature: &Signature) -> Result<Vec<Tensor>, RunError> {
    let fed = inputs.iter().map(|tensor| Ok((tensor.name(), convert::into_ort(tensor)?)));
    let fed = fed.collect::<Result<Vec<_>, String>>().map_err(RunError::Inputs)?;
    let made = session.run(fed).map_err(|e| RunError::Inputs(one_line(&e.to_string())))?;
    if made.len() != signature.outputs.len() {
        return Err(RunError::Failed(format!("{} outputs, not {}", made.len(), signature.outputs.len())));
    }
    let outputs = made.values().zip(&signature.outputs);
    outputs.map(|(value, port)| convert::from_ort(&value, port)).collect::<Result<_, _>>().map_err(RunError::Failed)
}
