//! A sandbox on a temporary folder, and small real implementations of what it needs of the platform.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aimass_core::limits::InvocationLimits;
use aimass_core::seam::{Asking, Bucket, Inference, KeyValue, Model};
use aimass_core::{Code, Digest, ElementType, Fault, ObjectRef, Port, Result, Signature, Tenant, Tensor};
use aimass_sandbox::{Call, CompileCommand, Plugin, PoolConfig, Sandbox, SandboxConfig};
use async_trait::async_trait;
use bytes::Bytes;

/// Limits that a test reaches soon; all but the deadline, which a busy machine would reach sooner than the guest
/// its limit.
pub fn limits() -> InvocationLimits {
    InvocationLimits { memory: 16 << 20, output: 1 << 20, host_call: 4 << 20, ..InvocationLimits::default() }
}

/// The same with a deadline that a test can wait for.
pub fn hasty() -> InvocationLimits {
    InvocationLimits { deadline: Duration::from_millis(500), ..limits() }
}

/// What the design allows on top of a deadline.
const GRACE: Duration = Duration::from_millis(100);

/// Whether a call ended at its deadline and not much later. A machine that is busy with something else can make any
/// one attempt late, so the best of five counts.
pub async fn assert_ends_at<F: Future<Output = ()>>(deadline: Duration, mut attempt: impl FnMut() -> F) {
    let mut took = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        attempt().await;
        let this = started.elapsed();
        assert!(this >= deadline, "ended early: {this:?}");
        took = took.min(this);
        if took < deadline + GRACE {
            return;
        }
    }
    panic!("{took:?} for a deadline of {deadline:?}");
}

/// A sandbox and the folder that it caches in.
pub struct Bench {
    pub sandbox: Sandbox,
    pub dir: tempfile::TempDir,
}

pub fn bench() -> Bench {
    bench_with(limits(), 64)
}

pub fn bench_with(limits: InvocationLimits, instances: u32) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = open(dir.path(), [7; 32], limits, instances);
    Bench { sandbox, dir }
}

pub fn open(dir: &std::path::Path, key: [u8; 32], limits: InvocationLimits, instances: u32) -> Sandbox {
    let config = SandboxConfig {
        limits,
        pool: PoolConfig { instances, ..PoolConfig::default() },
        ..SandboxConfig::new(dir.join("compiled"), key, compiler())
    };
    Sandbox::new(config, Arc::new(Doubling), Arc::new(Memory::default())).unwrap()
}

/// This test program, started again to compile.
pub fn compiler() -> CompileCommand {
    CompileCommand {
        program: std::env::current_exe().unwrap(),
        arguments: ["this_is_the_compiler", "--exact", "--test-threads=1", "--quiet"].map(Into::into).to_vec(),
    }
}

impl Bench {
    pub async fn load(&self, wasm: Vec<u8>) -> Arc<Plugin> {
        self.sandbox.load(Digest::of(&wasm), async { Ok(wasm.into()) }).await.unwrap()
    }

    /// Loads and calls a model guest with `x = [1, 2]`.
    pub async fn infer(&self, wasm: Vec<u8>) -> Result<Vec<Tensor>> {
        let plugin = self.load(wasm).await;
        self.sandbox.infer(&plugin, call(), vec![input()]).await
    }

    /// What an upload says.
    pub async fn refusal(&self, wasm: Vec<u8>) -> Fault {
        self.sandbox.inspect(call(), Digest::of(&wasm), wasm.into()).await.unwrap_err()
    }

    /// A well-behaved guest still gets its answer, so whatever came before left nothing broken.
    pub async fn assert_well(&self) {
        let outputs = self.infer(crate::guests::model(crate::guests::Model::default())).await.unwrap();
        assert_eq!(outputs, [input()]);
        self.sandbox.healthy().unwrap();
    }
}

pub fn input() -> Tensor {
    Tensor::from_elements("x", [2], &[1f32, 2.0]).unwrap()
}

pub fn call() -> Call {
    call_of("acme", "guest")
}

pub fn call_of(tenant: &str, plugin: &str) -> Call {
    Call {
        tenant: Tenant::vouched_for(tenant.parse().unwrap()),
        plugin: plugin.parse().unwrap(),
        version: 1,
        settings: Arc::new(aimass_core::event::Settings::new()),
        limits: InvocationLimits { memory: usize::MAX, output: usize::MAX, ..InvocationLimits::default() },
        request_id: "r-1".into(),
        depth: 0,
        trace: aimass_core::trace::Trace::default(),
        meter: None,
    }
}

/// A model that doubles its input, under the name `double`.
pub struct Doubling;

struct Double(Signature);

#[async_trait]
impl Inference for Doubling {
    async fn by_name(&self, by: Asking<'_>, reference: &ObjectRef) -> Result<Arc<dyn Model>> {
        if by.tenant.name().as_str() != "acme" || reference.name.as_str() != "double" {
            return Err(Fault::not_found());
        }
        let port = || vec![Port::new("x", ElementType::Fp32, [-1])];
        Ok(Arc::new(Double(Signature { inputs: port(), outputs: port(), description: String::new() })))
    }

    async fn from_bytes(&self, _: Asking<'_>, _: Bytes) -> Result<Arc<dyn Model>> {
        Err(Fault::new(Code::InvalidModel, "not a model"))
    }
}

#[async_trait]
impl Model for Double {
    fn signature(&self) -> &Signature {
        &self.0
    }

    async fn infer(&self, inputs: Vec<Tensor>, _: Instant) -> Result<Vec<Tensor>> {
        // Elsewhere, like a real engine.
        tokio::task::yield_now().await;
        let doubled: Vec<f32> = inputs[0].elements::<f32>()?.iter().map(|x| x * 2.0).collect();
        Ok(vec![Tensor::from_elements("x", inputs[0].shape(), &doubled)?])
    }
}

/// Key-value data in memory.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<(Bucket, String), Bytes>>);

#[async_trait]
impl KeyValue for Memory {
    async fn get(&self, bucket: &Bucket, key: &str) -> Result<Option<Bytes>> {
        Ok(self.0.lock().unwrap().get(&(bucket.clone(), key.to_owned())).cloned())
    }

    async fn set(&self, bucket: &Bucket, changes: Vec<(String, Option<Bytes>)>) -> Result<()> {
        let mut all = self.0.lock().unwrap();
        for (key, value) in changes {
            match value {
                Some(value) => all.insert((bucket.clone(), key), value),
                None => all.remove(&(bucket.clone(), key)),
            };
        }
        Ok(())
    }

    async fn increment(&self, bucket: &Bucket, key: &str, delta: u64) -> Result<u64> {
        let mut all = self.0.lock().unwrap();
        let value = all.entry((bucket.clone(), key.to_owned())).or_insert_with(|| "0".into());
        let sum = std::str::from_utf8(value).unwrap().parse::<u64>().unwrap() + delta;
        *value = sum.to_string().into();
        Ok(sum)
    }

    async fn keys(&self, bucket: &Bucket, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let all = self.0.lock().unwrap();
        let mut keys: Vec<_> = all.keys().filter(|(b, _)| b == bucket).map(|(_, key)| key.clone()).collect();
        keys.sort_unstable();
        keys.retain(|key| after.is_none_or(|after| key.as_str() > after));
        keys.truncate(limit);
        Ok(keys)
    }
}
