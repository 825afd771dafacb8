//! Who is calling: signed tokens, the keys that sign them, scopes, and the `Tenant` handle.
//!
//! A token is a JWT signed with Ed25519 (RFC 8037). It is checked once, cached until it expires, and forgotten at
//! once when it or its key is revoked. Whatever is wrong with a token, the caller learns the same: that a valid one
//! is required. A tenant's own identity providers may sign tokens as well ([`Auth::set_identity`]): these act for
//! that tenant alone, with what the roles that they name allow.
//!
//! ```
//! use std::time::Duration;
//! use aimass_auth::{Auth, AuthConfig, Grant, Scope};
//! # let dir = tempfile::tempdir().unwrap();
//! let auth = Auth::open(dir.path(), AuthConfig::new("https://aimass.example", "aimass"))?;
//! let minted = auth.mint(Grant {
//!     subject: "build-server".to_owned(),
//!     tenant: Some("acme".parse()?),
//!     scopes: [Scope::PluginsWrite].into_iter().collect(),
//!     ttl: Duration::from_secs(3600),
//! })?;
//! let caller = auth.verify(&minted.token)?;
//! assert_eq!(caller.tenant()?.name().as_str(), "acme");
//! assert!(caller.require(Scope::PluginsWrite).is_ok());
//! assert!(caller.require(Scope::Operator).is_err());
//!
//! auth.revoke(&minted.jti, minted.expires);
//! assert!(auth.verify(&minted.token).is_err());
//! # Ok::<(), aimass_core::Fault>(())
//! ```

mod auth;
mod caller;
mod checkpoint;
mod claims;
mod files;
mod foreign;
mod keys;
mod revoked;
mod role;
mod scope;
mod sealed;
mod signing;
#[cfg(test)]
mod tests;
mod webhook;

pub use auth::{Auth, AuthConfig, Grant, MAX_LEEWAY, MAX_TOKEN, Minted, Refused};
pub use caller::Caller;
pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use foreign::{BadJwks, Identity, Jwks, KeyInfo, MAX_JWKS, Provider};
pub use keys::{KeyState, NodeKey};
pub use role::Role;
pub use scope::{Scope, Scopes, UnknownScope};
pub use sealed::SealingKey;
pub use signing::{PluginSignature, SignerKey, SigningKey};
pub use webhook::{InvalidWebhook, WEBHOOK_TOLERANCE, WebhookSecret};

/// 32 bytes from the system's generator, for a key of whoever asks.
///
/// # Errors
/// `internal` if the system gives none.
pub fn random_key() -> aimass_core::Result<[u8; 32]> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| aimass_core::Fault::internal("the system gives no random numbers"))?;
    Ok(key)
}

/// The caller of a request that was accepted under these rights, and runs later: a token that ended meanwhile changes
/// nothing of what is owed.
pub fn resumed_caller(tenant: aimass_core::Name, subject: String, jti: String, scopes: Scopes) -> Caller {
    Caller { subject, jti, tenant: Some(resumed(tenant)), scopes, expires: u64::MAX, kid: None }
}

/// The handle of a tenant whose own request, accepted and recorded under its name, goes on after a restart.
pub fn resumed(tenant: aimass_core::Name) -> aimass_core::Tenant {
    aimass_core::Tenant::vouched_for(tenant)
}
