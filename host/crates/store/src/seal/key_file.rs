//! The key file: key-encryption keys by generation, and whose keys were destroyed. It is no part of a backup.
//!
//! One JSON object, mode 0600:
//!
//! ```text
//! {"format":2, "id":"<hex>", "generations":{"3":"<hex of 32 bytes>"}, "node":"<hex of 32 bytes>",
//!  "kept":{"acme":{"generation":3,"key":"<hex, wrapped>"}}, "erased":["gone"]}
//! ```
//! The id is noted in the journal, so that the key file of another node is told from one that is damaged. An erasure
//! destroys the generations before it; `kept` holds the data keys of the others as they stood then, so that a backup
//! of before the erasure still opens for all but the erased. Format 1 had neither those nor `node`.
//!
//! With a key from outside ([`KeyFile::sealed_with`]) the object is `{"format":2,"sealed":"<hex>"}`: that key seals the
//! one above.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aimass_core::{Code, Fault, Name, Result};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::aead::{self, KEY};
use super::keyring::{KeptKey, Keyring};
use crate::failure::{io_fault, sync_folder};

const FORMAT: u32 = 2;

/// Where the key-encryption keys are, and what seals them there.
#[derive(Clone)]
pub struct KeyFile {
    path: PathBuf,
    outer: Option<Zeroizing<[u8; KEY]>>,
}

impl KeyFile {
    /// A file that holds the keys as they are, for its owner alone.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), outer: None }
    }

    /// A file that holds the keys sealed with a key from elsewhere: it is of no use without that. One that is not sealed
    /// yet is sealed at the next start.
    #[must_use]
    pub fn sealed_with(self, key: Zeroizing<[u8; 32]>) -> Self {
        Self { outer: Some(key), ..self }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl From<&Path> for KeyFile {
    fn from(path: &Path) -> Self {
        Self::at(path)
    }
}

impl From<&PathBuf> for KeyFile {
    fn from(path: &PathBuf) -> Self {
        Self::at(path)
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What the file holds, or what is inside of its seal.
#[derive(Serialize, Deserialize)]
struct Text {
    format: u32,
    id: String,
    generations: BTreeMap<u64, String>,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    kept: BTreeMap<Name, KeptKey>,
    #[serde(default)]
    erased: BTreeSet<Name>,
}

impl Drop for Text {
    fn drop(&mut self) {
        self.generations.values_mut().for_each(Zeroize::zeroize);
        self.node.zeroize();
    }
}

#[derive(Serialize, Deserialize)]
struct SealedText {
    format: u32,
    sealed: String,
}

/// A keyring as it was found, and whether the file is as this release would write it.
pub(super) struct Found {
    pub(super) ring: Keyring,
    pub(super) current: bool,
}

impl KeyFile {
    /// Reads the file; none if it is not there.
    ///
    /// # Errors
    /// `conflict` if others may read it, it is no key file, or the key that seals it is missing or another one.
    pub(super) fn read(&self) -> Result<Option<Found>> {
        let path = &self.path;
        let failed = |e: &io::Error| io_fault(format!("read {}", path.display()), e);
        let bad = |what: &str| Fault::new(Code::Conflict, format!("the key file {} {what}", path.display()));
        let mode = match fs::metadata(path) {
            Ok(meta) => meta.permissions().mode(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(&e)),
        };
        if mode & 0o077 != 0 {
            return Err(bad("can be read by others than its owner: chmod 600 it"));
        }
        let mut text = Zeroizing::new(fs::read(path).map_err(|e| failed(&e))?);
        let mut sealed = false;
        if let Ok(outer) = serde_json::from_slice::<SealedText>(&text) {
            let key = self
                .outer
                .as_ref()
                .ok_or_else(|| bad("is sealed with a key from elsewhere: name that with --key-env or --key-command"))?;
            let bytes = hex::decode(&outer.sealed).map_err(|_| bad("is damaged: it is no key file"))?;
            let other = || bad("does not open with the key that --key-env or --key-command gives");
            text = aead::open(key, &[b"key file"], &bytes)?.ok_or_else(other)?;
            sealed = true;
        }
        // What serde says of it might quote it.
        let text: Text = serde_json::from_slice(&text).map_err(|_| bad("is damaged: it is no key file"))?;
        if text.format > FORMAT {
            return Err(bad("was written by a newer release"));
        }
        let key = |digits: &str| -> Result<Zeroizing<[u8; KEY]>> {
            let mut key = Zeroizing::new([0; KEY]);
            hex::decode_to_slice(digits, &mut *key).map_err(|_| bad("is damaged: a key is not 64 hex digits"))?;
            Ok(key)
        };
        let mut generations = BTreeMap::new();
        for (&generation, digits) in &text.generations {
            generations.insert(generation, key(digits)?);
        }
        if generations.is_empty() {
            return Err(bad("is damaged: it holds no key"));
        }
        let current = text.format == FORMAT && text.node.is_some() && sealed == self.outer.is_some();
        let node = text.node.as_deref().map(key).transpose()?;
        let node = node.map_or_else(Keyring::random_key, Ok)?;
        let (id, kept, erased) = (text.id.clone(), text.kept.clone(), text.erased.clone());
        Ok(Some(Found { ring: Keyring { id, generations, node, kept, erased }, current }))
    }

    /// Writes the keyring, whole or not at all, durably; in place of what is there, if `over`.
    pub(super) fn write(&self, ring: &Keyring, over: bool) -> Result<()> {
        let text = Text {
            format: FORMAT,
            id: ring.id.clone(),
            generations: ring.generations.iter().map(|(&n, key)| (n, hex::encode(**key))).collect(),
            node: Some(hex::encode(*ring.node)),
            kept: ring.kept.clone(),
            erased: ring.erased.clone(),
        };
        let mut text = Zeroizing::new(serde_json::to_vec(&text).map_err(Fault::internal)?);
        if let Some(key) = &self.outer {
            let sealed = hex::encode(aead::seal(key, &[b"key file"], &text)?);
            let sealed = SealedText { format: FORMAT, sealed };
            text = Zeroizing::new(serde_json::to_vec(&sealed).map_err(Fault::internal)?);
        }
        let path = &self.path;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            // A temporary file is made with mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            match over {
                true => file.persist(path)?,
                false => file.persist_noclobber(path)?,
            };
            sync_folder(folder)?;
            folder.parent().map_or(Ok(()), |p| sync_folder(if p.as_os_str().is_empty() { Path::new(".") } else { p }))
        };
        write().map_err(|e| io_fault(format!("write the key file {}", path.display()), &e))
    }
}
