//! Everything live, in one sorted and checksummed file, so that the log before it can go.
//!
//! ```text
//! "AIMASSKV" | format u32 | sequence u64
//! per row, by bucket and key: bucket length u32, key length u32, value length u32, bucket, key, value
//! 0xFFFFFFFF u32 | rows u64 | BLAKE3 of all before (32)
//! ```
//! A key's or value's length whose highest bit is set is that of sealed bytes; format 1, of before there was sealing, has
//! none such. What is still plain is sealed here, where its tenant has a key.
//!
//! It is written while changes go on: it holds every record before `sequence`, and may hold later ones. That is no
//! harm, since records hold absolute values and all from `sequence` on are replayed over it.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aimass_core::{Fault, Result};

use super::data::{Data, SnapshotFile, Value};
use super::record::SEALED;
use super::sealed::{BucketSeal, Kept, Named, Names, OVERHEAD, tenant};
use super::{MAX_KEY, MAX_VALUE};
use crate::failure::{damaged, io_fault, sync_folder};
use crate::seal::{Owner, Vault};

const MAGIC: &[u8; 8] = b"AIMASSKV";
const FORMAT: u32 = 2;
const END: u32 = u32::MAX;
/// Tenant, plugin and the NULs behind them come to a bucket's identifier.
const MAX_BUCKET: usize = MAX_KEY + 2 * (aimass_core::name::MAX_NAME + 1);

/// A row as it stands in the file.
pub(super) struct Row<'r> {
    bucket: &'r [u8],
    name: &'r [u8],
    name_sealed: bool,
    value: &'r [u8],
    value_sealed: bool,
    /// Where the value begins.
    offset: u64,
}

/// Takes a row, or says what is wrong with it.
type Visit<'v> = dyn FnMut(Row<'_>) -> Result<(), &'static str> + 'v;

/// Loads the newest snapshot into `data`, and removes what is older or unfinished. Returns the first record that has
/// to be replayed over it.
pub(super) fn load_newest(dir: &Path, data: &Data, vault: &Vault) -> Result<u64> {
    let failed = |e: io::Error| io_fault(format!("list {}", dir.display()), &e);
    let mut snapshots = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "new") {
            fs::remove_file(&path).map_err(failed)?;
        } else if path.extension().is_some_and(|e| e == "snapshot") {
            let sequence = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok());
            snapshots.push((sequence.ok_or_else(|| damaged(&path, 0, "its name is no number"))?, path));
        }
    }
    snapshots.sort();
    let Some((sequence, path)) = snapshots.pop() else { return Ok(1) };
    let snapshot = open(path, sequence)?;
    let mut names = Names::new(vault);
    walk(&snapshot, &mut |row| {
        if let Named::Key(key) = names.open(row.bucket, row.name, row.name_sealed)? {
            let value = Value::in_snapshot(row.value, row.value_sealed, &snapshot, row.offset);
            data.apply(row.bucket, [(key.as_str(), Some(value))]);
        }
        Ok(())
    })?;
    for (_, path) in snapshots {
        fs::remove_file(path).map_err(failed)?;
    }
    Ok(sequence)
}

/// Writes the snapshot as of `sequence`, makes it durable, and points `data` to it.
pub(super) fn write(dir: &Path, data: &Data, vault: &Vault, sequence: u64, cancelled: &AtomicBool) -> Result<()> {
    let path = dir.join(format!("{sequence:020}.snapshot"));
    let temporary = path.with_extension("new");
    let failed = |e: io::Error| io_fault("write a snapshot", &e);
    let written = write_rows(&temporary, data, vault, sequence, cancelled).and_then(|()| {
        fs::rename(&temporary, &path).map_err(failed)?;
        sync_folder(dir).map_err(failed)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    // Read back from the file: what the log is given up for is checked first.
    let snapshot = open(path, sequence)?;
    let mut names = Names::new(vault);
    walk(&snapshot, &mut |row| {
        if let Named::Key(key) = names.open(row.bucket, row.name, row.name_sealed)? {
            let value = Value::in_snapshot(row.value, row.value_sealed, &snapshot, row.offset);
            data.move_to_snapshot(row.bucket, &key, value, sequence);
        }
        Ok(())
    })?;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let old = entry.map_err(failed)?.path();
        if old.extension().is_some_and(|e| e == "snapshot") && old != snapshot.path {
            fs::remove_file(old).map_err(failed)?;
        }
    }
    Ok(())
}

fn write_rows(path: &Path, data: &Data, vault: &Vault, sequence: u64, cancelled: &AtomicBool) -> Result<()> {
    let failed = |e: io::Error| io_fault("write a snapshot", &e);
    let file = File::create(path).map_err(failed)?;
    let mut out = Hashing { inner: BufWriter::with_capacity(1 << 20, file), hasher: blake3::Hasher::new(), at: 0 };
    let mut rows = 0u64;
    out.put(&[&MAGIC[..], &FORMAT.to_le_bytes(), &sequence.to_le_bytes()]).map_err(failed)?;
    for bucket in data.buckets() {
        let seal = match tenant(&bucket).map(|tenant| vault.owner(&tenant)) {
            Some(Owner::Erased) => continue,
            Some(Owner::Sealing(key)) => Some(BucketSeal::new(&bucket, key)),
            Some(Owner::Plain) | None => None,
        };
        for (key, value) in data.rows(&bucket) {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Fault::internal("the store was closed meanwhile"));
            }
            let (name, value) = match (&seal, value.read()?) {
                (Some(seal), value) => {
                    let value = if value.sealed { value } else { seal.value(&key, &value.bytes)? };
                    (Kept { bytes: seal.name(&key)?, sealed: true }, value)
                }
                (None, value) => (Kept { bytes: key.as_bytes().to_vec().into(), sealed: false }, value),
            };
            let length = |kept: &Kept| kept.bytes.len() as u32 | if kept.sealed { SEALED } else { 0 };
            let lengths = [bucket.len() as u32, length(&name), length(&value)].map(u32::to_le_bytes);
            out.put(&[&lengths.concat(), &bucket, &name.bytes, &value.bytes]).map_err(failed)?;
            rows += 1;
        }
    }
    out.put(&[&END.to_le_bytes(), &rows.to_le_bytes()]).map_err(failed)?;
    let hash = out.hasher.finalize();
    let mut file = out.inner;
    file.write_all(hash.as_bytes()).map_err(failed)?;
    let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)
}

