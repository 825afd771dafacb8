//! Inference through `wasi:nn`: the platform runs the tenant's models on a CPU or a GPU and lends them to the plugin.
//!
//! ```
//! use aimass_sdk::{nn, testing};
//!
//! // In a test a closure stands for the model; on the platform it is the one uploaded under this name.
//! testing::model("double", |inputs| {
//!     let (_, x) = &inputs[0];
//!     let y: Vec<f32> = x.to_vec::<f32>()?.iter().map(|v| v * 2.0).collect();
//!     Ok(vec![("y".into(), nn::Tensor::from_slice(x.dimensions(), &y)?)])
//! });
//!
//! let graph = nn::Graph::load_by_name("double")?;
//! let outputs = graph.compute([("x", nn::Tensor::from_slice([1, 2], &[1f32, 2.0])?)])?;
//! assert_eq!(outputs.get("y")?.to_vec::<f32>()?, [2.0, 4.0]);
//! # Ok::<(), aimass_sdk::Fault>(())
//! ```

use std::fmt;

use crate::Fault;
use crate::element::cast;

pub use crate::bindings::wasi::nn::errors::ErrorCode;
pub use crate::bindings::wasi::nn::graph::ExecutionTarget;
pub use crate::bindings::wasi::nn::tensor::TensorType;

#[cfg(target_family = "wasm")]
use guest as backend;
#[cfg(not(target_family = "wasm"))]
use host as backend;

/// A model that is ready to run.
///
/// ```
/// use aimass_sdk::nn;
/// let error = nn::Graph::load_by_name("unknown").err().map(|e| e.code);
/// assert_eq!(error, Some(nn::ErrorCode::NotFound));
/// ```
pub struct Graph(backend::Graph);

impl Graph {
    /// The tenant's model of this name: `"name"`, `"name@3"` (a version).
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if the tenant has none; [`ErrorCode::RuntimeError`] if it does not load.
    ///
    /// ```
    /// # use aimass_sdk::{nn, testing};
    /// testing::model("m", |inputs| Ok(inputs));
    /// assert!(nn::Graph::load_by_name("m").is_ok());
    /// ```
    pub fn load_by_name(name: &str) -> Result<Self, Error> {
        backend::Graph::load_by_name(name).map(Self)
    }

    /// A model from its ONNX bytes, which go through the same checks as an upload: prefer
    /// [`load_by_name`](Graph::load_by_name), whose model is checked and loaded once for all calls.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidEncoding`] if it is no model that can be served.
    ///
    /// ```
    /// # use aimass_sdk::nn;
    /// // In a test there is no engine to load it.
    /// assert!(nn::Graph::load(b"...".to_vec(), nn::ExecutionTarget::Cpu).is_err());
    /// ```
    pub fn load(onnx: Vec<u8>, target: ExecutionTarget) -> Result<Self, Error> {
        backend::Graph::load(onnx, target).map(Self)
    }

    /// Runs the model once. An output may be passed on as an input of the next model: its bytes then stay where the
    /// platform holds them.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] if the inputs do not fit the model; [`ErrorCode::Timeout`] past the deadline;
    /// [`ErrorCode::RuntimeError`] if the engine fails.
    ///
    /// ```
    /// # use aimass_sdk::{nn, testing};
    /// testing::model("same", |inputs| Ok(inputs));
    /// let graph = nn::Graph::load_by_name("same")?;
    /// let out = graph.compute([("x", nn::Tensor::from_slice([1], &[1i64])?)])?;
    /// assert_eq!(out.get("x")?.dimensions(), [1]);
    /// # Ok::<(), nn::Error>(())
    /// ```
    pub fn compute<N: Into<String>>(&self, inputs: impl IntoIterator<Item = (N, Tensor)>) -> Result<Outputs, Error> {
        self.0.compute(inputs.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect()).map(Outputs)
    }
}

/// What a model answered, by name.
///
/// ```
/// # use aimass_sdk::{nn, testing};
/// testing::model("same", |inputs| Ok(inputs));
/// let graph = nn::Graph::load_by_name("same")?;
/// let mut out = graph.compute([("x", nn::Tensor::from_slice([1], &[1i64])?)])?;
/// assert!(out.get("nothing").is_err());
/// let x: nn::Tensor = out.take("x")?;
/// # Ok::<(), nn::Error>(())
/// ```
pub struct Outputs(Vec<(String, Tensor)>);

