//! Running programs: with a time limit, with their output read while they run, without what this process inherited.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::{Result, ToolchainError};

/// What a program wrote, if it ended well.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<String> {
    let ended = run(command, limit, &mut |_| {})?;
    match ended.status.success() {
        true => Ok(ended.stdout),
        false => Err(failed(command, &format!("failed ({}): {}", ended.status, tail(&ended.stderr)))),
    }
}

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program and hands each line of its standard error on as it comes.
pub(crate) fn run(command: &mut Command, limit: Duration, line: &mut dyn FnMut(&str)) -> Result<Ended> {
    let deadline = Instant::now() + limit;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => failed(command, "is not installed, or not on the PATH"),
        _ => failed(command, &format!("did not start: {e}")),
    })?;
    let stdout = child.stdout.take().map(|pipe| std::thread::spawn(move || read_all(pipe)));
    let lines = child.stderr.take().map(read_lines);

    let mut stderr = String::new();
    while let Some(lines) = &lines {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(text) => {
                line(&text);
                stderr.push_str(&text);
                stderr.push('\n');
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(too_long(command, child, limit)),
        }
    }
    // Standard error is closed: as good as ended.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() > deadline => return Err(too_long(command, child, limit)),
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(e) => return Err(failed(command, &format!("cannot be waited for: {e}"))),
        }
    };
    let stdout = stdout.and_then(|reader| reader.join().ok()).unwrap_or_default();
    Ok(Ended { status, stdout, stderr })
}

fn read_all(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.read_to_end(&mut bytes); // what was read before an error is of use
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { break };
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    receiver
}

fn too_long(command: &Command, mut child: Child, limit: Duration) -> ToolchainError {
    let _ = child.kill();
    let _ = child.wait();
    failed(command, &format!("did not end within {} s", limit.as_secs()))
}

pub(crate) fn failed(command: &Command, why: &str) -> ToolchainError {
    let words = std::iter::once(command.get_program()).chain(command.get_args().take(3));
    let program = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    ToolchainError::Program { program, why: why.to_owned() }
}

/// The last lines of what a program wrote: the reason is mostly there.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// A cargo that knows nothing of the build that this process may be part of (`cargo run` and `cargo test` set much),
/// and nothing that would change what a guest is compiled with.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let foreign = ["RUSTC", "RUSTFLAGS", "RUSTDOC", "RUSTDOCFLAGS", "OUT_DIR", "TARGET", "HOST"].contains(&&*text);
        let kept = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_TERM_"];
        if foreign || (text.starts_with("CARGO") && !kept.iter().any(|k| text.starts_with(k))) {
            command.env_remove(&name);
        }
    }
    command
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_arrive_and_both_outputs_are_kept() {
        let mut seen = Vec::new();
        let ended = run(&mut sh("echo out; echo a >&2; echo b >&2; exit 3"), Duration::from_secs(10), &mut |l| {
            seen.push(l.to_owned());
        });
        let ended = ended.unwrap();
        assert_eq!(
            (seen, ended.stdout.as_str(), ended.status.code()),
            (vec!["a".into(), "b".into()], "out\n", Some(3))
        );
    }

    #[test]
    fn a_program_that_hangs_is_ended_at_the_limit() {
        let started = Instant::now();
        let error = output(&mut sh("exec sleep 30"), Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = output(&mut Command::new("no-such-program"), Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("`no-such-program` is not installed"), "{error}");
    }
}
