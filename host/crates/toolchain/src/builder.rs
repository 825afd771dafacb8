//! `aimass build`: from a project to a component.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::cache::write_whole;
use crate::command::{cargo, run};
use crate::ladder::{self, Rung, Toolchain};
use crate::progress::{Progress, Stage, Watch};
use crate::project::Project;
use crate::{Cache, Language, Result, TARGET, ToolchainError, component, script, sdk};

/// A first build fetches and compiles every dependency.
const LIMIT: Duration = Duration::from_secs(1800);

/// The profile that guests are built with. A project that defines it is built as it says; for one that does not, this
/// is small and quick: nothing unwinds out of a component, and its symbols are of no use there. Optimised for speed: for
/// size the example plugins are no more than 15 % smaller (file-type 155 for 183 kB, counter 65.0 for 65.4).
pub(crate) const PROFILE: &str = "plugin";
const PROFILE_SETTINGS: [&str; 6] =
    ["inherits=\"release\"", "opt-level=3", "lto=true", "codegen-units=1", "panic=\"abort\"", "strip=true"];

/// How to build; the default is right for nearly all.
///
/// ```
/// use aimass_toolchain::{BuildOptions, Rung};
/// let options = BuildOptions { rung: Some(Rung::Debian), ..BuildOptions::default() };
/// assert!(!options.color);
/// ```
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// Use this rung and no other (default: `AIMASS_TOOLCHAIN`, else the first that holds).
    pub rung: Option<Rung>,
    /// Where toolchains and compiled dependencies are kept.
    pub cache: Cache,
    /// Whether the compiler's errors may be coloured.
    pub color: bool,
}

impl Default for BuildOptions {
    fn default() -> Self {
        let rung = std::env::var("AIMASS_TOOLCHAIN").ok().and_then(|text| text.parse().ok());
        Self { rung, cache: Cache::user(), color: false }
    }
}

/// What a build made.
#[derive(Clone, Debug)]
pub struct Built {
    /// The component: `target/aimass/<name>.wasm` of the project or of its workspace.
    pub component: PathBuf,
    /// What the project is written in.
    pub language: Language,
    /// What it was built with: for Rust the [`Rung`], else a program and its version.
    pub toolchain: String,
    /// How long it took.
    pub elapsed: Duration,
}

/// Builds the project in a folder. The first build on a machine may fetch a toolchain; later ones take seconds, since
/// all guests in Rust share one build folder in the cache, and what was built of the same files is kept there.
///
/// # Errors
/// [`ToolchainError::Compile`] with the compiler's own words; [`ToolchainError::NoToolchain`] and
/// [`ToolchainError::Missing`] that say what to install; [`ToolchainError::Project`] if the folder is no project that
/// makes a component.
pub fn build(project: &Path, options: BuildOptions, progress: &mut dyn FnMut(Progress)) -> Result<Built> {
    let started = Instant::now();
    let language = Language::of(project)?;
    let (component, toolchain) = match language {
        Language::Rust => rust(project, options, progress)?,
        other => {
            let (component, tool) = script::build(project, other, &options.cache, progress)?;
            (component, tool.to_owned())
        }
    };
    Ok(Built { component, language, toolchain, elapsed: started.elapsed() })
}

fn rust(project: &Path, options: BuildOptions, progress: &mut dyn FnMut(Progress)) -> Result<(PathBuf, String)> {
    let project = Project::read(project)?;
    let toolchain = ladder::climb(&project.folder, &options.cache, options.rung, progress)?;
    tracing::debug!(project = %project.name, rung = %toolchain.rung, "building a guest");

    let made = compile(&project, &toolchain, &options, progress)?;
    // The build folder is shared, where another project of the same name may overwrite it next.
    let bytes = component::read(&made)?;
    let component = project.target_directory.join("aimass").join(format!("{}.wasm", project.name));
    write_whole(&component, &bytes)?;
    Ok((component, toolchain.rung.to_string()))
}

