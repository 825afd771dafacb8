//! A tenant's identity providers.

use std::net::IpAddr;

use aimass_auth::{Jwks, KeyInfo, MAX_JWKS, Role};
use aimass_core::event::Event;
use aimass_core::identity::{DEFAULT_ROLES_CLAIM, Issuer, KeySource, Revocation};
use aimass_core::{Code, Fault, Name, Result};
use aimass_egress::{Destination, Host};
use aimass_store::IssuerRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

/// Providers of one tenant.
const MAX_ISSUERS: usize = 16;

/// Keys and subjects that are revoked of one provider.
const MAX_REVOCATIONS: usize = 10_000;

/// Revocations that are shown of one provider.
const SHOWN_REVOCATIONS: usize = 100;

/// The longest `iss` and address, bytes.
const MAX_URL: usize = 512;

/// The longest other text of a provider's, bytes.
const MAX_TEXT: usize = 255;

/// What a provider should be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerRequest {
    /// What the tenant calls it.
    #[schemars(with = "Name")]
    pub name: String,
    /// The `iss` claim of its tokens, exactly.
    pub issuer: String,
    /// The `aud` claim that its tokens bear for this platform, exactly.
    pub audience: String,
    /// Its public keys as a JWK set, or else:
    #[serde(default)]
    pub jwks: Option<Value>,
    /// the address that they are fetched from.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// The claim that names the holder's roles, `roles` if nothing is said; with dots for a claim inside of others.
    #[serde(default)]
    pub roles_claim: Option<String>,
}

/// What is revoked of a provider, or accepted again: one of the two.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevocationWish {
    /// A key's id.
    #[serde(default)]
    pub kid: Option<String>,
    /// A subject.
    #[serde(default)]
    pub subject: Option<String>,
}

/// A provider's key as the API shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KeyDocument {
    /// Its id.
    pub kid: String,
    /// The one algorithm that it is for.
    pub algorithm: &'static str,
    /// Whether it is revoked.
    pub revoked: bool,
}

/// A provider as the API shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct IssuerDocument {
    /// What the tenant calls it.
    pub name: Name,
    /// The `iss` claim of its tokens.
    pub issuer: String,
    /// The `aud` claim of its tokens.
    pub audience: String,
    /// The claim that names roles.
    pub roles_claim: String,
    /// Where its keys are fetched from; none if they were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// The keys that its tokens are checked with now.
    pub keys: Vec<KeyDocument>,
    /// When they were fetched, milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched_ms: Option<u64>,
    /// Why the last attempt to fetch them failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch_error: Option<String>,
    /// What is revoked of it: the first hundred.
    pub revoked: Vec<Revocation>,
    /// When it was registered, milliseconds since the epoch.
    pub created_ms: u64,
}

impl Platform {
    /// Registers an identity provider: from now on its tokens act for this tenant, with the roles that they name.
    ///
    /// Its tokens can name any role, so only who may do everything in the tenant can do this.
    ///
    /// # Errors
    /// `invalid_request` for what cannot be, also if the address has no keys; `conflict` if the name is taken, or the
    /// issuer with this audience; `insufficient_scope`.
    pub async fn add_issuer(&self, asked: Asked<'_>, request: IssuerRequest) -> Result<IssuerDocument> {
        let tenant = asked.tenant(Scope::IdentityWrite)?.name().clone();
        for scope in Role::Admin.scopes().iter() {
            asked.by.require(scope)?;
        }
        let name: Name = request.name.parse()?;
        let issuer = checked(request, self.auth.issuer())?;
        let came = match &issuer.keys {
            KeySource::Jwks(_) => None,
            KeySource::JwksUrl(url) => Some((url.clone(), self.provider_keys.fetch(url).await?)),
        };
        let event = Event::IssuerAdded { tenant: tenant.clone(), name: name.clone(), issuer };
        let whose = tenant.clone();
        self.store
            .write(asked.actor(), move |state| match state.issuers(&whose, None, MAX_ISSUERS)?.len() {
                MAX_ISSUERS => Err(Fault::new(Code::Conflict, format!("a tenant has {MAX_ISSUERS} issuers at most"))),
                _ => Ok((Some(event), ())),
            })
            .await?;
        self.identity_changed(&tenant)?;
        if let Some((url, came)) = came {
            self.provider_keys.add_fetched(&self.auth, &tenant, &name, &url, came);
        }
        self.show_issuer(&tenant, &name)
    }

    /// Lists the tenant's identity providers by name.
    ///
    /// # Errors
    /// What reading the store says.
    pub fn issuers(
        &self,
        asked: Asked<'_>,
        after: Option<&Name>,
        limit: Option<usize>,
    ) -> Result<Page<IssuerDocument>> {
        let tenant = asked.tenant(Scope::IdentityRead)?.name();
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().issuers(tenant, after, limit + 1)?;
        let shown: Vec<_> = rows.into_iter().map(|row| self.issuer_document(tenant, row)).collect::<Result<_>>()?;
        Ok(Page::cut(shown.into_iter(), limit, |issuer: &IssuerDocument| issuer.name.to_string()))
    }

    /// Shows an identity provider with its keys and what is revoked of it.
    ///
    /// # Errors
    /// `not_found`.
    pub fn issuer(&self, asked: Asked<'_>, name: &Name) -> Result<IssuerDocument> {
        self.show_issuer(asked.tenant(Scope::IdentityRead)?.name(), name)
    }

