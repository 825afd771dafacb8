//! `aimass plugins` and `aimass models`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use http::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::tenants::list;
use super::{Failure, Outcome, output};

/// List, show, delete and configure plugins.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass plugins list
  aimass plugins show file-type
  aimass plugins versions file-type --json
  aimass plugins uploads 0198c0de000070008000000000000000    waits for it
  aimass plugins config file-type model=magika config=@config.min.json
  aimass plugins access hello-http public
  aimass plugins delete hello-http

Changed settings take effect at once for NAME@VERSION, and for a NAME without an alias; an alias serves with those that it
was deployed with until it is deployed again: `aimass deploy NAME`.")]
pub(super) enum Plugins {
    /// List the plugins
    List,
    /// Show a plugin with its newest version
    Show {
        /// Its name
        name: String,
    },
    /// List a plugin's versions
    Versions {
        /// Its name
        name: String,
    },
    /// List the uploads that the node compiles in the background, or wait for one
    Uploads {
        /// Its id
        id: Option<String>,
    },
    /// Delete a plugin with all its versions, or one of them
    Delete {
        /// Its name
        name: String,
        /// This version alone, which no alias names and which is not the newest
        #[arg(long)]
        version: Option<u64>,
    },
    /// Show a plugin's settings, or set some of them
    Config {
        /// Its name
        name: String,
        /// `key=value`, `key=@file`, or `key=` to remove one
        settings: Vec<String>,
    },
    /// Say who may call a plugin under /fn
    Access {
        /// Its name
        name: String,
        /// Anybody, or who has a token
        access: Access,
    },
}

/// Who may call a plugin under `/fn`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Access {
    /// Anybody
    Public,
    /// Who has a token of this tenant
    Token,
}

impl Plugins {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::List => list_objects(client, "plugins", json).await,
            Self::Show { name } => show(client, "plugins", &name, json).await,
            Self::Versions { name } => list_versions(client, "plugins", &name, json).await,
            Self::Uploads { id } => super::uploads::uploads(client, id, json).await,
            Self::Delete { name, version } => delete(client, "plugins", &name, version, json).await,
            Self::Config { name, settings } => config(client, &name, settings, json).await,
            Self::Access { name, access } => {
                let body = json!({ "public": access == Access::Public });
                let now = client.json(Method::PUT, &format!("/api/v1/plugins/{name}/access"), Some(&body)).await?;
                if json {
                    output::json(&now);
                } else if access == Access::Public {
                    println!("anybody can call {name} under {}/fn/{}/{name}/", client.url(), client.tenant()?);
                } else {
                    println!("{name} asks for a token");
                }
                Ok(())
            }
        }
    }
}

async fn config(client: &Client, name: &str, changes: Vec<String>, json: bool) -> Outcome {
    let path = format!("/api/v1/plugins/{name}/config");
    let mut settings: Map<String, Value> = match client.json(Method::GET, &path, None).await? {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    for change in &changes {
        let (key, value) =
            change.split_once('=').ok_or_else(|| Failure::new(format!("`{change}` is not key=value")))?;
        match value.strip_prefix('@') {
            _ if value.is_empty() => drop(settings.remove(key)),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|e| Failure::new(format!("{file}: {e}")))?;
                settings.insert(key.to_owned(), text.into());
            }
            None => drop(settings.insert(key.to_owned(), value.into())),
        }
    }
    let settings = Value::Object(settings);
    if !changes.is_empty() {
        client.json(Method::PUT, &path, Some(&settings)).await?;
    }
    if json {
        output::json(&settings);
        return Ok(());
    }
    let rows = settings.as_object().into_iter().flatten().map(|(key, value)| {
        // A setting may be a whole file; its beginning is enough to know it by.
        let text = output::cell(value);
        let short: String = text.chars().take(60).collect();
        vec![key.clone(), if short.len() < text.len() { format!("{short}…") } else { short }]
    });
    println!("{}", output::table(&["KEY", "VALUE"], rows));
    if !changes.is_empty() {
        super::pinned::hint(client, name, json).await;
    }
    Ok(())
}

/// Upload, list, show and delete models.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass models push magika ./model.onnx
  aimass models push detector ./yolo.onnx --device gpu
  aimass models list
  aimass models show magika
  aimass models versions magika
  aimass models delete magika")]
pub(super) enum Models {
    /// Upload a model; it is served at once
    Push {
        /// Its name
        name: String,
        /// The ONNX file
        file: PathBuf,
        /// Where it must run
        #[arg(long, default_value = "auto")]
        device: Device,
    },
    /// List the models
    List,
    /// Show a model with its newest version, and where it runs
    Show {
        /// Its name
        name: String,
    },
    /// List a model's versions
    Versions {
        /// Its name
        name: String,
    },
    /// Delete a model with all its versions, or one of them
    Delete {
        /// Its name
        name: String,
        /// This version alone, which no alias names and which is not the newest
        #[arg(long)]
        version: Option<u64>,
    },
}

