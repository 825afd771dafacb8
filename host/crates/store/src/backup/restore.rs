//! Restoring a backup.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use aimass_core::{Code, Fault, Result};

use super::manifest::Manifest;
use super::{BackupSummary, Progress, take, verify};
use crate::failure::{io_fault, sync_folder};

/// Checks the backup in `backup` and makes the data folder `data` of it: all of it, or nothing. A server then builds
/// the index at its start.
///
/// # Errors
/// As [`verify_backup`](super::verify_backup); `conflict` if `data` holds anything.
pub fn restore(backup: &Path, data: &Path, progress: &mut dyn FnMut(Progress)) -> Result<BackupSummary> {
    let failed = |e: std::io::Error| io_fault(format!("restore to {}", data.display()), &e);
    if data.exists() && fs::read_dir(data).map_err(failed)?.next().is_some() {
        let detail = format!("{} is not empty; name a new folder", data.display());
        return Err(Fault::new(Code::Conflict, detail));
    }
    verify::verify_backup(backup, progress)?;
    let manifest = Manifest::read(backup)?;
    let partial = take::partial(data);
    take::remove(&partial)?;
    let mut made = || -> Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&partial).map_err(failed)?;
        let of = manifest.files.len() as u64;
        for (done, row) in manifest.files.iter().enumerate() {
            progress(Progress { doing: "copying", done: done as u64, of });
            take::copy(&backup.join(&row.path), &partial.join(&row.path))?;
        }
        // The same checks over what was written: the manifest goes along for that, and is no part of a data folder.
        manifest.write(&partial)?;
        verify::verify_backup(&partial, progress)?;
        Manifest::remove(&partial)?;
        // In the place of an empty folder as well.
        fs::rename(&partial, data).map_err(failed)?;
        let parent = data.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_folder(parent).map_err(failed)
    };
    made().inspect_err(|_| drop(fs::remove_dir_all(&partial)))?;
    Ok(manifest.summary())
}
