//! What a token allows.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

macro_rules! scopes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal;)*) => {
        /// One permission. The text form stands in tokens and never changes its meaning.
        ///
        /// ```
        /// use aimass_auth::Scope;
        /// assert_eq!("models:invoke".parse(), Ok(Scope::ModelsInvoke));
        /// assert_eq!(Scope::ModelsInvoke.to_string(), "models:invoke");
        /// assert!("models:*".parse::<Scope>().is_err());
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Scope { $($(#[doc = $doc])* $name,)* }

        impl Scope {
            /// Every scope.
            pub const ALL: &[Scope] = &[$(Scope::$name,)*];

            /// What each of them allows, in the order of [`Self::ALL`].
            const ALLOW: &[&str] = &[$(concat!($($doc),*),)*];

            /// The scope as it stands in a token.
            pub const fn as_str(self) -> &'static str {
                match self { $(Scope::$name => $text,)* }
            }
        }
    };
}

scopes! {
    /// See plugins, their versions and settings.
    PluginsRead = "plugins:read";
    /// Upload, configure and delete plugins.
    PluginsWrite = "plugins:write";
    /// Call plugins.
    PluginsInvoke = "plugins:invoke";
    /// See models and their versions.
    ModelsRead = "models:read";
    /// Upload and delete models.
    ModelsWrite = "models:write";
    /// Run models.
    ModelsInvoke = "models:invoke";
    /// Say whose signatures on plugins the tenant trusts, and whether it insists on them.
    SignersWrite = "signers:write";
    /// See the tenant's tokens.
    TokensRead = "tokens:read";
    /// Mint and revoke the tenant's tokens.
    TokensWrite = "tokens:write";
    /// See the tenant's part of the audit log.
    AuditRead = "audit:read";
    /// See the tenant's identity providers and roles.
    IdentityRead = "identity:read";
    /// Register and remove the tenant's identity providers, define its roles, revoke keys and subjects.
    IdentityWrite = "identity:write";
    /// See where the tenant's guests may send to, and across which regions.
    EgressRead = "egress:read";
    /// Say where the tenant's guests may send to, and across which regions.
    EgressWrite = "egress:write";
    /// See the tenant's webhook endpoints and what was sent to them.
    WebhooksRead = "webhooks:read";
    /// Make, change and remove the tenant's webhook endpoints.
    WebhooksWrite = "webhooks:write";
    /// See what the tenant used.
    UsageRead = "usage:read";
    /// See triggers and their runs.
    TriggersRead = "triggers:read";
    /// Make, pause, fire and delete triggers. What one runs takes the scope to call it as well.
    TriggersWrite = "triggers:write";
    /// See and fetch data files.
    DataRead = "data:read";
    /// Store and delete data files.
    DataWrite = "data:write";
    /// See jobs.
    JobsRead = "jobs:read";
    /// Create and cancel jobs.
    JobsWrite = "jobs:write";
    /// Run the platform: tenants, their tokens, keys, nodes. It does not open what belongs to a tenant.
    Operator = "operator";
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl JsonSchema for Scope {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scope".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let scopes = Self::ALL.iter().zip(Self::ALLOW);
        let one_of: Vec<_> =
            scopes.map(|(scope, allows)| json!({ "const": scope.as_str(), "description": allows.trim() })).collect();
        json_schema!({ "description": "One permission.", "type": "string", "oneOf": one_of })
    }
}

/// There is no such scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such scope")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.iter().copied().find(|s| s.as_str() == text).ok_or(UnknownScope)
    }
}

/// A set of scopes.
///
/// ```
/// use aimass_auth::{Scope, Scopes};
/// let scopes: Scopes = [Scope::ModelsInvoke, Scope::ModelsRead].into_iter().collect();
/// assert!(scopes.contains(Scope::ModelsRead));
/// assert_eq!(scopes.to_string(), "models:read models:invoke");
/// assert_eq!(Scopes::from_claim("models:invoke of-a-later-release models:read"), scopes);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u32);

impl Scopes {
    /// Reads the `scope` claim (RFC 8693 §4.2): words with spaces between. Unknown words are left out, so that a
    /// token with a scope of a later release still opens what this one knows.
    pub fn from_claim(claim: &str) -> Self {
        claim.split(' ').filter_map(|word| word.parse::<Scope>().ok()).collect()
    }

    /// Whether `scope` is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }

    /// Those of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |&scope| self.contains(scope))
    }
}

fn bit(scope: Scope) -> u32 {
    1 << scope as u32
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | bit(scope)))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}
