//! Blobs that are too large for memory: read at any place, and pieces of work that is not finished.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use aimass_core::digest::Hasher;
use aimass_core::{Code, Digest, Fault, Name, Result, Tenant};
use bytes::Bytes;

use crate::blobs::{Blobs, blocking, integrity};
use crate::failure::{io_fault, make_folder};
use crate::seal::DataKey;
use crate::seal::pieces::Pieces;
use crate::seal::stream;
use crate::view::State;

/// Bytes that are read at once where a whole blob is looked at.
const CHUNK: usize = 256 << 10;

/// A blob that is read anywhere. Its bytes were checked against its name when it was opened.
pub struct BlobReader {
    path: PathBuf,
    bytes: Plain,
}

enum Plain {
    Sealed(Box<Pieces>),
    /// Of a release before there was sealing.
    Open(File, u64),
}

impl BlobReader {
    fn open(path: PathBuf, tenant: &Name, key: Option<&DataKey>) -> Result<Self> {
        let failed = |e: io::Error| io_fault(format!("read {}", path.display()), &e);
        let mut file = File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => integrity(&path, "is missing"),
            _ => failed(e),
        })?;
        let bytes = if stream::is_sealed(&mut file).map_err(failed)? {
            let pieces = key.map(|key| Pieces::open(key, tenant, file)).transpose()?.flatten();
            let pieces = pieces.ok_or_else(|| integrity(&path, "is not what its tenant's key has sealed"))?;
            Plain::Sealed(Box::new(pieces))
        } else {
            let length = file.metadata().map_err(failed)?.len();
            Plain::Open(file, length)
        };
        Ok(Self { path, bytes })
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        match &self.bytes {
            Plain::Sealed(pieces) => pieces.len(),
            Plain::Open(_, length) => *length,
        }
    }

    /// Reads at `offset` into `out`: some bytes, none only at the end. Blocks.
    ///
    /// # Errors
    /// `integrity` if the bytes are not what they were; `internal`.
    pub fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<usize> {
        match &mut self.bytes {
            Plain::Sealed(pieces) => {
                let read = pieces.read_at(offset, out)?;
                read.ok_or_else(|| integrity(&self.path, "is not what its tenant's key has sealed"))
            }
            Plain::Open(file, _) => {
                file.read_at(out, offset).map_err(|e| io_fault(format!("read {}", self.path.display()), &e))
            }
        }
    }

    fn digest(&mut self) -> Result<Digest> {
        let (mut hasher, mut at, mut piece) = (Hasher::default(), 0, vec![0; CHUNK]);
        loop {
            let read = self.read_at(at, &mut piece)?;
            if read == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(piece.get(..read).unwrap_or_default());
            at += read as u64;
        }
    }
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Blobs {
    /// Opens a blob for reading at any place, after its bytes were checked against its name: that reads it once.
    ///
    /// # Errors
    /// `integrity` if they are not what they were, are another tenant's, or are gone; the audit log tells of it then.
    pub async fn open_reader(&self, tenant: &Tenant, digest: &Digest) -> Result<BlobReader> {
        let opened = self.reader(self.path(tenant, digest), tenant, digest).await;
        if opened.as_ref().is_err_and(|fault| fault.code() == Code::Integrity) {
            self.keys().tell(tenant.name(), format!("blob {digest}")).await;
        }
        opened
    }

    async fn reader(&self, path: PathBuf, tenant: &Tenant, digest: &Digest) -> Result<BlobReader> {
        let (owner, key, digest) = (tenant.name().clone(), self.keys().get(tenant.name()), *digest);
        blocking(move || {
            let mut reader = BlobReader::open(path, &owner, key.as_deref())?;
            if reader.digest()? != digest {
                return Err(integrity(&reader.path, "does not have the bytes that its name says"));
            }
            Ok(reader)
        })
        .await
    }

    /// Keeps a piece of a job's result, sealed as a blob is: durable when this returns, and named in no backup.
    ///
    /// # Errors
    /// `storage_full`, `internal`. Nothing is left then.
    pub async fn put_part(&self, tenant: &Tenant, job: &str, bytes: &[u8]) -> Result<(Digest, u64)> {
        let folder = self.parts(tenant, job);
        let mut writer = self.writer_to(tenant, folder).await?;
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// Whether a piece of a job's result is there, whole or not.
    pub fn has_part(&self, tenant: &Tenant, job: &str, digest: &Digest) -> bool {
        self.parts(tenant, job).join(digest.hex()).is_file()
    }

    /// A piece of a job's result.
    ///
    /// # Errors
    /// `integrity` if it is not what it was, or gone.
    pub async fn read_part(&self, tenant: &Tenant, job: &str, digest: &Digest) -> Result<Bytes> {
        let mut reader = self.reader(self.parts(tenant, job).join(digest.hex()), tenant, digest).await?;
        blocking(move || {
            let mut bytes = vec![0; usize::try_from(reader.size()).map_err(Fault::internal)?];
            let mut at = 0;
            while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
                match reader.read_at(at as u64, rest)? {
                    0 => return Err(integrity(&reader.path, "ends early")),
                    read => at += read,
                }
            }
            Ok(Bytes::from(bytes))
        })
        .await
    }

    /// Removes the pieces of a job's result. What cannot be removed is swept at the next start.
    pub async fn remove_parts(&self, tenant: &Tenant, job: &str) {
        let folder = self.parts(tenant, job);
        let _ = blocking(move || Ok(drop(fs::remove_dir_all(folder)))).await;
    }

    fn parts(&self, tenant: &Tenant, job: &str) -> PathBuf {
        self.jobs_folder().join(tenant.name().as_str()).join(job)
    }

    /// Removes the pieces of jobs that have ended.
    pub(crate) fn sweep_parts(&self, state: &State<'_>) -> Result<()> {
        let folder = self.jobs_folder();
        make_folder(&folder)?;
        let under_way: Vec<PathBuf> =
            state.jobs_under_way()?.iter().map(|row| folder.join(row.tenant.as_str()).join(&row.id)).collect();
        let failed = |e: io::Error| io_fault("sweep the jobs", &e);
        let inside = |path: &Path| -> io::Result<Vec<PathBuf>> {
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect()
        };
        for tenant in inside(&folder).map_err(failed)? {
            for job in inside(&tenant).map_err(failed)? {
                if !under_way.contains(&job) {
                    fs::remove_dir_all(&job).map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}
