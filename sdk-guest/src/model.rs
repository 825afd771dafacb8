//! A plugin that is called like a model.

use crate::{Fault, Signature, Tensor};

/// A plugin that is called like a model, at `/v2/models/{name}/infer`. Pass the type to
/// [`export_model!`](crate::export_model).
///
/// Every call runs in an instance of its own: what a static holds is gone after it.
///
/// ```
/// use aimass_sdk::{ElementType, Fault, Inputs, Model, Outputs, Signature, Tensor};
///
/// struct Double;
///
/// impl Model for Double {
///     fn signature() -> Signature {
///         Signature::new("Doubles numbers")
///             .input("x", ElementType::Fp32, [-1])
///             .output("y", ElementType::Fp32, [-1])
///     }
///
///     fn infer(inputs: Inputs) -> Result<Outputs, Fault> {
///         let x = inputs.get("x")?;
///         let y: Vec<f32> = x.as_slice::<f32>()?.iter().map(|v| v * 2.0).collect();
///         Ok(Tensor::from_slice("y", x.shape(), &y)?.into())
///     }
/// }
///
/// aimass_sdk::export_model!(Double);
///
/// let x = Tensor::from_slice("x", [2], &[1f32, 2.0])?;
/// let y = Double::infer(Inputs::from(vec![x]))?;
/// assert_eq!(*y.get("y")?.as_slice::<f32>()?, [2.0, 4.0]);
/// # Ok::<(), Fault>(())
/// ```
pub trait Model {
    /// What it takes and gives. Asked for once, at upload.
    ///
    /// ```
    /// # use aimass_sdk::{Fault, Inputs, Model, Outputs, Signature};
    /// # struct M;
    /// # impl Model for M {
    /// fn signature() -> Signature {
    ///     Signature::new("Answers nothing")
    /// }
    /// # fn infer(_: Inputs) -> Result<Outputs, Fault> { Ok(Outputs::new()) }
    /// # }
    /// # assert_eq!(M::signature().description, "Answers nothing");
    /// ```
    fn signature() -> Signature;

    /// Runs it. The inputs have been checked against the signature.
    ///
    /// # Errors
    /// Whatever keeps it from answering; the text reaches the caller.
    ///
    /// ```
    /// # use aimass_sdk::{Fault, Inputs, Model, Outputs, Signature};
    /// # struct M;
    /// # impl Model for M {
    /// # fn signature() -> Signature { Signature::new("") }
    /// fn infer(inputs: Inputs) -> Result<Outputs, Fault> {
    ///     Err(Fault::unavailable("nothing is ready yet"))
    /// }
    /// # }
    /// # assert!(M::infer(Inputs::from(vec![])).is_err());
    /// ```
    fn infer(inputs: Inputs) -> Result<Outputs, Fault>;
}

/// What a call came with.
///
/// ```
/// use aimass_sdk::{Inputs, Tensor};
/// let inputs = Inputs::from(vec![Tensor::from_slice("x", [1], &[7i64])?]);
/// assert_eq!(*inputs.get("x")?.as_slice::<i64>()?, [7]);
/// assert!(inputs.get("y").is_err());
/// # Ok::<(), aimass_sdk::Fault>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs(Vec<Tensor>);

/// What a call answers with.
///
/// ```
/// use aimass_sdk::{Outputs, Tensor};
/// let outputs = Outputs::new()
///     .with(Tensor::from_bytes("label", [1], ["rust"])?)
///     .with(Tensor::from_slice("score", [1], &[0.99f32])?);
/// assert_eq!(outputs.get("label")?.as_strs()?, ["rust"]);
/// # Ok::<(), aimass_sdk::Fault>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs(Vec<Tensor>);

impl Inputs {
    /// The input with this name.
    ///
    /// # Errors
    /// [`Fault::InvalidInput`] if there is none.
    ///
    /// ```
    /// # use aimass_sdk::Inputs;
    /// assert!(Inputs::from(vec![]).get("x").is_err());
    /// ```
    pub fn get(&self, name: &str) -> Result<&Tensor, Fault> {
        find(&self.0, name).ok_or_else(|| missing("input", name))
    }

