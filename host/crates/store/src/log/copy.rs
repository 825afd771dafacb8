//! Copying a log while it is written to.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use aimass_core::Result;

use super::recover::Tail;
use super::segment::{self, Entry};
use crate::failure::{damaged, io_fault, make_folder, sync_folder};

/// What was copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copied {
    /// The number of the first record that is in the copy.
    pub(crate) first: u64,
    /// The number behind the last one.
    pub(crate) next: u64,
}

/// Copies the segments of the log in `from` that hold records from `since` on into the folder `to`, durably, and hands
/// their records to `visit`. The copy ends with a whole frame: what is being written at the time is left out.
///
/// # Errors
/// `integrity` for damage; what `visit` returns; `internal` also where a segment was removed meanwhile, as the
/// key-value log does behind a snapshot.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    since: u64,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<()>,
) -> Result<Copied> {
    make_folder(to)?;
    let segments = segment::list(from)?;
    let mut copied: Option<Copied> = None;
    for (i, segment) in segments.iter().enumerate() {
        if segments.get(i + 1).is_some_and(|following| following.first <= since) {
            continue;
        }
        if copied.is_some_and(|copied| copied.next != segment.first) {
            return Err(damaged(&segment.path, 0, "the records before it are missing"));
        }
        let bytes = segment.read()?;
        let scanned = segment.scan_bytes(&bytes, visit)?;
        match scanned.tail {
            Tail::Damaged(what) => return Err(damaged(&segment.path, scanned.end, what)),
            Tail::Torn if i + 1 < segments.len() => {
                return Err(damaged(&segment.path, scanned.end, "it ends early"));
            }
            Tail::Torn | Tail::Clean => {}
        }
        let whole = bytes.get(..usize::try_from(scanned.end).unwrap_or(bytes.len())).unwrap_or(&bytes);
        let name = segment.path.file_name().unwrap_or_default();
        write(&to.join(name), whole).map_err(|e| io_fault("copy a segment", &e))?;
        copied = Some(Copied { first: copied.map_or(segment.first, |c| c.first), next: scanned.next });
    }
    sync_folder(to).map_err(|e| io_fault("copy a log", &e))?;
    copied.ok_or_else(|| damaged(from, 0, "there is no segment"))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
