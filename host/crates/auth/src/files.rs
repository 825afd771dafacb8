//! Small files that only the owner may read, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aimass_core::{Code, Fault, Result};

/// What a half-written file is called; leftovers are swept by [`create_folder`].
const TEMPORARY: &str = ".tmp";

/// Creates a folder for the owner alone, if there is none, and removes what a crash left half written.
pub(crate) fn create_folder(dir: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fault)?;
    for entry in fs::read_dir(dir).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.to_string_lossy().ends_with(TEMPORARY) {
            fs::remove_file(path).map_err(fault)?;
        }
    }
    Ok(())
}

/// Replaces `dir/name`: on return it is on the disk, and at no time is there half of it.
pub(crate) fn replace(dir: &Path, name: &str, content: &[u8]) -> Result<()> {
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(name))?;
        sync_folder(dir)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        fault(error)
    })
}

/// Removes `dir/name`, if it is there.
pub(crate) fn remove(dir: &Path, name: &str) -> Result<()> {
    match fs::remove_file(dir.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(error)),
        _ => sync_folder(dir).map_err(fault),
    }
}

/// Reads `dir/name`; `None` if there is none.
///
/// # Errors
/// [`Code::Integrity`] if anybody but the owner may read it.
pub(crate) fn read(dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = dir.join(name);
    let mode = match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(fault)?.permissions().mode(),
    };
    if mode & 0o077 != 0 {
        let detail = format!("others than the owner may read `{}`: set its mode to 600", path.display());
        return Err(Fault::new(Code::Integrity, detail));
    }
    fs::read(&path).map(Some).map_err(fault)
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn fault(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::StorageFull => Fault::new(Code::StorageFull, "there is no room for the keys").caused_by(error),
        _ => Fault::internal(format!("key folder: {error}")),
    }
}
