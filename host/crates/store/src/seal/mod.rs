//! Sealing: what tenants bring is encrypted before it reaches the disk.
//!
//! Each tenant has a data key, made when it first brings something. A data key is kept in the journal, wrapped by a
//! key-encryption key of the [`Keyring`], which lies in a file of its own and is in no backup. Whoever has the data
//! folder or a backup of it, and not that file, has ciphertext.
//!
//! | what | bound to |
//! |---|---|
//! | a data key, wrapped | its tenant and the key-encryption key's generation |
//! | a blob ([`stream`]) | its tenant; to its name by its digest, which every reading checks |

mod aead;
mod keyring;
pub(crate) mod pieces;
pub(crate) mod stream;
mod vault;

pub(crate) use aead::DataKey;
pub(crate) use vault::{Keys, Vault};
