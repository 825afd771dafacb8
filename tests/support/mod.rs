//! A real server in a real process, and clients for it.

pub mod clock;
pub mod files;
pub mod frames;
pub mod guests;
pub mod http;
pub mod idp;
pub mod onnx;
pub mod python;
pub mod tls;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

pub use http::{Answer, Client};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The binary under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_aimass")
}

/// Everything that a token can hold, but the operator's.
pub const ALL_SCOPES: &[&str] = &[
    "plugins:read",
    "plugins:write",
    "plugins:invoke",
    "models:read",
    "models:write",
    "models:invoke",
    "signers:write",
    "tokens:read",
    "tokens:write",
    "audit:read",
    "identity:read",
    "identity:write",
    "egress:read",
    "egress:write",
    "usage:read",
    "triggers:read",
    "triggers:write",
    "data:read",
    "data:write",
    "jobs:read",
    "jobs:write",
    "webhooks:read",
    "webhooks:write",
];

/// A node over a folder of its own. Dropping it kills the process.
pub struct Server {
    pub data: PathBuf,
    pub url: String,
    pub child: Child,
    _folder: Option<TempDir>,
}

impl Server {
    /// Starts a node on a free port over a new folder.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with further arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self::on(folder.path(), arguments);
        server._folder = Some(folder);
        server
    }

    /// Starts a node over a folder that stays.
    pub fn on(data: &Path, arguments: &[&str]) -> Self {
        Self::try_on(data, arguments).unwrap_or_else(|error| panic!("the server did not start: {error}"))
    }

    /// Starts a node, or returns what it said instead.
    pub fn try_on(data: &Path, arguments: &[&str]) -> Result<Self, String> {
        Self::try_on_with(data, arguments, &[])
    }

    /// The same with further variables in its environment.
    pub fn try_on_with(data: &Path, arguments: &[&str], variables: &[(&str, &Path)]) -> Result<Self, String> {
        let mut child = Command::new(binary())
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments)
            // Which engine serves is the test's to say, not this machine's.
            .envs(arguments.iter().all(|a| *a != "--onnxruntime").then_some(("AIMASS_ONNXRUNTIME", "off")))
            .envs(variables.iter().copied())
            .env("AIMASS_LOG", std::env::var("AIMASS_LOG").unwrap_or_else(|_| "error".to_owned()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // The first document is pretty-printed or not; it ends with the line that closes it.
        while serde_json::from_str::<Value>(&text).is_err() {
            let before = text.len();
            out.read_line(&mut text).unwrap();
            if text.len() == before {
                let mut error = String::new();
                std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut error).unwrap();
                child.wait().unwrap();
                return Err(error);
            }
        }
        // What it logs goes on to the test's own output.
        let errors = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            BufReader::new(errors).lines().map_while(Result::ok).for_each(|line| eprintln!("{line}"))
        });
        let first: Value = serde_json::from_str(&text).unwrap();
        let url = first["url"].as_str().unwrap().to_owned();
        Ok(Self { data: data.to_owned(), url, child, _folder: None })
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// A client without a token.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.url, "")
    }

    /// A client with a token.
    pub fn with(&self, token: &str) -> Client {
        Client::new(&self.url, token)
    }

    /// The operator.
    pub fn operator(&self) -> Client {
        let token = std::fs::read_to_string(self.data.join("operator.token")).unwrap();
        Client::new(&self.url, &token)
    }

    /// Creates a tenant and returns a client that may do everything in it.
    pub fn tenant(&self, name: &str) -> Client {
        self.operator().post("/api/v1/tenants", &json!({ "name": name })).expect(201);
        self.token(name, ALL_SCOPES)
    }

    /// A client of a tenant with these scopes.
    pub fn token(&self, tenant: &str, scopes: &[&str]) -> Client {
        let wish = json!({ "subject": "test", "scopes": scopes });
        let minted = self.operator().post(&format!("/api/v1/tenants/{tenant}/tokens"), &wish).expect(201);
        self.with(minted.json()["token"].as_str().unwrap())
    }

    /// Sends a signal to the process.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Kills the process as a power cut would, and waits for its end.
    pub fn kill(mut self) -> Option<TempDir> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self._folder.take()
    }

    /// A figure of `/proc/<pid>/status`, in KiB where it is memory.
    pub fn figure(&self, field: &str) -> u64 {
        figure(self.child.id(), field)
    }

    /// The process that holds models on the CPU, if one runs.
    pub fn engine(&self) -> Option<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().flatten();
        let children = tasks.flat_map(|task| std::fs::read_to_string(task.path().join("children")));
        let children: Vec<u32> = children
            .flat_map(|line| line.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
            .collect();
        children.into_iter().find(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.ends_with("engine\0--device\0cpu\0")
        })
    }

    /// The processes that compile components just now.
    pub fn compilers(&self) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // The name in parentheses may hold anything; behind it stand the state and the parent.
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            parent == Some(self.child.id()) && line.ends_with("\0compile\0")
        })
        .collect()
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

/// A figure of a process's `/proc/<pid>/status`, in KiB where it is memory.
pub fn figure(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where guests' toolchains come from in the tests: Debian's packages, which every machine of ours has.
pub const TOOLCHAIN: (&str, &str) = ("AIMASS_TOOLCHAIN", "debian");

/// Runs `aimass` and returns what it printed; fails with what it said.
pub fn aimass(arguments: &[&str]) -> String {
    aimass_with(arguments, &[])
}

/// The same with further variables in its environment.
pub fn aimass_with(arguments: &[&str], variables: &[(&str, &Path)]) -> String {
    let variables = variables.iter().copied();
    let output = Command::new(binary()).args(arguments).envs([TOOLCHAIN]).envs(variables).output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "aimass {arguments:?}: {}\n{out}\n{error}", output.status);
    out.into_owned()
}

/// Waits until something is so.
pub fn eventually(what: &str, limit: Duration, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !is() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
