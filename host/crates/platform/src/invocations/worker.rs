//! The workers: they take what is due, run it, and record what became of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aimass_core::event::{Actor, Event};
use aimass_core::{Code, Fault, Name, Result};
use aimass_store::{Ending, Failure, ItemRow, ItemState, LeaseWish, NewItem, Parts, Topic};
use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::call::Accepted;
use super::policy::{Tries, Verdict, judge};
use super::work::{Work, failure, random};
use super::{ONCE, StoredAnswer, StoredRequest, millis};
use crate::webhooks::Message;
use crate::{Caller, Platform};

/// An attempt may take so much longer than the longest deadline of a call: it reads its body, and loads what is not in
/// memory.
const SLACK: Duration = Duration::from_secs(60);

/// How often an end that could not be recorded is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// One attempt of a call.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The call's id.
    pub id: String,
    /// This attempt's number, from 1.
    pub number: u32,
    /// On whose behalf.
    pub caller: Arc<Caller>,
    /// How many guests' calls stand above it.
    pub depth: u32,
    /// The request.
    pub request: StoredRequest,
}

/// How an attempt was answered.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The answer.
    pub answer: StoredAnswer,
    /// The fault that the answer tells of, if it is the platform's and not the guest's own.
    pub fault: Option<Fault>,
}

/// Runs requests as if they came over the network: whoever serves HTTP.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Runs one. Dropping the future ends the attempt.
    async fn run(&self, attempt: Attempt) -> Ran;
}

impl Platform {
    /// Runs calls that are due until `stop` is true; then it waits for what is under way. What is not waited for runs
    /// again when the node starts, as another attempt.
    pub async fn run_invocations(self: Arc<Self>, runner: Arc<dyn Runner>, stop: watch::Receiver<bool>) {
        let lease_ms = millis(self.limits.deadline + SLACK);
        // A tenant alone has all workers; the others come in turn.
        let wish = LeaseWish { topic: Topic::Call, most: 0, per_tenant: usize::MAX, lease_ms };
        let work = Work { wish, places: Self::invocation_workers };
        self.work(work, stop, |platform, attempts, row| platform.begin(attempts, row, runner.clone())).await;
    }

    /// How many calls may run just now: all workers' while nobody waits for a machine that is busy, and one
    /// otherwise. So live calls have the machine, and the queue goes on.
    fn invocation_workers(&self) -> usize {
        let workers = self.invocations.config.workers;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if self.invocations.live.load(Ordering::Relaxed) < cores { workers } else { workers.min(1) }
    }

    fn begin(self: Arc<Self>, attempts: &mut JoinSet<()>, row: ItemRow, runner: Arc<dyn Runner>) {
        let key = (row.tenant.clone(), row.id.clone());
        let (platform, own) = (self.clone(), key.clone());
        // Held while the attempt is begun, so that it does not end before it is among those that run.
        let mut running = self.invocations.running();
        let attempt = attempts.spawn(async move {
            platform.attempt(&row, runner.as_ref()).await;
            platform.invocations.running().remove(&own);
        });
        running.insert(key, attempt);
    }

    async fn attempt(&self, row: &ItemRow, runner: &dyn Runner) {
        let mut callback = None;
        let (ending, keep) = match self.try_once(row, runner, &mut callback).await {
            Ok(ending) => ending,
            // The call cannot be read or its answer not be kept.
            Err(fault) => self.given_up(row, failure(&fault), None),
        };
        let dead = match &ending {
            Ending::Dead(failure, _) => Some(failure.code.clone()),
            _ => None,
        };
        loop {
            let now = self.invocations.now();
            let message = self.callback(row, &ending, callback.as_ref(), now);
            match self.store.queue().end(row, ending.clone(), keep, message, now).await {
                Ok(_) => break,
                Err(fault) if fault.code() == Code::StorageFull && now < row.due_ms => {
                    // Running it again would not make room, but would do again what it did.
                    tokio::time::sleep(AGAIN).await;
                }
                Err(fault) => {
                    tracing::info!(call = %row.id, %fault, "an attempt's end was not recorded");
                    return;
                }
            }
        }
        if let Some(code) = dead {
            self.tell_of_death(row, code).await;
        }
    }

