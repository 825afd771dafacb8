//! Canaries: watched each second, taken back when their gate breaks, promoted when their time has come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimass_core::event::{Actor, AliasSet, Canary, Change, Deployment, Event, Kind, Route, Seen, Share};
use aimass_core::{Code, Fault, Name, Result, Tenant};
use aimass_store::{AliasRow, State, Store};
use schemars::JsonSchema;
use serde::Deserialize;

use super::aliases::AliasDocument;
use super::pinning::pin;
use super::route::steady;
use crate::rule::{Rule, Values};
use crate::statistics::Recorder;
use crate::window::{self, Figures};
use crate::{Asked, Platform};

/// How often canaries are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Whether to promote a canary whose gate does not hold.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PromoteWish {
    /// Also without the gate, or before it could be asked.
    pub force: bool,
}

/// The canaries that are out, in memory: the loop that watches them reads no index.
#[derive(Default)]
pub(crate) struct Rollouts(Mutex<BTreeMap<(Tenant, Name, Name), Arc<Rollout>>>);

/// A canary that is out.
struct Rollout {
    /// The deployment that let it out: a judgement is about this one, and void if another came meanwhile.
    deployment: u64,
    canary: Canary,
    gate: Option<Rule>,
    /// The version with the largest part of the other calls.
    stable: Option<u64>,
    /// Calls from this second on count: the canary may have had others before.
    since: u64,
    /// When it is promoted by itself, milliseconds since the epoch.
    promote_ms: Option<u64>,
}

/// What there is to say about a canary.
struct Judgement {
    seen: Vec<Seen>,
    /// Whether the gate holds; none while there were too few calls to say.
    holds: Option<bool>,
}

/// Compiles a gate.
///
/// # Errors
/// `invalid_request` that says what is wrong with it.
pub(super) fn compile(gate: &str) -> Result<Rule> {
    Rule::compile(gate, &values(&Figures::default(), &Figures::default()))
}

/// What a gate may ask for: the canary's figures, and those of the version that it is tried beside.
fn values(canary: &Figures, stable: &Figures) -> Values {
    Values::default()
        .number("requests", canary.requests as f64)
        .number("errors", canary.errors as f64)
        .number("error_rate", canary.error_rate)
        .number("p50_ms", canary.p50_ms)
        .number("p99_ms", canary.p99_ms)
        .number("stable_requests", stable.requests as f64)
        .number("stable_errors", stable.errors as f64)
        .number("stable_error_rate", stable.error_rate)
        .number("stable_p50_ms", stable.p50_ms)
        .number("stable_p99_ms", stable.p99_ms)
}

impl Rollouts {
    /// Goes on with the canaries that were out when the node stopped. What was seen of them is gone.
    pub(crate) fn load(store: &Store) -> Result<Self> {
        let rollouts = Self::default();
        for row in store.state().canaries()? {
            let tenant = aimass_auth::resumed(row.tenant.clone());
            let (name, alias) = (row.name.clone(), row.alias.clone());
            if let Err(fault) = rollouts.follow(&tenant, &name, &alias, || Ok(Some(row))) {
                // An older release took it for a condition. Its split stands; who looks after it has to settle it.
                tracing::warn!(%tenant, %name, %alias, %fault, "a canary is not watched");
            }
        }
        Ok(rollouts)
    }

    /// An alias may say something else; `read` tells what, and sees no older state than another caller's before.
    pub(super) fn follow(
        &self,
        tenant: &Tenant,
        name: &Name,
        alias: &Name,
        read: impl FnOnce() -> Result<Option<AliasRow>>,
    ) -> Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.clone(), name.clone(), alias.clone());
        match read()?.map(Rollout::of).transpose()?.flatten() {
            Some(rollout) => {
                if all.get(&key).is_none_or(|known| known.deployment != rollout.deployment) {
                    all.insert(key, Arc::new(rollout));
                }
            }
            None => drop(all.remove(&key)),
        }
        Ok(())
    }

    /// Forgets what a deleted plugin or model tried out.
    pub(crate) fn forget(&self, tenant: &Tenant, name: &Name) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(of, object, _), _| of != tenant || object != name);
    }

    fn list(&self) -> Vec<((Tenant, Name, Name), Arc<Rollout>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(key, rollout)| (key.clone(), rollout.clone())).collect()
    }

    fn get(&self, tenant: &Tenant, name: &Name, alias: &Name) -> Option<Arc<Rollout>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(tenant.clone(), name.clone(), alias.clone())).cloned()
    }
}

