//! The plugin's key-value store, through `wasi:keyvalue`: what is kept from one call to the next.
//!
//! ```
//! use aimass_sdk::kv::Bucket;
//! let bucket = Bucket::open("default")?;
//! bucket.set("greeting", b"hello")?;
//! assert_eq!(bucket.get("greeting")?.as_deref(), Some(&b"hello"[..]));
//! assert_eq!(bucket.increment("calls", 1)?, 1);
//! # Ok::<(), aimass_sdk::Fault>(())
//! ```

use std::fmt;

use crate::Fault;

#[cfg(target_family = "wasm")]
use guest as backend;
#[cfg(not(target_family = "wasm"))]
use host as backend;

/// A named collection of keys and values, shared by all calls of this plugin.
///
/// ```
/// use aimass_sdk::kv::Bucket;
/// let bucket = Bucket::open("default")?;
/// assert!(!bucket.exists("key")?);
/// # Ok::<(), aimass_sdk::kv::Error>(())
/// ```
pub struct Bucket(backend::Bucket);

impl Bucket {
    /// Opens a bucket.
    ///
    /// # Errors
    /// [`Error::NoSuchStore`], [`Error::AccessDenied`] if the platform does not give it.
    ///
    /// ```
    /// assert!(aimass_sdk::kv::Bucket::open("default").is_ok());
    /// ```
    pub fn open(name: &str) -> Result<Self, Error> {
        backend::Bucket::open(name).map(Self)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::Other`] if the store fails.
    ///
    /// ```
    /// # use aimass_sdk::kv::Bucket;
    /// assert_eq!(Bucket::open("default")?.get("nothing")?, None);
    /// # Ok::<(), aimass_sdk::kv::Error>(())
    /// ```
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.0.get(key)
    }

    /// Sets a key. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Other`] if the store fails or the value is too large for it.
    ///
    /// ```
    /// # use aimass_sdk::kv::Bucket;
    /// Bucket::open("default")?.set("key", b"value")?;
    /// # Ok::<(), aimass_sdk::kv::Error>(())
    /// ```
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.0.set(key, value)
    }

    /// Removes a key; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Other`] if the store fails.
    ///
    /// ```
    /// # use aimass_sdk::kv::Bucket;
    /// let bucket = Bucket::open("default")?;
    /// bucket.set("key", b"value")?;
    /// bucket.delete("key")?;
    /// assert!(!bucket.exists("key")?);
    /// # Ok::<(), aimass_sdk::kv::Error>(())
    /// ```
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        self.0.delete(key)
    }

    /// Whether a key is set.
    ///
    /// # Errors
    /// [`Error::Other`] if the store fails.
    ///
    /// ```
    /// # use aimass_sdk::kv::Bucket;
    /// assert!(!Bucket::open("default")?.exists("nothing")?);
    /// # Ok::<(), aimass_sdk::kv::Error>(())
    /// ```
    pub fn exists(&self, key: &str) -> Result<bool, Error> {
        self.0.exists(key)
    }

    /// Every key.
    ///
    /// # Errors
    /// [`Error::Other`] if the store fails.
    ///
    /// ```
    /// # use aimass_sdk::kv::Bucket;
    /// let bucket = Bucket::open("default")?;
    /// bucket.set("a", b"1")?;
    /// assert_eq!(bucket.keys()?, ["a"]);
    /// # Ok::<(), aimass_sdk::kv::Error>(())
    /// ```
    pub fn keys(&self) -> Result<Vec<String>, Error> {
        self.0.keys()
    }

    /// Adds to a counter and answers the new number; one that is not there starts at 0. Atomic: no two calls get the
    /// same number.
    ///
    /// # Errors
    /// [`Error::Other`] if the store fails or the value is no counter.
    ///
    /// ```
    /// # use aimass_sdk::kv::Bucket;
    /// let bucket = Bucket::open("default")?;
    /// bucket.increment("n", 2)?;
    /// assert_eq!(bucket.increment("n", 40)?, 42);
    /// # Ok::<(), aimass_sdk::kv::Error>(())
    /// ```
    pub fn increment(&self, key: &str, delta: u64) -> Result<u64, Error> {
        self.0.increment(key, delta)
    }
}

