//! The key-value data of guests: a log of changes, an index of what is live in memory, and snapshots.
//!
//! Small values are kept in the index; of larger ones the index knows where they are in a file, and reads check their
//! checksum. A snapshot holds everything live in order, so that the log behind it can go. Keys and values are sealed on the
//! disk, and values in memory as well ([`sealed`]).

mod copy;
mod data;
mod machine;
mod record;
mod sealed;
mod snapshot;

use std::path::Path;
use std::sync::Arc;

use aimass_core::seam::{Bucket, KeyValue};
use aimass_core::{Code, Fault, Name, Result};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::failure::{damaged, io_fault, make_folder, stopped};
use crate::lock::FolderLock;
use crate::log::{Committer, Log};
use crate::options::Options;
use crate::seal::Keys;
pub(crate) use copy::{copy, verify};
use data::{Data, Value};
use machine::{Ask, Job, Keeper};
use sealed::{BucketSeal, Change, Named, Names};

/// Bytes of a key, and of a bucket's identifier. `wasi:keyvalue` leaves it open; other stores take less.
pub(crate) const MAX_KEY: usize = 1 << 10;
/// Bytes of a value: state, not files.
pub(crate) const MAX_VALUE: usize = 1 << 20;
/// Bytes of one `set`, keys and values together: it is one record.
const MAX_SET: usize = 16 << 20;
/// Sets of more bytes are sealed where they do not keep others waiting.
const SEALED_AT_ONCE: usize = 64 << 10;

/// All guests' data. One key space per (tenant, plugin, bucket name).
pub(crate) struct GuestData {
    data: Arc<Data>,
    keys: Keys,
    committer: Committer<Job>,
}

impl GuestData {
    /// Opens the data below the data folder: newest snapshot, and the log behind it.
    pub(crate) fn open(dir: &Path, options: &Options, keys: Keys, lock: Arc<FolderLock>) -> Result<Self> {
        let dir = dir.join("kv");
        make_folder(&dir)?;
        let data = Arc::new(Data::default());
        let since = snapshot::load_newest(&dir, &data, keys.vault())?;
        let mut log_bytes = 0;
        let mut names = Names::new(keys.vault());
        let mut log = Log::open(&dir, options.clone(), &mut |entry| {
            if entry.sequence < since {
                return Ok(());
            }
            log_bytes += entry.bytes.len() as u64;
            let bad = |what: &str| damaged(&entry.segment.path, entry.offset, what);
            let (bucket, found) =
                record::decode(entry.bytes).ok_or_else(|| bad("it holds what this release does not know"))?;
            let mut changes = Vec::with_capacity(found.len());
            for change in found {
                let Named::Key(key) = names.open(bucket, change.name, change.name_sealed).map_err(bad)? else {
                    continue;
                };
                let value =
                    |v: record::Found<'_>| Value::logged(v.bytes, v.sealed, entry.segment, entry.offset + v.at as u64);
                changes.push((key, change.value.map(value)));
            }
            data.apply(bucket, changes.iter().map(|(key, value)| (key.as_str(), value.clone())));
            Ok(())
        })?;
        if log.first() > since || log.next() < since {
            let what = format!("records {since} to {} are missing", log.first().max(since));
            return Err(damaged(&log.segment().path, 0, what));
        }
        log.remove_before(since).map_err(|e| io_fault("remove old segments", &e))?;
        let vault = Arc::clone(keys.vault());
        let keeper = Keeper::new(dir, Arc::clone(&data), log_bytes, options.snapshot_bytes, vault, lock);
        let committer = Committer::start("store-kv", log, keeper, options)?;
        Ok(Self { data, keys, committer })
    }

    /// Seals what a release before there was sealing wrote: it stands in a new snapshot soon, and nowhere else.
    pub(crate) async fn seal_rest(&self) -> Result<()> {
        let plain = self.data.plain();
        for tenant in &plain {
            self.keys.get_or_create(tenant).await?;
        }
        if plain.is_empty() { Ok(()) } else { self.ask(Vec::new(), Ask::Rewrite(None)).await.map(drop) }
    }

    /// Drops all of a tenant's that was erased, from memory and, with a new snapshot, from the disk.
    pub(crate) async fn forget(&self, tenant: &Name) -> Result<()> {
        self.ask(Vec::new(), Ask::Rewrite(Some(tenant.clone()))).await.map(drop)
    }

    /// As [`Committer::healthy`].
    pub(crate) fn healthy(&self, judge: &dyn Fn(Fault) -> Result<()>) -> Result<()> {
        self.committer.healthy(judge)
    }

    pub(crate) async fn close(&self) {
        self.committer.close().await;
    }

    async fn ask(&self, bucket: Vec<u8>, ask: Ask) -> Result<u64> {
        let (answer, receiver) = oneshot::channel();
        self.committer.send(Job { bucket, ask, answer }).await?;
        receiver.await.map_err(|_| stopped())?
    }

    async fn read(&self, bucket: &Bucket, key: &str) -> Result<Option<Bytes>> {
        let id = bucket_id(bucket)?;
        let Some(value) = self.data.get(&id, key) else { return Ok(None) };
        let data_key = self.keys.get(bucket.tenant.name());
        let open = move |value: Value, key: &str| {
            let kept = value.read()?;
            match data_key {
                Some(data_key) => BucketSeal::new(&id, data_key).open_value(key, &kept),
                None if kept.sealed => Err(Fault::not_found()),
                None => Ok(kept.bytes),
            }
        };
        match value {
            Value::Inline(_) => open(value, key).map(Some),
            Value::Stored(_) => {
                let key = key.to_owned();
                tokio::task::spawn_blocking(move || open(value, &key)).await.map_err(Fault::internal)?.map(Some)
            }
        }
    }
}

#[async_trait]
impl KeyValue for GuestData {
    async fn get(&self, bucket: &Bucket, key: &str) -> Result<Option<Bytes>> {
        check_key(key)?;
        let read = self.read(bucket, key).await;
        if read.as_ref().is_err_and(|fault| fault.code() == Code::Integrity) {
            self.keys.tell(bucket.tenant.name(), format!("key-value data of {}", bucket.plugin)).await;
        }
        read
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
        let (id, data_key) = (bucket_id(bucket)?, self.keys.get_or_create(bucket.tenant.name()).await?);
        let sealed = move || -> Result<(Vec<u8>, Vec<Change>)> {
            let seal = BucketSeal::new(&id, data_key);
            let changes = changes.into_iter().map(|(key, value)| seal.change(key, value.as_deref()));
            let changes = changes.collect::<Result<_>>()?;
            Ok((id, changes))
        };
        let (id, changes) = match total > SEALED_AT_ONCE {
            true => tokio::task::spawn_blocking(sealed).await.map_err(Fault::internal)??,
            false => sealed()?,
        };
        self.ask(id, Ask::Set(changes)).await.map(drop)
    }

    async fn increment(&self, bucket: &Bucket, key: &str, delta: u64) -> Result<u64> {
        check_key(key)?;
        let data_key = self.keys.get_or_create(bucket.tenant.name()).await?;
        self.ask(bucket_id(bucket)?, Ask::Increment(key.to_owned(), delta, data_key)).await
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
