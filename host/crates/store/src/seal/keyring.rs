//! The key file: key-encryption keys by generation. It is no part of a backup.
//!
//! One JSON object, mode 0600: `{"format":1,"id":"<hex>","generations":{"1":"<hex of 32 bytes>"}}`. The id is noted in
//! the journal, so that the key file of another node is told from one that is damaged.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use aimass_core::{Code, Fault, Result};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::aead::{KEY, fill};
use crate::failure::{io_fault, sync_folder};

const FORMAT: u32 = 1;

/// The key-encryption keys.
pub(super) struct Keyring {
    pub(super) id: String,
    generations: BTreeMap<u64, Zeroizing<[u8; KEY]>>,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    id: String,
    generations: BTreeMap<u64, String>,
}

impl Drop for File {
    fn drop(&mut self) {
        self.generations.values_mut().for_each(Zeroize::zeroize);
    }
}

impl Keyring {
    /// Reads the file; none if it is not there.
    ///
    /// # Errors
    /// `conflict` if others may read it, or it is no key file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
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
        let text = Zeroizing::new(fs::read(path).map_err(|e| failed(&e))?);
        // What serde says of it might quote it.
        let file: File = serde_json::from_slice(&text).map_err(|_| bad("is damaged: it is no key file"))?;
        if file.format != FORMAT {
            return Err(bad("was written by a newer release"));
        }
        let mut generations = BTreeMap::new();
        for (&generation, digits) in &file.generations {
            let mut key = Zeroizing::new([0; KEY]);
            hex::decode_to_slice(digits, &mut *key).map_err(|_| bad("is damaged: a key is not 64 hex digits"))?;
            generations.insert(generation, key);
        }
        if generations.is_empty() {
            return Err(bad("is damaged: it holds no key"));
        }
        Ok(Some(Self { id: file.id.clone(), generations }))
    }

    /// Makes a file with a first key, durably. It must not be there.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let (mut id, mut key) = ([0; 16], Zeroizing::new([0; KEY]));
        fill(&mut id)?;
        fill(&mut *key)?;
        let ring = Self { id: hex::encode(id), generations: BTreeMap::from([(1, key)]) };
        let generations = ring.generations.iter().map(|(&generation, key)| (generation, hex::encode(**key)));
        let file = File { format: FORMAT, id: ring.id.clone(), generations: generations.collect() };
        let text = Zeroizing::new(serde_json::to_vec(&file).map_err(Fault::internal)?);
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            // A temporary file is made with mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist_noclobber(path)?;
            sync_folder(folder)?;
            folder.parent().map_or(Ok(()), |p| sync_folder(if p.as_os_str().is_empty() { Path::new(".") } else { p }))
        };
        write().map_err(|e| io_fault(format!("make the key file {}", path.display()), &e))?;
        Ok(ring)
    }

    /// The key of a generation.
    pub(super) fn key(&self, generation: u64) -> Option<&[u8; KEY]> {
        self.generations.get(&generation).map(|key| &**key)
    }

    /// The generation that new keys are wrapped under.
    pub(super) fn newest(&self) -> u64 {
        self.generations.keys().next_back().copied().unwrap_or_default()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("id", &self.id).finish_non_exhaustive()
    }
}
