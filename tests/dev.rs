//! `aimass dev`, as somebody works with it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Server, TOOLCHAIN, aimass, binary};

/// A build of a guest, on a machine that runs other tests as well.
const LIMIT: Duration = Duration::from_secs(240);

/// A session, and the lines that it prints.
struct Session {
    child: Child,
    lines: Receiver<String>,
}

impl Session {
    fn start(server: &Server, token: &str, project: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["--url", &server.url, "--token", token, "dev"])
            .arg(project)
            .args(more)
            .envs([TOOLCHAIN])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// Waits for a line with this text; answers all lines up to it.
    #[track_caller]
    fn until(&self, text: &str) -> Vec<String> {
        let (mut seen, end) = (vec![], Instant::now() + LIMIT);
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => seen.push(line),
                Err(e) => panic!("no {text:?}: {e}\n{}", seen.join("\n")),
            }
            if seen.last().is_some_and(|line| line.contains(text)) {
                return seen;
            }
        }
    }

    /// What Ctrl-C does; it must end well, and soon.
    #[track_caller]
    fn interrupt(mut self) {
        assert!(Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success());
        let started = Instant::now();
        assert!(self.child.wait().unwrap().success());
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

impl Drop for Session {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn dev_shows_the_new_answer_of_a_changed_file_and_outlives_a_mistake() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("greeter");
    aimass(&["new", project.to_str().unwrap(), "--template", "http"]);
    let source = project.join("src/lib.rs");
    let code = std::fs::read_to_string(&source).unwrap();
    let save = |code: &str| std::fs::write(&source, code).unwrap();

    let session = Session::start(&server, &acme.token, &project, &["--call", "/a?b"]);
    let first = session.until("watching for changes");
    let has = |lines: &[String], text: &str| assert!(lines.iter().any(|l| l.contains(text)), "{text:?}: {lines:#?}");
    has(&first, "of rust in");
    has(&first, "uploaded  greeter@1 in");
    has(&first, "answered  200 in");
    has(&first, "Hello from greeter at /a?b");
    // The log is followed: each call leaves a line when it ends.
    session.until("[call]");

    save(&code.replace("Hello from", "Good day from"));
    let second = session.until("Good day from greeter at /a?b");
    has(&second, "changed   src/lib.rs");
    has(&second, "uploaded  greeter@2 in");

    save(&code.replace("u16", "u61"));
    let mistake = session.until("watching for changes");
    let mistake = [mistake, session.until("watching for changes")].concat();
    has(&mistake, "failed    the build failed:");
    has(&mistake, "cannot find type `u61`");

    save(&code);
    session.until("uploaded  greeter@3 in");
    session.until("Hello from greeter at /a?b");

    // In the middle of a round as well.
    save(&code.replace("Hello from", "Good night from"));
    session.until("changed   src/lib.rs");
    session.interrupt();
}

#[test]
fn dev_tells_programs_in_json_and_calls_models_with_inputs() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("double");
    aimass(&["new", project.to_str().unwrap()]);
    let session = Session::start(&server, &acme.token, &project, &["--json", "--call", "x=[1,2.5]"]);
    let lines = session.until("\"waiting\"");
    let documents: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = documents.iter().map(|d| d["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["round", "built", "uploaded", "answer", "waiting"]);
    assert_eq!(documents[2]["version"]["version"], 1);
    assert_eq!(documents[3]["outputs"][0]["data"], serde_json::json!([2.0, 5.0]));
    session.interrupt();
}

#[test]
fn dev_refuses_what_can_never_work() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let acme = server.tenant("acme");
    let output = Command::new(binary())
        .args(["--url", &server.url, "--token", &acme.token, "dev"])
        .arg(folder.path())
        .args(["--name", "x"])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("make a project with `aimass new`"), "{error}");
}
