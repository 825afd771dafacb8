//! Why a plugin did not answer.

use std::fmt;

/// What [`Model::infer`](crate::Model::infer) returns instead of outputs. The text reaches the caller.
///
/// ```
/// use aimass_sdk::Fault;
/// let fault = Fault::invalid_input("`image` is empty");
/// assert_eq!(fault.to_string(), "invalid input: `image` is empty");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller's: sending the same again changes nothing.
    InvalidInput(String),
    /// Something that the plugin needs is not there now: the caller may try again.
    Unavailable(String),
    /// The plugin's own.
    Internal(String),
}

impl Fault {
    /// The caller's fault.
    ///
    /// ```
    /// # use aimass_sdk::Fault;
    /// assert!(matches!(Fault::invalid_input("why"), Fault::InvalidInput(_)));
    /// ```
    pub fn invalid_input(why: impl Into<String>) -> Self {
        Self::InvalidInput(why.into())
    }

    /// Nobody's fault that lasts.
    ///
    /// ```
    /// # use aimass_sdk::Fault;
    /// assert!(matches!(Fault::unavailable("why"), Fault::Unavailable(_)));
    /// ```
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable(why.into())
    }

    /// The plugin's own fault.
    ///
    /// ```
    /// # use aimass_sdk::Fault;
    /// assert!(matches!(Fault::internal("why"), Fault::Internal(_)));
    /// ```
    pub fn internal(why: impl Into<String>) -> Self {
        Self::Internal(why.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidInput(why) => write!(f, "invalid input: {why}"),
            Self::Unavailable(why) => write!(f, "unavailable: {why}"),
            Self::Internal(why) => write!(f, "internal: {why}"),
        }
    }
}

impl std::error::Error for Fault {}