pub(super) fn open(path: PathBuf, sequence: u64) -> Result<Arc<SnapshotFile>> {
    let file = File::open(&path).map_err(|e| io_fault(format!("open {}", path.display()), &e))?;
    Ok(Arc::new(SnapshotFile { path, file, sequence }))
}

/// Hands every row to `visit`, and checks the whole file. What was handed
/// out counts only if this returns Ok.
pub(super) fn walk(snapshot: &SnapshotFile, visit: &mut Visit<'_>) -> Result<()> {
    let path = &snapshot.path;
    let file = File::open(path).map_err(|e| io_fault(format!("open {}", path.display()), &e))?;
    let mut input = Hashing { inner: BufReader::with_capacity(1 << 20, file), hasher: blake3::Hasher::new(), at: 0 };
    match walk_rows(&mut input, snapshot.sequence, visit) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(what)) => Err(damaged(path, input.at, what)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(damaged(path, input.at, "it ends early")),
        Err(e) => Err(io_fault(format!("read {}", path.display()), &e)),
    }
}

/// What came of a walk: what the disk says, and what is wrong with the rows.
type Walked = io::Result<Result<(), &'static str>>;

fn walk_rows(input: &mut Hashing<BufReader<File>>, sequence: u64, visit: &mut Visit<'_>) -> Walked {
    const OTHER: &str = "it is not what was written";
    let head = input.take(20)?;
    let known = |format: u32| head == [&MAGIC[..], &format.to_le_bytes(), &sequence.to_le_bytes()].concat();
    if !known(FORMAT) && !known(1) {
        return Ok(Err(OTHER));
    }
    let mut rows = 0u64;
    loop {
        let bucket = input.number()?;
        if bucket == END {
            break;
        }
        let (bucket, name, value) = (bucket as usize, input.number()?, input.number()?);
        let sealed = |length: u32| (length & SEALED != 0, (length & !SEALED) as usize);
        let ((name_sealed, name), (value_sealed, value)) = (sealed(name), sealed(value));
        if bucket > MAX_BUCKET || name > MAX_KEY + OVERHEAD || value > MAX_VALUE + OVERHEAD {
            return Ok(Err(OTHER));
        }
        let (bucket, name) = (input.take(bucket)?, input.take(name)?);
        let offset = input.at;
        let value = input.take(value)?;
        let row = Row { bucket: &bucket, name: &name, name_sealed, value: &value, value_sealed, offset };
        if let Err(what) = visit(row) {
            return Ok(Err(what));
        }
        rows += 1;
    }
    if input.take(8)? != rows.to_le_bytes() {
        return Ok(Err(OTHER));
    }
    let expected = input.hasher.finalize();
    let mut found = [0; 32];
    input.inner.read_exact(&mut found)?;
    Ok(if expected == found && input.inner.read(&mut [0])? == 0 { Ok(()) } else { Err(OTHER) })
}

/// Hashes and counts what goes through.
struct Hashing<T> {
    inner: T,
    hasher: blake3::Hasher,
    at: u64,
}

impl<T: Write> Hashing<T> {
    fn put(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        for piece in pieces {
            self.hasher.update(piece);
            self.inner.write_all(piece)?;
        }
        Ok(())
    }
}

impl<T: Read> Hashing<T> {
    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.inner.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        self.at += length as u64;
        Ok(bytes)
    }

    fn number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.inner.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        self.at += 4;
        Ok(u32::from_le_bytes(bytes))
    }
}
