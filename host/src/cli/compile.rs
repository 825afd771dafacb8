//! `aimass compile`: the child that compiles one component.

use std::process::ExitCode;

use clap::Args;

use super::failed;

/// Compile the component that the server left in standard input.
#[derive(Args)]
pub(super) struct Compile {}

impl Compile {
    /// The exit status says what became of it.
    pub(super) fn run(self) -> ExitCode {
        match aimass_sandbox::compile_child() {
            Ok(status) => ExitCode::from(status),
            Err(fault) => failed(&fault.into()),
        }
    }
}
