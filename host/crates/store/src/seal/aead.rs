//! AES-256-GCM with a key of its own for every message.
//!
//! GCM breaks when a nonce comes twice under one key, and random 96-bit nonces do so after some 2^32 messages. So no
//! message is sealed by a long-lived key itself: BLAKE3, keyed by it, derives the message's key and nonce from what
//! the message is and from a random salt of 192 bits.

use std::fmt;

use aimass_core::{Fault, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Bytes of a key.
pub(crate) const KEY: usize = 32;
/// Bytes of the salt that a sealed message begins with.
pub(crate) const SALT: usize = 24;
/// Bytes of the tag that it ends with.
pub(crate) const TAG: usize = 16;

/// A tenant's data key. Wiped when dropped.
pub(crate) struct DataKey(Zeroizing<[u8; KEY]>);

impl DataKey {
    /// A new one.
    pub(crate) fn random() -> Result<Self> {
        let mut key = Zeroizing::new([0; KEY]);
        fill(&mut *key)?;
        Ok(Self(key))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    /// A key of its own for each context, which says what it is for.
    pub(crate) fn derive(&self, context: &[&[u8]]) -> Zeroizing<[u8; KEY]> {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in [&[&b"derived"[..]], context].concat() {
            // With its length, so that no two contexts come out the same.
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Zeroizing::new(*hasher.finalize().as_bytes())
    }

    /// Seals a short value. `context` says what it is, and whose.
    pub(crate) fn seal(&self, context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>> {
        seal(&self.0, context, plain)
    }

    /// Opens what [`DataKey::seal`] made with the same context; none if it is anything else.
    pub(crate) fn open(&self, context: &[&[u8]], sealed: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        open(&self.0, context, sealed)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

pub(super) fn fill(bytes: &mut [u8]) -> Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| Fault::internal("the system gives no random bytes"))
}

/// The key of one message and its nonce. `context` says what the message is, and whose.
pub(super) fn derive(key: &[u8; KEY], context: &[&[u8]], salt: &[u8; SALT]) -> Result<(LessSafeKey, [u8; NONCE_LEN])> {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in context {
        // With its length, so that no two contexts come out the same.
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut derived = Zeroizing::new([0; KEY + NONCE_LEN]);
    hasher.update(salt).finalize_xof().fill(&mut *derived);
    let (key, start) = derived.split_at(KEY);
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(start);
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Fault::internal("a key could not be made"))?;
    Ok((LessSafeKey::new(key), nonce))
}

/// Seals a short message: `salt | ciphertext | tag`.
pub(crate) fn seal(key: &[u8; KEY], context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>> {
    let failed = || Fault::internal("a message could not be sealed");
    let mut salt = [0; SALT];
    fill(&mut salt)?;
    let (key, nonce) = derive(key, context, &salt)?;
    // As large as it becomes, so that no plain bytes are left behind where it grew.
    let mut sealed = Vec::with_capacity(SALT + plain.len() + TAG);
    sealed.extend_from_slice(&salt);
    sealed.extend_from_slice(plain);
    let body = sealed.get_mut(SALT..).ok_or_else(failed)?;
    let tag = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), body);
    sealed.extend_from_slice(tag.map_err(|_| failed())?.as_ref());
    Ok(sealed)
}

/// Opens what [`seal`] made with the same key and context; none if it is anything else.
pub(crate) fn open(key: &[u8; KEY], context: &[&[u8]], sealed: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let Some((salt, body)) = sealed.split_first_chunk::<SALT>() else { return Ok(None) };
    let (key, nonce) = derive(key, context, salt)?;
    let mut body = Zeroizing::new(body.to_vec());
    let Ok(plain) = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut body) else {
        return Ok(None);
    };
    let length = plain.len();
    body.truncate(length);
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_context_open() {
        let (key, other) = ([1; KEY], [2; KEY]);
        let sealed = seal(&key, &[b"a", b"bc"], b"secret").unwrap();
        assert_eq!(&**open(&key, &[b"a", b"bc"], &sealed).unwrap().unwrap(), b"secret");
        assert!(open(&other, &[b"a", b"bc"], &sealed).unwrap().is_none());
        assert!(open(&key, &[b"ab", b"c"], &sealed).unwrap().is_none());
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(open(&key, &[b"a", b"bc"], &flipped).unwrap().is_none(), "byte {at}");
            assert!(open(&key, &[b"a", b"bc"], &sealed[..at]).unwrap().is_none(), "cut at {at}");
        }
        assert_ne!(sealed, seal(&key, &[b"a", b"bc"], b"secret").unwrap());
    }

    #[test]
    fn derived_keys_differ_by_what_they_are_for() {
        let (key, other) = (DataKey(Zeroizing::new([1; KEY])), DataKey(Zeroizing::new([2; KEY])));
        let derived = [
            key.derive(&[b"a", b"bc"]),
            key.derive(&[b"ab", b"c"]),
            key.derive(&[b"a"]),
            key.derive(&[]),
            other.derive(&[b"a", b"bc"]),
        ];
        let different: std::collections::HashSet<_> = derived.iter().map(|key| **key).collect();
        assert_eq!(different.len(), derived.len());
        assert_eq!(*key.derive(&[b"a", b"bc"]), *derived[0]);
    }

    #[test]
    fn a_key_does_not_show() {
        assert_eq!(format!("{:?}", DataKey::from_bytes(&[7; KEY]).unwrap()), "DataKey(..)");
    }
}
