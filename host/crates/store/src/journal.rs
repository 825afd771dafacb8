//! The journal: every change of state, each record chained to the one before.
//!
//! A record is `previous hash (32) | hash (32) | JSON of {seq, time_ms, actor, event}`, and its hash is BLAKE3 over
//! the previous hash and the JSON *as it was written*: a later release that knows more fields still verifies it.

use std::path::Path;

use aimass_core::event::{Actor, Event};
use aimass_core::{Code, Fault, Result};
use schemars::JsonSchema;
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
        let (found, _) = bytes.split_first_chunk::<32>().ok_or("it is too short")?;
        if !cfg!(fuzzing) && found != previous {
            return Err("it does not follow the record before");
        }
        Self::open_any(bytes, seq)
    }

    /// Reads a record that must be number `seq`, whatever it follows.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn open_any(bytes: &[u8], seq: u64) -> Result<Self, &'static str> {
        let (previous, rest) = bytes.split_first_chunk::<32>().ok_or("it is too short")?;
        let (hash, body) = rest.split_first_chunk::<32>().ok_or("it is too short")?;
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChainReport {
    /// How many records are sound, from the first on.
    pub records: u64,
    /// The hash of the last sound one: whoever noted it earlier can tell whether the end was cut off since.
    #[serde(serialize_with = "as_hex")]
    #[schemars(with = "String")]
    pub head: [u8; 32],
    /// The first record that is not sound.
    pub first_bad: Option<BadRecord>,
}

/// A record that is not what was written, or not where it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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
    verify_journal_against(dir, None)
}

/// The same, and the record whose number and hash were `noted` earlier must be there: so a cut tail shows, and a
/// chain that was written anew.
///
/// # Errors
/// As [`verify_journal`].
pub fn verify_journal_against(dir: &Path, noted: Option<(u64, [u8; 32])>) -> Result<ChainReport> {
    let mut checked = Checked::new(noted);
    let mut other = None;
    let walked = walk(&dir.join(FOLDER), 1, GENESIS, &mut |record| {
        other = checked.follow(record.seq, record.hash);
        if other.is_some() { Err(Fault::internal("the chain is another one")) } else { Ok(()) }
    });
    match (other, walked) {
        (Some(report), _) => Ok(report),
        (None, Ok(())) => Ok(checked.end()),
        (None, Err(fault)) if fault.code() == Code::Integrity => Ok(checked.bad(fault.detail())),
        (None, Err(fault)) => Err(fault),
    }
}

/// What a walk has seen so far.
pub(crate) struct Checked {
    report: ChainReport,
    noted: Option<(u64, [u8; 32])>,
}

impl Checked {
    pub(crate) fn new(noted: Option<(u64, [u8; 32])>) -> Self {
        Self { report: ChainReport { records: 0, head: GENESIS, first_bad: None }, noted }
    }

    /// The number of the next record.
    pub(crate) fn due(&self) -> u64 {
        self.report.records + 1
    }

    /// Goes on to a sound record; the report if it is not the one that was noted.
    pub(crate) fn follow(&mut self, seq: u64, hash: [u8; 32]) -> Option<ChainReport> {
        if self.noted.is_some_and(|(noted, expected)| noted == seq && expected != hash) {
            return Some(self.bad("its hash is not the one in the checkpoint: the chain was written anew"));
        }
        self.report.records = seq;
        self.report.head = hash;
        None
    }

    /// The report, with the next record as the first bad one.
    pub(crate) fn bad(&self, reason: &str) -> ChainReport {
        ChainReport { first_bad: Some(BadRecord { seq: self.due(), reason: reason.to_owned() }), ..self.report.clone() }
    }

    /// The report at the end of the records.
    pub(crate) fn end(self) -> ChainReport {
        match self.noted {
            Some((noted, _)) if noted > self.report.records => {
                self.bad(&format!("it is missing: the checkpoint was made at record {noted}, so the end was cut off"))
            }
            _ => self.report,
        }
    }
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

fn as_hex<S: serde::Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(hash))
}

fn chain(previous: &[u8; 32], body: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(previous).update(body).finalize().as_bytes()
}
