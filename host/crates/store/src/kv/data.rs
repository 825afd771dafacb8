//! What is live, in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aimass_core::{Code, Fault, Name, Result};
use bytes::Bytes;

use super::sealed::{Kept, OVERHEAD, tenant};
use crate::failure::io_fault;
use crate::log::Segment;

/// Values up to this many bytes are kept in memory, sealed as they are: counters, flags, small JSON.
const INLINE: usize = 256 + OVERHEAD;

/// A value, or where it is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Inline(Kept),
    Stored(Place),
}

/// Where a value is. It holds its file open: a reader is not disturbed when the file is removed.
#[derive(Clone, Debug)]
pub(super) struct Place {
    source: Source,
    offset: u64,
    length: u32,
    checksum: u32,
    sealed: bool,
}

#[derive(Clone, Debug)]
enum Source {
    Log(Arc<Segment>),
    Snapshot(Arc<SnapshotFile>),
}

/// A snapshot, open for reading.
#[derive(Debug)]
pub(super) struct SnapshotFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// The first record that is not in it for certain.
    pub(super) sequence: u64,
}

impl Value {
    /// A value that stands in a segment at `offset`.
    pub(super) fn logged(bytes: &[u8], sealed: bool, segment: &Arc<Segment>, offset: u64) -> Self {
        Self::new(bytes, sealed, offset, || Source::Log(Arc::clone(segment)))
    }

    /// A value that stands in a snapshot at `offset`.
    pub(super) fn in_snapshot(bytes: &[u8], sealed: bool, file: &Arc<SnapshotFile>, offset: u64) -> Self {
        Self::new(bytes, sealed, offset, || Source::Snapshot(Arc::clone(file)))
    }

    fn new(bytes: &[u8], sealed: bool, offset: u64, source: impl FnOnce() -> Source) -> Self {
        match u32::try_from(bytes.len()) {
            Ok(length) if bytes.len() > INLINE => {
                Self::Stored(Place { source: source(), offset, length, checksum: crc32fast::hash(bytes), sealed })
            }
            // A copy: what came may be a piece of something large.
            _ => Self::Inline(Kept { bytes: Bytes::copy_from_slice(bytes), sealed }),
        }
    }

    /// Its bytes; blocks if they are in a file.
    pub(super) fn read(&self) -> Result<Kept> {
        match self {
            Self::Inline(kept) => Ok(kept.clone()),
            Self::Stored(place) => place.read(),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Inline(kept) => kept.bytes.len() as u64,
            Self::Stored(place) => place.length.into(),
        }
    }

    /// Whether it is what a release before there was sealing wrote.
    fn is_plain(&self) -> bool {
        match self {
            Self::Inline(kept) => !kept.sealed,
            Self::Stored(place) => !place.sealed,
        }
    }
}

impl Place {
    /// Reads the value and checks it.
    pub(super) fn read(&self) -> Result<Kept> {
        let (file, path): (&File, &Path) = match &self.source {
            Source::Log(segment) => (&segment.file, &segment.path),
            Source::Snapshot(snapshot) => (&snapshot.file, &snapshot.path),
        };
        let mut bytes = vec![0; self.length as usize];
        file.read_exact_at(&mut bytes, self.offset)
            .map_err(|e| io_fault(format!("read {} at {}", path.display(), self.offset), &e))?;
        if crc32fast::hash(&bytes) != self.checksum {
            let cause = format!("{} is damaged at offset {}: a value's checksum is wrong", path.display(), self.offset);
            tracing::error!(%cause, "a value is damaged");
            return Err(Fault::new(Code::Integrity, "the stored value is damaged").caused_by(cause));
        }
        Ok(Kept { bytes: bytes.into(), sealed: self.sealed })
    }

    /// Whether it is in a file that a snapshot as of `sequence` stands in for.
    fn is_before(&self, sequence: u64) -> bool {
        match &self.source {
            Source::Log(segment) => segment.first < sequence,
            Source::Snapshot(snapshot) => snapshot.sequence < sequence,
        }
    }
}

/// The rows of a bucket, by key in byte order.
type Rows = BTreeMap<Box<str>, Value>;

