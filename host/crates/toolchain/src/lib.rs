//! How a guest is created and built: `aimass new`, `aimass build`, and the toolchain's part of `aimass doctor`.
//!
//! A tenant's machine may have a Rust without the standard library for `wasm32-wasip2`, and no way to fetch it by
//! rustup. [`build`] works there too: see [`Rung`] for what is tried, in that order.
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
pub mod onnxruntime;
mod progress;
mod project;
mod sdk;
mod template;

pub use builder::{BuildOptions, Built, build};
pub use cache::Cache;
pub use error::ToolchainError;
pub use findings::{Finding, findings};
pub use ladder::Rung;
pub use progress::{Progress, Stage};
pub use template::{Template, new_project};

/// What guests are compiled for.
pub const TARGET: &str = "wasm32-wasip2";

type Result<T, E = ToolchainError> = std::result::Result<T, E>;
