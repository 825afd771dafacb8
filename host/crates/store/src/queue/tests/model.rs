//! The queue against a plain model of it: the same operations, in any order, with restarts between.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Put {
        tenant: usize,
        id: usize,
        due: u64,
        body: usize,
    },
    Lease {
        most: usize,
        per_tenant: usize,
    },
    /// Ends the attempt of one of the leases that were ever given.
    End {
        lease: usize,
        how: usize,
        body: usize,
    },
    Extend {
        lease: usize,
    },
    Cancel {
        tenant: usize,
        id: usize,
    },
    Retry {
        tenant: usize,
        id: usize,
    },
    Sweep,
    Tick(u64),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let (tenant, id, lease) = (0..2usize, 0..5usize, 0..8usize);
    let body = prop_oneof![4 => Just(0usize), 4 => Just(300), 1 => Just(70_000)];
    prop_oneof![
        6 => (tenant.clone(), id.clone(), 0..40u64, body.clone())
            .prop_map(|(tenant, id, due, body)| Op::Put { tenant, id, due, body }),
        6 => (1..4usize, 1..4usize).prop_map(|(most, per_tenant)| Op::Lease { most, per_tenant }),
        6 => (lease.clone(), 0..4usize, body).prop_map(|(lease, how, body)| Op::End { lease, how, body }),
        1 => lease.prop_map(|lease| Op::Extend { lease }),
        1 => (tenant.clone(), id.clone()).prop_map(|(tenant, id)| Op::Cancel { tenant, id }),
        2 => (tenant, id).prop_map(|(tenant, id)| Op::Retry { tenant, id }),
        2 => Just(Op::Sweep),
        3 => (1..60u64).prop_map(Op::Tick),
        1 => Just(Op::Reopen),
    ]
}

/// What the model knows of an item.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    state: ItemState,
    attempts: u32,
    due: u64,
    expires: Option<u64>,
    request: usize,
    result: Option<usize>,
}

impl Known {
    fn bytes(&self) -> u64 {
        (512 + 4 + self.request + self.result.map_or(0, |body| body + 3)) as u64
    }

    fn end(&mut self, state: ItemState, now: u64) {
        (self.state, self.expires) = (state, Some(now + KEEP));
    }
}

const KEEP: u64 = 70;
const LEASE: u64 = 50;
const NAMES: [&str; 2] = ["acme", "other"];

struct World {
    dir: tempfile::TempDir,
    store: Option<Store>,
    known: BTreeMap<(usize, String), Known>,
    leases: Vec<ItemRow>,
    now: u64,
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n % 251) as u8).collect()
}

impl World {
    fn queue(&self) -> &Queue {
        self.store.as_ref().unwrap().queue()
    }

