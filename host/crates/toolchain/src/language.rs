//! The languages that guests are written in.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use serde::Serialize;

use crate::{Result, ToolchainError};

/// What a guest is written in.
///
/// ```
/// use aimass_toolchain::Language;
/// assert_eq!("python".parse(), Ok(Language::Python));
/// assert_eq!(Language::JavaScript.to_string(), "javascript");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Compiled by cargo: small and fast.
    Rust,
    /// `componentize-py` puts CPython into the component.
    Python,
    /// `componentize-js` puts StarlingMonkey (Firefox's engine) into it.
    JavaScript,
}

impl Language {
    /// Every language, the default first.
    pub const ALL: [Self; 3] = [Self::Rust, Self::Python, Self::JavaScript];

    /// What the project in a folder is written in, by the files that its language's own tools know it by.
    ///
    /// # Errors
    /// [`ToolchainError::Project`] if there is none of them.
    pub fn of(folder: &Path) -> Result<Self> {
        let holds = |name: &str| folder.join(name).is_file();
        if holds("Cargo.toml") {
            Ok(Self::Rust)
        } else if holds("pyproject.toml") || holds("app.py") {
            Ok(Self::Python)
        } else if holds("package.json") {
            Ok(Self::JavaScript)
        } else {
            let why =
                "it holds no Cargo.toml, pyproject.toml, app.py or package.json; make a project with `aimass new`";
            Err(ToolchainError::Project { project: folder.to_owned(), why: why.to_owned() })
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::JavaScript => "javascript",
        })
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|language| language.to_string() == text);
        found.ok_or_else(|| "the languages are `rust`, `python` and `javascript`".into())
    }
}

/// Whether somebody wrote a file of a project, by its path inside the project: what tools make lies in folders of their
/// own, and what begins with a dot is about the project, not of it.
///
/// ```
/// use aimass_toolchain::is_source;
/// assert!(is_source("src/lib.rs".as_ref()));
/// assert!(!is_source("target/aimass/x.wasm".as_ref()));
/// ```
pub fn is_source(inside: &Path) -> bool {
    const MADE: [&str; 4] = ["target", "node_modules", "__pycache__", "dist"];
    inside.components().all(|part| match part {
        Component::Normal(name) => !MADE.iter().any(|made| name == OsStr::new(made)) && !hidden(name),
        _ => true,
    })
}

fn hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().first() == Some(&b'.')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_known_by_its_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let error = Language::of(dir.path()).unwrap_err().to_string();
        assert!(error.contains("aimass new"), "{error}");
        // Each goes before those that stood there already.
        for (file, language) in [
            ("package.json", Language::JavaScript),
            ("app.py", Language::Python),
            ("pyproject.toml", Language::Python),
            ("Cargo.toml", Language::Rust),
        ] {
            std::fs::write(dir.path().join(file), "").unwrap();
            assert_eq!(Language::of(dir.path()).unwrap(), language, "{file}");
        }
    }

    #[test]
    fn every_language_is_read_as_it_is_written() {
        for language in Language::ALL {
            assert_eq!(language.to_string().parse(), Ok(language));
        }
        assert!("perl".parse::<Language>().is_err());
    }

    #[test]
    fn what_tools_make_is_no_source() {
        for made in
            ["target", "a/__pycache__/x.pyc", "node_modules/x/index.js", "dist/app.js", ".git/HEAD", ".venv/bin/python"]
        {
            assert!(!is_source(Path::new(made)), "{made}");
        }
        assert!(is_source(Path::new("a/targets.py")));
    }
}
