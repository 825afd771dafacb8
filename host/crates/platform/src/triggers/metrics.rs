//! Fires when figures reach what a condition says: once each time that it begins to hold.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aimass_core::cloud_event::CloudEvent;
use aimass_core::event::{Actor, MetricSource, RunCause, TriggerRun, TriggerSource};
use aimass_core::{Name, ObjectRef, Result, Tenant};
use aimass_store::TriggerRow;
use serde_json::json;

use super::journal_events::{PREFIX, rfc3339};
use super::request::Brought;
use super::timetable::now_ms;
use crate::Platform;
use crate::deployments::Routing;
use crate::rule::{Rule, Values};
use crate::window::Figures;

/// How often it is looked whether a condition is to be asked.
const LOOK: Duration = Duration::from_secs(1);

/// A condition, and what it came to last.
struct Asked {
    rule: Rule,
    at: Instant,
    /// The first time it is as it was before: what holds already when a node starts has not begun to.
    held: bool,
}

/// A condition over a version's last minute.
///
/// # Errors
/// `invalid_request` that says what is wrong.
pub(super) fn condition(when: &str) -> Result<Rule> {
    Rule::compile(when, &values(&Figures::default()))
}

fn values(figures: &Figures) -> Values {
    Values::default()
        .number("requests", figures.requests as f64)
        .number("errors", figures.errors as f64)
        .number("error_rate", figures.error_rate)
        .number("p50_ms", figures.p50_ms)
        .number("p99_ms", figures.p99_ms)
}

impl Platform {
    /// Fires triggers when figures reach what they say, for as long as it is polled.
    pub async fn follow_metrics(self: &Arc<Self>) {
        let mut asked: HashMap<(Name, Name, u64), Asked> = HashMap::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let Ok(rows) = self.store.state().all_triggers() else { continue };
            let mut kept = HashMap::new();
            for row in rows.into_iter().filter(|row| !row.paused) {
                let TriggerSource::Metric(source) = &row.trigger.on else { continue };
                let key = (row.tenant.clone(), row.name.clone(), row.since_seq);
                let every = Duration::from_secs(source.every_seconds);
                let before = asked.remove(&key);
                let now = match before {
                    Some(before) if before.at.elapsed() < every => Some(before),
                    before => self.ask(source, &row, before).await.unwrap_or_else(|fault| {
                        tracing::debug!(tenant = %row.tenant, trigger = %row.name, %fault, "a condition comes to nothing");
                        None
                    }),
                };
                kept.extend(now.map(|now| (key, now)));
            }
            asked = kept;
        }
    }

    async fn ask(
        self: &Arc<Self>,
        source: &MetricSource,
        row: &TriggerRow,
        before: Option<Asked>,
    ) -> Result<Option<Asked>> {
        let tenant = aimass_auth::resumed(row.tenant.clone());
        let reference: ObjectRef = source.of.parse()?;
        let (resolved, _) = self.directory.resolve(&tenant, &reference, &Routing::main())?;
        resolved.recorder.watch();
        let figures = resolved.recorder.last_minute(0);
        let (rule, held) = match before {
            Some(before) => (before.rule, before.held),
            None => {
                let rule = condition(&source.when)?;
                let held = rule.holds(&values(&figures))?;
                (rule, held)
            }
        };
        let holds = rule.holds(&values(&figures))?;
        if holds && !held {
            let at_ms = now_ms();
            let cause = RunCause::Metric { at_ms, seen: crate::deployments::seen(resolved.version, &figures) };
            let run = TriggerRun::new((tenant.name(), &row.name), row.generation, at_ms, "metric", cause);
            let brought = reached(&tenant, row, &run.cause);
            if let Err(fault) = self.fire(Actor::system(), &tenant, &row.name, row.generation, run, brought).await {
                tracing::warn!(%tenant, trigger = %row.name, %fault, cause = fault.cause(), "a trigger could not be fired");
                // So that it begins to hold with the next look.
                return Ok(Some(Asked { rule, at: Instant::now(), held: false }));
            }
        }
        Ok(Some(Asked { rule, at: Instant::now(), held: holds }))
    }
}

/// What a trigger for figures brings: an event that tells them.
pub(super) fn reached(tenant: &Tenant, row: &TriggerRow, cause: &RunCause) -> Brought {
    let (RunCause::Metric { at_ms, seen }, TriggerSource::Metric(source)) = (cause, &row.trigger.on) else {
        return Brought::Nothing;
    };
    let event = CloudEvent {
        subject: Some(source.of.clone()),
        time: rfc3339(*at_ms),
        ..CloudEvent::new(
            format!("{at_ms}"),
            format!("/tenants/{}/triggers/{}", tenant.name(), row.name),
            format!("{PREFIX}metric.reached"),
        )
    };
    let mut data = serde_json::to_value(seen).unwrap_or_default();
    data["condition"] = json!(source.when);
    Brought::Event(event.with_data(&data))
}
