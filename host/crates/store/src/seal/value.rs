//! A short value, sealed for its tenant: a plugin's settings, a secret.

use std::fmt;
use std::sync::Arc;

use aimass_core::event::Sealed;
use aimass_core::{Code, Fault, Name, Result};
use zeroize::Zeroizing;

use super::aead::{self, DataKey};

/// What a sealed value is. It opens as the same thing only, so that no value can stand in another one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    /// Which kind of thing, a word of the code's: `settings`.
    pub kind: &'static str,
    /// Which one of the tenant's things of this kind.
    pub name: &'a str,
    /// Its number, where there are several under the name; else 0.
    pub version: u64,
}

/// Seals and opens short values of one tenant. It says nothing of them, and of the key, when it is printed.
///
/// ```
/// use aimass_core::Tenant;
/// use aimass_store::{Label, Store};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let store = Store::open(folder.path(), &folder.path().join("key"))?;
/// # let tenant = Tenant::vouched_for("acme".parse()?);
/// let seal = store.seal(&tenant).await?;
/// let label = Label { kind: "note", name: "first", version: 1 };
/// let sealed = seal.seal(label, b"for acme alone")?; // Safe to keep in a record or a row.
/// assert_eq!(&seal.open(label, &sealed)?[..], b"for acme alone");
/// assert!(seal.open(Label { version: 2, ..label }, &sealed).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Seal {
    tenant: Name,
    key: Arc<DataKey>,
}

impl Seal {
    pub(crate) fn new(tenant: Name, key: Arc<DataKey>) -> Self {
        Self { tenant, key }
    }

    /// Seals a value under `label`. It grows by 40 bytes.
    ///
    /// # Errors
    /// `internal` if the system gives no random bytes.
    pub fn seal(&self, label: Label<'_>, plain: &[u8]) -> Result<Sealed> {
        let version = label.version.to_le_bytes();
        aead::seal(self.key.bytes(), &self.context(&label, &version), plain).map(Sealed::new)
    }

    /// Opens what was sealed under the same label. What comes is wiped when it is dropped.
    ///
    /// # Errors
    /// `integrity` if it was not, or by another tenant's key.
    pub fn open(&self, label: Label<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>> {
        let version = label.version.to_le_bytes();
        let opened = aead::open(self.key.bytes(), &self.context(&label, &version), sealed.bytes())?;
        opened.ok_or_else(|| {
            let cause = format!("{} {} {} of {} does not open", label.kind, label.name, label.version, self.tenant);
            Fault::new(Code::Integrity, "the stored value is damaged").caused_by(cause)
        })
    }

    fn context<'c>(&'c self, label: &Label<'c>, version: &'c [u8]) -> [&'c [u8]; 5] {
        [b"value", self.tenant.as_str().as_bytes(), label.kind.as_bytes(), label.name.as_bytes(), version]
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f39_a_value_opens_under_its_own_label_and_key_only() {
        let seal = |tenant: &str, key| Seal::new(tenant.parse().unwrap(), Arc::clone(key));
        let (key, other) = (Arc::new(DataKey::random().unwrap()), Arc::new(DataKey::random().unwrap()));
        let label = Label { kind: "secret", name: "a/b", version: 7 };
        let sealed = seal("acme", &key).seal(label, b"hush").unwrap();
        assert_eq!(&seal("acme", &key).open(label, &sealed).unwrap()[..], b"hush");
        let wrong = [
            seal("rival", &key).open(label, &sealed),
            seal("acme", &other).open(label, &sealed),
            seal("acme", &key).open(Label { kind: "settings", ..label }, &sealed),
            seal("acme", &key).open(Label { name: "a", ..label }, &sealed),
            seal("acme", &key).open(Label { version: 8, ..label }, &sealed),
            seal("acme", &key).open(label, &Sealed::new(vec![0; 20])),
        ];
        for opened in wrong {
            let fault = opened.unwrap_err();
            assert_eq!(fault.code(), Code::Integrity);
            assert!(!format!("{fault:?}").contains("hush"));
        }
        assert!(!format!("{sealed:?} {:?}", seal("acme", &key)).contains("hush"));
    }
}
