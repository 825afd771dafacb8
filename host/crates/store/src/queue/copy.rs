//! Copying the queue while it changes, and checking a copy.

use std::fs;
use std::io;
use std::path::Path;

use aimass_core::Result;

use super::FOLDER;
use crate::failure::{io_fault, make_folder};
use crate::log;

/// Copies the queue of the store in `from` to the one in `to`: what is accepted, and the bodies that stand in files. A
/// body whose item was forgotten meanwhile is left out. A store of a release before there was a queue has none.
///
/// # Errors
/// `integrity`, with file and offset, if it is damaged.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (from.join(FOLDER), to.join(FOLDER));
    if !from.is_dir() {
        return Ok(());
    }
    copy_log(&from, &to)?;
    let failed = |e: io::Error| io_fault("copy the queue's bodies", &e);
    let tenants = fs::read_dir(from.join("bodies")).map_err(failed)?;
    for folder in tenants {
        let folder = folder.map_err(failed)?;
        // What is being written is no item's yet.
        if folder.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let target = to.join("bodies").join(folder.file_name());
        make_folder(&target)?;
        for file in fs::read_dir(folder.path()).map_err(failed)? {
            let file = file.map_err(failed)?;
            let copied = fs::copy(file.path(), target.join(file.file_name()))
                .and_then(|_| fs::File::open(target.join(file.file_name()))?.sync_all());
            match copied {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                copied => copied.map_err(failed)?,
            }
        }
    }
    Ok(())
}

/// An old segment may be given up while it is copied; then it is begun again.
fn copy_log(from: &Path, to: &Path) -> Result<()> {
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        match log::copy(from, to, 1, &mut |_| Ok(())) {
            Ok(_) => return Ok(()),
            Err(fault) => tracing::debug!(%fault, cause = fault.cause(), "copied the queue's log again"),
        }
        fs::remove_dir_all(to).map_err(|e| io_fault("copy the queue's log again", &e))?;
    }
    log::copy(from, to, 1, &mut |_| Ok(())).map(drop)
}

/// Checks the queue of the store in `dir`, and changes nothing. Bodies are checked when they are read, by their
/// digests.
///
/// # Errors
/// `integrity`, with file and offset.
pub(crate) fn verify(dir: &Path) -> Result<()> {
    let dir = dir.join(FOLDER);
    if dir.is_dir() { super::table::verify(&dir) } else { Ok(()) }
}
