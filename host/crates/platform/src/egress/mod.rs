//! What guests send out: the tenant's rules decide, the connector checks and connects, the meter counts.

mod counted;
mod meter;
mod rules;
mod usage;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aimass_core::outgoing::{Outgoing, OutgoingBody, OutgoingCall, OutgoingError};
use aimass_core::policy::EgressRule;
use aimass_core::{Name, Result, Tenant};
use aimass_egress::{Connector, Destination};
use aimass_store::Store;
use async_trait::async_trait;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::BodyExt as _;

pub use rules::{EgressWish, RegionDocument, TransferWish};
pub use usage::{CallsDocument, FlowDocument, ObjectUsageDocument, UsageDocument, UsageQuery};

use crate::{Guests, Platform};
use counted::Counted;
use meter::Meter;
pub(crate) use meter::{Due, Today};

/// The region of a node that is told of none, and of its destinations.
pub const LOCAL: &str = "local";

/// Whose data a request holds: identifiers with commas between, in as many fields as it takes. The platform counts
/// how many there are, keeps none, and sends none on.
const SUBJECTS: HeaderName = HeaderName::from_static("aimass-subjects");

/// What egress is built from.
pub struct EgressParts {
    /// Checks and connects.
    pub connector: Arc<Connector>,
    /// Where this node is, and so its tenants' data unless they say otherwise. None where regions do not matter.
    pub region: Option<Name>,
    /// Keys the hashes of subjects.
    pub subjects_key: [u8; 32],
}

pub(crate) struct Egress {
    store: Store,
    connector: Arc<Connector>,
    node: Option<Name>,
    pub(crate) meter: Arc<Meter>,
    /// What the store says of a tenant, with the record up to which it is so.
    policies: RwLock<HashMap<Name, (u64, Arc<Policy>)>>,
}

/// A tenant's rules, as sending needs them.
struct Policy {
    rules: Vec<EgressRule>,
    region: Name,
    transfers: Vec<(Name, Name)>,
}

impl Policy {
    /// The rule that lets a request out: of those that fit, the one that names the host most exactly.
    fn rule(&self, method: &str, host: &str, port: u16) -> Option<&EgressRule> {
        self.rules.iter().filter(|rule| rule.allows(method, host, port)).max_by_key(|rule| rule.specificity())
    }
}

impl Egress {
    pub(crate) fn new(parts: EgressParts, store: Store) -> Result<Self> {
        let EgressParts { connector, region, subjects_key } = parts;
        let meter = Arc::new(Meter::new(store.clone(), subjects_key));
        Ok(Self { store, connector, node: region, meter, policies: RwLock::default() })
    }

    /// A tenant is gone.
    pub(crate) fn forget_tenant(&self, tenant: &Name) {
        self.policies.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        self.meter.forget(tenant);
    }

    /// The region of this node.
    pub(crate) fn node_region(&self) -> Result<Name> {
        self.node.clone().map_or_else(|| LOCAL.parse(), Ok)
    }

    fn policy(&self, tenant: &Tenant) -> Result<Arc<Policy>> {
        // Before the rows are read: what comes meanwhile makes the next one read them again.
        let sequence = self.store.sequence();
        let known = self.policies.read().unwrap_or_else(PoisonError::into_inner).get(tenant.name()).cloned();
        if let Some((_, policy)) = known.filter(|(at, _)| *at == sequence) {
            return Ok(policy);
        }
        let state = self.store.state();
        let region = state.data_region(tenant)?.map_or_else(|| self.node_region(), Ok)?;
        let transfers = state.transfers(tenant, None, usize::MAX)?.into_iter().map(|t| (t.from, t.to)).collect();
        let policy = Arc::new(Policy { rules: state.egress_rules(tenant, None, usize::MAX)?, region, transfers });
        let mut policies = self.policies.write().unwrap_or_else(PoisonError::into_inner);
        policies.insert(tenant.name().clone(), (sequence, policy.clone()));
        Ok(policy)
    }

