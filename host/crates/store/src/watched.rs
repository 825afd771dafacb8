//! Folders that triggers watch: what lies in them. Buckets take a folder's place: see [`crate::Bucket`].

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aimass_core::{Code, Fault, Result};
use bytes::Bytes;

/// Folders within folders.
const MAX_DEPTH: usize = 16;

/// A folder outside of the data folder, that is only read.
#[derive(Clone, Debug)]
pub struct WatchedFolder {
    root: PathBuf,
}

/// An object as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundObject {
    /// Its path within the folder, or its name in the bucket, with `/` between its parts.
    pub path: String,
    /// Changes when the object does.
    pub version: String,
    /// Bytes.
    pub size: u64,
    /// When it was last written, milliseconds since the epoch.
    pub modified_ms: u64,
}

impl WatchedFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// `unavailable` if it is not there, or cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let root = folder.canonicalize().map_err(failed)?;
        fs::read_dir(&root).map_err(failed)?;
        Ok(Self { root })
    }

    /// At most `limit` of the objects in it, oldest first. What begins with a dot is somebody's who still writes it, and
    /// links are not followed: what they lead to need not be in the folder.
    ///
    /// # Errors
    /// `unavailable` if the folder cannot be read.
    pub async fn list(&self, limit: usize) -> Result<Vec<FoundObject>> {
        let root = self.root.clone();
        blocking(move || {
            let mut found = vec![];
            walk(&root, "", MAX_DEPTH, limit, &mut found)?;
            found.sort_by(|a, b| (a.modified_ms, &a.path).cmp(&(b.modified_ms, &b.path)));
            Ok(found)
        })
        .await
    }

    /// An object's bytes; none if it is not what was found any more.
    ///
    /// # Errors
    /// `unavailable` if it cannot be read.
    pub async fn read(&self, object: &FoundObject) -> Result<Option<Bytes>> {
        let (root, object) = (self.root.clone(), object.clone());
        blocking(move || {
            let path = root.join(&object.path);
            // A link somewhere in the path leads elsewhere.
            if path.canonicalize().ok().as_ref() != Some(&path) {
                return Ok(None);
            }
            let Ok(mut file) = File::open(&path) else { return Ok(None) };
            let mut bytes = vec![];
            // One byte more than there were shows that it grows.
            (&mut file).take(object.size + 1).read_to_end(&mut bytes).map_err(failed)?;
            // Of what was opened, and after it was read: not what lies there under its name by now.
            let same = version(&file.metadata().map_err(failed)?) == object.version;
            Ok((same && bytes.len() as u64 == object.size).then(|| bytes.into()))
        })
        .await
    }
}

fn walk(folder: &Path, prefix: &str, depth: usize, limit: usize, found: &mut Vec<FoundObject>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(failed)? {
        if found.len() == limit {
            break;
        }
        // It may go while it is looked at; and what is no UTF-8 cannot be told.
        let Ok(entry) = entry else { continue };
        let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
        if name.starts_with('.') {
            continue;
        }
        let path = format!("{prefix}{name}");
        if kind.is_dir() && depth > 0 {
            walk(&entry.path(), &format!("{path}/"), depth - 1, limit, found)?;
        } else if kind.is_file() {
            let Ok(meta) = entry.metadata() else { continue };
            let modified_ms =
                u64::try_from(meta.mtime()).unwrap_or_default() * 1_000 + meta.mtime_nsec() as u64 / 1_000_000;
            found.push(FoundObject { path, version: version(&meta), size: meta.len(), modified_ms });
        }
    }
    Ok(())
}

/// As HTTP servers make an `ETag`: which file, how long, when written.
fn version(meta: &fs::Metadata) -> String {
    format!("{:x}-{:x}-{:x}.{:x}", meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Fault::internal)?
}

fn failed(error: impl std::fmt::Display) -> Fault {
    Fault::new(Code::Unavailable, "the folder cannot be read").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_lies_in_a_folder_is_found_and_what_a_link_leads_to_is_not() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/a b.csv"), "1,2").unwrap();
        fs::write(folder.path().join(".unfinished"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("linked")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
        let watched = WatchedFolder::open(folder.path()).unwrap();
        let found = watched.list(100).await.unwrap();
        assert_eq!(found.iter().map(|o| (o.path.as_str(), o.size)).collect::<Vec<_>>(), [("deep/a b.csv", 3)]);
        assert_eq!(watched.read(&found[0]).await.unwrap().as_deref(), Some(&b"1,2"[..]));
        // Once it is written again, what was found is no more.
        fs::write(folder.path().join("deep/a b.csv"), "1,2,3").unwrap();
        assert_eq!(watched.read(&found[0]).await.unwrap(), None);
        for path in ["link", "linked/secret", "../x", "deep/../deep/a b.csv"] {
            let found = watched.list(1).await.unwrap().remove(0);
            assert_eq!(watched.read(&FoundObject { path: path.to_owned(), ..found }).await.unwrap(), None, "{path}");
        }
        assert!(WatchedFolder::open(&folder.path().join("nobody")).is_err());
    }
}
