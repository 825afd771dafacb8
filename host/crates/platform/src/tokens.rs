//! Tokens: the operator and tenants mint and revoke them.

use std::time::Duration;

use aimass_auth::{Grant, Minted};
use aimass_core::event::Event;
use aimass_core::{Fault, Name, Result};
use aimass_store::TokenRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::objects::{PAGE, Page};
use crate::{Asked, Caller, Platform, Scope, Scopes};

/// A token lives this long if nothing is said: long enough for a pipeline's run, short enough to forget.
const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);

/// The longest life of a token.
const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

/// What a token should be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Who will hold it: a person's or a service's name.
    pub subject: String,
    /// What it may do.
    #[serde(default)]
    #[schemars(with = "Vec<Scope>")]
    pub scopes: Vec<String>,
    /// Roles of the tenant: it may also do what these may do now.
    #[serde(default)]
    #[schemars(with = "Vec<Name>")]
    pub roles: Vec<String>,
    /// How long it is valid, seconds; a day if not given, a year at most.
    #[serde(default)]
    pub ttl_seconds: Option<u64>,
}

/// A new token. The secret is shown this once and kept nowhere.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TokenSecret {
    /// The token itself.
    pub token: String,
    /// What is known of it afterwards.
    #[serde(flatten)]
    pub document: TokenDocument,
}

/// A token as the API shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TokenDocument {
    /// Its id.
    pub jti: String,
    /// Who holds it.
    pub subject: String,
    /// Whose it is; none for the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it ends, seconds since the epoch.
    pub expires: u64,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl From<TokenRow> for TokenDocument {
    fn from(row: TokenRow) -> Self {
        let TokenRow { jti, subject, tenant, scopes, expires, revoked, .. } = row;
        Self { jti, subject, tenant, scopes, expires, revoked }
    }
}

impl Platform {
    /// Mints a token: for `tenant` (the operator does that), or for the caller's own tenant.
    ///
    /// A tenant's token cannot give more than it has itself.
    ///
    /// # Errors
    /// `invalid_request` for an unknown scope or role or a bad life time, `insufficient_scope`, `not_found` for an unknown tenant.
    pub async fn mint_token(
        &self,
        asked: Asked<'_>,
        tenant: Option<&Name>,
        request: TokenRequest,
    ) -> Result<TokenSecret> {
        let tenant = self.token_tenant(&asked, tenant, Scope::TokensWrite)?;
        let roles = self.scopes_of_roles(tenant.as_ref(), &request.roles)?;
        let scopes = match request.roles.is_empty() || !request.scopes.is_empty() {
            true => parse_scopes(&request.scopes)?.union(roles),
            false => roles,
        };
        let subject = request.subject;
        if subject.is_empty() || subject.len() > 256 || subject.chars().any(char::is_control) {
            return Err(Fault::invalid("a subject is 1 to 256 bytes without control characters"));
        }
        let ttl = request.ttl_seconds.map_or(DEFAULT_TTL, Duration::from_secs);
        if ttl.is_zero() || ttl > MAX_TTL {
            return Err(Fault::invalid(format!("`ttl_seconds` is 1 to {}", MAX_TTL.as_secs())));
        }
        if asked.by.require(Scope::Operator).is_err() {
            for scope in scopes.iter() {
                asked.by.require(scope)?;
            }
        }
        if tenant.is_some() && scopes.iter().any(|s| s == Scope::Operator) {
            return Err(Fault::invalid("a tenant's token cannot hold the scope `operator`"));
        }
        let grant = Grant { subject: subject.clone(), tenant: tenant.clone(), scopes: scopes.clone(), ttl };
        let Minted { token, jti, expires } = self.auth.mint(grant)?;
        let document = TokenDocument {
            jti: jti.clone(),
            subject: subject.clone(),
            tenant: tenant.clone(),
            scopes: scopes.iter().map(|s| s.to_string()).collect(),
            expires,
            revoked: false,
        };
        let event =
            Event::TokenMinted { jti, subject, tenant: tenant.clone(), scopes: document.scopes.clone(), expires };
        self.store
            .write(asked.actor(), move |state| match &tenant {
                Some(name) if state.tenant(name)?.is_none() => Err(Fault::not_found()),
                _ => Ok((Some(event), ())),
            })
            .await?;
        Ok(TokenSecret { token, document })
    }

    /// Revokes a token: when this returns it is refused everywhere on this node.
    ///
    /// # Errors
    /// `not_found` if there is none, or it is another tenant's.
    pub async fn revoke_token(&self, asked: Asked<'_>, tenant: Option<&Name>, jti: String) -> Result<()> {
        let tenant = self.token_tenant(&asked, tenant, Scope::TokensWrite)?;
        let id = jti.clone();
        let expires = self
            .store
            .write(asked.actor(), move |state| {
                let row = state.token(&id)?.filter(|row| row.tenant == tenant).ok_or_else(Fault::not_found)?;
                let event = (!row.revoked).then_some(Event::TokenRevoked { jti: id });
                Ok((event, row.expires))
            })
            .await?;
        self.auth.revoke(&jti, expires);
        Ok(())
    }

    /// Lists tokens by id.
    ///
    /// # Errors
    /// `insufficient_scope`, or what reading the store says.
    pub async fn tokens(
        &self,
        asked: Asked<'_>,
        tenant: Option<&Name>,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<TokenDocument>> {
        let tenant = self.token_tenant(&asked, tenant, Scope::TokensRead)?;
        self.record_read(&asked, tenant.as_ref(), "tokens").await?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().tokens(tenant.as_ref(), after, limit + 1)?;
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, |t: &TokenDocument| t.jti.clone()))
    }

    /// Records and returns an operator's token: the first start writes it to a file.
    ///
    /// # Errors
    /// What signing or the store says.
    pub async fn mint_operator_token(&self, ttl: Duration) -> Result<String> {
        let scopes: Scopes = [Scope::Operator].into_iter().collect();
        let subject = "operator".to_owned();
        let grant = Grant { subject: subject.clone(), tenant: None, scopes, ttl };
        let Minted { token, jti, expires } = self.auth.mint(grant)?;
        let scopes = vec![Scope::Operator.to_string()];
        let event = Event::TokenMinted { jti, subject, tenant: None, scopes, expires };
        self.store.write(aimass_core::event::Actor::system(), move |_| Ok((Some(event), ()))).await?;
        Ok(token)
    }

    /// Whose tokens are meant, if the caller may touch them: its own tenant's, or, for the operator, anybody's.
    fn token_tenant(&self, asked: &Asked<'_>, named: Option<&Name>, scope: Scope) -> Result<Option<Name>> {
        let by: &Caller = asked.by;
        match named {
            Some(name) => {
                by.require(Scope::Operator)?;
                self.store.state().tenant(name)?.ok_or_else(Fault::not_found)?;
                Ok(Some(name.clone()))
            }
            None if by.require(Scope::Operator).is_ok() => Ok(None),
            None => {
                by.require(scope)?;
                Ok(Some(by.tenant()?.name().clone()))
            }
        }
    }
}

pub(crate) fn parse_scopes(words: &[String]) -> Result<Scopes> {
    if words.is_empty() {
        return Err(Fault::invalid(format!("`scopes` is empty; there are: {}", known_scopes())));
    }
    words
        .iter()
        .map(|word| {
            word.parse::<Scope>()
                .map_err(|_| Fault::invalid(format!("an unknown scope; there are: {}", known_scopes())))
        })
        .collect()
}

fn known_scopes() -> String {
    Scope::ALL.iter().map(|s| s.to_string()).collect::<Vec<_>>().join(", ")
}
