//! Where two parts meet that may not know one another. `host`'s compose wires the implementations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::event::Settings;
use crate::trace::Trace;
use crate::{Name, ObjectRef, Result, Signature, Tenant, Tensor};

/// A model that is ready to run.
#[async_trait]
pub trait Model: Send + Sync {
    /// What it takes and gives.
    fn signature(&self) -> &Signature;

    /// Runs it. `inputs` are checked against the signature; the outputs come in the signature's order.
    ///
    /// # Errors
    /// `invalid_tensor` for inputs that do not fit; `overloaded` when the queue is full; `unavailable` when the
    /// deadline passed before it ran or the engine failed.
    async fn infer(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<Vec<Tensor>>;
}

/// The call that a guest answers when it asks for a model.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Whose guest it is.
    pub tenant: &'a Tenant,
    /// Which plugin.
    pub plugin: &'a Name,
    /// Where the call stands in its trace.
    pub trace: &'a Trace,
}

/// Finds and loads models for guests (`wasi:nn`).
#[async_trait]
pub trait Inference: Send + Sync {
    /// The tenant's own model of that name, for this one call.
    ///
    /// # Errors
    /// `not_found`, or what loading it says.
    async fn by_name(&self, by: Asking<'_>, reference: &ObjectRef) -> Result<Arc<dyn Model>>;

    /// A model from bytes, checked like an upload; it lives as long as the handle.
    ///
    /// # Errors
    /// `invalid_model`.
    async fn from_bytes(&self, by: Asking<'_>, onnx: Bytes) -> Result<Arc<dyn Model>>;
}

/// A guest's key-value namespace. Two buckets that differ in any field share nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Whose.
    pub tenant: Tenant,
    /// Which plugin's.
    pub plugin: Name,
    /// The identifier that the guest opened it with.
    pub name: String,
}

/// Durable key-value data of guests (`wasi:keyvalue`). A write returns when it is durable.
#[async_trait]
pub trait KeyValue: Send + Sync {
    /// The value, if there is one.
    async fn get(&self, bucket: &Bucket, key: &str) -> Result<Option<Bytes>>;

    /// Replaces values, and removes those that are `None`: all or nothing.
    async fn set(&self, bucket: &Bucket, changes: Vec<(String, Option<Bytes>)>) -> Result<()>;

    /// Adds to a number (ASCII decimal; a missing one is 0) atomically, and returns the sum.
    ///
    /// # Errors
    /// `invalid_request` if the value is no number or the sum overflows.
    async fn increment(&self, bucket: &Bucket, key: &str, delta: u64) -> Result<u64>;

    /// At most `limit` keys behind `after`, in byte order.
    async fn keys(&self, bucket: &Bucket, after: Option<&str>, limit: usize) -> Result<Vec<String>>;
}

/// What a guest reads through `wasi:config/store`: its plugin's settings and secrets. It stays sealed until a guest
/// asks, so that what nobody uses lies open nowhere.
pub trait Configuration: Send + Sync {
    /// Opens it.
    ///
    /// # Errors
    /// `integrity` if it is not what was stored.
    fn open(&self) -> Result<Values>;
}

/// Settings that are no secret to anybody: those of tests, and none at all.
impl Configuration for Settings {
    fn open(&self) -> Result<Values> {
        Ok(self.iter().map(|(key, value)| (key.clone(), Zeroizing::new(value.clone()))).collect())
    }
}

/// An open configuration, for as long as it is used: wiped when it is dropped, and silent when it is printed.
#[derive(Default)]
pub struct Values(BTreeMap<String, Zeroizing<String>>);

impl Values {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.as_str())
    }

    /// All keys with their values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, Zeroizing<String>)> for Values {
    fn from_iter<I: IntoIterator<Item = (String, Zeroizing<String>)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Values({} keys)", self.0.len())
    }
}
