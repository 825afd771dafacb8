//! What is queued, and what becomes of it.

use aimass_core::{Digest, Fault, Name, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes of an item's id: one segment of a path.
const MAX_ID: usize = 128;
/// Bytes of a subject, of a tag and of a key.
const MAX_TEXT: usize = 256;
/// Bytes of a head: the header fields of a request, and what is to be known of it.
const MAX_HEAD: usize = 128 << 10;

/// What kind of work it is. Each has workers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A call of a plugin or a model.
    Call,
    /// A message to a tenant's webhook endpoint.
    Webhook,
    /// An answer that was given, kept so that it can be given again: it is never run.
    Answer,
}

/// How far an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// It waits until it is due, and for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// It ended, and has a result.
    Done,
    /// It was given up.
    Dead,
    /// It was called off.
    Cancelled,
}

impl ItemState {
    /// Whether nothing more happens to it by itself.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled)
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word: a fault's code.
    pub code: String,
    /// A sentence for the tenant.
    pub detail: String,
}

/// A request or a result: what is to be known of it, and its bytes. What is in the two is the platform's matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// At most 128 KiB.
    pub head: Bytes,
    /// Any length.
    pub body: Bytes,
}

/// A key under which the same request is the same item, however often it is put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// The key, one key space per tenant.
    pub key: String,
    /// What was asked for under it, hashed: another request under the same key is refused.
    pub fingerprint: String,
}

/// What is put into the queue.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// Its id: letters, digits, `-`, `_` and `.`, at most 128 bytes. Putting an id again changes nothing.
    pub id: String,
    /// What kind of work it is.
    pub topic: Topic,
    /// What it is about: the plugin's or the endpoint's name. Lists are filtered by it.
    pub subject: String,
    /// What it was put for: the trigger, the call. Lists are filtered by it.
    pub tag: Option<String>,
    /// The key that it came with.
    pub once: Option<Once>,
    /// When it is due, milliseconds since the epoch.
    pub due_ms: u64,
    /// Attempts until it is given up.
    pub max_attempts: u32,
    /// What is to be done.
    pub request: Parts,
}

impl NewItem {
    pub(super) fn check(&self) -> Result<()> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !(1..=MAX_ID).contains(&self.id.len()) || !self.id.bytes().all(plain) {
            return Err(Fault::invalid("an id is 1 to 128 letters, digits, `-`, `_` and `.`"));
        }
        let texts = [Some(&self.subject), self.tag.as_ref(), self.once.as_ref().map(|once| &once.key)];
        if texts.into_iter().flatten().any(|text| text.len() > MAX_TEXT) {
            return Err(Fault::invalid(format!("what names a queued request is at most {MAX_TEXT} bytes")));
        }
        check_head(&self.request)
    }
}

pub(super) fn check_head(parts: &Parts) -> Result<()> {
    if parts.head.len() > MAX_HEAD {
        return Err(Fault::new(aimass_core::Code::PayloadTooLarge, "the header fields are larger than can be kept"));
    }
    Ok(())
}

/// How a request or a result is held: its head in the log, its body there or, if it is large, in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Bytes of the head.
    pub(super) head: u64,
    /// Bytes of the body.
    pub(super) body: u64,
    /// The body's file, and the digest of what was sealed into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<(String, Digest)>,
}

impl Held {
    /// Whether the body stands in the log.
    fn is_inline(&self) -> bool {
        self.body > 0 && self.file.is_none()
    }

    fn bytes(&self) -> u64 {
        self.head + self.body
    }
}

/// Parts that are ready to be recorded.
pub(super) struct Sealed {
    pub(super) held: Held,
    pub(super) values: Values,
}

/// What stands in the log of parts, sealed.
pub(super) struct Values {
    pub(super) head: Bytes,
    pub(super) body: Option<Bytes>,
}

/// An item as it stands in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRow {
    /// Whose.
    pub tenant: Name,
    /// Its id, the tenant's only one.
    pub id: String,
    /// What kind of work it is.
    pub topic: Topic,
    /// What it is about.
    pub subject: String,
    /// What it was put for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The key that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<Once>,
    /// How far it is.
    pub state: ItemState,
    /// Attempts that were begun. While it runs, this one is the attempt's own number, by which it is told from others.
    pub attempts: u32,
    /// Attempts until it is given up.
    pub max_attempts: u32,
    /// When it was put, milliseconds since the epoch.
    pub created_ms: u64,
    /// Queued: when it is due. Running: when another worker may have it.
    pub due_ms: u64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// When it is forgotten, if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    pub(crate) request: Held,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Held>,
}

