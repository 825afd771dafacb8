//! Fires what waits for objects in buckets. A bucket is slower than a folder and somebody else's: several are looked
//! into at once, of one tenant one, and one that fails is left alone for longer each time.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aimass_core::event::{BucketCredentials, BucketSource, Sealed, TriggerSource};
use aimass_core::outgoing::{OutgoingCall, Patience};
use aimass_core::{Code, Fault, Name, Result, Tenant};
use aimass_egress::Destination;
use aimass_store::{Bucket, FoundObject, TriggerRow, open_credentials, seal_credentials};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::MissedTickBehavior;

use super::look::{LONGEST_PAUSE, Look, pause};
use super::objects::Watched;
use super::trouble::{Key, key};
use crate::Platform;

/// How often it is looked whether a bucket is to be looked into.
const LOOK: Duration = Duration::from_secs(1);

/// Buckets that are looked into at once, each with one object of 16 MiB in memory at most.
const AT_ONCE: usize = 8;

/// Names that are read at one look; the next one goes on behind them. Ten pages of S3.
const LISTED: usize = 10_000;

/// A look begins nothing more behind the first of these times, and ends at the second.
const LONG: Duration = Duration::from_secs(45);
const LONGEST: Duration = Duration::from_secs(60);

/// How long a storage may say nothing.
const SILENCE: Duration = Duration::from_secs(20);

