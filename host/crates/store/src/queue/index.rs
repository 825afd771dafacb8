//! The queue in memory: every item, which is due next, and which is to be forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use aimass_core::Name;

use super::item::{ItemFilter, ItemRow, ItemState, QueueUse, Topic};

/// Every item that is durable.
#[derive(Default)]
pub(super) struct Index {
    tenants: BTreeMap<Name, OfTenant>,
    /// Items that a worker may have, by when.
    waiting: BTreeMap<Topic, BTreeMap<Name, BTreeSet<(u64, String)>>>,
    running: HashMap<(Topic, Name), usize>,
    /// Ended items, by when they are forgotten.
    ended: BTreeSet<(u64, Name, String)>,
}

#[derive(Default)]
struct OfTenant {
    items: BTreeMap<String, ItemRow>,
    once: HashMap<String, String>,
    used: QueueUse,
}

/// What an item takes of its tenant's part.
pub(super) fn share(row: &ItemRow) -> QueueUse {
    QueueUse { entries: u64::from(!row.state.is_end()), bytes: row.bytes() }
}

impl Index {
    pub(super) fn row(&self, tenant: &Name, id: &str) -> Option<&ItemRow> {
        self.tenants.get(tenant)?.items.get(id)
    }

    /// The id of the item that came with a key.
    pub(super) fn once(&self, tenant: &Name, key: &str) -> Option<&str> {
        self.tenants.get(tenant)?.once.get(key).map(String::as_str)
    }

    pub(super) fn used(&self, tenant: &Name) -> QueueUse {
        self.tenants.get(tenant).map(|of| of.used).unwrap_or_default()
    }

    /// How many items of a tenant run.
    pub(super) fn running(&self, topic: Topic, tenant: &Name) -> usize {
        self.running.get(&(topic, tenant.clone())).copied().unwrap_or_default()
    }

    /// At most `limit` of a tenant's items behind the id `after`, in the order of their ids.
    pub(super) fn list(
        &self,
        tenant: &Name,
        topic: Topic,
        filter: &ItemFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<ItemRow> {
        let Some(of) = self.tenants.get(tenant) else { return vec![] };
        let start = after.map_or(Unbounded, Excluded);
        let rows = of.items.range::<str, _>((start, Unbounded)).map(|(_, row)| row);
        rows.filter(|row| row.topic == topic && filter.lets_in(row)).take(limit).cloned().collect()
    }

    /// The same of those before the id `before`, the greatest id first.
    pub(super) fn newest(
        &self,
        tenant: &Name,
        topic: Topic,
        filter: &ItemFilter,
        before: Option<&str>,
        limit: usize,
    ) -> Vec<ItemRow> {
        let Some(of) = self.tenants.get(tenant) else { return vec![] };
        let end = before.map_or(Unbounded, Excluded);
        let rows = of.items.range::<str, _>((Unbounded, end)).rev().map(|(_, row)| row);
        rows.filter(|row| row.topic == topic && filter.lets_in(row)).take(limit).cloned().collect()
    }

    /// When the next item of a kind is due.
    pub(super) fn next_due(&self, topic: Topic) -> Option<u64> {
        self.waiting.get(&topic)?.values().filter_map(BTreeSet::first).map(|(due, _)| *due).min()
    }

    /// Tenants with items of a kind that a worker may have at some time, those behind `after` first, so that each has
    /// its turn.
    pub(super) fn turns(&self, topic: Topic, after: Option<&Name>) -> Vec<&Name> {
        let Some(waiting) = self.waiting.get(&topic) else { return vec![] };
        let Some(after) = after else { return waiting.keys().collect() };
        let later = waiting.range::<Name, _>((Excluded(after), Unbounded)).map(|(tenant, _)| tenant);
        later.chain(waiting.keys().take_while(|tenant| *tenant <= after)).collect()
    }

    /// A tenant's items that are due by `now`, the longest due first.
    pub(super) fn due(&self, topic: Topic, tenant: &Name, now: u64) -> impl Iterator<Item = &str> {
        let waiting = self.waiting.get(&topic).and_then(|waiting| waiting.get(tenant));
        waiting.into_iter().flatten().take_while(move |(due, _)| *due <= now).map(|(_, id)| id.as_str())
    }

    /// Items whose time to be forgotten has come.
    pub(super) fn expired(&self, now: u64) -> impl Iterator<Item = (&Name, &str)> {
        self.ended.iter().take_while(move |(at, ..)| *at <= now).map(|(_, tenant, id)| (tenant, id.as_str()))
    }

    /// When the next item is forgotten.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.ended.first().map(|(at, ..)| *at)
    }

    /// All items of a tenant.
    pub(super) fn all_of(&self, tenant: &Name) -> impl Iterator<Item = &ItemRow> {
        self.tenants.get(tenant).into_iter().flat_map(|of| of.items.values())
    }

    /// Every item.
    pub(super) fn all(&self) -> impl Iterator<Item = &ItemRow> {
        self.tenants.values().flat_map(|of| of.items.values())
    }

    /// Puts a row in the place of the one that was there, or takes that away.
    pub(super) fn set(&mut self, tenant: &Name, id: &str, row: Option<ItemRow>) {
        self.remove(tenant, id);
        let Some(row) = row else { return };
        let of = self.tenants.entry(tenant.clone()).or_default();
        let took = share(&row);
        of.used.entries += took.entries;
        of.used.bytes += took.bytes;
        if let Some(once) = &row.once {
            of.once.insert(once.key.clone(), id.to_owned());
        }
        match (row.state, row.expires_ms) {
            (ItemState::Queued | ItemState::Running, _) => {
                let waiting = self.waiting.entry(row.topic).or_default().entry(tenant.clone()).or_default();
                waiting.insert((row.due_ms, id.to_owned()));
            }
            (_, Some(at)) => drop(self.ended.insert((at, tenant.clone(), id.to_owned()))),
            (_, None) => {}
        }
        if row.state == ItemState::Running {
            *self.running.entry((row.topic, tenant.clone())).or_default() += 1;
        }
        of.items.insert(id.to_owned(), row);
    }

    fn remove(&mut self, tenant: &Name, id: &str) {
        let Some(of) = self.tenants.get_mut(tenant) else { return };
        let Some(old) = of.items.remove(id) else { return };
        let took = share(&old);
        of.used.entries -= took.entries;
        of.used.bytes -= took.bytes;
        if let Some(once) = &old.once {
            of.once.remove(&once.key);
        }
        if of.items.is_empty() {
            self.tenants.remove(tenant);
        }
        if let Some(waiting) = self.waiting.get_mut(&old.topic)
            && let Some(items) = waiting.get_mut(tenant)
        {
            items.remove(&(old.due_ms, id.to_owned()));
            if items.is_empty() {
                waiting.remove(tenant);
            }
        }
        if let Some(at) = old.expires_ms {
            self.ended.remove(&(at, tenant.clone(), id.to_owned()));
        }
        if old.state == ItemState::Running {
            let key = (old.topic, tenant.clone());
            if let Some(running) = self.running.get_mut(&key) {
                *running -= 1;
                if *running == 0 {
                    self.running.remove(&key);
                }
            }
        }
    }
}