impl ItemRow {
    /// Whether it has a result to be read.
    pub fn has_result(&self) -> bool {
        self.result.is_some()
    }

    /// Bytes of its request's body.
    pub fn request_bytes(&self) -> u64 {
        self.request.body
    }

    /// Bytes that it takes: what was brought, what came of it, and what is kept of it besides.
    pub(super) fn bytes(&self) -> u64 {
        const ROW: u64 = 512;
        ROW + self.request.bytes() + self.result.as_ref().map_or(0, Held::bytes)
    }

    /// The same without its request's body, which nobody will need any more.
    pub(super) fn without_body(self) -> Self {
        Self { request: Held { body: 0, file: None, ..self.request }, ..self }
    }

    /// The files of its bodies.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        let held = [Some(&self.request), self.result.as_ref()];
        held.into_iter().flatten().filter_map(|held| held.file.as_ref()).map(|(name, _)| name.as_str())
    }

    /// The kinds of values that stand in the table for it.
    pub(super) fn kinds(&self) -> impl Iterator<Item = char> {
        let result = self.result.as_ref();
        let there = [
            (ROW, true),
            (REQUEST_HEAD, true),
            (REQUEST_BODY, self.request.is_inline()),
            (RESULT_HEAD, result.is_some()),
            (RESULT_BODY, result.is_some_and(Held::is_inline)),
        ];
        there.into_iter().filter(|(_, is)| *is).map(|(kind, _)| kind)
    }
}

/// What the keys of the table begin with: an item's row, and its parts.
pub(super) const ROW: char = 'r';
pub(super) const REQUEST_HEAD: char = 'h';
pub(super) const REQUEST_BODY: char = 'q';
pub(super) const RESULT_HEAD: char = 'a';
pub(super) const RESULT_BODY: char = 'b';

/// The key of one of an item's values. A name holds no NUL.
pub(super) fn key(kind: char, tenant: &Name, id: &str) -> String {
    format!("{kind}{tenant}\0{id}")
}

/// How much of the queue a tenant may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Items that have not ended.
    pub entries: u64,
    /// Bytes of all items, ended ones and their results included.
    pub bytes: u64,
}

/// How much of the queue a tenant takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueUse {
    /// Items that have not ended.
    pub entries: u64,
    /// Bytes of all items.
    pub bytes: u64,
}

/// What was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The item: this one, or the one that was there.
    pub row: ItemRow,
    /// It was there already, by its id or its key.
    pub known: bool,
}

/// Which items are wanted by a worker.
#[derive(Clone, Copy, Debug)]
pub struct LeaseWish {
    /// Of which kind.
    pub topic: Topic,
    /// How many at most.
    pub most: usize,
    /// Of one tenant, those that run already included.
    pub per_tenant: usize,
    /// How long they are this worker's alone.
    pub lease_ms: u64,
}

/// Which items are listed.
#[derive(Clone, Debug, Default)]
pub struct ItemFilter {
    /// Only in this state.
    pub state: Option<ItemState>,
    /// Only about this.
    pub subject: Option<String>,
    /// Only put for this.
    pub tag: Option<String>,
}

impl ItemFilter {
    pub(super) fn lets_in(&self, row: &ItemRow) -> bool {
        self.state.is_none_or(|state| row.state == state)
            && self.subject.as_ref().is_none_or(|subject| row.subject == *subject)
            && self.tag.as_ref().is_none_or(|tag| row.tag.as_ref() == Some(tag))
    }
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// It is done.
    Done(Parts),
    /// It is given up; with what the last attempt answered, if it did.
    Dead(Failure, Option<Parts>),
    /// It is tried again at this time.
    Again {
        /// Why.
        failure: Failure,
        /// When, milliseconds since the epoch.
        due_ms: u64,
        /// Whether this attempt counts: one that was not let in does not.
        counted: bool,
    },
}
