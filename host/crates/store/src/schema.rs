//! Which layout a data folder has. A release that does not know it must not touch it: what it takes for damage may
//! be what the newer one wrote on purpose.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use aimass_core::{Code, Fault, Result};

use crate::failure::{damaged, io_fault, sync_folder};

/// The layout that this release writes. It grows when an older release would misread what a newer one wrote; a new
/// kind of record is no reason: an older release refuses to read on there by itself.
const SCHEMA: u32 = 3;

const FILE: &str = "schema";

/// Checks the layout of the data folder `dir`, and changes nothing. A folder that does not say is of the first one.
///
/// # Errors
/// `conflict` if a newer release wrote it; `integrity` if the file is damaged.
pub(crate) fn check(dir: &Path) -> Result<()> {
    let path = dir.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_fault(format!("read {}", path.display()), &e)),
    };
    let number: u32 = text.trim().parse().map_err(|_| damaged(&path, 0, "it holds no number"))?;
    if number <= SCHEMA {
        return Ok(());
    }
    let detail = format!(
        "the data folder {} was written by a newer release (schema {number}; this one knows {SCHEMA}); nothing was \
         changed: start the newer release, or restore a backup of before",
        dir.display()
    );
    Err(Fault::new(Code::Conflict, detail))
}

/// Writes down that the folder, which [`check`] let through, has this release's layout from now on: whole or not at
/// all. Layout 2 is that of 1 with sealed blobs, which may stand beside others; 3 that of 2 with sealed key-value data,
/// settings and secrets, beside which plain ones of before may stand.
pub(crate) fn mark(dir: &Path) -> Result<()> {
    let path = dir.join(FILE);
    if std::fs::read_to_string(&path).is_ok_and(|text| text.trim() == SCHEMA.to_string()) {
        return Ok(());
    }
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        writeln!(file, "{SCHEMA}")?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        sync_folder(dir)
    };
    write().map_err(|e| io_fault(format!("write {}", path.display()), &e))
}
