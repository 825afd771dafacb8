//! Shared memory that tensors travel in: an anonymous file (memfd), mapped by both processes.
#![allow(unsafe_code, reason = "reading and writing memory that another process maps; each with its proof")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use memmap2::MmapRaw;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create};

/// A mapped piece of shared memory. It can grow and never shrinks: sealed so when it is made, so that no process can
/// take pages away under another one that reads them (which would end it with SIGBUS).
pub(super) struct Region {
    file: Arc<File>,
    map: MmapRaw,
}

impl Region {
    /// New and zeroed, of at least `length` bytes.
    pub(super) fn create(length: usize) -> io::Result<Self> {
        let file = memfd_create("aimass-tensors", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, rounded(length) as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK)?;
        Self::open(file)
    }

    /// One that the other process made.
    pub(super) fn open(file: OwnedFd) -> io::Result<Self> {
        if !fcntl_get_seals(&file)?.contains(SealFlags::SHRINK) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory that may shrink"));
        }
        Self::map(Arc::new(File::from(file)))
    }

    fn map(file: Arc<File>) -> io::Result<Self> {
        let map = MmapRaw::map_raw(&*file)?;
        Ok(Self { file, map })
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// The same memory, mapped up to `length` at least, which the other process may have made so long already.
    pub(super) fn grown(&self, length: usize) -> io::Result<Self> {
        let is = usize::try_from(self.file.metadata()?.len()).map_err(io::Error::other)?;
        if is < length {
            ftruncate(&*self.file, rounded(length) as u64)?;
        }
        Self::map(self.file.clone())
    }

    /// Copies `bytes` in.
    pub(super) fn put(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        let range = self.checked(at, bytes.len())?;
        // SAFETY: `range` lies inside the mapping, which lives as long as `self` and cannot shrink (see `Region`).
        // `bytes` is ordinary memory, so they do not overlap. No reference to the mapping is made here.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.as_mut_ptr().add(range.start), bytes.len()) };
        Ok(())
    }

    /// Copies bytes out, so that whatever the other process does later changes nothing.
    pub(super) fn copy(&self, at: usize, length: usize) -> io::Result<Bytes> {
        let range = self.checked(at, length)?;
        let mut own = Vec::with_capacity(length);
        // SAFETY: `range` lies inside the mapping (as in `put`), `own` has room for `length` bytes, and all of them
        // are written before its length says so.
        unsafe {
            std::ptr::copy_nonoverlapping(self.map.as_ptr().add(range.start), own.as_mut_ptr(), length);
            own.set_len(length);
        }
        Ok(own.into())
    }

    /// The bytes where they lie. Only for the process that was handed this region with a request: its parent does not
    /// touch it before it has the answer.
    pub(super) fn lend(self: &Arc<Self>, at: usize, length: usize) -> io::Result<Bytes> {
        let range = self.checked(at, length)?;
        Ok(Bytes::from_owner(Lent { region: self.clone(), range }))
    }

    fn checked(&self, at: usize, length: usize) -> io::Result<Range<usize>> {
        match at.checked_add(length) {
            Some(end) if end <= self.map.len() => Ok(at..end),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a range outside of the shared memory")),
        }
    }
}

struct Lent {
    region: Arc<Region>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range was checked against the mapping, which the `Arc` keeps. Nobody writes meanwhile: the
        // parent handed the region over with the request and waits for the answer, and this process puts its answer
        // there only after the inputs are dropped (`child`).
        unsafe { std::slice::from_raw_parts(self.region.map.as_ptr().add(self.range.start), self.range.len()) }
    }
}

/// Doubling, so that a region that grows is mapped again seldom.
fn rounded(length: usize) -> usize {
    length.next_power_of_two().max(64 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_mapping_writes_another_reads_and_ranges_are_checked() {
        let ours = Region::create(100).unwrap();
        let theirs = Region::open(ours.file().try_clone_to_owned().unwrap()).unwrap();
        ours.put(7, b"tensor").unwrap();
        assert_eq!(theirs.copy(7, 6).unwrap(), "tensor");
        assert_eq!(Arc::new(theirs).lend(7, 6).unwrap(), "tensor");
        assert!(ours.put(ours.len() - 1, b"ab").is_err());
        assert!(ours.copy(usize::MAX, 2).is_err());
        let longer = ours.grown(ours.len() + 1).unwrap();
        longer.put(ours.len(), b"x").unwrap();
        assert_eq!(longer.copy(7, 6).unwrap(), "tensor");
    }

    #[test]
    fn memory_that_may_shrink_is_refused() {
        let file = memfd_create("t", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, 4096).unwrap();
        assert!(Region::open(file).is_err());
        let region = Region::create(4096).unwrap();
        assert!(ftruncate(region.file(), 0).is_err());
    }
}
