//! The queue: work that was accepted and is durable, and what became of it.
//!
//! An item is *queued* until it is due and a worker takes it; it *runs* while a worker has it (a lease: until a time,
//! and under a number that tells this attempt from others); and it ends once, as *done*, *dead* or *cancelled*. It is
//! kept for a time then, and forgotten. Every change is durable before it is answered: one record in a log of its own
//! ([`table`]). In memory are the rows, without what they carry.
//!
//! A queue is one process's: what ran when the last one ended is due at once, with the attempt counted.
//!
//! ```
//! # use aimass_core::{Name, Tenant};
//! use aimass_store::{Ending, LeaseWish, NewItem, Parts, QueueLimits, Topic};
//! # async fn tour(store: &aimass_store::Store, tenant: &Tenant) -> aimass_core::Result<()> {
//! let queue = store.queue();
//! let request = Parts { head: "what to do".into(), body: "with which bytes".into() };
//! let new = NewItem {
//!     id: "a-1".to_owned(),
//!     topic: Topic::Call,
//!     subject: "hello".to_owned(),
//!     tag: None,
//!     once: None,
//!     due_ms: 0,
//!     max_attempts: 3,
//!     request,
//! };
//! let limits = QueueLimits { entries: 100, bytes: 1 << 20 };
//! let now = 1_000;
//! queue.put(tenant, new.clone(), Some(limits), now).await?; // Durable.
//! assert!(queue.put(tenant, new, Some(limits), now).await?.known, "once");
//!
//! let wish = LeaseWish { topic: Topic::Call, most: 8, per_tenant: 8, lease_ms: 60_000 };
//! let taken = queue.lease(wish, now).await?;
//! assert_eq!(queue.request(&taken[0]).await?.head, "what to do");
//! let result = Parts { head: "200".into(), body: "hello".into() };
//! queue.end(&taken[0], Ending::Done(result), 3_600_000, None, now).await?;
//! assert!(queue.lease(wish, now + 90_000).await?.is_empty(), "done is done");
//! # Ok(())
//! # }
//! # let folder = tempfile::tempdir()?;
//! # let store = aimass_store::Store::open(folder.path(), &folder.path().join("key"))?;
//! # let tenant = Tenant::vouched_for("acme".parse()?);
//! # tokio::runtime::Runtime::new()?.block_on(tour(&store, &tenant))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bodies;
mod copy;
mod desk;
mod index;
mod item;
mod machine;
mod table;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aimass_core::{Code, Fault, Name, Result, Tenant};
use tokio::sync::watch;

use crate::failure::damaged;
use crate::lock::FolderLock;
use crate::log::Committer;
use crate::options::Options;
use crate::seal::Keys;
use bodies::{Bodies, Of};
pub(crate) use copy::{copy, verify};
use desk::Desk;
use index::Index;
pub use item::{
    Ending, Failure, ItemFilter, ItemRow, ItemState, LeaseWish, NewItem, Once, Parts, Put, QueueLimits, QueueUse, Topic,
};
use item::{Held, Values};
use machine::{Job, Keeper, Shared, change};
use table::{Place, Places, Table};

/// The queue's folder in the store's.
pub(crate) const FOLDER: &str = "queue";

/// Items that are forgotten in one record.
const SWEPT: usize = 500;

/// The queue of one store. What it says of a tenant takes that tenant's handle; workers get what is due of all.
pub struct Queue {
    shared: Arc<Shared>,
    places: Arc<Places>,
    bodies: Bodies,
    committer: Committer<Job>,
    /// The tenant whose item was handed out last, of each topic.
    turn: Mutex<Vec<(Topic, Name)>>,
}

