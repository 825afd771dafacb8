//! Names that tenants choose, and how a call refers to a version.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Code, Fault};

/// The longest name, in bytes: a DNS label, so that a name can become a host name.
pub const MAX_NAME: usize = 63;

/// A tenant's, plugin's, model's or alias's name: a DNS label that starts with a letter.
///
/// Only `a`–`z`, `0`–`9` and `-`, so no two names look alike, and none can be a path.
///
/// ```
/// use aimass_core::Name;
/// assert!("file-type".parse::<Name>().is_ok());
/// for bad in ["", "../x", "File", "x\0", "-x", "x-", "1x", "fіle"] {
///     assert!(bad.parse::<Name>().is_err(), "{bad:?}");
/// }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let bytes = text.as_bytes();
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let valid = !bytes.is_empty()
            && bytes.len() <= MAX_NAME
            && bytes[0].is_ascii_lowercase()
            && bytes[bytes.len() - 1] != b'-'
            && bytes.iter().all(plain);
        if valid {
            return Ok(Self(text.into()));
        }
        // The name is not echoed: it may be long, or hold control characters.
        Err(Fault::new(
            Code::InvalidName,
            "a name is 1 to 63 characters of a-z, 0-9 and -, starts with a letter and does not end with -",
        ))
    }
}

impl TryFrom<String> for Name {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The alias that a bare name means where there is one.
pub const DEFAULT_ALIAS: &str = "prod";

/// Which version of an object a call means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// What the alias `prod` says, if there is one, else the newest version.
    Latest,
    /// `name@3`: that version.
    Version(u64),
    /// `name:prod`: whatever the alias points to.
    Alias(Name),
}

/// `name`, `name@3` or `name:prod`, as in a `/fn` path or `wasi:nn`'s `load-by-name`.
///
/// ```
/// use aimass_core::{ObjectRef, Selector};
/// let r: ObjectRef = "file-type@3".parse()?;
/// assert_eq!(r.name.as_str(), "file-type");
/// assert_eq!(r.selector, Selector::Version(3));
/// assert!("file-type@0".parse::<ObjectRef>().is_err());
/// # Ok::<(), aimass_core::Fault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectRef {
    /// The object's name.
    pub name: Name,
    /// Which of its versions.
    pub selector: Selector,
}

impl FromStr for ObjectRef {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if let Some((name, version)) = text.split_once('@') {
            return Ok(Self { name: name.parse()?, selector: Selector::Version(version_number(version)?) });
        }
        if let Some((name, alias)) = text.split_once(':') {
            return Ok(Self { name: name.parse()?, selector: Selector::Alias(alias.parse()?) });
        }
        Ok(Self { name: text.parse()?, selector: Selector::Latest })
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Selector::Latest => write!(f, "{}", self.name),
            Selector::Version(n) => write!(f, "{}@{n}", self.name),
            Selector::Alias(a) => write!(f, "{}:{a}", self.name),
        }
    }
}

/// Reads a version number: decimal, from 1, no sign, no leading zero.
pub fn version_number(text: &str) -> Result<u64, Fault> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    match text.parse() {
        Ok(n) if plain => Ok(n),
        _ => Err(Fault::new(Code::InvalidName, "a version is a number from 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f09_hostile_names_are_refused() {
        let long = "a".repeat(10 * 1024);
        for bad in
            ["", ".", "..", "../x", "a/b", "a\0b", "A", "a_b", "a b", "é", "аbc", "a\u{200b}b", "-a", "a-", &long]
        {
            let fault = bad.parse::<Name>().expect_err(bad);
            assert_eq!(fault.code(), Code::InvalidName);
            assert!(fault.detail().len() < 200, "a hostile name is not echoed");
        }
        assert!("a".repeat(MAX_NAME).parse::<Name>().is_ok());
        assert!("a".repeat(MAX_NAME + 1).parse::<Name>().is_err());
    }

    #[test]
    fn references_round_trip() {
        for text in ["a", "a@7", "a:prod"] {
            assert_eq!(text.parse::<ObjectRef>().unwrap().to_string(), text);
        }
        for bad in ["a@", "a@+1", "a@01", "a@x", "a:", "a:b:c", "@1", "a@99999999999999999999"] {
            assert!(bad.parse::<ObjectRef>().is_err(), "{bad}");
        }
    }
}
