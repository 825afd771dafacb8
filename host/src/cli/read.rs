//! `aimass read`: the child that reads one data file.

use clap::Args;

use super::Outcome;

/// Read the data file that the server has behind standard input and output.
#[derive(Args)]
pub(super) struct Read {}

impl Read {
    pub(super) fn run(self) -> Outcome {
        Ok(aimass_data::read_child()?)
    }
}