impl Rollout {
    fn of(row: AliasRow) -> Result<Option<Self>> {
        let stable = steady(&row.route).into_iter().max_by_key(|share| share.weight).map(|share| share.version);
        let Some(canary) = row.route.canary else { return Ok(None) };
        let gate = canary.gate.as_deref().map(compile).transpose()?;
        let promote_ms = canary.after_seconds.map(|seconds| row.set_ms.saturating_add(seconds.saturating_mul(1_000)));
        // What came in the second of the change may have been for another deployment of the same version.
        Ok(Some(Self { deployment: row.deployment, canary, gate, stable, since: window::now() + 1, promote_ms }))
    }

    /// By the figures of the last minute or, where that has too few calls of the canary, of the last hour.
    fn judge(&self, minute: impl Fn(u64) -> Figures, hour: impl Fn(u64) -> Figures) -> Judgement {
        let enough = minute(self.canary.version).requests >= self.canary.min_requests;
        let of = |version| (version, if enough { minute(version) } else { hour(version) });
        let (canary, stable) = (of(self.canary.version), self.stable.map(of));
        let seen = [Some(canary), stable].into_iter().flatten().map(|(version, f)| seen(version, &f)).collect();
        let holds = match &self.gate {
            _ if canary.1.requests < self.canary.min_requests => None,
            None => Some(true),
            Some(gate) => match gate.holds(&values(&canary.1, &stable.map(|(_, figures)| figures).unwrap_or_default()))
            {
                Ok(holds) => Some(holds),
                // Such as a division by zero: neither a reason to go on nor one to go back.
                Err(fault) => {
                    tracing::debug!(%fault, "a gate comes to nothing");
                    None
                }
            },
        };
        Judgement { seen, holds }
    }
}

/// Figures as the journal keeps them.
pub(crate) fn seen(version: u64, figures: &Figures) -> Seen {
    let micros = |ms: f64| (ms * 1e3).round() as u64;
    let Figures { requests, errors, p50_ms, p99_ms, .. } = *figures;
    Seen { version, requests, errors, p50_us: micros(p50_ms), p99_us: micros(p99_ms) }
}

/// The canary serves all calls.
fn promoted(now: &Route, version: u64, gate: Option<String>, seen: Vec<Seen>) -> Deployment {
    let shadow = now.shadow.filter(|shadow| *shadow != version);
    let shadow_configuration = now.shadow_configuration.filter(|_| shadow.is_some());
    let known = now.split.iter().find(|share| share.version == version);
    let share = Share { weight: 100, ..known.copied().unwrap_or_else(|| Share::new(version, 100)) };
    let route = Route { split: vec![share], shadow, shadow_configuration, canary: None };
    Deployment { route, change: Change::Promoted, restores: None, gate, seen }
}

/// The alias says again what it said before the current deployment; before a canary, if one is out.
///
/// # Errors
/// `conflict` if it said nothing before, or so long ago that it is no longer known.
fn back(state: &State<'_>, tenant: &Tenant, now: &AliasRow, change: Change) -> Result<Deployment> {
    let before = match now.back {
        Some(number) => state.deployment(tenant, &now.name, number)?,
        None => None,
    };
    let (route, restores) = match (before, &now.route.canary) {
        (Some(before), _) => (before.deployment.route, Some(before.number)),
        // What it said is forgotten; what is left without the canary is known.
        (None, Some(_)) => (Route { split: steady(&now.route), canary: None, ..now.route.clone() }, None),
        (None, None) => {
            let detail = format!("`{}:{}` said nothing before that is known", now.name, now.alias);
            return Err(Fault::new(Code::Conflict, detail));
        }
    };
    Ok(Deployment { route, change, restores, gate: None, seen: vec![] })
}

