//! Events as the rest of the world writes them: CloudEvents 1.0, <https://github.com/cloudevents/spec>.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Fault, Result};

/// The type of [`CloudEvent::document`].
pub const DOCUMENT_CONTENT_TYPE: &str = "application/cloudevents+json";

/// The prefix of headers that hold attributes.
const HEADER: &str = "ce-";

/// Bytes of an attribute.
const MAX_ATTRIBUTE: usize = 2 << 10;

/// Attributes besides those that are known.
const MAX_EXTENSIONS: usize = 32;

/// Something that happened, for whoever was told to expect it.
///
/// ```
/// use aimass_core::cloud_event::CloudEvent;
/// let event = CloudEvent::new("17", "/tenants/acme", "aimass.version.created")
///     .with_data(&serde_json::json!({ "name": "sum", "version": 3 }));
/// // In structured mode an event is one JSON document, in binary mode headers and a body.
/// let document = event.document();
/// assert_eq!((&document["specversion"], &document["data"]["name"]), (&"1.0".into(), &"sum".into()));
/// assert_eq!(CloudEvent::from_document(&document)?, event);
/// assert!(event.headers().contains(&("ce-type".to_owned(), "aimass.version.created".to_owned())));
/// assert_eq!(CloudEvent::from_headers(event.headers(), event.data.clone())?, event);
/// # Ok::<(), aimass_core::Fault>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudEvent {
    /// With `source` it names this event and no other one.
    pub id: String,
    /// Where it happened, a URI reference.
    pub source: String,
    /// What kind of thing happened (`type`).
    pub kind: String,
    /// To what.
    pub subject: Option<String>,
    /// When, RFC 3339.
    pub time: Option<String>,
    /// What the data is: a media type (`datacontenttype`).
    pub data_content_type: Option<String>,
    /// The data's schema, a URI (`dataschema`).
    pub data_schema: Option<String>,
    /// Attributes besides, by name.
    pub extensions: BTreeMap<String, String>,
    /// What else is known of it; empty if nothing is.
    pub data: Vec<u8>,
}

impl CloudEvent {
    /// An event with what every one has.
    pub fn new(id: impl Into<String>, source: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { id: id.into(), source: source.into(), kind: kind.into(), ..Self::default() }
    }

    /// The same with data, as JSON.
    #[must_use]
    pub fn with_data(mut self, data: &Value) -> Self {
        self.data_content_type = Some("application/json".to_owned());
        self.data = data.to_string().into_bytes();
        self
    }

