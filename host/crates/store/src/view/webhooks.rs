//! What the view tells of webhook endpoints.

use aimass_core::event::{Event, WebhookEndpoint};
use aimass_core::{Fault, Name, Result, Tenant};
use serde::{Deserialize, Serialize};

use super::apply::{Changes, must_exist, put};
use super::state::State;
use crate::journal::Record;

/// A webhook endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRow {
    /// What the tenant calls it.
    pub name: Name,
    /// Where it is, and how messages are signed.
    pub endpoint: WebhookEndpoint,
    /// When it was made, milliseconds since the epoch.
    pub created_ms: u64,
}

fn rows(tenant: &Name) -> Vec<u8> {
    [b"\x01webhook\0", tenant.as_str().as_bytes(), b"\0"].concat()
}

fn row(tenant: &Name, name: &Name) -> Vec<u8> {
    [rows(tenant).as_slice(), name.as_str().as_bytes()].concat()
}

impl State<'_> {
    /// A webhook endpoint.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn webhook(&self, tenant: &Tenant, name: &Name) -> Result<Option<WebhookRow>> {
        self.row(&row(tenant.name(), name))
    }

    /// At most `limit` webhook endpoints behind `after`, by name.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn webhooks(&self, tenant: &Tenant, after: Option<&Name>, limit: usize) -> Result<Vec<WebhookRow>> {
        let tenant = tenant.name();
        self.rows(&rows(tenant), after.map(|name| row(tenant, name)), limit, |_| true)
    }
}

/// What an event of webhook endpoints changes.
pub(super) fn changes(state: &State<'_>, record: &Record, out: &mut Changes) -> Result<()> {
    match &record.event {
        Event::WebhookSet { tenant, name, endpoint } => {
            must_exist(state, tenant)?;
            let key = row(tenant, name);
            let known = state.row::<WebhookRow>(&key)?;
            let created_ms = known.map_or(record.time_ms, |known| known.created_ms);
            put(out, key, &WebhookRow { name: name.clone(), endpoint: endpoint.clone(), created_ms })
        }
        Event::WebhookRemoved { tenant, name } => {
            let key = row(tenant, name);
            state.row::<WebhookRow>(&key)?.ok_or_else(Fault::not_found)?;
            out.push((key, None));
            Ok(())
        }
        _ => Err(Fault::internal("an event of another kind")),
    }
}
