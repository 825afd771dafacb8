//! `aimass signers` and `aimass sign`: whose plugins a tenant takes, and how one is signed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aimass_auth::{PluginSignature, SignerKey, SigningKey};
use aimass_core::Digest;
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::json;

use super::client::Connection;
use super::tenants::list;
use super::{Failure, Outcome, output};

/// Say whose signatures on plugins count, and whether they must be there.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass signers generate ci.pem
  aimass signers add ci ci.pem.pub
  aimass signers list
  aimass signers require on
  aimass signers remove ci
  aimass push --sign ci.pem")]
pub(super) enum Signers {
    /// Make a key pair: the private half into FILE, the public one into FILE.pub. Nothing is sent
    Generate {
        /// The file to make, readable by its owner alone
        file: PathBuf,
    },
    /// Trust a signer
    Add {
        /// What to call the signer
        name: String,
        /// The public key: a file that holds it as PEM or base64, or the base64 itself
        key: String,
    },
    /// List the trusted signers
    List,
    /// Trust a signer no longer
    Remove {
        /// Its name
        name: String,
    },
    /// Insist on signatures, or no longer; without a word, say which it is
    Require {
        /// Whether plugins must be signed by a trusted signer
        required: Option<Switch>,
    },
}

/// On or off.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    /// They must be
    On,
    /// They need not be
    Off,
}

impl Signers {
    pub(super) async fn run(self, connection: Connection, json: bool) -> Outcome {
        match self {
            Self::Generate { file } => generate(&file, json),
            Self::Add { name, key } => {
                let key = if Path::new(&key).exists() { read(Path::new(&key))? } else { key };
                let key: SignerKey = key.parse()?;
                let body = json!({ "public_key": key.to_string() });
                let path = format!("/api/v1/signers/{name}");
                let added = connection.open()?.json(Method::PUT, &path, Some(&body)).await?;
                if json {
                    output::json(&added);
                } else {
                    println!("{name} is trusted: {key}");
                }
                Ok(())
            }
            Self::List => {
                let headings = ["NAME", "KEY", "ADDED", "BY"];
                list(&connection.open()?, "/api/v1/signers", json, &headings, |signer| {
                    vec![
                        output::cell(&signer["name"]),
                        output::cell(&signer["public_key"]),
                        output::time(&signer["added_ms"]),
                        output::cell(&signer["added_by"]),
                    ]
                })
                .await
            }
            Self::Remove { name } => {
                connection.open()?.json(Method::DELETE, &format!("/api/v1/signers/{name}"), None).await?;
                if !json {
                    println!("{name} is no longer trusted");
                }
                Ok(())
            }
            Self::Require { required } => {
                let client = connection.open()?;
                let body = required.map(|switch| json!({ "required": switch == Switch::On }));
                let method = if body.is_some() { Method::PUT } else { Method::GET };
                let now = client.json(method, "/api/v1/signing", body.as_ref()).await?;
                if json {
                    output::json(&now);
                } else if now["required"] == true {
                    println!("plugins must be signed by a trusted signer");
                } else {
                    println!("plugins need not be signed");
                }
                Ok(())
            }
        }
    }
}

fn generate(file: &Path, json: bool) -> Outcome {
    let key = SigningKey::generate()?;
    let public = key.public()?.to_string();
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pub");
    let failed = |e: std::io::Error| Failure::new(format!("{}: {e}", file.display()));
    // Never over a key that is there.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let private = key.to_pem()?;
    made.and_then(|mut made| made.write_all(private.as_bytes())).map_err(failed)?;
    std::fs::write(&beside, format!("{public}\n"))?;
    if json {
        output::json(&json!({ "file": file, "public_key": public }));
    } else {
        println!("{public}");
    }
    Ok(())
}

/// Sign a component, without sending anything.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass sign ./hello.wasm --key ci.pem
  curl -X PUT --data-binary @hello.wasm -H \"aimass-signature: $(aimass sign hello.wasm --key ci.pem)\" …")]
pub(super) struct Sign {
    /// The component (.wasm)
    file: PathBuf,
    /// The private key: Ed25519, PEM
    #[arg(long)]
    key: PathBuf,
}

impl Sign {
    pub(super) fn run(self, json: bool) -> Outcome {
        let (digest, signature) = sign(&self.file, &self.key)?;
        if json {
            output::json(&json!({
                "digest": digest.to_string(),
                "public_key": signature.key().to_string(),
                "signature": signature.to_string(),
            }));
        } else {
            println!("{signature}");
        }
        Ok(())
    }
}

/// The signature of a component's digest by the key in a file.
pub(super) fn sign(component: &Path, key: &Path) -> Outcome<(Digest, PluginSignature)> {
    let bytes = std::fs::read(component).map_err(|e| Failure::new(format!("{}: {e}", component.display())))?;
    let digest = Digest::of(&bytes);
    let key = SigningKey::from_pem(&read(key)?)
        .map_err(|fault| Failure::new(format!("{}: {}", key.display(), fault.detail())))?;
    Ok((digest, key.sign(&digest)?))
}

fn read(file: &Path) -> Outcome<String> {
    std::fs::read_to_string(file).map_err(|e| Failure::new(format!("{}: {e}", file.display())))
}
