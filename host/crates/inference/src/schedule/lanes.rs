//! Requests that wait. A *lane* is a FIFO of one tenant's requests for one model with one batch key: what a batch is
//! taken from. A *flow* is all lanes of a tenant for a model: what passes the model's gates.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::Scheduler;
use super::fair::OfMember;
use super::models::ModelKey;
use super::request::{BatchKey, OfRequest};
use super::slab::Key;

pub(super) struct OfFlow;
pub(super) struct OfLane;
pub(super) type TenantKey = Key<OfMember>;
pub(super) type FlowKey = Key<OfFlow>;
pub(super) type LaneKey = Key<OfLane>;
pub(super) type RequestKey = Key<OfRequest>;

pub(super) struct Flow {
    pub(super) tenant: TenantKey,
    pub(super) model: ModelKey,
    /// Lanes by batch key; empty ones stay for a while, as they are likely to be used again.
    pub(super) lanes: HashMap<Option<BatchKey>, LaneKey>,
    /// So many lanes and the empty ones are cleared out.
    sweep_at: usize,
    /// Lanes that may run, in turn.
    pub(super) ready: VecDeque<LaneKey>,
    pub(super) state: FlowState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FlowState {
    /// Nothing is ready.
    Idle,
    /// Stands among its tenant's ready flows, once.
    Ready,
    /// Stands at a gate, once.
    Blocked,
}

pub(super) struct Lane {
    pub(super) flow: FlowKey,
    pub(super) key: Option<BatchKey>,
    pub(super) head: Option<RequestKey>,
    tail: Option<RequestKey>,
    pub(super) rows: u64,
    pub(super) state: LaneState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneState {
    /// Empty.
    Idle,
    /// Stands among its flow's ready lanes, once.
    Ready,
    /// Waits until then for more to join.
    Held(Instant),
}

/// A request that waits, linked to its neighbours so that it can leave from anywhere at once.
pub(super) struct Queued<J> {
    lane: LaneKey,
    previous: Option<RequestKey>,
    next: Option<RequestKey>,
    pub(super) rows: u32,
    arrived: Instant,
    deadline: Instant,
    pub(super) hint: Option<Duration>,
    pub(super) job: J,
}

impl Flow {
    pub(super) fn new(tenant: TenantKey, model: ModelKey) -> Self {
        let state = FlowState::Idle;
        Self { tenant, model, lanes: HashMap::new(), sweep_at: LANES, ready: VecDeque::new(), state }
    }
}

/// Lanes that a flow may keep empty.
const LANES: usize = 8;

impl<T: Clone + Eq + Hash, J> Scheduler<T, J> {
    /// The lane of a flow for a batch key.
    pub(super) fn lane(&mut self, key: FlowKey, batch_key: Option<BatchKey>) -> Option<LaneKey> {
        let flow = self.flows.get_mut(key)?;
        if let Some(lane) = flow.lanes.get(&batch_key) {
            return Some(*lane);
        }
        if flow.lanes.len() >= flow.sweep_at {
            // Batch keys are the tenant's choice: those that are not in use must not pile up.
            let lanes = &mut self.lanes;
            flow.lanes.retain(|_, lane| {
                let used = lanes.get(*lane).is_some_and(|l| l.head.is_some());
                if !used {
                    lanes.remove(*lane);
                }
                used
            });
            flow.ready.retain(|lane| lanes.contains(*lane));
            flow.sweep_at = LANES.max(2 * flow.lanes.len());
        }
        let lane = Lane { flow: key, key: batch_key, head: None, tail: None, rows: 0, state: LaneState::Idle };
        let lane = self.lanes.insert(lane);
        flow.lanes.insert(batch_key, lane);
        Some(lane)
    }

    /// Appends a request to a lane, and sees whether the lane is ready now.
    pub(super) fn link(
        &mut self,
        now: Instant,
        lane_key: LaneKey,
        (rows, deadline, hint): (u32, Instant, Option<Duration>),
        job: J,
    ) -> RequestKey {
        let previous = self.lanes.get(lane_key).and_then(|lane| lane.tail);
        let queued = Queued { lane: lane_key, previous, next: None, rows, arrived: now, deadline, hint, job };
        let key = self.requests.insert(queued);
        let Some(lane) = self.lanes.get_mut(lane_key) else { return key };
        lane.tail = Some(key);
        lane.rows += u64::from(rows);
        match previous {
            Some(previous) => {
                if let Some(previous) = self.requests.get_mut(previous) {
                    previous.next = Some(key);
                }
            }
            None => lane.head = Some(key),
        }
        if let Some(flow) = self.flows.get(lane.flow) {
            if let Some(model) = self.models.get_mut(flow.model) {
                model.queued += 1;
            }
            if let Some(tenant) = self.rounds.get_mut(flow.tenant) {
                tenant.queued += 1;
            }
        }
        let requests = &self.requests;
        self.deadlines.push(deadline, key, requests.len(), |_, key| requests.contains(key));
        self.settle(now, lane_key);
        key
    }

    /// Takes a request out, from wherever it stands.
    pub(super) fn unlink(&mut self, key: RequestKey) -> Option<Queued<J>> {
        let queued = self.requests.remove(key)?;
        if let Some(previous) = queued.previous.and_then(|key| self.requests.get_mut(key)) {
            previous.next = queued.next;
        }
        if let Some(next) = queued.next.and_then(|key| self.requests.get_mut(key)) {
            next.previous = queued.previous;
        }
        let Some(lane) = self.lanes.get_mut(queued.lane) else { return Some(queued) };
        if lane.head == Some(key) {
            lane.head = queued.next;
        }
        if lane.tail == Some(key) {
            lane.tail = queued.previous;
        }
        lane.rows -= u64::from(queued.rows);
        let Some(flow) = self.flows.get(lane.flow) else { return Some(queued) };
        if let Some(model) = self.models.get_mut(flow.model) {
            model.queued -= 1;
            if lane.head.is_none() && matches!(lane.state, LaneState::Held(_)) {
                lane.state = LaneState::Idle;
                model.holding -= 1;
            }
        }
        let tenant = flow.tenant;
        if let Some(data) = self.rounds.get_mut(tenant) {
            data.queued -= 1;
            if data.queued == 0 {
                self.rest_tenant(tenant);
            }
        }
        Some(queued)
    }

