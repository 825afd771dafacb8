//! Where the queue's rows and parts are kept: keys and values in a log of their own.
//!
//! ```text
//! a record: per change, key length u16, key, 0xFFFFFFFF (removed) or value length u32, value
//! ```
//! Values are absolute, so that replaying a record again changes nothing. In memory is where each value stands. An item
//! lives for minutes or days, so most of an old segment is soon dead, and no snapshot is written: what is still alive in
//! the oldest segment is appended again, and the segment removed. A record that does so ends with the *floor*: the
//! first record that is still needed, so that a segment that is missing is noticed.

use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use aimass_core::{Code, Fault, Result};
use bytes::Bytes;

use crate::failure::{damaged, io_fault, make_folder};
use crate::log::{Log, Segment};
use crate::options::Options;

const REMOVED: u32 = u32::MAX;
/// The key of the floor; those of items begin with a letter.
const FLOOR: &str = "\0floor";
/// Bytes that are appended again at once.
const CARRIED: usize = 4 << 20;

/// Keys that are set, or with `None` removed.
pub(super) type Changes = Vec<(String, Option<Bytes>)>;

/// Where a value stands. It holds its segment's file open: a reader is not disturbed when the file is removed.
#[derive(Clone)]
pub(super) struct Place {
    segment: Arc<Segment>,
    offset: u64,
    length: u32,
    checksum: u32,
}

impl Place {
    fn new(bytes: &[u8], segment: &Arc<Segment>, offset: u64) -> Self {
        // A record is below 4 GiB (see `log::frame`).
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { segment: Arc::clone(segment), offset, length, checksum: crc32fast::hash(bytes) }
    }

    /// Reads the value, and checks it. Blocks.
    pub(super) fn read(&self) -> Result<Bytes> {
        let path = &self.segment.path;
        let mut bytes = vec![0; self.length as usize];
        let read = self.segment.file.read_exact_at(&mut bytes, self.offset);
        read.map_err(|e| io_fault(format!("read {} at {}", path.display(), self.offset), &e))?;
        if crc32fast::hash(&bytes) != self.checksum {
            let cause = format!("{} is damaged at offset {}: a value's checksum is wrong", path.display(), self.offset);
            tracing::error!(%cause, "a queued value is damaged");
            return Err(Fault::new(Code::Integrity, "the stored value is damaged").caused_by(cause));
        }
        Ok(bytes.into())
    }
}

/// What is live; readers share it with the one thread that changes it.
#[derive(Default)]
pub(super) struct Places(RwLock<BTreeMap<String, Place>>);

impl Places {
    pub(super) fn get(&self, key: &str) -> Option<Place> {
        self.read().get(key).cloned()
    }

    /// All values whose keys begin with this letter.
    pub(super) fn of_kind(&self, kind: char) -> Vec<(String, Place)> {
        let all = self.read();
        let from = all.range::<str, _>((Included(kind.encode_utf8(&mut [0; 4]) as &str), Unbounded));
        from.take_while(|(key, _)| key.starts_with(kind)).map(|(key, place)| (key.clone(), place.clone())).collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Place>> {
        // Nothing panics while it is written to.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns by how much what is live has grown.
    fn set<'k>(&self, changes: impl Iterator<Item = (&'k str, Option<Place>)>) -> i64 {
        let size = |key: &str, place: &Place| i64::from(place.length) + key.len() as i64;
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut grown = 0;
        for (key, place) in changes {
            grown += place.as_ref().map_or(0, |place| size(key, place));
            let old = match place {
                Some(place) => all.insert(key.to_owned(), place),
                None => all.remove(key),
            };
            grown -= old.map_or(0, |old| size(key, &old));
        }
        grown
    }
}

/// A table, for the one thread that changes it.
pub(super) struct Table {
    options: Options,
    places: Arc<Places>,
    live: i64,
    /// Bytes of the records in each segment, by its first one.
    segments: BTreeMap<u64, u64>,
    /// A segment could not be given up; it is tried again behind so many bytes.
    failed_at: u64,
}

/// A change that has its record and is not durable yet.
pub(super) struct Staged {
    changes: Changes,
    /// Where the values begin in the record.
    offsets: Vec<usize>,
    bytes: u64,
}

