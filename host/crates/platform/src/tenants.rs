//! Tenants: the operator makes them.

use aimass_core::event::{Event, Limits};
use aimass_core::{Code, Fault, Name, Result};
use aimass_store::TenantRow;
use schemars::JsonSchema;
use serde::Serialize;

use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

/// A tenant as the API shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TenantDocument {
    /// Its name.
    pub name: Name,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: u64,
    /// The limits that are its own.
    pub limits: Limits,
    /// The limits that hold: its own, and the node's. What is not there has no limit.
    pub effective_limits: Limits,
}

impl Platform {
    /// Creates a tenant.
    ///
    /// # Errors
    /// `conflict` if there is one of that name.
    pub async fn create_tenant(&self, asked: Asked<'_>, name: Name) -> Result<TenantDocument> {
        asked.by.require(Scope::Operator)?;
        let wanted = name.clone();
        self.store
            .write(asked.actor(), move |state| match state.tenant(&wanted)? {
                Some(_) => Err(Fault::new(Code::Conflict, format!("the tenant `{wanted}` exists"))),
                None => Ok((Some(Event::TenantCreated { tenant: wanted }), ())),
            })
            .await?;
        self.show_tenant(&name)
    }

    /// Shows a tenant.
    ///
    /// # Errors
    /// `not_found`.
    pub fn tenant(&self, asked: Asked<'_>, name: &Name) -> Result<TenantDocument> {
        asked.by.require(Scope::Operator)?;
        self.show_tenant(name)
    }

    /// Lists tenants by name.
    ///
    /// # Errors
    /// What reading the store says.
    pub fn tenants(
        &self,
        asked: Asked<'_>,
        after: Option<&Name>,
        limit: Option<usize>,
    ) -> Result<Page<TenantDocument>> {
        asked.by.require(Scope::Operator)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().tenants(after, limit + 1)?;
        Ok(Page::cut(rows.into_iter().map(|row| self.document(row)), limit, |t: &TenantDocument| t.name.to_string()))
    }

    pub(crate) fn show_tenant(&self, name: &Name) -> Result<TenantDocument> {
        self.store.state().tenant(name)?.map(|row| self.document(row)).ok_or_else(Fault::not_found)
    }

    fn document(&self, row: TenantRow) -> TenantDocument {
        let effective_limits = self.limits_of_tenants.of(&row.name).document();
        TenantDocument { name: row.name, created_ms: row.created_ms, limits: row.limits, effective_limits }
    }
}
