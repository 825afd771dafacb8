//! Runs tenants' WebAssembly components, each call in an instance of its own.
//!
//! A component is inspected and compiled once, at upload ([`Sandbox::inspect`]), in a process of its own
//! ([`compile_child`]). Its code is kept on disk under a
//! keyed MAC and mapped when it is needed ([`Sandbox::load`]). A call ([`Sandbox::infer`], [`Sandbox::http`]) makes
//! a `Store`, instantiates the linked component out of a pool, calls it within its limits, and drops it: nothing of
//! one call is there for the next.
//!
//! This is the only crate that names wasmtime.

mod bindings;
mod body;
mod cache;
mod compiler;
mod config;
mod demotion;
mod engine;
mod events;
mod fault;
mod host;
mod http;
mod inspect;
mod limits;
mod log;
mod model;
mod plugin;
mod run;
mod sandbox;
mod state;
mod ticker;

pub use body::Body;
pub use compiler::child::compile_child;
pub use compiler::{CompileCommand, CompileLimits};
pub use config::{Call, PoolConfig, SandboxConfig};
pub use plugin::Plugin;
pub use sandbox::Sandbox;
