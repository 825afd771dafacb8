//! The bytes of a group of records.
//!
//! ```text
//! first sequence u64 | records u32 | payload length u32 | CRC-32 of payload u32 | CRC-32 of salt and the above u32
//! payload: per record, length u32 and bytes
//! end mark u8
//! ```
//! Numbers are little-endian. The salt is random per segment: bytes that a tenant stores cannot be made to look
//! like a frame. The end mark is not zero, so a frame whose end was never written shows.

use std::io;

/// Bytes before the payload.
pub(super) const HEADER: usize = 24;
/// What the last byte of a frame is.
pub(super) const END: u8 = 0xA5;

/// A frame's header, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) first: u64,
    pub(super) records: u32,
    pub(super) payload: usize,
    checksum: u32,
}

impl Header {
    /// The header at the start of `bytes`, if a whole and valid one is there.
    pub(super) fn read(bytes: &[u8], salt: u64) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<HEADER>()?;
        // A fuzzer (tests/fuzz) finds no checksums; what is behind them must hold without.
        if !cfg!(fuzzing) && u32_at(header, 20) != header_checksum(&header[..20], salt) {
            return None;
        }
        let first = u64::from(u32_at(header, 0)) | u64::from(u32_at(header, 4)) << 32;
        let payload = u32_at(header, 12) as usize;
        Some(Self { first, records: u32_at(header, 8), payload, checksum: u32_at(header, 16) })
    }

    /// Bytes of the whole frame.
    pub(super) fn frame(&self) -> usize {
        HEADER + self.payload + 1
    }

    /// The records (offset within the frame, bytes) of the frame at the start of `bytes`, if it is whole and valid.
    pub(super) fn records<'a>(&self, bytes: &'a [u8]) -> Option<Vec<(usize, &'a [u8])>> {
        let frame = bytes.get(..self.frame())?;
        let payload = &frame[HEADER..HEADER + self.payload];
        let sound = cfg!(fuzzing) || crc32fast::hash(payload) == self.checksum;
        if frame[frame.len() - 1] != END || !sound {
            return None;
        }
        let mut records = Vec::new();
        let mut at = 0;
        while at < payload.len() {
            let length = u32_at(payload.get(at..at + 4)?, 0) as usize;
            records.push((HEADER + at + 4, payload.get(at + 4..at + 4 + length)?));
            at += 4 + length;
        }
        (records.len() == self.records as usize && !records.is_empty()).then_some(records)
    }
}

/// One frame, and the offset of every record in it.
pub(super) fn encode(first: u64, records: &[Vec<u8>], salt: u64) -> io::Result<(Vec<u8>, Vec<u64>)> {
    let too_large = |_| io::Error::new(io::ErrorKind::InvalidInput, "a group of 4 GiB");
    let payload: usize = records.iter().map(|r| r.len() + 4).sum();
    let mut frame = Vec::with_capacity(HEADER + payload + 1);
    frame.resize(HEADER, 0);
    let mut offsets = Vec::with_capacity(records.len());
    for record in records {
        frame.extend(u32::try_from(record.len()).map_err(too_large)?.to_le_bytes());
        offsets.push(frame.len() as u64);
        frame.extend_from_slice(record);
    }
    let checksum = crc32fast::hash(&frame[HEADER..]);
    frame[..8].copy_from_slice(&first.to_le_bytes());
    frame[8..12].copy_from_slice(&u32::try_from(records.len()).map_err(too_large)?.to_le_bytes());
    frame[12..16].copy_from_slice(&u32::try_from(payload).map_err(too_large)?.to_le_bytes());
    frame[16..20].copy_from_slice(&checksum.to_le_bytes());
    let header = header_checksum(&frame[..20], salt);
    frame[20..HEADER].copy_from_slice(&header.to_le_bytes());
    frame.push(END);
    Ok((frame, offsets))
}

fn header_checksum(header: &[u8], salt: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(header);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut own = [0; 4];
    own.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(own)
}
