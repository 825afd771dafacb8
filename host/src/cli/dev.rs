//! `aimass dev`: a plugin that is built, uploaded and called anew whenever one of its files changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aimass_toolchain::{Built, Language};
use clap::Args;
use http::Request;
use serde_json::Value;

use super::client::{Client, Connection};
use super::logs::Logs;
use super::{Failure, Outcome, guest, invoke};

mod screen;
mod watcher;

use screen::Screen;
use watcher::Watcher;

/// How long a build may take to notice that it is to end: a terminal tells the compiler as well.
const END: Duration = Duration::from_secs(3);

/// Build, upload and call a plugin anew whenever a file of it changes, and follow its log.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass dev
  aimass dev my-function --call /hello
  aimass dev my-model --call 'x=[1,2,3]'
  aimass dev plugins/file-type --call content=@README.md --json

Each version is called by its number: an alias such as `prod` is left where it is. What goes wrong is shown, and mended
by the next change.")]
pub(super) struct Dev {
    /// The project's folder
    #[arg(default_value = ".")]
    project: PathBuf,
    /// The plugin's name [default: the folder's]
    #[arg(long)]
    name: Option<String>,
    /// What to call it with: a path, or inputs as `name=value`, where a value is JSON, text, or @file
    #[arg(long, value_name = "PATH|INPUT")]
    call: Vec<String>,
    /// Let it import more than the version before
    #[arg(long)]
    allow_new_imports: bool,
}

/// What a round works with.
struct Session {
    client: Arc<Client>,
    screen: Screen,
    name: String,
    tenant: String,
    dev: Dev,
}

impl Dev {
    pub(super) async fn run(self, connection: Connection, json: bool) -> Outcome {
        let client = Arc::new(connection.open()?);
        let name = match &self.name {
            Some(name) => name.clone(),
            None => guest::project_name(&self.project)?,
        };
        // What can never work is refused at once.
        Language::of(&self.project).map_err(|e| Failure::new(e.to_string()))?;
        if self.path().is_some() && self.call.len() > 1 {
            return Err(Failure::new("an HTTP function is called with one path"));
        }
        let tenant = client.tenant()?;
        let mut watcher = Watcher::of(&self.project)?;
        let screen = Screen::new(json, [name.clone(), client.url().to_owned(), tenant.clone()]);
        let session = Session { client, screen, name, tenant, dev: self };

        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        let (mut changed, mut log) = (None, None);
        loop {
            let mut round = std::pin::pin!(session.round(changed.take()));
            let version = tokio::select! {
                version = &mut round => version,
                _ = &mut interrupted => {
                    let _ = tokio::time::timeout(END, round).await;
                    return Ok(());
                }
            };
            if let (Some(version), None) = (version, &log) {
                log = Some(tokio::spawn(follow(session.client.clone(), session.name.clone(), version, json)));
            }
            tokio::select! {
                path = watcher.changed() => changed = Some(path?),
                _ = &mut interrupted => return Ok(()),
            }
        }
    }

    /// What to call an HTTP function with.
    fn path(&self) -> Option<&str> {
        self.call.iter().map(String::as_str).find(|call| call.starts_with('/'))
    }
}

impl Session {
    /// Builds, uploads and calls; answers the version, once it is there.
    async fn round(&self, changed: Option<PathBuf>) -> Option<Value> {
        self.screen.round(changed.as_deref());
        let version = match self.upload().await {
            Ok(version) => version,
            Err(failure) => {
                self.screen.failed(&failure);
                self.screen.waiting();
                return None;
            }
        };
        if let Err(failure) = self.call(&version["version"]).await {
            self.screen.failed(&failure);
        }
        self.screen.waiting();
        Some(version)
    }

    async fn upload(&self) -> Outcome<Value> {
        let built = self.build().await?;
        self.screen.built(&built);
        let started = Instant::now();
        let query = if self.dev.allow_new_imports { "?allow-new-imports=true" } else { "" };
        let path = format!("/api/v1/plugins/{}{query}", self.name);
        let (version, new) = self.client.upload(&path, &built.component).await?;
        self.screen.uploaded(&version, new, started.elapsed());
        Ok(version)
    }

    async fn build(&self) -> Outcome<Built> {
        let project = self.dev.project.clone();
        let built = tokio::task::spawn_blocking(move || guest::build(&project)).await;
        built.map_err(|e| Failure::new(format!("the build ended early: {e}")))?
    }

    /// Calls this very version.
    async fn call(&self, version: &Value) -> Outcome {
        let name = format!("{}@{version}", self.name);
        let started = Instant::now();
        if let Some(path) = self.dev.path() {
            let target = format!("/fn/{}/{name}{path}", self.tenant);
            let answer = self.client.send(&target, Request::builder(), bytes::Bytes::new()).await?;
            self.screen.response(&answer, started.elapsed());
        } else if !self.dev.call.is_empty() {
            let route = invoke::route(&name);
            let inputs = invoke::inputs(&self.client, &route, &self.dev.call).await?;
            let started = Instant::now();
            let outputs = invoke::infer(&self.client, &route, &inputs).await?;
            self.screen.tensors(&outputs, started.elapsed());
        }
        Ok(())
    }
}

/// Prints what the plugin logs from its first version of this session on.
async fn follow(client: Arc<Client>, name: String, version: Value, json: bool) {
    let logs = Logs::since(name, version["created_ms"].as_u64());
    if let Err(failure) = logs.run(&client, json).await {
        // Who may upload need not be allowed to read logs.
        eprintln!("the log cannot be followed: {failure}");
    }
}
