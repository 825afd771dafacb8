//! Taking a backup.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use aimass_core::{Code, Fault, Result};

use super::manifest::{FileRow, Manifest, hash_file};
use super::{BackupSummary, Progress, STORE, verify};
use crate::failure::{io_fault, make_folder, sync_folder};
use crate::view::State;
use crate::{blobs, journal, kv, log, options, queue, view};

/// A file that is not the store's: where it is, and where it goes in the backup (`keys/keys.json`).
#[derive(Clone, Debug)]
pub struct Extra {
    /// Where it is.
    pub from: PathBuf,
    /// Below the backup's folder.
    pub to: String,
}

/// Backs the store in `store` up to the new folder `target`, while a server writes to it or not, and reads the backup
/// back before it gets its name. What was acknowledged before this was called is in it.
///
/// Blocks for as long as copying takes. `keys` are copied as they are. Blobs that an earlier backup `base` has with the
/// very same bytes are hard links to its files, where the file system has such: they take no room, and are read back
/// like all others.
///
/// # Errors
/// `conflict` if there is something at `target`; `integrity`, with the file, if what would be copied is damaged;
/// `invalid_request` if `store` is no store; `storage_full`, `internal`.
pub fn backup(
    store: &Path,
    target: &Path,
    keys: &[Extra],
    base: Option<&Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<BackupSummary> {
    if target.exists() {
        return Err(Fault::new(Code::Conflict, format!("{} is there already; name a new folder", target.display())));
    }
    if !store.join(journal::FOLDER).is_dir() {
        return Err(Fault::invalid(format!("{} is no folder of a store", store.display())));
    }
    let partial = partial(target);
    remove(&partial)?;
    if let Some(base) = base {
        Manifest::read(base)?;
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&partial);
    made.map_err(|e| io_fault(format!("create {}", partial.display()), &e))?;
    let taken = into(store, &partial, keys, base, progress).and_then(|()| verify::verify_backup(&partial, progress));
    let summary = taken.inspect_err(|_| drop(fs::remove_dir_all(&partial)))?;
    let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let named = fs::rename(&partial, target).and_then(|()| sync_folder(parent));
    named.map_err(|e| io_fault(format!("finish {}", target.display()), &e))?;
    Ok(summary)
}

fn into(
    store: &Path,
    partial: &Path,
    keys: &[Extra],
    base: Option<&Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let created_ms = (options::Options::default().clock)();
    let to = partial.join(STORE);
    make_folder(&to)?;
    // The key-value data first: whatever plugin a row belongs to is in the journal by then.
    kv::copy(store, &to)?;
    queue::copy(store, &to)?;
    let (mut records, mut head) = (0, journal::GENESIS);
    log::copy(&store.join(journal::FOLDER), &to.join(journal::FOLDER), 1, &mut |entry| {
        let record = journal::check(entry, records + 1, &head)?;
        (records, head) = (record.seq, record.hash);
        Ok(())
    })?;
    // What the copied records name, found as a restore will find it.
    let live = live(&to)?;
    let of = live.len() as u64;
    for (done, (tenant, digest)) in live.iter().enumerate() {
        progress(Progress { doing: "copying", done: done as u64, of });
        let below = blobs::below(tenant, digest);
        blobs::check_file(&store.join(&below), digest)?;
        let earlier = base.map(|base| base.join(STORE).join(&below));
        if !earlier.is_some_and(|earlier| link(&earlier, &store.join(&below), &to.join(&below))) {
            copy(&store.join(&below), &to.join(&below))?;
        }
    }
    for extra in keys {
        copy(&extra.from, &partial.join(&extra.to))?;
    }
    let mut manifest = Manifest::new(created_ms, records, head, of, !keys.is_empty());
    list(partial, partial, &mut manifest.files).map_err(|e| io_fault("list the backup", &e))?;
    manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
    manifest.write(partial)
}

/// The blobs that the journal in `store` names, by tenant: found by replaying it into an index of its own.
pub(super) fn live(store: &Path) -> Result<Vec<(String, aimass_core::Digest)>> {
    let scratch = tempfile::tempdir().map_err(|e| io_fault("make a temporary folder", &e))?;
    let index = view::build(store, scratch.path())?;
    Ok(State::committed(index).live_blobs()?.into_keys().collect())
}

/// Links `to` to `earlier`, if that is what `from` is; whether it did. A name alone does not say so: a blob may be
/// sealed anew under it.
fn link(earlier: &Path, from: &Path, to: &Path) -> bool {
    let same = || -> io::Result<bool> { Ok(hash_file(earlier)? == hash_file(from)?) };
    let linked = || -> io::Result<()> {
        let folder = to.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        fs::hard_link(earlier, to)?;
        sync_folder(folder)
    };
    same().unwrap_or(false) && linked().is_ok()
}

/// Copies a file durably, and its folder's name with it.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let done = || -> io::Result<()> {
        let folder = to.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        // With its mode: a key stays its owner's.
        fs::copy(from, to)?;
        File::open(to)?.sync_all()?;
        sync_folder(folder)
    };
    done().map_err(|e| io_fault(format!("copy {} to {}", from.display(), to.display()), &e))
}

/// Where something is made that will be called `target`.
pub(super) fn partial(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    target.with_file_name(name)
}

/// Removes what an earlier, killed try has left.
pub(super) fn remove(partial: &Path) -> Result<()> {
    match fs::remove_dir_all(partial) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_fault(format!("remove {}", partial.display()), &e)),
        _ => Ok(()),
    }
}

fn list(root: &Path, folder: &Path, rows: &mut Vec<FileRow>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(root, &path, rows)?;
        } else {
            let (bytes, blake3) = hash_file(&path)?;
            let below = path.strip_prefix(root).unwrap_or(&path);
            rows.push(FileRow { path: below.to_string_lossy().into_owned(), bytes, blake3 });
        }
    }
    Ok(())
}
