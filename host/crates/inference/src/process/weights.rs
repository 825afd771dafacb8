//! Tenants' parts of the engines' time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::pool::lock;

/// The weights, by tenant.
#[derive(Default)]
pub(super) struct Weights(Mutex<HashMap<Arc<str>, Weight>>);

/// One tenant's. It may change at any time.
#[derive(Clone)]
pub(super) struct Weight(Arc<AtomicU32>);

impl Weights {
    /// A tenant's, for its models to keep.
    pub(super) fn of(&self, tenant: &Arc<str>) -> Weight {
        lock(&self.0).entry(tenant.clone()).or_insert_with(|| Weight(Arc::new(AtomicU32::new(1)))).clone()
    }

    /// What is queued from now on has the new weight.
    pub(super) fn set(&self, tenant: &str, weight: u32) {
        self.of(&tenant.into()).0.store(weight, Ordering::Relaxed);
    }
}

impl Weight {
    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
