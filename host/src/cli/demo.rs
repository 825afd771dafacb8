//! `aimass demo`: the whole tour by itself, on a real model and real files.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aimass_core::Tensor;
use aimass_toolchain::{Cache, Language, Template, fetch};
use clap::Args;
use http::Method;
use serde_json::json;

use super::client::Client;
use super::guest::build;
use super::invoke::{infer, route};
use super::tenants::DEVELOPER;
use super::{Failure, Outcome, output};
use crate::compose::Node;
use crate::config::Raw;

/// Show the whole tour: build a plugin, start a node, upload, call, refuse.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass demo          and leave the node running, to try things on
  aimass demo --once   and end")]
pub(super) struct Demo {
    /// End after the tour instead of leaving the node running
    #[arg(long)]
    once: bool,
}

impl Demo {
    pub(super) async fn run(self) -> Outcome {
        println!("AI Mass: run other people's model code, safely and fast.\n");
        step("Fetching magika's model (PyPI package magika) and building the plugin `file-type`");
        let magika = fetch::magika(&Cache::user()).map_err(|e| Failure::new(e.to_string()))?;
        let component = built_plugin()?;
        println!("  {}: {}", component.display(), output::bytes(&std::fs::metadata(&component)?.len().into()));

        step("Starting a node on an embedded store");
        let folder = tempfile::tempdir()?;
        let config = Raw::for_demo(folder.path()).checked(None).map_err(Failure::Other)?;
        let node = Node::start(&config).await?;
        let url = node.url();
        let token_file = node.operator_token.0.clone();
        println!("  {url}");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(node.run(async {
            let _ = stopped.await;
        }));

        let shown = self.tour(&url, &token_file, &magika, &component).await;
        if shown.is_ok() && !self.once {
            println!("\nThe node runs until Ctrl-C.");
            tokio::signal::ctrl_c().await?;
        }
        let _ = stop.send(());
        running.await.map_err(|e| Failure::new(e.to_string()))??;
        shown
    }

    async fn tour(&self, url: &str, operator: &Path, magika: &fetch::Magika, component: &Path) -> Outcome {
        step("Creating the tenants `acme` and `globex`");
        let operator = Client::new(url, std::fs::read_to_string(operator)?.trim())?;
        let acme = tenant(&operator, "acme").await?;
        let globex = tenant(&operator, "globex").await?;

        step("Uploading the model `magika` and the plugin `file-type` for acme");
        acme.1.upload("/api/v1/models/magika", &magika.model).await?;
        acme.1.upload("/api/v1/plugins/file-type", component).await?;
        let settings = json!({
            "model": "magika",
            "config": std::fs::read_to_string(&magika.config)?,
            "content_types": std::fs::read_to_string(&magika.content_types)?,
        });
        acme.1.json(Method::PUT, "/api/v1/plugins/file-type/config", Some(&settings)).await?;

        step("Classifying files, one call each");
        let files = sample_files(component, &magika.model)?;
        println!("Files: {}\n", files[0].parent().unwrap_or(Path::new(".")).display());
        let mut rows = vec![];
        for file in &files {
            rows.push(classify(&acme.1, file).await?);
        }
        println!("{}", output::table(&["FILE", "LABEL", "SCORE", "TIME"], rows));

        step("Asking for the same without the right");
        let answers = [("globex", &globex.1), ("a caller without a token", &Client::new(url, "")?)];
        for (who, client) in answers {
            println!("  {who}: {}", refusal(client, &files[0]).await?);
        }
        println!("\nThe node serves at {url}. Try next, in another terminal:\n");
        println!("  export AIMASS_URL={url} AIMASS_TOKEN={}", acme.0);
        println!("  aimass invoke file-type content=@{}", files[0].display());
        println!("  aimass models show magika");
        println!("\nOr sign in to the Web console with that token: {url}/console/");
        Ok(())
    }
}

fn step(text: &str) {
    println!("\n== {text}");
}

/// The plugin's sources are part of this binary, so the demo needs no checkout.
const PLUGIN: [(&str, &str); 4] = [
    ("lib.rs", include_str!("../../../plugins/file-type/src/lib.rs")),
    ("config.rs", include_str!("../../../plugins/file-type/src/config.rs")),
    ("features.rs", include_str!("../../../plugins/file-type/src/features.rs")),
    ("verdict.rs", include_str!("../../../plugins/file-type/src/verdict.rs")),
];

