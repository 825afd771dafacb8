//! The store: opening, writing, reading, closing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aimass_core::event::{Actor, Event};
use aimass_core::seam::KeyValue;
use aimass_core::{Code, Fault, Result, Tenant};
use arc_swap::ArcSwap;
use tokio::sync::broadcast;
use zeroize::Zeroizing;

use crate::blobs::Blobs;
use crate::failure::{io_fault, make_folder};
use crate::journal::{self, ChainReport, Record, verify_journal};
use crate::kv::GuestData;
use crate::lock::FolderLock;
use crate::log::{Committer, Log};
use crate::options::Options;
use crate::queue::Queue;
use crate::schema;
use crate::seal::{KeyFile, Keys, Vault};
use crate::view::{self, JournalEnd, Pending, State};
use crate::writer::{self, Shared, Write, Writer};

/// Records that a slow subscriber may lag behind before it is told that it has missed some.
const SUBSCRIBER_BUFFER: usize = 1024;

/// The durable state of one data folder. Clones share it.
///
/// ```
/// use aimass_core::event::{Actor, Event};
/// use aimass_core::{Code, Fault, Name};
/// use aimass_store::Store;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let key_file = folder.join("key"); // Elsewhere, where it matters.
/// let store = Store::open(folder, &key_file)?;
/// let acme: Name = "acme".parse()?;
/// let tenant = acme.clone();
/// store
///     .write(Actor::system(), move |state| {
///         if state.tenant(&tenant)?.is_some() {
///             return Err(Fault::new(Code::Conflict, "the tenant exists already"));
///         }
///         Ok((Some(Event::TenantCreated { tenant }), ()))
///     })
///     .await?; // Here it is on the disk.
/// assert!(store.state().tenant(&acme)?.is_some());
/// store.close().await;
///
/// assert!(Store::open(folder, &key_file)?.state().tenant(&acme)?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    shared: Arc<Shared>,
    // Fields are dropped in order: the threads end before the folder is free for another.
    writes: Arc<Committer<Write>>,
    data: Arc<GuestData>,
    blobs: Blobs,
    queue: Arc<Queue>,
    keys: Keys,
    _lock: Arc<FolderLock>,
}

impl Store {
    /// Opens the data folder `dir`, or begins one, and recovers what a crash has left. Blocks for as long as reading
    /// the journal takes. `key_file` holds the key that the tenants' data keys are wrapped with; it is made if nothing
    /// is sealed yet, belongs to one data folder, and is worth as much as all that is in it: keep a copy, elsewhere.
    ///
    /// # Errors
    /// `conflict` if another server uses the folder, a newer release wrote it, or the key file does not open it; `integrity`, with file and offset, if what was acknowledged is
    /// damaged: then nothing is changed. `storage_full` and `internal` from the disk.
    pub fn open(dir: &Path, key_file: impl Into<KeyFile>) -> Result<Self> {
        Self::open_with(dir, key_file.into(), Options::default())
    }

    pub(crate) fn open_with(dir: &Path, key_file: KeyFile, options: Options) -> Result<Self> {
        schema::check(dir)?;
        make_folder(dir)?;
        let lock = Arc::new(FolderLock::take(dir)?);
        let mut end = JournalEnd { seq: 0, hash: journal::GENESIS };
        let folder = dir.join(journal::FOLDER);
        let log = Log::open(&folder, options.clone(), &mut |entry| {
            let record = journal::check(entry, end.seq + 1, &end.hash)?;
            end = JournalEnd { seq: record.seq, hash: record.hash };
            Ok(())
        })?;
        let opened = view::open_or_rebuild(dir, options.index_open_limit, &end)?;
        let index = opened.index;
        // Before anything is written or swept: without its key nothing here is of use.
        let vault = Arc::new(Vault::open(key_file, &State::committed(Arc::clone(&index)))?);
        schema::mark(dir)?;
        let shared = Arc::new(Shared {
            index: ArcSwap::new(index),
            sequence: AtomicU64::new(end.seq),
            records: broadcast::Sender::new(SUBSCRIBER_BUFFER),
        });
        let writer = Writer {
            dir: dir.to_owned(),
            shared: Arc::clone(&shared),
            options: options.clone(),
            head: end.hash,
            durable: end.hash,
            pending: Pending::new(),
            staged: Vec::new(),
            answers: Vec::new(),
            broken: None,
            vault: Arc::clone(&vault),
            _lock: Arc::clone(&lock),
        };
        let writes = Arc::new(Committer::start("store-journal", log, writer, &options)?);
        let keys = Keys::new(vault, Arc::clone(&writes));
        let data = Arc::new(GuestData::open(dir, &options, keys.clone(), Arc::clone(&lock))?);
        let blobs = Blobs::open(dir, keys.clone())?;
        let queue = Arc::new(Queue::open(dir, &options, Arc::clone(&lock), keys.clone())?);
        if opened.journal_is_short {
            // What the lost records named would be swept.
            tracing::error!("no blobs are swept, since the journal has lost records");
        } else {
            blobs.sweep(&State::committed(shared.index.load_full()))?;
            blobs.sweep_parts(&State::committed(shared.index.load_full()))?;
        }
        Ok(Self(Arc::new(Inner { dir: dir.to_owned(), shared, writes, data, blobs, queue, keys, _lock: lock })))
    }

