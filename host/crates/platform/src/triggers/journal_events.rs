//! Events of the platform, derived from the journal: none is lost, and none is another one the next time.

use aimass_core::Name;
use aimass_core::cloud_event::CloudEvent;
use aimass_store::Record;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// What types of events begin with, as others see them. In a trigger it may be left out.
pub(super) const PREFIX: &str = "aimass.";

/// A kind of record that is an event for its tenant: the record's kind, the event's, and which of the record's fields
/// the event tells. Nothing else of a record leaves the platform: settings and keys stand in some.
const EVENTS: &[(&str, &str, &[&str])] = &[
    ("version_created", "version.created", &["kind", "name", "version", "digest", "size"]),
    ("version_deleted", "version.deleted", &["name", "version"]),
    ("object_deleted", "object.deleted", &["name"]),
    ("upload_failed", "upload.failed", &["id", "code", "detail"]),
    ("upload_refused", "upload.refused", &["name", "digest", "code"]),
    ("settings_replaced", "settings.replaced", &["name"]),
    ("public_access_set", "access.changed", &["name", "public"]),
    ("integrity_failed", "integrity.failed", &["what"]),
    ("egress_refused", "egress.refused", &["plugin", "reason", "what", "count"]),
    ("issuer_added", "issuer.added", &["name"]),
    ("issuer_removed", "issuer.removed", &["name"]),
    ("signer_added", "signer.added", &["signer"]),
    ("signer_removed", "signer.removed", &["signer"]),
    ("token_minted", "token.minted", &["jti", "subject", "scopes", "expires"]),
    ("invocation_given_up", "invocation.dead", &["id", "name", "code"]),
    ("alias_set", "alias.changed", &["name", "alias"]),
    ("alias_deleted", "alias.deleted", &["name", "alias"]),
    ("file_stored", "file.stored", &["name", "digest", "size"]),
    ("file_deleted", "file.deleted", &["name"]),
    ("job_ended", "job.ended", &["id", "outcome"]),
    ("quota_warned", "quota.warned", &["warning"]),
    ("trigger_set", "trigger.changed", &["name"]),
    ("trigger_deleted", "trigger.deleted", &["name"]),
    ("trigger_paused", "trigger.paused", &["name", "paused"]),
];

/// The type as it is written without what all begin with.
pub(super) fn short(kind: &str) -> &str {
    kind.strip_prefix(PREFIX).unwrap_or(kind)
}

/// Every kind of event, in the short form.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    EVENTS.iter().map(|(_, kind, _)| *kind)
}

/// The event that a record is, and for whom; none if it is none.
pub(super) fn of_record(record: &Record) -> Option<(Name, CloudEvent)> {
    let fields = serde_json::to_value(&record.event).ok()?;
    let (_, kind, told) = EVENTS.iter().find(|(recorded, ..)| fields["type"] == *recorded)?;
    let tenant: Name = fields["tenant"].as_str()?.parse().ok()?;
    let data: Map<String, Value> =
        told.iter().filter_map(|field| Some(((*field).to_owned(), fields.get(field)?.clone()))).collect();
    let event = CloudEvent {
        subject: subject(&fields),
        time: rfc3339(record.time_ms),
        ..CloudEvent::new(record.seq.to_string(), format!("/tenants/{tenant}"), format!("{PREFIX}{kind}"))
    };
    Some((tenant, event.with_data(&Value::Object(data))))
}

/// A time in milliseconds since the epoch, as events write it.
pub(super) fn rfc3339(ms: u64) -> Option<String> {
    Some(Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?.to_string())
}

/// `models/sum/versions/3`, or the name alone where the record does not say of what.
fn subject(fields: &Value) -> Option<String> {
    let name = ["name", "plugin", "signer", "id", "jti"].iter().find_map(|field| fields[*field].as_str())?;
    let folder = fields["kind"].as_str().map(|kind| format!("{kind}s/")).unwrap_or_default();
    let version = fields["version"].as_u64().map(|number| format!("/versions/{number}")).unwrap_or_default();
    Some(format!("{folder}{name}{version}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use aimass_core::event::{Actor, Event, Settings};

    fn record(event: Event) -> Record {
        Record { seq: 17, time_ms: 1_777_636_800_000, actor: Actor::system(), event, previous: [0; 32], hash: [0; 32] }
    }

    #[test]
    fn a_record_is_an_event_without_what_is_nobodys_business() {
        let (tenant, name): (Name, Name) = ("acme".parse().unwrap(), "hello".parse().unwrap());
        let settings = Settings::from([("key".to_owned(), "secret".to_owned())]);
        let replaced = Event::SettingsReplaced { tenant: tenant.clone(), name, settings, number: 0, sealed: None };
        let (whose, event) = of_record(&record(replaced)).unwrap();
        assert_eq!((whose, event.id.as_str(), event.kind.as_str()), (tenant, "17", "aimass.settings.replaced"));
        assert_eq!(event.time.as_deref(), Some("2026-05-01T12:00:00Z"));
        assert_eq!(event.document()["data"], serde_json::json!({ "name": "hello" }));
        assert!(!event.document().to_string().contains("secret"));
    }

    #[test]
    fn what_concerns_no_tenant_is_no_event() {
        assert!(of_record(&record(Event::SigningKeyRotated { kid: "k".to_owned() })).is_none());
        assert!(of_record(&record(Event::TokenRevoked { jti: "j".to_owned() })).is_none());
    }
}
