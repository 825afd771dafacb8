//! What a project says of itself, in the file where its language says such things.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{python, sources};
use crate::error::At;
use crate::{Language, Result, ToolchainError, cache, wit};

/// What the component is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum World {
    /// Called like a model.
    #[default]
    Model,
    /// Told of events.
    Event,
    /// An HTTP function.
    Http,
}

impl World {
    /// Its name in the package `aimass:guest`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Event => "event",
            Self::Http => "http",
        }
    }
}

/// What a build needs to know.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) folder: PathBuf,
    /// The folder's name, by which it is pushed as well.
    pub(super) name: String,
    pub(super) world: World,
    /// The file that is imported: `app.py`, or what `package.json` names as `main`.
    pub(super) entry: String,
    /// JavaScript: whether there is a script `build` to run first.
    pub(super) has_build: bool,
    /// JavaScript: whether a `.js` file is a module, as Node.js sees it.
    pub(super) is_module: bool,
}

/// `[tool.aimass]` of `pyproject.toml`, and `aimass` of `package.json`.
#[derive(Default, Deserialize)]
struct Settings {
    #[serde(default)]
    world: World,
}

#[derive(Default, Deserialize)]
struct PyProject {
    #[serde(default)]
    tool: Tool,
}

#[derive(Default, Deserialize)]
struct Tool {
    #[serde(default)]
    aimass: Settings,
}

#[derive(Deserialize)]
struct Package {
    main: Option<String>,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    scripts: Scripts,
    #[serde(default)]
    aimass: Settings,
}

#[derive(Default, Deserialize)]
struct Scripts {
    build: Option<String>,
}

impl Project {
    /// Reads the project in `folder`.
    pub(super) fn read(folder: &Path, language: Language) -> Result<Self> {
        let wrong = |why: String| ToolchainError::Project { project: folder.to_owned(), why };
        let full = folder.canonicalize().map_err(|e| wrong(e.to_string()))?;
        let name = full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let project = match language {
            Language::JavaScript => {
                let path = full.join("package.json");
                let text = fs::read_to_string(&path).at(&path)?;
                let package: Package =
                    serde_json::from_str(&text).map_err(|e| wrong(format!("its package.json: {e}")))?;
                Self {
                    name,
                    world: package.aimass.world,
                    entry: package.main.unwrap_or_else(|| "app.js".to_owned()),
                    has_build: package.scripts.build.is_some(),
                    is_module: package.kind == "module",
                    folder: full,
                }
            }
            _ => {
                // One file is a project too.
                let path = full.join("pyproject.toml");
                let text = if path.exists() { fs::read_to_string(&path).at(&path)? } else { String::new() };
                let manifest: PyProject =
                    toml::from_str(&text).map_err(|e| wrong(format!("its pyproject.toml: {}", e.message())))?;
                let (world, entry) = (manifest.tool.aimass.world, "app.py".to_owned());
                Self { name, world, entry, has_build: false, is_module: false, folder: full }
            }
        };
        // What a script builds is not there before.
        match project.has_build || project.folder.join(&project.entry).is_file() {
            true => Ok(project),
            false => Err(wrong(format!("it holds no {}", project.entry))),
        }
    }

    /// Names what would be built with `tool`: different files, tools or interfaces, another name.
    pub(super) fn key(&self, tool: &str) -> Result<String> {
        // The file to begin with may be a bundle, which is not among the sources.
        let entry = self.folder.join(&self.entry);
        let entry = fs::read(&entry).at(&entry)?;
        let mut parts = vec![tool.into(), self.world.name().into(), self.entry.clone().into_bytes(), entry];
        for (path, text) in wit::files() {
            parts.extend([path.into_bytes(), text.into()]);
        }
        parts.extend(python::packages(&self.folder).into_iter().map(String::into_bytes));
        for inside in sources(&self.folder)? {
            let path = self.folder.join(&inside);
            parts.push(inside.into_os_string().into_encoded_bytes());
            parts.push(fs::read(&path).at(&path)?);
        }
        Ok(cache::key(parts))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(language: Language, files: &[(&str, &str)]) -> Result<Project> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            fs::write(dir.path().join(path), text).unwrap();
        }
        Project::read(dir.path(), language)
    }

    #[test]
    fn one_file_of_python_is_a_project() {
        let project = read(Language::Python, &[("app.py", "")]).unwrap();
        assert_eq!((project.world, project.entry.as_str()), (World::Model, "app.py"));
    }

    #[test]
    fn manifests_name_the_world_and_the_file_to_begin_with() {
        let python = [("app.py", ""), ("pyproject.toml", "[tool.aimass]\nworld = \"http\"")];
        assert_eq!(read(Language::Python, &python).unwrap().world, World::Http);
        let package = r#"{"type":"module","main":"main.js","aimass":{"world":"http"}}"#;
        let project = read(Language::JavaScript, &[("package.json", package), ("main.js", "")]).unwrap();
        assert_eq!((project.world, project.entry.as_str(), project.is_module), (World::Http, "main.js", true));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |language, files| read(language, files).unwrap_err().to_string();
        let unknown = [("app.py", ""), ("pyproject.toml", "[tool.aimass]\nworld = \"moon\"")];
        assert!(error(Language::Python, &unknown).contains("unknown variant `moon`"));
        assert!(error(Language::Python, &[("pyproject.toml", "")]).contains("no app.py"));
        assert!(error(Language::JavaScript, &[("package.json", "{}")]).contains("no app.js"));
        assert!(error(Language::JavaScript, &[("package.json", "{")]).contains("package.json"));
    }
}
