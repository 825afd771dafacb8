//! Aliases and their history: what events change, and how it is read.

use std::collections::BTreeSet;

use aimass_core::event::{AliasDeleted, AliasSet, Change, Deployment, Event, Route, VersionDeleted};
use aimass_core::{Fault, Name, Result, Tenant};
use serde::{Deserialize, Serialize};

use super::apply::{Changes, conflict, drop_version, living, put};
use super::rows::VersionRow;
use super::state::State;
use super::{configuration, keys};
use crate::journal::Record;

/// Deployments of a plugin or model that are kept; the oldest goes when another one comes. The journal has them all.
const KEPT: u64 = 1_000;

/// What an alias says now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRow {
    /// Whose.
    pub tenant: Name,
    /// Which plugin's or model's.
    pub name: Name,
    /// The alias.
    pub alias: Name,
    /// What it says.
    pub route: Route,
    /// The number of the deployment that made it so.
    pub deployment: u64,
    /// The number of the deployment that a rollback goes to.
    pub back: Option<u64>,
    /// Since when, milliseconds since the epoch.
    pub set_ms: u64,
    /// The subject of the token that made it so.
    pub set_by: String,
}

/// One change of an alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRow {
    /// Its number, from 1 for each plugin or model.
    pub number: u64,
    /// Which alias.
    pub alias: Name,
    /// What it changed.
    pub deployment: Deployment,
    /// The number of the deployment that a rollback of it goes to.
    pub back: Option<u64>,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// The subject of the token that did it.
    pub by: String,
}

/// The rows of one kind of a plugin or model. A [`Name`] holds no NUL.
fn rows(kind: &str, tenant: &Name, name: &Name) -> Vec<u8> {
    [b"\x01", kind.as_bytes(), b"\0", tenant.as_str().as_bytes(), b"\0", name.as_str().as_bytes(), b"\0"].concat()
}

fn aliases(tenant: &Name, name: &Name) -> Vec<u8> {
    rows("alias", tenant, name)
}

fn alias_key(tenant: &Name, name: &Name, alias: &Name) -> Vec<u8> {
    [aliases(tenant, name).as_slice(), alias.as_str().as_bytes()].concat()
}

fn deployments(tenant: &Name, name: &Name) -> Vec<u8> {
    rows("deployment", tenant, name)
}

/// The newest first.
fn deployment_key(tenant: &Name, name: &Name, number: u64) -> Vec<u8> {
    [deployments(tenant, name).as_slice(), &(u64::MAX - number).to_be_bytes()].concat()
}

impl State<'_> {
    /// What an alias of a plugin or model says.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn alias(&self, tenant: &Tenant, name: &Name, alias: &Name) -> Result<Option<AliasRow>> {
        self.row(&alias_key(tenant.name(), name, alias))
    }

    /// At most `limit` aliases of a plugin or model behind `after`, by name.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn aliases(&self, tenant: &Tenant, name: &Name, after: Option<&Name>, limit: usize) -> Result<Vec<AliasRow>> {
        let after = after.map(|alias| alias_key(tenant.name(), name, alias));
        self.rows(&aliases(tenant.name(), name), after, limit, |_| true)
    }

    /// The aliases of all tenants that try a version out.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn canaries(&self) -> Result<Vec<AliasRow>> {
        self.rows(b"\x01alias\0", None, usize::MAX, |row: &AliasRow| row.route.canary.is_some())
    }

    /// A deployment by its number. Only the last thousand of a plugin or model are kept.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn deployment(&self, tenant: &Tenant, name: &Name, number: u64) -> Result<Option<DeploymentRow>> {
        self.row(&deployment_key(tenant.name(), name, number))
    }

    /// At most `limit` deployments of a plugin or model that came before number `before`, newest first.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn deployments(
        &self,
        tenant: &Tenant,
        name: &Name,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DeploymentRow>> {
        let after = before.map(|number| deployment_key(tenant.name(), name, number));
        self.rows(&deployments(tenant.name(), name), after, limit, |_| true)
    }
}

