//! `/api/v1`: the platform's own API.

pub(crate) mod audit;
pub(crate) mod deployments;
pub(crate) mod egress;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod identity;
pub(crate) mod invocations;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod logs;
pub(crate) mod models;
pub(crate) mod plugins;
pub(crate) mod quotas;
pub(crate) mod secrets;
pub(crate) mod signers;
pub(crate) mod signing_keys;
pub(crate) mod tenants;
pub(crate) mod tokens;
pub(crate) mod triggers;
pub(crate) mod upload;
pub(crate) mod usage;
pub(crate) mod webhooks;
