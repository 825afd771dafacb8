//! `aimass new`, `aimass build` and `aimass push`: a plugin from nothing to a version.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aimass_toolchain::{BuildOptions, Built, Language, Progress, Template};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::client::Client;
use super::objects::report_upload;
use super::signers::sign;
use super::uploads::{Sent, report_accepted};
use super::{Failure, Outcome, output};

/// What a new project starts from.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// A plugin that is called like a model
    Model,
    /// An HTTP function
    Http,
}

/// What a guest is written in.
#[derive(Clone, Copy, ValueEnum)]
enum Written {
    /// Small and fast
    Rust,
    /// Carries CPython: 18 MB
    Python,
    /// Carries Firefox's engine: 12 MB
    #[value(name = "javascript", alias = "js")]
    JavaScript,
}

/// Create a plugin's project from a template.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass new my-model
  aimass new my-function --template http
  aimass new my-model --lang python
  aimass new my-function --lang javascript --template http")]
pub(super) struct New {
    /// The folder to make; its name is the plugin's
    folder: PathBuf,
    /// What to start from
    #[arg(long, default_value = "model")]
    template: Kind,
    /// What to write it in
    #[arg(long, default_value = "rust")]
    lang: Written,
}

impl New {
    pub(super) fn run(self, json: bool) -> Outcome {
        let name = project_name(&self.folder)?;
        let template = match self.template {
            Kind::Model => Template::Model,
            Kind::Http => Template::Http,
        };
        let language = match self.lang {
            Written::Rust => Language::Rust,
            Written::Python => Language::Python,
            Written::JavaScript => Language::JavaScript,
        };
        aimass_toolchain::new_project(&self.folder, &name, language, template)
            .map_err(|e| Failure::new(e.to_string()))?;
        if json {
            output::json(&json!({ "name": name, "folder": self.folder, "language": language }));
        } else {
            let (folder, file) = (self.folder.display(), aimass_toolchain::first_file(language));
            println!("made {folder}; next: edit {folder}/{file}, then aimass build {folder}");
        }
        Ok(())
    }
}

/// Build a plugin's project to a WebAssembly component.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass build
  aimass build plugins/file-type --json

A project is known by its Cargo.toml (Rust), its pyproject.toml or app.py (Python), or its package.json (JavaScript).")]
pub(super) struct Build {
    /// The project's folder
    #[arg(default_value = ".")]
    project: PathBuf,
}

impl Build {
    pub(super) fn run(self, json: bool) -> Outcome {
        let built = build(&self.project)?;
        let size = std::fs::metadata(&built.component)?.len();
        if json {
            output::json(&json!({
                "component": built.component,
                "size": size,
                "seconds": built.elapsed.as_secs_f64(),
                "language": built.language,
                "toolchain": built.toolchain,
            }));
        } else {
            let (took, path) = (built.elapsed.as_secs_f64(), built.component.display());
            println!("{path}: {} in {took:.1} s", indicatif::BinaryBytes(size));
        }
        Ok(())
    }
}

/// Builds a project and shows how far it is.
pub(super) fn build(project: &Path) -> Outcome<Built> {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    let built = aimass_toolchain::build(project, BuildOptions::default(), &mut |progress: Progress| {
        bar.set_message(output::printable(&progress.to_string()));
    });
    bar.finish_and_clear();
    built.map_err(|e| Failure::new(e.to_string()))
}

/// Upload a plugin: a project (built first) or a component.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass push
  aimass push plugins/file-type
  aimass push ./hello.wasm --name hello
  aimass push --sign ci.pem --allow-new-imports
  aimass push --no-wait")]
pub(super) struct Push {
    /// The project's folder, or a component (.wasm)
    #[arg(default_value = ".")]
    what: PathBuf,
    /// The plugin's name [default: the folder's or the file's]
    #[arg(long)]
    name: Option<String>,
    /// Do not wait while the node compiles a large component
    #[arg(long)]
    no_wait: bool,
    /// Let it import more than the version before
    #[arg(long)]
    allow_new_imports: bool,
    /// Sign it with this private key (Ed25519, PEM)
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
}

impl Push {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let name = match self.name {
            Some(name) => name,
            None => project_name(&self.what)?,
        };
        let component = if self.what.is_dir() { build(&self.what)?.component } else { self.what };
        let query = if self.allow_new_imports { "?allow-new-imports=true" } else { "" };
        let mut headers = vec![];
        if let Some(key) = self.sign {
            headers.push(("aimass-signature", sign(&component, &key)?.1.to_string()));
        }
        match client.put_file(&format!("/api/v1/plugins/{name}{query}"), &component, &headers).await? {
            Sent::Accepted(document, _) if self.no_wait => report_accepted(&document, json),
            sent => {
                let uploaded = client.follow(sent).await?;
                report_upload(&uploaded, json);
                super::deploy::hint(client, "plugins", &uploaded.0, json).await;
            }
        }
        Ok(())
    }
}

/// The last part of a path without an extension, as a plugin's name.
pub(super) fn project_name(path: &Path) -> Outcome<String> {
    let full = std::path::absolute(path)?;
    // `.` and `..` say nothing; what they stand for does.
    let full = if full.exists() { full.canonicalize()? } else { full };
    let stem = full.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().replace('_', "-");
    stem.parse::<aimass_core::Name>().map_err(|fault| Failure::new(format!("`{stem}`: {}", fault.detail())))?;
    Ok(stem)
}
