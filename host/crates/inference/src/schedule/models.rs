//! Models and the gates that their batches pass: how many may be under way at once.

use std::hash::Hash;
use std::time::{Duration, Instant};

use super::Scheduler;
use super::estimate::{Average, Estimates};
use super::lanes::{FlowKey, FlowState, LaneKey};
use super::request::{GroupId, ModelId, ModelPolicy, OfModel};
use super::slab::Key;

pub(super) type ModelKey = Key<OfModel>;

pub(super) struct Model {
    pub(super) policy: ModelPolicy,
    /// Its own gate.
    pub(super) gate: Gate,
    /// Every tenant's requests for it, those without any as well.
    pub(super) flows: Vec<FlowKey>,
    /// Which flow rides along next.
    pub(super) cursor: usize,
    /// Lanes held back, and those that were.
    pub(super) held: Vec<LaneKey>,
    /// How many are.
    pub(super) holding: usize,
    /// The last batch joined requests: until then their callers are expected back.
    pub(super) gather_until: Option<Instant>,
    /// Requests that wait.
    pub(super) queued: usize,
    pub(super) estimates: Estimates,
    /// Compute time of a request, its share of a batch.
    pub(super) per_request: Average,
}

/// Counts batches under way, and knows who waits for one of them to end.
#[derive(Default)]
pub(super) struct Gate {
    pub(super) running: usize,
    pub(super) blocked: Vec<FlowKey>,
}

impl Model {
    /// Requests are held back only while there is a sign of others to come (see [`Scheduler`]). Until when?
    pub(super) fn expects_more(&self, now: Instant) -> Option<Instant> {
        if self.gate.running > 0 {
            return now.checked_add(self.policy.max_delay);
        }
        self.gather_until.filter(|until| *until > now)
    }

    pub(super) fn batches(&self) -> bool {
        self.policy.max_batch > 1
    }

    pub(super) fn delays(&self) -> bool {
        self.batches() && self.policy.max_delay > Duration::ZERO
    }
}

impl<T: Clone + Eq + Hash, J> Scheduler<T, J> {
    /// Registers a model.
    pub(crate) fn add_model(&mut self, policy: ModelPolicy) -> ModelId {
        ModelId(self.models.insert(Model {
            policy,
            gate: Gate::default(),
            flows: Vec::new(),
            cursor: 0,
            held: Vec::new(),
            holding: 0,
            gather_until: None,
            queued: 0,
            estimates: Estimates::default(),
            per_request: Average::default(),
        }))
    }

    /// Changes how a model is served. Batches under way end as they began.
    pub(crate) fn set_policy(&mut self, ModelId(key): ModelId, policy: ModelPolicy) {
        let Some(model) = self.models.get_mut(key) else { return };
        let before = std::mem::replace(&mut model.policy, policy);
        // Whatever waited under the old policy is looked at again under the new one.
        model.gather_until = None;
        self.release_held(key);
        self.wake_model(key);
        if let Some(group) = before.exclusive_group {
            self.wake_group(group);
        }
    }

    /// Removes a model. Its requests come back, for the caller to answer; its batches under way still end with
    /// [`done`](Self::done) or [`lost`](Self::lost).
    pub(crate) fn remove_model(&mut self, ModelId(key): ModelId) -> Vec<J> {
        let Some(model) = self.models.get_mut(key) else { return Vec::new() };
        let flows = std::mem::take(&mut model.flows);
        let mut jobs = Vec::with_capacity(model.queued);
        for flow in flows {
            for lane in self.flows.get(flow).map(|f| f.lanes.values().copied().collect::<Vec<_>>()).unwrap_or_default()
            {
                while let Some(head) = self.lanes.get(lane).and_then(|l| l.head) {
                    jobs.extend(self.unlink(head).map(|queued| queued.job));
                }
            }
            self.forget_flow(flow);
        }
        self.models.remove(key);
        jobs
    }

    /// Whether a batch of this model may start; if not, the flow waits at the gate that is closed.
    pub(super) fn pass_gates(&mut self, flow: FlowKey, key: ModelKey) -> bool {
        let Some(model) = self.models.get_mut(key) else { return false };
        let closed = if model.gate.running >= model.policy.max_concurrency.max(1) {
            Some(&mut model.gate)
        } else {
            let group = model.policy.exclusive_group.and_then(|group| self.groups.get_mut(&group));
            group.filter(|gate| gate.running > 0)
        };
        let Some(gate) = closed else { return true };
        gate.blocked.push(flow);
        if let Some(flow) = self.flows.get_mut(flow) {
            flow.state = FlowState::Blocked;
        }
        false
    }

    pub(super) fn wake_model(&mut self, key: ModelKey) {
        let Some(model) = self.models.get_mut(key) else { return };
        let blocked = std::mem::take(&mut model.gate.blocked);
        let emptied = self.wake(blocked);
        if let Some(model) = self.models.get_mut(key) {
            model.gate.blocked = emptied;
        }
    }

    /// Wakes those that wait for a group, and forgets a group that is at rest.
    pub(super) fn wake_group(&mut self, group: GroupId) {
        let Some(gate) = self.groups.get_mut(&group) else { return };
        let blocked = std::mem::take(&mut gate.blocked);
        let at_rest = gate.running == 0;
        self.wake(blocked);
        if at_rest {
            self.groups.remove(&group);
        }
    }

    /// All of them: which one passes the gate next is decided by whose turn it is. The list comes back empty, for
    /// its memory.
    fn wake(&mut self, mut blocked: Vec<FlowKey>) -> Vec<FlowKey> {
        for key in blocked.drain(..) {
            let Some(flow) = self.flows.get_mut(key) else { continue };
            if flow.state == FlowState::Blocked {
                flow.state = FlowState::Idle;
                self.make_flow_ready(key);
            }
        }
        blocked
    }
}
