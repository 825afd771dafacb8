//! The state of this node, for the operator.

use std::time::Duration;

use aimass_core::Result;
use serde::Serialize;

use crate::{Asked, Platform, Scope};

/// A device that models can run on, or why there is none.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceDocument {
    /// The engine that uses it.
    pub engine: String,
    /// What it calls itself; without a device, why there is none.
    pub device: String,
    /// Whether it computes in software.
    pub software: bool,
    /// Whether it can be used.
    pub available: bool,
}

/// What this node is, and how it is.
#[derive(Clone, Debug, Serialize)]
pub struct NodeDocument {
    /// The release.
    pub version: &'static str,
    /// Why it cannot serve, if it cannot.
    pub fault: Option<String>,
    /// How long this process has lived, seconds.
    pub up_seconds: u64,
    /// Its region.
    pub region: String,
    /// Models in memory.
    pub models: usize,
    /// Bytes that they take.
    pub model_bytes: u64,
    /// Models that left memory because others needed the room.
    pub evictions: u64,
    /// Records of the journal.
    pub records: u64,
    /// What models run on; empty where no engine could be asked.
    pub devices: Vec<DeviceDocument>,
}

/// An engine that is just starting is not waited for any longer.
const ASK: Duration = Duration::from_secs(10);

impl Platform {
    /// The state of this node.
    ///
    /// # Errors
    /// `insufficient_scope`; what reading the store says.
    pub async fn node(&self, asked: Asked<'_>) -> Result<NodeDocument> {
        asked.by.require(Scope::Operator)?;
        let residents = self.residency();
        let devices = tokio::time::timeout(ASK, self.models.devices()).await.ok().and_then(Result::ok);
        let devices = devices.unwrap_or_default().into_iter().map(|device| DeviceDocument {
            engine: device.backend.into_owned(),
            device: device.device,
            software: device.software,
            available: device.available,
        });
        Ok(NodeDocument {
            version: env!("CARGO_PKG_VERSION"),
            fault: self.ready().err().map(|fault| fault.detail().to_owned()),
            up_seconds: self.started.elapsed().as_secs(),
            region: self.egress.node_region()?.to_string(),
            models: residents.models,
            model_bytes: residents.bytes,
            evictions: residents.evictions,
            records: self.store.head()?.0,
            devices: devices.collect(),
        })
    }
}
