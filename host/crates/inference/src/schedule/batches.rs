//! Forming batches, and what happens when they end.

use std::hash::Hash;
use std::time::{Duration, Instant};

use super::Scheduler;
use super::lanes::{FlowKey, FlowState, LaneKey, LaneState, TenantKey};
use super::models::ModelKey;
use super::request::{Batch, BatchId, Dropped, GroupId};

/// A batch under way.
pub(super) struct Flight {
    model: ModelKey,
    /// The group that it holds the slot of; the model's may have changed since.
    group: Option<GroupId>,
    rows: u64,
    requests: usize,
    pub(super) shares: Vec<Share>,
}

/// One tenant's part in a batch.
pub(super) struct Share {
    pub(super) tenant: TenantKey,
    rows: u64,
    requests: usize,
    /// Nanoseconds charged when it started.
    pub(super) charged: i64,
}

/// A batch that is being put together.
struct Forming<J> {
    rows: u64,
    /// What it may grow to.
    max_rows: u64,
    jobs: Vec<J>,
    /// What the callers think that it costs.
    hints: Duration,
    shares: Vec<Share>,
}

/// What a batch can cost at most, so that accounts cannot overflow.
const LONGEST: Duration = Duration::from_secs(3600);
/// Other tenants' flows that are asked to fill up a batch, at most.
const RIDERS: usize = 32;

impl<T: Clone + Eq + Hash, J> Scheduler<T, J> {
    /// The next flow of a tenant whose gates are open, taken from its ready ones.
    pub(super) fn open_flow(&mut self, tenant: TenantKey) -> Option<FlowKey> {
        loop {
            let key = self.rounds.get_mut(tenant)?.ready.pop_front()?;
            let Some(flow) = self.flows.get(key) else { continue };
            let model = flow.model;
            if self.pass_gates(key, model) {
                return Some(key);
            }
        }
    }

    /// A batch from a flow that was taken from its tenant's ready ones, which it goes back to if more is ready.
    pub(super) fn form(
        &mut self,
        now: Instant,
        flow_key: FlowKey,
        is_gone: &mut impl FnMut(&J) -> bool,
        turn: &mut impl FnMut(&J, u64) -> u64,
    ) -> Option<Batch<J>> {
        let flow = self.flows.get_mut(flow_key)?;
        flow.state = FlowState::Idle;
        let (tenant, model_key) = (flow.tenant, flow.model);
        let mut forming = Forming { rows: 0, max_rows: 1, jobs: Vec::new(), hints: Duration::ZERO, shares: Vec::new() };
        while let Some(lane) = self.flows.get_mut(flow_key)?.ready.pop_front() {
            forming.max_rows = self.max_rows(lane, model_key, turn);
            self.take(lane, tenant, &mut forming, is_gone);
            if !forming.jobs.is_empty() {
                self.take_riders(lane, flow_key, model_key, &mut forming, is_gone);
                let batch = self.start(model_key, forming);
                // Only now: whether the rest is held back depends on what is under way.
                self.settle(now, lane);
                if self.rounds.get(tenant).is_some_and(|t| t.queued > 0) {
                    self.make_flow_ready(flow_key);
                }
                if self.rounds.get(tenant).is_some_and(|t| t.ready.is_empty()) {
                    self.rounds.set_ready(tenant, false);
                }
                return Some(batch);
            }
        }
        None
    }

    /// The rows that a batch from this lane may have: what the model allows, and what its first request is worth.
    fn max_rows(&self, lane: LaneKey, model: ModelKey, turn: &mut impl FnMut(&J, u64) -> u64) -> u64 {
        let allowed = self.models.get(model).map_or(1, |m| u64::from(m.policy.max_batch));
        let first = self.lanes.get(lane).filter(|lane| lane.key.is_some() && allowed > 1);
        let asked = first.and_then(|lane| Some(turn(&self.requests.get(lane.head?)?.job, lane.rows)));
        asked.map_or(allowed, |rows| rows.min(allowed))
    }

    /// Moves requests from a lane into a batch, as many as fit: in order, so that none is overtaken for its size.
    fn take(
        &mut self,
        lane_key: LaneKey,
        tenant: TenantKey,
        forming: &mut Forming<J>,
        is_gone: &mut impl FnMut(&J) -> bool,
    ) {
        let Some(lane) = self.lanes.get_mut(lane_key) else { return };
        let joins = lane.key.is_some();
        if lane.state == LaneState::Ready {
            lane.state = LaneState::Idle;
        }
        let (rows_before, jobs_before) = (forming.rows, forming.jobs.len());
        while let Some(head) = self.lanes.get(lane_key).and_then(|lane| lane.head) {
            let Some(queued) = self.requests.get(head) else { break };
            let gone = is_gone(&queued.job);
            let fits = forming.jobs.is_empty() || (joins && forming.rows + u64::from(queued.rows) <= forming.max_rows);
            if !gone && !fits {
                break;
            }
            let Some(queued) = self.unlink(head) else { break };
            if gone {
                self.dropped.push(Dropped::Gone(queued.job));
                continue;
            }
            forming.rows += u64::from(queued.rows);
            let mean = || Duration::from_nanos(self.rounds.mean().unsigned_abs());
            forming.hints += queued.hint.unwrap_or_else(mean).min(LONGEST);
            forming.jobs.push(queued.job);
        }
        let (rows, requests) = (forming.rows - rows_before, forming.jobs.len() - jobs_before);
        if requests > 0 {
            forming.shares.push(Share { tenant, rows, requests, charged: 0 });
        }
    }

