//! Backups: a folder that holds a prefix of the journal, the key-value data, and every blob that the prefix names.
//!
//! A backup is taken from the files of a data folder, whether a server uses it or not: what was acknowledged is in
//! the files, logs are only appended to, and blobs are swept only when a server starts. It is written beside its
//! place, read back as a restore would, and renamed: a folder that ends in `.partial` was never finished.
//!
//! ```text
//! manifest.json   what it is, and every file with its size and BLAKE3
//! manifest.b3     the manifest's own BLAKE3, as `b3sum` prints it
//! store/          journal, key-value data, queue and blobs, as in the data folder; the index is not in it
//! keys/           signing keys, if they were asked for
//! ```

mod manifest;
mod restore;
mod take;
mod verify;

use serde::Serialize;

pub use restore::restore;
pub use take::{Extra, backup};
pub use verify::verify_backup;

/// The folder of the store in a backup.
pub(crate) const STORE: &str = "store";

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupSummary {
    /// When it was begun, milliseconds since the epoch.
    pub created_ms: u64,
    /// Records of the journal.
    pub records: u64,
    /// The hash of the last one, as hex.
    pub head: String,
    /// Blobs that a version names.
    pub blobs: u64,
    /// Files, without the manifest.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the signing keys are in it.
    pub keys: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, as a word: `copying`, `checking`.
    pub doing: &'static str,
    /// Files that are done.
    pub done: u64,
    /// Files in all, as far as that is known.
    pub of: u64,
}
