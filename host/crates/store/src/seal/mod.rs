//! Sealing: what tenants bring is encrypted before it reaches the disk.
//!
//! Each tenant has a data key, made when it first brings something. A data key is kept in the journal, wrapped by a
//! key-encryption key of the [`keyring`], which lies in a file of its own and is in no backup. Whoever has the data
//! folder or a backup of it, and not that file, has ciphertext.
//!
//! | what | bound to |
//! |---|---|
//! | a data key, wrapped | its tenant and the key-encryption key's generation |
//! | a queued request or result | its tenant, its item, and which part of it |
//! | a blob ([`stream`]) | its tenant; to its name by its digest, which every reading checks |
//! | a guest's value and its key (`kv`) | its tenant, plugin, bucket and key |
//! | a setting, a secret, a short value ([`Seal`]) | its tenant, kind, name and version |

pub(crate) mod aead;
mod key_file;
mod keyring;
mod keys;
pub(crate) mod pieces;
pub(crate) mod stream;
mod value;
mod vault;

pub(crate) use aead::DataKey;
pub use key_file::KeyFile;
pub use keys::KeyGeneration;
pub(crate) use keys::Keys;
pub use value::{Label, Seal};
pub(crate) use vault::{Owner, Vault};