impl Table {
    /// Opens or begins the table in the folder `dir`.
    ///
    /// # Errors
    /// `integrity`, with file and offset, for damage.
    pub(super) fn open(dir: &Path, options: &Options) -> Result<(Self, Log)> {
        make_folder(dir)?;
        let places = Arc::new(Places::default());
        let mut table = Self { options: options.clone(), places, live: 0, segments: BTreeMap::new(), failed_at: 0 };
        let mut floor = 1;
        let mut log = Log::open(dir, options.clone(), &mut |entry| {
            let unknown = || damaged(&entry.segment.path, entry.offset, "it holds what this release does not know");
            let decoded = decode(entry.bytes).ok_or_else(unknown)?;
            if let Some(at) = decoded.last().and_then(|(key, value)| floor_of(key, *value)) {
                floor = floor.max(at);
            }
            let places = decoded.into_iter().filter(|(key, _)| *key != FLOOR).map(|(key, value)| {
                (key, value.map(|(at, bytes)| Place::new(bytes, entry.segment, entry.offset + at as u64)))
            });
            table.live += table.places.set(places);
            *table.segments.entry(entry.segment.first).or_default() += entry.bytes.len() as u64;
            Ok(())
        })?;
        if log.first() > floor {
            let what = format!("records {floor} to {} are missing", log.first() - 1);
            return Err(damaged(&log.segment().path, 0, what));
        }
        table.remove_before(&mut log, floor)?;
        Ok((table, log))
    }

    pub(super) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// The record of changes, to be appended to the log.
    pub(super) fn stage(changes: Changes) -> (Vec<u8>, Staged) {
        let (record, offsets) = encode(&changes);
        let bytes = record.len() as u64;
        (record, Staged { changes, offsets, bytes })
    }

    /// The record is durable, at this offset of `segment`: readers see what it changes.
    pub(super) fn commit(&mut self, staged: &Staged, segment: &Arc<Segment>, offset: u64) {
        *self.segments.entry(segment.first).or_default() += staged.bytes;
        let changes = staged.changes.iter().zip(&staged.offsets);
        let changes = changes.filter(|((key, _), _)| key != FLOOR).map(|((key, value), at)| {
            (key.as_str(), value.as_ref().map(|bytes| Place::new(bytes, segment, offset + *at as u64)))
        });
        self.live += self.places.set(changes);
    }

    /// Gives the oldest segment up when the log has outgrown what is live: one at a time, since whoever puts waits
    /// meanwhile.
    pub(super) fn tidy(&mut self, log: &mut Log) {
        let live = u64::try_from(self.live).unwrap_or_default();
        let written: u64 = self.segments.values().sum();
        if written <= self.options.snapshot_bytes.max(3 * live).max(self.failed_at) {
            return;
        }
        self.failed_at = 0;
        if let Err(fault) = self.give_up_oldest(log) {
            self.failed_at = written + self.options.snapshot_bytes;
            tracing::error!(cause = fault.cause(), %fault, "an old segment of the queue's log could not be given up");
        }
    }

    fn give_up_oldest(&mut self, log: &mut Log) -> Result<()> {
        let oldest = log.first();
        if log.segment().first == oldest {
            log.rotate().map_err(|e| io_fault("end a segment", &e))?;
        }
        let floor = log.second().unwrap_or(oldest);
        let alive: Vec<_> = {
            let places = self.places.read();
            let alive = places.iter().filter(|(_, place)| place.segment.first == oldest);
            alive.map(|(key, place)| (key.clone(), place.clone())).collect()
        };
        let (mut changes, mut bytes) = (vec![], 0);
        for (key, place) in alive {
            let value = place.read()?;
            bytes += key.len() + value.len();
            changes.push((key, Some(value)));
            if bytes >= CARRIED {
                self.carry(log, std::mem::take(&mut changes))?;
                bytes = 0;
            }
        }
        changes.push((FLOOR.to_owned(), Some(floor.to_le_bytes().to_vec().into())));
        self.carry(log, changes)?;
        self.remove_before(log, floor)
    }

