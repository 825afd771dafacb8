//! Plugins' configurations in the view: numbered, each with its settings and secrets, sealed.
//!
//! A value stands once, under the number of the configuration that brought it; later configurations only name that
//! number. The newest configuration is kept, and each that an alias serves with, that one of the deployments which are
//! kept can bring back, or that a job under way runs with. The others go, with the values that no other names, when the
//! next one comes.

use std::collections::{BTreeMap, BTreeSet};

use aimass_core::event::{JobWork, Sealed, SecretDeleted, SecretSet};
use aimass_core::{Fault, Name, Result, Tenant};
use serde::{Deserialize, Serialize};

use super::apply::{Changes, conflict, put, put_bytes};
use super::state::State;
use super::{deployments, keys};
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

impl ConfigurationRow {
    /// The numbers of the configurations that brought what is in it.
    fn values(&self) -> impl Iterator<Item = u64> {
        let settings = (self.settings > 0).then_some(self.settings);
        self.secrets.values().map(|secret| secret.number).chain(settings)
    }
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
    of: (&Name, &Name),
    (number, sealed): (u64, &Sealed),
) -> Result<()> {
    let before = next(state, out, of, number)?;
    put_bytes(out, value_key(of.0, of.1, number), sealed.bytes())?;
    settle(state, out, record, of, ConfigurationRow { number, settings: number, ..before }, |_| {})
}

pub(super) fn set_secret(state: &State<'_>, out: &mut Changes, record: &Record, set: &SecretSet) -> Result<()> {
    let SecretSet { tenant, name, key, number, sealed, everywhere } = set;
    let mut row = next(state, out, (tenant, name), *number)?;
    put_bytes(out, value_key(tenant, name, *number), sealed.bytes())?;
    let secret = SecretRow { number: *number, set_ms: record.time_ms, set_by: record.actor.subject.clone() };
    row.secrets.insert(key.clone(), secret.clone());
    settle(state, out, record, (tenant, name), ConfigurationRow { number: *number, ..row }, |before| {
        if let Some(known) = before.secrets.get_mut(key).filter(|_| *everywhere) {
            *known = secret.clone();
        }
    })
}

pub(super) fn delete_secret(state: &State<'_>, out: &mut Changes, record: &Record, gone: &SecretDeleted) -> Result<()> {
    let SecretDeleted { tenant, name, key, number, everywhere } = gone;
    let mut row = next(state, out, (tenant, name), *number)?;
    let known = row.secrets.remove(key).is_some();
    let mut elsewhere = false;
    settle(state, out, record, (tenant, name), ConfigurationRow { number: *number, ..row }, |before| {
        elsewhere |= *everywhere && before.secrets.remove(key).is_some();
    })?;
    // Whoever wants it gone from aliases as well may have deleted the newest one's before.
    if known || elsewhere { Ok(()) } else { Err(Fault::not_found()) }
}

/// Removes a plugin's configurations. Their number stays, so that none is ever given again.
pub(super) fn delete_all(state: &State<'_>, out: &mut Changes, tenant: &Name, name: &Name) -> Result<()> {
    for number in 1..=state.number(tenant, name)? {
        out.push((configuration_key(tenant, name, number), None));
        out.push((value_key(tenant, name, number), None));
    }
    Ok(())
}

/// Whether there is a configuration of that number; 0 is that of before any was made.
pub(super) fn exists(state: &State<'_>, tenant: &Name, name: &Name, number: u64) -> Result<bool> {
    let row = || state.row::<ConfigurationRow>(&configuration_key(tenant, name, number));
    Ok(number == 0 || row()?.is_some())
}

/// Takes the next number, and returns the configuration before it.
fn next(state: &State<'_>, out: &mut Changes, (tenant, name): (&Name, &Name), number: u64) -> Result<ConfigurationRow> {
    let newest = state.number(tenant, name)?;
    if number != newest + 1 {
        return Err(conflict(format!("the next configuration of `{name}` is {}", newest + 1)));
    }
    put(out, number_key(tenant, name), &number)?;
    Ok(state.row(&configuration_key(tenant, name, newest))?.unwrap_or_default())
}

/// Writes the newest configuration, changes those before it that are kept, and removes the others.
fn settle(
    state: &State<'_>,
    out: &mut Changes,
    record: &Record,
    (tenant, name): (&Name, &Name),
    newest: ConfigurationRow,
    mut change: impl FnMut(&mut ConfigurationRow),
) -> Result<()> {
    let named = named(state, tenant, name)?;
    let (mut wanted, mut known): (BTreeSet<u64>, _) = (newest.values().collect(), BTreeSet::new());
    // Settings of before there was sealing, which nothing after them has replaced.
    let mut plain = newest.settings == 0 || named.contains(&0);
    for row in state.rows::<ConfigurationRow>(&configurations(tenant, name), None, usize::MAX, |_| true)? {
        known.extend(row.values());
        let key = configuration_key(tenant, name, row.number);
        if !named.contains(&row.number) {
            out.push((key, None));
            continue;
        }
        let mut changed = row.clone();
        change(&mut changed);
        wanted.extend(changed.values());
        plain |= changed.settings == 0;
        if changed != row {
            put(out, key, &changed)?;
        }
    }
    out.extend(known.difference(&wanted).map(|number| (value_key(tenant, name, *number), None)));
    if !plain {
        out.push((keys::settings(tenant, name), None));
    }
    let key = configuration_key(tenant, name, newest.number);
    put(out, key, &ConfigurationRow { made_ms: record.time_ms, made_by: record.actor.subject.clone(), ..newest })
}

/// The configurations that something may still run with.
fn named(state: &State<'_>, tenant: &Name, name: &Name) -> Result<BTreeSet<u64>> {
    let mut named = deployments::configurations(state, tenant, name)?;
    for row in state.jobs_under_way()? {
        let JobWork::Batch(batch) = &row.work;
        if row.tenant == *tenant && batch.target == *name {
            named.extend(batch.configuration);
        }
    }
    Ok(named)
}

fn number_key(tenant: &Name, name: &Name) -> Vec<u8> {
    [keys::tagged("configured", tenant).as_slice(), name.as_str().as_bytes()].concat()
}

fn configurations(tenant: &Name, name: &Name) -> Vec<u8> {
    [keys::tagged("configuration", tenant).as_slice(), name.as_str().as_bytes(), b"\0"].concat()
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
