//! Data files: their names and formats.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{Code, Fault};

/// The longest name of a data file, in bytes.
pub const MAX_FILE_NAME: usize = 100;

/// A data file's name: `scores-2024.parquet`. It is never a path on the node.
///
/// ```
/// use aimass_core::data::FileName;
/// assert!("Scores_2024.parquet".parse::<FileName>().is_ok());
/// for bad in ["", ".hidden", "../x", "a/b", "a b", "x\0", "dаta.csv"] {
///     assert!(bad.parse::<FileName>().is_err(), "{bad:?}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

impl FileName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileName {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let bytes = text.as_bytes();
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
        let starts = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        if starts && bytes.len() <= MAX_FILE_NAME && bytes.iter().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        // Not echoed: it may be long, or hold control characters.
        Err(Fault::new(
            Code::InvalidName,
            "a file's name is 1 to 100 characters of a-z, A-Z, 0-9, `.`, `_` and `-`, and starts with a letter or digit",
        ))
    }
}

impl TryFrom<String> for FileName {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for FileName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A data file's name; never a path.",
            "minLength": 1,
            "maxLength": MAX_FILE_NAME,
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        })
    }
}

/// What a data file holds its rows in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// RFC 4180, with a line of names first.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

impl Format {
    /// The format that a name's ending says.
    ///
    /// ```
    /// use aimass_core::data::Format;
    /// assert_eq!(Format::of("a.jsonl"), Some(Format::Ndjson));
    /// assert_eq!(Format::of("a.zip"), None);
    /// ```
    pub fn of(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            _ => None,
        }
    }
}
