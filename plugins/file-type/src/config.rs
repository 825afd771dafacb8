//! The package's two JSON files, of which only what is needed is kept, borrowed from the text.

use std::collections::BTreeMap;
use std::fmt;

use aimass_sdk::Fault;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

/// `config.min.json`: how the model wants its input, and what its scores mean.
#[derive(Debug, Deserialize)]
pub(crate) struct Config<'a> {
    /// How many bytes of the beginning go in.
    pub(crate) beg_size: usize,
    /// How many of the end.
    pub(crate) end_size: usize,
    /// How many bytes at either end are looked at, white space included.
    pub(crate) block_size: usize,
    /// What stands where the file has no more bytes.
    pub(crate) padding_token: i32,
    /// Below this many bytes the model is not asked.
    pub(crate) min_file_size_for_dl: usize,
    /// The score that a kind without a threshold of its own must reach.
    pub(crate) medium_confidence_threshold: f64,
    /// The kinds, in the order of the scores.
    #[serde(borrow)]
    pub(crate) target_labels_space: Vec<&'a str>,
    /// The score that a kind must reach.
    #[serde(borrow)]
    pub(crate) thresholds: BTreeMap<&'a str, f64>,
    /// Kinds of the model that are told by another name.
    #[serde(borrow)]
    pub(crate) overwrite_map: BTreeMap<&'a str, &'a str>,
    mid_size: usize,
    use_inputs_at_offsets: bool,
}

impl<'a> Config<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Fault> {
        let config: Self = serde_json::from_str(text).map_err(|e| unreadable("config", &e))?;
        let block = 1..=1 << 20;
        let fits = |size| (1..=config.block_size).contains(&size);
        let supported = config.mid_size == 0
            && !config.use_inputs_at_offsets
            && block.contains(&config.block_size)
            && fits(config.beg_size)
            && fits(config.end_size)
            && (1..=config.beg_size).contains(&config.min_file_size_for_dl);
        match supported {
            true => Ok(config),
            false => Err(Fault::internal("the setting `config` is of a model that this plugin does not know")),
        }
    }
}

/// What `content_types_kb.min.json` says of a kind of file.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct ContentType<'a> {
    pub(crate) mime_type: Option<&'a str>,
    pub(crate) group: Option<&'a str>,
    pub(crate) is_text: bool,
}

impl<'a> ContentType<'a> {
    pub(crate) fn mime_type(&self) -> &'a str {
        self.mime_type.unwrap_or(if self.is_text { "text/plain" } else { "application/octet-stream" })
    }

    pub(crate) fn group(&self) -> &'a str {
        self.group.unwrap_or("unknown")
    }
}

/// The kinds of file that one call can answer with.
#[derive(Debug)]
pub(crate) struct ContentTypes<'a>(BTreeMap<&'a str, ContentType<'a>>);

impl<'a> ContentTypes<'a> {
    /// Reads the kinds `wanted`, and those that they may fall back to; skips the other hundreds.
    pub(crate) fn parse(text: &'a str, wanted: impl Iterator<Item = &'a str>) -> Result<Self, Fault> {
        let wanted: Vec<&str> = wanted.chain(["txt", "unknown"]).collect();
        let mut json = serde_json::Deserializer::from_str(text);
        let kinds = Wanted(&wanted).deserialize(&mut json).map_err(|e| unreadable("content_types", &e))?;
        Ok(Self(kinds))
    }

    pub(crate) fn get(&self, label: &str) -> Result<ContentType<'a>, Fault> {
        let missing = || Fault::internal(format!("the setting `content_types` does not know `{label}`"));
        self.0.get(label).copied().ok_or_else(missing)
    }
}

fn unreadable(setting: &str, error: &serde_json::Error) -> Fault {
    Fault::internal(format!("the setting `{setting}` is not as expected: {error}"))
}

struct Wanted<'w>(&'w [&'w str]);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = BTreeMap<&'de str, ContentType<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = BTreeMap<&'de str, ContentType<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("content types by label")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut kinds = BTreeMap::new();
        while let Some(label) = map.next_key::<&str>()? {
            if self.0.contains(&label) {
                kinds.insert(label, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(kinds)
    }
}