/// What the plugin needs beside what a new project has.
const DEPENDENCIES: &str =
    "serde = { version = \"1\", default-features = false, features = [\"alloc\", \"derive\"] }\nserde_json = \"1\"\n";

fn built_plugin() -> Outcome<PathBuf> {
    let project = Cache::user().path().join("demo/file-type");
    if project.exists() {
        std::fs::remove_dir_all(&project)?;
    }
    aimass_toolchain::new_project(&project, "file-type", Language::Rust, Template::Model)
        .map_err(|e| Failure::new(e.to_string()))?;
    for (name, text) in PLUGIN {
        std::fs::write(project.join("src").join(name), text)?;
    }
    let manifest = project.join("Cargo.toml");
    let with_more =
        std::fs::read_to_string(&manifest)?.replace("[dependencies]\n", &format!("[dependencies]\n{DEPENDENCIES}"));
    std::fs::write(&manifest, with_more)?;
    Ok(build(&project)?.component)
}

/// Creates a tenant; returns its developer's token and a client that holds it.
async fn tenant(operator: &Client, name: &str) -> Outcome<(String, Client)> {
    operator.json(Method::POST, "/api/v1/tenants", Some(&json!({ "name": name }))).await?;
    let scopes: Vec<&str> = DEVELOPER.split(',').collect();
    let wish = json!({ "subject": "demo", "scopes": scopes });
    let minted = operator.json(Method::POST, &format!("/api/v1/tenants/{name}/tokens"), Some(&wish)).await?;
    let token = minted["token"].as_str().unwrap_or_default().to_owned();
    let client = Client::new(operator.url(), &token)?;
    Ok((token, client))
}

/// Real files of many kinds: this program's own sources, what it just built and fetched, and a picture.
fn sample_files(component: &Path, model: &Path) -> Outcome<Vec<PathBuf>> {
    let texts: [(&str, &[u8]); 6] = [
        ("demo.rs", include_bytes!("demo.rs")),
        ("README.md", include_bytes!("../../../README.md")),
        ("Cargo.toml", include_bytes!("../../../Cargo.toml")),
        ("icon.png", include_bytes!("../../assets/icon.png")),
        ("run.sh", include_bytes!("../../../.ci/run")),
        ("client.py", include_bytes!("../../../tests/clients/triton.py")),
    ];
    let folder = Cache::user().path().join("demo/files");
    std::fs::create_dir_all(&folder)?;
    let mut files = vec![];
    for (name, bytes) in texts {
        std::fs::write(folder.join(name), bytes)?;
        files.push(folder.join(name));
    }
    for (name, file) in [("file-type.wasm", component), ("model.onnx", model)] {
        std::fs::copy(file, folder.join(name))?;
        files.push(folder.join(name));
    }
    Ok(files)
}

async fn classify(client: &Client, file: &Path) -> Outcome<Vec<String>> {
    let inputs = [Tensor::from_bytes_elements("content", [1], &[std::fs::read(file)?])?];
    let started = Instant::now();
    let outputs = infer(client, &route("file-type"), &inputs).await?;
    let took: Duration = started.elapsed();
    let named = |name: &str| {
        outputs.iter().find(|tensor| tensor.name() == name).ok_or_else(|| Failure::new(format!("there is no `{name}`")))
    };
    let label =
        String::from_utf8_lossy(named("label")?.bytes_elements()?.first().copied().unwrap_or_default()).into_owned();
    let score = named("score")?.elements::<f32>()?.first().copied().unwrap_or_default();
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(vec![name, output::printable(&label), format!("{score:.3}"), format!("{:.1} ms", took.as_secs_f64() * 1e3)])
}

/// What the node answers to somebody who may not ask: the status and its sentence.
async fn refusal(client: &Client, file: &Path) -> Outcome<String> {
    let inputs = [Tensor::from_bytes_elements("content", [1], &[std::fs::read(file)?])?];
    let (body, length) = aimass_http::oip::encode_request(&inputs);
    let request = http::Request::builder().method(Method::POST).header(aimass_http::oip::HEADER_LENGTH, length);
    let answer = client.send("/v2/models/file-type/infer", request, body).await?;
    if answer.status().is_success() {
        return Err(Failure::new("somebody without the right was answered"));
    }
    Ok(format!("{} {}", answer.status(), output::printable(&String::from_utf8_lossy(answer.body()))))
}
