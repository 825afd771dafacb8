//! Triggers and their runs in the view.

use aimass_core::event::{
    Event, RunCause, Sealed, Trigger, TriggerDeleted, TriggerFired, TriggerPaused, TriggerRun, TriggerSet,
};
use aimass_core::{Digest, Fault, Name, Result, Tenant};
use serde::{Deserialize, Serialize};

use super::apply::{Changes, conflict, must_exist, put};
use super::keys;
use super::state::State;
use crate::journal::Record;

/// Runs of a trigger that are kept; the oldest go when another one comes.
const KEPT: u64 = 1_000;

/// But none is forgotten so soon: what caused it may come again, and must not run again. A signed webhook is accepted
/// for five minutes.
const REMEMBERED_MS: u64 = 15 * 60 * 1_000;

/// Bytes of a webhook's secret as it is kept: `whsec_` and base64 of 32 bytes.
const SECRET: u64 = 50;

/// Runs that go when one comes: one keeps pace, two catch up behind a burst.
const FORGOTTEN_AT_ONCE: u64 = 2;

/// A trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerRow {
    /// Whose.
    pub tenant: Name,
    /// Its name.
    pub name: Name,
    /// When it fires, and what it runs.
    pub trigger: Trigger,
    /// Whether it rests.
    pub paused: bool,
    /// When it was made, milliseconds since the epoch.
    pub created_ms: u64,
    /// The number of the record that made it: tells it from an earlier one of its name.
    pub generation: u64,
    /// The secret of its webhooks, in [`crate::Blobs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Digest>,
    /// What requests to its bucket are signed with: see [`crate::open_credentials`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Sealed>,
    /// When it was made, replaced or resumed: nothing is due that was before.
    pub since_ms: u64,
    /// The number of the record that did so.
    pub since_seq: u64,
    /// The subject of the token that made or replaced it.
    pub changed_by: String,
    /// The newest time of its schedule that was fired or passed over, milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_slot_ms: Option<u64>,
    /// The newest event that fired it, by the number of its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event: Option<u64>,
    /// How often it fired.
    pub runs: u64,
    /// The number of its oldest run that is kept.
    pub oldest_run: u64,
}

/// One firing of a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// Whose.
    pub tenant: Name,
    /// Its number, from 1.
    pub number: u64,
    /// Its id and its cause.
    #[serde(flatten)]
    pub run: TriggerRun,
    /// When it was fired, milliseconds since the epoch.
    pub fired_ms: u64,
    /// The subject of who asked for it; none where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
}

impl State<'_> {
    /// A trigger.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn trigger(&self, tenant: &Tenant, name: &Name) -> Result<Option<TriggerRow>> {
        self.row(&trigger_key(tenant.name(), name))
    }

    /// At most `limit` triggers of a tenant behind `after`, by name.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn triggers(&self, tenant: &Tenant, after: Option<&Name>, limit: usize) -> Result<Vec<TriggerRow>> {
        let after = after.map(|name| trigger_key(tenant.name(), name));
        self.rows(&triggers_key(tenant.name()), after, limit, |_| true)
    }

    /// Every trigger of every tenant: for what fires them.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn all_triggers(&self) -> Result<Vec<TriggerRow>> {
        self.rows(&keys::worded("trigger", &[b""]), None, usize::MAX, |_| true)
    }

    /// A run by its id.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn trigger_run(&self, tenant: &Tenant, trigger: &Name, id: &str) -> Result<Option<RunRow>> {
        self.run_of(tenant.name(), trigger, id)
    }

    /// At most `limit` runs of a trigger before number `before`, newest first.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn trigger_runs(
        &self,
        tenant: &Tenant,
        trigger: &Name,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<RunRow>> {
        let after = before.map(|number| run_key(tenant.name(), trigger, number));
        self.rows(&runs_key(tenant.name(), trigger), after, limit, |_| true)
    }

    /// Which version of an object a trigger was fired for last.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn trigger_object(&self, tenant: &Tenant, trigger: &Name, path: &str) -> Result<Option<String>> {
        let row: Option<(String, String)> = self.row(&object_key(tenant.name(), trigger, path))?;
        Ok(row.map(|(_, version)| version))
    }

    /// The blobs that triggers and their runs name: secrets and bodies, by tenant.
    pub(super) fn trigger_blobs(&self) -> Result<Vec<(Name, Digest, u64)>> {
        let secrets = self.all_triggers()?.into_iter().filter_map(|row| Some((row.tenant, row.secret?, SECRET)));
        let runs: Vec<RunRow> = self.rows(&keys::worded("trigger-run", &[b""]), None, usize::MAX, |run: &RunRow| {
            matches!(run.run.cause, RunCause::Webhook { .. })
        })?;
        let bodies = runs.into_iter().filter_map(|row| match row.run.cause {
            RunCause::Webhook { body, size, .. } => Some((row.tenant, body, size)),
            _ => None,
        });
        Ok(secrets.chain(bodies).collect())
    }

    fn run_of(&self, tenant: &Name, trigger: &Name, id: &str) -> Result<Option<RunRow>> {
        let number: Option<u64> = self.row(&id_key(tenant, trigger, id))?;
        number.map_or(Ok(None), |number| self.row(&run_key(tenant, trigger, number)))
    }

    fn trigger_of(&self, tenant: &Name, name: &Name) -> Result<TriggerRow> {
        self.row(&trigger_key(tenant, name))?.ok_or_else(Fault::not_found)
    }
}

