//! A guest's project, as cargo sees it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::command::{cargo, output};
use crate::{Result, ToolchainError};

/// Resolving nothing, cargo only reads manifests.
const LIMIT: Duration = Duration::from_secs(60);

/// What a build needs to know.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) folder: PathBuf,
    pub(crate) manifest: PathBuf,
    pub(crate) name: String,
    /// The project's own (or its workspace's) `target`.
    pub(crate) target_directory: PathBuf,
    /// Whether it asks for the SDK by version, as a project outside this repository does.
    pub(crate) sdk_by_version: bool,
    /// Whether it brings a profile `plugin` of its own.
    pub(crate) own_profile: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    path: Option<PathBuf>,
}

impl Project {
    /// Reads the project in `folder`.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let wrong = |why: String| ToolchainError::Project { project: folder.to_owned(), why };
        let folder = folder.canonicalize().map_err(|e| wrong(e.to_string()))?;
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(wrong("it holds no Cargo.toml; make a project with `aimass new`".into()));
        }
        let mut command = cargo();
        command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(&manifest);
        // The target folder is asked for as the user set it; the build itself uses the cache's.
        if let Some(own) = std::env::var_os("CARGO_TARGET_DIR") {
            command.env("CARGO_TARGET_DIR", own);
        }
        let text = output(command.current_dir(&folder), LIMIT)?;
        let metadata: Metadata = serde_json::from_str(&text).map_err(|e| wrong(format!("cargo metadata: {e}")))?;
        let package = metadata.packages.into_iter().find(|p| p.manifest_path == manifest);
        let package = package.ok_or_else(|| wrong("its Cargo.toml describes a workspace; name a member".into()))?;
        if !package.targets.iter().any(|t| t.crate_types.iter().any(|kind| kind == "cdylib")) {
            return Err(wrong("it makes no component; its Cargo.toml needs [lib] crate-type = [\"cdylib\"]".into()));
        }
        Ok(Self {
            name: package.name,
            target_directory: metadata.target_directory,
            sdk_by_version: package.dependencies.iter().any(|d| d.name == "aimass-sdk" && d.path.is_none()),
            own_profile: has_profile(&metadata.workspace_root.join("Cargo.toml")),
            folder,
            manifest,
        })
    }
}

/// Profiles count where the workspace's root is.
fn has_profile(manifest: &Path) -> bool {
    let table = std::fs::read_to_string(manifest).ok().and_then(|text| text.parse::<toml::Table>().ok());
    table.is_some_and(|t| t.get("profile").is_some_and(|p| p.get(super::builder::PROFILE).is_some()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_project_and_a_library_that_is_no_component_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = Project::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("aimass new"), "{error}");

        std::fs::create_dir(dir.path().join("src")).unwrap();
        std::fs::write(dir.path().join("src/lib.rs"), "").unwrap();
        std::fs::write(dir.path().join("Cargo.toml"), "[package]\nname = \"x\"\n[workspace]\n").unwrap();
        let error = Project::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("cdylib"), "{error}");
    }
}
