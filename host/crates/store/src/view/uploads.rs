//! Uploads that are compiled in the background, and who may sign plugins: what events change, and how it is read.

use aimass_core::event::Event;
use aimass_core::{Fault, Name, Result, Tenant};

use super::apply::{Changes, conflict, must_exist, put};
use super::keys;
use super::rows::{SignerRow, UploadOutcome, UploadRow};
use super::state::State;
use crate::journal::Record;

/// Uploads of a tenant that have ended and are still shown; the oldest go when another one comes.
const KEPT: usize = 100;

pub(super) fn changes(state: &State<'_>, record: &Record, out: &mut Changes) -> Result<()> {
    match &record.event {
        Event::UploadAccepted { tenant, id, name, digest, size, wish } => {
            must_exist(state, tenant)?;
            if state.row::<UploadRow>(&keys::upload(tenant, id))?.is_some() {
                return Err(conflict("an upload with this id exists already"));
            }
            // Ids begin with the time, so these are the oldest.
            let ended =
                state.rows(&keys::uploads(tenant), None, usize::MAX, |row: &UploadRow| row.outcome.is_some())?;
            for old in &ended[..ended.len().saturating_sub(KEPT)] {
                out.push((keys::upload(tenant, &old.id), None));
            }
            let row = UploadRow {
                tenant: tenant.clone(),
                id: id.clone(),
                name: name.clone(),
                digest: *digest,
                size: *size,
                wish: wish.clone(),
                actor: record.actor.clone(),
                accepted_ms: record.time_ms,
                outcome: None,
            };
            put(out, keys::upload(tenant, id), &row)
        }
        Event::UploadFailed { tenant, id, code, detail } => {
            let outcome = UploadOutcome::Failed { code: code.clone(), detail: detail.clone() };
            ended(state, out, tenant, id, outcome)
        }
        Event::UploadRefused { tenant, .. } => must_exist(state, tenant),
        Event::SignerAdded { tenant, signer, key } => {
            must_exist(state, tenant)?;
            let same = |row: &SignerRow| row.name == *signer || row.key == *key;
            if let Some(row) = state.rows(&keys::signers(tenant), None, 1, same)?.first() {
                return Err(conflict(format!("the signer `{}` has this name or this key already", row.name)));
            }
            let row = SignerRow {
                name: signer.clone(),
                key: key.clone(),
                added_ms: record.time_ms,
                added_by: record.actor.subject.clone(),
            };
            put(out, keys::signer(tenant, signer), &row)
        }
        Event::SignerRemoved { tenant, signer } => {
            let key = keys::signer(tenant, signer);
            state.row::<SignerRow>(&key)?.ok_or_else(Fault::not_found)?;
            out.push((key, None));
            Ok(())
        }
        Event::SignaturesRequired { tenant, required } => {
            must_exist(state, tenant)?;
            put(out, keys::signatures_required(tenant), required)
        }
        _ => Err(Fault::internal("an event of another kind")),
    }
}

/// An upload that is under way has this outcome.
pub(super) fn ended(
    state: &State<'_>,
    out: &mut Changes,
    tenant: &Name,
    id: &str,
    outcome: UploadOutcome,
) -> Result<()> {
    let key = keys::upload(tenant, id);
    let row = state.row::<UploadRow>(&key)?.filter(|row| row.outcome.is_none()).ok_or_else(Fault::not_found)?;
    put(out, key, &UploadRow { outcome: Some(outcome), ..row })
}

impl State<'_> {
    /// An upload that was accepted to be compiled in the background, by its id.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn upload(&self, tenant: &Tenant, id: &str) -> Result<Option<UploadRow>> {
        self.row(&keys::upload(tenant.name(), id))
    }

    /// At most `limit` uploads of a tenant behind `after`, by id, which is the order in which they came.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn uploads(&self, tenant: &Tenant, after: Option<&str>, limit: usize) -> Result<Vec<UploadRow>> {
        let after = after.map(|id| keys::upload(tenant.name(), id));
        self.rows(&keys::uploads(tenant.name()), after, limit, |_| true)
    }

    /// The uploads of all tenants that are under way.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn uploads_under_way(&self) -> Result<Vec<UploadRow>> {
        self.rows(&keys::all_uploads(), None, usize::MAX, |row: &UploadRow| row.outcome.is_none())
    }

    /// At most `limit` signers whom a tenant trusts behind `after`, by name.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn signers(&self, tenant: &Tenant, after: Option<&Name>, limit: usize) -> Result<Vec<SignerRow>> {
        let after = after.map(|name| keys::signer(tenant.name(), name));
        self.rows(&keys::signers(tenant.name()), after, limit, |_| true)
    }

    /// Whether a tenant's plugins must be signed.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn signatures_required(&self, tenant: &Tenant) -> Result<bool> {
        Ok(self.row(&keys::signatures_required(tenant.name()))?.unwrap_or_default())
    }
}