impl Queue {
    /// Opens or begins the queue below the store's folder.
    pub(crate) fn open(dir: &Path, options: &Options, lock: Arc<FolderLock>, keys: Keys) -> Result<Self> {
        let dir = dir.join(FOLDER);
        let (table, log) = Table::open(&dir, options)?;
        let places = Arc::clone(table.places());
        let bodies = Bodies::open(&dir, keys)?;
        let mut index = Index::default();
        for (key, place) in places.of_kind(item::ROW) {
            let mut row: ItemRow = serde_json::from_slice(&place.read()?)
                .map_err(|e| damaged(&dir, 0, format!("the row {key:?} is not valid: {e}")))?;
            if row.state == ItemState::Running {
                // Whoever had it is gone with the process that it ran in.
                row.due_ms = 0;
            }
            let (tenant, id) = (row.tenant.clone(), row.id.clone());
            index.set(&tenant, &id, Some(row));
        }
        let named = index.all().flat_map(|row| row.files().map(|file| (row.tenant.to_string(), file.to_owned())));
        bodies.sweep(&named.collect())?;
        let shared = Arc::new(Shared { index: RwLock::new(index), changed: watch::Sender::new(0) });
        let keeper = Keeper::new(table, Arc::clone(&shared), lock);
        let committer = Committer::start("store-queue", log, keeper, options)?;
        Ok(Self { shared, places, bodies, committer, turn: Mutex::default() })
    }

    /// Puts an item, unless it is there by its id or its key. Without limits it is the platform's own doing, and let
    /// in.
    ///
    /// # Errors
    /// `rate_limited` and `storage_full` beyond the limits; `idempotency_key_reused`; `invalid_request`.
    pub async fn put(&self, tenant: &Tenant, new: NewItem, limits: Option<QueueLimits>, now: u64) -> Result<Put> {
        let owner = tenant.name().clone();
        let (new, sealed, placed) = self.sealed(&owner, new).await?;
        let file = sealed.held.file.as_ref().map(|(name, _)| name.clone());
        placed.keep();
        let tenant = owner.clone();
        let put = change(&self.committer, move |desk| desk.put(&tenant, new, sealed, limits, now)).await;
        // The same item put again has the same file.
        let named = |put: &Put| put.row.files().any(|name| Some(name) == file.as_deref());
        let refused = put.as_ref().is_err_and(was_refused);
        if refused || put.as_ref().is_ok_and(|put| !named(put)) {
            self.bodies.remove(&owner, file.into_iter().collect()).await;
        }
        put
    }

    /// Puts an item that has ended already, with its result: it is never run, and kept for `keep_ms`.
    ///
    /// # Errors
    /// As for [`Queue::put`].
    pub async fn keep(&self, tenant: &Tenant, new: NewItem, result: Parts, keep_ms: u64, now: u64) -> Result<Put> {
        let owner = tenant.name().clone();
        let (new, request, placed) = self.sealed(&owner, new).await?;
        placed.keep();
        let of = Of { tenant: &owner, id: &new.id, part: "result" };
        let (result, placed) = self.bodies.seal(of, result).await?;
        placed.keep();
        change(&self.committer, move |desk| desk.keep(&owner, new, (request, result), keep_ms, now)).await
    }

    /// Makes what waits for one subject due now.
    ///
    /// # Errors
    /// `storage_full`, `unavailable`.
    pub async fn hasten(&self, tenant: &Tenant, topic: Topic, subject: &str, now: u64) -> Result<()> {
        let (owner, subject) = (tenant.name().clone(), subject.to_owned());
        change(&self.committer, move |desk| Ok((desk.hasten(&owner, topic, &subject, now), ()))).await
    }

    async fn sealed(&self, owner: &Name, mut new: NewItem) -> Result<(NewItem, item::Sealed, bodies::Placed)> {
        new.check()?;
        let request = std::mem::take(&mut new.request);
        let of = Of { tenant: owner, id: &new.id, part: "request" };
        let (sealed, placed) = self.bodies.seal(of, request).await?;
        Ok((new, sealed, placed))
    }

    /// Takes items that are due, one of each tenant in turn, for a worker of this process: until `lease_ms` from now
    /// nobody else gets them. [`ItemRow::attempts`] counts this attempt.
    ///
    /// # Errors
    /// `storage_full`, `unavailable`.
    pub async fn lease(&self, wish: LeaseWish, now: u64) -> Result<Vec<ItemRow>> {
        if self.next_due(wish.topic).is_none_or(|due| due > now) {
            return Ok(vec![]);
        }
        let after = {
            let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            turn.iter().find(|(topic, _)| *topic == wish.topic).map(|(_, tenant)| tenant.clone())
        };
        let taken = change(&self.committer, move |desk| Ok(desk.lease(wish, after.as_ref(), now))).await?;
        if let Some(last) = taken.last() {
            let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            turn.retain(|(topic, _)| *topic != wish.topic);
            turn.push((wish.topic, last.tenant.clone()));
        }
        Ok(taken)
    }

