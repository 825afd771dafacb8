//! Who a verified token speaks for.

use aimass_core::event::Actor;
use aimass_core::{Code, Fault, Result, Tenant};

use crate::{Scope, Scopes};

/// The holder of a verified token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Caller {
    /// The token's subject: a person's or a service's name; of a provider's token as `jti`.
    pub subject: String,
    /// The token's id; of a provider's token the provider's name and a colon before it.
    pub jti: String,
    /// Whom it acts for; none for the operator's tokens.
    pub tenant: Option<Tenant>,
    /// What it may do.
    pub scopes: Scopes,
    /// When the token ends, seconds since the epoch.
    pub expires: u64,
    /// The key of the node's that signed it; none for a provider's token.
    pub kid: Option<Box<str>>,
}

impl Caller {
    /// The tenant that it acts for.
    ///
    /// # Errors
    /// [`Code::InsufficientScope`] for a token of the operator, which opens no tenant's things.
    pub fn tenant(&self) -> Result<&Tenant> {
        self.tenant.as_ref().ok_or_else(|| Fault::new(Code::InsufficientScope, "this takes a token of a tenant"))
    }

    /// Checks for a scope.
    ///
    /// # Errors
    /// [`Code::InsufficientScope`] that names the scope.
    pub fn require(&self, scope: Scope) -> Result<()> {
        if self.scopes.contains(scope) {
            return Ok(());
        }
        Err(Fault::new(Code::InsufficientScope, format!("this takes a token with the scope `{scope}`")))
    }

    /// The caller as the journal records it.
    pub fn actor(&self, request_id: &str) -> Actor {
        Actor {
            subject: self.subject.clone(),
            tenant: self.tenant.as_ref().map(|tenant| tenant.name().clone()),
            token: Some(self.jti.clone()),
            request: Some(request_id.to_owned()),
        }
    }
}
