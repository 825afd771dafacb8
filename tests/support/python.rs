//! Real clients in Python, and reference implementations, installed once into the cache folder.

use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::root;

/// Packages that are installed together.
struct Environment {
    /// In `tests/clients`.
    requirements: &'static str,
    options: &'static [&'static str],
    folder: OnceLock<PathBuf>,
}

/// What the clients need.
static CLIENTS: Environment = Environment { requirements: "requirements.txt", options: &[], folder: OnceLock::new() };
/// What the example plugins are compared with.
static REFERENCES: Environment =
    Environment { requirements: "references.txt", options: &["--no-deps"], folder: OnceLock::new() };
/// Standard Webhooks' own library.
static WEBHOOKS: Environment = Environment { requirements: "webhooks.txt", options: &[], folder: OnceLock::new() };
/// What tokens are forged with.
static ATTACKERS: Environment = Environment { requirements: "attackers.txt", options: &[], folder: OnceLock::new() };
/// What calls the whole API.
static CALLERS: Environment = Environment { requirements: "schemathesis.txt", options: &[], folder: OnceLock::new() };
/// What drives a browser.
static BROWSER: Environment = Environment { requirements: "browser.txt", options: &[], folder: OnceLock::new() };
/// A storage that speaks S3.
static BUCKETS: Environment = Environment { requirements: "buckets.txt", options: &[], folder: OnceLock::new() };

/// What data files are made and read with.
static DATA: Environment = Environment { requirements: "data.txt", options: &["--no-deps"], folder: OnceLock::new() };

impl Environment {
    /// The folder that holds the packages. `pip --target` needs no virtual environment, which Debian packages apart.
    fn folder(&self) -> &Path {
        self.folder.get_or_init(|| {
            let requirements = root().join("tests/clients").join(self.requirements);
            // What is in the file is part of the folder's name, so that a change makes a new environment.
            let key = &aimass_core::Digest::of(&std::fs::read(&requirements).unwrap()).hex()[..16];
            let folder = aimass_toolchain::Cache::user().path().join(format!("python-{key}"));
            if !folder.join("complete").exists() {
                let _ = std::fs::remove_dir_all(&folder);
                let mut pip = Command::new("python3");
                pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(self.options);
                run(pip.arg("--target").arg(&folder).arg("--requirement").arg(requirements));
                std::fs::write(folder.join("complete"), "").unwrap();
            }
            folder
        })
    }

    /// Python with the packages. A client that hangs is ended, so that its test fails instead.
    fn python(&self) -> Command {
        let mut command = Command::new("timeout");
        command.args(["300", "python3"]).env("PYTHONPATH", self.folder());
        command
    }
}

/// Runs a client of `tests/clients` and returns what it printed; fails with what it said.
pub fn client(script: &str, arguments: &[&str]) -> String {
    run(CLIENTS.python().arg(path(script)).args(arguments))
}

/// The same for a script that needs the packages of `references.txt`.
pub fn reference(script: &str, arguments: &[&str]) -> String {
    run(REFERENCES.python().arg(path(script)).args(arguments))
}

/// The same for a script that needs the packages of `attackers.txt`.
pub fn attacker(script: &str, arguments: &[&str]) -> String {
    run(ATTACKERS.python().arg(path(script)).args(arguments))
}

/// The same for a script that needs the packages of `schemathesis.txt`.
pub fn caller(script: &str, arguments: &[&str]) -> String {
    run(CALLERS.python().arg(path(script)).args(arguments))
}

/// The same for a script that needs the packages of `data.txt`.
pub fn data(script: &str, arguments: &[&str]) -> String {
    run(DATA.python().arg(path(script)).args(arguments))
}

/// Runs a script that reads `input` and needs the packages of `webhooks.txt`, and returns what it printed.
pub fn webhooks(script: &str, input: &[u8]) -> String {
    webhooks_with(script, &[], input)
}

/// The same with arguments.
pub fn webhooks_with(script: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    file.rewind().unwrap();
    run(WEBHOOKS.python().arg(path(script)).args(arguments).stdin(file))
}

/// The same for a script that needs the packages of `browser.txt`.
pub fn browser(script: &str, arguments: &[&str]) -> String {
    run(BROWSER.python().arg(path(script)).args(arguments))
}

/// Starts a client that talks over its standard input and output.
pub fn start(script: &str, arguments: &[&str]) -> Child {
    let mut command = CLIENTS.python();
    command.arg(path(script)).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Starts the storage of `bucket.py`, which talks over its standard input and output.
pub fn bucket() -> Child {
    let mut command = BUCKETS.python();
    // It looks for credentials of this machine's otherwise.
    command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null").env("AWS_CONFIG_FILE", "/dev/null");
    command.arg(path("bucket.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Runs a client that reads `input`, and returns what it printed.
pub fn filter(script: &str, input: &[u8]) -> String {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    file.rewind().unwrap();
    run(CLIENTS.python().arg(path(script)).stdin(file))
}

fn path(script: &str) -> PathBuf {
    root().join("tests/clients").join(script)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{error}", output.status);
    out.into_owned()
}
