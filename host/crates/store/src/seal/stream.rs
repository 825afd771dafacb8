//! A blob's file, sealed piece by piece, so that it is never in memory as a whole while it is written.
//!
//! ```text
//! "AIMASSB\x01" | salt (24) | per piece: ciphertext, tag (16) | CRC-32 of all before, u32 little-endian
//! ```
//! This is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its Nonce-Reuse
//! Misuse-Resistance", 2015): every piece but the last has [`PIECE`] bytes, and its nonce is 7 bytes of the file's
//! own | the piece's number, u32 big-endian | 1 for the last piece, else 0. So pieces cannot be left out, cut off, or
//! put in another order. The checksum is for those who have no key: a backup can tell that it copied what was written.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use aimass_core::{Fault, Name, Result};
use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use super::aead::{DataKey, SALT, TAG, derive, fill};
use crate::failure::io_fault;

pub(super) const MAGIC: &[u8; 8] = b"AIMASSB\x01";
/// Bytes before the first piece.
pub(super) const HEADER: usize = MAGIC.len() + SALT;
/// Plain bytes of a piece.
pub(super) const PIECE: usize = 128 << 10;
/// Bytes of the checksum.
pub(super) const SUM: usize = 4;

/// Seals what is written to it.
pub(crate) struct Sealer {
    cipher: Cipher,
    /// The piece that is being filled: a full one waits, since it may be the last.
    piece: Vec<u8>,
    sum: crc32fast::Hasher,
}

struct Cipher {
    key: LessSafeKey,
    nonce: [u8; NONCE_LEN],
    next: u32,
}

impl Cipher {
    fn new(key: &DataKey, tenant: &Name, salt: &[u8; SALT]) -> Result<Self> {
        let (key, nonce) = derive(key.bytes(), &[b"blob", tenant.as_str().as_bytes()], salt)?;
        Ok(Self { key, nonce, next: 0 })
    }

    /// The next piece's nonce; none behind 2^32 of them, which is 512 TiB.
    fn nonce(&mut self, last: bool) -> Option<Nonce> {
        let mut nonce = self.nonce;
        nonce[7..11].copy_from_slice(&self.next.to_be_bytes());
        nonce[11] = last.into();
        self.next = self.next.checked_add(1)?;
        Some(Nonce::assume_unique_for_key(nonce))
    }
}

impl Sealer {
    /// Begins a blob of `tenant` in `file`.
    pub(crate) fn begin(key: &DataKey, tenant: &Name, file: &mut impl Write) -> Result<Self> {
        let mut salt = [0; SALT];
        fill(&mut salt)?;
        let cipher = Cipher::new(key, tenant, &salt)?;
        let mut sealer = Self { cipher, piece: Vec::with_capacity(PIECE + TAG), sum: crc32fast::Hasher::new() };
        sealer.put(file, &[&MAGIC[..], &salt].concat())?;
        Ok(sealer)
    }

