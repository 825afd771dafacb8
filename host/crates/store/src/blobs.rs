//! Uploaded bytes (components, ONNX files): content-addressed files, one folder per tenant.
//!
//! `blobs/<tenant>/<sha256 hex>`, the digest of the plain bytes; the file is sealed ([`crate::seal`]). One that a
//! release before there was sealing wrote is read as it is, and sealed when the same bytes are uploaded again.
//!
//! A blob appears under its name only whole and durable: temporary file, fsync, rename, fsync of the folder. The record
//! that names it is written after that, so a crash leaves at most a blob that nothing names; those are swept at the next
//! start (never while running, when an upload may be about to name one).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aimass_core::digest::Hasher;
use aimass_core::{Code, Digest, Fault, Name, Result, Tenant};
use bytes::{Bytes, BytesMut};
use tempfile::NamedTempFile;

use crate::failure::{damaged, io_fault, make_folder, sync_folder};
use crate::seal::stream::{self, Sealer};
use crate::seal::{DataKey, Keys};
use crate::view::State;

/// What is under way; no tenant's name begins with a dot.
const UPLOADS: &str = ".uploads";
/// Bytes that are gathered before they are hashed and written on a blocking thread.
const CHUNK: usize = 512 << 10;

/// The tenants' uploaded bytes.
///
/// ```
/// # use aimass_core::{Name, Tenant};
/// # async fn upload(store: &aimass_store::Store, tenant: &Tenant) -> aimass_core::Result<()> {
/// let mut writer = store.blobs().writer(tenant).await?;
/// writer.write(b"piece by piece").await?;
/// let staged = writer.stage().await?;
/// assert_eq!(staged.read().await?.len(), 14); // Look at it first; dropped, it leaves nothing.
/// let (digest, size) = staged.commit().await?; // Now it may be named in a record.
/// assert_eq!(store.blobs().read(tenant, &digest).await?.len() as u64, size);
/// # Ok(())
/// # }
/// # let folder = tempfile::tempdir()?;
/// # let store = aimass_store::Store::open(folder.path(), &folder.path().join("key"))?;
/// # let tenant = Tenant::vouched_for("acme".parse()?);
/// # tokio::runtime::Runtime::new()?.block_on(upload(&store, &tenant))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Blobs {
    dir: PathBuf,
    keys: Keys,
}

impl Blobs {
    /// Opens the blobs of the data folder.
    pub(crate) fn open(dir: &Path, keys: Keys) -> Result<Self> {
        let dir = dir.join("blobs");
        let blobs = Self { dir, keys };
        make_folder(&blobs.dir)?;
        make_folder(&blobs.dir.join(UPLOADS))?;
        Ok(blobs)
    }

    /// Begins a blob of `tenant`.
    ///
    /// # Errors
    /// `storage_full`, `internal`.
    pub async fn writer(&self, tenant: &Tenant) -> Result<BlobWriter> {
        self.writer_to(tenant, self.folder(tenant)).await
    }

    /// The same, for bytes that get their name in another folder of the same disk.
    pub(crate) async fn writer_to(&self, tenant: &Tenant, folder: PathBuf) -> Result<BlobWriter> {
        let uploads = self.dir.join(UPLOADS);
        let own = Own { tenant: tenant.name().clone(), key: self.keys.get_or_create(tenant.name()).await? };
        let (open, own) = blocking(move || {
            let mut file = NamedTempFile::new_in(uploads).map_err(|e| io_fault("begin a blob", &e))?;
            let sealer = Sealer::begin(&own.key, &own.tenant, file.as_file_mut())?;
            Ok((Open { file, sealer, hasher: Hasher::default(), size: 0 }, own))
        })
        .await?;
        Ok(BlobWriter { folder, own, open: Some(Box::new(open)), gathered: BytesMut::new() })
    }

    /// Where a blob's file is, if it is there.
    pub fn path(&self, tenant: &Tenant, digest: &Digest) -> PathBuf {
        self.folder(tenant).join(digest.hex())
    }

