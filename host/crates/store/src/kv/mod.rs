//! The key-value data of guests: a log of changes, an index of what is live in memory, and snapshots.
//!
//! Small values are kept in the index; of larger ones the index knows where they are in a file, and reads check their
//! checksum. A snapshot holds everything live in order, so that the log behind it can go.

mod copy;
mod data;
mod machine;
mod record;
mod snapshot;

use std::path::Path;
use std::sync::Arc;

use aimass_core::seam::{Bucket, KeyValue};
use aimass_core::{Code, Fault, Result};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::failure::{damaged, io_fault, make_folder, stopped};
use crate::lock::FolderLock;
use crate::log::{Committer, Log};
use crate::options::Options;
pub(crate) use copy::{copy, verify};
use data::{Data, Value};
use machine::{Ask, Job, Keeper};

/// Bytes of a key, and of a bucket's identifier. `wasi:keyvalue` leaves it open; other stores take less.
pub(crate) const MAX_KEY: usize = 1 << 10;
/// Bytes of a value: state, not files.
pub(crate) const MAX_VALUE: usize = 1 << 20;
/// Bytes of one `set`, keys and values together: it is one record.
const MAX_SET: usize = 16 << 20;

/// All guests' data. One key space per (tenant, plugin, bucket name).
pub(crate) struct GuestData {
    data: Arc<Data>,
    committer: Committer<Job>,
}

impl GuestData {
    /// Opens the data below the data folder: newest snapshot, and the log behind it.
    pub(crate) fn open(dir: &Path, options: &Options, lock: Arc<FolderLock>) -> Result<Self> {
        let dir = dir.join("kv");
        make_folder(&dir)?;
        let data = Arc::new(Data::default());
        let since = snapshot::load_newest(&dir, &data)?;
        let mut log_bytes = 0;
        let mut log = Log::open(&dir, options.clone(), &mut |entry| {
            if entry.sequence < since {
                return Ok(());
            }
            log_bytes += entry.bytes.len() as u64;
            let (bucket, changes) = record::decode(entry.bytes).ok_or_else(|| {
                damaged(&entry.segment.path, entry.offset, "it holds what this release does not know")
            })?;
            data.apply(
                bucket,
                changes.into_iter().map(|(key, value)| {
                    let value = value.map(|(at, bytes)| Value::logged(bytes, entry.segment, entry.offset + at as u64));
                    (key, value)
                }),
            );
            Ok(())
        })?;
        if log.first() > since || log.next() < since {
            let what = format!("records {since} to {} are missing", log.first().max(since));
            return Err(damaged(&log.segment().path, 0, what));
        }
        log.remove_before(since).map_err(|e| io_fault("remove old segments", &e))?;
        let keeper = Keeper::new(dir, Arc::clone(&data), log_bytes, options.snapshot_bytes, lock);
        let committer = Committer::start("store-kv", log, keeper, options)?;
        Ok(Self { data, committer })
    }

    /// As [`Committer::healthy`].
    pub(crate) fn healthy(&self, judge: &dyn Fn(Fault) -> Result<()>) -> Result<()> {
        self.committer.healthy(judge)
    }

    pub(crate) async fn close(&self) {
        self.committer.close().await;
    }

    async fn ask(&self, bucket: &Bucket, ask: Ask) -> Result<u64> {
        let (answer, receiver) = oneshot::channel();
        self.committer.send(Job { bucket: bucket_id(bucket)?, ask, answer }).await?;
        receiver.await.map_err(|_| stopped())?
    }
}

#[async_trait]
impl KeyValue for GuestData {
    async fn get(&self, bucket: &Bucket, key: &str) -> Result<Option<Bytes>> {
        check_key(key)?;
        match self.data.get(&bucket_id(bucket)?, key) {
            None => Ok(None),
            Some(Value::Inline(bytes)) => Ok(Some(bytes)),
            Some(Value::Stored(place)) => {
                let read = tokio::task::spawn_blocking(move || place.read());
                read.await.map_err(Fault::internal)?.map(Some)
            }
        }
    }

    async fn set(&self, bucket: &Bucket, changes: Vec<(String, Option<Bytes>)>) -> Result<()> {
        let mut total = 0;
        for (key, value) in &changes {
            check_key(key)?;
            let length = value.as_ref().map_or(0, Bytes::len);
            if length > MAX_VALUE {
                return Err(Fault::new(Code::PayloadTooLarge, "a value is at most 1 MiB"));
            }
            total += key.len() + length;
        }
        if total > MAX_SET {
            return Err(Fault::new(Code::PayloadTooLarge, "what is set at once is at most 16 MiB"));
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.ask(bucket, Ask::Set(changes)).await.map(drop)
    }

    async fn increment(&self, bucket: &Bucket, key: &str, delta: u64) -> Result<u64> {
        check_key(key)?;
        self.ask(bucket, Ask::Increment(key.to_owned(), delta)).await
    }

    async fn keys(&self, bucket: &Bucket, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        Ok(self.data.keys(&bucket_id(bucket)?, after, limit))
    }
}

/// A bucket's three parts as one. The first two are names, which hold no NUL, and the third is the rest: so no two
/// buckets come out the same.
fn bucket_id(bucket: &Bucket) -> Result<Vec<u8>> {
    if bucket.name.len() > MAX_KEY {
        return Err(Fault::invalid("a bucket's identifier is at most 1 KiB"));
    }
    let (tenant, plugin) = (bucket.tenant.name().as_str(), bucket.plugin.as_str());
    Ok([tenant.as_bytes(), b"\0", plugin.as_bytes(), b"\0", bucket.name.as_bytes()].concat())
}

fn check_key(key: &str) -> Result<()> {
    if key.len() > MAX_KEY { Err(Fault::invalid("a key is at most 1 KiB")) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