    /// Takes the next bytes.
    pub(crate) fn write(&mut self, mut bytes: &[u8], file: &mut impl Write) -> Result<()> {
        while !bytes.is_empty() {
            if self.piece.len() == PIECE {
                self.end_piece(false, file)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Writes the last piece and the checksum.
    pub(crate) fn finish(mut self, file: &mut impl Write) -> Result<()> {
        self.end_piece(true, file)?;
        let sum = self.sum.clone().finalize().to_le_bytes();
        file.write_all(&sum).map_err(|e| io_fault("write a blob", &e))
    }

    fn end_piece(&mut self, last: bool, file: &mut impl Write) -> Result<()> {
        let failed = || Fault::internal("a blob could not be sealed");
        let nonce = self.cipher.nonce(last).ok_or_else(failed)?;
        let mut piece = std::mem::take(&mut self.piece);
        self.cipher.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut piece).map_err(|_| failed())?;
        self.put(file, &piece)?;
        piece.clear();
        self.piece = piece;
        Ok(())
    }

    fn put(&mut self, file: &mut impl Write, bytes: &[u8]) -> Result<()> {
        self.sum.update(bytes);
        file.write_all(bytes).map_err(|e| io_fault("write a blob", &e))
    }
}

/// Whether the file is a sealed blob; one of a release before there was sealing is not. Reads from its start.
pub(crate) fn is_sealed(file: &mut File) -> io::Result<bool> {
    let mut magic = Vec::with_capacity(MAGIC.len());
    file.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    Ok(magic == MAGIC)
}

/// Opens a sealed blob, behind what [`is_sealed`] has read; none if it is not what that tenant's key has sealed.
pub(crate) fn open(key: &DataKey, tenant: &Name, file: &mut File) -> Result<Option<Vec<u8>>> {
    let failed = |e: io::Error| io_fault("read a blob", &e);
    let length = usize::try_from(file.metadata().map_err(failed)?.len()).unwrap_or(usize::MAX);
    let Some(mut left) = length.checked_sub(HEADER + SUM) else { return Ok(None) };
    let mut salt = [0; SALT];
    file.read_exact(&mut salt).map_err(failed)?;
    let mut cipher = Cipher::new(key, tenant, &salt)?;
    let mut plain = Vec::with_capacity(left + TAG);
    loop {
        let take = left.min(PIECE + TAG);
        left -= take;
        let start = plain.len();
        plain.resize(start + take, 0);
        let Some(piece) = plain.get_mut(start..) else { return Ok(None) };
        match file.read_exact(piece) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(failed(e)),
        }
        let Some(nonce) = cipher.nonce(left == 0) else { return Ok(None) };
        let Ok(opened) = cipher.key.open_in_place(nonce, Aad::empty(), piece) else { return Ok(None) };
        let end = start + opened.len();
        plain.truncate(end);
        if left == 0 {
            return Ok(Some(plain));
        }
    }
}

/// Whether a sealed blob's file is what was written, as far as one can tell without the key.
pub(crate) fn is_whole(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let Some(mut left) = file.metadata()?.len().checked_sub(SUM as u64) else { return Ok(false) };
    let mut sum = crc32fast::Hasher::new();
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let take = left.min(PIECE as u64);
        let part = piece.get_mut(..take as usize).unwrap_or_default();
        file.read_exact(part)?;
        sum.update(part);
        left -= take;
    }
    let mut stored = [0; SUM];
    file.read_exact(&mut stored)?;
    Ok(stored == sum.finalize().to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &DataKey, tenant: &Name, plain: &[u8], step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut sealer = Sealer::begin(key, tenant, &mut out).unwrap();
        plain.chunks(step).for_each(|part| sealer.write(part, &mut out).unwrap());
        sealer.finish(&mut out).unwrap();
        out
    }

    fn opened(key: &DataKey, tenant: &Name, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        if is_sealed(&mut file).unwrap() { open(key, tenant, &mut file).unwrap() } else { None }
    }

    #[test]
    fn every_length_comes_back() {
        let (key, acme) = (DataKey::random().unwrap(), "acme".parse().unwrap());
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7] {
            let plain: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
            for step in [1000, PIECE, 5 * PIECE] {
                assert_eq!(opened(&key, &acme, &sealed(&key, &acme, &plain, step)).unwrap(), plain, "{length} {step}");
            }
        }
    }

    #[test]
    fn f45_pieces_that_are_flipped_cut_swapped_or_left_out_are_refused() {
        let (key, acme) = (DataKey::random().unwrap(), "acme".parse().unwrap());
        let whole = sealed(&key, &acme, &vec![9; 3 * PIECE], PIECE);
        let piece = PIECE + TAG;
        // Behind the magic: without that it is another kind of file. The checksum is not what protects here.
        for at in (MAGIC.len()..whole.len() - SUM).step_by(4099) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            assert!(opened(&key, &acme, &flipped).is_none(), "byte {at}");
        }
        let (head, pieces) = (&whole[..HEADER], &whole[HEADER..]);
        let parts = [&pieces[..piece], &pieces[piece..2 * piece], &pieces[2 * piece..]];
        assert!(opened(&key, &acme, &[head, parts[0], parts[1], parts[2]].concat()).is_some());
        assert!(opened(&key, &acme, &[head, parts[1], parts[0], parts[2]].concat()).is_none(), "swapped");
        assert!(opened(&key, &acme, &[head, parts[0], parts[2]].concat()).is_none(), "left out");
        assert!(opened(&key, &acme, &[head, parts[0], parts[1], &[0; SUM]].concat()).is_none(), "cut off");
        assert!(opened(&key, &acme, &[head, &[0; SUM]].concat()).is_none(), "nothing left");
    }

    #[test]
    fn f39_another_tenant_or_key_opens_nothing() {
        let (key, other) = (DataKey::random().unwrap(), DataKey::random().unwrap());
        let (acme, rival) = ("acme".parse().unwrap(), "rival".parse().unwrap());
        let bytes = sealed(&key, &acme, b"model", 99);
        assert!(opened(&key, &acme, &bytes).is_some());
        assert!(opened(&other, &acme, &bytes).is_none());
        assert!(opened(&key, &rival, &bytes).is_none());
    }
}
