//! What is decided about items: pure, against what is durable and what is staged. The time comes from outside.

use std::collections::HashMap;

use aimass_core::{Code, Fault, Name, Result};

use super::index::{Index, share};
use super::item::{Failure, ItemRow, ItemState, LeaseWish, NewItem, Put, QueueLimits, QueueUse, Sealed, Topic, Values};

/// An item's new row, or none where it goes; with what is kept beside it.
pub(super) struct Step {
    pub(super) tenant: Name,
    pub(super) id: String,
    pub(super) row: Option<ItemRow>,
    /// The request and the result, where they are new.
    pub(super) request: Option<Values>,
    pub(super) result: Option<Values>,
}

impl Step {
    fn to(row: ItemRow) -> Self {
        Self { tenant: row.tenant.clone(), id: row.id.clone(), row: Some(row), request: None, result: None }
    }

    fn gone(row: &ItemRow) -> Self {
        Self { tenant: row.tenant.clone(), id: row.id.clone(), row: None, request: None, result: None }
    }
}

/// What is staged and not durable yet.
#[derive(Default)]
pub(super) struct Overlay {
    rows: HashMap<(Name, String), Option<ItemRow>>,
    once: HashMap<(Name, String), String>,
    used: HashMap<Name, (i128, i128)>,
}

impl Overlay {
    pub(super) fn add(&mut self, index: &Index, step: &Step) {
        let key = (step.tenant.clone(), step.id.clone());
        let before = match self.rows.get(&key) {
            Some(row) => row.as_ref().map(share),
            None => index.row(&step.tenant, &step.id).map(share),
        };
        let (before, after) = (before.unwrap_or_default(), step.row.as_ref().map(share).unwrap_or_default());
        let used = self.used.entry(step.tenant.clone()).or_default();
        used.0 += i128::from(after.entries) - i128::from(before.entries);
        used.1 += i128::from(after.bytes) - i128::from(before.bytes);
        if let Some(once) = step.row.as_ref().and_then(|row| row.once.as_ref()) {
            self.once.insert((step.tenant.clone(), once.key.clone()), step.id.clone());
        }
        self.rows.insert(key, step.row.clone());
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.once.clear();
        self.used.clear();
    }
}

/// The items as a decision sees them.
pub(super) struct Desk<'a> {
    pub(super) index: &'a Index,
    pub(super) staged: &'a Overlay,
}

