//! Guests' keys and values as they are kept: sealed, each bound to its bucket, and a value to its key.
//!
//! A bucket's own name stays readable, since it begins with the tenant's; whoever has the data folder and not the key
//! file learns of a tenant which plugins keep data, how many keys, and how long they are.

use std::sync::Arc;

use aimass_core::{Code, Fault, Name, Result};
use bytes::Bytes;

use crate::seal::{DataKey, Owner, Vault, aead};

/// Bytes that sealing adds.
pub(super) const OVERHEAD: usize = aead::SALT + aead::TAG;

/// Bytes as they are kept: sealed, or those of a release before there was sealing.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) bytes: Bytes,
    pub(super) sealed: bool,
}

/// A change of one key, ready for a record.
pub(super) struct Change {
    pub(super) key: String,
    /// The key, sealed.
    pub(super) name: Bytes,
    /// None removes it.
    pub(super) value: Option<Kept>,
}

/// Seals and opens what stands in one bucket.
pub(super) struct BucketSeal<'b> {
    bucket: &'b [u8],
    key: Arc<DataKey>,
}

impl<'b> BucketSeal<'b> {
    pub(super) fn new(bucket: &'b [u8], key: Arc<DataKey>) -> Self {
        Self { bucket, key }
    }

    pub(super) fn change(&self, key: String, value: Option<&[u8]>) -> Result<Change> {
        let (name, value) = (self.name(&key)?, value.map(|plain| self.value(&key, plain)).transpose()?);
        Ok(Change { key, name, value })
    }

    pub(super) fn name(&self, key: &str) -> Result<Bytes> {
        aead::seal(self.key.bytes(), &[b"kv key", self.bucket], key.as_bytes()).map(Bytes::from)
    }

    /// A key; none if it is not this bucket's.
    pub(super) fn open_name(&self, sealed: &[u8]) -> Result<Option<String>> {
        let opened = aead::open(self.key.bytes(), &[b"kv key", self.bucket], sealed)?;
        Ok(opened.and_then(|name| std::str::from_utf8(&name).map(str::to_owned).ok()))
    }

    pub(super) fn value(&self, key: &str, plain: &[u8]) -> Result<Kept> {
        let bytes = aead::seal(self.key.bytes(), &self.context(key), plain)?;
        Ok(Kept { bytes: bytes.into(), sealed: true })
    }

    /// A value's plain bytes.
    ///
    /// # Errors
    /// `integrity` if it is not this key's in this bucket.
    pub(super) fn open_value(&self, key: &str, kept: &Kept) -> Result<Bytes> {
        if !kept.sealed {
            return Ok(kept.bytes.clone());
        }
        match aead::open(self.key.bytes(), &self.context(key), &kept.bytes)? {
            Some(mut plain) => Ok(std::mem::take(&mut *plain).into()),
            None => {
                let cause = format!("a value in the bucket {} does not open", shown(self.bucket));
                Err(Fault::new(Code::Integrity, "the stored value is damaged").caused_by(cause))
            }
        }
    }

    fn context<'c>(&'c self, key: &'c str) -> [&'c [u8]; 3] {
        [b"kv", self.bucket, key.as_bytes()]
    }
}

/// Whose a bucket is.
pub(super) fn tenant(bucket: &[u8]) -> Option<Name> {
    std::str::from_utf8(bucket.split(|&b| b == 0).next()?).ok()?.parse().ok()
}

/// A bucket's tenant and plugin, for a message.
fn shown(bucket: &[u8]) -> String {
    let parts: Vec<_> = bucket.split(|&b| b == 0).take(2).map(String::from_utf8_lossy).collect();
    parts.join("/")
}

/// Opens the keys that are read from records and snapshots.
pub(super) struct Names<'v> {
    vault: &'v Vault,
    /// Rows of a bucket stand together.
    last: Option<(Vec<u8>, Owner)>,
}

/// What a read row comes to.
pub(super) enum Named {
    Key(String),
    /// Its tenant was erased: nobody can read it, and nobody shall.
    Erased,
}

impl<'v> Names<'v> {
    pub(super) fn new(vault: &'v Vault) -> Self {
        Self { vault, last: None }
    }

    /// The key that is called `name` in a record or snapshot.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(&mut self, bucket: &[u8], name: &[u8], sealed: bool) -> Result<Named, &'static str> {
        if self.last.as_ref().is_none_or(|(last, _)| last != bucket) {
            let tenant = tenant(bucket).ok_or("a bucket is no tenant's")?;
            self.last = Some((bucket.to_vec(), self.vault.owner(&tenant)));
        }
        match self.last.as_ref().map(|(_, owner)| owner) {
            Some(Owner::Erased) => Ok(Named::Erased),
            Some(Owner::Sealing(key)) if sealed => {
                let opened = BucketSeal::new(bucket, Arc::clone(key)).open_name(name);
                opened.ok().flatten().map(Named::Key).ok_or("a key is not what its tenant's data key has sealed")
            }
            _ if sealed => Err("a key is sealed, and its tenant has no data key"),
            _ => std::str::from_utf8(name).map(|key| Named::Key(key.to_owned())).map_err(|_| "a key is no text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f39_a_value_opens_in_its_own_place_only() {
        let key = Arc::new(DataKey::random().unwrap());
        let seal = |bucket: &'static [u8]| BucketSeal::new(bucket, Arc::clone(&key));
        let (ours, theirs) = (seal(b"acme\0p\0"), seal(b"rival\0p\0"));
        let change = ours.change("k".to_owned(), Some(b"v")).unwrap();
        let value = change.value.unwrap();
        assert_eq!(ours.open_value("k", &value).unwrap(), "v");
        assert_eq!(ours.open_name(&change.name).unwrap().unwrap(), "k");
        assert_eq!(ours.open_value("other", &value).unwrap_err().code(), Code::Integrity);
        assert_eq!(theirs.open_value("k", &value).unwrap_err().code(), Code::Integrity);
        assert!(theirs.open_name(&change.name).unwrap().is_none());
        assert_eq!(tenant(b"acme\0p\0x").unwrap().as_str(), "acme");
    }
}
