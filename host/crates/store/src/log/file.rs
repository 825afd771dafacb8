//! The two calls that a disk can fail at, so that tests can make it fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::options::Options;

/// Writes all of `bytes` at `offset`. On an error some of them may be there.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64, options: &Options) -> io::Result<()> {
    #[cfg(test)]
    if let Some(room) = options.faults.take_room(bytes.len()) {
        file.write_all_at(&bytes[..room], offset)?;
        return Err(io::ErrorKind::StorageFull.into());
    }
    #[cfg(not(test))]
    let _ = options;
    file.write_all_at(bytes, offset)
}

/// Makes the file's bytes and length durable.
pub(super) fn sync(file: &File, options: &Options) -> io::Result<()> {
    #[cfg(test)]
    if options.faults.sync_fails.load(std::sync::atomic::Ordering::SeqCst) {
        return Err(io::Error::other("injected"));
    }
    #[cfg(not(test))]
    let _ = options;
    file.sync_data()
}

/// A disk that fails on demand.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Faults {
    /// Bytes that still fit, if that is limited.
    pub(crate) room: std::sync::Mutex<Option<usize>>,
    /// Whether every fsync of a log fails.
    pub(crate) sync_fails: std::sync::atomic::AtomicBool,
    /// Whether the index takes nothing.
    pub(crate) index_fails: std::sync::atomic::AtomicBool,
}

#[cfg(test)]
impl Faults {
    /// How much of a write of `wanted` bytes fits, if not all of it does.
    fn take_room(&self, wanted: usize) -> Option<usize> {
        let mut room = self.room.lock().unwrap();
        let left = (*room)?;
        *room = Some(left.saturating_sub(wanted));
        (left < wanted).then_some(left)
    }
}
