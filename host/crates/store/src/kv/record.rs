//! The bytes of one change of a bucket.
//!
//! ```text
//! bucket length u32, bucket | per key: key length u32, key, 0xFFFFFFFF (removed) or value length u32, value
//! ```
//! A length whose highest bit is set is that of sealed bytes; a release before there was sealing wrote none. Values are
//! absolute (an increment is recorded as its result), so that replaying a record again changes nothing.

use super::sealed::{Change, Kept};

const REMOVED: u32 = u32::MAX;
/// Of a length: what follows is sealed.
pub(super) const SEALED: u32 = 1 << 31;

/// A key, and its value; `None` if it was removed.
pub(super) struct Decoded<'a> {
    pub(super) name: &'a [u8],
    pub(super) name_sealed: bool,
    pub(super) value: Option<Found<'a>>,
}

/// A value in a record.
pub(super) struct Found<'a> {
    /// Where it begins in the record.
    pub(super) at: usize,
    pub(super) bytes: &'a [u8],
    pub(super) sealed: bool,
}

/// One record, and the offset of every value in it. Lengths are limited by the caller.
pub(super) fn encode(bucket: &[u8], changes: &[Change]) -> (Vec<u8>, Vec<usize>) {
    let length = |value: &Option<Kept>| value.as_ref().map_or(0, |kept| kept.bytes.len());
    let size = changes.iter().map(|change| 8 + change.name.len() + length(&change.value)).sum::<usize>();
    let mut record = Vec::with_capacity(4 + bucket.len() + size);
    let mut offsets = Vec::with_capacity(changes.len());
    put(&mut record, bucket, false);
    for change in changes {
        put(&mut record, &change.name, true);
        offsets.push(record.len() + 4);
        match &change.value {
            Some(value) => put(&mut record, &value.bytes, value.sealed),
            None => record.extend(REMOVED.to_le_bytes()),
        }
    }
    (record, offsets)
}

/// The bucket and the changes of a record.
pub(super) fn decode(record: &[u8]) -> Option<(&[u8], Vec<Decoded<'_>>)> {
    let mut reader = Reader { record, at: 0 };
    let length = reader.number()?;
    let bucket = reader.take(length)?;
    let mut changes = Vec::new();
    while reader.at < record.len() {
        let length = reader.number()?;
        let (name, name_sealed) = (reader.take(length & !SEALED)?, length & SEALED != 0);
        if !name_sealed {
            std::str::from_utf8(name).ok()?;
        }
        let length = reader.number()?;
        let at = reader.at;
        let value = if length == REMOVED {
            None
        } else {
            Some(Found { at, bytes: reader.take(length & !SEALED)?, sealed: length & SEALED != 0 })
        };
        changes.push(Decoded { name, name_sealed, value });
    }
    Some((bucket, changes))
}

fn put(record: &mut Vec<u8>, bytes: &[u8], sealed: bool) {
    // At most 16 MiB.
    let length = bytes.len() as u32 | if sealed { SEALED } else { 0 };
    record.extend(length.to_le_bytes());
    record.extend_from_slice(bytes);
}

struct Reader<'a> {
    record: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u32> {
        let (number, _) = self.record.get(self.at..)?.split_first_chunk::<4>()?;
        self.at += 4;
        Some(u32::from_le_bytes(*number))
    }

    fn take(&mut self, length: u32) -> Option<&'a [u8]> {
        let bytes = self.record.get(self.at..)?.get(..length as usize)?;
        self.at += bytes.len();
        Some(bytes)
    }
}