    /// A blob's bytes, checked against their name.
    ///
    /// # Errors
    /// `integrity` if they are not what they were, are another tenant's, or are gone; the audit log tells of it then.
    pub async fn read(&self, tenant: &Tenant, digest: &Digest) -> Result<Bytes> {
        let (path, digest) = (self.path(tenant, digest), *digest);
        let (owner, key) = (tenant.name().clone(), self.keys.get(tenant.name()));
        let read = blocking(move || {
            let bytes = read(&path, &owner, key.as_deref())?;
            if Digest::of(&bytes) != digest {
                return Err(integrity(&path, "does not have the bytes that its name says"));
            }
            Ok(Bytes::from(bytes))
        })
        .await;
        if read.as_ref().is_err_and(|fault| fault.code() == Code::Integrity) {
            self.keys.tell(tenant.name(), format!("blob {digest}")).await;
        }
        read
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where pieces of jobs' results are: beside the blobs, so that they are swept and backed up apart.
    pub(crate) fn jobs_folder(&self) -> PathBuf {
        self.dir.with_file_name("jobs")
    }

    /// Removes all blobs of a tenant that was erased.
    pub(crate) async fn forget(&self, tenant: &Name) -> Result<()> {
        let folders = [self.dir.join(tenant.as_str()), self.jobs_folder().join(tenant.as_str())];
        blocking(move || {
            folders.iter().try_for_each(|folder| match fs::remove_dir_all(folder) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    Err(io_fault(format!("remove {}", folder.display()), &e))
                }
                _ => Ok(()),
            })
        })
        .await
    }

    fn folder(&self, tenant: &Tenant) -> PathBuf {
        self.dir.join(tenant.name().as_str())
    }

    /// Removes temporary files and blobs that no version names; says which are named but not there. Only before the
    /// first upload: it would take what is under way.
    pub(crate) fn sweep(&self, state: &State<'_>) -> Result<()> {
        let live = state.live_blobs()?;
        let failed = |e: io::Error| io_fault("sweep the blobs", &e);
        let mut swept = 0;
        let mut found = BTreeSet::new();
        for folder in fs::read_dir(&self.dir).map_err(failed)? {
            let folder = folder.map_err(failed)?.path();
            let tenant = file_name(&folder);
            for blob in fs::read_dir(&folder).map_err(failed)? {
                let path = blob.map_err(failed)?.path();
                let digest = format!("sha256:{}", file_name(&path)).parse::<Digest>().ok();
                match digest.filter(|digest| live.contains_key(&(tenant.clone(), *digest))) {
                    Some(digest) => {
                        found.insert((tenant.clone(), digest));
                    }
                    None => {
                        fs::remove_file(&path).map_err(failed)?;
                        swept += 1;
                    }
                }
            }
        }
        if swept > 0 {
            tracing::info!(files = swept, "removed uploads that were never finished, and blobs that nothing names");
        }
        for (tenant, digest) in live.keys().filter(|key| !found.contains(key)) {
            tracing::error!(%tenant, %digest, "a version's blob is missing");
        }
        Ok(())
    }
}

/// A blob on its way. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    folder: PathBuf,
    own: Own,
    /// None after a failure.
    open: Option<Box<Open>>,
    gathered: BytesMut,
}

/// Whose a blob is.
#[derive(Debug)]
struct Own {
    tenant: Name,
    key: Arc<DataKey>,
}

struct Open {
    sealer: Sealer,
    /// Removes itself when dropped.
    file: NamedTempFile,
    hasher: Hasher,
    size: u64,
}

impl BlobWriter {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// `storage_full`, `internal`. The blob is lost then, and its temporary file gone.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= CHUNK { self.put().await } else { Ok(()) }
    }

    /// Ends the writing: the bytes can be looked at by then, and are not a blob yet.
    ///
    /// # Errors
    /// `storage_full`, `internal`. Nothing is left then.
    pub async fn stage(mut self) -> Result<Staged> {
        self.put().await?;
        let Open { mut file, sealer, hasher, size } = *self.open.take().ok_or_else(lost)?;
        let file = blocking(move || sealer.finish(file.as_file_mut()).map(|()| file)).await?;
        Ok(Staged { folder: self.folder, own: self.own, file, digest: hasher.finish(), size })
    }

    /// Makes the blob durable under its digest; returns that and its size in bytes.
    ///
    /// # Errors
    /// `storage_full`, `internal`. Nothing is left then.
    pub async fn finish(self) -> Result<(Digest, u64)> {
        self.stage().await?.commit().await
    }

    async fn put(&mut self) -> Result<()> {
        let mut open = self.open.take().ok_or_else(lost)?;
        let mut bytes = std::mem::take(&mut self.gathered);
        let (open, bytes) = blocking(move || {
            open.hasher.update(&bytes);
            open.size += bytes.len() as u64;
            open.sealer.write(&bytes, open.file.as_file_mut())?;
            bytes.clear();
            Ok((open, bytes))
        })
        .await?;
        (self.open, self.gathered) = (Some(open), bytes);
        Ok(())
    }
}

