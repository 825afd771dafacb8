//! The sandbox: its parts, and how a plugin gets ready.

use std::io::{Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aimass_core::cloud_event::CloudEvent;
use aimass_core::event::Inspection;
use aimass_core::limits::InvocationLimits;
use aimass_core::logs::LogKeeper;
use aimass_core::outgoing::Outgoing;
use aimass_core::seam::{Inference, KeyValue};
use aimass_core::{Digest, Fault, Result, Signature, Tensor};
use bytes::Bytes;
use quick_cache::sync::Cache;
use wasmtime::component::Linker;
use wasmtime::{Engine, Store};

use crate::body::Body;
use crate::cache::CompiledCode;
use crate::compiler::Compiler;
use crate::config::{Call, SandboxConfig, tighter};
use crate::demotion::LongCalls;
use crate::plugin::Plugin;
use crate::run::Deadline;
use crate::state::{Guest, Services};
use crate::ticker::Ticker;
use crate::{engine, events, fault, host, http, inspect, model, state};

/// Compiles, holds and calls plugins. Made once; shared by reference.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use aimass_core::{seam, Digest, Result, Tensor};
/// # use aimass_sandbox::{Call, CompileCommand, Sandbox, SandboxConfig};
/// # async fn example(
/// #     inference: Arc<dyn seam::Inference>, kv: Arc<dyn seam::KeyValue>, call: Call, wasm: bytes::Bytes,
/// #     inputs: Vec<Tensor>,
/// # ) -> Result<()> {
/// let config = SandboxConfig::new("/var/lib/aimass/compiled", [7; 32], CompileCommand::own()?);
/// let sandbox = Sandbox::new(config, inference, kv)?;
/// let digest = Digest::of(&wasm);
/// let found = sandbox.inspect(call.clone(), digest, wasm.clone()).await?;
/// println!("usable as {:?}", found.worlds);
/// let plugin = sandbox.load(digest, async { Ok(wasm) }).await?;
/// let outputs = sandbox.infer(&plugin, call, inputs).await?;
/// # Ok(())
/// # }
/// ```
pub struct Sandbox {
    engine: Engine,
    linker: Arc<Linker<Guest>>,
    ticker: Ticker,
    services: Arc<Services>,
    limits: InvocationLimits,
    compiled: Arc<CompiledCode>,
    plugins: Cache<Digest, Arc<Plugin>>,
    compiler: Compiler,
    long: LongCalls,
}

impl Sandbox {
    /// Builds the engine, its pool, its clock and the threads of long calls. Reserves address space, touches little
    /// of it.
    ///
    /// # Errors
    /// `internal` if the address space, the threads or the cache folder cannot be had.
    pub fn new(config: SandboxConfig, inference: Arc<dyn Inference>, key_value: Arc<dyn KeyValue>) -> Result<Self> {
        let engine = engine::build(&config.pool, &config.limits)?;
        Ok(Self {
            linker: Arc::new(host::linker(&engine)?),
            ticker: Ticker::start(&engine)?,
            services: Arc::new(Services { inference, key_value, outgoing: None, logs: None }),
            limits: config.limits,
            compiled: Arc::new(CompiledCode::open(&engine, config.cache_dir, config.cache_key)?),
            plugins: Cache::new(config.loaded_plugins),
            compiler: Compiler::new(config.compile, config.compile_limits, config.compilers),
            long: LongCalls::start()?,
            engine,
        })
    }

    /// The same, with a way out for guests: without one everything that they send is denied.
    #[must_use]
    pub fn with_outgoing(mut self, outgoing: Arc<dyn Outgoing>) -> Self {
        self.services = Arc::new(Services { outgoing: Some(outgoing), ..(*self.services).clone() });
        self
    }

    /// The same, with somebody who keeps what guests log.
    #[must_use]
    pub fn with_logs(mut self, logs: Arc<dyn LogKeeper>) -> Self {
        self.services = Arc::new(Services { logs: Some(logs), ..(*self.services).clone() });
        self
    }

    /// Validates an uploaded component, compiles it into the cache, and asks a model plugin for its signature,
    /// within the limits of `call`.
    ///
    /// # Errors
    /// `invalid_component` for what is no component, breaks the compiler, cannot be instantiated within the limits, or exports nothing
    /// that the platform can call; `compile_budget` if compiling it takes more than it may;
    /// `unsupported_import` naming what is not given; a `plugin_…` fault if asking for
    /// the signature fails.
    pub async fn inspect(&self, call: Call, digest: Digest, wasm: Bytes) -> Result<Inspection> {
        inspect::preamble(&wasm)?;
        let plugin = self.load(digest, async { Ok(wasm) }).await?;
        let mut inspection = plugin.inspection().clone();
        if plugin.is_model() {
            match self.signature(&plugin, call).await {
                Ok(signature) => inspection.signature = Some(signature),
                Err(fault) => {
                    self.forget(&digest);
                    return Err(fault);
                }
            }
        }
        Ok(inspection)
    }

    /// Drops a plugin from memory and its compiled code from disk: it was refused, or the last version with these
    /// bytes is gone. Calls that have it go on; whoever loads it again gets it compiled again.
    pub fn forget(&self, digest: &Digest) {
        self.plugins.remove(digest);
        self.compiled.remove(digest);
    }

    /// The plugin of that digest, ready to be called: from memory; else from the compiled code on disk; else `wasm`
    /// is awaited and compiled. Concurrent loads of one digest do the work once.
    ///
    /// # Errors
    /// What `wasm` says, or what [`Sandbox::inspect`] says about the component.
    pub async fn load(&self, digest: Digest, wasm: impl Future<Output = Result<Bytes>>) -> Result<Arc<Plugin>> {
        if let Some(plugin) = self.plugins.get(&digest) {
            return Ok(plugin);
        }
        self.plugins.get_or_insert_async(&digest, self.prepare(digest, wasm)).await
    }

    /// What a model plugin takes and gives, by its own account.
    ///
    /// # Errors
    /// `unsupported_operation` if it is no model plugin; else as for [`Sandbox::infer`].
    pub async fn signature(&self, plugin: &Plugin, call: Call) -> Result<Signature> {
        let meter = call.meter.clone();
        let (store, deadline) = self.store(call);
        deadline.bound(self.long.demote(model::signature(plugin, store)?, meter)).await
    }

    /// Calls a model plugin. `inputs` are taken as they are: whoever calls has checked them against the signature.
    ///
    /// # Errors
    /// `unsupported_operation` if it is no model plugin; `plugin_trap`, `plugin_resource_limit`, `plugin_deadline`
    /// or `plugin_fault` if it fails; `invalid_request` or `unavailable` if it says so; `overloaded` if the pool is
    /// used up.
    pub async fn infer(&self, plugin: &Plugin, call: Call, inputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let meter = call.meter.clone();
        let (store, deadline) = self.store(call);
        deadline.bound(self.long.demote(model::infer(plugin, store, inputs)?, meter)).await
    }

    /// Tells a plugin of an event.
    ///
    /// # Errors
    /// `unsupported_operation` if it does not export `events`; else as for [`Sandbox::infer`].
    pub async fn handle(&self, plugin: &Plugin, call: Call, event: CloudEvent) -> Result<()> {
        let meter = call.meter.clone();
        let (store, deadline) = self.store(call);
        deadline.bound(self.long.demote(events::handle(plugin, store, event)?, meter)).await
    }

    /// Calls an HTTP function. Returns as soon as the guest has answered with a head; the body follows while the
    /// guest still runs, under the same deadline.
    ///
    /// # Errors
    /// As for [`Sandbox::infer`]. A failure behind the head is an error of the [`Body`], so that the connection is
    /// cut off and nobody takes half an answer for a whole one.
    pub async fn http<B>(
        &self,
        plugin: &Plugin,
        call: Call,
        request: ::http::Request<B>,
    ) -> Result<::http::Response<Body>>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let output = call.limits.output.min(self.limits.output);
        let (store, deadline) = self.store(call);
        http::handle(plugin, store, deadline, &self.long, output, request).await
    }

    /// Makes an instance and drops it: what a call costs before it calls anything. For `doctor` and benchmarks.
    ///
    /// # Errors
    /// As for [`Sandbox::infer`].
    pub async fn instantiate(&self, plugin: &Plugin, call: Call) -> Result<()> {
        let (mut store, deadline) = self.store(call);
        let run = async { plugin.pre().instantiate_async(&mut store).await.map(drop).map_err(fault::of) };
        deadline.bound(run).await
    }

    /// Whether guests can still be interrupted.
    ///
    /// # Errors
    /// `unavailable` if not: the process must end, for nothing stops an endless loop any more.
    pub fn healthy(&self) -> Result<()> {
        self.ticker.healthy()
    }

    /// Whether a plugin of that digest is in memory.
    pub fn is_loaded(&self, digest: &Digest) -> bool {
        self.plugins.contains_key(digest)
    }

    /// For how long the component of that digest has been compiled by now; none while it waits for its turn, and when
    /// it is done.
    pub fn compiling(&self, digest: &Digest) -> Option<Duration> {
        self.compiler.running(digest)
    }

    /// Where the compiled code of a digest lies, whether or not it is there.
    pub fn compiled_path(&self, digest: &Digest) -> PathBuf {
        self.compiled.path(digest)
    }

    fn store(&self, mut call: Call) -> (Store<Guest>, Deadline) {
        call.limits = tighter(&call.limits, &self.limits);
        let deadline = Deadline::after(call.limits.deadline);
        (state::store(&self.engine, self.services.clone(), call, deadline.at()), deadline)
    }

    async fn prepare(&self, digest: Digest, wasm: impl Future<Output = Result<Bytes>>) -> Result<Arc<Plugin>> {
        if let Some(plugin) = self.compiled_before(digest).await? {
            return Ok(plugin);
        }
        let wasm = wasm.await?;
        inspect::preamble(&wasm)?;
        let mut code = self.compiler.compile(digest, wasm).await?;
        let compiled = self.compiled.clone();
        blocking(move || {
            code.seek(SeekFrom::Start(0)).map_err(Fault::internal)?;
            compiled.put(&digest, &mut code)
        })
        .await?;
        match self.compiled_before(digest).await? {
            Some(plugin) => Ok(plugin),
            None => Err(Fault::internal("the compiled code is gone from the cache as soon as it was written")),
        }
    }

    async fn compiled_before(&self, digest: Digest) -> Result<Option<Arc<Plugin>>> {
        let (engine, linker, compiled) = (self.engine.clone(), self.linker.clone(), self.compiled.clone());
        let limits = self.limits.clone();
        blocking(move || {
            let Some(component) = compiled.get(&engine, &digest)? else { return Ok(None) };
            let linked = Plugin::link(&engine, &linker, digest, component, &limits);
            if linked.is_err() {
                // It is refused, so nothing of it stays.
                compiled.remove(&digest);
            }
            linked.map(|plugin| Some(Arc::new(plugin)))
        })
        .await
    }
}

/// Runs what computes or reads for long on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Fault::internal)?
}
