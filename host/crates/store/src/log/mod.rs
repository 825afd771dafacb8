//! A durable log of records in segment files: what the journal and the key-value data are written with.
//!
//! Records are appended in *groups*. A group is one frame (see [`frame`]), written with one write and made durable
//! with one fsync before the next is begun. So at most the last frame of the last segment can be torn by a crash,
//! and whatever is wrong anywhere else is damage.

mod committer;
mod copy;
mod file;
mod frame;
mod recover;
mod segment;

pub(crate) use committer::{Committer, Machine};
pub(crate) use copy::copy;
#[cfg(test)]
pub(crate) use file::Faults;
pub(crate) use segment::{Entry, Segment};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aimass_core::Result;

use crate::failure::{damaged, io_fault, make_folder, sync_folder};
use crate::options::Options;

/// The writer's end of a log. There is one per folder.
pub(crate) struct Log {
    dir: PathBuf,
    options: Options,
    /// In order; the last one is written to.
    segments: Vec<Arc<Segment>>,
    /// Length of the last segment as far as it holds whole frames.
    length: u64,
    /// Sequence number of the next record.
    next: u64,
    /// Something may stand behind `length`: a write failed and could not be taken back yet.
    remains: bool,
}

impl Log {
    /// Opens or begins the log in `dir`, hands every record to `visit`, and cuts a torn tail off.
    ///
    /// # Errors
    /// `integrity` that names file and offset where anything but the tail is damaged; what `visit` returns.
    pub(crate) fn open(dir: &Path, options: Options, visit: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<Self> {
        make_folder(dir)?;
        let mut segments = segment::list(dir)?;
        if segments.is_empty() {
            segments.push(Segment::create(dir, 1, &options).map_err(|e| io_fault("begin a log", &e))?);
        }
        let (mut length, mut next) = (0, segments[0].first);
        let last = segments.len() - 1;
        for (i, segment) in segments.iter().enumerate() {
            if segment.first != next {
                let what = format!("it begins with record {}, but record {next} is due", segment.first);
                return Err(damaged(&segment.path, 0, what));
            }
            let scanned = segment.scan(visit)?;
            (length, next) = (scanned.end, scanned.next);
            match scanned.tail {
                recover::Tail::Clean => {}
                recover::Tail::Torn if i == last => {
                    tracing::warn!(file = %segment.path.display(), offset = length, "cut off a torn record");
                    let cut = segment.file.set_len(length).and_then(|()| segment.file.sync_all());
                    cut.map_err(|e| io_fault(format!("cut {}", segment.path.display()), &e))?;
                }
                recover::Tail::Torn => return Err(damaged(&segment.path, length, "it ends early")),
                recover::Tail::Damaged(what) => return Err(damaged(&segment.path, length, what)),
            }
        }
        Ok(Self { dir: dir.to_owned(), options, segments, length, next, remains: false })
    }

    /// The sequence number of the next record; records are numbered from 1.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest record that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.segments[0].first
    }

    /// The number of the first record behind the oldest segment, if there is a further one.
    pub(crate) fn second(&self) -> Option<u64> {
        self.segments.get(1).map(|segment| segment.first)
    }

    /// The segment that is written to.
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        // Never empty: `open` makes the first, and `remove_before` leaves the last.
        &self.segments[self.segments.len() - 1]
    }

    /// Writes one group; it is durable after [`Log::sync`]. Returns the offset of every record in
    /// [`Log::segment`].
    ///
    /// # Errors
    /// Nothing of the group remains.
    pub(crate) fn append(&mut self, records: &[Vec<u8>]) -> io::Result<Vec<u64>> {
        if self.remains {
            self.take_back()?;
        }
        if self.length > self.options.segment_bytes {
            self.rotate()?;
        }
        let segment = Arc::clone(self.segment());
        let (frame, mut offsets) = frame::encode(self.next, records, segment.salt)?;
        if let Err(error) = file::write_at(&segment.file, &frame, self.length, &self.options) {
            self.remains = true;
            let _ = self.take_back();
            return Err(error);
        }
        for offset in &mut offsets {
            *offset += self.length;
        }
        self.length += frame.len() as u64;
        self.next += records.len() as u64;
        Ok(offsets)
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// What is durable is not known any more; the kernel may have dropped the pages. Nobody may be told that
    /// anything worked from here on.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        file::sync(&self.segment().file, &self.options)
    }

    /// Ends the current segment, so that [`Log::remove_before`] can take it later.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        if self.segment().first != self.next {
            let segment = Segment::create(&self.dir, self.next, &self.options)?;
            self.length = segment::HEADER as u64;
            self.segments.push(segment);
        }
        Ok(())
    }

    /// Removes the segments that hold only records before `sequence`.
    pub(crate) fn remove_before(&mut self, sequence: u64) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments[1].first <= sequence {
            fs::remove_file(&self.segments[0].path)?;
            self.segments.remove(0);
        }
        sync_folder(&self.dir)
    }

    fn take_back(&mut self) -> io::Result<()> {
        self.segment().file.set_len(self.length)?;
        self.remains = false;
        Ok(())
    }
}

/// Hands the records from `sequence` on to `visit`, without changing anything. The end is where whole frames end.
///
/// # Errors
/// `integrity` for damage (a torn tail is none); what `visit` returns.
pub(crate) fn read_from(dir: &Path, sequence: u64, visit: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
    let segments = segment::list(dir)?;
    let mut due = None;
    for (i, segment) in segments.iter().enumerate() {
        if segments.get(i + 1).is_some_and(|following| following.first <= sequence) {
            continue;
        }
        if due.is_some_and(|due| due != segment.first) {
            return Err(damaged(&segment.path, 0, "the records before it are missing"));
        }
        let scanned = segment.scan(&mut |entry| if entry.sequence >= sequence { visit(entry) } else { Ok(()) })?;
        match scanned.tail {
            recover::Tail::Damaged(what) => return Err(damaged(&segment.path, scanned.end, what)),
            recover::Tail::Torn if i + 1 < segments.len() => {
                return Err(damaged(&segment.path, scanned.end, "it ends early"));
            }
            recover::Tail::Torn | recover::Tail::Clean => {}
        }
        due = Some(scanned.next);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
