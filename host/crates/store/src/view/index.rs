//! sled, as far as it is used: one tree, atomic batches, and a fingerprint over all rows.
//!
//! sled is never what makes a write durable, and what it holds is not trusted: every batch updates a fingerprint of
//! all rows, and a start compares it with the rows that are there. What does not agree is rebuilt from the journal.

use std::ops::Bound;
use std::path::Path;

use aimass_core::{Code, Fault, Result};
use serde::{Deserialize, Serialize};

use super::keys;
use super::state::Pending;

/// How far the view has followed the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// The last record that is in it.
    pub(crate) seq: u64,
    /// That record's hash.
    pub(crate) hash: [u8; 32],
    /// XOR of a hash of every row: in any order, and updated without reading the others.
    rows: u128,
}

/// The index, open.
pub(crate) struct Index {
    db: sled::Db,
}

impl Index {
    /// Opens or begins the index in `dir`. sled may panic at damaged files, and may hang: see [`super::open`].
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let db = sled::Config::new()
            .path(dir)
            // The rows of a few thousand objects; sled's own default is 1 GiB.
            .cache_capacity(16 << 20)
            // Its flusher thread ends at the first I/O error without a word, and durability is the journal's.
            .flush_every_ms(None)
            .open()
            .map_err(fault)?;
        Ok(Self { db })
    }

    /// How far it has followed the journal.
    pub(crate) fn applied(&self) -> Result<Applied> {
        let none = Applied { seq: 0, hash: crate::journal::GENESIS, rows: 0 };
        let found = self.db.get(keys::APPLIED).map_err(fault)?;
        found.map_or(Ok(none), |bytes| serde_json::from_slice(&bytes).map_err(Fault::internal))
    }

    /// Applies rows that lead to record `seq` with `hash`: all of them or none.
    pub(crate) fn apply(&self, rows: &Pending, seq: u64, hash: [u8; 32]) -> Result<()> {
        let mut applied = self.applied()?;
        let mut batch = sled::Batch::default();
        for (key, value) in rows {
            if let Some(old) = self.db.get(key).map_err(fault)? {
                applied.rows ^= row_hash(key, &old);
            }
            match value {
                Some(value) => {
                    applied.rows ^= row_hash(key, value);
                    batch.insert(key.as_slice(), value.as_slice());
                }
                None => batch.remove(key.as_slice()),
            }
        }
        (applied.seq, applied.hash) = (seq, hash);
        batch.insert(keys::APPLIED, serde_json::to_vec(&applied).map_err(Fault::internal)?);
        self.db.apply_batch(batch).map_err(fault)
    }

    /// Whether the rows are those that were applied.
    pub(super) fn verify(&self) -> Result<()> {
        let mut rows = 0;
        for row in self.db.iter() {
            let (key, value) = row.map_err(fault)?;
            if key != keys::APPLIED {
                rows ^= row_hash(&key, &value);
            }
        }
        if rows == self.applied()?.rows { Ok(()) } else { Err(Fault::new(Code::Integrity, "the index lacks rows")) }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>> {
        self.db.get(key).map_err(fault)
    }

    pub(super) fn range(&self, start: Bound<Vec<u8>>) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec)>> {
        self.db.range::<Vec<u8>, _>((start, Bound::Unbounded)).map(|row| row.map_err(fault))
    }

    /// Writes out what is buffered, so that the next start has less to replay.
    pub(crate) fn flush(&self) -> Result<()> {
        self.db.flush().map(drop).map_err(fault)
    }

    /// Every row, for comparing two indexes.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
        self.db.iter().map(|row| row.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect()
    }
}

fn row_hash(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(value);
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(half)
}

fn fault(error: sled::Error) -> Fault {
    match error {
        sled::Error::Io(io) => crate::failure::io_fault("the index", &io),
        other => Fault::internal(format!("the index: {other}")),
    }
}
