//! Uploaded plugins: validated, compiled, instantiated and asked for their signature.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use aimass_auth::{Auth, AuthConfig};
use aimass_core::limits::InvocationLimits;
use aimass_core::seam::{Asking, Bucket, Inference, KeyValue, Model};
use aimass_core::{Digest, Fault, ObjectRef, Result, Tenant};
use aimass_sandbox::{Call, Sandbox, SandboxConfig};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

/// No models, no data: a signature needs neither.
struct Nothing;

#[async_trait::async_trait]
impl Inference for Nothing {
    async fn by_name(&self, _: Asking<'_>, _: &ObjectRef) -> Result<Arc<dyn Model>> {
        Err(Fault::not_found())
    }
    async fn from_bytes(&self, _: Asking<'_>, _: Bytes) -> Result<Arc<dyn Model>> {
        Err(Fault::not_found())
    }
}

#[async_trait::async_trait]
impl KeyValue for Nothing {
    async fn get(&self, _: &Bucket, _: &str) -> Result<Option<Bytes>> {
        Ok(None)
    }
    async fn set(&self, _: &Bucket, _: Vec<(String, Option<Bytes>)>) -> Result<()> {
        Err(Fault::not_found())
    }
    async fn increment(&self, _: &Bucket, _: &str, _: u64) -> Result<u64> {
        Err(Fault::not_found())
    }
    async fn keys(&self, _: &Bucket, _: Option<&str>, _: usize) -> Result<Vec<String>> {
        Ok(vec![])
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    sandbox: Sandbox,
    tenant: Tenant,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let auth = Auth::open(folder.path(), AuthConfig::new("https://node.example", "aimass")).expect("keys");
    let tenant = auth.public(&"acme".parse().expect("a name"));
    let mut config = SandboxConfig::new(folder.path().join("cache"), [7; 32]);
    config.limits = InvocationLimits { deadline: Duration::from_millis(200), ..InvocationLimits::default() };
    config.pool.instances = 8;
    let sandbox = Sandbox::new(config, Arc::new(Nothing), Arc::new(Nothing)).expect("a sandbox");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    Bench { _folder: folder, runtime, sandbox, tenant }
});

fuzz_target!(|input: &[u8]| {
    let bench = &*BENCH;
    let call = Call {
        tenant: bench.tenant.clone(),
        plugin: "p".parse().expect("a name"),
        version: 1,
        settings: Arc::new(aimass_core::event::Settings::new()),
        limits: InvocationLimits { deadline: Duration::from_millis(200), ..InvocationLimits::default() },
        request_id: "fuzz".into(),
        depth: 0,
        trace: aimass_core::trace::Trace::default(),
        meter: None,
    };
    let digest = Digest::of(input);
    let began = Instant::now();
    let outcome = bench.runtime.block_on(bench.sandbox.inspect(call, digest, input.to_vec().into()));
    assert!(began.elapsed() < Duration::from_secs(20), "inspecting {} bytes took {:?}", input.len(), began.elapsed());
    if outcome.is_ok() {
        bench.sandbox.forget(&digest);
    }
});
