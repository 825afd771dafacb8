//! What a model or a model plugin takes and gives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Code, ElementType, Fault, Tensor};

/// One input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Port {
    /// Its name, unique among the inputs (or outputs).
    pub name: String,
    /// The type of its elements.
    #[serde(rename = "datatype")]
    pub element_type: ElementType,
    /// Its shape; −1 stands for a dimension that may have any size.
    pub shape: Vec<i64>,
    /// What it means, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl Port {
    /// A port without a description.
    pub fn new(name: impl Into<String>, element_type: ElementType, shape: impl Into<Vec<i64>>) -> Self {
        Self { name: name.into(), element_type, shape: shape.into(), description: String::new() }
    }

    /// Whether `tensor` may go through this port.
    ///
    /// # Errors
    /// [`Code::InvalidTensor`] naming the port, what it takes and what came.
    pub fn accepts(&self, tensor: &Tensor) -> Result<(), Fault> {
        if tensor.element_type() != self.element_type {
            return Err(self.refusal(format!("{}", tensor.element_type())));
        }
        let shape = tensor.shape();
        let fits = shape.len() == self.shape.len()
            && shape.iter().zip(&self.shape).all(|(&have, &want)| want < 0 || i64::try_from(have) == Ok(want));
        if fits { Ok(()) } else { Err(self.refusal(format!("{} {shape:?}", tensor.element_type()))) }
    }

    fn refusal(&self, came: String) -> Fault {
        Fault::new(
            Code::InvalidTensor,
            format!("`{}` takes {} {:?} and got {came}", self.name, self.element_type, self.shape),
        )
    }
}

/// Inputs, outputs, and a description for people.
///
/// ```
/// use aimass_core::{ElementType, Port, Signature, Tensor};
/// let signature = Signature {
///     inputs: vec![Port::new("x", ElementType::Fp32, [-1, 2])],
///     outputs: vec![],
///     description: String::new(),
/// };
/// let x = Tensor::from_elements("x", [3, 2], &[0f32; 6])?;
/// assert!(signature.check_inputs(&[x]).is_ok());
/// assert!(signature.check_inputs(&[]).is_err());
/// # Ok::<(), aimass_core::Fault>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signature {
    /// What goes in.
    pub inputs: Vec<Port>,
    /// What comes out.
    pub outputs: Vec<Port>,
    /// What it does, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl Signature {
    /// Checks that every input is there once, and fits.
    ///
    /// # Errors
    /// [`Code::InvalidTensor`] that names the first input which is missing, unknown, doubled or does not fit.
    pub fn check_inputs(&self, tensors: &[Tensor]) -> Result<(), Fault> {
        let invalid = |detail| Err(Fault::new(Code::InvalidTensor, detail));
        for (i, tensor) in tensors.iter().enumerate() {
            let Some(port) = self.inputs.iter().find(|p| p.name == tensor.name()) else {
                let known: Vec<_> = self.inputs.iter().map(|p| p.name.as_str()).collect();
                return invalid(format!("there is no such input; the inputs are {known:?}"));
            };
            if tensors[..i].iter().any(|t| t.name() == tensor.name()) {
                return invalid(format!("the input `{}` is given twice", port.name));
            }
            port.accepts(tensor)?;
        }
        match self.inputs.iter().find(|p| tensors.iter().all(|t| t.name() != p.name)) {
            Some(port) => invalid(format!("the input `{}` is missing", port.name)),
            None => Ok(()),
        }
    }
}
