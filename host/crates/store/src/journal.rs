//! The journal: every change of state, each record chained to the one before.
//!
//! A record is `previous hash (32) | hash (32) | JSON of {seq, time_ms, actor, event}`, and its hash is BLAKE3 over
//! the previous hash and the JSON *as it was written*: a later release that knows more fields still verifies it.

use std::path::Path;

use aimass_core::event::{Actor, Event};
use aimass_core::{Code, Fault, Result};
use serde::{Deserialize, Serialize};

use crate::log::{self, Entry};

/// The folder of the journal in the data folder.
pub(crate) const FOLDER: &str = "journal";

/// What stands before the first record.
pub(crate) const GENESIS: [u8; 32] = [0; 32];

/// One change of state, as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was decided, milliseconds since the epoch by this machine's clock.
    pub time_ms: u64,
    /// Who did it.
    pub actor: Actor,
    /// What changed.
    pub event: Event,
    /// The hash of the record before; zeros for the first.
    pub previous: [u8; 32],
    /// BLAKE3 of `previous` and the record's JSON.
    pub hash: [u8; 32],
}

/// The hashed part.
#[derive(Serialize, Deserialize)]
struct Body<A, E> {
    seq: u64,
    time_ms: u64,
    actor: A,
    event: E,
}

impl Record {
    /// Seals a record behind the one with hash `previous`, and returns its bytes as well.
    pub(crate) fn seal(
        previous: [u8; 32],
        seq: u64,
        time_ms: u64,
        actor: Actor,
        event: Event,
    ) -> Result<(Self, Vec<u8>)> {
        let body = serde_json::to_vec(&Body { seq, time_ms, actor: &actor, event: &event }).map_err(Fault::internal)?;
        let hash = chain(&previous, &body);
        let bytes = [&previous[..], &hash[..], &body[..]].concat();
        Ok((Self { seq, time_ms, actor, event, previous, hash }, bytes))
    }

    /// Reads a record that must be number `seq` behind the one with hash `previous`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn open(bytes: &[u8], seq: u64, previous: &[u8; 32]) -> Result<Self, &'static str> {
        let (found, rest) = bytes.split_first_chunk::<32>().ok_or("it is too short")?;
        let (hash, body) = rest.split_first_chunk::<32>().ok_or("it is too short")?;
        if !cfg!(fuzzing) && found != previous {
            return Err("it does not follow the record before");
        }
        if !cfg!(fuzzing) && *hash != chain(previous, body) {
            return Err("its hash is wrong");
        }
        let body: Body<Actor, Event> =
            serde_json::from_slice(body).map_err(|_| "it holds what this release does not know")?;
        if body.seq != seq {
            return Err("it has the wrong number");
        }
        Ok(Self { seq, time_ms: body.time_ms, actor: body.actor, event: body.event, previous: *previous, hash: *hash })
    }
}

/// What a walk along the chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// How many records are sound, from the first on.
    pub records: u64,
    /// The hash of the last sound one: whoever noted it earlier can tell whether the end was cut off since.
    pub head: [u8; 32],
    /// The first record that is not sound.
    pub first_bad: Option<BadRecord>,
}

/// A record that is not what was written, or not where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Its number.
    pub seq: u64,
    /// What is wrong: with file and offset.
    pub reason: String,
}

/// Walks along the chain of the journal in the data folder `dir`; the server may be stopped or running.
///
/// # Errors
/// `internal` if the files cannot be read. A bad record is no error: the report names it.
pub fn verify_journal(dir: &Path) -> Result<ChainReport> {
    let mut report = ChainReport { records: 0, head: GENESIS, first_bad: None };
    let walked = walk(&dir.join(FOLDER), 1, GENESIS, &mut |record| {
        report.records = record.seq;
        report.head = record.hash;
        Ok(())
    });
    match walked {
        Ok(()) => {}
        Err(fault) if fault.code() == Code::Integrity => {
            report.first_bad = Some(BadRecord { seq: report.records + 1, reason: fault.detail().to_owned() });
        }
        Err(fault) => return Err(fault),
    }
    Ok(report)
}

/// Hands the records from number `from` on to `visit`, each checked against the one before; `previous` is the hash
/// of record `from - 1`.
///
/// # Errors
/// `integrity` that names the first record which is not sound; what `visit` returns.
pub(crate) fn walk(
    dir: &Path,
    from: u64,
    previous: [u8; 32],
    visit: &mut dyn FnMut(Record) -> Result<()>,
) -> Result<()> {
    let (mut due, mut previous) = (from, previous);
    log::read_from(dir, from, &mut |entry| {
        let record = check(entry, due, &previous)?;
        (due, previous) = (due + 1, record.hash);
        visit(record)
    })
}

/// Opens an entry of the log as record `due`.
pub(crate) fn check(entry: Entry<'_>, due: u64, previous: &[u8; 32]) -> Result<Record> {
    let bad = |what: &str| {
        let what = format!("record {due}: {what}");
        crate::failure::damaged(&entry.segment.path, entry.offset, what)
    };
    if entry.sequence != due {
        return Err(bad("it is missing"));
    }
    Record::open(entry.bytes, due, previous).map_err(bad)
}

fn chain(previous: &[u8; 32], body: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(previous).update(body).finalize().as_bytes()
}
