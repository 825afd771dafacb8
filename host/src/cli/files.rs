//! `aimass files`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::client::{Client, success};
use super::tenants::list;
use super::uploads::Sent;
use super::{Failure, Outcome, output};

/// Store, fetch, list and delete data files.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass files put applicants.parquet
  aimass files put ./2024/scores.csv --name scores-2024.csv
  aimass files get scores-2024.csv --output scores.csv
  aimass files list
  aimass files delete scores-2024.csv")]
pub(super) enum Files {
    /// Store a file, in place of one of the same name
    Put {
        /// The file
        file: PathBuf,
        /// Its name on the node [default: the file's own]
        #[arg(long)]
        name: Option<String>,
    },
    /// Fetch a file
    Get {
        /// Its name
        name: String,
        /// Where to [default: a file of that name here; `-` prints it]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List the files
    List,
    /// Delete a file
    Delete {
        /// Its name
        name: String,
    },
}

impl Files {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::Put { file, name } => {
                let stored = put(client, &file, name.as_deref()).await?;
                if json {
                    output::json(&stored);
                } else {
                    let (name, digest) = (output::cell(&stored["name"]), output::cell(&stored["digest"]));
                    println!("stored {name}: {digest} in {}", output::bytes(&stored["size"]));
                }
                Ok(())
            }
            Self::Get { name, output } => {
                let target = output.unwrap_or_else(|| PathBuf::from(&name));
                let size = get(client, &name, &target).await?;
                if json {
                    super::output::json(&serde_json::json!({ "name": name, "file": target, "size": size }));
                } else if target != Path::new("-") {
                    println!("fetched {name} to {}: {}", target.display(), super::output::bytes(&size.into()));
                }
                Ok(())
            }
            Self::List => {
                list(client, "/api/v1/files", json, &["NAME", "SIZE", "STORED", "BY", "JOB", "DIGEST"], |file| {
                    vec![
                        output::cell(&file["name"]),
                        output::bytes(&file["size"]),
                        output::time(&file["stored_ms"]),
                        output::cell(&file["stored_by"]),
                        output::cell(&file["job"]),
                        output::cell(&file["digest"]),
                    ]
                })
                .await
            }
            Self::Delete { name } => {
                client.json(Method::DELETE, &format!("/api/v1/files/{name}"), None).await?;
                if !json {
                    println!("deleted {name}");
                }
                Ok(())
            }
        }
    }
}

/// Stores a local file; returns what the node says of it.
pub(super) async fn put(client: &Client, file: &Path, name: Option<&str>) -> Outcome<Value> {
    let own = file.file_name().and_then(|name| name.to_str());
    let name = name.or(own).ok_or_else(|| Failure::new(format!("{}: say --name", file.display())))?;
    // Checked here as well, for a name becomes part of a path.
    let name: aimass_core::data::FileName = name.parse()?;
    match client.put_file(&format!("/api/v1/files/{name}"), file, &[]).await? {
        Sent::Done(stored, _) | Sent::Accepted(stored, _) => Ok(stored),
    }
}

/// Fetches a file to `target`, or to standard output for `-`; returns its size. What ends early leaves nothing.
pub(super) async fn get(client: &Client, name: &str, target: &Path) -> Outcome<u64> {
    let name: aimass_core::data::FileName = name.parse()?;
    let body = Full::default().map_err(|never| match never {}).boxed_unsync();
    let request = Request::builder().method(Method::GET);
    let response = client.open(&format!("/api/v1/files/{name}"), request, body).await?;
    let early = |e: hyper::Error| Failure::new(format!("the answer ended early: {e}"));
    let (parts, mut body) = response.into_parts();
    if !parts.status.is_success() {
        let body = body.collect().await.map_err(early)?.to_bytes();
        return success(parts.status, &body).map(|()| 0);
    }
    let length = parts.headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let bar = ProgressBar::new(length.unwrap_or_default());
    if let Ok(style) = ProgressStyle::with_template("fetching {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}") {
        bar.set_style(style);
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let print = target == Path::new("-");
    let mut file = if print { None } else { Some(tempfile::NamedTempFile::new_in(folder)?) };
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(early)?.into_data() else { continue };
        match &mut file {
            Some(file) => file.write_all(&bytes)?,
            None => std::io::stdout().write_all(&bytes)?,
        }
        size += bytes.len() as u64;
        bar.inc(bytes.len() as u64);
    }
    bar.finish_and_clear();
    if length.is_some_and(|length: u64| length != size) {
        return Err(Failure::new("the answer ended early"));
    }
    if let Some(file) = file {
        file.persist(target).map_err(|e| Failure::new(format!("{}: {}", target.display(), e.error)))?;
    }
    Ok(size)
}
