//! The list of what a backup holds.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path};

use aimass_core::{Code, Fault, Result};
use serde::{Deserialize, Serialize};

use crate::failure::{damaged, io_fault, sync_folder};

pub(super) const MANIFEST: &str = "manifest.json";
const SUM: &str = "manifest.b3";
/// The layout of a backup.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    pub(super) created_ms: u64,
    pub(super) records: u64,
    pub(super) head: String,
    pub(super) blobs: u64,
    pub(super) keys: bool,
    /// By path.
    pub(super) files: Vec<FileRow>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FileRow {
    /// Below the backup's folder, with `/`.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) blake3: String,
}

impl Manifest {
    pub(super) fn new(created_ms: u64, records: u64, head: [u8; 32], blobs: u64, keys: bool) -> Self {
        Self { format: FORMAT, created_ms, records, head: hex::encode(head), blobs, keys, files: Vec::new() }
    }

    /// Writes it, and its hash last, durably.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(Fault::internal)?;
        let sum = format!("{}  {MANIFEST}\n", blake3::hash(&text).to_hex());
        let put = |name: &str, bytes: &[u8]| -> io::Result<()> {
            let mut file = File::create(dir.join(name))?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        put(MANIFEST, &text)
            .and_then(|()| put(SUM, sum.as_bytes()))
            .and_then(|()| sync_folder(dir))
            .map_err(|e| io_fault("write the manifest", &e))
    }

    /// Reads it and checks it against its hash.
    ///
    /// # Errors
    /// `invalid_request` if there is none; `integrity`.
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read(&path).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => Fault::new(
                    Code::InvalidRequest,
                    format!("{} is no finished backup: it has no {name}", dir.display()),
                ),
                _ => io_fault(format!("read {}", path.display()), &e),
            })
        };
        let (sum, text) = (read(SUM)?, read(MANIFEST)?);
        let path = dir.join(MANIFEST);
        if sum != format!("{}  {MANIFEST}\n", blake3::hash(&text).to_hex()).as_bytes() {
            return Err(damaged(&path, 0, format!("it does not have the hash that {SUM} says")));
        }
        let manifest: Self = serde_json::from_slice(&text).map_err(|e| damaged(&path, 0, e))?;
        if manifest.format != FORMAT {
            return Err(damaged(&path, 0, "it was written by a newer release"));
        }
        // It decides where a restore writes.
        let inside = |row: &FileRow| Path::new(&row.path).components().all(|c| matches!(c, Component::Normal(_)));
        match manifest.files.iter().find(|row| !inside(row)) {
            Some(row) => Err(damaged(&path, 0, format!("`{}` is not inside of the backup", row.path))),
            None => Ok(manifest),
        }
    }

    /// Removes it from a folder that is no backup any more.
    pub(super) fn remove(dir: &Path) -> Result<()> {
        let gone = fs::remove_file(dir.join(SUM)).and_then(|()| fs::remove_file(dir.join(MANIFEST)));
        gone.and_then(|()| sync_folder(dir)).map_err(|e| io_fault("remove the manifest", &e))
    }

    pub(super) fn summary(&self) -> super::BackupSummary {
        super::BackupSummary {
            created_ms: self.created_ms,
            records: self.records,
            head: self.head.clone(),
            blobs: self.blobs,
            files: self.files.len() as u64,
            bytes: self.files.iter().map(|row| row.bytes).sum(),
            keys: self.keys,
        }
    }
}

/// The size and the BLAKE3 of a file, read piece by piece.
pub(super) fn hash_file(path: &Path) -> io::Result<(u64, String)> {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path)?;
    io::copy(&mut file, &mut hasher)?;
    Ok((hasher.count(), hasher.finalize().to_hex().to_string()))
}
