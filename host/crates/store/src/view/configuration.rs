//! Plugins' configurations in the view: numbered, each with its settings and secrets, sealed.
//!
//! A value stands once, under the number of the configuration that brought it; later configurations only name that
//! number. So each of them can be read by its number for as long as the plugin is there.

use std::collections::BTreeMap;

use aimass_core::event::{Sealed, SecretDeleted, SecretSet};
use aimass_core::{Fault, Name, Result, Tenant};
use serde::{Deserialize, Serialize};

use super::apply::{Changes, conflict, put, put_bytes};
use super::keys;
use super::state::State;
use crate::journal::Record;

/// One configuration of a plugin, without its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationRow {
    /// Its number, from 1.
    pub number: u64,
    /// The number of the configuration that brought the settings; 0 if none did.
    pub settings: u64,
    /// The secrets by what guests ask for them by.
    pub secrets: BTreeMap<String, SecretRow>,
    /// When it was made, milliseconds since the epoch.
    pub made_ms: u64,
    /// The subject of the token that made it.
    pub made_by: String,
}

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRow {
    /// The number of the configuration that brought it.
    pub number: u64,
    /// When it was set, milliseconds since the epoch.
    pub set_ms: u64,
    /// The subject of the token that set it.
    pub set_by: String,
}

impl State<'_> {
    /// The number of a plugin's newest configuration, 0 if it never had one. It stays when the plugin is deleted.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn configuration_number(&self, tenant: &Tenant, name: &Name) -> Result<u64> {
        self.number(tenant.name(), name)
    }

    /// A configuration of a plugin's: the newest one, or that of a number.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn configuration(&self, tenant: &Tenant, name: &Name, number: Option<u64>) -> Result<Option<ConfigurationRow>> {
        let number = number.map_or_else(|| self.number(tenant.name(), name), Ok)?;
        self.row(&configuration_key(tenant.name(), name, number))
    }

    /// What the configuration of that number brought.
    pub(crate) fn sealed_value(&self, tenant: &Tenant, name: &Name, number: u64) -> Result<Option<Sealed>> {
        Ok(self.bytes(&value_key(tenant.name(), name, number))?.map(Sealed::new))
    }

    fn number(&self, tenant: &Name, name: &Name) -> Result<u64> {
        Ok(self.row(&number_key(tenant, name))?.unwrap_or_default())
    }
}

/// All settings were replaced.
pub(super) fn replace_settings(
    state: &State<'_>,
    out: &mut Changes,
    record: &Record,
    (tenant, name): (&Name, &Name),
    (number, sealed): (u64, &Sealed),
) -> Result<()> {
    let before = next(state, out, tenant, name, number)?;
    put_bytes(out, value_key(tenant, name, number), sealed.bytes())?;
    // Of before there was sealing.
    out.push((keys::settings(tenant, name), None));
    put_row(out, record, (tenant, name), ConfigurationRow { number, settings: number, ..before })
}

pub(super) fn set_secret(state: &State<'_>, out: &mut Changes, record: &Record, set: &SecretSet) -> Result<()> {
    let SecretSet { tenant, name, key, number, sealed } = set;
    let mut row = next(state, out, tenant, name, *number)?;
    put_bytes(out, value_key(tenant, name, *number), sealed.bytes())?;
    let secret = SecretRow { number: *number, set_ms: record.time_ms, set_by: record.actor.subject.clone() };
    row.secrets.insert(key.clone(), secret);
    put_row(out, record, (tenant, name), ConfigurationRow { number: *number, ..row })
}

pub(super) fn delete_secret(state: &State<'_>, out: &mut Changes, record: &Record, gone: &SecretDeleted) -> Result<()> {
    let SecretDeleted { tenant, name, key, number } = gone;
    let mut row = next(state, out, tenant, name, *number)?;
    row.secrets.remove(key).ok_or_else(Fault::not_found)?;
    put_row(out, record, (tenant, name), ConfigurationRow { number: *number, ..row })
}

/// Removes a plugin's configurations. Their number stays, so that none is ever given again.
pub(super) fn delete_all(state: &State<'_>, out: &mut Changes, tenant: &Name, name: &Name) -> Result<()> {
    for number in 1..=state.number(tenant, name)? {
        out.push((configuration_key(tenant, name, number), None));
        out.push((value_key(tenant, name, number), None));
    }
    Ok(())
}

/// Takes the next number, and returns the configuration before it.
fn next(state: &State<'_>, out: &mut Changes, tenant: &Name, name: &Name, number: u64) -> Result<ConfigurationRow> {
    let newest = state.number(tenant, name)?;
    if number != newest + 1 {
        return Err(conflict(format!("the next configuration of `{name}` is {}", newest + 1)));
    }
    put(out, number_key(tenant, name), &number)?;
    Ok(state.row(&configuration_key(tenant, name, newest))?.unwrap_or_default())
}

fn put_row(out: &mut Changes, record: &Record, (tenant, name): (&Name, &Name), row: ConfigurationRow) -> Result<()> {
    let key = configuration_key(tenant, name, row.number);
    put(out, key, &ConfigurationRow { made_ms: record.time_ms, made_by: record.actor.subject.clone(), ..row })
}

fn number_key(tenant: &Name, name: &Name) -> Vec<u8> {
    [keys::tagged("configured", tenant).as_slice(), name.as_str().as_bytes()].concat()
}

fn configuration_key(tenant: &Name, name: &Name, number: u64) -> Vec<u8> {
    numbered("configuration", tenant, name, number)
}

fn value_key(tenant: &Name, name: &Name, number: u64) -> Vec<u8> {
    numbered("configured-value", tenant, name, number)
}

fn numbered(tag: &str, tenant: &Name, name: &Name, number: u64) -> Vec<u8> {
    [keys::tagged(tag, tenant).as_slice(), name.as_str().as_bytes(), b"\0", &number.to_be_bytes()].concat()
}
