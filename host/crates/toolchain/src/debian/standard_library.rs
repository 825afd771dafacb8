//! Compiles the standard library for the guests' target, and lays it out in the sysroot.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{environment, in_folder};
use crate::command::{self, run};
use crate::error::At;
use crate::progress::{Progress, Stage, Watch};
use crate::{Result, TARGET, ToolchainError};

/// About a minute of two cores; more where they are shared.
const LIMIT: Duration = Duration::from_secs(1800);

/// An empty crate: whatever is compiled for it is the standard library.
const CRATE: &str = "aimass-nothing";

/// Builds it from the unpacked source, which is removed afterwards.
pub(super) fn build(root: &Path, watch: Watch<'_>) -> Result<()> {
    let source = in_folder(&root.join("usr/src"), "rustc-", "")?.join("library");
    let project = root.join("build");
    write_crate(&project)?;

    let mut cargo = command::cargo();
    cargo
        .args(["build", "--release", "-Zbuild-std=std,panic_abort", "--target", TARGET])
        .current_dir(&project)
        .envs(environment(root))
        .env("CARGO_TARGET_DIR", project.join("target"))
        // Lets a stable rustc and cargo take `-Z`, and tells cargo where the library's source is.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", &source)
        // Machine code and bitcode, so that guests can be linked with and without LTO.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    let ended = run(&mut cargo, LIMIT, &mut |line| {
        if let Some(unit) = line.trim_start().strip_prefix("Compiling ") {
            let unit = unit.split(" (").next().unwrap_or(unit);
            watch(Progress::new(Stage::StandardLibrary, unit));
        }
    })?;
    if !ended.status.success() {
        return Err(ToolchainError::Compile(ended.stderr));
    }
    lay_out(root, &project.join("target").join(TARGET).join("release/deps"))?;
    for leftover in [project, root.join("usr/src"), root.join("usr/share")] {
        fs::remove_dir_all(&leftover).at(&leftover)?;
    }
    Ok(())
}

fn write_crate(project: &Path) -> Result<()> {
    let source = project.join("src");
    fs::create_dir_all(&source).at(&source)?;
    fs::write(source.join("lib.rs"), "").at(&source)?;
    let manifest = format!("[package]\nname = \"{CRATE}\"\nedition = \"2024\"\n[workspace]\n");
    fs::write(project.join("Cargo.toml"), manifest).at(project)
}

/// Copies what was compiled, and the C library, to where rustc looks for a target's.
fn lay_out(root: &Path, compiled: &Path) -> Result<()> {
    let libraries = root.join("usr/lib/rustlib").join(TARGET).join("lib");
    let start_files = libraries.join("self-contained");
    fs::create_dir_all(&start_files).at(&start_files)?;
    let own = format!("lib{}-", CRATE.replace('-', "_"));
    copy(compiled, &libraries, |name| name.ends_with(".rlib") && !name.starts_with(&own))?;
    copy(&root.join("usr/lib/wasm32-wasi"), &start_files, |name| name.ends_with(".o") || name.ends_with(".a"))
}

fn copy(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    for entry in fs::read_dir(from).at(from)? {
        let entry = entry.at(from)?;
        if wanted(&entry.file_name().to_string_lossy()) {
            fs::copy(entry.path(), to.join(entry.file_name())).at(&entry.path())?;
        }
    }
    Ok(())
}
