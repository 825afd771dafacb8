//! Which Rust compiles guests: what is tried, in which order.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::command::output;
use crate::progress::{Progress, Stage, Watch};
use crate::{Cache, Result, TARGET, ToolchainError, debian};

/// rustup fetches some 25 MB; where it cannot, it is not to be waited for.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);
const QUICK: Duration = Duration::from_secs(20);

/// Where the standard library for `wasm32-wasip2` comes from. Tried in this order, except that what was fetched once
/// goes before what would have to be fetched.
///
/// ```
/// use aimass_toolchain::Rung;
/// assert_eq!("debian".parse(), Ok(Rung::Debian));
/// assert_eq!(Rung::Installed.to_string(), "installed");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// The machine's Rust has it.
    Installed,
    /// `rustup target add` brings it.
    Rustup,
    /// Debian's packages hold a Rust with the source of its standard library, which is built once.
    Debian,
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Installed => "installed",
            Self::Rustup => "rustup",
            Self::Debian => "debian",
        })
    }
}

impl FromStr for Rung {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Installed, Self::Rustup, Self::Debian]
            .into_iter()
            .find(|rung| rung.to_string() == text)
            .ok_or_else(|| "the toolchains are `installed`, `rustup` and `debian`".into())
    }
}

/// A Rust that compiles guests.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    pub(crate) rung: Rung,
    /// What cargo runs with.
    pub(crate) env: Vec<(&'static str, std::ffi::OsString)>,
    /// Names a build folder that no other compiler uses.
    pub(crate) key: String,
}

/// The toolchain for a project: found, or fetched. `only` restricts it to one rung.
pub(crate) fn climb(project: &Path, cache: &Cache, only: Option<Rung>, watch: Watch<'_>) -> Result<Toolchain> {
    watch(Progress::new(Stage::Find, TARGET));
    let wants = |rung| only.is_none_or(|o| o == rung);
    let mut reasons = Vec::new();

    if wants(Rung::Installed) {
        match installed(project) {
            Ok(Some(toolchain)) => return Ok(toolchain),
            Ok(None) => reasons.push(format!("- the Rust here has no {TARGET}")),
            Err(e) => reasons.push(format!("- {e}")),
        }
    }
    if wants(Rung::Debian)
        && let Some(found) = debian::cached(cache)
    {
        return Ok(found.toolchain());
    }
    if wants(Rung::Rustup) {
        match rustup_add(project, watch).and_then(|()| installed(project)) {
            Ok(Some(toolchain)) => return Ok(Toolchain { rung: Rung::Rustup, ..toolchain }),
            Ok(None) => reasons.push("- rustup serves another Rust than the one on the PATH".into()),
            Err(e) => reasons.push(format!("- {e}")),
        }
    }
    if wants(Rung::Debian) {
        match debian::install(cache, watch) {
            Ok(installed) => return Ok(installed.toolchain()),
            Err(e) => reasons.push(format!("- {e}")),
        }
    }
    let advice = format!("Install it: `rustup target add {TARGET}`, or on Debian 12 and later what `apt-get` needs.");
    Err(ToolchainError::NoToolchain(format!("{}\n{advice}", reasons.join("\n"))))
}

/// The machine's own Rust (or the one that the project's `rust-toolchain` asks for), if it has the target.
pub(crate) fn installed(project: &Path) -> Result<Option<Toolchain>> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]).current_dir(project);
    let folder = PathBuf::from(output(&mut rustc, QUICK)?.trim());
    let has_std = std::fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|e| {
            let name = e.map(|e| e.file_name()).unwrap_or_default();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    });
    if !has_std {
        return Ok(None);
    }
    let version = output(Command::new("rustc").arg("-vV").current_dir(project), QUICK)?;
    Ok(Some(Toolchain { rung: Rung::Installed, env: Vec::new(), key: crate::cache::key([version]) }))
}

fn rustup_add(project: &Path, watch: Watch<'_>) -> Result<()> {
    watch(Progress::new(Stage::Download, format!("rustup target add {TARGET}")));
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).current_dir(project);
    output(&mut rustup, RUSTUP_LIMIT).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_is_read_as_it_is_written() {
        for rung in [Rung::Installed, Rung::Rustup, Rung::Debian] {
            assert_eq!(rung.to_string().parse(), Ok(rung));
        }
        assert!("cargo".parse::<Rung>().is_err());
    }

    #[test]
    fn without_any_toolchain_the_error_says_what_to_install() {
        // A compiler of which no project can be compiled: the folder does not exist.
        let cache = tempfile::tempdir().unwrap();
        let nowhere = cache.path().join("nowhere");
        let error = climb(&nowhere, &Cache::at(cache.path()), Some(Rung::Installed), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("rustup target add wasm32-wasip2"), "{error}");
    }
}