/// A blob that is whole but has no name yet. Dropped uncommitted, it leaves nothing.
#[derive(Debug)]
pub struct Staged {
    folder: PathBuf,
    own: Own,
    /// Removes itself when dropped.
    file: NamedTempFile,
    digest: Digest,
    size: u64,
}

impl Staged {
    /// The digest of its bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its bytes.
    ///
    /// # Errors
    /// `internal`.
    pub async fn read(&self) -> Result<Bytes> {
        let (path, tenant, key) = (self.file.path().to_owned(), self.own.tenant.clone(), Arc::clone(&self.own.key));
        blocking(move || read(&path, &tenant, Some(&key)).map(Bytes::from)).await
    }

    /// Makes it durable under its digest; returns that and its size in bytes.
    ///
    /// # Errors
    /// `storage_full`, `internal`. Nothing is left then.
    pub async fn commit(self) -> Result<(Digest, u64)> {
        let Self { folder, file, digest, size, .. } = self;
        blocking(move || {
            let done = || -> io::Result<()> {
                file.as_file().sync_all()?;
                fs::create_dir_all(&folder)?;
                if let Some(parent) = folder.parent() {
                    // Also when it was there: whoever made it may not have come to this yet.
                    sync_folder(parent)?;
                }
                // Over the same blob, if it is there: its bytes are the same, or had been damaged.
                file.persist(folder.join(digest.hex())).map_err(|e| e.error)?;
                sync_folder(&folder)
            };
            done().map_err(|e| io_fault("finish a blob", &e))?;
            Ok((digest, size))
        })
        .await
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("file", &self.file.path()).field("size", &self.size).finish_non_exhaustive()
    }
}

/// A blob's plain bytes.
fn read(path: &Path, tenant: &Name, key: Option<&DataKey>) -> Result<Vec<u8>> {
    let failed = |e: io::Error| io_fault(format!("read {}", path.display()), &e);
    let mut file = fs::File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => integrity(path, "is missing"),
        _ => failed(e),
    })?;
    if stream::is_sealed(&mut file).map_err(failed)? {
        let opened = key.map(|key| stream::open(key, tenant, &mut file)).transpose()?.flatten();
        return opened.ok_or_else(|| integrity(path, "is not what its tenant's key has sealed"));
    }
    let mut bytes = Vec::new();
    io::Seek::rewind(&mut file).and_then(|()| io::Read::read_to_end(&mut file, &mut bytes)).map_err(failed)?;
    Ok(bytes)
}

/// Where a blob's file is below the store's folder.
pub(crate) fn below(tenant: &str, digest: &Digest) -> PathBuf {
    Path::new("blobs").join(tenant).join(digest.hex())
}

/// Checks a blob's file, without its key and without reading it into memory at once: a sealed one against its
/// checksum, another one against its name.
///
/// # Errors
/// `integrity`, with the file, if it is missing or not what was written.
pub(crate) fn check_file(path: &Path, digest: &Digest) -> Result<()> {
    let sealed = fs::File::open(path).and_then(|mut file| stream::is_sealed(&mut file));
    match sealed.and_then(|sealed| if sealed { stream::is_whole(path).map(Some) } else { Ok(None) }) {
        Ok(Some(true)) => return Ok(()),
        Ok(Some(false)) => return Err(damaged(path, 0, "it does not have the checksum that it ends with")),
        // What cannot be read is told of below.
        Ok(None) | Err(_) => {}
    }
    let mut hasher = Hasher::default();
    let mut read = || -> io::Result<()> {
        let mut file = fs::File::open(path)?;
        let mut piece = vec![0; CHUNK];
        loop {
            match io::Read::read(&mut file, &mut piece)? {
                0 => return Ok(()),
                n => hasher.update(piece.get(..n).unwrap_or_default()),
            }
        }
    };
    let read = read();
    let sound = hasher.finish() == *digest;
    match read {
        Ok(()) if sound => Ok(()),
        Ok(()) => Err(damaged(path, 0, "it does not have the bytes that its name says")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(damaged(path, 0, "it is missing")),
        Err(e) => Err(io_fault(format!("read {}", path.display()), &e)),
    }
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Fault::internal)?
}

fn lost() -> Fault {
    Fault::internal("a blob was written on after a failure")
}

pub(crate) fn integrity(path: &Path, what: &str) -> Fault {
    Fault::new(Code::Integrity, "the stored bytes are damaged").caused_by(format!("{} {what}", path.display()))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
