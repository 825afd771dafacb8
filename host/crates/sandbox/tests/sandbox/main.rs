//! The sandbox against real components: small ones written here, most of them hostile. Tests are named after the
//! rows of the fault table that they pin.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cache;
mod compile;
mod functions;
mod guests;
mod hostile;
mod interfaces;
mod support;
mod time;
mod upload;

/// In a child that compiles, standard input is what the sandbox left; in a test run it is not.
#[test]
fn this_is_the_compiler() {
    match aimass_sandbox::compile_child() {
        Ok(status) => std::process::exit(status.into()),
        Err(fault) => assert_eq!(fault.code(), aimass_core::Code::InvalidRequest),
    }
}
