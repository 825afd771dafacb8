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

/// The folder of the index in the data folder.
const FOLDER: &str = "index";
/// The prefix of what was set aside.
const ASIDE: &str = "index-aside-";
/// Records that are applied as one batch in a replay.
const BATCH: u64 = 500;

/// The last record of the journal.
pub(crate) struct JournalEnd {
    pub(crate) seq: u64,
    pub(crate) hash: [u8; 32],
}

/// Opens the index of the data folder `dir` and brings it up to the end of its journal, which was checked before.
pub(crate) fn open_or_rebuild(dir: &Path, limit: Duration, end: &JournalEnd) -> Result<Arc<Index>> {
    if dir.join(FOLDER).exists() {
        match try_open(&dir.join(FOLDER), limit).and_then(|(index, applied)| follow(dir, index, applied, end)) {
            Ok(index) => return Ok(index),
            Err(reason) => tracing::error!(%reason, "the index cannot be used"),
        }
    }
    rebuild(dir)
}

/// Brings an index up to the end of the journal, if it followed this journal so far.
fn follow(dir: &Path, index: Arc<Index>, applied: Applied, end: &JournalEnd) -> Result<Arc<Index>, String> {
    if applied.seq > end.seq || (applied.seq == end.seq && applied.hash != end.hash) {
        // It is applied after the journal is durable: so the journal has lost its end, or is another one.
        return Err(format!("it has followed up to record {}, the journal ends with {}", applied.seq, end.seq));
    }
    // The walk checks that the next record follows the hash that the index has.
    replay(dir, &index, applied.seq, applied.hash).map_err(|fault| fault.to_string())?;
    Ok(index)
}

/// Sets the index aside, if there is one, and makes a new one from the journal.
pub(crate) fn rebuild(dir: &Path) -> Result<Arc<Index>> {
    let path = dir.join(FOLDER);
    if path.exists() {
        let aside = set_aside(dir, &path).map_err(|e| io_fault("set the index aside", &e))?;
        tracing::warn!(aside = %aside.display(), "the index was set aside and is rebuilt from the journal");
    }
    let index = Arc::new(Index::open(&path)?);
    replay(dir, &index, 0, journal::GENESIS)?;
    index.flush()?;
    Ok(index)
}

/// Removes what was set aside, but for the newest.
pub(crate) fn clean_up(dir: &Path) {
    let mut aside: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(ASIDE)))
        .collect();
    aside.sort();
    aside.pop();
    for path in aside {
        let _ = fs::remove_dir_all(path);
    }
}

/// Opens and checks the index in a thread of its own: sled panics at some damage, and may take for ever.
fn try_open(path: &Path, limit: Duration) -> Result<(Arc<Index>, Applied), String> {
    fs::create_dir_all(path).map_err(|e| e.to_string())?;
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

fn set_aside(dir: &Path, path: &Path) -> std::io::Result<PathBuf> {
    let newest = fs::read_dir(dir)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(ASIDE)?.parse::<u64>().ok())
        .max();
    let aside = dir.join(format!("{ASIDE}{:08}", newest.map_or(0, |n| n + 1)));
    fs::rename(path, &aside)?;
    sync_folder(dir)?;
    Ok(aside)
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
