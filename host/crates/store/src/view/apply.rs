//! What an event changes in the view. One function for live writes, replay and rebuild, so they cannot differ.

use aimass_core::event::{Event, Limits};
use aimass_core::{Code, Fault, Name, Result};
use serde::Serialize;

use super::rows::{DataKeyRow, IdempotentRow, ObjectRow, TenantRow, TokenRow, UploadOutcome, VersionRow};
use super::state::State;
use super::{configuration, deployments, erasure, identity, keys, uploads};
use crate::journal::Record;

/// sled makes files of large values and does not sync them; so none is large.
const MAX_ROW: usize = 60 << 10;

/// Rows to write, and (with `None`) to remove.
pub(super) type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// What `record` changes in `state`.
///
/// # Errors
/// The event does not fit the state, and must not be recorded: `not_found` for what it refers to, `conflict` for what
/// exists already or is not next, `payload_too_large` for a row over 60 KiB.
pub(crate) fn changes(state: &State<'_>, record: &Record) -> Result<Changes> {
    let mut out = Vec::new();
    let time_ms = record.time_ms;
    match &record.event {
        Event::TenantCreated { tenant } => {
            if state.tenant(tenant)?.is_some() {
                return Err(conflict(format!("the tenant `{tenant}` exists already")));
            }
            if state.is_erased(tenant)? {
                return Err(conflict(format!("a tenant `{tenant}` was erased; its name is not given again")));
            }
            put(
                &mut out,
                keys::tenant(tenant),
                &TenantRow { name: tenant.clone(), created_ms: time_ms, limits: Limits::default() },
            )?;
        }
        Event::DataKeyCreated { tenant, ring, generation, key } => {
            // What is sealed under the first one could not be read any more.
            if state.has_data_key(tenant)? {
                return Err(conflict(format!("the tenant `{tenant}` has a data key already")));
            }
            if state.is_erased(tenant)? {
                return Err(Fault::not_found());
            }
            let row =
                DataKeyRow { tenant: tenant.clone(), ring: ring.clone(), generation: *generation, key: key.clone() };
            put(&mut out, keys::data_key(tenant), &row)?;
        }
        Event::TenantLimitsSet { tenant, limits } => {
            let row = state.tenant(tenant)?.ok_or_else(Fault::not_found)?;
            put(&mut out, keys::tenant(tenant), &TenantRow { limits: *limits, ..row })?;
        }
        Event::TokenMinted { jti, subject, tenant, scopes, expires } => {
            if let Some(tenant) = tenant {
                must_exist(state, tenant)?;
            }
            if state.token(jti)?.is_some() {
                return Err(conflict("a token with this id exists already"));
            }
            let row = TokenRow {
                jti: jti.clone(),
                subject: subject.clone(),
                tenant: tenant.clone(),
                scopes: scopes.clone(),
                expires: *expires,
                minted_ms: time_ms,
                revoked: state.row::<(String, u64)>(&keys::revoked(jti))?.is_some(),
            };
            put(&mut out, keys::token(jti), &row)?;
            put(&mut out, keys::token_of(tenant.as_ref(), jti), &())?;
        }
        Event::TokenRevoked { jti } => {
            let mut expires = u64::MAX;
            if let Some(token) = state.token(jti)? {
                expires = token.expires;
                put(&mut out, keys::token(jti), &TokenRow { revoked: true, ..token })?;
            }
            put(&mut out, keys::revoked(jti), &(jti, expires))?;
        }
        Event::VersionCreated {
            tenant,
            kind,
            name,
            version,
            digest,
            size,
            inspection,
            idempotency_key,
            provenance,
        } => {
            must_exist(state, tenant)?;
            let known = state.object_of(tenant, name)?;
            let next = known.as_ref().map_or(0, |o| o.latest) + 1;
            if *version != next {
                return Err(conflict(format!("the next version of `{name}` is {next}")));
            }
            let object = match known {
                Some(object) if !object.deleted && object.kind != *kind => {
                    return Err(conflict(format!("`{name}` is a {}", object.kind.as_str())));
                }
                Some(object) if !object.deleted => ObjectRow { latest: next, ..object },
                _ => ObjectRow {
                    kind: *kind,
                    name: name.clone(),
                    latest: next,
                    deleted: false,
                    created_ms: time_ms,
                    public: false,
                },
            };
            put(&mut out, keys::object(tenant, name), &object)?;
            let row = VersionRow {
                kind: *kind,
                name: name.clone(),
                version: next,
                digest: *digest,
                size: *size,
                inspection: inspection.clone(),
                created_ms: time_ms,
                created_by: record.actor.subject.clone(),
                idempotency_key: idempotency_key.clone(),
                provenance: provenance.clone(),
            };
            put(&mut out, keys::version(tenant, name, next), &row)?;
            if let Some(key) = idempotency_key {
                let row = IdempotentRow { name: name.clone(), version: next };
                put(&mut out, keys::idempotent(tenant, key), &row)?;
            }
            if let Some(id) = &provenance.upload {
                uploads::ended(state, &mut out, tenant, id, UploadOutcome::Ready { version: next })?;
            }
        }
        Event::UploadAccepted { .. }
        | Event::UploadFailed { .. }
        | Event::UploadRefused { .. }
        | Event::SignerAdded { .. }
        | Event::SignerRemoved { .. }
        | Event::SignaturesRequired { .. } => uploads::changes(state, record, &mut out)?,
        Event::ObjectDeleted { tenant, name } => {
            let object = living(state, tenant, name)?;
            for row in state.rows::<VersionRow>(&keys::versions(tenant, name), None, usize::MAX, |_| true)? {
                drop_version(state, &mut out, tenant, &row)?;
            }
            out.push((keys::settings(tenant, name), None));
            deployments::forget(state, &mut out, tenant, name)?;
            configuration::delete_all(state, &mut out, tenant, name)?;
            put(&mut out, keys::object(tenant, name), &ObjectRow { deleted: true, public: false, ..object })?;
        }
        Event::AliasSet(_) | Event::AliasDeleted(_) | Event::VersionDeleted(_) => {
            deployments::changes(state, record, &mut out)?;
        }
        Event::SettingsReplaced { tenant, name, settings, number, sealed } => {
            living(state, tenant, name)?;
            match sealed {
                Some(sealed) => {
                    configuration::replace_settings(state, &mut out, record, (tenant, name), (*number, sealed))?;
                }
                None => put(&mut out, keys::settings(tenant, name), settings)?,
            }
        }
        Event::SecretSet(set) => {
            living(state, &set.tenant, &set.name)?;
            configuration::set_secret(state, &mut out, record, set)?;
        }
        Event::SecretDeleted(gone) => {
            living(state, &gone.tenant, &gone.name)?;
            configuration::delete_secret(state, &mut out, record, gone)?;
        }
        Event::DataKeysRewrapped(rewrapped) => erasure::rewrap(state, &mut out, rewrapped)?,
        Event::TenantErased(erased) => erasure::erase(state, &mut out, erased, time_ms)?,
        Event::Read { .. }
        | Event::InvocationGivenUp { .. }
        | Event::IntegrityFailed { .. }
        | Event::SigningKeyRotated { .. }
        | Event::SigningKeyRevoked { .. } => {}
        Event::IssuerAdded { tenant, name, issuer } => {
            must_exist(state, tenant)?;
            identity::add_issuer(state, &mut out, tenant, name, issuer, time_ms)?;
        }
        Event::IssuerRemoved { tenant, name } => identity::remove_issuer(state, &mut out, tenant, name)?,
        Event::IssuerRevocationSet { tenant, name, revocation, revoked } => {
            identity::set_revocation(state, &mut out, (tenant, name), revocation, *revoked)?;
        }
        Event::RoleSet { tenant, name, scopes } => {
            must_exist(state, tenant)?;
            identity::set_role(state, &mut out, tenant, name, scopes, time_ms)?;
        }
        Event::RoleDeleted { tenant, name } => identity::delete_role(state, &mut out, tenant, name)?,
        Event::PublicAccessSet { tenant, name, public } => {
            let object = living(state, tenant, name)?;
            put(&mut out, keys::object(tenant, name), &ObjectRow { public: *public, ..object })?;
        }
        Event::FileStored(_)
        | Event::FileDeleted(_)
        | Event::JobCreated(_)
        | Event::JobAdvanced(_)
        | Event::JobRestarted(_)
        | Event::JobEnded(_) => super::jobs::changes(state, record, &mut out)?,
        Event::QuotaWarned { .. } => super::quotas::changes(state, &record.event, &mut out)?,
        Event::EgressAllowed { .. }
        | Event::EgressRuleRemoved { .. }
        | Event::DataRegionSet { .. }
        | Event::TransferAllowed { .. }
        | Event::TransferRuleRemoved { .. }
        | Event::EgressRefused { .. }
        | Event::UsageRecorded(_)
        | Event::ObjectUsageRecorded(_)
        | Event::UsagePruned(_) => super::egress::changes(state, &record.event, &mut out)?,
        Event::TriggerSet(_) | Event::TriggerDeleted(_) | Event::TriggerPaused(_) | Event::TriggerFired(_) => {
            super::triggers::changes(state, record, &mut out)?
        }
        Event::WebhookSet { .. } | Event::WebhookRemoved { .. } => super::webhooks::changes(state, record, &mut out)?,
    }
    Ok(out)
}