    async fn run(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Put { tenant: of, id, due, body } => {
                let id = format!("i{id}");
                let new = NewItem { request: parts("head", &content(body)), ..item(&id, now + due) };
                let put = self.queue().put(&tenant(NAMES[of]), new, Some(LIMITS), now).await.unwrap();
                let key = (of, id);
                assert_eq!(put.known, self.known.contains_key(&key));
                self.known.entry(key).or_insert(Known {
                    state: ItemState::Queued,
                    attempts: 0,
                    due: now + due,
                    expires: None,
                    request: body,
                    result: None,
                });
            }
            Op::Lease { most, per_tenant } => {
                let mut free = 0;
                for of in 0..NAMES.len() {
                    let own = || self.known.iter().filter(|((owner, _), _)| *owner == of).map(|(_, known)| known);
                    let runs = own().filter(|k| k.state == ItemState::Running).count();
                    let lost = own().filter(|k| k.state == ItemState::Running && k.due <= now).count();
                    let due = own().filter(|k| k.state == ItemState::Queued && k.due <= now).count();
                    free += lost + due.min(per_tenant.saturating_sub(runs));
                }
                let wish = LeaseWish { most, per_tenant, lease_ms: LEASE, ..WISH };
                let taken = self.queue().lease(wish, now).await.unwrap();
                assert_eq!(taken.len(), free.min(most));
                for row in taken {
                    let of = NAMES.iter().position(|name| *name == row.tenant.as_str()).unwrap();
                    let known = self.known.get_mut(&(of, row.id.clone())).unwrap();
                    assert!(!known.state.is_end() && known.due <= now, "{known:?}");
                    (known.state, known.due) = (ItemState::Running, now + LEASE);
                    known.attempts += 1;
                    self.leases.push(row);
                }
            }
            Op::End { lease, how, body } => {
                let Some((lease, known)) = self.lease(lease) else { return };
                let result = parts("200", &content(body));
                let ending = match how {
                    0 | 1 => Ending::Done(result),
                    2 => Ending::Dead(failure("plugin_trap"), Some(result)),
                    _ => Ending::Again { failure: failure("unavailable"), due_ms: now + 9, counted: true },
                };
                let ended = self.queue().end(&lease, ending, KEEP, None, now).await;
                let Some(known) = known else {
                    assert_eq!(ended.unwrap_err().code(), Code::Conflict);
                    return;
                };
                ended.unwrap();
                let known = self.known.get_mut(&known).unwrap();
                match how {
                    0 | 1 => {
                        known.end(ItemState::Done, now);
                        (known.request, known.result) = (0, Some(body));
                    }
                    2 => {
                        known.end(ItemState::Dead, now);
                        known.result = Some(body);
                    }
                    _ => (known.state, known.due) = (ItemState::Queued, now + 9),
                }
            }
            Op::Extend { lease } => {
                let Some((lease, known)) = self.lease(lease) else { return };
                assert_eq!(self.queue().extend(&lease, now + 99).await.is_ok(), known.is_some());
                if let Some(known) = known {
                    self.known.get_mut(&known).unwrap().due = now + 99;
                }
            }
            Op::Cancel { tenant: of, id } => {
                let key = (of, format!("i{id}"));
                let cancelled = self.queue().cancel(&tenant(NAMES[of]), &key.1, KEEP, now).await;
                match self.known.get_mut(&key).filter(|known| !known.state.is_end()) {
                    None => assert!(cancelled.is_err()),
                    Some(known) => {
                        cancelled.unwrap();
                        known.end(ItemState::Cancelled, now);
                        known.request = 0;
                    }
                }
            }
            Op::Retry { tenant: of, id } => {
                let key = (of, format!("i{id}"));
                let retried = self.queue().retry(&tenant(NAMES[of]), &key.1, 3, LIMITS, now).await;
                match self.known.get_mut(&key).filter(|known| known.state == ItemState::Dead) {
                    None => assert!(retried.is_err()),
                    Some(known) => {
                        retried.unwrap();
                        (known.state, known.due, known.expires) = (ItemState::Queued, now, None);
                        known.result = None;
                    }
                }
            }
            Op::Sweep => {
                let before = self.known.len();
                self.known.retain(|_, known| known.expires.is_none_or(|at| at > now));
                assert_eq!(self.queue().sweep(now).await.unwrap(), before - self.known.len());
            }
            Op::Tick(ms) => self.now += ms,
            Op::Reopen => {
                drop(self.store.take());
                // Small segments and snapshots, so that they are met.
                let options = Options { segment_bytes: 8 << 10, snapshot_bytes: 4 << 10, ..Options::default() };
                self.store = Some(open(self.dir.path(), &options));
                let running = self.known.values_mut().filter(|known| known.state == ItemState::Running);
                running.for_each(|known| known.due = 0);
            }
        }
    }

    /// A lease that was given, and whose item it is if that is still so.
    fn lease(&self, nth: usize) -> Option<(ItemRow, Option<(usize, String)>)> {
        let lease = self.leases.iter().rev().nth(nth)?.clone();
        let of = NAMES.iter().position(|name| *name == lease.tenant.as_str()).unwrap();
        let key = (of, lease.id.clone());
        let held = |known: &Known| known.state == ItemState::Running && known.attempts == lease.attempts;
        let key = self.known.get(&key).is_some_and(held).then_some(key);
        Some((lease, key))
    }

    fn check(&self) {
        let mut files = 0;
        for (of, name) in NAMES.iter().enumerate() {
            let rows = self.queue().list(&tenant(name), Topic::Call, &ItemFilter::default(), None, 99);
            let found: BTreeMap<_, _> = rows
                .iter()
                .map(|row| {
                    let known = Known {
                        state: row.state,
                        attempts: row.attempts,
                        due: if row.state.is_end() { 0 } else { row.due_ms },
                        expires: row.expires_ms,
                        request: row.request.body as usize,
                        result: row.result.as_ref().map(|held| held.body as usize),
                    };
                    ((of, row.id.clone()), known)
                })
                .collect();
            let mut known: BTreeMap<_, _> =
                self.known.iter().filter(|((owner, _), _)| *owner == of).map(|(k, v)| (k.clone(), v.clone())).collect();
            known.values_mut().filter(|known| known.state.is_end()).for_each(|known| known.due = 0);
            assert_eq!(found, known);
            let used = QueueUse {
                entries: known.values().filter(|known| !known.state.is_end()).count() as u64,
                bytes: known.values().map(Known::bytes).sum(),
            };
            assert_eq!(self.queue().used(&tenant(name)), used);
            files += rows.iter().flat_map(ItemRow::files).count();
        }
        assert_eq!(bodies(self.dir.path()).len(), files);
    }

    async fn read(&self) {
        for ((of, id), known) in &self.known {
            let row = self.queue().row(&tenant(NAMES[*of]), id).unwrap();
            assert_eq!(self.queue().request(&row).await.unwrap().body, content(known.request));
            let result = self.queue().result(&row).await.unwrap().map(|parts| parts.body.to_vec());
            assert_eq!(result, known.result.map(content));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_is_what_its_model_says(ops in proptest::collection::vec(op(), 1..70)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = Some(open(dir.path(), &Options::default()));
            let mut world = World { dir, store, known: BTreeMap::new(), leases: vec![], now: 1_000 };
            for op in ops.into_iter().chain([Op::Reopen]) {
                world.run(op).await;
                world.check();
            }
            world.read().await;
        });
    }
}
