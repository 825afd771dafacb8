//! What is being done, for a person who waits.

use std::fmt;

/// Where a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Finding a toolchain.
    Find,
    /// Fetching it.
    Download,
    /// Unpacking it.
    Unpack,
    /// Building its standard library, once for a machine: about a minute.
    StandardLibrary,
    /// Compiling the project.
    Compile,
}

/// One step; `Display` gives a line.
///
/// ```
/// use aimass_toolchain::{Progress, Stage};
/// let step = Progress::new(Stage::Compile, "serde v1.0.0");
/// assert_eq!(step.to_string(), "compiling: serde v1.0.0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where the build is.
    pub stage: Stage,
    /// What it does there; while compiling, the crate.
    pub message: String,
}

impl Progress {
    /// A step.
    pub fn new(stage: Stage, message: impl Into<String>) -> Self {
        Self { stage, message: message.into() }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Find => "finding a toolchain",
            Stage::Download => "downloading",
            Stage::Unpack => "unpacking",
            Stage::StandardLibrary => "building the standard library, once",
            Stage::Compile => "compiling",
        };
        write!(f, "{stage}: {}", self.message)
    }
}

/// Who is told.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(Progress);
