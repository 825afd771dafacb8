//! A sealed blob's file, opened anywhere: what a format with its directory at the end needs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use aimass_core::{Name, Result};
use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use zeroize::Zeroizing;

use super::aead::{DataKey, SALT, TAG, derive};
use super::stream::{HEADER, MAGIC, PIECE, SUM};
use crate::failure::io_fault;

/// Bytes of a sealed piece that is not the last one.
const SEALED: u64 = (PIECE + TAG) as u64;

/// A sealed blob that is read piece by piece, in any order. Every piece is authenticated with its place, and whether it
/// is the last one; the blob's digest is not looked at here.
pub(crate) struct Pieces {
    file: File,
    key: LessSafeKey,
    nonce: [u8; NONCE_LEN],
    /// Sealed bytes, of all pieces.
    sealed: u64,
    /// The last piece's number.
    last: u64,
    /// The piece that was opened last: the next read is likely to go on in it.
    held: Option<(u64, Zeroizing<Vec<u8>>)>,
}

impl Pieces {
    /// Opens the sealed blob in `file`; none if it is too short to be one.
    pub(crate) fn open(key: &DataKey, tenant: &Name, file: File) -> Result<Option<Self>> {
        let failed = |e: io::Error| io_fault("read a blob", &e);
        let length = file.metadata().map_err(failed)?.len();
        let Some(sealed) = length.checked_sub((HEADER + SUM + TAG) as u64).map(|rest| rest + TAG as u64) else {
            return Ok(None);
        };
        let mut salt = [0; SALT];
        file.read_exact_at(&mut salt, MAGIC.len() as u64).map_err(failed)?;
        let (key, nonce) = derive(key.bytes(), &[b"blob", tenant.as_str().as_bytes()], &salt)?;
        let last = sealed.div_ceil(SEALED) - 1;
        Ok(Some(Self { file, key, nonce, sealed, last, held: None }))
    }

    /// Plain bytes of the blob.
    pub(crate) fn len(&self) -> u64 {
        self.sealed - (self.last + 1) * TAG as u64
    }

    /// Reads at `offset` into `out`, as many bytes as there are in one piece, none behind the end; `None` if the piece
    /// is not what was sealed there.
    pub(crate) fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<Option<usize>> {
        if offset >= self.len() || out.is_empty() {
            return Ok(Some(0));
        }
        let number = offset / PIECE as u64;
        if self.held.as_ref().is_none_or(|(held, _)| *held != number) {
            let Some(piece) = self.piece(number)? else { return Ok(None) };
            self.held = Some((number, piece));
        }
        let from = (offset % PIECE as u64) as usize;
        let there = self.held.as_ref().and_then(|(_, piece)| piece.get(from..)).unwrap_or_default();
        let length = there.len().min(out.len());
        if let (Some(out), Some(there)) = (out.get_mut(..length), there.get(..length)) {
            out.copy_from_slice(there);
        }
        Ok(Some(length))
    }

    fn piece(&self, number: u64) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let at = number * SEALED;
        let length = (self.sealed - at).min(SEALED) as usize;
        let mut piece = Zeroizing::new(vec![0; length]);
        match self.file.read_exact_at(&mut piece, HEADER as u64 + at) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(io_fault("read a blob", &e)),
        }
        let Ok(counter) = u32::try_from(number) else { return Ok(None) };
        let mut nonce = self.nonce;
        nonce[7..11].copy_from_slice(&counter.to_be_bytes());
        nonce[11] = (number == self.last).into();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let Ok(opened) = self.key.open_in_place(nonce, Aad::empty(), &mut piece) else { return Ok(None) };
        let length = opened.len();
        piece.truncate(length);
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::stream::Sealer;
    use super::*;

    fn sealed(key: &DataKey, tenant: &Name, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut sealer = Sealer::begin(key, tenant, &mut out).unwrap();
        sealer.write(plain, &mut out).unwrap();
        sealer.finish(&mut out).unwrap();
        out
    }

    fn pieces(key: &DataKey, tenant: &Name, bytes: &[u8]) -> Option<Pieces> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Pieces::open(key, tenant, file).unwrap()
    }

    #[test]
    fn every_place_of_every_length_is_what_was_written() {
        let (key, acme) = (DataKey::random().unwrap(), "acme".parse().unwrap());
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7] {
            let plain: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
            let mut pieces = pieces(&key, &acme, &sealed(&key, &acme, &plain)).unwrap();
            assert_eq!(pieces.len(), length as u64);
            for at in (0..=length).rev().step_by(length / 7 + 1) {
                let mut out = [0; 1_000];
                let read = pieces.read_at(at as u64, &mut out).unwrap().unwrap();
                assert_eq!(out[..read], plain[at..at + read], "{length} at {at}");
                assert!(read > 0 || at == length, "{length} at {at}");
            }
        }
    }

    #[test]
    fn f45_a_piece_that_is_damaged_moved_or_another_tenants_is_refused() {
        let (key, acme) = (DataKey::random().unwrap(), "acme".parse().unwrap());
        let whole = sealed(&key, &acme, &vec![9; 3 * PIECE]);
        let mut out = [0; 10];
        let mut flipped = whole.clone();
        flipped[HEADER + SEALED as usize + 5] ^= 1;
        let mut read = pieces(&key, &acme, &flipped).unwrap();
        assert!(read.read_at(0, &mut out).unwrap().is_some(), "the first piece is whole");
        assert!(read.read_at(PIECE as u64, &mut out).unwrap().is_none(), "the second is not");
        let cut = [&whole[..HEADER + SEALED as usize * 2], &[0; SUM]].concat();
        let mut read = pieces(&key, &acme, &cut).unwrap();
        assert!(read.read_at(PIECE as u64, &mut out).unwrap().is_none(), "it was not the last one");
        let mut theirs = pieces(&key, &"rival".parse().unwrap(), &whole).unwrap();
        assert!(theirs.read_at(0, &mut out).unwrap().is_none());
        assert!(pieces(&key, &acme, &whole[..HEADER + SUM]).is_none());
    }
}