    /// The message that tells the endpoint of a call that it has ended, put together with its end.
    fn callback(&self, row: &ItemRow, ending: &Ending, endpoint: Option<&Name>, now: u64) -> Option<NewItem> {
        let status = |parts: &Parts| StoredAnswer::read(parts.clone()).ok().map(|answer| answer.status);
        let message = match ending {
            Ending::Done(answer) => Message::ended(row, ItemState::Done, status(answer), None),
            Ending::Dead(failure, answer) => {
                Message::ended(row, ItemState::Dead, answer.as_ref().and_then(status), Some(failure))
            }
            Ending::Again { .. } => return None,
        };
        // A message of this platform's own always becomes JSON.
        message.item(endpoint?, now).ok()
    }

    async fn try_once(&self, row: &ItemRow, runner: &dyn Runner, callback: &mut Option<Name>) -> Result<(Ending, u64)> {
        let accepted = Accepted::read(self.store.queue().request(row).await?)?;
        callback.clone_from(&accepted.callback);
        if row.attempts > row.max_attempts {
            let detail = format!("the node stopped in the middle of the last of {} attempts", row.max_attempts);
            let failure = Failure { code: Code::Unavailable.to_string(), detail };
            return Ok(self.given_up(row, failure, None));
        }
        let attempt = Attempt {
            id: row.id.clone(),
            number: row.attempts,
            caller: Arc::new(accepted.by.caller(row.tenant.clone())),
            depth: accepted.depth,
            request: accepted.request,
        };
        // The lease must not end before the attempt does.
        let longest = self.limits.deadline + SLACK / 2;
        let Ok(ran) = tokio::time::timeout(longest, runner.run(attempt)).await else {
            let fault = Fault::new(Code::Unavailable, "the attempt did not end in time");
            return self.ending(row, None, Some(&fault));
        };
        self.ending(row, Some(ran.answer), ran.fault.as_ref())
    }

    /// What becomes of the call, and how long that is kept.
    fn ending(&self, row: &ItemRow, answer: Option<StoredAnswer>, fault: Option<&Fault>) -> Result<(Ending, u64)> {
        let now = self.invocations.now();
        let age = Duration::from_millis(now.saturating_sub(row.created_ms));
        let tries = Tries { attempt: row.attempts, most: row.max_attempts, age };
        let status = answer.as_ref().map_or(503, |answer| answer.status);
        let failure = fault.map_or_else(
            || Failure {
                code: Code::PluginFault.to_string(),
                detail: format!("the function answered with status {status}"),
            },
            failure,
        );
        let answer = answer.map(StoredAnswer::parts).transpose()?;
        Ok(match judge(status, fault, tries, random()) {
            Verdict::Done => {
                (Ending::Done(answer.unwrap_or_default()), self.kept(row, self.invocations.config.result_ttl))
            }
            Verdict::Dead => self.given_up(row, failure, answer),
            Verdict::Again { after, counted } => {
                let due_ms = now.saturating_add(millis(after));
                (Ending::Again { failure, due_ms, counted }, 0)
            }
        })
    }

    fn given_up(&self, row: &ItemRow, failure: Failure, answer: Option<Parts>) -> (Ending, u64) {
        (Ending::Dead(failure, answer), self.kept(row, self.invocations.config.dead_ttl))
    }

    /// For how long an ended call is kept: as long as its key stands for it, at least.
    fn kept(&self, row: &ItemRow, ttl: Duration) -> u64 {
        let age = self.invocations.now().saturating_sub(row.created_ms);
        let least = row.once.as_ref().map_or(0, |_| millis(ONCE).saturating_sub(age));
        millis(ttl).max(least)
    }

    /// Puts a dead letter into the journal, where whoever follows that finds it.
    async fn tell_of_death(&self, row: &ItemRow, code: String) {
        let (tenant, id, name) = (row.tenant.clone(), row.id.clone(), row.subject.clone());
        tracing::info!(%tenant, call = %id, name, code, "a call was given up");
        let event = Event::InvocationGivenUp { tenant: tenant.clone(), id, name, code };
        let written = self.store.write(Actor::system(), move |state| {
            // Of a tenant that is gone nothing is recorded.
            Ok((state.tenant(&tenant)?.map(|_| event), ()))
        });
        if let Err(fault) = written.await {
            tracing::warn!(%fault, cause = fault.cause(), "a dead letter is not in the journal");
        }
    }
}