fn compile(project: &Project, toolchain: &Toolchain, options: &BuildOptions, watch: Watch<'_>) -> Result<PathBuf> {
    watch(Progress::new(Stage::Compile, &project.name));
    let mut command = cargo();
    command
        .args(["build", "--lib", "--target", TARGET, "--profile", PROFILE, "--manifest-path"])
        .arg(&project.manifest)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(&project.folder)
        .envs(toolchain.env.iter().map(|(name, value)| (name, value)))
        .env("CARGO_TARGET_DIR", options.cache.folder("build")?.join(&toolchain.key))
        .env("CARGO_TERM_COLOR", if options.color { "always" } else { "never" })
        .env("CARGO_TERM_PROGRESS_WHEN", "never");
    if !project.own_profile {
        for setting in PROFILE_SETTINGS {
            command.arg("--config").arg(format!("profile.{PROFILE}.{setting}"));
        }
    }
    if project.sdk_by_version {
        let sdk = sdk::unpack(&options.cache)?;
        sdk::point_to(&project.folder, &sdk)?;
        command.arg("--config").arg(sdk::patch(&sdk));
    }

    let mut errors = String::new();
    let ended = run(&mut command, LIMIT, &mut |line| match step(line) {
        Some(unit) => watch(Progress::new(Stage::Compile, unit)),
        None => {
            errors.push_str(line);
            errors.push('\n');
        }
    })?;
    if !ended.status.success() {
        return Err(ToolchainError::Compile(errors.trim().to_owned()));
    }
    let made = ended.stdout.lines().filter_map(|line| artifact(line, &project.manifest)).next_back();
    made.ok_or_else(|| ToolchainError::Project {
        project: project.folder.clone(),
        why: "cargo made no .wasm of it".into(),
    })
}

/// What cargo says it is at: "   Compiling serde v1.0.0". Anything else is worth reading if the build fails.
fn step(line: &str) -> Option<&str> {
    let bare = line.trim_start();
    let (verb, rest) = bare.split_once(' ').unwrap_or((bare, ""));
    // Cargo right-aligns its verbs in twelve columns; what the compiler says starts at the first.
    let aligned = line.len() > bare.len();
    let known = ["Compiling", "Downloading", "Downloaded", "Updating", "Locking", "Adding", "Blocking", "Finished"];
    (aligned && known.contains(&verb)).then(|| match verb {
        "Compiling" => rest.split(" (").next().unwrap_or(rest),
        _ => bare,
    })
}

/// The component that a line of cargo's messages says was made of the project.
fn artifact(line: &str, manifest: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        #[serde(default)]
        manifest_path: PathBuf,
        #[serde(default)]
        filenames: Vec<PathBuf>,
    }
    let message: Message = serde_json::from_str(line).ok()?;
    let ours = message.reason == "compiler-artifact" && message.manifest_path == manifest;
    message.filenames.into_iter().find(|f| ours && f.extension().is_some_and(|e| e == "wasm"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_from_errors() {
        assert_eq!(step("   Compiling serde v1.0.0"), Some("serde v1.0.0"));
        assert_eq!(step("   Compiling x v0.1.0 (/some/where)"), Some("x v0.1.0"));
        assert_eq!(step("    Blocking waiting for file lock"), Some("Blocking waiting for file lock"));
        assert_eq!(step("error[E0308]: mismatched types"), None);
        assert_eq!(step("   |     Compiling"), None);
    }

    #[test]
    fn the_component_is_found_among_cargos_messages() {
        let line = |manifest: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}","filenames":["/t/libx.rlib","/t/x.wasm"]}}"#
            )
        };
        assert_eq!(artifact(&line("/p/Cargo.toml"), Path::new("/p/Cargo.toml")), Some("/t/x.wasm".into()));
        assert_eq!(artifact(&line("/other/Cargo.toml"), Path::new("/p/Cargo.toml")), None);
        assert_eq!(artifact(r#"{"reason":"build-finished","success":true}"#, Path::new("/p/Cargo.toml")), None);
    }
}
