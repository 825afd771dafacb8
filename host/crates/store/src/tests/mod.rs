//! The store as a whole.

mod backup;
mod configuration;
mod crash;
mod faults;
mod index;
mod keys;
mod sealing;
mod triggers;
mod usage;
mod writes;

use std::path::Path;

use aimass_core::event::{Actor, Event, Inspection, Kind, Provenance};
use aimass_core::{Digest, Name, Result, Tenant};

use crate::Store;
use crate::options::Options;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn tenant(text: &str) -> Tenant {
    Tenant::vouched_for(name(text))
}

fn created(tenant: &str) -> Event {
    Event::TenantCreated { tenant: name(tenant) }
}

fn version(tenant: &str, object: &str, number: u64, digest: Digest, size: u64) -> Event {
    Event::VersionCreated {
        tenant: name(tenant),
        kind: Kind::Plugin,
        name: name(object),
        version: number,
        digest,
        size,
        inspection: inspection(),
        idempotency_key: Some(format!("{object}-{number}")),
        provenance: Provenance::default(),
    }
}

fn inspection() -> Inspection {
    serde_json::from_str(r#"{"worlds": ["model-plugin"]}"#).unwrap()
}

fn open(dir: &Path, options: &Options) -> Result<Store> {
    Store::open_with(dir, (&dir.join("key")).into(), options.clone())
}

/// Records an event as it is.
async fn record(store: &Store, event: Event) -> Result<()> {
    store.write(Actor::system(), move |_| Ok((Some(event), ()))).await
}

/// Stores bytes, without a record that names them.
async fn blob(store: &Store, tenant_name: &str, bytes: &[u8]) -> Digest {
    let mut writer = store.blobs().writer(&tenant(tenant_name)).await.unwrap();
    writer.write(bytes).await.unwrap();
    let (digest, size) = writer.finish().await.unwrap();
    assert_eq!((digest, size), (Digest::of(bytes), bytes.len() as u64));
    digest
}
