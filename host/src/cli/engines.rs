//! `aimass engines`: what runs models on this machine, and how to get ONNX Runtime.

use std::path::PathBuf;

use aimass_inference::OnnxRuntime;
use aimass_inference::process::EngineProcesses;
use aimass_toolchain::Cache;
use aimass_toolchain::onnxruntime::{self, Build};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{Failure, Outcome, output};
use crate::compose;
use crate::config::Raw;

/// List the engines that run models on this machine, or install one.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass engines
  aimass engines list --json
  aimass engines install onnxruntime         from PyPI, by pip, into the cache folder
  aimass engines install onnxruntime --gpu   the build with CUDA")]
pub(super) struct Engines {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// List the engines (what `aimass engines` alone does)
    List,
    /// Install an engine's library
    Install(Install),
}

/// Install an engine's library.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass engines install onnxruntime
  aimass engines install onnxruntime --gpu --json")]
struct Install {
    /// Which engine
    engine: Installable,
    /// The build with CUDA, whose own libraries (CUDA, cuDNN) must be on the machine
    #[arg(long)]
    gpu: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Installable {
    /// ONNX Runtime: faster than the built-in engine, and with nearly every operator
    Onnxruntime,
}

impl Engines {
    pub(super) async fn run(self, json: bool) -> Outcome {
        match self.action {
            None | Some(Action::List) => list(json).await,
            Some(Action::Install(install)) => install.run(json),
        }
    }
}

async fn list(json: bool) -> Outcome {
    let config = Raw::default().checked(None).map_err(Failure::Other)?;
    let devices = EngineProcesses::new(compose::engines(&config)?).devices().await?;
    let mut engines: Vec<Value> = devices
        .into_iter()
        .map(|d| json!({ "engine": d.backend, "found": d.device, "available": d.available, "software": d.software }))
        .collect();
    let (found, available) = match library().map(|path| OnnxRuntime::open(&path)) {
        Some(Ok(runtime)) => (described(&runtime), true),
        Some(Err(unusable)) => (unusable.to_string(), false),
        None => (format!("not installed: {INSTALL}"), false),
    };
    engines.push(json!({ "engine": ENGINE, "found": found, "available": available, "software": false }));
    if json {
        output::json(&Value::Array(engines));
        return Ok(());
    }
    let row = |e: &Value| ["engine", "available", "found"].map(|field| output::cell(&e[field])).to_vec();
    println!("{}", output::table(&["ENGINE", "AVAILABLE", "FOUND"], engines.iter().map(row)));
    Ok(())
}

impl Install {
    fn run(self, json: bool) -> Outcome {
        let Installable::Onnxruntime = self.engine;
        let build = if self.gpu { Build::Gpu } else { Build::Cpu };
        let path = onnxruntime::install(&Cache::user(), build).map_err(|e| Failure::new(e.to_string()))?;
        // Installed is what can be used: a library for another machine is no success.
        let runtime = OnnxRuntime::open(&path).map_err(|e| Failure::new(e.to_string()))?;
        if json {
            output::json(&json!({ "engine": ENGINE, "version": runtime.version(), "library": runtime.path() }));
        } else {
            println!("ONNX Runtime {} is installed: {}", runtime.version(), runtime.path().display());
        }
        Ok(())
    }
}

const ENGINE: &str = "onnxruntime";
const INSTALL: &str = "aimass engines install onnxruntime";

/// The library that was named, else the one that was installed.
fn library() -> Option<PathBuf> {
    crate::config::onnxruntime(std::env::var_os("AIMASS_ONNXRUNTIME").map(PathBuf::from))
}

/// `doctor`'s row: what was found, or what is wrong with it.
pub(super) fn finding() -> Value {
    let row =
        |found: String, advice: String| json!({ "what": "inference: onnxruntime", "found": found, "advice": advice });
    match library().map(|path| OnnxRuntime::open(&path)) {
        Some(Ok(runtime)) => row(described(&runtime), String::new()),
        Some(Err(unusable)) => row("none".into(), unusable.to_string()),
        None => row("none".into(), format!("for faster models and more operators: {INSTALL}")),
    }
}

fn described(runtime: &OnnxRuntime) -> String {
    format!("ONNX Runtime {}, {}", runtime.version(), runtime.path().display())
}
