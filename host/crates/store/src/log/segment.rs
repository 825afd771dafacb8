//! A segment: one file of a log.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aimass_core::Result;

use super::file;
use super::frame::Header;
use super::recover::{Tail, judge};
use crate::failure::{damaged, io_fault, sync_folder};
use crate::options::Options;

/// Bytes before the first frame: magic, format, first sequence number, salt, CRC-32 of the above.
pub(super) const HEADER: usize = 32;
const MAGIC: &[u8; 8] = b"AIMASSLG";
const FORMAT: u32 = 1;

/// One file of a log, open for reading (and, if it is the last, for writing).
#[derive(Debug)]
pub(crate) struct Segment {
    /// The sequence number of its first record.
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(super) salt: u64,
}

/// A record as it stands in a segment.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) sequence: u64,
    pub(crate) bytes: &'a [u8],
    pub(crate) segment: &'a Arc<Segment>,
    /// Where `bytes` begin in the segment's file.
    pub(crate) offset: u64,
}

/// Where the whole frames of a segment end.
pub(super) struct Scanned {
    pub(super) end: u64,
    pub(super) next: u64,
    pub(super) tail: Tail,
}

impl Segment {
    /// Makes an empty segment. It appears under its name only with a whole header, durably.
    pub(super) fn create(dir: &Path, first: u64, options: &Options) -> io::Result<Arc<Self>> {
        let path = dir.join(format!("{first:020}.log"));
        let temporary = path.with_extension("new");
        let salt = RandomState::new().hash_one(first);
        let made = (|| -> io::Result<File> {
            let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&temporary)?;
            file::write_at(&file, &header(first, salt), 0, options)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_folder(dir)?;
            Ok(file)
        })();
        if made.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        Ok(Arc::new(Self { first, path, file: made?, salt }))
    }

    fn open(path: PathBuf, first: u64) -> Result<Arc<Self>> {
        let failed = |e: &io::Error| io_fault(format!("open {}", path.display()), e);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            // A backup on a disk that cannot be written to; whoever would write is refused there.
            Err(e) if matches!(e.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) => {
                File::open(&path)
            }
            opened => opened,
        };
        let file = file.map_err(|e| failed(&e))?;
        let mut found = [0; HEADER];
        if let Err(e) = file.read_exact_at(&mut found, 0) {
            if e.kind() == io::ErrorKind::UnexpectedEof {
                return Err(damaged(&path, 0, "its header is cut off"));
            }
            return Err(failed(&e));
        }
        let mut salt = [0; 8];
        salt.copy_from_slice(&found[20..28]);
        let salt = u64::from_le_bytes(salt);
        if found != header(first, salt) {
            return Err(damaged(&path, 0, "its header is wrong, or of a format that this release does not know"));
        }
        Ok(Arc::new(Self { first, path, file, salt }))
    }

    /// Hands every record to `visit`, up to the first place where no whole frame stands.
    pub(super) fn scan(self: &Arc<Self>, visit: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<Scanned> {
        self.scan_bytes(&self.read()?, visit)
    }

    /// All bytes that the file has by now.
    pub(super) fn read(&self) -> Result<Vec<u8>> {
        fs::read(&self.path).map_err(|e| io_fault(format!("read {}", self.path.display()), &e))
    }

    /// As [`Segment::scan`], over bytes that were read.
    pub(super) fn scan_bytes(
        self: &Arc<Self>,
        bytes: &[u8],
        visit: &mut dyn FnMut(Entry<'_>) -> Result<()>,
    ) -> Result<Scanned> {
        let (mut at, mut next) = (HEADER.min(bytes.len()), self.first);
        loop {
            let frame = Header::read(&bytes[at..], self.salt).filter(|h| h.first == next);
            let Some((header, records)) = frame.and_then(|h| Some((h, h.records(&bytes[at..])?))) else {
                let tail = judge(bytes, at, next, self.salt);
                return Ok(Scanned { end: at as u64, next, tail });
            };
            for (offset, record) in records {
                visit(Entry { sequence: next, bytes: record, segment: self, offset: (at + offset) as u64 })?;
                next += 1;
            }
            at += header.frame();
        }
    }
}

/// The segments of a log in order. Leftovers of an interrupted [`Segment::create`] are not among them.
pub(super) fn list(dir: &Path) -> Result<Vec<Arc<Segment>>> {
    let failed = |e: &io::Error| io_fault(format!("list {}", dir.display()), e);
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| failed(&e))? {
        let path = entry.map_err(|e| failed(&e))?.path();
        if path.extension().is_none_or(|e| e != "log") {
            continue;
        }
        let first = path.file_stem().and_then(|s| s.to_str()).filter(|s| s.len() == 20).and_then(|s| s.parse().ok());
        match first {
            Some(first) => segments.push(Segment::open(path, first)?),
            None => tracing::warn!(file = %path.display(), "ignored a file that is no log segment"),
        }
    }
    segments.sort_by_key(|s| s.first);
    Ok(segments)
}

fn header(first: u64, salt: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..20].copy_from_slice(&first.to_le_bytes());
    header[20..28].copy_from_slice(&salt.to_le_bytes());
    let checksum = crc32fast::hash(&header[..28]);
    header[28..].copy_from_slice(&checksum.to_le_bytes());
    header
}
