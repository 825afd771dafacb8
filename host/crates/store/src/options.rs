//! What a store can be opened with. Outside of tests the defaults stand.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Knobs of a store, so that tests meet segment ends, snapshots and failing disks early.
#[derive(Clone)]
pub(crate) struct Options {
    /// A log segment is ended behind this many bytes.
    pub(crate) segment_bytes: u64,
    /// How long the index may take to open and to be checked, before it is rebuilt instead.
    pub(crate) index_open_limit: Duration,
    /// Bytes of key-value log since the last snapshot that make a new one worth it.
    pub(crate) snapshot_bytes: u64,
    /// Milliseconds since the epoch.
    pub(crate) clock: fn() -> u64,
    /// Called when an fsync failed: the process must not go on.
    pub(crate) fatal: Arc<dyn Fn(&str) + Send + Sync>,
    /// A disk that fails on demand.
    #[cfg(test)]
    pub(crate) faults: Arc<crate::log::Faults>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Read whole at a start, so not larger; a journal record is about 500 bytes, so 30,000 of them.
            segment_bytes: 16 << 20,
            index_open_limit: Duration::from_secs(30),
            snapshot_bytes: 32 << 20,
            clock: || {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0))
            },
            fatal: Arc::new(|_| std::process::abort()),
            #[cfg(test)]
            faults: Arc::default(),
        }
    }
}
