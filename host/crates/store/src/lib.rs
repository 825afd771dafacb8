//! What is durable: the journal of every change, the view of the state that it describes, uploaded bytes, the
//! key-value data of guests, and the queue of calls.
//!
//! The journal is the truth; sled is only its index, and can be lost at any time. What was acknowledged is on the
//! disk. What is damaged is noticed, named and refused, never served. The layout of a data folder:
//!
//! ```text
//! schema            which layout this is
//! lock              one server per folder
//! journal/*.log     every change of state, hash-chained
//! index-*/          the view (sled); the highest number is in use, one below it could not be
//! blobs/<tenant>/   uploaded bytes, sealed, by their SHA-256 before that
//! jobs/             pieces of results that jobs are about to finish, sealed; in no backup
//! kv/               guests' key-value data, sealed: *.snapshot, and *.log behind it
//! queue/            calls that were accepted, sealed: *.log, and bodies/<tenant>/ with large ones
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod audit;
mod backup;
mod blobs;
mod bucket;
mod configuration;
mod failure;
mod journal;
mod kv;
mod lock;
mod log;
mod options;
mod queue;
mod reading;
mod schema;
mod seal;
mod sealing;
mod store;
#[cfg(test)]
mod tests;
mod view;
mod watched;
mod writer;

pub use audit::{export_journal, read_journal, rebuild_index, verify_export};
pub use backup::{BackupSummary, Extra, Progress, backup, restore, verify_backup};
pub use blobs::{BlobWriter, Blobs, Staged};
pub use bucket::{Bucket, Listing, open_credentials, seal_credentials};
pub use configuration::{SealedConfiguration, next_configuration, seal_secret, seal_settings};
pub use journal::{BadRecord, ChainReport, Record, verify_journal, verify_journal_against};
pub use queue::{
    Ending, Failure, ItemFilter, ItemRow, ItemState, LeaseWish, NewItem, Once, Parts, Put, Queue, QueueLimits,
    QueueUse, Topic,
};
pub use reading::BlobReader;
pub use seal::{KeyFile, KeyGeneration, Label, Seal};
pub use store::Store;
pub use view::{
    AliasRow, ConfigurationRow, DeploymentRow, FileRow, IssuerRow, JobRow, ObjectRow, RoleRow, RunRow, SecretRow,
    SignerRow, State, Stored, TenantRow, TokenRow, TriggerRow, UploadOutcome, UploadRow, VersionRow, WebhookRow,
};
pub use watched::{FoundObject, WatchedFolder};
