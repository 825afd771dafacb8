//! Tokens of tenants' own identity providers.
//!
//! Such a token names its issuer and its audience; the pair leads to one provider of one tenant, and the token acts
//! for that tenant alone, with the scopes of the roles that it names. Whatever it says of a tenant or of scopes
//! counts for nothing, and no role holds `operator`.

mod jwks;
mod providers;
mod token;

pub use jwks::{BadJwks, Jwks, KeyInfo, MAX_JWKS};
pub use providers::{Identity, Provider};
pub(crate) use providers::{Providers, Trusted, UNKNOWN_KEY};
pub(crate) use token::Parties;
