//! Engines as processes: a model is a tenant's input, and the libraries that run models panic, hang, leak and
//! overflow stacks. Here they do that in a child of the server, which is started, watched and replaced.
//!
//! - [`serve`] is the child: it holds [`Engines`](crate::Engines), and answers until its parent is gone.
//! - [`EngineProcesses`] is the parent's side: it starts children, decides which of them holds a model, and says what
//!   became of calls whose child died.
//!
//! Between them lies a socket of packets (`socket`, `wire`) and, for tensors that are large, shared memory (`region`).

mod blame;
mod child;
mod company;
mod dispatch;
mod engine;
mod join;
mod link;
mod models;
mod processes;
mod region;
mod slots;
mod socket;
#[cfg(test)]
mod tests;
mod watch;
mod weights;
mod wire;
mod worth;

pub use blame::ModelKey;
pub use child::serve;
pub use models::{ProcessModel, Timing};
pub use processes::{EngineCommand, EngineProcesses, ProcessConfig};