    /// Leaves a leased item to its worker until `until_ms`.
    ///
    /// # Errors
    /// `conflict` if it is the worker's no more.
    pub async fn extend(&self, lease: &ItemRow, until_ms: u64) -> Result<()> {
        let lease = lease.clone();
        change(&self.committer, move |desk| Ok((desk.extend(&lease, until_ms)?, ()))).await
    }

    /// Ends an attempt; what is put because the item ended with it is put in the same record. An item that ended is
    /// kept for `keep_ms`.
    ///
    /// # Errors
    /// `conflict` if it is the worker's no more: then nothing was changed.
    pub async fn end(
        &self,
        lease: &ItemRow,
        ending: Ending,
        keep_ms: u64,
        then: Option<NewItem>,
        now: u64,
    ) -> Result<ItemRow> {
        let (state, failure, result) = match ending {
            Ending::Again { failure, due_ms, counted } => {
                let lease = lease.clone();
                return change(&self.committer, move |desk| desk.again(&lease, failure, due_ms, counted)).await;
            }
            Ending::Done(result) => (ItemState::Done, None, Some(result)),
            Ending::Dead(failure, result) => (ItemState::Dead, Some(failure), result),
        };
        let of = Of { tenant: &lease.tenant, id: &lease.id, part: "result" };
        let (mut sealed, mut file) = (None, None);
        if let Some(result) = result {
            let (parts, placed) = self.bodies.seal(of, result).await?;
            file = parts.held.file.as_ref().map(|(name, _)| name.clone());
            placed.keep();
            sealed = Some(parts);
        }
        let then = match then {
            None => None,
            Some(new) => {
                let (new, sealed, placed) = self.sealed(&lease.tenant, new).await?;
                placed.keep();
                Some((new, sealed))
            }
        };
        let wanted = lease.clone();
        let ended = change(&self.committer, move |desk| {
            let (mut steps, row) = desk.end(&wanted, (state, failure), sealed, keep_ms, now)?;
            if let Some((new, sealed)) = then {
                steps.extend(desk.put(&wanted.tenant, new, sealed, None, now)?.0);
            }
            Ok((steps, row))
        })
        .await;
        match &ended {
            Ok(row) => self.forget_files(lease, Some(row)).await,
            Err(fault) if was_refused(fault) => {
                self.bodies.remove(&lease.tenant, file.into_iter().collect()).await;
            }
            Err(_) => {}
        }
        ended
    }

    /// Calls an item off: one that runs is its worker's no more.
    ///
    /// # Errors
    /// `not_found`; `conflict` if it has ended.
    pub async fn cancel(&self, tenant: &Tenant, id: &str, keep_ms: u64, now: u64) -> Result<ItemRow> {
        self.changed(tenant, id, move |desk, tenant, id| desk.cancel(tenant, id, keep_ms, now)).await
    }

    /// Gives an item that was given up so many attempts more.
    ///
    /// # Errors
    /// `not_found`; `conflict` if it was not given up; `rate_limited` beyond the limits.
    pub async fn retry(
        &self,
        tenant: &Tenant,
        id: &str,
        attempts: u32,
        limits: QueueLimits,
        now: u64,
    ) -> Result<ItemRow> {
        self.changed(tenant, id, move |desk, tenant, id| desk.retry(tenant, id, attempts, limits, now)).await
    }