impl Platform {
    /// Fires triggers when objects arrive in their buckets, for as long as it is polled. One node does.
    pub async fn follow_buckets(self: &Arc<Self>) {
        let mut looks: HashMap<Key, Look> = HashMap::new();
        let mut busy: HashSet<Key> = HashSet::new();
        let mut running: FuturesUnordered<BoxFuture<'static, (Key, Look)>> = FuturesUnordered::new();
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some((key, look)) = running.next(), if !running.is_empty() => {
                    busy.remove(&key);
                    looks.insert(key, look);
                    continue;
                }
                _ = ticks.tick() => {}
            }
            let mut rows = match self.store.state().all_triggers() {
                Ok(rows) => rows,
                Err(fault) => {
                    tracing::error!(%fault, cause = fault.cause(), "the triggers cannot be read");
                    continue;
                }
            };
            self.troubles.keep(&rows);
            rows.retain(|row| !row.paused && matches!(row.trigger.on, TriggerSource::Bucket(_)));
            let known: HashSet<Key> = rows.iter().map(key).collect();
            looks.retain(|key, _| known.contains(key));
            let now = Instant::now();
            let mut due: Vec<(Instant, TriggerRow)> = rows
                .into_iter()
                .filter(|row| !busy.contains(&key(row)))
                .map(|row| (looks.get(&key(&row)).map_or(now, |look| look.due), row))
                .filter(|(due, _)| *due <= now)
                .collect();
            // Who has waited longest comes first.
            due.sort_by_key(|(due, _)| *due);
            for (_, row) in due {
                if busy.len() == AT_ONCE {
                    break;
                }
                if busy.iter().any(|(tenant, ..)| *tenant == row.tenant) {
                    continue;
                }
                let key = key(&row);
                let look = looks.remove(&key).unwrap_or_else(|| Look::new(now));
                busy.insert(key);
                running.push(self.clone().look(row, look).boxed());
            }
        }
    }

    async fn look(self: Arc<Self>, row: TriggerRow, mut look: Look) -> (Key, Look) {
        let fired = look.fired;
        // What a storage answers goes through a library: if that panics, one bucket is not looked into.
        let looked = AssertUnwindSafe(self.look_into_bucket(&row, &mut look)).catch_unwind().await;
        let outcome = looked.unwrap_or_else(|_| Err(Fault::internal("a look into a bucket panicked")));
        look.failures = match outcome {
            Ok(()) => 0,
            // A queue that is full of what was found empties again.
            Err(_) if look.fired > fired => 1,
            Err(_) => look.failures.saturating_add(1),
        };
        let every = match &row.trigger.on {
            TriggerSource::Bucket(source) => Duration::from_secs(source.every_seconds),
            _ => LONGEST_PAUSE,
        };
        let now = Instant::now();
        look.due = now.checked_add(pause(every, look.failures)).unwrap_or(now);
        // That some objects could not be read is told, and keeps nothing from the others.
        self.troubles.note(&row, outcome.and_then(|()| look.all_read()));
        (key(&row), look)
    }

    async fn look_into_bucket(self: &Arc<Self>, row: &TriggerRow, look: &mut Look) -> Result<()> {
        let TriggerSource::Bucket(source) = &row.trigger.on else { return Ok(()) };
        let (tenant, began) = (aimass_auth::resumed(row.tenant.clone()), Instant::now());
        let bucket = self.bucket(&tenant, row, source)?;
        let mut listing = bucket.list(look.after.as_deref())?;
        let watched = Watched::Bucket(bucket, source.bucket_url());
        for _ in 0..LISTED {
            let Some(object) = listing.next().await? else {
                look.ended();
                return Ok(());
            };
            let path = object.path.clone();
            // Unlike a file, an object is there whole or not at all: it need not be looked at twice.
            if source.wants(&path) && look.may_read(&object) && self.is_new(&tenant, row, &object)? {
                let version = object.version.clone();
                match self.arrived(&tenant, row, &watched, object).await {
                    Ok(true) => look.take(&path),
                    Ok(false) => look.pass(&path, version, None)?,
                    Err(fault) if fault.code() == Code::Conflict => look.pass(&path, version, Some(fault))?,
                    Err(fault) => return Err(fault),
                }
            }
            look.after = Some(path);
            if began.elapsed() > LONG {
                break;
            }
        }
        Ok(())
    }

    fn is_new(&self, tenant: &Tenant, row: &TriggerRow, object: &FoundObject) -> Result<bool> {
        let known = self.store.state().trigger_object(tenant, &row.name, &object.path)?;
        Ok(known.as_ref() != Some(&object.version))
    }

    /// A trigger's bucket, whose requests go out by its tenant's rules.
    ///
    /// # Errors
    /// `invalid_request` if it is none; `integrity` if its credentials do not open.
    pub(super) fn bucket(self: &Arc<Self>, tenant: &Tenant, row: &TriggerRow, source: &BucketSource) -> Result<Bucket> {
        let credentials = match &row.credentials {
            Some(sealed) => {
                let seal = self.store.known_seal(tenant).ok_or_else(Fault::not_found)?;
                Some(open_credentials(&seal, &row.name, source, sealed)?)
            }
            None => None,
        };
        Bucket::open(source, credentials, self.clone(), call(tenant, &row.name))
    }

    /// Checks a bucket that a trigger shall watch, and seals what is given for it. What was given before is kept where
    /// it was for the same bucket: nobody who may only change the trigger has it sent elsewhere.
    pub(super) async fn new_bucket(
        self: &Arc<Self>,
        tenant: &Tenant,
        name: &Name,
        source: &BucketSource,
        given: Option<BucketCredentials>,
    ) -> Result<Option<Sealed>> {
        let uri: http::Uri = source.endpoint().parse().map_err(|_| Fault::invalid("`endpoint` is no URL"))?;
        Destination::of(&uri).map_err(|error| Fault::invalid(format!("`endpoint`: {error}")))?;
        given.as_ref().map_or(Ok(()), BucketCredentials::check)?;
        Bucket::open(source, given.clone(), self.clone(), call(tenant, name))?;
        if let Some(given) = given {
            let seal = self.store.seal(tenant).await?;
            return seal_credentials(&seal, name, source, &given).map(Some);
        }
        let before = self.store.state().trigger(tenant, name)?;
        match before.map(|row| (row.trigger.on, row.credentials)) {
            Some((TriggerSource::Bucket(old), Some(kept))) if source.is_same_bucket(&old) => Ok(Some(kept)),
            Some((_, Some(_))) => Err(Fault::invalid("another bucket needs its own `credentials`")),
            _ => Ok(None),
        }
    }
}

fn call(tenant: &Tenant, trigger: &Name) -> OutgoingCall {
    let now = Instant::now();
    let deadline = now.checked_add(LONGEST).unwrap_or(now);
    let patience = Patience { connect: SILENCE, first_byte: SILENCE, between_bytes: SILENCE, deadline };
    let request_id = format!("trigger {trigger}").into();
    OutgoingCall { tenant: tenant.clone(), plugin: trigger.clone(), request_id, patience }
}
