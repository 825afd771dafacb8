//! The sandbox against real components: small ones written here, most of them hostile. Tests are named after the
//! rows of the fault table that they pin.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cache;
mod functions;
mod guests;
mod hostile;
mod interfaces;
mod support;
mod time;
mod upload;
