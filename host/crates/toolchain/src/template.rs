//! `aimass new`: a project that builds, with a unit test that passes.

use std::fs;
use std::path::Path;

use aimass_core::Name;

use crate::error::At;
use crate::{Cache, Result, ToolchainError, sdk};

/// What a new project starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// A plugin that is called like a model.
    Model,
    /// An HTTP function.
    Http,
}

const IGNORED: &str = "/target\n/.cargo/config.toml\n";

/// Makes a project in `dir`, which must not exist or be empty.
///
/// ```
/// use aimass_toolchain::{Template, new_project};
/// let parent = tempfile::tempdir()?;
/// let dir = parent.path().join("my-plugin");
/// new_project(&dir, "my-plugin", Template::Http)?;
/// assert!(dir.join("src/lib.rs").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ToolchainError::NotEmpty`], [`ToolchainError::Name`], [`ToolchainError::Io`].
pub fn new_project(dir: &Path, name: &str, template: Template) -> Result<()> {
    name.parse::<Name>().map_err(|fault| ToolchainError::Name(fault.detail().to_owned()))?;
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ToolchainError::NotEmpty(dir.to_owned()));
    }
    let (manifest, code) = match template {
        Template::Model => {
            (include_str!("../templates/model/Cargo.toml.in"), include_str!("../templates/model/lib.rs.in"))
        }
        Template::Http => {
            (include_str!("../templates/http/Cargo.toml.in"), include_str!("../templates/http/lib.rs.in"))
        }
    };
    let source = dir.join("src");
    fs::create_dir_all(&source).at(&source)?;
    for (file, text) in [("Cargo.toml", manifest), ("src/lib.rs", code), (".gitignore", IGNORED)] {
        let path = dir.join(file);
        fs::write(&path, text.replace("{{name}}", name)).at(&path)?;
    }
    if template == Template::Model {
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
        assert!(matches!(new_project(dir.path(), "../x", Template::Http), Err(ToolchainError::Name(_))));
        fs::write(dir.path().join("precious"), "").unwrap();
        assert!(matches!(new_project(dir.path(), "x", Template::Http), Err(ToolchainError::NotEmpty(_))));
    }

    #[test]
    fn the_name_is_filled_in_everywhere() {
        let dir = tempfile::tempdir().unwrap();
        new_project(dir.path(), "my-function", Template::Http).unwrap();
        let manifest = fs::read_to_string(dir.path().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("name = \"my-function\""));
        assert!(!manifest.contains("{{") && !fs::read_to_string(dir.path().join("src/lib.rs")).unwrap().contains("{{"));
    }
}
