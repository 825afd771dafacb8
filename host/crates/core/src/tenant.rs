//! The handle without which nothing of a tenant's can be reached.

use std::fmt;

use crate::Name;

/// Proof that somebody was allowed to act for this tenant.
///
/// Every function that reaches a tenant's data takes one. Only the `auth` crate makes them (the tidy test keeps
/// this), from a verified token or from a policy that lets anybody in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Name);

impl Tenant {
    /// For `auth` alone, and for tests.
    #[doc(hidden)]
    pub fn vouched_for(name: Name) -> Self {
        Self(name)
    }

    /// The tenant's name.
    pub fn name(&self) -> &Name {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