pub(super) fn changes(state: &State<'_>, record: &Record, out: &mut Changes) -> Result<()> {
    let now = record.time_ms;
    match &record.event {
        Event::TriggerSet(TriggerSet { tenant, name, trigger, secret, credentials }) => {
            must_exist(state, tenant)?;
            let before: Option<TriggerRow> = state.row(&trigger_key(tenant, name))?;
            let fresh = TriggerRow {
                tenant: tenant.clone(),
                name: name.clone(),
                trigger: trigger.clone(),
                paused: false,
                created_ms: now,
                generation: record.seq,
                secret: *secret,
                credentials: credentials.clone(),
                since_ms: now,
                since_seq: record.seq,
                changed_by: record.actor.subject.clone(),
                last_slot_ms: None,
                last_event: None,
                runs: 0,
                oldest_run: 1,
            };
            let row = match before {
                None => fresh,
                Some(before) => TriggerRow {
                    paused: before.paused,
                    created_ms: before.created_ms,
                    generation: before.generation,
                    runs: before.runs,
                    oldest_run: before.oldest_run,
                    ..fresh
                },
            };
            put(out, trigger_key(tenant, name), &row)
        }
        Event::TriggerDeleted(TriggerDeleted { tenant, name }) => {
            let row = state.trigger_of(tenant, name)?;
            for number in row.oldest_run..=row.runs {
                forget(state, out, (tenant, name), number)?;
            }
            let objects: Vec<(String, String)> =
                state.rows(&object_key(tenant, name, ""), None, usize::MAX, |_| true)?;
            out.extend(objects.iter().map(|(path, _)| (object_key(tenant, name, path), None)));
            out.push((trigger_key(tenant, name), None));
            Ok(())
        }
        Event::TriggerPaused(TriggerPaused { tenant, name, paused }) => {
            let row = state.trigger_of(tenant, name)?;
            // What came due while it rested is not caught up with: that is what resting is for.
            let row = match paused {
                true => TriggerRow { paused: true, ..row },
                false => TriggerRow {
                    paused: false,
                    since_ms: now,
                    since_seq: record.seq,
                    last_slot_ms: None,
                    last_event: None,
                    ..row
                },
            };
            put(out, trigger_key(tenant, name), &row)
        }
        Event::TriggerFired(TriggerFired { tenant, name, run }) => {
            let mut row = state.trigger_of(tenant, name)?;
            if state.run_of(tenant, name, &run.id)?.is_some() {
                return Err(conflict("this run is recorded already"));
            }
            match run.cause {
                RunCause::Cron { slot_ms, .. } => row.last_slot_ms = row.last_slot_ms.max(Some(slot_ms)),
                RunCause::Event { seq, .. } => row.last_event = row.last_event.max(Some(seq)),
                // Kept as long as the trigger: an object may lie there for years.
                RunCause::Object { ref path, ref version, .. } => {
                    put(out, object_key(tenant, name, path), &(path, version))?;
                }
                _ => {}
            }
            row.runs += 1;
            for _ in 0..FORGOTTEN_AT_ONCE {
                let oldest: Option<RunRow> = state.row(&run_key(tenant, name, row.oldest_run))?;
                let old = oldest.is_none_or(|run| now.saturating_sub(run.fired_ms) > REMEMBERED_MS);
                if row.runs - row.oldest_run < KEPT || !old {
                    break;
                }
                forget(state, out, (tenant, name), row.oldest_run)?;
                row.oldest_run += 1;
            }
            put(out, id_key(tenant, name, &run.id), &row.runs)?;
            let asked_by = record.actor.token.is_some().then(|| record.actor.subject.clone());
            let (number, tenant_name) = (row.runs, tenant.clone());
            let fired = RunRow { tenant: tenant_name, number, run: run.clone(), fired_ms: now, asked_by };
            put(out, run_key(tenant, name, row.runs), &fired)?;
            put(out, trigger_key(tenant, name), &row)
        }
        // Everything that is none of triggers'.
        _ => Ok(()),
    }
}

fn forget(state: &State<'_>, out: &mut Changes, (tenant, name): (&Name, &Name), number: u64) -> Result<()> {
    let key = run_key(tenant, name, number);
    if let Some(row) = state.row::<RunRow>(&key)? {
        out.push((id_key(tenant, name, &row.run.id), None));
        out.push((key, None));
    }
    Ok(())
}

fn triggers_key(tenant: &Name) -> Vec<u8> {
    keys::worded("trigger", &[tenant.as_str().as_bytes(), b""])
}

fn trigger_key(tenant: &Name, name: &Name) -> Vec<u8> {
    keys::worded("trigger", &[tenant.as_str().as_bytes(), name.as_str().as_bytes()])
}

fn runs_key(tenant: &Name, trigger: &Name) -> Vec<u8> {
    keys::worded("trigger-run", &[tenant.as_str().as_bytes(), trigger.as_str().as_bytes(), b""])
}

/// Newest first.
fn run_key(tenant: &Name, trigger: &Name, number: u64) -> Vec<u8> {
    [&runs_key(tenant, trigger)[..], &(u64::MAX - number).to_be_bytes()].concat()
}

fn id_key(tenant: &Name, trigger: &Name, id: &str) -> Vec<u8> {
    keys::worded("trigger-run-id", &[tenant.as_str().as_bytes(), trigger.as_str().as_bytes(), id.as_bytes()])
}

/// The path comes last, and may hold anything.
fn object_key(tenant: &Name, trigger: &Name, path: &str) -> Vec<u8> {
    keys::worded("trigger-object", &[tenant.as_str().as_bytes(), trigger.as_str().as_bytes(), path.as_bytes()])
}