impl Platform {
    /// Lets the canary of an alias serve all calls.
    ///
    /// # Errors
    /// `not_found`; `conflict` without a canary, and (unless forced) with one whose gate does not hold or had too few
    /// calls; `precondition_failed`.
    pub async fn promote(
        &self,
        asked: Asked<'_>,
        of: (Kind, &Name),
        alias: &Name,
        wish: PromoteWish,
        expected: Option<u64>,
    ) -> Result<AliasDocument> {
        let tenant = asked.tenant(super::aliases::write(of.0))?;
        let judged = self.rollouts.get(tenant, of.1, alias).map(|rollout| {
            let judgement = self.judged(tenant, of.1, &rollout);
            (rollout, judgement)
        });
        let decide = move |_: &State<'_>, now: Option<&AliasRow>| {
            let now = now.ok_or_else(Fault::not_found)?;
            let canary = now.route.canary.as_ref().ok_or_else(|| {
                Fault::new(Code::Conflict, format!("`{}:{}` has no canary to promote", now.name, now.alias))
            })?;
            let judged = judged.filter(|(rollout, _)| rollout.deployment == now.deployment);
            let Some((_, judgement)) = judged else {
                return Err(Fault::new(Code::Conflict, "the alias was changed just now; look again"));
            };
            if canary.gate.is_some() && judgement.holds != Some(true) && !wish.force {
                return Err(unpromoted(canary, &judgement));
            }
            Ok(promoted(&now.route, canary.version, canary.gate.clone(), judgement.seen))
        };
        self.change_alias(asked, of, alias.clone(), expected, decide).await
    }

    /// Lets an alias say again what it said before.
    ///
    /// # Errors
    /// `not_found`; `conflict` if there is nothing before; `precondition_failed`.
    pub async fn roll_back(
        &self,
        asked: Asked<'_>,
        of: (Kind, &Name),
        alias: &Name,
        expected: Option<u64>,
    ) -> Result<AliasDocument> {
        let tenant = asked.tenant(super::aliases::write(of.0))?.clone();
        let decide = move |state: &State<'_>, now: Option<&AliasRow>| {
            back(state, &tenant, now.ok_or_else(Fault::not_found)?, Change::RolledBack)
        };
        self.change_alias(asked, of, alias.clone(), expected, decide).await
    }

    /// Watches over the canaries as long as the node runs.
    pub async fn follow_rollouts(&self) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for ((tenant, name, alias), rollout) in self.rollouts.list() {
                let judgement = self.judged(&tenant, &name, &rollout);
                let change = match judgement.holds {
                    Some(false) => Change::GateBroken,
                    Some(true) if rollout.promote_ms.is_some_and(|at| now_ms() >= at) => Change::Promoted,
                    // Without a gate nothing has to be seen first.
                    None if rollout.gate.is_none() && rollout.promote_ms.is_some_and(|at| now_ms() >= at) => {
                        Change::Promoted
                    }
                    _ => continue,
                };
                let settled = self.settle_rollout((&tenant, &name, &alias), &rollout, change, judgement.seen).await;
                if let Err(fault) = settled {
                    // The next look tries again.
                    let cause = fault.cause();
                    tracing::warn!(%tenant, %name, %alias, %fault, cause, "a canary could not be settled");
                }
            }
        }
    }

    /// Ends a canary by the platform's own decision, if it is still the one that was judged.
    async fn settle_rollout(
        &self,
        (tenant, name, alias): (&Tenant, &Name, &Name),
        rollout: &Rollout,
        change: Change,
        seen: Vec<Seen>,
    ) -> Result<()> {
        let (owner, object, wanted) = (tenant.clone(), name.clone(), alias.clone());
        let (deployment, gate) = (rollout.deployment, rollout.canary.gate.clone());
        let settled = self.store.write(Actor::system(), move |state| {
            let now = state.alias(&owner, &object, &wanted)?;
            let Some(now) = now.filter(|row| row.deployment == deployment) else { return Ok((None, false)) };
            let Some(canary) = &now.route.canary else { return Ok((None, false)) };
            let mut deployment = match change {
                Change::Promoted => promoted(&now.route, canary.version, gate, seen),
                _ => Deployment { gate, seen, ..back(state, &owner, &now, change)? },
            };
            let kind = state.object(&owner, &object)?.ok_or_else(Fault::not_found)?.kind;
            pin(state, (&owner, kind, &object), &mut deployment.route)?;
            let tenant = owner.name().clone();
            Ok((Some(Event::AliasSet(AliasSet { tenant, name: object, alias: wanted, deployment })), true))
        });
        if settled.await? {
            let (change, version) = (change.as_str(), rollout.canary.version);
            tracing::info!(%tenant, %name, %alias, version, change, "a canary has ended");
        }
        self.alias_changed(tenant, name, alias)
    }

    fn judged(&self, tenant: &Tenant, name: &Name, rollout: &Rollout) -> Judgement {
        let record = self.records.get(tenant, name);
        let of = |version, read: fn(&Recorder, u64) -> Figures| {
            record.as_ref().map(|record| read(&record.version(version), rollout.since)).unwrap_or_default()
        };
        rollout.judge(|version| of(version, Recorder::last_minute), |version| of(version, Recorder::last_hour))
    }
}