/// Why the store did not answer. Turns into a [`Fault`] with `?`.
///
/// ```
/// use aimass_sdk::{Fault, kv};
/// assert!(matches!(Fault::from(kv::Error::NoSuchStore), Fault::Internal(_)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such bucket.
    NoSuchStore,
    /// The bucket is not this plugin's.
    AccessDenied,
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchStore => f.write_str("there is no such bucket"),
            Self::AccessDenied => f.write_str("access to the bucket is denied"),
            Self::Other(why) => write!(f, "the key-value store failed: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchStore | Error::AccessDenied => Self::Internal(error.to_string()),
            Error::Other(_) => Self::Unavailable(error.to_string()),
        }
    }
}

/// On the platform: the host's resources.
#[cfg(target_family = "wasm")]
mod guest {
    use super::Error;
    use crate::bindings::wasi::keyvalue::{atomics, store};

    pub(super) struct Bucket(store::Bucket);

    impl Bucket {
        pub(super) fn open(name: &str) -> Result<Self, Error> {
            Ok(Self(store::open(name)?))
        }

        pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
            Ok(self.0.get(key)?)
        }

        pub(super) fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
            Ok(self.0.set(key, value)?)
        }

        pub(super) fn delete(&self, key: &str) -> Result<(), Error> {
            Ok(self.0.delete(key)?)
        }

        pub(super) fn exists(&self, key: &str) -> Result<bool, Error> {
            Ok(self.0.exists(key)?)
        }

        pub(super) fn keys(&self) -> Result<Vec<String>, Error> {
            let (mut keys, mut cursor) = (Vec::new(), None);
            loop {
                let page = self.0.list_keys(cursor)?;
                keys.extend(page.keys);
                cursor = page.cursor;
                if cursor.is_none() {
                    return Ok(keys);
                }
            }
        }

        pub(super) fn increment(&self, key: &str, delta: u64) -> Result<u64, Error> {
            Ok(atomics::increment(&self.0, key, delta)?)
        }
    }

    impl From<store::Error> for Error {
        fn from(error: store::Error) -> Self {
            match error {
                store::Error::NoSuchStore => Self::NoSuchStore,
                store::Error::AccessDenied => Self::AccessDenied,
                store::Error::Other(why) => Self::Other(why),
            }
        }
    }
}

/// In unit tests: a map in memory, each test's own.
#[cfg(not(target_family = "wasm"))]
mod host {
    use super::Error;
    use crate::testing::with_bucket;

    pub(super) struct Bucket(String);

    impl Bucket {
        pub(super) fn open(name: &str) -> Result<Self, Error> {
            Ok(Self(name.to_owned()))
        }

        pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
            Ok(with_bucket(&self.0, |b| b.get(key).cloned()))
        }

        pub(super) fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
            with_bucket(&self.0, |b| b.insert(key.to_owned(), value.to_owned()));
            Ok(())
        }

        pub(super) fn delete(&self, key: &str) -> Result<(), Error> {
            with_bucket(&self.0, |b| b.remove(key));
            Ok(())
        }

        pub(super) fn exists(&self, key: &str) -> Result<bool, Error> {
            Ok(with_bucket(&self.0, |b| b.contains_key(key)))
        }

        pub(super) fn keys(&self) -> Result<Vec<String>, Error> {
            Ok(with_bucket(&self.0, |b| b.keys().cloned().collect()))
        }

        pub(super) fn increment(&self, key: &str, delta: u64) -> Result<u64, Error> {
            let no_counter = || Error::Other(format!("`{key}` is no counter"));
            with_bucket(&self.0, |b| {
                let now = match b.get(key) {
                    None => 0,
                    Some(v) => u64::from_le_bytes(v.as_slice().try_into().map_err(|_| no_counter())?),
                };
                let next = now.checked_add(delta).ok_or_else(no_counter)?;
                b.insert(key.to_owned(), next.to_le_bytes().to_vec());
                Ok(next)
            })
        }
    }
}
