//! How the disk's errors become faults, and what happens when the disk can no longer be trusted.

use std::fmt::Display;
use std::io;
use std::path::Path;

use aimass_core::{Code, Fault, Result};

/// A full disk is something that the caller can be told; everything else stays in the log.
pub(crate) fn io_fault(doing: impl Display, error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Fault::new(Code::StorageFull, "the storage is full; nothing was changed")
                .caused_by(format!("{doing}: {error}"))
        }
        _ => Fault::internal(format!("{doing}: {error}")),
    }
}

/// Stored bytes are not what was written. Names the file and the offset: an operator has to act on it.
pub(crate) fn damaged(file: &Path, offset: u64, what: impl Display) -> Fault {
    let detail = format!("{} is damaged at offset {offset}: {what}", file.display());
    Fault::new(Code::Integrity, detail.clone()).caused_by(detail)
}

/// The committer is gone, or goes: whether the write happened is not known.
pub(crate) fn stopped() -> Fault {
    Fault::new(Code::Unavailable, "the store has stopped")
}

/// Makes a folder, if it is not there, and its name durable.
pub(crate) fn make_folder(dir: &Path) -> Result<()> {
    let made = std::fs::create_dir_all(dir).and_then(|()| dir.parent().map_or(Ok(()), sync_parent));
    made.map_err(|e| io_fault(format!("create {}", dir.display()), &e))
}

/// A relative path of one part has the empty path as its parent.
fn sync_parent(parent: &Path) -> io::Result<()> {
    sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// Makes the names in a folder durable (a new file, a rename, a removal).
pub(crate) fn sync_folder(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}
