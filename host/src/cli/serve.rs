//! `aimass serve`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Outcome};
use crate::compose::Node;
use crate::config::Raw;
use crate::{core_dumps, descriptors};

/// Run a node until it is told to stop (SIGTERM or Ctrl-C; a second one stops it at once; SIGHUP reads the certificate again).
#[derive(Args)]
#[command(after_help = "Examples:
  aimass serve
  aimass serve --data /var/lib/aimass --listen 0.0.0.0:8080
  aimass serve --listen 0.0.0.0:8443 --tls-certificate chain.pem --tls-key key.pem
  aimass serve --data /var/lib/aimass --key-file /etc/aimass/key
  aimass serve --key-command 'vault kv get -field=key secret/aimass'
  AIMASS_LISTEN=127.0.0.1:0 aimass serve --json    prints the address that it took")]
pub(super) struct Serve {
    #[command(flatten)]
    config: Raw,
    /// Configuration file [default: aimass.toml, if there is one]
    #[arg(long, env = "AIMASS_CONFIG", value_name = "FILE")]
    config_file: Option<PathBuf>,
}

impl Serve {
    pub(super) async fn run(self, json: bool) -> Outcome {
        let config = self.config.checked(self.config_file.as_deref()).map_err(Failure::Other)?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        descriptors::raise();
        core_dumps::disable();
        let node = Node::start(&config).await?;
        announce(&node, json);
        let stop = async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            tracing::info!("stopping: no new connections, calls under way may end");
            tokio::spawn(async move {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                // Whatever was acknowledged is on disk; the rest was never promised.
                std::process::exit(1);
            });
        };
        match node.run(stop).await? {
            true => Ok(()),
            false => Err(Failure::new("the grace period ended before every call did")),
        }
    }
}

fn announce(node: &Node, json: bool) {
    let url = node.url();
    let (file, new) = &node.operator_token;
    if json {
        println!("{}", json!({ "url": url, "operator_token_file": file }));
        return;
    }
    println!("AI Mass serves at {url}, and its Web console at {url}/console/");
    println!("The operator's token is in {}{}", file.display(), if *new { " (made by this first start)" } else { "" });
}
