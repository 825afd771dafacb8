//! What stands behind the last whole frame of a segment: nothing, a torn write, or damage.

use super::frame::Header;

/// The granularity in which a disk loses an unfinished write.
const SECTOR: usize = 512;

/// The end of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// It ends with a whole frame.
    Clean,
    /// A frame was being written when everything stopped: it was never acknowledged.
    Torn,
    /// Something was written, and is not what it was.
    Damaged(&'static str),
}

/// Judges `bytes[at..]`, where no whole frame that begins with record `due` stands.
///
/// Only the last frame can be torn, since a frame is begun when the one before is durable. A torn one is cut short,
/// or ends in zeros (the length was written, the data not), or lacks a sector in the middle. A whole one of the right
/// length whose checksum is wrong was acknowledged, and its bytes have changed: that is damage, as is any frame
/// behind a bad one. (A zeroed sector that is a frame's own content is taken for a torn write if that very
/// frame is the last and is damaged as well.)
pub(super) fn judge(bytes: &[u8], at: usize, due: u64, salt: u64) -> Tail {
    let tail = &bytes[at..];
    if tail.is_empty() {
        return Tail::Clean;
    }
    let header = Header::read(tail, salt);
    let behind = header.map_or(1, |h| h.frame());
    if frame_behind(tail, behind, due, salt) {
        return Tail::Damaged("whole records follow behind a bad one");
    }
    let whole = match header {
        Some(h) if tail.len() < h.frame() => return Tail::Torn,
        Some(h) => &tail[..h.frame()],
        None => tail,
    };
    if whole.len() < super::frame::HEADER || whole.ends_with(&[0]) || has_hole(whole, at) {
        return Tail::Torn;
    }
    match header {
        Some(h) if h.first != due => Tail::Damaged("a record has the wrong number"),
        Some(_) => Tail::Damaged("a record's checksum is wrong"),
        None => Tail::Damaged("a record's header is wrong"),
    }
}

/// Whether a valid frame begins anywhere in `tail[from..]`.
fn frame_behind(tail: &[u8], from: usize, due: u64, salt: u64) -> bool {
    (from..tail.len()).any(|at| {
        let rest = &tail[at..];
        // The number first: it is cheaper than the checksum.
        let near = rest.first_chunk::<8>().is_some_and(|n| {
            let n = u64::from_le_bytes(*n);
            n > due && n - due < 1 << 32
        });
        near && Header::read(rest, salt).is_some_and(|h| h.records(rest).is_some())
    })
}

/// Whether a sector (or the part of one that the frame begins in) is all zeros. `at` is the frame's offset in the
/// file.
fn has_hole(frame: &[u8], at: usize) -> bool {
    let (first, rest) = frame.split_at(frame.len().min(SECTOR - at % SECTOR));
    let zero = |bytes: &[u8]| bytes.iter().all(|&b| b == 0);
    zero(first) || rest.chunks_exact(SECTOR).any(zero)
}