impl Desk<'_> {
    pub(super) fn row(&self, tenant: &Name, id: &str) -> Option<&ItemRow> {
        match self.staged.rows.get(&(tenant.clone(), id.to_owned())) {
            Some(row) => row.as_ref(),
            None => self.index.row(tenant, id),
        }
    }

    fn is_staged(&self, tenant: &Name, id: &str) -> bool {
        self.staged.rows.contains_key(&(tenant.clone(), id.to_owned()))
    }

    fn used(&self, tenant: &Name) -> QueueUse {
        let used = self.index.used(tenant);
        let (entries, bytes) = self.staged.used.get(tenant).copied().unwrap_or_default();
        let sum = |have: u64, change: i128| u64::try_from(i128::from(have) + change).unwrap_or_default();
        QueueUse { entries: sum(used.entries, entries), bytes: sum(used.bytes, bytes) }
    }

    /// The item that came with the same key, or under the same id.
    fn known(&self, tenant: &Name, new: &NewItem) -> Result<Option<&ItemRow>> {
        if let Some(once) = &new.once {
            let staged = self.staged.once.get(&(tenant.clone(), once.key.clone())).map(String::as_str);
            let id = staged.or_else(|| self.index.once(tenant, &once.key));
            if let Some(row) = id.and_then(|id| self.row(tenant, id)) {
                let same = row.once.as_ref().is_some_and(|known| known.fingerprint == once.fingerprint);
                return if same { Ok(Some(row)) } else { Err(reused()) };
            }
        }
        Ok(self.row(tenant, &new.id))
    }

    /// Puts an item, unless it is there.
    pub(super) fn put(
        &self,
        tenant: &Name,
        new: NewItem,
        sealed: Sealed,
        limits: Option<QueueLimits>,
        now: u64,
    ) -> Result<(Vec<Step>, Put)> {
        if let Some(row) = self.known(tenant, &new)? {
            return Ok((vec![], Put { row: row.clone(), known: true }));
        }
        let NewItem { id, topic, subject, tag, once, due_ms, max_attempts, .. } = new;
        let row = ItemRow {
            tenant: tenant.clone(),
            id,
            topic,
            subject,
            tag,
            once,
            state: ItemState::Queued,
            attempts: 0,
            max_attempts,
            created_ms: now,
            due_ms,
            ended_ms: None,
            expires_ms: None,
            failure: None,
            request: sealed.held,
            result: None,
        };
        if let Some(limits) = limits {
            self.has_room(tenant, &row, limits)?;
        }
        let step = Step { request: Some(sealed.values), ..Step::to(row.clone()) };
        Ok((vec![step], Put { row, known: false }))
    }

    /// Puts an item that has ended already.
    pub(super) fn keep(
        &self,
        tenant: &Name,
        new: NewItem,
        (request, result): (Sealed, Sealed),
        keep_ms: u64,
        now: u64,
    ) -> Result<(Vec<Step>, Put)> {
        let (mut steps, put) = self.put(tenant, new, request, None, now)?;
        let Some(step) = steps.pop() else { return Ok((steps, put)) };
        let row = ItemRow { state: ItemState::Done, result: Some(result.held), ..ended(put.row, keep_ms, now) };
        let step = Step { row: Some(row.clone()), result: Some(result.values), ..step };
        Ok((vec![step], Put { row, known: false }))
    }

    /// Makes what waits for one subject due.
    pub(super) fn hasten(&self, tenant: &Name, topic: Topic, subject: &str, now: u64) -> Vec<Step> {
        let waits = |row: &ItemRow| row.topic == topic && row.subject == subject && row.state == ItemState::Queued;
        let rows = self.all_of(tenant).into_iter().filter(|row| waits(row) && row.due_ms > now);
        rows.map(|row| Step::to(ItemRow { due_ms: now, ..row })).collect()
    }

    fn has_room(&self, tenant: &Name, row: &ItemRow, limits: QueueLimits) -> Result<()> {
        let used = self.used(tenant);
        if used.entries >= limits.entries {
            let detail = format!("the tenant has {} requests in its queue, which is all that it may", used.entries);
            return Err(Fault::new(Code::RateLimited, detail));
        }
        if used.bytes + row.bytes() > limits.bytes {
            let detail = format!("the tenant's queue holds {} bytes, and may hold {}", used.bytes, limits.bytes);
            return Err(Fault::new(Code::StorageFull, detail));
        }
        Ok(())
    }

    /// Hands due items out, one of each tenant in turn, beginning behind `after`. An item whose lease has ended is due
    /// as well.
    pub(super) fn lease(&self, wish: LeaseWish, after: Option<&Name>, now: u64) -> (Vec<Step>, Vec<ItemRow>) {
        let LeaseWish { topic, most, per_tenant, lease_ms } = wish;
        let mut turns: Vec<_> = self
            .index
            .turns(topic, after)
            .into_iter()
            .map(|tenant| {
                let free = per_tenant.saturating_sub(self.index.running(topic, tenant));
                let due = self.index.due(topic, tenant, now).filter(|id| !self.is_staged(tenant, id));
                let rows = due.filter_map(|id| self.index.row(tenant, id));
                // One that runs already, and whose lease has ended, takes no further place.
                let mut free = free;
                rows.filter(move |row| {
                    let goes = row.state == ItemState::Running || free > 0;
                    free = free.saturating_sub(usize::from(goes && row.state == ItemState::Queued));
                    goes
                })
            })
            .collect();
        let mut taken = vec![];
        loop {
            let before = taken.len();
            for rows in &mut turns {
                if taken.len() == most {
                    break;
                }
                taken.extend(rows.next().map(|row| ItemRow {
                    state: ItemState::Running,
                    attempts: row.attempts.saturating_add(1),
                    due_ms: now.saturating_add(lease_ms),
                    ..row.clone()
                }));
            }
            if taken.len() == before || taken.len() == most {
                break;
            }
        }
        (taken.iter().cloned().map(Step::to).collect(), taken)
    }

    /// The item, if this attempt still has it.
    fn held(&self, lease: &ItemRow) -> Result<&ItemRow> {
        let is_held = |row: &&ItemRow| row.state == ItemState::Running && row.attempts == lease.attempts;
        self.row(&lease.tenant, &lease.id).filter(is_held).ok_or_else(|| {
            Fault::new(Code::Conflict, "this attempt has lost the request: it was cancelled, or is another worker's")
        })
    }

    /// Leaves an item to its worker for longer.
    pub(super) fn extend(&self, lease: &ItemRow, due_ms: u64) -> Result<Vec<Step>> {
        let row = self.held(lease)?;
        Ok(vec![Step::to(ItemRow { due_ms, ..row.clone() })])
    }

    /// Ends an attempt, and with it the item; with what is put because it ended.
    pub(super) fn end(
        &self,
        lease: &ItemRow,
        (state, failure): (ItemState, Option<Failure>),
        result: Option<Sealed>,
        keep_ms: u64,
        now: u64,
    ) -> Result<(Vec<Step>, ItemRow)> {
        let row = ended(self.held(lease)?.clone(), keep_ms, now);
        // What was given up may be asked for again.
        let row = if state == ItemState::Dead { row } else { row.without_body() };
        let (held, values) = result.map(|sealed| (sealed.held, sealed.values)).unzip();
        let row = ItemRow { state, failure, result: held, ..row };
        Ok((vec![Step { result: values, ..Step::to(row.clone()) }], row))
    }

    /// Puts an item back whose attempt has ended.
    pub(super) fn again(
        &self,
        lease: &ItemRow,
        failure: Failure,
        due_ms: u64,
        counted: bool,
    ) -> Result<(Vec<Step>, ItemRow)> {
        let row = self.held(lease)?.clone();
        let attempts = if counted { row.attempts } else { row.attempts.saturating_sub(1) };
        let row = ItemRow { state: ItemState::Queued, attempts, due_ms, failure: Some(failure), ..row };
        Ok((vec![Step::to(row.clone())], row))
    }

    /// Calls an item off.
    pub(super) fn cancel(&self, tenant: &Name, id: &str, keep_ms: u64, now: u64) -> Result<(Vec<Step>, ItemRow)> {
        let row = self.row(tenant, id).ok_or_else(Fault::not_found)?.clone();
        if row.state.is_end() {
            return Err(Fault::new(Code::Conflict, "it has ended already"));
        }
        let row = ItemRow { state: ItemState::Cancelled, ..ended(row, keep_ms, now).without_body() };
        Ok((vec![Step::to(row.clone())], row))
    }

    /// Gives an item that was given up so many attempts more.
    pub(super) fn retry(
        &self,
        tenant: &Name,
        id: &str,
        attempts: u32,
        limits: QueueLimits,
        now: u64,
    ) -> Result<(Vec<Step>, ItemRow)> {
        let row = self.row(tenant, id).ok_or_else(Fault::not_found)?.clone();
        if row.state != ItemState::Dead {
            return Err(Fault::new(Code::Conflict, "only what was given up can be tried again"));
        }
        if self.used(tenant).entries >= limits.entries {
            return Err(Fault::new(Code::RateLimited, "the tenant's queue is full"));
        }
        let row = ItemRow {
            state: ItemState::Queued,
            max_attempts: row.attempts.saturating_add(attempts),
            due_ms: now,
            ended_ms: None,
            expires_ms: None,
            result: None,
            ..row
        };
        Ok((vec![Step::to(row.clone())], row))
    }

    /// Forgets what has expired, at most so many.
    pub(super) fn sweep(&self, most: usize, now: u64) -> Vec<ItemRow> {
        let rows = self.index.expired(now).filter(|(tenant, id)| !self.is_staged(tenant, id));
        rows.filter_map(|(tenant, id)| self.index.row(tenant, id)).take(most).cloned().collect()
    }

    /// All items of a tenant.
    pub(super) fn all_of(&self, tenant: &Name) -> Vec<ItemRow> {
        let staged =
            self.staged.rows.iter().filter(|((owner, _), _)| owner == tenant).filter_map(|(_, row)| row.clone());
        let durable = self.index.all_of(tenant).filter(|row| !self.is_staged(tenant, &row.id)).cloned();
        durable.chain(staged).collect()
    }

    /// Removes items.
    pub(super) fn remove(rows: &[ItemRow]) -> Vec<Step> {
        rows.iter().map(Step::gone).collect()
    }
}

fn ended(row: ItemRow, keep_ms: u64, now: u64) -> ItemRow {
    ItemRow { ended_ms: Some(now), expires_ms: Some(now.saturating_add(keep_ms)), ..row }
}

/// The same key was used for another request.
fn reused() -> Fault {
    Fault::new(Code::IdempotencyKeyReused, "this `Idempotency-Key` came with another request before")
}
