//! Aliases: list, show, set, delete, deploy a version, and their history.

use aimass_core::event::{AliasDeleted, AliasSet, Change, Deployment, Event, Kind, Route, VersionDeleted};
use aimass_core::limits::MAX_ALIASES;
use aimass_core::name::DEFAULT_ALIAS;
use aimass_core::{Code, Fault, Name, Result, Tenant};
use aimass_store::{AliasRow, DeploymentRow, State};
use schemars::JsonSchema;
use serde::Serialize;

use super::pinning::{keep, newest, pin};
use super::rollout::compile;
use super::route::{AliasWish, DeployWish};
use super::shadow::{ShadowFigures, is_called, unsupported};
use crate::objects::{PAGE, Page, live};
use crate::window::Figures;
use crate::{Asked, Platform, Scope};

/// The last minute of a version.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct VersionFigures {
    /// Which version.
    pub version: u64,
    /// What its calls came to, through whatever name.
    #[serde(flatten)]
    pub figures: Figures,
}

/// An alias as the API shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AliasDocument {
    /// The alias.
    pub alias: Name,
    /// What it says.
    #[serde(flatten)]
    pub route: Route,
    /// The number of the deployment that made it so; also its entity tag.
    pub deployment: u64,
    /// The number of the deployment that a rollback goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_to: Option<u64>,
    /// The number of a plugin's newest configuration (settings and secrets). A version that runs with another one takes
    /// it when it is deployed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_configuration: Option<u64>,
    /// Since when, milliseconds since the epoch.
    pub set_ms: u64,
    /// Who made it so.
    pub set_by: String,
    /// The last minute of each version that it names, on this node.
    pub last_minute: Vec<VersionFigures>,
    /// How the shadow's answers compare, on this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<ShadowFigures>,
}

/// One change of an alias as the API shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DeploymentDocument {
    /// Its number, from 1 for each plugin or model.
    pub number: u64,
    /// Which alias.
    pub alias: Name,
    /// What it changed, why, and by which figures.
    #[serde(flatten)]
    pub deployment: Deployment,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// Who did it; `system` for the platform itself.
    pub by: String,
}

impl From<DeploymentRow> for DeploymentDocument {
    fn from(row: DeploymentRow) -> Self {
        let DeploymentRow { number, alias, deployment, at_ms, by, .. } = row;
        Self { number, alias, deployment, at_ms, by }
    }
}

/// The scope that looking at this kind takes.
pub(super) fn read(kind: Kind) -> Scope {
    match kind {
        Kind::Plugin => Scope::PluginsRead,
        Kind::Model => Scope::ModelsRead,
    }
}

/// The scope that changing this kind takes.
pub(super) fn write(kind: Kind) -> Scope {
    match kind {
        Kind::Plugin => Scope::PluginsWrite,
        Kind::Model => Scope::ModelsWrite,
    }
}

impl Platform {
    /// Lists the aliases of a plugin or model by name.
    ///
    /// # Errors
    /// `not_found`.
    pub fn aliases(
        &self,
        asked: Asked<'_>,
        (kind, name): (Kind, &Name),
        after: Option<&Name>,
        limit: Option<usize>,
    ) -> Result<Page<AliasDocument>> {
        let tenant = asked.tenant(read(kind))?;
        self.object_row(tenant, kind, name)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().aliases(tenant, name, after, limit + 1)?;
        let newest = self.newest_configuration(tenant, (kind, name))?;
        let documents = rows.into_iter().map(|row| self.alias_document(tenant, row, newest));
        Ok(Page::cut(documents, limit, |document: &AliasDocument| document.alias.to_string()))
    }

    /// Shows what an alias says, and how its versions do.
    ///
    /// # Errors
    /// `not_found`.
    pub fn alias(&self, asked: Asked<'_>, (kind, name): (Kind, &Name), alias: &Name) -> Result<AliasDocument> {
        let tenant = asked.tenant(read(kind))?;
        self.object_row(tenant, kind, name)?;
        self.show_alias(tenant, (kind, name), alias)
    }

