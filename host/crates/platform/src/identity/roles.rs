//! Roles: named sets of scopes, built in or a tenant's own.

use aimass_auth::Role;
use aimass_core::event::Event;
use aimass_core::{Code, Fault, Name, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::objects::{PAGE, Page};
use crate::tokens::parse_scopes;
use crate::{Asked, Platform, Scope, Scopes};

/// Roles of one tenant's own.
const MAX_ROLES: usize = 100;

/// What a role should be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleRequest {
    /// Its name.
    #[schemars(with = "Name")]
    pub name: String,
    /// All that its holders may do.
    #[schemars(with = "Vec<Scope>")]
    pub scopes: Vec<String>,
}

/// A role as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RoleDocument {
    /// Its name.
    pub name: Name,
    /// What its holders may do.
    pub scopes: Vec<String>,
    /// Whether every tenant has it.
    pub built_in: bool,
}

impl Platform {
    /// Makes or replaces a role of the tenant's own. Returns it, and whether it is new.
    ///
    /// Tokens of identity providers that name it follow at once; tokens that were minted with it stay as they are.
    ///
    /// # Errors
    /// `conflict` for a built-in role's name, `insufficient_scope` for a scope that the caller has not itself.
    pub async fn set_role(&self, asked: Asked<'_>, request: RoleRequest) -> Result<(RoleDocument, bool)> {
        let tenant = asked.tenant(Scope::IdentityWrite)?.name().clone();
        let name: Name = request.name.parse()?;
        if Role::named(name.as_str()).is_some() {
            return Err(Fault::new(Code::Conflict, format!("the role `{name}` is built in")));
        }
        let scopes = parse_scopes(&request.scopes)?;
        if scopes.contains(Scope::Operator) {
            return Err(Fault::invalid("no role holds the scope `operator`"));
        }
        for scope in scopes.iter() {
            asked.by.require(scope)?;
        }
        let role = RoleDocument { name: name.clone(), scopes: words(scopes), built_in: false };
        let (whose, words) = (tenant.clone(), role.scopes.clone());
        let new = self
            .store
            .write(asked.actor(), move |state| {
                let before = state.role(&whose, &name)?;
                if before.is_none() && state.roles(&whose, None, MAX_ROLES)?.len() == MAX_ROLES {
                    let detail = format!("a tenant has {MAX_ROLES} roles of its own at most");
                    return Err(Fault::new(Code::Conflict, detail));
                }
                let changes = before.as_ref().is_none_or(|before| before.scopes != words);
                let event = Event::RoleSet { tenant: whose, name, scopes: words };
                Ok((changes.then_some(event), before.is_none()))
            })
            .await?;
        self.identity_changed(&tenant)?;
        Ok((role, new))
    }

    /// Lists the roles that the tenant has, by name.
    ///
    /// # Errors
    /// What reading the store says.
    pub fn roles(&self, asked: Asked<'_>, after: Option<&Name>, limit: Option<usize>) -> Result<Page<RoleDocument>> {
        let tenant = asked.tenant(Scope::IdentityRead)?.name();
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let own = self.store.state().roles(tenant, after, limit + 1)?.into_iter();
        let own = own.map(|row| RoleDocument { name: row.name, scopes: row.scopes, built_in: false });
        let mut all = Role::ALL.into_iter().map(built_in).collect::<Result<Vec<_>>>()?;
        all.retain(|role| after.is_none_or(|after| role.name > *after));
        all.extend(own);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Page::cut(all.into_iter(), limit, |role: &RoleDocument| role.name.to_string()))
    }

    /// Shows a role.
    ///
    /// # Errors
    /// `not_found`.
    pub fn role(&self, asked: Asked<'_>, name: &Name) -> Result<RoleDocument> {
        let tenant = asked.tenant(Scope::IdentityRead)?.name();
        if let Some(role) = Role::named(name.as_str()) {
            return built_in(role);
        }
        let row = self.store.state().role(tenant, name)?.ok_or_else(Fault::not_found)?;
        Ok(RoleDocument { name: row.name, scopes: row.scopes, built_in: false })
    }

    /// Deletes a role of the tenant's own. Tokens of identity providers that name it lose its scopes at once.
    ///
    /// # Errors
    /// `not_found`; `conflict` for a built-in role.
    pub async fn delete_role(&self, asked: Asked<'_>, name: Name) -> Result<()> {
        let tenant = asked.tenant(Scope::IdentityWrite)?.name().clone();
        if Role::named(name.as_str()).is_some() {
            return Err(Fault::new(Code::Conflict, format!("the role `{name}` is built in")));
        }
        let event = Event::RoleDeleted { tenant: tenant.clone(), name };
        self.store.write(asked.actor(), move |_| Ok((Some(event), ()))).await?;
        self.identity_changed(&tenant)
    }

    /// The scopes of roles, for a token of a tenant's.
    pub(crate) fn scopes_of_roles(&self, tenant: Option<&Name>, roles: &[String]) -> Result<Scopes> {
        let mut all = Scopes::default();
        for name in roles {
            let Some(tenant) = tenant else {
                return Err(Fault::invalid("roles are a tenant's: the operator's own tokens have scopes"));
            };
            let scopes = match Role::named(name) {
                Some(role) => role.scopes(),
                None => {
                    let row = self.store.state().role(tenant, &name.parse()?)?;
                    let row = row.ok_or_else(|| Fault::invalid(format!("there is no role `{name}`")))?;
                    row.scopes.iter().filter_map(|scope| scope.parse().ok()).collect()
                }
            };
            all = all.union(scopes);
        }
        Ok(all)
    }
}

fn built_in(role: Role) -> Result<RoleDocument> {
    Ok(RoleDocument { name: role.name().parse()?, scopes: words(role.scopes()), built_in: true })
}

fn words(scopes: Scopes) -> Vec<String> {
    scopes.iter().map(|scope| scope.to_string()).collect()
}
