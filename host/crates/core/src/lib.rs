//! What every other part of AI Mass speaks in: names, digests, tensors, events, limits and faults.
//!
//! This crate knows no runtime, no file and no socket, so that everything may depend on it and it depends on
//! nothing. The few traits here ([`seam`]) are where two parts meet that may not know one another: a sandboxed
//! guest asks for inference, and the binary's compose wires the answer.

pub mod cloud_event;
pub mod data;
pub mod digest;
pub mod event;
pub mod fault;
pub mod identity;
pub mod limits;
pub mod logs;
pub mod name;
pub mod outgoing;
pub mod policy;
pub mod seam;
pub mod signature;
pub mod tenant;
pub mod tensor;
pub mod trace;
pub mod usage;

pub use digest::Digest;
pub use fault::{Code, Fault, Source};
pub use name::{Name, ObjectRef, Selector};
pub use signature::{Port, Signature};
pub use tenant::Tenant;
pub use tensor::{ElementType, Tensor};

/// What most functions of the platform return.
pub type Result<T, E = Fault> = std::result::Result<T, E>;