    async fn changed(
        &self,
        tenant: &Tenant,
        id: &str,
        decide: impl FnOnce(&Desk<'_>, &Name, &str) -> Result<(Vec<desk::Step>, ItemRow)> + Send + 'static,
    ) -> Result<ItemRow> {
        let before = self.row(tenant, id).ok_or_else(Fault::not_found)?;
        let (owner, wanted) = (tenant.name().clone(), id.to_owned());
        let row = change(&self.committer, move |desk| decide(desk, &owner, &wanted)).await?;
        self.forget_files(&before, Some(&row)).await;
        Ok(row)
    }

    /// Forgets items whose time has come, and returns how many; call it again if there were any.
    ///
    /// # Errors
    /// `storage_full`, `unavailable`.
    pub async fn sweep(&self, now: u64) -> Result<usize> {
        if self.shared.read().next_expiry().is_none_or(|at| at > now) {
            return Ok(0);
        }
        let swept = change(&self.committer, move |desk| {
            let rows = desk.sweep(SWEPT, now);
            Ok((Desk::remove(&rows), rows))
        });
        let swept = swept.await?;
        for row in &swept {
            self.forget_files(row, None).await;
        }
        Ok(swept.len())
    }

    /// Forgets everything of a tenant.
    ///
    /// # Errors
    /// `storage_full`, `unavailable`.
    pub async fn erase(&self, tenant: &Name) -> Result<()> {
        let owner = tenant.clone();
        let rows = change(&self.committer, move |desk| {
            let rows: Vec<_> = desk.all_of(&owner);
            Ok((Desk::remove(&rows), rows))
        });
        for row in rows.await? {
            self.forget_files(&row, None).await;
        }
        Ok(())
    }

    /// Removes the files that `before` named and `after` does not.
    async fn forget_files(&self, before: &ItemRow, after: Option<&ItemRow>) {
        let kept = |file: &str| after.is_some_and(|after| after.files().any(|kept| kept == file));
        let gone = before.files().filter(|file| !kept(file)).map(str::to_owned).collect();
        self.bodies.remove(&before.tenant, gone).await;
    }

    /// A tenant's item, as it is by now.
    pub fn row(&self, tenant: &Tenant, id: &str) -> Option<ItemRow> {
        self.shared.read().row(tenant.name(), id).cloned()
    }

    /// At most `limit` of a tenant's items of a kind behind the id `after`, by id.
    pub fn list(
        &self,
        tenant: &Tenant,
        topic: Topic,
        filter: &ItemFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<ItemRow> {
        self.shared.read().list(tenant.name(), topic, filter, after, limit)
    }

    /// At most `limit` of a tenant's items of a kind before the id `before`, the greatest id first.
    pub fn newest(
        &self,
        tenant: &Tenant,
        topic: Topic,
        filter: &ItemFilter,
        before: Option<&str>,
        limit: usize,
    ) -> Vec<ItemRow> {
        self.shared.read().newest(tenant.name(), topic, filter, before, limit)
    }

    /// How much of the queue a tenant takes.
    pub fn used(&self, tenant: &Tenant) -> QueueUse {
        self.shared.read().used(tenant.name())
    }

    /// When the next item of a kind is due, milliseconds since the epoch; also one that runs, whose lease ends then.
    pub fn next_due(&self, topic: Topic) -> Option<u64> {
        self.shared.read().next_due(topic)
    }

    /// Tells of every change, after it.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// What is to be done; the body is gone once it was.
    ///
    /// # Errors
    /// `integrity` if it is not what was put; `not_found` if the item was forgotten.
    pub async fn request(&self, row: &ItemRow) -> Result<Parts> {
        let of = Of { tenant: &row.tenant, id: &row.id, part: "request" };
        self.parts(of, &row.request, item::REQUEST_HEAD, item::REQUEST_BODY).await
    }

    /// What came of it, if it ended with a result.
    ///
    /// # Errors
    /// `integrity` if it is not what was recorded; `not_found` if the item was forgotten.
    pub async fn result(&self, row: &ItemRow) -> Result<Option<Parts>> {
        let Some(held) = &row.result else { return Ok(None) };
        let of = Of { tenant: &row.tenant, id: &row.id, part: "result" };
        self.parts(of, held, item::RESULT_HEAD, item::RESULT_BODY).await.map(Some)
    }

    async fn parts(&self, of: Of<'_>, held: &Held, head: char, body: char) -> Result<Parts> {
        let value = |kind| self.places.get(&item::key(kind, of.tenant, of.id));
        let (head, body) = (value(head).ok_or_else(Fault::not_found)?, value(body));
        let read = tokio::task::spawn_blocking(move || -> Result<Values> {
            Ok(Values { head: head.read()?, body: body.as_ref().map(Place::read).transpose()? })
        });
        self.bodies.read(of, held, read.await.map_err(Fault::internal)??).await
    }

    /// As [`Committer::healthy`].
    pub(crate) fn healthy(&self, judge: &dyn Fn(Fault) -> Result<()>) -> Result<()> {
        self.committer.healthy(judge)
    }

    pub(crate) async fn close(&self) {
        self.committer.close().await;
    }
}

/// Whether nothing was recorded for certain. A store that stopped may have written it.
fn was_refused(fault: &Fault) -> bool {
    fault.code() != Code::Unavailable
}

#[cfg(test)]
mod tests;