    /// Sends by the tenant's rules, and counts what was sent and what was refused.
    ///
    /// # Errors
    /// Why it was not sent, or not answered.
    pub(crate) async fn send(
        &self,
        call: &OutgoingCall,
        request: Request<OutgoingBody>,
    ) -> Result<Response<OutgoingBody>, OutgoingError> {
        let outcome = self.checked(call, request).await;
        if let Err(error) = outcome.as_ref()
            && error.is_refusal()
        {
            self.meter.refused(call, error);
        }
        outcome
    }

    async fn checked(
        &self,
        call: &OutgoingCall,
        mut request: Request<OutgoingBody>,
    ) -> Result<Response<OutgoingBody>, OutgoingError> {
        let to = Destination::of(request.uri())?;
        let (method, host) = (request.method().as_str(), to.host.to_string());
        let policy = self.policy(&call.tenant).map_err(|fault| {
            tracing::error!(%fault, cause = fault.cause(), "the egress rules cannot be read");
            OutgoingError::Internal
        })?;
        let rule = policy.rule(method, &host, to.port).ok_or_else(|| OutgoingError::NotAllowed {
            method: method.chars().take(32).collect(),
            host: host.clone(),
            port: to.port,
        })?;
        let (from, region) = (&policy.region, &rule.region);
        if from != region && !policy.transfers.iter().any(|(f, t)| f == from && t == region) {
            return Err(OutgoingError::TransferNotPermitted { from: from.clone(), to: region.clone() });
        }
        let subjects = self.subjects(call, request.headers_mut());
        let counted = |body, sent| {
            let flow = (call.tenant.clone(), from.clone(), region.clone());
            Counted::new(body, self.meter.clone(), flow, sent).boxed_unsync()
        };
        let request = request.map(|body| counted(body, true));
        let outcome = self.connector.send(request, &call.patience).await;
        // What was refused has not left; of what failed, a part may have.
        if !outcome.as_ref().is_err_and(OutgoingError::is_refusal) {
            self.meter.with(&call.tenant, |usage| usage.request(from, region, subjects));
        }
        outcome.map(|response| response.map(|body| counted(body, false)))
    }

    /// Takes what the guest declares out of the header.
    fn subjects(&self, call: &OutgoingCall, headers: &mut HeaderMap) -> Vec<u64> {
        let mut hashes = vec![];
        if let http::header::Entry::Occupied(entry) = headers.entry(SUBJECTS) {
            let (_, values) = entry.remove_entry_mult();
            for value in values {
                let words = value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii);
                hashes.extend(words.filter(|w| !w.is_empty()).map(|word| self.meter.hash(&call.tenant, word)));
            }
        }
        hashes
    }
}

#[async_trait]
impl Outgoing for Guests {
    async fn send(
        &self,
        call: OutgoingCall,
        request: Request<OutgoingBody>,
    ) -> Result<Response<OutgoingBody>, OutgoingError> {
        self.platform().map_err(|_| OutgoingError::Internal)?.send(call, request).await
    }
}

/// What is sent for a tenant is held to its rules and its quota, and counted, whoever of its things sends it.
#[async_trait]
impl Outgoing for Platform {
    async fn send(
        &self,
        call: OutgoingCall,
        request: Request<OutgoingBody>,
    ) -> Result<Response<OutgoingBody>, OutgoingError> {
        let outcome = match self.egress_used_up(&call.tenant) {
            None => self.egress.send(&call, request).await,
            Some(quota) => {
                let (used, limit) = (quota.used, quota.limit.unwrap_or_default());
                let refused = OutgoingError::QuotaExceeded { used, limit };
                self.egress.meter.refused(&call, &refused);
                Err(refused)
            }
        };
        if let Err(error) = &outcome {
            tracing::debug!(tenant = %call.tenant, plugin = %call.plugin, %error, "an outgoing request failed");
        }
        outcome
    }
}
