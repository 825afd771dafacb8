//! `aimass new`: a project that builds, with a unit test that passes.

use std::fs;
use std::path::Path;

use aimass_core::Name;

use crate::error::At;
use crate::{Cache, Language, Result, ToolchainError, sdk};

/// What a new project starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// A plugin that is called like a model.
    Model,
    /// An HTTP function.
    Http,
}

/// A file of a template: where it goes, and its text with `{{name}}` for the project's name.
type File = (&'static str, &'static str);

const RUST_IGNORES: File = (".gitignore", "/target\n/.cargo/config.toml\n");
const PYTHON_IGNORES: File = (".gitignore", "/target\n/.venv\n__pycache__\n");
const JAVASCRIPT_IGNORES: File = (".gitignore", "/target\n/node_modules\n");

macro_rules! template {
    ($ignores:ident, $folder:literal: $($from:literal => $to:literal),*) => {
        &[$ignores, $(($to, include_str!(concat!("../templates/", $folder, "/", $from)))),*]
    };
}

const RUST_MODEL: &[File] =
    template!(RUST_IGNORES, "model": "Cargo.toml.in" => "Cargo.toml", "lib.rs.in" => "src/lib.rs");
const RUST_HTTP: &[File] =
    template!(RUST_IGNORES, "http": "Cargo.toml.in" => "Cargo.toml", "lib.rs.in" => "src/lib.rs");
const PYTHON_MODEL: &[File] =
    template!(PYTHON_IGNORES, "python/model": "pyproject.toml.in" => "pyproject.toml", "app.py.in" => "app.py");
const PYTHON_HTTP: &[File] =
    template!(PYTHON_IGNORES, "python/http": "pyproject.toml.in" => "pyproject.toml", "app.py.in" => "app.py");
const JAVASCRIPT_MODEL: &[File] =
    template!(JAVASCRIPT_IGNORES, "javascript/model": "package.json.in" => "package.json", "app.js.in" => "app.js");
const JAVASCRIPT_HTTP: &[File] =
    template!(JAVASCRIPT_IGNORES, "javascript/http": "package.json.in" => "package.json", "app.js.in" => "app.js");

/// The file that a person edits first, by its path in the project.
pub fn first_file(language: Language) -> &'static str {
    match language {
        Language::Rust => "src/lib.rs",
        Language::Python => "app.py",
        Language::JavaScript => "app.js",
    }
}

/// Makes a project in `dir`, which must not exist or be empty.
///
/// ```
/// use aimass_toolchain::{Language, Template, new_project};
/// let parent = tempfile::tempdir()?;
/// let dir = parent.path().join("my-plugin");
/// new_project(&dir, "my-plugin", Language::Python, Template::Http)?;
/// assert!(dir.join("app.py").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ToolchainError::NotEmpty`], [`ToolchainError::Name`], [`ToolchainError::Io`].
pub fn new_project(dir: &Path, name: &str, language: Language, template: Template) -> Result<()> {
    name.parse::<Name>().map_err(|fault| ToolchainError::Name(fault.detail().to_owned()))?;
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ToolchainError::NotEmpty(dir.to_owned()));
    }
    let files = match (language, template) {
        (Language::Rust, Template::Model) => RUST_MODEL,
        (Language::Rust, Template::Http) => RUST_HTTP,
        (Language::Python, Template::Model) => PYTHON_MODEL,
        (Language::Python, Template::Http) => PYTHON_HTTP,
        (Language::JavaScript, Template::Model) => JAVASCRIPT_MODEL,
        (Language::JavaScript, Template::Http) => JAVASCRIPT_HTTP,
    };
    for (file, text) in files {
        let path = dir.join(file);
        let folder = path.parent().unwrap_or(dir);
        fs::create_dir_all(folder).at(folder)?;
        fs::write(&path, text.replace("{{name}}", name)).at(&path)?;
    }
    if (language, template) == (Language::Rust, Template::Model) {
        sdk::point_to(dir, &sdk::unpack(&Cache::user())?)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_and_a_bad_name_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name| new_project(dir.path(), name, Language::Rust, Template::Http);
        assert!(matches!(make("../x"), Err(ToolchainError::Name(_))));
        fs::write(dir.path().join("precious"), "").unwrap();
        assert!(matches!(make("x"), Err(ToolchainError::NotEmpty(_))));
    }

    #[test]
    fn the_name_is_filled_in_everywhere() {
        let dir = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            for template in [Template::Model, Template::Http] {
                let project = dir.path().join(format!("{language}-{template:?}"));
                new_project(&project, "my-function", language, template).unwrap();
                assert_eq!(Language::of(&project).unwrap(), language);
                let mut named = 0;
                for file in ["Cargo.toml", "pyproject.toml", "package.json", first_file(language)] {
                    let Ok(text) = fs::read_to_string(project.join(file)) else { continue };
                    assert!(!text.contains("{{"), "{file}");
                    named += usize::from(text.contains("my-function"));
                }
                assert!(named > 0 && project.join(first_file(language)).exists(), "{language} {template:?}");
            }
        }
    }
}
