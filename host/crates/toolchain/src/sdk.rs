//! The SDK, compiled into this program and unpacked where cargo can read it.
//!
//! A tenant's project asks for `aimass-sdk = "0.1"`. No registry is needed for that: `aimass build` patches it, on
//! cargo's command line, to the copy in the cache, which always is the one that this program was built with. `aimass
//! new` writes the same into the project's `.cargo/config.toml`, so that plain `cargo test` and editors find it too;
//! the file names a folder of one machine, hence it is ignored by git, and `aimass build` writes it anew elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{key, write_whole};
use crate::error::At;
use crate::{Cache, Result};

macro_rules! files {
    ($($path:literal)*) => {
        &[$(($path, include_str!(concat!("../../../../", $path))),)*]
    };
}

/// As they lie in the repository, so that the SDK finds what it refers to.
const FILES: &[(&str, &str)] = files! {
    "sdk-guest/Cargo.toml"
    "sdk-guest/src/bindings.rs"
    "sdk-guest/src/bindings/event_plugin.rs"
    "sdk-guest/src/bindings/model_plugin.rs"
    "sdk-guest/src/convert.rs"
    "sdk-guest/src/element.rs"
    "sdk-guest/src/event_bindings.rs"
    "sdk-guest/src/events.rs"
    "sdk-guest/src/fault.rs"
    "sdk-guest/src/kv.rs"
    "sdk-guest/src/lib.rs"
    "sdk-guest/src/log.rs"
    "sdk-guest/src/model.rs"
    "sdk-guest/src/nn.rs"
    "sdk-guest/src/settings.rs"
    "sdk-guest/src/signature.rs"
    "sdk-guest/src/tensor.rs"
    "sdk-guest/src/testing.rs"
    "wit/events.wit"
    "wit/model.wit"
    "wit/types.wit"
    "wit/worlds.wit"
    "wit/deps/wasi-config/store.wit"
    "wit/deps/wasi-keyvalue/keyvalue.wit"
    "wit/deps/wasi-logging/logging.wit"
    "wit/deps/wasi-nn/wasi-nn.wit"
};

/// The workspace's manifest, of which the SDK's inherits.
const WORKSPACE: &str = include_str!("../../../../Cargo.toml");

const FIRST_LINE: &str = "# Written by `aimass`: names a folder of this machine, so it is not for version control.";

/// Unpacks the SDK, once for its contents; answers the folder of the crate.
pub(crate) fn unpack(cache: &Cache) -> Result<PathBuf> {
    let workspace = workspace();
    let parts = FILES.iter().flat_map(|(path, text)| [*path, *text]).chain([workspace.as_str()]);
    let root = cache.once("sdk", &key(parts), |root| {
        for (path, text) in FILES {
            let path = root.join(path);
            let folder = path.parent().unwrap_or(root);
            fs::create_dir_all(folder).at(folder)?;
            fs::write(&path, text).at(&path)?;
        }
        let manifest = root.join("Cargo.toml");
        fs::write(&manifest, &workspace).at(&manifest)
    })?;
    Ok(root.join("sdk-guest"))
}

/// A workspace of the SDK alone, with what its manifest inherits.
fn workspace() -> String {
    let full: toml::Table = WORKSPACE.parse().unwrap_or_default();
    let mut workspace = toml::Table::new();
    workspace.insert("resolver".into(), "3".into());
    workspace.insert("members".into(), vec!["sdk-guest"].into());
    for part in ["package", "lints"] {
        if let Some(value) = full.get("workspace").and_then(|w| w.get(part)) {
            workspace.insert(part.into(), value.clone());
        }
    }
    toml::Table::from_iter([("workspace".into(), workspace.into())]).to_string()
}

/// The interfaces by their paths in `wit/`.
pub(crate) fn wit() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().filter_map(|(path, text)| Some((path.strip_prefix("wit/")?, *text)))
}

/// Cargo's argument that points `aimass-sdk` to the unpacked one.
pub(crate) fn patch(sdk: &Path) -> String {
    format!("patch.crates-io.aimass-sdk.path={}", toml::Value::from(sdk.to_string_lossy().as_ref()))
}

/// Writes the same into the project's `.cargo/config.toml`, unless there is one that somebody else wrote.
pub(crate) fn point_to(project: &Path, sdk: &Path) -> Result<()> {
    let path = project.join(".cargo/config.toml");
    let text = format!("{FIRST_LINE}\n{}\n", patch(sdk));
    match fs::read_to_string(&path) {
        Ok(old) if old == text || !old.starts_with(FIRST_LINE) => Ok(()),
        _ => write_whole(&path, text.as_bytes()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn files_under(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files_under(root, &path, found);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/"));
            }
        }
    }

    #[test]
    fn every_file_of_the_sdk_and_of_wit_is_compiled_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let mut there = BTreeSet::from(["sdk-guest/Cargo.toml".to_owned()]);
        files_under(&root, &root.join("sdk-guest/src"), &mut there);
        files_under(&root, &root.join("wit"), &mut there);
        let listed: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(listed, there);
    }

    #[test]
    fn the_workspace_gives_what_the_sdk_inherits() {
        let table: toml::Table = workspace().parse().unwrap();
        let package = &table["workspace"]["package"];
        for field in ["version", "edition", "rust-version", "license", "publish"] {
            assert!(package.get(field).is_some(), "{field}");
        }
        assert!(table["workspace"]["lints"].get("rust").is_some());
    }

    #[test]
    fn a_config_that_somebody_else_wrote_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join(".cargo/config.toml");
        point_to(dir.path(), Path::new("/a")).unwrap();
        assert!(fs::read_to_string(&config).unwrap().contains("\"/a\""));
        point_to(dir.path(), Path::new("/b")).unwrap();
        assert!(fs::read_to_string(&config).unwrap().contains("\"/b\""));
        fs::write(&config, "[net]\n").unwrap();
        point_to(dir.path(), Path::new("/c")).unwrap();
        assert_eq!(fs::read_to_string(&config).unwrap(), "[net]\n");
    }
}
