//! What can go wrong, in words that say what to do.

use std::path::{Path, PathBuf};

/// Why a project was not made, not built, or a package not fetched.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// The folder for a new project is there already and not empty.
    #[error("{0} exists and is not empty")]
    NotEmpty(PathBuf),
    /// The name of a new project breaks the rules of names.
    #[error("{0}")]
    Name(String),
    /// The folder holds no project that makes a component.
    #[error("{project}: {why}")]
    Project {
        /// The folder.
        project: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No rung of the ladder holds; names what to install.
    #[error("no Rust toolchain for wasm32-wasip2 was found.\n{0}")]
    NoToolchain(String),
    /// A language's own program is not on the machine, or too old.
    #[error("{what}; {advice}")]
    Missing {
        /// What was found instead.
        what: String,
        /// What to install.
        advice: &'static str,
    },
    /// The compiler's own words.
    #[error("the build failed:\n{0}")]
    Compile(String),
    /// The compiler's output is no component.
    #[error("{0} is not a WebAssembly component: {1}")]
    NotAComponent(PathBuf, &'static str),
    /// A program is missing, failed, or took too long.
    #[error("`{program}` {why}")]
    Program {
        /// What was run.
        program: String,
        /// How it ended, with the last lines that it wrote.
        why: String,
    },
    /// A package could not be fetched.
    #[error("{package}: {why}")]
    Fetch {
        /// The package, with its version.
        package: String,
        /// Why, and what to do about it.
        why: String,
    },
    /// A file or folder.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

/// Names the path that an I/O error is about.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T, ToolchainError>;
}

impl<T, E: Into<std::io::Error>> At<T> for Result<T, E> {
    fn at(self, path: &Path) -> Result<T, ToolchainError> {
        self.map_err(|source| ToolchainError::Io { path: path.to_owned(), source: source.into() })
    }
}
