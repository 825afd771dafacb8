//! Requests and results at rest: sealed with their tenant's key, and large bodies in files of their own.
//!
//! `queue/bodies/<tenant>/<item>-<digest>`: unlike blobs, a file is one item's alone, so that it can go with it.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aimass_core::{Code, Digest, Fault, Name, Result};
use bytes::Bytes;
use tempfile::NamedTempFile;

use super::item::{Held, Parts, Sealed, Values, check_head};
use crate::failure::{io_fault, make_folder, sync_folder};
use crate::seal::stream::{self, Sealer};
use crate::seal::{DataKey, Keys};

/// A body up to this many bytes stands in the log; storage.md says how large values may be there.
const INLINE: usize = 64 << 10;

/// What is being written; no tenant's name begins with a dot.
const NEW: &str = ".new";

/// What parts are of: it is bound to what is sealed.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) tenant: &'a Name,
    pub(super) id: &'a str,
    /// `request` or `result`.
    pub(super) part: &'static str,
}

impl Of<'_> {
    fn context(&self, piece: &'static [u8]) -> [&[u8]; 5] {
        [b"queue", self.tenant.as_str().as_bytes(), self.id.as_bytes(), self.part.as_bytes(), piece]
    }
}

/// Seals and opens.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    dir: PathBuf,
    keys: Keys,
}

impl Bodies {
    pub(super) fn open(queue: &Path, keys: Keys) -> Result<Self> {
        let dir = queue.join("bodies");
        make_folder(&dir)?;
        make_folder(&dir.join(NEW))?;
        Ok(Self { dir, keys })
    }

    /// Seals parts; a large body is durable in its file then, and goes with what is returned unless that is
    /// [kept](Placed::keep).
    pub(super) async fn seal(&self, of: Of<'_>, parts: Parts) -> Result<(Sealed, Placed)> {
        check_head(&parts)?;
        let key = self.keys.get_or_create(of.tenant).await?;
        let Parts { head, body } = parts;
        let sealed_head = key.seal(&of.context(b"head"), &head)?.into();
        let mut held = Held { head: head.len() as u64, body: body.len() as u64, file: None };
        let (mut placed, mut sealed_body) = (Placed(None), None);
        if body.len() > INLINE {
            let folder = self.dir.join(of.tenant.as_str());
            let item = blake3::hash(&[of.id.as_bytes(), b"\0", of.part.as_bytes()].concat());
            let (new, tenant) = (self.dir.join(NEW), of.tenant.clone());
            let file = blocking(move || {
                let digest = Digest::of(&body);
                let name = format!("{}-{}", &item.to_hex()[..32], &digest.hex()[..32]);
                let path = folder.join(&name);
                write(&key, &tenant, &body, &new, &path)?;
                Ok((name, digest, path))
            });
            let (name, digest, path) = file.await?;
            held.file = Some((name, digest));
            placed = Placed(Some(path));
        } else if !body.is_empty() {
            sealed_body = Some(key.seal(&of.context(b"body"), &body)?.into());
        }
        Ok((Sealed { held, values: Values { head: sealed_head, body: sealed_body } }, placed))
    }

    /// Opens what stands in the log of parts, and reads their file if they have one.
    pub(super) async fn read(&self, of: Of<'_>, held: &Held, values: Values) -> Result<Parts> {
        let read = self.open_parts(of, held, values).await;
        if read.as_ref().is_err_and(|fault| fault.code() == Code::Integrity) {
            self.keys.tell(of.tenant, format!("{} {}", of.part, of.id)).await;
        }
        read
    }

    async fn open_parts(&self, of: Of<'_>, held: &Held, values: Values) -> Result<Parts> {
        let key = self.keys.get(of.tenant).ok_or_else(|| integrity(of))?;
        let unseal = |piece, sealed: &Bytes| -> Result<Bytes> {
            let opened = key.open(&of.context(piece), sealed)?.ok_or_else(|| integrity(of))?;
            Ok(Bytes::copy_from_slice(&opened))
        };
        let head = unseal(b"head", &values.head)?;
        let body = match (&held.file, values.body) {
            (None, None) => Bytes::new(),
            (None, Some(sealed)) => unseal(b"body", &sealed)?,
            (Some((name, digest)), _) => {
                let (path, tenant, digest) = (self.path(of.tenant, name), of.tenant.clone(), *digest);
                let key = Arc::clone(&key);
                let body = blocking(move || read(&key, &tenant, &path)).await?;
                body.filter(|body| Digest::of(body) == digest).ok_or_else(|| integrity(of))?.into()
            }
        };
        Ok(Parts { head, body })
    }

    /// Removes files that no row names any more. What cannot be removed goes at the next start.
    pub(super) async fn remove(&self, tenant: &Name, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let paths: Vec<_> = names.iter().map(|name| self.path(tenant, name)).collect();
        let removed = blocking(move || {
            paths.iter().try_for_each(|path| match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_fault("remove a queued body", &e)),
                _ => Ok(()),
            })
        });
        if let Err(fault) = removed.await {
            tracing::warn!(%fault, cause = fault.cause(), "a queued body was not removed");
        }
    }

    /// Removes what no row names. Only before the first item is put.
    pub(super) fn sweep(&self, live: &HashSet<(String, String)>) -> Result<()> {
        let failed = |e: io::Error| io_fault("sweep the queue's bodies", &e);
        for folder in fs::read_dir(&self.dir).map_err(failed)? {
            let folder = folder.map_err(failed)?.path();
            let tenant = text(&folder);
            for file in fs::read_dir(&folder).map_err(failed)? {
                let path = file.map_err(failed)?.path();
                if !live.contains(&(tenant.clone(), text(&path))) {
                    fs::remove_file(&path).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    fn path(&self, tenant: &Name, name: &str) -> PathBuf {
        self.dir.join(tenant.as_str()).join(name)
    }
}

/// A file that goes again when it is dropped, unless a record is on its way that names it.
pub(super) struct Placed(Option<PathBuf>);

impl Placed {
    /// From here on the file is the record's.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // One unlink, and rare: whoever asked has left, or the queue is full.
            let _ = fs::remove_file(path);
        }
    }
}

fn write(key: &DataKey, tenant: &Name, body: &[u8], new: &Path, path: &Path) -> Result<()> {
    let failed = |e: io::Error| io_fault("write a queued body", &e);
    let mut file = NamedTempFile::new_in(new).map_err(failed)?;
    let mut sealer = Sealer::begin(key, tenant, file.as_file_mut())?;
    sealer.write(body, file.as_file_mut())?;
    sealer.finish(file.as_file_mut())?;
    let folder = path.parent().unwrap_or(new);
    let place = || -> io::Result<()> {
        file.as_file().sync_all()?;
        if !folder.exists() {
            fs::create_dir_all(folder)?;
            folder.parent().map_or(Ok(()), sync_folder)?;
        }
        fs::rename(file.path(), path)?;
        sync_folder(folder)
    };
    place().map_err(failed)
}

fn read(key: &DataKey, tenant: &Name, path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = |e: io::Error| io_fault(format!("read {}", path.display()), &e);
    let mut file = match fs::File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    file.rewind().map_err(failed)?;
    if !stream::is_sealed(&mut file).map_err(failed)? {
        return Ok(None);
    }
    stream::open(key, tenant, &mut file)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Fault::internal)?
}

fn integrity(of: Of<'_>) -> Fault {
    let cause = format!("the {} of {} of the tenant {} does not open", of.part, of.id, of.tenant);
    Fault::new(Code::Integrity, "the stored bytes are damaged").caused_by(cause)
}

fn text(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