    /// A tenant has nothing left that waits: its turns are to pass at once. Its lanes keep their places in lists that
    /// nobody reads meanwhile.
    fn rest_tenant(&mut self, key: TenantKey) {
        while let Some(flow) = self.rounds.get_mut(key).and_then(|tenant| tenant.ready.pop_front()) {
            if let Some(flow) = self.flows.get_mut(flow) {
                flow.state = FlowState::Idle;
            }
        }
        self.rounds.set_ready(key, false);
    }

    /// Decides whether a lane may run now or is held back for more to join.
    pub(super) fn settle(&mut self, now: Instant, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if lane.head.is_none() {
            return;
        }
        if lane.state == LaneState::Ready {
            // Its flow may have been put to rest with it.
            let flow = lane.flow;
            return self.make_flow_ready(flow);
        }
        let Some(model) = self.flows.get(lane.flow).and_then(|flow| self.models.get_mut(flow.model)) else { return };
        let full = lane.rows >= u64::from(model.policy.max_batch);
        if lane.key.is_none() || full || !model.delays() {
            return self.make_ready(key);
        }
        let compute = Duration::from_nanos(model.estimates.nanos(lane.rows).unwrap_or(0).unsigned_abs());
        // Holding a request back must not cost it its deadline.
        let can_wait =
            |queued: &Queued<J>, until: Instant| queued.deadline.checked_duration_since(until) > Some(compute);
        if let LaneState::Held(until) = lane.state {
            // The others were asked when they came.
            let newest = lane.tail.and_then(|tail| self.requests.get(tail));
            if newest.is_some_and(|newest| !can_wait(newest, until)) {
                self.make_ready(key);
            }
            return;
        }
        // The delay counts from the arrival of the first one, also if it has been waiting for a worker.
        let until = lane.head.and_then(|head| self.requests.get(head)).and_then(|first| {
            let latest = first.arrived.checked_add(model.policy.max_delay)?;
            model.expects_more(now).map(|until| until.min(latest)).filter(|until| *until > now)
        });
        let Some(until) = until else { return self.make_ready(key) };
        // Fewer than `max_batch`, and once for every batch.
        let mut at = lane.head;
        while let Some(queued) = at.and_then(|key| self.requests.get(key)) {
            if !can_wait(queued, until) {
                return self.make_ready(key);
            }
            at = queued.next;
        }
        lane.state = LaneState::Held(until);
        if model.held.len() > 2 * model.holding + LANES {
            let lanes = &self.lanes;
            model.held.retain(|key| lanes.get(*key).is_some_and(|lane| matches!(lane.state, LaneState::Held(_))));
        }
        model.holding += 1;
        model.held.push(key);
        let lanes = &self.lanes;
        let held = |at, key| lanes.get(key).is_some_and(|lane| lane.state == LaneState::Held(at));
        self.holds.push(until, key, lanes.len(), held);
    }

    /// Puts a lane that is not empty among the ready ones.
    pub(super) fn make_ready(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some(flow) = self.flows.get_mut(lane.flow) else { return };
        match std::mem::replace(&mut lane.state, LaneState::Ready) {
            LaneState::Ready => return,
            LaneState::Idle => {}
            LaneState::Held(_) => {
                if let Some(model) = self.models.get_mut(flow.model) {
                    model.holding -= 1;
                }
            }
        }
        flow.ready.push_back(key);
        let flow = lane.flow;
        self.make_flow_ready(flow);
    }

    /// Puts a flow among its tenant's ready ones, unless it stands there or at a gate.
    pub(super) fn make_flow_ready(&mut self, key: FlowKey) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        if flow.state != FlowState::Idle || flow.ready.is_empty() {
            return;
        }
        flow.state = FlowState::Ready;
        let tenant = flow.tenant;
        if let Some(data) = self.rounds.get_mut(tenant) {
            data.ready.push_back(key);
        }
        self.rounds.set_ready(tenant, true);
    }

    /// Ends the holds that are due.
    pub(super) fn end_holds(&mut self, now: Instant) {
        while let Some((at, key)) = self.holds.pop_due(now) {
            if self.lanes.get(key).is_some_and(|lane| lane.state == LaneState::Held(at)) {
                self.make_ready(key);
            }
        }
    }

    /// Ends all holds of a model that is not expected to get more.
    pub(super) fn release_held(&mut self, key: ModelKey) {
        let Some(model) = self.models.get_mut(key) else { return };
        if model.holding == 0 {
            return;
        }
        let mut held = std::mem::take(&mut model.held);
        for lane in held.drain(..) {
            if self.lanes.get(lane).is_some_and(|lane| matches!(lane.state, LaneState::Held(_))) {
                self.make_ready(lane);
            }
        }
        if let Some(model) = self.models.get_mut(key) {
            model.held = held;
        }
    }

    /// Forgets a flow without requests.
    pub(super) fn forget_flow(&mut self, key: FlowKey) {
        let Some(flow) = self.flows.remove(key) else { return };
        for lane in flow.lanes.values() {
            self.lanes.remove(*lane);
        }
        self.flow_of.remove(&(flow.tenant, flow.model));
    }
}
