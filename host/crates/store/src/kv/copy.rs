//! Copying the key-value data while it changes, and checking a copy.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use aimass_core::Result;

use super::{record, snapshot};
use crate::failure::{damaged, io_fault, make_folder};
use crate::log::{self, Entry};

/// A snapshot that is finished meanwhile takes the files away that are being copied; then it is begun again.
const TRIES: usize = 5;

/// Copies the newest snapshot and the log behind it from the data folder `from` to `to`.
///
/// # Errors
/// `integrity`, with file and offset, if it is damaged.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        match once(&from.join("kv"), &to.join("kv")) {
            Err(fault) if tries < TRIES => {
                tracing::debug!(%fault, cause = fault.cause(), "copied the key-value data again");
                let emptied = fs::remove_dir_all(to.join("kv"));
                emptied.map_err(|e| io_fault("copy the key-value data again", &e))?;
            }
            outcome => return outcome,
        }
    }
}

fn once(from: &Path, to: &Path) -> Result<()> {
    make_folder(to)?;
    let mut since = 1;
    if let Some((sequence, path)) = newest(from)? {
        let copied = to.join(path.file_name().unwrap_or_default());
        let done = fs::copy(&path, &copied).and_then(|_| File::open(&copied)?.sync_all());
        done.map_err(|e| io_fault(format!("copy {}", path.display()), &e))?;
        since = sequence;
    }
    let copied = log::copy(from, to, since, &mut |_| Ok(()))?;
    follows(to, since, copied.first, copied.next)
}

/// Checks the key-value data in the folder `dir`, and changes nothing.
///
/// # Errors
/// `integrity`, with file and offset.
pub(crate) fn verify(dir: &Path) -> Result<()> {
    let dir = dir.join("kv");
    let mut since = 1;
    if let Some((sequence, path)) = newest(&dir)? {
        let snapshot = snapshot::open(path, sequence)?;
        snapshot::walk(&snapshot, &mut |_| Ok(()))?;
        since = sequence;
    }
    let (mut first, mut next) = (None, since);
    log::read_from(&dir, 1, &mut |entry: Entry<'_>| {
        first = first.or(Some(entry.sequence));
        next = entry.sequence + 1;
        let known = record::decode(entry.bytes).is_some();
        let what = "it holds what this release does not know";
        known.then_some(()).ok_or_else(|| damaged(&entry.segment.path, entry.offset, what))
    })?;
    // Without a record, an empty segment says where it goes on; the copy that made it was checked.
    follows(&dir, since, first.unwrap_or(since), next)
}

/// The log of the records `first..next` can be replayed over a snapshot as of `since`.
fn follows(dir: &Path, since: u64, first: u64, next: u64) -> Result<()> {
    if first > since || next < since {
        return Err(damaged(dir, 0, format!("records {since} to {} are missing", first.max(since))));
    }
    Ok(())
}

/// The newest snapshot in `dir`, with the first record that is replayed over it.
fn newest(dir: &Path) -> Result<Option<(u64, PathBuf)>> {
    let failed = |e: io::Error| io_fault(format!("list {}", dir.display()), &e);
    let mut found = None;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "snapshot") {
            let sequence = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok());
            let sequence = sequence.ok_or_else(|| damaged(&path, 0, "its name is no number"))?;
            found = found.max(Some((sequence, path)));
        }
    }
    Ok(found)
}