/// Why a canary is not promoted, with its figures.
fn unpromoted(canary: &Canary, judgement: &Judgement) -> Fault {
    let figures = judgement.seen.first().map(figures_in_words).unwrap_or_default();
    let detail = match judgement.holds {
        None => format!(
            "the canary has had too few calls to ask its gate, which takes {}: {figures}; `force` \
             promotes it all the same",
            canary.min_requests
        ),
        Some(_) => format!("the gate `{}` does not hold: {figures}", canary.gate.as_deref().unwrap_or_default()),
    };
    Fault::new(Code::Conflict, detail)
}

fn figures_in_words(seen: &Seen) -> String {
    let ms = |us: u64| us as f64 / 1e3;
    let Seen { version, requests, errors, .. } = *seen;
    format!(
        "version {version}: {requests} calls, {errors} errors, p50 {} ms, p99 {} ms",
        ms(seen.p50_us),
        ms(seen.p99_us)
    )
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rollout(gate: Option<&str>) -> Rollout {
        let canary = Canary { version: 2, gate: gate.map(str::to_owned), min_requests: 20, after_seconds: None };
        let split = vec![Share::new(1, 90), Share::new(2, 10)];
        let row = AliasRow {
            tenant: "acme".parse().unwrap(),
            name: "m".parse().unwrap(),
            alias: "prod".parse().unwrap(),
            route: Route { split, shadow: None, shadow_configuration: None, canary: Some(canary) },
            deployment: 2,
            back: Some(1),
            set_ms: 0,
            set_by: "test".to_owned(),
        };
        Rollout::of(row).unwrap().unwrap()
    }

    fn figures(requests: u64, errors: u64, p99_ms: f64) -> Figures {
        let error_rate = errors as f64 / requests as f64;
        Figures { requests, errors, error_rate, p50_ms: p99_ms / 2.0, p99_ms }
    }

    #[test]
    fn a_gate_is_asked_when_enough_was_seen() {
        let holds = |gate, of_canary: Figures| {
            let minute = |version| if version == 2 { of_canary } else { figures(100, 0, 10.0) };
            rollout(gate).judge(minute, |_| Figures::default()).holds
        };
        let gate = Some("error_rate < 0.1 && p99_ms < 2.0 * stable_p99_ms");
        assert_eq!(holds(gate, figures(19, 19, 1.0)), None);
        assert_eq!(holds(gate, figures(20, 1, 19.0)), Some(true));
        assert_eq!(holds(gate, figures(20, 2, 19.0)), Some(false));
        assert_eq!(holds(gate, figures(20, 1, 20.0)), Some(false));
        assert_eq!(holds(None, figures(20, 20, 20.0)), Some(true));
    }

    #[test]
    fn where_calls_are_rare_a_gate_looks_at_the_last_hour() {
        let gate = Some("error_rate < 0.1");
        let judged = rollout(gate).judge(|_| figures(3, 0, 1.0), |_| figures(40, 8, 1.0));
        assert_eq!((judged.holds, judged.seen[0].requests), (Some(false), 40));
        assert_eq!(rollout(gate).judge(|_| figures(3, 0, 1.0), |_| figures(19, 19, 1.0)).holds, None);
        assert_eq!(rollout(gate).judge(|_| figures(20, 0, 1.0), |_| figures(400, 400, 1.0)).holds, Some(true));
    }

    #[test]
    fn a_gate_that_asks_for_what_is_not_there_is_refused() {
        let refused = compile("latency < 1.0").err().unwrap();
        assert!(refused.detail().contains("`latency`; it knows error_rate, errors, p50_ms"), "{refused}");
    }

    #[test]
    fn what_was_seen_is_told_of_both_versions() {
        let judged = rollout(None).judge(|version| figures(100 * version, version, 1.5), |_| Figures::default());
        let told: Vec<_> = judged.seen.iter().map(|s| (s.version, s.requests, s.errors, s.p99_us)).collect();
        assert_eq!(told, [(2, 200, 2, 1_500), (1, 100, 1, 1_500)]);
    }
}