    /// Fills a batch up with other tenants' requests for the same model. They pay for their part, so only who has
    /// credit rides: a flood must not travel on everybody's tickets.
    fn take_riders(
        &mut self,
        lane: LaneKey,
        driver: FlowKey,
        model_key: ModelKey,
        forming: &mut Forming<J>,
        is_gone: &mut impl FnMut(&J) -> bool,
    ) {
        let Some(batch_key) = self.lanes.get(lane).and_then(|lane| lane.key) else { return };
        let Some(model) = self.models.get_mut(model_key) else { return };
        let flows = model.flows.len();
        if flows < 2 || forming.rows >= forming.max_rows {
            return;
        }
        let from = model.cursor;
        model.cursor = from.wrapping_add(1);
        for step in 0..flows.min(RIDERS) {
            let Some(model) = self.models.get(model_key) else { return };
            let rider = model.flows[from.wrapping_add(step) % flows];
            let Some(flow) = self.flows.get(rider).filter(|_| rider != driver) else { continue };
            let (tenant, lane) = (flow.tenant, flow.lanes.get(&Some(batch_key)).copied());
            let Some(lane) = lane.filter(|lane| self.lanes.get(*lane).is_some_and(|l| l.head.is_some())) else {
                continue;
            };
            if !self.rounds.has_credit(tenant) {
                continue;
            }
            let before = forming.jobs.len();
            // What stays behind keeps its place: ready, or held.
            let state = self.lanes.get(lane).map(|l| l.state);
            self.take(lane, tenant, forming, is_gone);
            if let (Some(LaneState::Ready), Some(lane)) = (state, self.lanes.get_mut(lane)) {
                lane.state = LaneState::Ready;
            }
            if forming.jobs.len() > before {
                self.rounds.join(tenant);
            }
            if forming.rows >= forming.max_rows {
                return;
            }
        }
    }

    /// Counts a batch as under way, and charges its tenants by rows what it is expected to cost.
    fn start(&mut self, model_key: ModelKey, forming: Forming<J>) -> Batch<J> {
        let Forming { rows, jobs, hints, mut shares, .. } = forming;
        let hinted = hints.min(LONGEST).as_nanos() as i64;
        let mut group = None;
        let mut expected = hinted;
        if let Some(model) = self.models.get_mut(model_key) {
            model.gate.running += 1;
            group = model.policy.exclusive_group;
            expected = model.estimates.nanos(rows).unwrap_or(hinted);
        }
        if let Some(group) = group {
            self.groups.entry(group).or_default().running += 1;
        }
        for share in &mut shares {
            share.charged = part(expected, share.rows, rows);
            self.rounds.charge(share.tenant, share.charged);
        }
        let flight = Flight { model: model_key, group, rows, requests: jobs.len(), shares };
        let id = BatchId(self.flights.insert(flight));
        Batch {
            id,
            #[cfg(test)]
            model: super::ModelId(model_key),
            #[cfg(test)]
            rows,
            jobs,
        }
    }

    /// Returns a batch's permits: the worker, the model's and the group's.
    fn end(&mut self, BatchId(id): BatchId) -> Option<Flight> {
        let flight = self.flights.remove(id)?;
        if let Some(model) = self.models.get_mut(flight.model) {
            model.gate.running -= 1;
        }
        self.wake_model(flight.model);
        if let Some(group) = flight.group {
            if let Some(gate) = self.groups.get_mut(&group) {
                gate.running -= 1;
            }
            self.wake_group(group);
        }
        Some(flight)
    }

    /// A batch has run, for so long. Returns its permits, corrects what its tenants were charged, and learns from
    /// it. False if there is no such batch (any more).
    pub(crate) fn done(&mut self, now: Instant, id: BatchId, compute: Duration) -> bool {
        let Some(flight) = self.end(id) else { return false };
        let compute = compute.min(LONGEST);
        let actual = compute.as_nanos() as i64;
        let per_request = actual as f64 / flight.requests as f64;
        for share in &flight.shares {
            let part = part(actual, share.rows, flight.rows);
            self.rounds.charge(share.tenant, part - share.charged);
            if let Some(tenant) = self.rounds.get_mut(share.tenant) {
                tenant.per_request.observe(part as f64 / share.requests as f64);
            }
        }
        self.rounds.observe(actual as f64);
        self.per_request.observe(per_request);
        if let Some(model) = self.models.get_mut(flight.model) {
            model.estimates.observe(flight.rows, compute);
            model.per_request.observe(per_request);
            let joined = flight.requests > 1 && model.delays();
            model.gather_until = if joined { now.checked_add(model.policy.max_delay) } else { None };
        }
        self.rest(flight.model);
        true
    }

    /// A batch will never end: its engine died. Returns its permits; what it was expected to cost stays charged, as
    /// a model that kills engines is not to get its time for nothing. False if there is no such batch (any more).
    pub(crate) fn lost(&mut self, id: BatchId) -> bool {
        let Some(flight) = self.end(id) else { return false };
        if let Some(model) = self.models.get_mut(flight.model) {
            model.gather_until = None;
        }
        self.rest(flight.model);
        true
    }

    /// Nothing of a model is under way and nobody is expected back: what was held back may run.
    fn rest(&mut self, key: ModelKey) {
        if self.models.get(key).is_some_and(|m| m.gate.running == 0 && m.gather_until.is_none()) {
            self.release_held(key);
        }
    }
}

/// A share of nanoseconds by rows.
fn part(nanos: i64, rows: u64, of: u64) -> i64 {
    let part = i128::from(nanos) * i128::from(rows) / i128::from(of.max(1));
    i64::try_from(part).unwrap_or(i64::MAX)
}
