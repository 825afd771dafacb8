//! The private half of a signing key on the disk: sealed with a key of the node's, so that the folder of keys, and a copy
//! of it, sign nothing by themselves.
//!
//! ```text
//! "AIMASSK\x01" | nonce (12) | ciphertext | tag (16)
//! ```
//! AES-256-GCM with a random nonce: there are few keys, far from the 2^32 that one could seal so. The key's id is bound
//! in. A file without the beginning is of a release before there was sealing, and is sealed when it is read.

use std::fmt;

use aimass_core::{Fault, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"AIMASSK\x01";

/// What signing keys are sealed with.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// From its bytes.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    pub(crate) fn seal(&self, kid: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| Fault::internal("a signing key could not be sealed");
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(failed)?;
        let mut body = Zeroizing::new(plain.to_vec());
        let tag = self.cipher()?.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(kid.as_bytes()),
            &mut body,
        );
        Ok([&MAGIC[..], &nonce, &body, tag.map_err(failed)?.as_ref()].concat())
    }

    /// The private half; none if it is not that key's, or was sealed with another one.
    pub(crate) fn open(&self, kid: &str, file: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let rest = file.get(MAGIC.len()..).and_then(|rest| rest.split_first_chunk::<NONCE_LEN>());
        let Some((nonce, body)) = rest else { return Ok(None) };
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let Ok(plain) = self.cipher()?.open_in_place(nonce, Aad::from(kid.as_bytes()), &mut body) else {
            return Ok(None);
        };
        let length = plain.len();
        body.truncate(length);
        Ok(Some(body))
    }

    fn cipher(&self) -> Result<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, &*self.0);
        key.map(LessSafeKey::new).map_err(|_| Fault::internal("a key could not be made"))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

/// Whether a file is sealed.
pub(crate) fn is_sealed(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_under_its_own_id_and_sealing_key_only() {
        let (key, other) = (SealingKey::new([1; 32].into()), SealingKey::new([2; 32].into()));
        let sealed = key.seal("a", b"private").unwrap();
        assert!(is_sealed(&sealed) && !sealed.windows(7).any(|part| part == b"private"));
        assert_eq!(&key.open("a", &sealed).unwrap().unwrap()[..], b"private");
        assert!(key.open("b", &sealed).unwrap().is_none());
        assert!(other.open("a", &sealed).unwrap().is_none());
        assert!(key.open("a", &sealed[..20]).unwrap().is_none());
        assert_eq!(format!("{key:?}"), "SealingKey(..)");
    }
}