/// Where a model must run.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Device {
    /// On a GPU if one serves it right and faster, else on the CPU
    Auto,
    /// On the CPU
    Cpu,
    /// On a GPU, or not at all
    Gpu,
}

impl Models {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::Push { name, file, device } => {
                let device = match device {
                    Device::Auto => "auto",
                    Device::Cpu => "cpu",
                    Device::Gpu => "gpu",
                };
                let uploaded = client.upload(&format!("/api/v1/models/{name}?device={device}"), &file).await?;
                report_upload(&uploaded, json);
                super::deploy::hint(client, "models", &uploaded.0, json).await;
                Ok(())
            }
            Self::List => list_objects(client, "models", json).await,
            Self::Show { name } => show(client, "models", &name, json).await,
            Self::Versions { name } => list_versions(client, "models", &name, json).await,
            Self::Delete { name, version } => delete(client, "models", &name, version, json).await,
        }
    }
}

/// Says which version an upload became.
pub(super) fn report_upload((version, new): &(Value, bool), json: bool) {
    if json {
        output::json(version);
        return;
    }
    let (name, number) = (output::cell(&version["name"]), output::cell(&version["version"]));
    let what = if *new { "is new" } else { "stood already" };
    println!("{name}@{number} {what}: {} in {}", output::cell(&version["digest"]), output::bytes(&version["size"]));
    for import in version["new_imports"].as_array().into_iter().flatten() {
        println!("  it imports what the version before did not: {}", output::cell(import));
    }
    if let Some(signer) = signer(version) {
        println!("  signed by {signer}");
    }
}

/// Who signed a version, if somebody did.
fn signer(version: &Value) -> Option<String> {
    let signed = version["signed_by"].as_object()?;
    let (signer, key) = (signed.get("signer").map(output::cell), signed.get("key").map(output::cell)?);
    Some(signer.map_or_else(|| format!("{key}, whom the tenant does not know"), |signer| format!("{signer} ({key})")))
}

async fn list_objects(client: &Client, kind: &str, json: bool) -> Outcome {
    list(client, &format!("/api/v1/{kind}"), json, &["NAME", "LATEST", "CREATED"], |o| {
        vec![output::cell(&o["name"]), output::cell(&o["latest_version"]), output::time(&o["created_ms"])]
    })
    .await
}

async fn list_versions(client: &Client, kind: &str, name: &str, json: bool) -> Outcome {
    let headings = ["VERSION", "SIZE", "CREATED", "BY", "DIGEST"];
    list(client, &format!("/api/v1/{kind}/{name}/versions"), json, &headings, |v| {
        vec![
            output::cell(&v["version"]),
            output::bytes(&v["size"]),
            output::time(&v["created_ms"]),
            output::cell(&v["created_by"]),
            output::cell(&v["digest"]),
        ]
    })
    .await
}

async fn delete(client: &Client, kind: &str, name: &str, version: Option<u64>, json: bool) -> Outcome {
    let (path, told) = match version {
        Some(version) => (format!("/api/v1/{kind}/{name}/versions/{version}"), format!("{name}@{version}")),
        None => (format!("/api/v1/{kind}/{name}"), name.to_owned()),
    };
    client.json(Method::DELETE, &path, None).await?;
    if !json {
        println!("deleted {told}");
    }
    Ok(())
}

async fn show(client: &Client, kind: &str, name: &str, json: bool) -> Outcome {
    let object = client.json(Method::GET, &format!("/api/v1/{kind}/{name}"), None).await?;
    if json {
        output::json(&object);
        return Ok(());
    }
    let latest = &object["latest"];
    let mut rows = vec![
        ("name", output::cell(&object["name"])),
        ("version", output::cell(&latest["version"])),
        ("digest", output::cell(&latest["digest"])),
        ("size", output::bytes(&latest["size"])),
        ("created", output::time(&latest["created_ms"])),
        ("worlds", output::cell(&latest["worlds"])),
        ("imports", output::cell(&latest["imports"])),
        ("new imports", output::cell(&latest["new_imports"])),
        ("signed by", signer(latest).unwrap_or_default()),
    ];
    for (field, of) in
        [("backend", "backend"), ("device", "device"), ("why not the GPU", "reason"), ("canary", "canary")]
    {
        rows.push((field, output::cell(&object["placement"][of])));
    }
    for direction in ["inputs", "outputs"] {
        for port in latest["signature"][direction].as_array().into_iter().flatten() {
            let ty = output::cell(&port["datatype"]);
            rows.push((direction, format!("{} {ty} {}", output::cell(&port["name"]), port["shape"])));
        }
    }
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    println!(
        "{}",
        output::table(&["", ""], rows.map(|(field, value)| vec![field.to_owned(), value])).trim_start_matches('\n')
    );
    Ok(())
}
