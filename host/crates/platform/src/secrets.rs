//! Secrets of plugins: set, listed, deleted, and never shown. Guests read them as they read settings.

use aimass_core::event::{Event, Kind, SecretDeleted, SecretSet};
use aimass_core::{Code, Fault, Name, Result};
use aimass_store::{ConfigurationRow, SecretRow, next_configuration, seal_secret};
use schemars::JsonSchema;
use serde::Serialize;

use crate::objects::{PAGE, Page, live};
use crate::{Asked, Platform, Scope};

/// Bytes of a secret's value: a key, a certificate chain, a service account.
pub const MAX_SECRET: usize = 32 << 10;
/// Bytes of what a secret is asked for by.
const MAX_KEY: usize = 128;
/// Secrets of one plugin: their names are one row of the index.
const MAX_SECRETS: usize = 64;

/// A secret as the API shows it: without its value.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SecretDocument {
    /// What a guest asks for it by.
    pub key: String,
    /// When it was set, milliseconds since the epoch.
    pub set_ms: u64,
    /// By whom.
    pub set_by: String,
    /// The number of the configuration that this value came with.
    pub configuration: u64,
}

impl SecretDocument {
    fn new((key, row): (String, SecretRow)) -> Self {
        Self { key, set_ms: row.set_ms, set_by: row.set_by, configuration: row.number }
    }
}

impl Platform {
    /// Lists a plugin's secrets by key, without their values.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn secrets(
        &self,
        asked: Asked<'_>,
        plugin: &Name,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<SecretDocument>> {
        let tenant = asked.tenant(Scope::PluginsRead)?;
        self.object_row(tenant, Kind::Plugin, plugin)?;
        self.record_read(&asked, Some(tenant.name()), &format!("secrets {plugin}")).await?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let row = self.store.state().configuration(tenant, plugin, None)?.unwrap_or_default();
        let behind = row.secrets.into_iter().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        Ok(Page::cut(behind.take(limit + 1).map(SecretDocument::new), limit, |secret: &SecretDocument| {
            secret.key.clone()
        }))
    }

    /// Sets a secret of a plugin's, also one that is there. The next call of a version by its number sees it, calls
    /// through an alias when that is deployed again; `everywhere`, the next call of each alias that has such a secret,
    /// and nothing brings the value before back. Whether it is new.
    ///
    /// # Errors
    /// `not_found` for the plugin; `invalid_request` for a key that is none, or a value that is empty or no UTF-8;
    /// `payload_too_large` for a value above 32 KiB, and a plugin's 65th secret.
    pub async fn set_secret(
        &self,
        asked: Asked<'_>,
        plugin: &Name,
        key: &str,
        value: &[u8],
        everywhere: bool,
    ) -> Result<(SecretDocument, bool)> {
        let tenant = asked.tenant(Scope::PluginsWrite)?;
        check_key(key)?;
        if value.len() > MAX_SECRET {
            return Err(Fault::new(Code::PayloadTooLarge, format!("a secret is at most {MAX_SECRET} bytes")));
        }
        // What the error says of it would quote it.
        let value = std::str::from_utf8(value).ok().filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| Fault::invalid("a secret is UTF-8 text, and not empty"))?;
        self.object_row(tenant, Kind::Plugin, plugin)?;
        let seal = self.store.seal(tenant).await?;
        let (owner, name, key) = (tenant.clone(), plugin.clone(), key.to_owned());
        let (wanted, value) = (key.clone(), zeroize::Zeroizing::new(value.to_owned()));
        let new = self
            .store
            .write(asked.actor(), move |state| {
                state.object(&owner, &name)?.filter(|row| live(row, Kind::Plugin)).ok_or_else(Fault::not_found)?;
                let ConfigurationRow { secrets, .. } = state.configuration(&owner, &name, None)?.unwrap_or_default();
                let new = !secrets.contains_key(&wanted);
                if new && secrets.len() >= MAX_SECRETS {
                    let detail = format!("a plugin has at most {MAX_SECRETS} secrets");
                    return Err(Fault::new(Code::PayloadTooLarge, detail));
                }
                let number = next_configuration(state, &owner, &name)?;
                let sealed = seal_secret(&seal, &name, &wanted, number, &value)?;
                let set = SecretSet { tenant: owner.name().clone(), name, key: wanted, number, sealed, everywhere };
                Ok((Some(Event::SecretSet(set)), new))
            })
            .await?;
        self.directory.forget(tenant, plugin);
        let row = self.store.state().configuration(tenant, plugin, None)?.unwrap_or_default();
        let secret = row.secrets.get(&key).cloned().ok_or_else(Fault::not_found)?;
        Ok((SecretDocument::new((key, secret)), new))
    }

    /// Deletes a secret: for the calls that would see it if it were set, see [`Self::set_secret`].
    ///
    /// # Errors
    /// `not_found`.
    pub async fn delete_secret(&self, asked: Asked<'_>, plugin: &Name, key: &str, everywhere: bool) -> Result<()> {
        let tenant = asked.tenant(Scope::PluginsWrite)?;
        let (owner, name, key) = (tenant.clone(), plugin.clone(), key.to_owned());
        self.store
            .write(asked.actor(), move |state| {
                state.object(&owner, &name)?.filter(|row| live(row, Kind::Plugin)).ok_or_else(Fault::not_found)?;
                let number = next_configuration(state, &owner, &name)?;
                let gone = SecretDeleted { tenant: owner.name().clone(), name, key, number, everywhere };
                Ok((Some(Event::SecretDeleted(gone)), ()))
            })
            .await?;
        self.directory.forget(tenant, plugin);
        Ok(())
    }
}

/// What a path, a shell and a guest can all write.
fn check_key(key: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(plain) {
        return Ok(());
    }
    Err(Fault::invalid(format!("a secret's key is 1 to {MAX_KEY} characters of A-Z, a-z, 0-9, _, . and -")))
}
