//! Opening the index, whatever state it is in: what cannot be used is set aside and rebuilt from the journal.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use aimass_core::{Fault, Result};

use super::apply::changes;
use super::index::{Applied, Index};
use super::state::{Pending, State};
use crate::failure::{io_fault, sync_folder};
use crate::journal;

/// The prefix of the index's folders. They are numbered, and the highest is in use. A path is never used
/// again: an sled that was given up may still write below its own.
const FOLDER: &str = "index-";
/// Records that are applied as one batch in a replay.
const BATCH: u64 = 500;

/// The last record of the journal.
pub(crate) struct JournalEnd {
    pub(crate) seq: u64,
    pub(crate) hash: [u8; 32],
}

/// An index at the end of the journal.
pub(crate) struct Opened {
    pub(crate) index: Arc<Index>,
    /// An index had followed records that the journal does not hold: it has lost its end, or is another one.
    pub(crate) journal_is_short: bool,
}

/// Opens the index of the data folder `dir` and brings it up to the end of its journal, which was checked before.
pub(crate) fn open_or_rebuild(dir: &Path, limit: Duration, end: &JournalEnd) -> Result<Opened> {
    let mut journal_is_short = false;
    if let Some((_, path)) = folders(dir)?.pop() {
        match try_open(&path, limit) {
            Ok((_, applied)) if applied.seq > end.seq || (applied.seq == end.seq && applied.hash != end.hash) => {
                // It is applied after the journal is durable.
                journal_is_short = true;
                tracing::error!(
                    index = applied.seq,
                    journal = end.seq,
                    "the journal does not hold records that were acknowledged"
                );
            }
            // The walk checks that the next record follows the hash that the index has.
            Ok((index, applied)) => match replay(dir, &index, applied.seq, applied.hash) {
                Ok(()) => return Ok(Opened { index, journal_is_short }),
                Err(fault) => tracing::error!(%fault, cause = fault.cause(), "the index cannot follow the journal"),
            },
            Err(reason) => tracing::error!(%reason, "the index cannot be used"),
        }
    }
    Ok(Opened { index: rebuild(dir)?, journal_is_short })
}

/// Makes a new index from the journal. The one before is set aside, and what was set aside earlier removed.
pub(crate) fn rebuild(dir: &Path) -> Result<Arc<Index>> {
    let mut old = folders(dir)?;
    let path = dir.join(format!("{FOLDER}{:08}", old.last().map_or(1, |(n, _)| n + 1)));
    let built = build(dir, &path);
    if built.is_err() {
        let _ = fs::remove_dir_all(&path);
        return built;
    }
    if let Some((_, aside)) = old.pop() {
        tracing::warn!(aside = %aside.display(), "the index was set aside, and rebuilt from the journal");
    }
    for (_, path) in old {
        let _ = fs::remove_dir_all(path);
    }
    sync_folder(dir).map_err(|e| io_fault("make an index", &e))?;
    built
}

/// Makes an index at `path` from the journal of the folder `dir`.
pub(crate) fn build(dir: &Path, path: &Path) -> Result<Arc<Index>> {
    let index = Arc::new(Index::open(path)?);
    replay(dir, &index, 0, journal::GENESIS)?;
    index.flush()?;
    Ok(index)
}

/// The folders of indexes by their numbers.
fn folders(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = fs::read_dir(dir).map_err(|e| io_fault(format!("list {}", dir.display()), &e))?;
    let numbered = |path: PathBuf| {
        let number = path.file_name()?.to_str()?.strip_prefix(FOLDER)?.parse().ok()?;
        Some((number, path))
    };
    let mut found: Vec<_> = entries.filter_map(|entry| numbered(entry.ok()?.path())).collect();
    found.sort();
    Ok(found)
}

/// Opens and checks the index in a thread of its own: sled panics at some damage, and may take for ever.
fn try_open(path: &Path, limit: Duration) -> Result<(Arc<Index>, Applied), String> {
    let stale = set_aside_generating(path).map_err(|e| e.to_string())?;
    if stale > 0 {
        tracing::warn!(files = stale, "set unfinished snapshots of the index aside");
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let own = path.to_owned();
    let opener = move || {
        let opened = Index::open(&own).and_then(|index| {
            index.verify()?;
            let applied = index.applied()?;
            Ok((Arc::new(index), applied))
        });
        let _ = sender.send(opened);
    };
    std::thread::Builder::new().name("index-open".to_owned()).spawn(opener).map_err(|e| e.to_string())?;
    match receiver.recv_timeout(limit) {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(fault)) => Err(fault.cause().unwrap_or(fault.detail()).to_owned()),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("it did not open within {limit:?}")),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("it panicked while opening".to_owned()),
    }
}

/// A kill during sled's recovery leaves `snap.*.generating`, which it takes for the newest snapshot and then refuses
/// to open.
fn set_aside_generating(path: &Path) -> std::io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::rename(&file, path.join(format!("aside-{name}")))?;
            count += 1;
        } else if name.starts_with("aside-snap.") {
            fs::remove_file(&file)?;
        }
    }
    Ok(count)
}

/// Applies the records behind `seq` to the index.
fn replay(dir: &Path, index: &Arc<Index>, seq: u64, hash: [u8; 32]) -> Result<()> {
    let mut pending = Pending::new();
    let mut last = (seq, hash);
    journal::walk(&dir.join(journal::FOLDER), seq + 1, hash, &mut |record| {
        let rows = changes(&State::with(Arc::clone(index), &pending), &record)
            .map_err(|fault| Fault::internal(format!("record {} does not fit the state: {fault}", record.seq)))?;
        pending.extend(rows);
        last = (record.seq, record.hash);
        if record.seq % BATCH == 0 {
            index.apply(&std::mem::take(&mut pending), last.0, last.1)?;
        }
        Ok(())
    })?;
    if index.applied()?.seq != last.0 {
        index.apply(&pending, last.0, last.1)?;
    }
    Ok(())
}
