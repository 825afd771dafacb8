//! Plugins: list, show, delete, settings, public access. Uploads are in `uploads`, calls in `calls`.

use aimass_core::event::{Event, Kind, Settings};
use aimass_core::{Code, Fault, Name, Result};
use aimass_store::{State, next_configuration, seal_settings};

use crate::objects::{ObjectDocument, ObjectSummary, Page, VersionDocument, live};
use crate::{Asked, Platform, Scope};

/// Bytes of all keys and values of a plugin's settings together: they are one row of the index, which takes 60 KiB.
const MAX_SETTINGS: usize = 56 << 10;

impl Platform {
    /// Lists the tenant's plugins by name.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn plugins(&self, asked: Asked<'_>, after: Option<&Name>, limit: Option<usize>) -> Result<Page<ObjectSummary>> {
        self.list_objects(asked.tenant(Scope::PluginsRead)?, Kind::Plugin, after, limit)
    }

    /// Shows a plugin with its newest version.
    ///
    /// # Errors
    /// `not_found`.
    pub fn plugin(&self, asked: Asked<'_>, name: &Name) -> Result<ObjectDocument> {
        self.show_object(asked.tenant(Scope::PluginsRead)?, Kind::Plugin, name)
    }

    /// Lists a plugin's versions by number.
    ///
    /// # Errors
    /// `not_found`.
    pub fn plugin_versions(
        &self,
        asked: Asked<'_>,
        name: &Name,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Page<VersionDocument>> {
        self.list_versions(asked.tenant(Scope::PluginsRead)?, Kind::Plugin, name, after, limit)
    }

    /// Shows one version of a plugin.
    ///
    /// # Errors
    /// `not_found`.
    pub fn plugin_version(&self, asked: Asked<'_>, name: &Name, version: u64) -> Result<VersionDocument> {
        self.show_version(asked.tenant(Scope::PluginsRead)?, Kind::Plugin, name, version)
    }

    /// Deletes a plugin with all its versions. Calls under way finish.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn delete_plugin(&self, asked: Asked<'_>, name: &Name) -> Result<()> {
        self.delete_object(asked, Scope::PluginsWrite, Kind::Plugin, name).await
    }

    /// A plugin's settings.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn settings(&self, asked: Asked<'_>, name: &Name) -> Result<Settings> {
        let tenant = asked.tenant(Scope::PluginsRead)?;
        self.object_row(tenant, Kind::Plugin, name)?;
        // They may hold secrets.
        self.record_read(&asked, Some(tenant.name()), &format!("settings {name}")).await?;
        self.store.configuration(tenant, name, None)?.settings()
    }

    /// Replaces a plugin's settings. The next call of a version by its number sees them, calls through an alias when
    /// that is deployed again.
    ///
    /// # Errors
    /// `not_found`; `payload_too_large` above 56 KiB.
    pub async fn replace_settings(&self, asked: Asked<'_>, name: &Name, settings: Settings) -> Result<()> {
        let size: usize = settings.iter().map(|(k, v)| k.len() + v.len()).sum();
        if size > MAX_SETTINGS {
            return Err(Fault::new(Code::PayloadTooLarge, format!("settings are at most {MAX_SETTINGS} bytes")));
        }
        let tenant = asked.tenant(Scope::PluginsWrite)?;
        self.object_row(tenant, Kind::Plugin, name)?;
        let seal = self.store.seal(tenant).await?;
        let (owner, plugin) = (tenant.clone(), name.clone());
        self.change_plugin(asked, name, move |state, tenant| {
            let number = next_configuration(state, &owner, &plugin)?;
            let sealed = Some(seal_settings(&seal, &plugin, number, &settings)?);
            Ok(Event::SettingsReplaced { tenant, name: plugin, settings: Settings::new(), number, sealed })
        })
        .await
    }

    /// Lets anybody call the plugin at `/fn` without a token, or no longer.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn set_public(&self, asked: Asked<'_>, name: &Name, public: bool) -> Result<()> {
        let plugin = name.clone();
        let event = move |_: &State<'_>, tenant| Ok(Event::PublicAccessSet { tenant, name: plugin, public });
        self.change_plugin(asked, name, event).await
    }

    async fn change_plugin(
        &self,
        asked: Asked<'_>,
        name: &Name,
        event: impl FnOnce(&State<'_>, Name) -> Result<Event> + Send + 'static,
    ) -> Result<()> {
        let tenant = asked.tenant(Scope::PluginsWrite)?;
        let (owner, wanted) = (tenant.clone(), name.clone());
        self.store
            .write(asked.actor(), move |state| {
                state.object(&owner, &wanted)?.filter(|row| live(row, Kind::Plugin)).ok_or_else(Fault::not_found)?;
                let event = event(state, owner.name().clone())?;
                Ok((Some(event), ()))
            })
            .await?;
        self.directory.forget(tenant, name);
        Ok(())
    }
}