impl Outputs {
    /// The output with this name.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] that names those there are.
    ///
    /// See [`Outputs`] for an example.
    pub fn get(&self, name: &str) -> Result<&Tensor, Error> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, t)| t).ok_or_else(|| self.missing(name))
    }

    /// The output with this name, to keep or to pass on.
    ///
    /// # Errors
    /// As [`Outputs::get`].
    ///
    /// See [`Outputs`] for an example.
    pub fn take(&mut self, name: &str) -> Result<Tensor, Error> {
        match self.0.iter().position(|(n, _)| n == name) {
            Some(at) => Ok(self.0.swap_remove(at).1),
            None => Err(self.missing(name)),
        }
    }

    fn missing(&self, name: &str) -> Error {
        let names: Vec<_> = self.0.iter().map(|(n, _)| n).collect();
        Error::new(ErrorCode::NotFound, format!("there is no output `{name}`; the outputs are {names:?}"))
    }
}

/// A tensor that the platform holds.
///
/// ```
/// use aimass_sdk::nn;
/// let x = nn::Tensor::from_slice([1, 3], &[1i32, 2, 3])?;
/// assert_eq!(x.dimensions(), [1, 3]);
/// assert_eq!(x.to_vec::<i32>()?, [1, 2, 3]);
/// assert!(x.to_vec::<f32>().is_err());
/// # Ok::<(), nn::Error>(())
/// ```
pub struct Tensor(backend::Tensor);

impl Tensor {
    /// A tensor of numbers, row-major.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] if there are more or fewer values than the dimensions say.
    ///
    /// ```
    /// # use aimass_sdk::nn;
    /// assert!(nn::Tensor::from_slice([2, 2], &[0f32; 3]).is_err());
    /// ```
    pub fn from_slice<T: Element>(dimensions: impl Into<Vec<u32>>, values: &[T]) -> Result<Self, Error> {
        let dimensions = dimensions.into();
        let count = dimensions.iter().try_fold(1usize, |n, &d| n.checked_mul(d as usize));
        if count != Some(values.len()) {
            let why = format!("{} values are no tensor of {dimensions:?}", values.len());
            return Err(Error::new(ErrorCode::InvalidArgument, why));
        }
        Ok(Self(backend::Tensor::new(dimensions, <T as Element>::TYPE, bytemuck::cast_slice(values))))
    }

    /// The sizes of its dimensions.
    ///
    /// ```
    /// # use aimass_sdk::nn;
    /// assert_eq!(nn::Tensor::from_slice([2, 1], &[0f32; 2])?.dimensions(), [2, 1]);
    /// # Ok::<(), nn::Error>(())
    /// ```
    pub fn dimensions(&self) -> Vec<u32> {
        self.0.dimensions()
    }

    /// The type of its elements.
    ///
    /// ```
    /// # use aimass_sdk::nn;
    /// assert_eq!(nn::Tensor::from_slice([1], &[0f32])?.element_type(), nn::TensorType::Fp32);
    /// # Ok::<(), nn::Error>(())
    /// ```
    pub fn element_type(&self) -> TensorType {
        self.0.ty()
    }

    /// Its bytes, copied into the plugin: little-endian, row-major.
    ///
    /// ```
    /// # use aimass_sdk::nn;
    /// assert_eq!(nn::Tensor::from_slice([1], &[258i32])?.data(), [2, 1, 0, 0]);
    /// # Ok::<(), nn::Error>(())
    /// ```
    pub fn data(&self) -> Vec<u8> {
        self.0.data()
    }

    /// Its elements, copied into the plugin.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] if it holds another type.
    ///
    /// ```
    /// # use aimass_sdk::nn;
    /// assert_eq!(nn::Tensor::from_slice([2], &[1f32, 2.0])?.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), nn::Error>(())
    /// ```
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, Error> {
        let held = self.element_type();
        let wanted = <T as Element>::TYPE;
        if held != wanted {
            return Err(Error::new(ErrorCode::InvalidArgument, format!("it holds {held:?}, not {wanted:?}")));
        }
        let data = self.data();
        cast(&data)
            .map(std::borrow::Cow::into_owned)
            .ok_or_else(|| Error::new(ErrorCode::RuntimeError, "the platform's bytes do not fit the type".into()))
    }
}

/// A Rust number that `wasi:nn` has a tensor type for.
///
/// ```
/// use aimass_sdk::nn::{Element, TensorType};
/// assert_eq!(<f32 as Element>::TYPE, TensorType::Fp32);
/// ```
pub trait Element: crate::Element {
    /// The type that it stands for.
    const TYPE: TensorType;
}

macro_rules! elements {
    ($($rust:ty = $ty:ident;)*) => {$(
        impl Element for $rust {
            const TYPE: TensorType = TensorType::$ty;
        }
    )*};
}

elements! { u8 = U8; i32 = I32; i64 = I64; f32 = Fp32; f64 = Fp64; }

/// Why the platform did not run a model. Turns into a [`Fault`] with `?`.
///
/// ```
/// use aimass_sdk::{Fault, nn};
/// fn classify() -> Result<(), Fault> {
///     nn::Graph::load_by_name("unknown")?;
///     Ok(())
/// }
/// assert!(classify().unwrap_err().to_string().contains("unknown"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The kind of failure.
    pub code: ErrorCode,
    /// What happened, in words.
    pub message: String,
}

