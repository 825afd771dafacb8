//! What `aimass dev` shows: one screen for people, one document a line for programs.

use std::path::Path;
use std::time::Duration;

use aimass_core::Tensor;
use aimass_toolchain::Built;
use http::Response;
use serde_json::{Value, json};

use super::super::{Failure, invoke, output};

/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Where it is shown.
pub(super) struct Screen {
    json: bool,
    clears: bool,
    /// Name, node and tenant.
    head: [String; 3],
}

impl Screen {
    pub(super) fn new(json: bool, head: [String; 3]) -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        Self { json, clears: terminal && !json, head }
    }

    /// Begins a round, the first one or one after a change.
    pub(super) fn round(&self, changed: Option<&Path>) {
        if self.json {
            return self.event("round", json!({ "changed": changed }));
        }
        let [name, node, tenant] = &self.head;
        let clear = if self.clears { CLEAR } else { "" };
        println!("{clear}{name} at {node}, tenant {tenant}");
        if let Some(path) = changed {
            println!("changed   {}", output::printable(&path.to_string_lossy()));
        }
    }

    pub(super) fn built(&self, built: &Built) {
        let size = std::fs::metadata(&built.component).map(|file| file.len()).unwrap_or_default();
        let seconds = built.elapsed.as_secs_f64();
        if self.json {
            return self.event("built", json!({ "component": built.component, "size": size, "seconds": seconds }));
        }
        println!("built     {} of {} in {seconds:.1} s", indicatif::BinaryBytes(size), built.language);
    }

    pub(super) fn uploaded(&self, version: &Value, new: bool, took: Duration) {
        if self.json {
            return self.event("uploaded", json!({ "version": version, "new": new }));
        }
        let (name, number) = (output::cell(&version["name"]), &version["version"]);
        match new {
            true => println!("uploaded  {name}@{number} in {:.1} s", took.as_secs_f64()),
            false => println!("uploaded  {name}@{number}, which stood already"),
        }
    }

    pub(super) fn tensors(&self, outputs: &[Tensor], took: Duration) {
        if self.json {
            let outputs: Value = outputs.iter().map(invoke::document).collect();
            return self.event("answer", json!({ "outputs": outputs, "ms": millis(took) }));
        }
        println!("answered  in {:.1} ms", millis(took));
        invoke::show(outputs, false);
    }

    pub(super) fn response(&self, answer: &Response<bytes::Bytes>, took: Duration) {
        let (status, text) = (answer.status().as_u16(), String::from_utf8_lossy(answer.body()));
        if self.json {
            return self.event("answer", json!({ "status": status, "text": text, "ms": millis(took) }));
        }
        println!("answered  {status} in {:.1} ms", millis(took));
        text.lines().for_each(|line| println!("{}", output::printable(line)));
    }

    /// What went wrong; the next change may mend it.
    pub(super) fn failed(&self, failure: &Failure) {
        if self.json {
            return self.event("failed", json!({ "error": failure.to_string() }));
        }
        println!("failed    {failure}");
    }

    /// Ends a round.
    pub(super) fn waiting(&self) {
        match self.json {
            true => self.event("waiting", json!({})),
            false => println!("watching for changes; Ctrl-C ends"),
        }
    }

    fn event(&self, event: &str, mut document: Value) {
        document["event"] = event.into();
        println!("{document}");
    }
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}