/// All buckets. Only the committer's thread changes what is in them.
#[derive(Default)]
pub(super) struct Data {
    buckets: RwLock<HashMap<Vec<u8>, Arc<RwLock<Rows>>>>,
    /// Bytes of all keys and values.
    live: AtomicU64,
}

impl Data {
    pub(super) fn get(&self, bucket: &[u8], key: &str) -> Option<Value> {
        read(&*self.bucket(bucket)?).get(key).cloned()
    }

    pub(super) fn keys(&self, bucket: &[u8], after: Option<&str>, limit: usize) -> Vec<String> {
        let Some(rows) = self.bucket(bucket) else { return Vec::new() };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        read(&*rows).range::<str, _>((start, Bound::Unbounded)).take(limit).map(|(key, _)| key.to_string()).collect()
    }

    /// Changes a bucket; readers see all of it or nothing.
    pub(super) fn apply<'k>(&self, bucket: &[u8], changes: impl IntoIterator<Item = (&'k str, Option<Value>)>) {
        let rows = match self.bucket(bucket) {
            Some(rows) => rows,
            None => Arc::clone(write(&self.buckets).entry(bucket.to_vec()).or_default()),
        };
        let mut rows = write(&rows);
        let (mut more, mut less) = (0, 0);
        for (key, value) in changes {
            more += value.as_ref().map_or(0, |value| key.len() as u64 + value.len());
            let old = match value {
                Some(value) => rows.insert(key.into(), value),
                None => rows.remove(key),
            };
            less += old.map_or(0, |old| key.len() as u64 + old.len());
        }
        self.live.fetch_add(more, Ordering::Relaxed);
        self.live.fetch_sub(less, Ordering::Relaxed);
        if rows.is_empty() {
            drop(rows);
            write(&self.buckets).remove(bucket);
        }
    }

    /// Bytes of all keys and values.
    pub(super) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// The ids of all buckets, in order.
    pub(super) fn buckets(&self) -> Vec<Vec<u8>> {
        let mut buckets: Vec<_> = read(&self.buckets).keys().cloned().collect();
        buckets.sort();
        buckets
    }

    /// All rows of a bucket, in order.
    pub(super) fn rows(&self, bucket: &[u8]) -> Vec<(Box<str>, Value)> {
        let Some(rows) = self.bucket(bucket) else { return Vec::new() };
        read(&*rows).iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Points a row to the snapshot as of `sequence`, unless it has changed since.
    pub(super) fn move_to_snapshot(&self, bucket: &[u8], key: &str, value: Value, sequence: u64) {
        let Some(rows) = self.bucket(bucket) else { return };
        let mut rows = write(&rows);
        let moves = match rows.get(key) {
            Some(Value::Stored(place)) => place.is_before(sequence),
            // Nothing is written plain any more, so it has not changed since.
            Some(inline) => inline.is_plain(),
            None => false,
        };
        if moves {
            rows.insert(key.into(), value);
        }
    }

    /// Tenants that have values which are not sealed.
    pub(super) fn plain(&self) -> BTreeSet<Name> {
        let buckets: Vec<_> = read(&self.buckets).iter().map(|(id, rows)| (id.clone(), Arc::clone(rows))).collect();
        let plain = buckets.into_iter().filter(|(_, rows)| read(rows).values().any(Value::is_plain));
        plain.filter_map(|(id, _)| tenant(&id)).collect()
    }

    /// Drops all of a tenant's buckets.
    pub(super) fn forget(&self, name: &Name) {
        let mut buckets = write(&self.buckets);
        buckets.retain(|id, rows| {
            let stays = tenant(id).as_ref() != Some(name);
            if !stays {
                let gone = read(rows).iter().map(|(key, value)| key.len() as u64 + value.len()).sum();
                self.live.fetch_sub(gone, Ordering::Relaxed);
            }
            stays
        });
    }

    fn bucket(&self, bucket: &[u8]) -> Option<Arc<RwLock<Rows>>> {
        read(&self.buckets).get(bucket).cloned()
    }
}

// Nothing here panics half way, so a poisoned lock guards nothing broken.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
