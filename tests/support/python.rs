//! Real clients in Python, installed once into the cache folder.

use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::root;

/// What the clients need; the file is part of the folder's name, so that a change makes a new environment.
const REQUIREMENTS: &str = include_str!("../clients/requirements.txt");

/// The folder that holds the packages. `pip --target` needs no virtual environment, which Debian packages apart.
fn packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let key = &aimass_core::Digest::of(REQUIREMENTS.as_bytes()).hex()[..16];
        let folder = aimass_toolchain::Cache::user().path().join(format!("python-{key}"));
        if !folder.join("complete").exists() {
            let _ = std::fs::remove_dir_all(&folder);
            let requirements = root().join("tests/clients/requirements.txt");
            run(Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--target"])
                .arg(&folder)
                .arg("--requirement")
                .arg(requirements));
            std::fs::write(folder.join("complete"), "").unwrap();
        }
        folder
    })
}

/// Runs a client of `tests/clients` and returns what it printed; fails with what it said.
pub fn client(script: &str, arguments: &[&str]) -> String {
    let script = root().join("tests/clients").join(script);
    run(python().arg(script).args(arguments))
}

/// Starts a client that talks over its standard input and output.
pub fn start(script: &str, arguments: &[&str]) -> Child {
    let script = root().join("tests/clients").join(script);
    let mut command = python();
    command.arg(script).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Runs a client that reads `input`, and returns what it printed.
pub fn filter(script: &str, input: &[u8]) -> String {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    file.rewind().unwrap();
    let script = root().join("tests/clients").join(script);
    run(python().arg(script).stdin(file))
}

/// Python with the packages. A client that hangs is ended, so that its test fails instead.
fn python() -> Command {
    let mut command = Command::new("timeout");
    command.args(["120", "python3"]).env("PYTHONPATH", packages());
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{error}", output.status);
    out.into_owned()
}
