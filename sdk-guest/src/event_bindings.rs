//! The raw export of `wit/events.wit`; what it shares with a model plugin is that one's ([`crate::bindings`], which
//! says how both are made).
// Generated, as there.
#![allow(unsafe_code, missing_docs, unreachable_pub, clippy::panic, clippy::unwrap_used)]

#[path = "bindings/event_plugin.rs"]
mod event_plugin;

pub use event_plugin::*;
