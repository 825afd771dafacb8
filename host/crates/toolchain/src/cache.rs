//! The user's cache folder: toolchains, the unpacked SDK, guests' build folders, fetched packages.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::At;
use crate::{Result, ToolchainError};

/// A folder that may be deleted at any time: what is in it is made again.
///
/// ```
/// use aimass_toolchain::Cache;
/// let cache = Cache::at("some/folder");
/// assert!(cache.path().ends_with("some/folder"));
/// ```
#[derive(Clone, Debug)]
pub struct Cache(PathBuf);

impl Cache {
    /// `aimass` in `$XDG_CACHE_HOME`, else in `$HOME/.cache`, else in the system's folder for temporary files.
    pub fn user() -> Self {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        // The XDG specification has relative paths ignored.
        let base = set("XDG_CACHE_HOME").filter(|p| p.is_absolute());
        let base = base.or_else(|| set("HOME").map(|home| home.join(".cache")));
        Self(base.unwrap_or_else(std::env::temp_dir).join("aimass"))
    }

    /// This folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A folder in it, made if need be.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir_all(&path).at(&path)?;
        Ok(path)
    }

    /// Makes `folder/name` unless it is there: `make` fills a folder aside, which is then renamed, so that nobody ever
    /// sees half of it. Of several that want it at once one makes it and the others wait.
    ///
    /// The lock file stays: were it removed, two could hold locks on two files of one name.
    pub(crate) fn once(&self, folder: &str, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let parent = self.folder(folder)?;
        let wanted = parent.join(name);
        if wanted.exists() {
            return Ok(wanted);
        }
        let lock_path = parent.join(".lock");
        let lock = File::create(&lock_path).at(&lock_path)?;
        lock.lock().at(&lock_path)?; // held until `lock` is dropped
        if wanted.exists() {
            return Ok(wanted);
        }
        let aside = tempfile::Builder::new().prefix(".making-").tempdir_in(&parent).at(&parent)?;
        make(aside.path())?;
        fs::rename(aside.path(), &wanted).at(&wanted)?;
        let _ = aside.keep(); // it is no longer there to be removed
        Ok(wanted)
    }
}

/// The first 16 hexadecimal digits of a SHA-256, to name what is kept.
pub(crate) fn key(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        hash.update((part.len() as u64).to_le_bytes()); // so that parts cannot run into one another
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..8])
}

/// Writes a file aside and renames it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).at(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).at(folder)?;
    std::io::Write::write_all(&mut file, bytes).at(path)?;
    // A temporary file is for its owner only; this one is for whoever may read the folder.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).at(path)?;
    }
    file.persist(path).map_err(|e| ToolchainError::Io { path: path.to_owned(), source: e.error })?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn of_many_at_once_one_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, made) = (Cache::at(dir.path()), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let path = cache.once("things", "a", |aside| {
                        made.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        fs::write(aside.join("file"), "whole").at(aside)
                    });
                    assert_eq!(fs::read_to_string(path.unwrap().join("file")).unwrap(), "whole");
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn what_failed_leaves_nothing_and_can_be_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let fail = cache.once("things", "a", |_| Err(ToolchainError::Name("no".into())));
        assert!(fail.is_err());
        let left: Vec<_> = fs::read_dir(dir.path().join("things")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, [".lock"]);
        assert!(cache.once("things", "a", |_| Ok(())).is_ok());
    }

    #[test]
    fn parts_of_a_key_do_not_run_into_one_another() {
        assert_ne!(key(["ab", "c"]), key(["a", "bc"]));
    }
}
