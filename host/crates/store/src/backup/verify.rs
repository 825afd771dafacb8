//! Reading a backup back.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use aimass_core::Result;

use super::manifest::{MANIFEST, Manifest, hash_file};
use super::{BackupSummary, Progress, STORE, take};
use crate::failure::{damaged, io_fault};
use crate::{blobs, journal, kv, queue};

/// Checks a backup as far as it can be: every file against the manifest, the journal's chain up to the head that the
/// manifest names, the key-value data; and replays the journal as a restore would.
///
/// # Errors
/// `invalid_request` if it is no finished backup; `integrity` that names the first file which is not what was written.
pub fn verify_backup(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<BackupSummary> {
    let manifest = Manifest::read(dir)?;
    let of = manifest.files.len() as u64;
    for (done, row) in manifest.files.iter().enumerate() {
        progress(Progress { doing: "checking", done: done as u64, of });
        let path = dir.join(&row.path);
        let (bytes, hash) = hash_file(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => damaged(&path, 0, "it is missing"),
            _ => io_fault(format!("read {}", path.display()), &e),
        })?;
        if bytes != row.bytes || hash != row.blake3 {
            return Err(damaged(&path, 0, format!("it does not have the size or the hash that {MANIFEST} says")));
        }
    }
    let store = dir.join(STORE);
    let journal = store.join(journal::FOLDER);
    let (mut records, mut head) = (0, journal::GENESIS);
    journal::walk(&journal, 1, head, &mut |record| {
        (records, head) = (record.seq, record.hash);
        Ok(())
    })?;
    if records != manifest.records || hex::encode(head) != manifest.head {
        return Err(damaged(&journal, 0, format!("it does not end with record {}", manifest.records)));
    }
    kv::verify(&store)?;
    queue::verify(&store)?;
    let there: BTreeSet<_> = manifest.files.iter().map(|row| dir.join(&row.path)).collect();
    for (tenant, digest) in take::live(&store)? {
        let path = store.join(blobs::below(&tenant, &digest));
        if !there.contains(&path) {
            return Err(damaged(&path, 0, "a version names it, and it is not in the backup"));
        }
        blobs::check_file(&path, &digest)?;
    }
    Ok(manifest.summary())
}
