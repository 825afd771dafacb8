//! A plugin's settings and secrets, as they are sealed and opened.

use std::fmt;

use aimass_core::event::{Sealed, Settings};
use aimass_core::seam::{Configuration, Values};
use aimass_core::{Code, Fault, Name, Result, Tenant};
use zeroize::Zeroizing;

use crate::seal::{Label, Seal};
use crate::view::ConfigurationRow;
use crate::{State, Store};

/// A configuration of a plugin's, still sealed. A guest's call opens it when the guest asks.
#[derive(Clone)]
pub struct SealedConfiguration {
    plugin: Name,
    row: ConfigurationRow,
    /// None where nothing was ever sealed for the tenant.
    seal: Option<Seal>,
    settings: Option<Sealed>,
    /// By what guests ask for them by.
    secrets: Vec<(String, u64, Sealed)>,
    /// Of before there was sealing; only where no configuration has settings of its own.
    plain: Settings,
}

impl Store {
    /// A plugin's newest configuration, or that of a number; an empty one if it has none, and for the number 0.
    ///
    /// # Errors
    /// `not_found` for a number that there is not, or no longer; `integrity` if a value is missing.
    pub fn configuration(&self, tenant: &Tenant, plugin: &Name, number: Option<u64>) -> Result<SealedConfiguration> {
        let state = self.state();
        loop {
            let row = match (state.configuration(tenant, plugin, number)?, number) {
                (Some(row), _) => row,
                (None, Some(1..)) => return Err(Fault::not_found()),
                (None, _) => ConfigurationRow::default(),
            };
            match self.sealed(&state, tenant, plugin, row.clone()) {
                // The next one came meanwhile, and this one went with its values.
                Err(_) if state.configuration(tenant, plugin, number)?.unwrap_or_default() != row => {}
                read => return read,
            }
        }
    }

    fn sealed(
        &self,
        state: &State<'_>,
        tenant: &Tenant,
        plugin: &Name,
        row: ConfigurationRow,
    ) -> Result<SealedConfiguration> {
        let value = |number| {
            let missing = || {
                let cause = format!("a value of the configuration {number} of {tenant}/{plugin} is missing");
                Fault::new(Code::Integrity, "a stored value is missing").caused_by(cause)
            };
            state.sealed_value(tenant, plugin, number)?.ok_or_else(missing)
        };
        let settings = (row.settings > 0).then(|| value(row.settings)).transpose()?;
        let secrets = row.secrets.iter().map(|(key, secret)| Ok((key.clone(), secret.number, value(secret.number)?)));
        let secrets = secrets.collect::<Result<Vec<_>>>()?;
        let plain = if settings.is_none() { state.plain_settings(tenant, plugin)? } else { Settings::new() };
        Ok(SealedConfiguration { plugin: plugin.clone(), seal: self.known_seal(tenant), settings, secrets, plain, row })
    }
}

impl SealedConfiguration {
    /// Its number, and who made it when; number 0 if there is none.
    pub fn row(&self) -> &ConfigurationRow {
        &self.row
    }

    /// The settings alone.
    ///
    /// # Errors
    /// `integrity`.
    pub fn settings(&self) -> Result<Settings> {
        let Some(sealed) = &self.settings else { return Ok(self.plain.clone()) };
        let text = self.open_value(settings_label(&self.plugin, self.row.settings), sealed)?;
        // What serde says of it might quote it.
        serde_json::from_slice(&text).map_err(|_| damaged(&self.plugin))
    }

    fn open_value(&self, label: Label<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>> {
        self.seal.as_ref().ok_or_else(Fault::not_found)?.open(label, sealed)
    }
}

/// The secrets lie over the settings.
impl Configuration for SealedConfiguration {
    fn open(&self) -> Result<Values> {
        let settings = self.settings()?.into_iter().map(|(key, value)| (key, Zeroizing::new(value)));
        let mut values: Vec<_> = settings.collect();
        for (key, number, sealed) in &self.secrets {
            let name = secret_name(&self.plugin, key);
            let mut opened = self.open_value(secret_label(&name, *number), sealed)?;
            let value = String::from_utf8(std::mem::take(&mut *opened)).map_err(|_| damaged(&self.plugin))?;
            values.push((key.clone(), Zeroizing::new(value)));
        }
        Ok(values.into_iter().collect())
    }
}

impl fmt::Debug for SealedConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedConfiguration")
            .field("plugin", &self.plugin)
            .field("number", &self.row.number)
            .finish_non_exhaustive()
    }
}

/// Settings on their way into a configuration.
///
/// # Errors
/// As [`Seal::seal`].
pub fn seal_settings(seal: &Seal, plugin: &Name, number: u64, settings: &Settings) -> Result<Sealed> {
    let text = Zeroizing::new(serde_json::to_vec(settings).map_err(Fault::internal)?);
    seal.seal(settings_label(plugin, number), &text)
}

/// A secret on its way into a configuration.
///
/// # Errors
/// As [`Seal::seal`].
pub fn seal_secret(seal: &Seal, plugin: &Name, key: &str, number: u64, value: &str) -> Result<Sealed> {
    seal.seal(secret_label(&secret_name(plugin, key), number), value.as_bytes())
}

/// The number that a plugin's next configuration has.
///
/// # Errors
/// If the index cannot be read.
pub fn next_configuration(state: &State<'_>, tenant: &Tenant, plugin: &Name) -> Result<u64> {
    Ok(state.configuration_number(tenant, plugin)? + 1)
}

fn settings_label(plugin: &Name, number: u64) -> Label<'_> {
    Label { kind: "settings", name: plugin.as_str(), version: number }
}

/// A plugin's name holds no slash.
fn secret_name(plugin: &Name, key: &str) -> String {
    format!("{plugin}/{key}")
}

fn secret_label(name: &str, number: u64) -> Label<'_> {
    Label { kind: "secret", name, version: number }
}

fn damaged(plugin: &Name) -> Fault {
    let cause = format!("the configuration of {plugin} opens, and is not what was sealed");
    Fault::new(Code::Integrity, "the stored value is damaged").caused_by(cause)
}
