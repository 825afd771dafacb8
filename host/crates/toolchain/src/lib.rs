//! How a guest is created and built: `aimass new`, `aimass build`, and the toolchain's part of `aimass doctor`.
//!
//! A tenant's machine may have a Rust without the standard library for `wasm32-wasip2`, and no way to fetch it by
//! rustup. [`build`] works there too: see [`Rung`] for what is tried, in that order.
//!
//! Guests in Python and JavaScript carry their interpreter: `componentize-py` and `componentize-js` make them.
//!
//! Everything here blocks, and works alone: the templates and the SDK are compiled in.

mod builder;
mod cache;
mod command;
mod component;
mod debian;
mod error;
pub mod fetch;
mod findings;
mod ladder;
mod language;
pub mod onnxruntime;
mod progress;
mod project;
mod script;
mod sdk;
mod template;
mod wit;

pub use builder::{BuildOptions, Built, build};
pub use cache::Cache;
pub use error::ToolchainError;
pub use findings::{Finding, findings};
pub use ladder::Rung;
pub use language::{Language, is_source};
pub use progress::{Progress, Stage};
pub use template::{Template, first_file, new_project};

/// What guests are compiled for.
pub const TARGET: &str = "wasm32-wasip2";

type Result<T, E = ToolchainError> = std::result::Result<T, E>;
