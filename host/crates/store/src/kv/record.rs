//! The bytes of one change of a bucket.
//!
//! ```text
//! bucket length u32, bucket | per key: key length u32, key, 0xFFFFFFFF (removed) or value length u32, value
//! ```
//! Values are absolute (an increment is recorded as its result), so that replaying a record again changes nothing.

use bytes::Bytes;

const REMOVED: u32 = u32::MAX;

/// A key, and its value with the offset of that in the record; `None` if it was removed.
pub(super) type Decoded<'a> = (&'a str, Option<(usize, &'a [u8])>);

/// One record, and the offset of every value in it. Lengths are limited by the caller.
pub(super) fn encode(bucket: &[u8], changes: &[(String, Option<Bytes>)]) -> (Vec<u8>, Vec<usize>) {
    let size = changes.iter().map(|(key, value)| 8 + key.len() + value.as_ref().map_or(0, Bytes::len)).sum::<usize>();
    let mut record = Vec::with_capacity(4 + bucket.len() + size);
    let mut offsets = Vec::with_capacity(changes.len());
    put(&mut record, bucket);
    for (key, value) in changes {
        put(&mut record, key.as_bytes());
        offsets.push(record.len() + 4);
        match value {
            Some(value) => put(&mut record, value),
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
        let key = std::str::from_utf8(reader.take(length)?).ok()?;
        let length = reader.number()?;
        let at = reader.at;
        let value = if length == REMOVED { None } else { Some((at, reader.take(length)?)) };
        changes.push((key, value));
    }
    Some((bucket, changes))
}

fn put(record: &mut Vec<u8>, bytes: &[u8]) {
    // At most 16 MiB.
    record.extend((bytes.len() as u32).to_le_bytes());
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