pub(super) fn changes(state: &State<'_>, record: &Record, out: &mut Changes) -> Result<()> {
    match &record.event {
        Event::AliasSet(AliasSet { tenant, name, alias, deployment }) => {
            set(state, record, (tenant, name, alias), deployment, out)
        }
        Event::VersionDeleted(VersionDeleted { tenant, name, version }) => {
            let object = living(state, tenant, name)?;
            let row = state.row::<VersionRow>(&keys::version(tenant, name, *version))?.ok_or_else(Fault::not_found)?;
            if object.latest == *version {
                return Err(conflict(format!("version {version} is the newest of `{name}`")));
            }
            let names = |row: &AliasRow| row.route.versions().any(|named| named == *version);
            if let Some(row) = state.rows(&aliases(tenant, name), None, 1, names)?.first() {
                return Err(conflict(format!("version {version} serves under the alias `{}`", row.alias)));
            }
            drop_version(state, out, tenant, &row)
        }
        Event::AliasDeleted(AliasDeleted { tenant, name, alias }) => {
            let key = alias_key(tenant, name, alias);
            state.row::<AliasRow>(&key)?.ok_or_else(Fault::not_found)?;
            out.push((key, None));
            Ok(())
        }
        _ => Err(Fault::internal("an event of another kind")),
    }
}

fn set(
    state: &State<'_>,
    record: &Record,
    (tenant, name, alias): (&Name, &Name, &Name),
    deployment: &Deployment,
    out: &mut Changes,
) -> Result<()> {
    living(state, tenant, name)?;
    if deployment.route.split.is_empty() {
        return Err(conflict("an alias names a version"));
    }
    for version in deployment.route.versions() {
        if state.row::<VersionRow>(&keys::version(tenant, name, version))?.is_none() {
            return Err(conflict(format!("`{name}` has no version {version}")));
        }
    }
    for number in deployment.route.configurations() {
        if !configuration::exists(state, tenant, name, number)? {
            return Err(conflict(format!("`{name}` has no configuration {number}, or no longer")));
        }
    }
    let known: Option<AliasRow> = state.row(&alias_key(tenant, name, alias))?;
    let newest = state.rows(&deployments(tenant, name), None, 1, |_: &DeploymentRow| true)?;
    let number = newest.first().map_or(0, |row| row.number) + 1;
    let back = match (deployment.change, deployment.restores) {
        // What is taken back is behind us: the next one goes further back.
        (Change::RolledBack | Change::GateBroken, Some(restored)) => {
            state.row::<DeploymentRow>(&deployment_key(tenant, name, restored))?.and_then(|row| row.back)
        }
        // A canary was never settled: nobody wants to go back to one.
        _ => known.and_then(|row| if row.route.canary.is_some() { row.back } else { Some(row.deployment) }),
    };
    let (at_ms, by) = (record.time_ms, record.actor.subject.clone());
    let row = AliasRow {
        tenant: tenant.clone(),
        name: name.clone(),
        alias: alias.clone(),
        route: deployment.route.clone(),
        deployment: number,
        back,
        set_ms: at_ms,
        set_by: by.clone(),
    };
    put(out, alias_key(tenant, name, alias), &row)?;
    let row = DeploymentRow { number, alias: alias.clone(), deployment: deployment.clone(), back, at_ms, by };
    put(out, deployment_key(tenant, name, number), &row)?;
    if let Some(old) = number.checked_sub(KEPT).filter(|old| *old > 0) {
        out.push((deployment_key(tenant, name, old), None));
    }
    Ok(())
}

/// Every configuration of a plugin's that an alias serves with, or that a deployment can bring back.
pub(super) fn configurations(state: &State<'_>, tenant: &Name, name: &Name) -> Result<BTreeSet<u64>> {
    let said = state.rows::<AliasRow>(&aliases(tenant, name), None, usize::MAX, |_| true)?;
    let were = state.rows::<DeploymentRow>(&deployments(tenant, name), None, usize::MAX, |_| true)?;
    let routes = said.iter().map(|row| &row.route).chain(were.iter().map(|row| &row.deployment.route));
    Ok(routes.flat_map(Route::configurations).collect())
}

/// A plugin or model that goes takes its aliases and their history along.
pub(super) fn forget(state: &State<'_>, out: &mut Changes, tenant: &Name, name: &Name) -> Result<()> {
    for row in state.rows::<AliasRow>(&aliases(tenant, name), None, usize::MAX, |_| true)? {
        out.push((alias_key(tenant, name, &row.alias), None));
    }
    for row in state.rows::<DeploymentRow>(&deployments(tenant, name), None, usize::MAX, |_| true)? {
        out.push((deployment_key(tenant, name, row.number), None));
    }
    Ok(())
}