    /// The event as one document (the JSON format, structured mode). Data that is no JSON stands in `data_base64`.
    pub fn document(&self) -> Value {
        let mut document: Map<String, Value> =
            self.attributes().map(|(name, value)| (name.to_owned(), value.into())).collect();
        document.insert("specversion".to_owned(), "1.0".into());
        if !self.data.is_empty() {
            let json = self.is_json().then(|| serde_json::from_slice(&self.data).ok()).flatten();
            match json {
                Some(json) => document.insert("data".to_owned(), json),
                None => document.insert("data_base64".to_owned(), base64(&self.data).into()),
            };
        }
        Value::Object(document)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// `invalid_request` that says what is wrong.
    pub fn from_document(document: &Value) -> Result<Self> {
        let fields = document.as_object().ok_or_else(|| Fault::invalid("an event is a JSON object"))?;
        let mut event = Self::default();
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("data", data) => event.data = data.to_string().into_bytes(),
                ("data_base64", Value::String(text)) => event.data = unbase64(text)?,
                (_, Value::Null) => {}
                (name, Value::String(text)) => event.set(name, text.clone())?,
                // Attributes are also numbers and truth values.
                (name, value @ (Value::Number(_) | Value::Bool(_))) => event.set(name, value.to_string())?,
                (name, _) => return Err(Fault::invalid(format!("the attribute `{name:.40}` is no text"))),
            }
        }
        if fields.contains_key("data") && event.data_content_type.is_none() {
            event.data_content_type = Some("application/json".to_owned());
        }
        event.checked(fields.get("specversion").and_then(Value::as_str))
    }

    /// The headers of the binary mode of HTTP; the body is `data`.
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![(format!("{HEADER}specversion"), "1.0".to_owned())];
        for (name, value) in self.attributes() {
            match name {
                "datacontenttype" => headers.push(("content-type".to_owned(), value.to_owned())),
                name => headers.push((format!("{HEADER}{name}"), encoded(value))),
            }
        }
        headers
    }

    /// Reads an event in binary mode; headers with other names are somebody else's.
    ///
    /// # Errors
    /// `invalid_request` that says what is wrong.
    pub fn from_headers(headers: impl IntoIterator<Item = (String, String)>, data: Vec<u8>) -> Result<Self> {
        let (mut event, mut version) = (Self { data, ..Self::default() }, None);
        for (name, value) in headers {
            match name.strip_prefix(HEADER) {
                Some("specversion") => version = Some(value),
                Some(name) => event.set(name, decoded(&value)?)?,
                None if name == "content-type" => event.data_content_type = Some(value),
                None => {}
            }
        }
        event.checked(version.as_deref())
    }

    /// Name and value of each attribute but `specversion`.
    fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let known = [
            ("id", Some(&self.id)),
            ("source", Some(&self.source)),
            ("type", Some(&self.kind)),
            ("subject", self.subject.as_ref()),
            ("time", self.time.as_ref()),
            ("datacontenttype", self.data_content_type.as_ref()),
            ("dataschema", self.data_schema.as_ref()),
        ];
        let known = known.into_iter().filter_map(|(name, value)| Some((name, value?.as_str())));
        known.chain(self.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    fn set(&mut self, name: &str, value: String) -> Result<()> {
        if value.len() > MAX_ATTRIBUTE {
            return Err(Fault::invalid(format!("an event's attribute has {MAX_ATTRIBUTE} bytes at most")));
        }
        match name {
            "specversion" => {}
            "id" => self.id = value,
            "source" => self.source = value,
            "type" => self.kind = value,
            "subject" => self.subject = Some(value),
            "time" => self.time = Some(value),
            "datacontenttype" => self.data_content_type = Some(value),
            "dataschema" => self.data_schema = Some(value),
            name => {
                let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
                if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                    return Err(Fault::invalid("an event's attribute is named with a-z and 0-9"));
                }
                if self.extensions.len() == MAX_EXTENSIONS {
                    return Err(Fault::invalid(format!("an event has {MAX_EXTENSIONS} further attributes at most")));
                }
                self.extensions.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    fn checked(self, version: Option<&str>) -> Result<Self> {
        if version != Some("1.0") {
            return Err(Fault::invalid("this is no event: `specversion` is to be 1.0"));
        }
        for (name, value) in [("id", &self.id), ("source", &self.source), ("type", &self.kind)] {
            if value.is_empty() {
                return Err(Fault::invalid(format!("the event lacks `{name}`")));
            }
        }
        Ok(self)
    }

    fn is_json(&self) -> bool {
        let kind = self.data_content_type.as_deref().unwrap_or("application/json");
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind == "application/json" || kind.ends_with("+json")
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn unbase64(text: &str) -> Result<Vec<u8>> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    bytes.map_err(|_| Fault::invalid("`data_base64` is not valid"))
}

/// A header's value (section 3.1.3.2 of the HTTP binding): what is no printable ASCII, and space, `"` and `%`, as its
/// bytes in percent-encoding.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'%';
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn decoded(text: &str) -> Result<String> {
    let bad = || Fault::invalid("a header of the event is not valid");
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or_else(bad)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| bad())?;
        bytes.push(byte[0]);
        rest = behind;
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn full() -> CloudEvent {
        CloudEvent {
            subject: Some("a b\"%\u{20ac}\n".to_owned()),
            time: Some("2026-05-01T12:00:00Z".to_owned()),
            data_schema: Some("https://example.com/schema".to_owned()),
            extensions: [("traceparent".to_owned(), "00-1".to_owned())].into(),
            ..CloudEvent::new("1", "/x", "y").with_data(&json!([1]))
        }
    }

    #[test]
    fn both_modes_keep_everything() {
        let event = full();
        assert_eq!(CloudEvent::from_document(&event.document()).unwrap(), event);
        let headers = event.headers();
        assert!(headers.contains(&("ce-subject".to_owned(), "a%20b%22%25%E2%82%AC%0A".to_owned())), "{headers:?}");
        assert_eq!(CloudEvent::from_headers(headers, event.data.clone()).unwrap(), event);
    }

    #[test]
    fn data_that_is_no_json_is_kept() {
        let mut event = full();
        (event.data, event.data_content_type) = (vec![0xff, 0], Some("image/png".to_owned()));
        assert_eq!(event.document()["data_base64"], "/wA=");
        assert_eq!(CloudEvent::from_document(&event.document()).unwrap(), event);
        event.data_content_type = Some("application/json".to_owned());
        assert_eq!(event.document()["data_base64"], "/wA=", "it only claims to be");
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let good = json!({ "specversion": "1.0", "id": "1", "source": "/x", "type": "y" });
        assert!(CloudEvent::from_document(&good).is_ok());
        for (field, value) in [
            ("specversion", json!("0.3")),
            ("specversion", json!(null)),
            ("id", json!("")),
            ("source", json!(null)),
            ("type", json!({})),
            ("data_base64", json!("!")),
            ("Upper", json!("x")),
            ("subject", json!("x".repeat(3_000))),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            assert!(CloudEvent::from_document(&bad).is_err(), "{bad}");
        }
        assert!(CloudEvent::from_document(&json!([])).is_err());
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for bad in [header("ce-subject", "%4"), header("ce-subject", "%ff"), header("ce-a-b", "x")] {
            let mut headers = full().headers();
            headers.push(bad);
            assert!(CloudEvent::from_headers(headers, vec![]).is_err());
        }
    }
}
