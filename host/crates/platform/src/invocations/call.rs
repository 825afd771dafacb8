//! An accepted call at rest: the HTTP request as it came, who sent it, and what was answered.

use aimass_auth::Scopes;
use aimass_core::{Fault, Name, Result};
use aimass_store::Parts;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Caller;

/// A request that runs later, as it came. Without what belongs to the connection, and without the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names and values of the header fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(skip)]
    pub body: Bytes,
}

/// What a call was answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Names and values of the header fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(skip)]
    pub body: Bytes,
}

/// On whose behalf a call runs, as its token said when it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) subject: String,
    pub(crate) jti: String,
    /// The scopes, as in a token.
    pub(crate) scope: String,
}

impl Holder {
    pub(crate) fn of(caller: &Caller) -> Self {
        Self { subject: caller.subject.clone(), jti: caller.jti.clone(), scope: caller.scopes.to_string() }
    }

    /// The caller again. A token that ended or was revoked meanwhile changes nothing: what was accepted is owed.
    pub(crate) fn caller(&self, tenant: Name) -> Caller {
        let scopes = Scopes::from_claim(&self.scope);
        aimass_auth::resumed_caller(tenant, self.subject.clone(), self.jti.clone(), scopes)
    }
}

/// What is kept of an accepted call beside its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub(super) request: StoredRequest,
    pub(super) by: Holder,
    /// How many guests' calls stand above it.
    #[serde(default)]
    pub(super) depth: u32,
    /// The endpoint that is told of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) callback: Option<Name>,
}

impl Accepted {
    pub(super) fn parts(mut self) -> Result<Parts> {
        let body = std::mem::take(&mut self.request.body);
        Ok(Parts { head: head(&self)?, body })
    }

    pub(super) fn read(parts: Parts) -> Result<Self> {
        let mut accepted: Self = serde_json::from_slice(&parts.head).map_err(Fault::internal)?;
        accepted.request.body = parts.body;
        Ok(accepted)
    }
}

impl StoredAnswer {
    pub(crate) fn parts(mut self) -> Result<Parts> {
        let body = std::mem::take(&mut self.body);
        Ok(Parts { head: head(&self)?, body })
    }

    pub(crate) fn read(parts: Parts) -> Result<Self> {
        let mut answer: Self = serde_json::from_slice(&parts.head).map_err(Fault::internal)?;
        answer.body = parts.body;
        Ok(answer)
    }
}

fn head(value: &impl Serialize) -> Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from).map_err(Fault::internal)
}