impl Error {
    /// An error of this kind: for models in tests.
    ///
    /// ```
    /// # use aimass_sdk::nn;
    /// let error = nn::Error::new(nn::ErrorCode::TooLarge, "8 GiB".into());
    /// assert_eq!(error.to_string(), "inference failed (ErrorCode::TooLarge): 8 GiB");
    /// ```
    pub fn new(code: ErrorCode, message: String) -> Self {
        Self { code, message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inference failed ({:?}): {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for Fault {
    /// A time-out may go away; whatever else failed is the plugin's, which made the inputs and named the model.
    fn from(error: Error) -> Self {
        match error.code {
            ErrorCode::Timeout => Self::Unavailable(error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

/// On the platform: the host's resources.
#[cfg(target_family = "wasm")]
mod guest {
    use super::{Error, ErrorCode, ExecutionTarget, TensorType};
    use crate::bindings::wasi::nn::{errors, graph, inference, tensor};
    use std::cell::OnceCell;

    pub(super) struct Graph {
        graph: graph::Graph,
        context: OnceCell<inference::GraphExecutionContext>,
    }

    impl Graph {
        pub(super) fn load_by_name(name: &str) -> Result<Self, Error> {
            Ok(graph::load_by_name(name)?.into())
        }

        pub(super) fn load(onnx: Vec<u8>, target: ExecutionTarget) -> Result<Self, Error> {
            Ok(graph::load(&[onnx], graph::GraphEncoding::Onnx, target)?.into())
        }

        pub(super) fn compute(
            &self,
            inputs: Vec<(String, super::Tensor)>,
        ) -> Result<Vec<(String, super::Tensor)>, Error> {
            let context = match self.context.get() {
                Some(context) => context,
                None => {
                    let made = self.graph.init_execution_context()?;
                    self.context.get_or_init(|| made)
                }
            };
            let inputs = inputs.into_iter().map(|(name, t)| (name, t.0.0)).collect();
            let outputs = context.compute(inputs)?;
            Ok(outputs.into_iter().map(|(name, t)| (name, super::Tensor(Tensor(t)))).collect())
        }
    }

    impl From<graph::Graph> for Graph {
        fn from(graph: graph::Graph) -> Self {
            Self { graph, context: OnceCell::new() }
        }
    }

    pub(super) struct Tensor(tensor::Tensor);

    impl Tensor {
        pub(super) fn new(dimensions: Vec<u32>, ty: TensorType, data: &[u8]) -> Self {
            Self(tensor::Tensor::new(&dimensions, ty, data))
        }

        pub(super) fn dimensions(&self) -> Vec<u32> {
            self.0.dimensions()
        }

        pub(super) fn ty(&self) -> TensorType {
            self.0.ty()
        }

        pub(super) fn data(&self) -> Vec<u8> {
            self.0.data()
        }
    }

    impl From<errors::Error> for Error {
        fn from(error: errors::Error) -> Self {
            let code: ErrorCode = error.code();
            Self { code, message: error.data() }
        }
    }
}

/// In unit tests: closures stand for models.
#[cfg(not(target_family = "wasm"))]
mod host {
    use super::{Error, ErrorCode, ExecutionTarget, TensorType};
    use crate::testing;

    pub(super) struct Graph(testing::ModelFn);

    impl Graph {
        pub(super) fn load_by_name(name: &str) -> Result<Self, Error> {
            let missing = || Error::new(ErrorCode::NotFound, format!("no test registered a model `{name}`"));
            testing::model_fn(name).map(Self).ok_or_else(missing)
        }

        pub(super) fn load(_: Vec<u8>, _: ExecutionTarget) -> Result<Self, Error> {
            Err(Error::new(ErrorCode::UnsupportedOperation, "outside the platform no engine loads a model".into()))
        }

        pub(super) fn compute(
            &self,
            inputs: Vec<(String, super::Tensor)>,
        ) -> Result<Vec<(String, super::Tensor)>, Error> {
            (self.0)(inputs)
        }
    }

    pub(super) struct Tensor {
        dimensions: Vec<u32>,
        ty: TensorType,
        data: Vec<u8>,
    }

    impl Tensor {
        pub(super) fn new(dimensions: Vec<u32>, ty: TensorType, data: &[u8]) -> Self {
            Self { dimensions, ty, data: data.to_vec() }
        }

        pub(super) fn dimensions(&self) -> Vec<u32> {
            self.dimensions.clone()
        }

        pub(super) fn ty(&self) -> TensorType {
            self.ty
        }

        pub(super) fn data(&self) -> Vec<u8> {
            self.data.clone()
        }
    }
}
