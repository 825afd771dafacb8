//! `aimass openapi`: the document of `/openapi.json`, without a node.

use clap::Args;

use super::{Outcome, output};

/// Print what the HTTP API is, as OpenAPI 3.1: what a node of this release serves at /openapi.json.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass openapi > openapi.json
  aimass openapi | jq '.paths | keys'")]
pub(super) struct Openapi {}

impl Openapi {
    pub(super) fn run(self) -> Outcome {
        output::json(&aimass_http::openapi());
        Ok(())
    }
}
