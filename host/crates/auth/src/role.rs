//! Roles that every tenant has: named sets of scopes.

use crate::{Scope, Scopes};

/// A role that is the same for every tenant. A tenant's own roles stand beside these and cannot bear their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sees plugins, models and triggers, and changes nothing.
    Viewer,
    /// Uploads, configures and calls plugins and models, by triggers as well.
    Developer,
    /// Everything inside of the tenant: also tokens, roles and identity providers.
    Admin,
}

impl Role {
    /// Every built-in role, by name.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Developer, Self::Viewer];

    /// The role of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Admin => "admin",
        }
    }

    /// What its holders may do. A release that has more scopes may give more; `operator` is in none.
    ///
    /// ```
    /// use aimass_auth::{Role, Scope};
    /// assert!(Role::Viewer.scopes().contains(Scope::ModelsRead));
    /// assert!(!Role::Developer.scopes().contains(Scope::TokensWrite));
    /// assert!(!Role::Admin.scopes().contains(Scope::Operator));
    /// ```
    pub fn scopes(self) -> Scopes {
        let of_objects =
            |scope: &Scope| ["plugins:", "models:", "triggers:", "jobs:"].iter().any(|o| scope.as_str().starts_with(o));
        // To read a data file is to have it: that takes more than to see what there is.
        let developers = |scope: &Scope| of_objects(scope) || scope.as_str().starts_with("data:");
        let all = Scope::ALL.iter().copied();
        match self {
            Self::Viewer => all.filter(|scope| of_objects(scope) && scope.as_str().ends_with(":read")).collect(),
            Self::Developer => all.filter(developers).collect(),
            Self::Admin => all.filter(|&scope| scope != Scope::Operator).collect(),
        }
    }
}