    /// Removes an identity provider: when this returns its tokens are refused. What was revoked of it is forgotten.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn remove_issuer(&self, asked: Asked<'_>, name: Name) -> Result<()> {
        let tenant = asked.tenant(Scope::IdentityWrite)?.name().clone();
        let event = Event::IssuerRemoved { tenant: tenant.clone(), name: name.clone() };
        self.store.write(asked.actor(), move |_| Ok((Some(event), ()))).await?;
        self.provider_keys.remove(&tenant, &name);
        self.identity_changed(&tenant)
    }

    /// Refuses all tokens of a provider's key or subject (or, not `revoked`, accepts them again): when this returns it
    /// is so, also for tokens that were accepted before.
    ///
    /// # Errors
    /// `not_found` for the provider; `invalid_request` unless the wish names one thing.
    pub async fn revoke_of_issuer(
        &self,
        asked: Asked<'_>,
        name: Name,
        wish: RevocationWish,
        revoked: bool,
    ) -> Result<IssuerDocument> {
        let tenant = asked.tenant(Scope::IdentityWrite)?.name().clone();
        let (whose, of) = (tenant.clone(), name.clone());
        self.store
            .write(asked.actor(), move |state| {
                state.issuer(&whose, &of)?.ok_or_else(Fault::not_found)?;
                let revocation = match wish {
                    RevocationWish { kid: Some(kid), subject: None } => Revocation::Kid(text("kid", kid, MAX_TEXT)?),
                    RevocationWish { kid: None, subject: Some(subject) } => {
                        Revocation::Subject(text("subject", subject, MAX_TEXT)?)
                    }
                    _ => return Err(Fault::invalid("name a `kid` or a `subject`")),
                };
                let known = state.revocations(&whose, &of, MAX_REVOCATIONS)?;
                if revoked && known.len() == MAX_REVOCATIONS {
                    let detail = format!("an issuer has {MAX_REVOCATIONS} revocations at most: remove it instead");
                    return Err(Fault::new(Code::Conflict, detail));
                }
                let changes = known.contains(&revocation) != revoked;
                let event = Event::IssuerRevocationSet { tenant: whose, name: of, revocation, revoked };
                Ok((changes.then_some(event), ()))
            })
            .await?;
        self.identity_changed(&tenant)?;
        self.show_issuer(&tenant, &name)
    }

    fn show_issuer(&self, tenant: &Name, name: &Name) -> Result<IssuerDocument> {
        let row = self.store.state().issuer(tenant, name)?.ok_or_else(Fault::not_found)?;
        self.issuer_document(tenant, row)
    }

    fn issuer_document(&self, tenant: &Name, row: IssuerRow) -> Result<IssuerDocument> {
        let state = self.store.state();
        let mut revoked = state.revocations(tenant, &row.name, usize::MAX)?;
        let is_revoked = |kid: &str| revoked.iter().any(|r| matches!(r, Revocation::Kid(revoked) if revoked == kid));
        let shown =
            |key: KeyInfo| KeyDocument { revoked: is_revoked(&key.kid), kid: key.kid, algorithm: key.algorithm };
        let keys = self.auth.provider_keys(tenant, &row.name).into_iter().map(shown).collect();
        revoked.truncate(SHOWN_REVOCATIONS);
        let fetched = self.provider_keys.fetched(tenant, &row.name).unwrap_or_default();
        let IssuerRow { name, issuer: Issuer { issuer, audience, keys: source, roles_claim }, created_ms } = row;
        let jwks_url = match source {
            KeySource::JwksUrl(url) => Some(url),
            KeySource::Jwks(_) => None,
        };
        let (fetched_ms, fetch_error) = (fetched.fetched_ms, fetched.error);
        Ok(IssuerDocument {
            name,
            issuer,
            audience,
            roles_claim,
            jwks_url,
            keys,
            fetched_ms,
            fetch_error,
            revoked,
            created_ms,
        })
    }
}

fn checked(request: IssuerRequest, own: &str) -> Result<Issuer> {
    let issuer = text("issuer", request.issuer, MAX_URL)?;
    if issuer == own {
        return Err(Fault::invalid("this issuer is the node itself"));
    }
    let keys = match (request.jwks, request.jwks_url) {
        (Some(document), None) => {
            let json = document.to_string();
            if json.len() > MAX_JWKS {
                return Err(Fault::invalid(format!("`jwks` has {MAX_JWKS} bytes at most")));
            }
            Jwks::parse(json.as_bytes()).map_err(|why| Fault::invalid(format!("`jwks`: {why}")))?;
            KeySource::Jwks(document)
        }
        (None, Some(url)) => KeySource::JwksUrl(address(url)?),
        _ => return Err(Fault::invalid("give the keys as `jwks`, or their address as `jwks_url`")),
    };
    Ok(Issuer {
        issuer,
        audience: text("audience", request.audience, MAX_TEXT)?,
        keys,
        roles_claim: match request.roles_claim {
            Some(claim) => text("roles_claim", claim, MAX_TEXT)?,
            None => DEFAULT_ROLES_CLAIM.to_owned(),
        },
    })
}

/// The address of keys: who can change what comes from there makes tokens, so nobody on the way may.
fn address(url: String) -> Result<String> {
    let url = text("jwks_url", url, MAX_URL)?;
    let bad = |why: &dyn std::fmt::Display| Fault::invalid(format!("`jwks_url`: {why}"));
    let uri: http::Uri = url.parse().map_err(|_| bad(&"it is no URL"))?;
    let to = Destination::of(&uri).map_err(|why| bad(&why))?;
    let stays_here = match &to.host {
        Host::Address(address) => is_loopback(*address),
        Host::Name(name) => name == "localhost",
    };
    if !to.tls && !stays_here {
        return Err(bad(&"only https:// keeps keys from being exchanged on the way"));
    }
    Ok(url)
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn text(field: &str, text: String, longest: usize) -> Result<String> {
    if text.is_empty() || text.len() > longest || text.chars().any(char::is_control) {
        return Err(Fault::invalid(format!("`{field}` is 1 to {longest} bytes without control characters")));
    }
    Ok(text)
}
