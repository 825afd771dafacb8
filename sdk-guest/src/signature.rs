//! What a plugin takes and gives.

use crate::ElementType;

/// One input or output.
///
/// ```
/// use aimass_sdk::{ElementType, Port};
/// let port = Port::new("x", ElementType::Fp32, [-1, 3]);
/// assert_eq!(port.shape, [-1, 3]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name, unique among the inputs (or outputs).
    pub name: String,
    /// The type of its elements.
    pub element_type: ElementType,
    /// The sizes of its dimensions; −1 for one that may have any size.
    pub shape: Vec<i64>,
    /// What it means, for people.
    pub description: String,
}

impl Port {
    /// A port without a description.
    ///
    /// ```
    /// # use aimass_sdk::{ElementType, Port};
    /// assert_eq!(Port::new("x", ElementType::Bytes, [-1]).description, "");
    /// ```
    pub fn new(name: impl Into<String>, element_type: ElementType, shape: impl Into<Vec<i64>>) -> Self {
        Self { name: name.into(), element_type, shape: shape.into(), description: String::new() }
    }

    /// The same port with a description.
    ///
    /// ```
    /// # use aimass_sdk::{ElementType, Port};
    /// let port = Port::new("x", ElementType::Bytes, [-1]).described("files");
    /// assert_eq!(port.description, "files");
    /// ```
    #[must_use]
    pub fn described(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }
}

/// Inputs, outputs, and a description for people. The platform checks every call against it.
///
/// ```
/// use aimass_sdk::{ElementType, Signature};
/// let signature = Signature::new("Doubles numbers")
///     .input("x", ElementType::Fp32, [-1])
///     .output("y", ElementType::Fp32, [-1]);
/// assert_eq!(signature.inputs[0].name, "x");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// What goes in.
    pub inputs: Vec<Port>,
    /// What comes out.
    pub outputs: Vec<Port>,
    /// What it does, for people.
    pub description: String,
}

impl Signature {
    /// A signature without ports.
    ///
    /// ```
    /// # use aimass_sdk::Signature;
    /// assert!(Signature::new("Does nothing").inputs.is_empty());
    /// ```
    pub fn new(description: impl Into<String>) -> Self {
        Self { description: description.into(), ..Self::default() }
    }

    /// Adds an input; −1 in its shape is a dimension of any size.
    ///
    /// ```
    /// # use aimass_sdk::{ElementType, Signature};
    /// let s = Signature::new("").input("image", ElementType::Uint8, [-1, 224, 224, 3]);
    /// assert_eq!(s.inputs.len(), 1);
    /// ```
    #[must_use]
    pub fn input(self, name: impl Into<String>, element_type: ElementType, shape: impl Into<Vec<i64>>) -> Self {
        self.input_port(Port::new(name, element_type, shape))
    }

    /// Adds an output.
    ///
    /// ```
    /// # use aimass_sdk::{ElementType, Signature};
    /// assert_eq!(Signature::new("").output("label", ElementType::Bytes, [-1]).outputs.len(), 1);
    /// ```
    #[must_use]
    pub fn output(self, name: impl Into<String>, element_type: ElementType, shape: impl Into<Vec<i64>>) -> Self {
        self.output_port(Port::new(name, element_type, shape))
    }

    /// Adds an input that has a description.
    ///
    /// ```
    /// # use aimass_sdk::{ElementType, Port, Signature};
    /// let s = Signature::new("").input_port(Port::new("x", ElementType::Bytes, [-1]).described("files"));
    /// assert_eq!(s.inputs[0].description, "files");
    /// ```
    #[must_use]
    pub fn input_port(mut self, port: Port) -> Self {
        self.inputs.push(port);
        self
    }

    /// Adds an output that has a description.
    ///
    /// ```
    /// # use aimass_sdk::{ElementType, Port, Signature};
    /// let s = Signature::new("").output_port(Port::new("y", ElementType::Fp32, [-1]).described("scores"));
    /// assert_eq!(s.outputs[0].description, "scores");
    /// ```
    #[must_use]
    pub fn output_port(mut self, port: Port) -> Self {
        self.outputs.push(port);
        self
    }
}