    /// Decides and records one change of state.
    ///
    /// `decide` runs on the one thread that writes, against the newest state, writes before it included that are not
    /// durable yet. It should be quick, and must not wait for the store. What it returns is handed back when its event
    /// (and every one that it saw) is on the disk and [`Store::state`] shows it. Without an event this is a
    /// consistent read.
    ///
    /// If the returned future is dropped, the change may be made or not.
    ///
    /// # Errors
    /// What `decide` returns; `not_found`, `conflict`, `payload_too_large` if the event does not fit the state;
    /// `storage_full` if it could not be written: nothing is changed then. `unavailable` if the store has stopped, or
    /// the index is broken: the change may then show later.
    pub async fn write<T: Send + 'static>(
        &self,
        actor: Actor,
        decide: impl FnOnce(&State<'_>) -> Result<(Option<Event>, T)> + Send + 'static,
    ) -> Result<T> {
        writer::write(&self.0.writes, actor, decide).await
    }

    /// The committed state. Cheap; for reading at once, not for keeping.
    pub fn state(&self) -> State<'static> {
        State::committed(self.0.shared.index.load_full())
    }

    /// The number of the last record that [`Store::state`] shows: it is only read from memory, so a cache can tell
    /// cheaply whether anything changed since it was filled.
    pub fn sequence(&self) -> u64 {
        self.0.shared.sequence.load(Ordering::Acquire)
    }

    /// Records from now on, in order, once each is durable and shown by [`Store::state`] (unless the index is broken).
    /// Who lags more than 1024 records behind is told so by the receiver, and should forget what it cached.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        self.0.shared.records.subscribe()
    }

    /// How the tenants' keys are had.
    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// The guests' key-value data.
    pub(crate) fn data(&self) -> &GuestData {
        &self.0.data
    }

    /// The tenants' uploaded bytes.
    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// The guests' key-value data. The folder stays in use until this is dropped as well, or the store closed.
    pub fn key_value(&self) -> Arc<dyn KeyValue> {
        Arc::clone(&self.0.data) as Arc<dyn KeyValue>
    }

    /// A key of a tenant's own for what `context` says. The same each time, and gone with the tenant's data key.
    ///
    /// # Errors
    /// `storage_full`, `unavailable` if the tenant has no data key yet and gets none.
    pub async fn derived_key(&self, tenant: &Tenant, context: &[&[u8]]) -> Result<Zeroizing<[u8; 32]>> {
        Ok(self.0.keys.get_or_create(tenant.name()).await?.derive(context))
    }

    /// The calls that were accepted, and what became of them.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.0.queue
    }

    /// The number and the hash of the last record that [`Store::state`] shows.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn head(&self) -> Result<(u64, [u8; 32])> {
        self.0.shared.index.load().applied().map(|applied| (applied.seq, applied.hash))
    }

    /// The folder, for what reads the journal on the disk beside the store: [`crate::read_journal`].
    pub fn folder(&self) -> &Path {
        &self.0.dir
    }

    /// Walks along the journal's hash chain on the disk. Blocks; see also [`verify_journal`].
    ///
    /// # Errors
    /// `internal` if the files cannot be read. A bad record is no error: the report names it.
    pub fn verify_chain(&self) -> Result<ChainReport> {
        verify_journal(&self.0.dir)
    }

    /// The threads live, what was written last was written, and the index follows the journal. After a full disk it
    /// tries whether there is room again, so that nobody has to write to find out. Blocks shortly in that case.
    ///
    /// # Errors
    /// What the last write failed with, or `unavailable`.
    pub fn healthy(&self) -> Result<()> {
        let judge = |fault: Fault| {
            if fault.code() != Code::StorageFull {
                return Err(fault);
            }
            let probe = tempfile::NamedTempFile::new_in(&self.0.dir).and_then(|mut file| {
                std::io::Write::write_all(&mut file, &[1; 64 << 10])?;
                file.as_file().sync_all()
            });
            probe.map_err(|e| io_fault("probe the disk", &e))
        };
        self.0.writes.healthy(&judge)?;
        self.0.data.healthy(&judge)?;
        self.0.queue.healthy(&judge)
    }

    /// Ends the threads when what was sent to them is done, and writes the index out. Later writes are refused.
    pub async fn close(self) {
        self.0.writes.close().await;
        self.0.data.close().await;
        self.0.queue.close().await;
    }
}

#[cfg(test)]
impl Store {
    pub(crate) fn index(&self) -> Arc<view::Index> {
        self.0.shared.index.load_full()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.0.dir).field("sequence", &self.sequence()).finish_non_exhaustive()
    }
}
