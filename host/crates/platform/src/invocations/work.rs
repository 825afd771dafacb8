//! What all workers do: take what is due, start it, and wait for more.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use aimass_core::{Fault, Result};
use aimass_store::{Failure, ItemRow, LeaseWish};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Platform;

/// How often it is looked for what is to be forgotten, and for how much may run.
const LOOK: Duration = Duration::from_secs(1);

/// The pause after the queue could not be read or written.
const AGAIN: Duration = Duration::from_secs(1);

/// What is worked on.
pub(crate) struct Work<F> {
    /// Which items, how many of one tenant at once, and for how long they are a worker's.
    pub(crate) wish: LeaseWish,
    /// How many may be worked on just now.
    pub(crate) places: F,
}

impl Platform {
    /// Begins what is due until `stop` is true; then it waits for what is under way.
    pub(crate) async fn work<F: Fn(&Self) -> usize>(
        self: Arc<Self>,
        work: Work<F>,
        mut stop: watch::Receiver<bool>,
        begin: impl Fn(Arc<Self>, &mut JoinSet<()>, ItemRow),
    ) {
        let Work { wish, places } = work;
        let queue = self.store.queue().clone();
        let mut changes = queue.changes();
        let mut under_way = JoinSet::new();
        while !*stop.borrow() {
            while under_way.try_join_next().is_some() {}
            // Before looking, so that what comes meanwhile is not missed.
            changes.mark_unchanged();
            let free = places(&self).saturating_sub(under_way.len());
            match self.due(LeaseWish { most: free, ..wish }).await {
                Ok(rows) => rows.into_iter().for_each(|row| begin(self.clone(), &mut under_way, row)),
                Err(fault) => {
                    tracing::warn!(%fault, cause = fault.cause(), "nothing could be taken from the queue");
                    tokio::time::sleep(AGAIN).await;
                }
            }
            let free = places(&self) > under_way.len();
            let now = self.invocations.now();
            let due = queue.next_due(wish.topic).filter(|_| free).map(|due| due.saturating_sub(now));
            let pause = due.map_or(LOOK, Duration::from_millis).clamp(Duration::from_millis(1), LOOK);
            tokio::select! {
                _ = stop.changed() => {}
                _ = changes.changed(), if free => {}
                _ = under_way.join_next(), if !under_way.is_empty() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn due(&self, wish: LeaseWish) -> Result<Vec<ItemRow>> {
        if wish.most == 0 {
            return Ok(vec![]);
        }
        self.store.queue().lease(wish, self.invocations.now()).await
    }

    /// Forgets what has ended long enough ago, again and again. It ends with the task that runs it.
    pub async fn forget_ended(&self) {
        loop {
            match self.store.queue().sweep(self.invocations.now()).await {
                Ok(0) => {}
                Ok(items) => {
                    tracing::debug!(items, "forgot what has ended");
                    continue;
                }
                Err(fault) => tracing::warn!(%fault, cause = fault.cause(), "what has ended could not be forgotten"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

pub(crate) fn failure(fault: &Fault) -> Failure {
    Failure { code: fault.code().to_string(), detail: fault.detail().to_owned() }
}

/// A number that differs from call to call; it is no secret.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
