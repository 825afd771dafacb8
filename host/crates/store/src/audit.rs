//! The journal read as an audit log: records in order from a number on, and the lines of an export.
//!
//! # Export
//! One JSON object a line: `{"seq":7,"previous":"<hex>","hash":"<hex>","body":"<text>"}`. `body` is the record's JSON
//! exactly as it was hashed, as one string. Whoever has the lines can check them without this program:
//!
//! ```text
//! hash(n)     = BLAKE3( previous(n), 32 bytes, then the UTF-8 bytes of body(n) )
//! previous(n) = hash(n - 1), and 32 zero bytes before the first
//! body(n).seq = seq(n) = n
//! ```

use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::Path;

use aimass_core::{Code, Fault, Result};
use serde::{Deserialize, Serialize};

use crate::failure::{damaged, io_fault};
use crate::journal::{BadRecord, ChainReport, Checked, FOLDER, GENESIS, Record};
use crate::log;

/// A line of an export.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    seq: u64,
    previous: String,
    hash: String,
    body: String,
}

/// Hands the records behind number `after` in the data folder `dir` to `visit`, until it breaks off. Each is checked
/// against its own hash; that it follows the one before is [`verify_journal`](crate::verify_journal)'s to check.
///
/// # Errors
/// `integrity` that names the first record which is not sound.
pub fn read_journal(dir: &Path, after: u64, visit: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<()> {
    each(dir, after, &mut |record, _| visit(record))
}

/// As [`read_journal`], with every record as a line of an export, without the line's end.
///
/// # Errors
/// As [`read_journal`].
pub fn export_journal(dir: &Path, after: u64, visit: &mut dyn FnMut(u64, String) -> ControlFlow<()>) -> Result<()> {
    let mut failed = None;
    each(dir, after, &mut |record, body| {
        let line = Line {
            seq: record.seq,
            previous: hex::encode(record.previous),
            hash: hex::encode(record.hash),
            body: String::from_utf8_lossy(body).into_owned(),
        };
        match serde_json::to_string(&line) {
            Ok(line) => visit(record.seq, line),
            Err(error) => {
                failed = Some(Fault::internal(error));
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

fn each(dir: &Path, after: u64, visit: &mut dyn FnMut(Record, &[u8]) -> ControlFlow<()>) -> Result<()> {
    let mut stopped = false;
    let read = log::read_from(&dir.join(FOLDER), after.saturating_add(1), &mut |entry| {
        let record = Record::open_any(entry.bytes, entry.sequence)
            .map_err(|what| damaged(&entry.segment.path, entry.offset, format!("record {}: {what}", entry.sequence)))?;
        let body = entry.bytes.get(64..).unwrap_or_default();
        match visit(record, body) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                stopped = true;
                // Only to end the walk.
                Err(Fault::internal("read far enough"))
            }
        }
    });
    if stopped { Ok(()) } else { read }
}

/// Walks along the chain of an export, from its first line on: it must begin with record 1. `noted` is the number and
/// hash of a record as a checkpoint says them.
///
/// # Errors
/// `internal` if it cannot be read. A bad line is no error: the report names it.
pub fn verify_export(lines: impl BufRead, noted: Option<(u64, [u8; 32])>) -> Result<ChainReport> {
    let mut walk = Checked::new(noted);
    let mut previous = GENESIS;
    for line in lines.lines() {
        let line = match line {
            Ok(line) => line,
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => return Ok(walk.bad("it is no UTF-8")),
            Err(e) => return Err(io_fault("read the export", &e)),
        };
        let due = walk.due();
        let Ok(line) = serde_json::from_str::<Line>(&line) else { return Ok(walk.bad("it is no line of an export")) };
        let (mut said, mut hash) = ([0; 32], [0; 32]);
        let hex = hex::decode_to_slice(&line.previous, &mut said).and(hex::decode_to_slice(&line.hash, &mut hash));
        if hex.is_err() {
            return Ok(walk.bad("a hash is no hex"));
        }
        let bytes = [&said[..], &hash[..], line.body.as_bytes()].concat();
        match Record::open(&bytes, due, &previous) {
            Ok(record) if line.seq == due => {
                previous = record.hash;
                if let Some(report) = walk.follow(record.seq, record.hash) {
                    return Ok(report);
                }
            }
            Ok(_) => return Ok(walk.bad("it has the wrong number")),
            Err(what) => return Ok(walk.bad(what)),
        }
    }
    Ok(walk.end())
}

/// Throws the index of the data folder `dir` away and builds it anew from the journal, with no server on the folder.
/// Returns how many records it was built from.
///
/// # Errors
/// `conflict` if a server uses the folder, or a newer release wrote it; `integrity`, with file and offset, if the journal
/// is damaged;
/// `invalid_request` if there is no journal.
pub fn rebuild_index(dir: &Path) -> Result<u64> {
    if !dir.join(FOLDER).is_dir() {
        return Err(Fault::invalid(format!("{} is no folder of a store", dir.display())));
    }
    crate::schema::check(dir)?;
    let _lock = crate::lock::FolderLock::take(dir)?;
    let report = crate::verify_journal(dir)?;
    if let Some(BadRecord { reason, .. }) = report.first_bad {
        return Err(Fault::new(Code::Integrity, reason));
    }
    Ok(crate::view::rebuild(dir)?.applied()?.seq)
}