    fn carry(&mut self, log: &mut Log, changes: Changes) -> Result<()> {
        let (record, staged) = Self::stage(changes);
        let offsets = log.append(&[record]).map_err(|e| io_fault("append to a log", &e))?;
        if let Err(error) = log.sync() {
            // As in the committer: what is durable is not known any more.
            (self.options.fatal)("fsync failed");
            return Err(Fault::internal(format!("fsync failed: {error}")));
        }
        let segment = Arc::clone(log.segment());
        offsets.first().map(|offset| self.commit(&staged, &segment, *offset));
        Ok(())
    }

    fn remove_before(&mut self, log: &mut Log, floor: u64) -> Result<()> {
        log.remove_before(floor).map_err(|e| io_fault("remove old segments", &e))?;
        let first = log.first();
        self.segments.retain(|segment, _| *segment >= first);
        Ok(())
    }
}

/// Checks the log in the folder `dir`, and changes nothing.
///
/// # Errors
/// `integrity`, with file and offset.
pub(super) fn verify(dir: &Path) -> Result<()> {
    let (mut first, mut floor) = (None, 1);
    crate::log::read_from(dir, 1, &mut |entry| {
        first = first.or(Some(entry.sequence));
        let decoded = decode(entry.bytes);
        let at = decoded.as_ref().and_then(|d| d.last()).and_then(|(key, value)| floor_of(key, *value));
        floor = at.map_or(floor, |at| floor.max(at));
        let unknown = || damaged(&entry.segment.path, entry.offset, "it holds what this release does not know");
        decoded.map(drop).ok_or_else(unknown)
    })?;
    match first {
        Some(first) if first > floor => Err(damaged(dir, 0, format!("records {floor} to {} are missing", first - 1))),
        _ => Ok(()),
    }
}

fn floor_of(key: &str, value: Option<(usize, &[u8])>) -> Option<u64> {
    if key != FLOOR {
        return None;
    }
    value.and_then(|(_, bytes)| bytes.try_into().ok()).map(u64::from_le_bytes)
}

/// A key, and its value with the offset of that in the record; `None` if it was removed.
type Decoded<'a> = (&'a str, Option<(usize, &'a [u8])>);

/// One record, and the offset of every value in it. Lengths are limited by the caller: keys to some hundred bytes, values
/// to some hundred KiB.
fn encode(changes: &Changes) -> (Vec<u8>, Vec<usize>) {
    let size = changes.iter().map(|(key, value)| 6 + key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
    let mut record = Vec::with_capacity(size);
    let mut offsets = Vec::with_capacity(changes.len());
    for (key, value) in changes {
        record.extend((key.len() as u16).to_le_bytes());
        record.extend_from_slice(key.as_bytes());
        record.extend(value.as_ref().map_or(REMOVED, |value| value.len() as u32).to_le_bytes());
        offsets.push(record.len());
        record.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    (record, offsets)
}

fn decode(record: &[u8]) -> Option<Vec<Decoded<'_>>> {
    let mut changes = Vec::new();
    let mut at = 0;
    let mut take = |length: usize| {
        let taken = record.get(at..)?.get(..length)?;
        at += length;
        Some((at - length, taken))
    };
    while let Some((_, length)) = take(2) {
        let length = u16::from_le_bytes(length.try_into().ok()?);
        let key = std::str::from_utf8(take(length.into())?.1).ok()?;
        let length = u32::from_le_bytes(take(4)?.1.try_into().ok()?);
        changes.push((key, if length == REMOVED { None } else { Some(take(length as usize)?) }));
    }
    (at == record.len()).then_some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_or_not_at_all() {
        let changes = vec![
            ("a".to_owned(), Some(Bytes::from_static(b"value"))),
            ("gone".to_owned(), None),
            (String::new(), Some(Bytes::new())),
        ];
        let (record, offsets) = encode(&changes);
        let decoded = decode(&record).unwrap();
        for (((key, value), at), found) in changes.iter().zip(offsets).zip(&decoded) {
            assert_eq!((key.as_str(), value.as_deref().map(|value| (at, value))), *found);
        }
        for cut in 1..record.len() {
            let found = decode(&record[..cut]);
            assert!(found.is_none_or(|found| found.len() < 3), "cut at {cut}");
        }
    }
}