pub(super) fn must_exist(state: &State<'_>, tenant: &Name) -> Result<()> {
    state.tenant(tenant)?.map(drop).ok_or_else(Fault::not_found)
}

pub(super) fn living(state: &State<'_>, tenant: &Name, name: &Name) -> Result<ObjectRow> {
    state.object_of(tenant, name)?.filter(|o| !o.deleted).ok_or_else(Fault::not_found)
}

/// Takes a version out of the view, with what was remembered of its upload.
pub(super) fn drop_version(state: &State<'_>, out: &mut Changes, tenant: &Name, row: &VersionRow) -> Result<()> {
    out.push((keys::version(tenant, &row.name, row.version), None));
    if let Some(key) = &row.idempotency_key {
        // It may have been used again since, for another object.
        let key = keys::idempotent(tenant, key);
        let is_ours = |i: &IdempotentRow| i.name == row.name && i.version == row.version;
        if state.row(&key)?.as_ref().is_some_and(is_ours) {
            out.push((key, None));
        }
    }
    Ok(())
}

pub(super) fn conflict(detail: impl Into<String>) -> Fault {
    Fault::new(Code::Conflict, detail)
}

pub(super) fn put(out: &mut Changes, key: Vec<u8>, row: &impl Serialize) -> Result<()> {
    put_bytes(out, key, &serde_json::to_vec(row).map_err(Fault::internal)?)
}

/// A row that is no JSON: JSON makes bytes larger.
pub(super) fn put_bytes(out: &mut Changes, key: Vec<u8>, value: &[u8]) -> Result<()> {
    if key.len() + value.len() > MAX_ROW {
        return Err(Fault::new(Code::PayloadTooLarge, format!("what is kept of it is over {} KiB", MAX_ROW >> 10)));
    }
    out.push((key, Some(value.to_vec())));
    Ok(())
}