    /// Lets an alias say something else; the next call sees it. Versions that it serves already stay with their
    /// settings, others take the newest, unless the wish says which. `expected` is the number of the deployment that it
    /// must have been made by so far.
    ///
    /// # Errors
    /// `not_found`; `invalid_request` for a split that is none; `conflict` for a version that does not exist;
    /// `precondition_failed`.
    pub async fn set_alias(
        &self,
        asked: Asked<'_>,
        of: (Kind, &Name),
        alias: Name,
        wish: AliasWish,
        expected: Option<u64>,
    ) -> Result<AliasDocument> {
        let decide = move |_: &State<'_>, now: Option<&AliasRow>| {
            let (mut route, change) = (wish.route()?, Change::Set);
            if let Some(now) = now {
                keep(&mut route, &now.route);
            }
            Ok(Deployment { route, change, restores: None, gate: None, seen: vec![] })
        };
        self.change_alias(asked, of, alias, expected, decide).await
    }

    /// Deploys a version under an alias: at once, or as a canary. It runs with the newest settings and secrets of now,
    /// until it is deployed again.
    ///
    /// # Errors
    /// As [`Self::set_alias`]; `conflict` for a canary beside nothing.
    pub async fn deploy(
        &self,
        asked: Asked<'_>,
        of: (Kind, &Name),
        wish: DeployWish,
        expected: Option<u64>,
    ) -> Result<AliasDocument> {
        let alias = wish.alias.clone().map_or_else(|| DEFAULT_ALIAS.parse(), Ok)?;
        if let Some(gate) = wish.gate.clone() {
            // Not where all changes wait for one another, and not where calls run: it may take its time.
            tokio::task::spawn_blocking(move || compile(&gate).map(drop)).await.map_err(Fault::internal)??;
        }
        let decide = move |_: &State<'_>, now: Option<&AliasRow>| {
            let route = wish.route(now.map(|row| &row.route))?;
            let gate = route.canary.as_ref().and_then(|canary| canary.gate.clone());
            Ok(Deployment { route, change: Change::Deployed, restores: None, gate, seen: vec![] })
        };
        self.change_alias(asked, of, alias, expected, decide).await
    }

    /// Takes an alias away. Without `prod` a bare name means the newest version again.
    ///
    /// # Errors
    /// `not_found`, `precondition_failed`.
    pub async fn delete_alias(
        &self,
        asked: Asked<'_>,
        (kind, name): (Kind, &Name),
        alias: Name,
        expected: Option<u64>,
    ) -> Result<()> {
        let tenant = asked.tenant(write(kind))?;
        let (owner, object, wanted) = (tenant.clone(), name.clone(), alias.clone());
        self.store
            .write(asked.actor(), move |state| {
                state.object(&owner, &object)?.filter(|row| live(row, kind)).ok_or_else(Fault::not_found)?;
                let now = state.alias(&owner, &object, &wanted)?.ok_or_else(Fault::not_found)?;
                as_expected(Some(&now), expected)?;
                let event = AliasDeleted { tenant: owner.name().clone(), name: object, alias: wanted };
                Ok((Some(Event::AliasDeleted(event)), ()))
            })
            .await?;
        self.alias_changed(tenant, name, &alias)
    }

    /// Deletes a version that serves under no alias and is not the newest. Calls under way finish.
    ///
    /// # Errors
    /// `not_found`; `conflict` for one that serves.
    pub async fn delete_version(&self, asked: Asked<'_>, (kind, name): (Kind, &Name), version: u64) -> Result<()> {
        let tenant = asked.tenant(write(kind))?;
        let (owner, object) = (tenant.clone(), name.clone());
        let row = self
            .store
            .write(asked.actor(), move |state| {
                state.object(&owner, &object)?.filter(|row| live(row, kind)).ok_or_else(Fault::not_found)?;
                let row = state.version(&owner, &object, version)?.ok_or_else(Fault::not_found)?;
                let event = VersionDeleted { tenant: owner.name().clone(), name: object, version };
                Ok((Some(Event::VersionDeleted(event)), row))
            })
            .await?;
        self.directory.forget(tenant, name);
        if kind == Kind::Model {
            self.models.evict(tenant, row.digest, row.inspection.device);
        }
        Ok(())
    }

    /// Lists what the aliases of a plugin or model were told, newest first, behind the number `after`.
    ///
    /// # Errors
    /// `not_found`.
    pub fn deployments(
        &self,
        asked: Asked<'_>,
        (kind, name): (Kind, &Name),
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Page<DeploymentDocument>> {
        let tenant = asked.tenant(read(kind))?;
        self.object_row(tenant, kind, name)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().deployments(tenant, name, after, limit + 1)?;
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, |d: &DeploymentDocument| d.number.to_string()))
    }

    /// Records what `decide` makes of an alias, of which it sees no older state than another change before.
    pub(super) async fn change_alias(
        &self,
        asked: Asked<'_>,
        (kind, name): (Kind, &Name),
        alias: Name,
        expected: Option<u64>,
        decide: impl FnOnce(&State<'_>, Option<&AliasRow>) -> Result<Deployment> + Send + 'static,
    ) -> Result<AliasDocument> {
        let tenant = asked.tenant(write(kind))?;
        let (owner, object, wanted) = (tenant.clone(), name.clone(), alias.clone());
        self.store
            .write(asked.actor(), move |state| {
                state.object(&owner, &object)?.filter(|row| live(row, kind)).ok_or_else(Fault::not_found)?;
                let now = state.alias(&owner, &object, &wanted)?;
                as_expected(now.as_ref(), expected)?;
                if now.is_none() && state.aliases(&owner, &object, None, MAX_ALIASES)?.len() == MAX_ALIASES {
                    return Err(Fault::new(Code::Conflict, format!("a name has at most {MAX_ALIASES} aliases")));
                }
                let mut deployment = decide(state, now.as_ref())?;
                pin(state, (&owner, kind, &object), &mut deployment.route)?;
                if let Some(shadow) = deployment.route.shadow {
                    let version = state.version(&owner, &object, shadow)?;
                    if version.is_some_and(|version| !is_called(&version.inspection)) {
                        return Err(unsupported(&object, shadow));
                    }
                }
                let tenant = owner.name().clone();
                Ok((Some(Event::AliasSet(AliasSet { tenant, name: object, alias: wanted, deployment })), ()))
            })
            .await?;
        self.alias_changed(tenant, name, &alias)?;
        self.show_alias(tenant, (kind, name), &alias)
    }

    /// What is in memory follows what was recorded.
    pub(super) fn alias_changed(&self, tenant: &Tenant, name: &Name, alias: &Name) -> Result<()> {
        self.directory.forget(tenant, name);
        self.rollouts.follow(tenant, name, alias, || self.store.state().alias(tenant, name, alias))
    }

    fn show_alias(&self, tenant: &Tenant, (kind, name): (Kind, &Name), alias: &Name) -> Result<AliasDocument> {
        let row = self.store.state().alias(tenant, name, alias)?.ok_or_else(Fault::not_found)?;
        Ok(self.alias_document(tenant, row, self.newest_configuration(tenant, (kind, name))?))
    }

    fn newest_configuration(&self, tenant: &Tenant, (kind, name): (Kind, &Name)) -> Result<Option<u64>> {
        (kind == Kind::Plugin).then(|| newest(&self.store.state(), tenant, name)).transpose()
    }

    fn alias_document(&self, tenant: &Tenant, row: AliasRow, newest_configuration: Option<u64>) -> AliasDocument {
        let AliasRow { name, alias, route, deployment, back, set_ms, set_by, .. } = row;
        let record = self.records.get(tenant, &name);
        let figures = |version| record.as_ref().map(|r| r.version(version).last_minute(0)).unwrap_or_default();
        let last_minute =
            route.versions().map(|version| VersionFigures { version, figures: figures(version) }).collect();
        let compared = route
            .shadow
            .map(|version| record.as_ref().map(|record| record.version(version).shadowed.read()).unwrap_or_default());
        AliasDocument {
            alias,
            route,
            deployment,
            rollback_to: back,
            newest_configuration,
            set_ms,
            set_by,
            last_minute,
            compared,
        }
    }
}

/// `If-Match`.
fn as_expected(now: Option<&AliasRow>, expected: Option<u64>) -> Result<()> {
    match (expected, now) {
        (Some(expected), now) if now.map(|row| row.deployment) != Some(expected) => {
            Err(Fault::new(Code::PreconditionFailed, "the alias was changed by another deployment"))
        }
        _ => Ok(()),
    }
}
