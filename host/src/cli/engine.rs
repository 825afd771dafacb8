//! `aimass engine`: the child that holds models.

use clap::Args;

use super::Outcome;

/// Hold models on one device, for the server at the other end of standard input.
#[derive(Args)]
pub(super) struct Engine {
    /// The device: `cpu` or `gpu:0`. Everything else comes from the server; here it is for people who list processes.
    #[arg(long)]
    device: String,
}

impl Engine {
    pub(super) fn run(self) -> Outcome {
        tracing::debug!(device = self.device, "an engine process");
        Ok(aimass_inference::process::serve()?)
    }
}
