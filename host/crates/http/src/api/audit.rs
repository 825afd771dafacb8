//! `/api/v1/audit`: the audit log, for a tenant its own part; its chain, for the operator.

use std::sync::Arc;

use aimass_core::{Fault, Name, Result};
use aimass_platform::{AuditDocument, AuditQuery, ChainReport, Page, SignedCheckpoint};
use axum::Json as Answer;
use axum::extract::State;
use http::HeaderName;
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::App;
use crate::extract::{Ask, Query};
use crate::problem::Rejection;

/// `?after=…&limit=…&tenant=…&actor=…&kind=…&since_ms=…&until_ms=…`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// Records behind this number: `next` of the page before.
    #[serde(default)]
    after: u64,
    /// At most so many; 100 at most.
    limit: Option<usize>,
    /// What concerns this tenant.
    #[schemars(with = "Option<Name>")]
    tenant: Option<String>,
    /// By this subject.
    actor: Option<String>,
    /// Of this kind, such as `version_created`.
    kind: Option<String>,
    /// Not before, milliseconds since the epoch.
    since_ms: Option<u64>,
    /// Not after, milliseconds since the epoch.
    until_ms: Option<u64>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(filter): Query<Filter>,
) -> Result<Answer<Page<AuditDocument>>, Rejection> {
    let Filter { after, limit, tenant, actor, kind, since_ms, until_ms } = filter;
    let tenant = tenant.map(|name| name.parse()).transpose()?;
    let query = AuditQuery { after, limit, tenant, actor, kind, since_ms, until_ms };
    Ok(Answer(app.platform().audit(ask.asked(), query).await?))
}

/// `?records=…&head=…`: what a checkpoint said; both or none.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noted {
    /// The number of a record that was noted earlier.
    records: Option<u64>,
    /// That record's hash.
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    head: Option<String>,
}

pub(crate) async fn verify(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(noted): Query<Noted>,
) -> Result<Answer<ChainReport>, Rejection> {
    let noted = match (noted.records, noted.head) {
        (None, None) => None,
        (Some(records), Some(head)) => Some((records, hash(&head)?)),
        _ => return Err(Fault::invalid("`records` and `head` are given together").into()),
    };
    Ok(Answer(app.platform().verify_audit(ask.asked(), noted).await?))
}

pub(crate) async fn checkpoint(State(app): State<Arc<App>>, ask: Ask) -> Result<Answer<SignedCheckpoint>, Rejection> {
    Ok(Answer(app.platform().audit_checkpoint(ask.asked())?))
}

/// `?after=…`: the number of the last line of the page before.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct After {
    /// The number of the last line of the page before.
    #[serde(default)]
    after: u64,
}

pub(crate) async fn export(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(After { after }): Query<After>,
) -> Result<([(HeaderName, &'static str); 1], String), Rejection> {
    let lines = app.platform().audit_export(ask.asked(), after).await?;
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines))
}

/// 32 bytes in hex.
fn hash(text: &str) -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| Fault::invalid("`head` is 64 hex digits"))?;
    Ok(bytes)
}
