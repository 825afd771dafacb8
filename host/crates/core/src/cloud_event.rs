//! Events as the rest of the world writes them: CloudEvents 1.0, <https://github.com/cloudevents/spec>.

use serde::Serialize;
use serde_json::Value;

/// Something that happened, for whoever was told to expect it.
///
/// ```
/// use aimass_core::cloud_event::CloudEvent;
/// let event = CloudEvent {
///     id: "17".to_owned(),
///     source: "/tenants/acme".to_owned(),
///     kind: "aimass.version.created".to_owned(),
///     subject: Some("models/sum".to_owned()),
///     time: "2026-05-01T12:00:00Z".to_owned(),
///     data: serde_json::json!({ "name": "sum", "version": 3 }),
/// };
/// // In structured mode an event is one JSON document, in binary mode headers and a body.
/// assert_eq!(event.document()["specversion"], "1.0");
/// assert!(event.headers().contains(&("ce-type", "aimass.version.created".to_owned())));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CloudEvent {
    /// With `source` it names this event and no other one.
    pub id: String,
    /// Where it happened.
    pub source: String,
    /// What kind of thing happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// To what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When, RFC 3339.
    pub time: String,
    /// What else is known of it.
    pub data: Value,
}

/// The type of [`CloudEvent::data`].
pub const DATA_CONTENT_TYPE: &str = "application/json";

/// The type of [`CloudEvent::document`].
pub const DOCUMENT_CONTENT_TYPE: &str = "application/cloudevents+json";

impl CloudEvent {
    /// The event as one document (the JSON format, structured mode).
    pub fn document(&self) -> Value {
        let mut document = serde_json::to_value(self).unwrap_or_default();
        document["specversion"] = "1.0".into();
        document["datacontenttype"] = DATA_CONTENT_TYPE.into();
        document
    }

    /// The headers of the binary mode of HTTP; the body is `data`.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", encoded(&self.id)),
            ("ce-source", encoded(&self.source)),
            ("ce-type", encoded(&self.kind)),
            ("ce-time", encoded(&self.time)),
        ];
        headers.extend(self.subject.as_ref().map(|subject| ("ce-subject", encoded(subject))));
        headers
    }
}

/// A header's value (section 3.1.3.2 of the HTTP binding): what is no printable ASCII, and space, `"` and `%`, as its
/// bytes in percent-encoding.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'%';
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_holds_whatever_a_subject_holds() {
        assert_eq!(encoded("models/sum"), "models/sum");
        assert_eq!(encoded("a b\"%\u{20ac}\n"), "a%20b%22%25%E2%82%AC%0A");
    }
}
