//! The toolchain's part of `aimass doctor`: what was found, and what to do about what is missing. Changes nothing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use crate::command::output;
use crate::script::{javascript, python};
use crate::{Cache, TARGET, debian, ladder};

const QUICK: Duration = Duration::from_secs(20);

/// One thing that was looked for.
///
/// ```
/// for finding in aimass_toolchain::findings() {
///     println!("{}: {} {}", finding.what, finding.found, finding.advice);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked for.
    pub what: String,
    /// What was found.
    pub found: String,
    /// What to do about it; empty where all is well.
    pub advice: String,
}

/// Looks for what `aimass build` and the models' packages need.
pub fn findings() -> Vec<Finding> {
    let cache = Cache::user();
    let mut found = vec![
        version("cargo", &["cargo", "--version"], "install Rust 1.95 or later, by rustup"),
        version("rustc", &["rustc", "--version"], "install Rust 1.95 or later, by rustup"),
        guests(&cache),
    ];
    found.push(script("python", python::version(), python::TOOL));
    found.push(script("javascript", javascript::version(), javascript::TOOL));
    found.push(pip());
    found.push(finding("toolchain cache", cache.path().display().to_string(), ""));
    found
}

/// Which rung the next build would take.
fn guests(cache: &Cache) -> Finding {
    let what = format!("toolchain: {TARGET}");
    if let Ok(Some(_)) = ladder::installed(Path::new(".")) {
        return finding(&what, "installed", "");
    }
    if let Some(cached) = debian::cached(cache) {
        return finding(&what, format!("debian, in the cache: rustc {}", cached.name()), "");
    }
    let rustup = output(Command::new("rustup").arg("--version"), QUICK).is_ok();
    let add = format!("the first build adds it: rustup target add {TARGET}");
    match debian::available() {
        Ok(version) if rustup => {
            finding(&what, "not yet", format!("{add}; if that fails, from Debian's packages (rustc {version})"))
        }
        Ok(version) => finding(
            &what,
            "not yet",
            format!("the first build fetches rustc {version} from Debian's packages, 140 MB, and takes some minutes"),
        ),
        Err(_) if rustup => finding(&what, "not yet", add),
        Err(why) => finding(&what, "none", format!("install rustup and run: rustup target add {TARGET} ({why})")),
    }
}

/// What guests in a language would be built with.
fn script(language: &str, version: crate::Result<String>, tool: &str) -> Finding {
    let what = format!("toolchain: {language} guests");
    match version {
        Ok(version) => finding(&what, format!("{version}, with {tool}"), ""),
        Err(why) => finding(&what, "none", format!("for guests in this language: {why}")),
    }
}

fn pip() -> Finding {
    for program in crate::fetch::PIPS {
        if let Ok(text) = output(Command::new(program[0]).args(&program[1..]).arg("--version"), QUICK) {
            return finding("pip (example models)", text.split(" from ").next().unwrap_or_default(), "");
        }
    }
    finding("pip (example models)", "none", "apt-get install python3-pip, for `aimass demo`")
}

fn version(what: &str, command: &[&str], advice: &str) -> Finding {
    match output(Command::new(command[0]).args(&command[1..]), QUICK) {
        Ok(text) => finding(&format!("toolchain: {what}"), text.trim(), ""),
        Err(_) => finding(&format!("toolchain: {what}"), "none", advice),
    }
}

fn finding(what: &str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { what: what.into(), found: found.into(), advice: advice.into() }
}
