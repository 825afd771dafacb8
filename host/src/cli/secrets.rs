//! `aimass secrets` and `aimass keys`.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Subcommand;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use serde_json::Value;

use super::client::{Client, success};
use super::tenants::list;
use super::{Failure, Outcome, output, pinned};

/// Set, list and delete secrets of a plugin: it reads them as it reads its settings, and nobody else does.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  pass show stripe | aimass secrets set billing stripe-key
  aimass secrets set billing tls.pem --from-file key.pem
  aimass secrets list billing
  aimass secrets delete billing stripe-key
  pass show stripe | aimass secrets set billing stripe-key --everywhere

An alias serves with the secrets that it was deployed with, and a rollback brings those of then back: `aimass deploy
billing` takes the newest. When a key was revoked, --everywhere gives the new one to every alias at once, and nothing
brings the old one back.

A value comes from standard input or from a file, never from the command line, which others can see; the last end of a
line of standard input is not part of it. It is stored sealed and never shown again.")]
pub(super) enum Secrets {
    /// Set a secret, also one that is there
    Set {
        /// The plugin
        plugin: String,
        /// What the plugin asks for it by (wasi:config/store)
        key: String,
        /// A file that holds the value [default: standard input]
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
        /// Also for aliases that serve with the secrets of before, and for what a rollback brings back
        #[arg(long)]
        everywhere: bool,
    },
    /// List the secrets, without their values
    List {
        /// The plugin
        plugin: String,
    },
    /// Delete a secret
    Delete {
        /// The plugin
        plugin: String,
        /// Its key
        key: String,
        /// Also for aliases that serve with the secrets of before, and for what a rollback brings back
        #[arg(long)]
        everywhere: bool,
    },
}

impl Secrets {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let path = |plugin: &str, key: &str, everywhere: bool| {
            let query = if everywhere { "?everywhere=true" } else { "" };
            format!("/api/v1/plugins/{plugin}/secrets/{key}{query}")
        };
        match self {
            Self::Set { plugin, key, from_file, everywhere } => {
                let value = value(from_file.as_deref())?;
                let request = Request::builder().method(Method::PUT).header(CONTENT_TYPE, "application/octet-stream");
                let answer = client.send(&path(&plugin, &key, everywhere), request, value).await?;
                success(answer.status(), answer.body())?;
                if json {
                    let document: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
                    output::json(&document);
                } else {
                    println!("{plugin} has the secret {key}; it is not shown again");
                }
                if !everywhere {
                    pinned::hint(client, &plugin, json).await;
                }
            }
            Self::List { plugin } => {
                let headings = ["KEY", "SET", "BY", "CONFIGURATION"];
                list(client, &format!("/api/v1/plugins/{plugin}/secrets"), json, &headings, |secret| {
                    vec![
                        output::cell(&secret["key"]),
                        output::time(&secret["set_ms"]),
                        output::cell(&secret["set_by"]),
                        output::cell(&secret["configuration"]),
                    ]
                })
                .await?;
            }
            Self::Delete { plugin, key, everywhere } => {
                client.json(Method::DELETE, &path(&plugin, &key, everywhere), None).await?;
                if !json {
                    println!("{plugin} no longer has the secret {key}");
                }
                if !everywhere {
                    pinned::hint(client, &plugin, json).await;
                }
            }
        }
        Ok(())
    }
}

fn value(file: Option<&Path>) -> Outcome<Bytes> {
    let mut value = Vec::new();
    match file {
        Some(file) => {
            value = std::fs::read(file).map_err(|e| Failure::new(format!("{}: {e}", file.display())))?;
        }
        None => {
            if std::io::stdin().is_terminal() {
                // Typed, it would stand on the screen.
                return Err(Failure::new("pipe the value in, or name a file with --from-file"));
            }
            std::io::stdin().read_to_end(&mut value)?;
            if value.last() == Some(&b'\n') {
                value.pop();
            }
        }
    }
    Ok(value.into())
}

/// List and rotate the keys that seal what tenants bring (the operator).
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass keys list
  aimass keys rotate

A new key wraps every tenant's data key at once, while all goes on; what is sealed stays as it is. The keys before stay in
the key file, since older backups need them; `aimass tenants erase` destroys them. Copy the key file again after each of
the two.")]
pub(super) enum Keys {
    /// List the generations, and how many tenants' data keys each wraps
    List,
    /// Wrap with a new key from now on
    Rotate,
}

const KEYS: &str = "/api/v1/keys";

impl Keys {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::List => {
                list(client, KEYS, json, &["GENERATION", "TENANTS", "WRAPS"], |key| {
                    let wraps = if key["newest"] == true { "new keys" } else { "those of older backups" };
                    vec![output::cell(&key["generation"]), output::cell(&key["tenants"]), wraps.to_owned()]
                })
                .await?;
            }
            Self::Rotate => {
                let key = client.json(Method::POST, KEYS, None).await?;
                if json {
                    output::json(&key);
                } else {
                    let [generation, tenants] = ["generation", "tenants"].map(|field| output::cell(&key[field]));
                    println!(
                        "generation {generation} wraps the data keys of {tenants} tenants; copy the key file again"
                    );
                }
            }
        }
        Ok(())
    }
}

/// `aimass tenants erase`.
pub(super) async fn erase(client: &Client, name: &str, yes: bool, json: bool) -> Outcome {
    if !yes {
        return Err(Failure::new(format!(
            "this destroys everything of {name}, here and in every backup, for ever: say --yes if that is meant"
        )));
    }
    client.json(Method::DELETE, &format!("/api/v1/tenants/{name}?confirm={name}"), None).await?;
    if json {
        return Ok(());
    }
    println!("{name} is erased; older copies of the key file still open its backups: replace them by the one of now");
    Ok(())
}
