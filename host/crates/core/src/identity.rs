//! Identity providers that tenants bring along, and roles: what the journal records of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The claim that names a holder's roles where the tenant says nothing else.
pub const DEFAULT_ROLES_CLAIM: &str = "roles";

/// Where a provider's public keys come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// They stand here: a JWK set (RFC 7517 §5).
    Jwks(Value),
    /// They are fetched from this address, again and again.
    JwksUrl(String),
}

/// An identity provider whose tokens a tenant accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuer {
    /// The `iss` claim of its tokens, exactly.
    pub issuer: String,
    /// The `aud` claim that its tokens bear for us, exactly.
    pub audience: String,
    /// Its public keys.
    pub keys: KeySource,
    /// The claim that names the holder's roles; a path with dots for a claim inside of others.
    pub roles_claim: String,
}

/// What is taken back of a provider's, whatever the provider says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// All that the key of this id signs.
    Kid(String),
    /// All tokens of this `sub`.
    Subject(String),
}
