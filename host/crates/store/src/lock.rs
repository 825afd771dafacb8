//! One server per data folder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use aimass_core::{Code, Fault, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::failure::io_fault;

/// The folder's lock, held until this is dropped (or the process ends, however it ends).
#[derive(Debug)]
pub(crate) struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Takes the lock at once or not at all.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        let failed = |e: &std::io::Error| io_fault(format!("lock {}", path.display()), e);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| failed(&e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = (&file).take(20).read_to_string(&mut holder);
                return Err(Fault::new(
                    Code::Conflict,
                    format!(
                        "the data folder {} is used by another server (process {}); stop it, or choose another folder",
                        dir.display(),
                        holder.trim()
                    ),
                ));
            }
            Err(e) => return Err(failed(&e.into())),
        }
        // Only for the message above; that it fails on a full disk does not matter.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { file })
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that this one has forked but that has not become another program
        // yet holds it as well, and with it the lock.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f50_a_second_opener_is_told_who_holds_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let held = FolderLock::take(dir.path()).unwrap();
        let fault = FolderLock::take(dir.path()).unwrap_err();
        assert_eq!(fault.code(), Code::Conflict);
        assert!(fault.detail().contains(&dir.path().display().to_string()), "{fault}");
        assert!(fault.detail().contains(&std::process::id().to_string()), "{fault}");
        drop(held);
        FolderLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_copy_of_the_file_in_a_child_does_not_keep_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let held = FolderLock::take(dir.path()).unwrap();
        let copy = held.file.try_clone().unwrap();
        drop(held);
        FolderLock::take(dir.path()).unwrap();
        drop(copy);
    }
}
