//! Tenants and their flows, and the bounds of the queue.

use std::collections::VecDeque;
use std::hash::Hash;
use std::time::Duration;

use super::Scheduler;
use super::estimate::Average;
use super::lanes::{Flow, FlowKey, TenantKey};
use super::models::ModelKey;
use super::request::Bound;

pub(super) struct Tenant<T> {
    name: T,
    /// Flows that may run, in turn.
    pub(super) ready: VecDeque<FlowKey>,
    /// Requests that wait.
    pub(super) queued: usize,
    /// Compute time of a request, its share of a batch.
    pub(super) per_request: Average,
}

/// Idle tenants that are remembered without a second thought.
pub(super) const TENANTS: usize = 64;

impl<T: Clone + Eq + Hash, J> Scheduler<T, J> {
    /// The tenant of that name, now if never before.
    pub(super) fn tenant(&mut self, name: &T) -> TenantKey {
        if let Some(key) = self.tenants.get(name) {
            return *key;
        }
        if self.rounds.len() >= self.sweep_at {
            self.forget_idle_tenants();
        }
        let data = Tenant { name: name.clone(), ready: VecDeque::new(), queued: 0, per_request: Average::default() };
        let key = self.rounds.insert(data);
        self.tenants.insert(name.clone(), key);
        key
    }

    /// A tenant's flow for a model.
    pub(super) fn flow(&mut self, tenant: TenantKey, model: ModelKey) -> FlowKey {
        if let Some(flow) = self.flow_of.get(&(tenant, model)) {
            return *flow;
        }
        let flow = self.flows.insert(Flow::new(tenant, model));
        self.flow_of.insert((tenant, model), flow);
        if let Some(model) = self.models.get_mut(model) {
            model.flows.push(flow);
        }
        flow
    }

    /// Tenants with nothing waiting and nothing owed are like new ones. Done when their number has doubled, so that
    /// it costs each newcomer a constant time.
    fn forget_idle_tenants(&mut self) {
        let idle =
            |(key, tenant): (TenantKey, &Tenant<T>)| (tenant.queued == 0 && self.rounds.is_outside(key)).then_some(key);
        let idle: Vec<TenantKey> = self.rounds.iter().filter_map(idle).collect();
        for key in idle {
            if let Some(tenant) = self.rounds.remove(key) {
                self.tenants.remove(&tenant.name);
            }
        }
        let rounds = &self.rounds;
        let orphans: Vec<FlowKey> = self
            .flow_of
            .iter()
            .filter(|((tenant, _), _)| rounds.get(*tenant).is_none())
            .map(|(_, flow)| *flow)
            .collect();
        for flow in orphans {
            self.forget_flow(flow);
        }
        let flows = &self.flows;
        for model in self.models.values_mut() {
            model.flows.retain(|flow| flows.contains(*flow));
        }
        self.sweep_at = TENANTS.max(2 * self.rounds.len());
    }

    /// The bound that one more request would break, if any: the widest one, as it says most about when to come back.
    pub(super) fn full(&self, tenant: Option<TenantKey>, model: ModelKey) -> Option<Bound> {
        let of_tenant = tenant.and_then(|key| self.rounds.get(key)).map_or(0, |t| t.queued);
        let of_model = self.models.get(model).map_or(0, |m| m.queued);
        if self.requests.len() >= self.config.queue {
            Some(Bound::Whole)
        } else if of_tenant >= self.config.queue_per_tenant {
            Some(Bound::Tenant)
        } else if of_model >= self.config.queue_per_model {
            Some(Bound::Model)
        } else {
            None
        }
    }

    /// How long what waits under a bound will take: its requests, times what one took of late, over the workers that
    /// it can have.
    pub(super) fn retry_after(&self, bound: Bound, tenant: Option<TenantKey>, model: ModelKey) -> Duration {
        // Nothing has been measured yet: as good as any.
        const UNKNOWN: Duration = Duration::from_secs(1);
        // Sooner is a busy loop; later, and the estimate is worth nothing.
        const RANGE: (f64, f64) = (0.01, 60.0);

        let workers = self.config.workers.max(1) as f64;
        let (queued, per_request, workers) = match bound {
            Bound::Whole => (self.requests.len(), None, workers),
            Bound::Tenant => {
                let share = tenant.map_or(1.0, |key| self.rounds.share(key));
                let tenant = tenant.and_then(|key| self.rounds.get(key));
                (tenant.map_or(0, |t| t.queued), tenant.and_then(|t| t.per_request.nanos()), workers * share)
            }
            Bound::Model => {
                let model = self.models.get(model);
                let limit = model.map_or(1, |m| match m.policy.exclusive_group {
                    Some(_) => 1,
                    None => m.policy.max_concurrency.max(1),
                });
                let per_request = model.and_then(|m| m.per_request.nanos());
                (model.map_or(0, |m| m.queued), per_request, workers.min(limit as f64))
            }
        };
        let Some(nanos) = per_request.or(self.per_request.nanos()) else { return UNKNOWN };
        Duration::from_secs_f64((queued as f64 * nanos / 1e9 / workers).clamp(RANGE.0, RANGE.1))
    }
}
