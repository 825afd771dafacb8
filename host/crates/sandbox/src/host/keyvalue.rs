//! `wasi:keyvalue`: durable data of one plugin of one tenant.

#![allow(unreachable_pub)] // The generated bindings re-export the resource types, which needs them `pub`.

use std::sync::Arc;

use aimass_core::seam::{Bucket, KeyValue};
use aimass_core::{Code, Fault};
use wasmtime::component::Resource;

use crate::bindings::keyvalue::{atomics, batch, store};
use crate::state::Guest;

/// The longest identifier of a bucket, and the longest key, in bytes.
const MAX_NAME: usize = 1 << 10;

/// Keys that one `list-keys` answers with.
const PAGE: usize = 1_000;

type Answer<T> = wasmtime::Result<Result<T, store::Error>>;

/// An open bucket.
pub struct HostBucket {
    bucket: Arc<Bucket>,
    /// The cursor that `list-keys` gave last, and the key that it stands for. A cursor is a number in WIT and a key
    /// in the store; remembering one bounds what a guest can make the host keep.
    cursor: Option<(u64, String)>,
}

impl Guest {
    /// Owned, because what is borrowed from a guest cannot be held while its call waits.
    fn bucket(&self, bucket: &Resource<HostBucket>) -> wasmtime::Result<(Arc<dyn KeyValue>, Arc<Bucket>)> {
        Ok((self.services.key_value.clone(), self.table.get(bucket)?.bucket.clone()))
    }

    async fn read(&mut self, bucket: &Resource<HostBucket>, key: &str) -> Answer<Option<Vec<u8>>> {
        let (store, bucket) = self.bucket(bucket)?;
        if let Err(error) = check(key) {
            return Ok(Err(error));
        }
        let value = store.get(&bucket, key).await;
        Ok(value.map(|value| value.map(Vec::from)).map_err(refusal))
    }

    async fn change(
        &mut self,
        bucket: &Resource<HostBucket>,
        changes: Vec<(String, Option<bytes::Bytes>)>,
    ) -> Answer<()> {
        let (store, bucket) = self.bucket(bucket)?;
        if let Some(error) = changes.iter().find_map(|(key, _)| check(key).err()) {
            return Ok(Err(error));
        }
        if !self.call().limits.writes {
            return Ok(Err(store::Error::AccessDenied));
        }
        Ok(store.set(&bucket, changes).await.map_err(refusal))
    }
}

impl store::Host for Guest {
    async fn open(&mut self, identifier: String) -> Answer<Resource<HostBucket>> {
        if let Err(error) = check(&identifier) {
            return Ok(Err(error));
        }
        let call = self.call();
        let bucket = Bucket { tenant: call.tenant.clone(), plugin: call.plugin.clone(), name: identifier };
        Ok(Ok(self.table.push(HostBucket { bucket: Arc::new(bucket), cursor: None })?))
    }
}

impl store::HostBucket for Guest {
    async fn get(&mut self, bucket: Resource<HostBucket>, key: String) -> Answer<Option<Vec<u8>>> {
        self.read(&bucket, &key).await
    }

    async fn set(&mut self, bucket: Resource<HostBucket>, key: String, value: Vec<u8>) -> Answer<()> {
        self.change(&bucket, vec![(key, Some(value.into()))]).await
    }

    async fn delete(&mut self, bucket: Resource<HostBucket>, key: String) -> Answer<()> {
        self.change(&bucket, vec![(key, None)]).await
    }

    async fn exists(&mut self, bucket: Resource<HostBucket>, key: String) -> Answer<bool> {
        Ok(self.read(&bucket, &key).await?.map(|value| value.is_some()))
    }

    async fn list_keys(&mut self, bucket: Resource<HostBucket>, cursor: Option<u64>) -> Answer<store::KeyResponse> {
        let (store, namespace) = self.bucket(&bucket)?;
        let after = match (cursor, &self.table.get(&bucket)?.cursor) {
            (None, _) => None,
            (Some(asked), Some((given, key))) if asked == *given => Some(key.clone()),
            _ => return Ok(Err(other("the cursor is not the one that list-keys gave last"))),
        };
        let keys = match store.keys(&namespace, after.as_deref(), PAGE).await {
            Ok(keys) => keys,
            Err(fault) => return Ok(Err(refusal(fault))),
        };
        let open = self.table.get_mut(&bucket)?;
        open.cursor = match keys.last() {
            Some(last) if keys.len() >= PAGE => Some((cursor.unwrap_or(0).saturating_add(1), last.clone())),
            _ => None,
        };
        let cursor = open.cursor.as_ref().map(|(number, _)| *number);
        Ok(Ok(store::KeyResponse { keys, cursor }))
    }

    async fn drop(&mut self, bucket: Resource<HostBucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Guest {
    async fn increment(&mut self, bucket: Resource<HostBucket>, key: String, delta: u64) -> Answer<u64> {
        let (store, bucket) = self.bucket(&bucket)?;
        if let Err(error) = check(&key) {
            return Ok(Err(error));
        }
        if !self.call().limits.writes {
            return Ok(Err(store::Error::AccessDenied));
        }
        Ok(store.increment(&bucket, &key, delta).await.map_err(refusal))
    }
}

impl batch::Host for Guest {
    async fn get_many(
        &mut self,
        bucket: Resource<HostBucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        // Asking for the same large value many times must not fill the host's memory.
        let mut room = self.call().limits.host_call;
        let mut found = Vec::new();
        for key in keys {
            let value = match self.read(&bucket, &key).await? {
                Ok(value) => value,
                Err(error) => return Ok(Err(error)),
            };
            match room.checked_sub(value.as_ref().map_or(0, Vec::len)) {
                Some(rest) => room = rest,
                None => return Ok(Err(other("the values are too large for one call"))),
            }
            found.push(value.map(|value| (key, value)));
        }
        Ok(Ok(found))
    }

    async fn set_many(&mut self, bucket: Resource<HostBucket>, values: Vec<(String, Vec<u8>)>) -> Answer<()> {
        let changes = values.into_iter().map(|(key, value)| (key, Some(value.into()))).collect();
        self.change(&bucket, changes).await
    }

    async fn delete_many(&mut self, bucket: Resource<HostBucket>, keys: Vec<String>) -> Answer<()> {
        let changes = keys.into_iter().map(|key| (key, None)).collect();
        self.change(&bucket, changes).await
    }
}

fn check(name: &str) -> Result<(), store::Error> {
    if name.len() <= MAX_NAME { Ok(()) } else { Err(other("a bucket's name or a key is at most 1024 bytes")) }
}

fn other(detail: impl Into<String>) -> store::Error {
    store::Error::Other(detail.into())
}

fn refusal(fault: Fault) -> store::Error {
    match fault.code() {
        Code::NotFound => store::Error::NoSuchStore,
        Code::InsufficientScope | Code::Unauthenticated => store::Error::AccessDenied,
        _ => {
            if let Some(cause) = fault.cause() {
                tracing::warn!(code = %fault.code(), cause, "key-value call failed");
            }
            other(fault.detail())
        }
    }
}