    /// The input with this name, to keep.
    ///
    /// # Errors
    /// As [`Inputs::get`].
    ///
    /// ```
    /// # use aimass_sdk::{Inputs, Tensor};
    /// let mut inputs = Inputs::from(vec![Tensor::from_slice("x", [1], &[7i64])?]);
    /// assert_eq!(inputs.take("x")?.shape(), [1]);
    /// assert!(inputs.take("x").is_err());
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn take(&mut self, name: &str) -> Result<Tensor, Fault> {
        let at = self.0.iter().position(|t| t.name == name).ok_or_else(|| missing("input", name))?;
        Ok(self.0.swap_remove(at))
    }
}

impl Outputs {
    /// No outputs yet.
    ///
    /// ```
    /// # use aimass_sdk::Outputs;
    /// assert!(Outputs::new().get("y").is_err());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an output.
    ///
    /// ```
    /// # use aimass_sdk::{Outputs, Tensor};
    /// let outputs = Outputs::new().with(Tensor::from_slice("y", [1], &[1u8])?);
    /// assert!(outputs.get("y").is_ok());
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    #[must_use]
    pub fn with(mut self, tensor: Tensor) -> Self {
        self.0.push(tensor);
        self
    }

    /// The output with this name: for tests.
    ///
    /// # Errors
    /// [`Fault::Internal`] if there is none.
    ///
    /// ```
    /// # use aimass_sdk::{Outputs, Tensor};
    /// let outputs = Outputs::from(Tensor::from_slice("y", [1], &[1u8])?);
    /// assert_eq!(outputs.get("y")?.data(), [1]);
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn get(&self, name: &str) -> Result<&Tensor, Fault> {
        find(&self.0, name).ok_or_else(|| Fault::internal(format!("there is no output `{name}`")))
    }
}

impl From<Vec<Tensor>> for Inputs {
    fn from(tensors: Vec<Tensor>) -> Self {
        Self(tensors)
    }
}

impl From<Tensor> for Outputs {
    fn from(tensor: Tensor) -> Self {
        Self(vec![tensor])
    }
}

impl From<Outputs> for Vec<Tensor> {
    fn from(outputs: Outputs) -> Self {
        outputs.0
    }
}

fn find<'a>(tensors: &'a [Tensor], name: &str) -> Option<&'a Tensor> {
    tensors.iter().find(|t| t.name == name)
}

fn missing(what: &str, name: &str) -> Fault {
    Fault::invalid_input(format!("the {what} `{name}` is missing"))
}

/// Makes a [`Model`] the export of this plugin. Once in a crate whose `crate-type` is `cdylib`.
///
/// On the host (in unit tests) it only checks that the type is a model.
///
/// ```
/// # use aimass_sdk::{Fault, Inputs, Model, Outputs, Signature};
/// # struct Nothing;
/// # impl Model for Nothing {
/// #     fn signature() -> Signature { Signature::new("") }
/// #     fn infer(_: Inputs) -> Result<Outputs, Fault> { Ok(Outputs::new()) }
/// # }
/// aimass_sdk::export_model!(Nothing);
/// ```
#[macro_export]
macro_rules! export_model {
    ($model:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Export;
            impl $crate::bindings::exports::aimass::plugin::model::Guest for Export {
                fn signature() -> $crate::bindings::aimass::plugin::types::Signature {
                    <$model as $crate::Model>::signature().into()
                }
                fn infer(
                    inputs: ::std::vec::Vec<$crate::bindings::aimass::plugin::types::Tensor>,
                ) -> ::std::result::Result<
                    ::std::vec::Vec<$crate::bindings::aimass::plugin::types::Tensor>,
                    $crate::bindings::aimass::plugin::types::Fault,
                > {
                    $crate::convert::infer::<$model>(inputs)
                }
            }
    $crate::bindings::export_bindings!(Export with_types_in $crate::bindings);
        };
        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn is_a_model<M: $crate::Model>() {}
            is_a_model::<$model>()
        };
    };
}
