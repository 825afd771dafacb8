//! Builds every part of a node and wires them together: the one place that knows all of them.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aimass_auth::{Auth, AuthConfig, SealingKey};
use aimass_core::limits::InvocationLimits;
use aimass_core::{Code, Fault, Result};
use aimass_egress::{Connector, EgressConfig};
use aimass_http::{App, ListenerConfig, Tls};
use aimass_inference::process::{EngineCommand, EngineProcesses, ProcessConfig};
use aimass_inference::{EngineConfig, GpuPolicy};
use aimass_platform::{EgressParts, Folders, Guests, Logs, Parts, Platform, ReadCommand, TenantLimits};
use aimass_sandbox::{CompileCommand, CompileLimits, PoolConfig, Sandbox, SandboxConfig};
use aimass_store::{KeyFile, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Gpu};
use crate::descriptors;
use crate::telemetry::Telemetry;

/// The operator's first token, inside the data folder, readable by its owner alone.
pub(crate) const OPERATOR_TOKEN: &str = "operator.token";

/// The first operator token lives a year; before it ends the operator mints the next one.
const OPERATOR_TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// Clock difference between nodes that a token's times may show.
const LEEWAY: Duration = Duration::from_secs(5);

/// A model that has not answered so long after the longest deadline of a call never will.
const RUN_SLACK: Duration = Duration::from_secs(1);

/// How often the certificate's files are looked at. Two `stat`s cost nothing, and nobody renews a certificate in the
/// last second.
const CERTIFICATE_POLL: Duration = Duration::from_secs(2);

/// A node that is bound to its port and ready to run.
pub(crate) struct Node {
    platform: Arc<Platform>,
    app: Arc<App>,
    listener: TcpListener,
    listening: ListenerConfig,
    /// None where nothing is traced.
    telemetry: Option<Arc<Telemetry>>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The operator's token file, and whether this start made it.
    pub(crate) operator_token: (PathBuf, bool),
}

impl Node {
    /// Opens the store, makes keys that are missing, builds the engines and the sandbox, and binds the port last.
    pub(crate) async fn start(config: &Config) -> Result<Self> {
        // Before anything is made: a wrong path costs nothing yet.
        let tls = config.tls.as_ref().map(|files| Tls::open(&files.certificate, &files.key)).transpose()?;
        let telemetry = Telemetry::start(&config.traces).map_err(|failure| Fault::invalid(failure.to_string()))?;
        let folders = Folders::inside(&config.data);
        private_folder(&config.data)?;
        private_folder(&folders.keys)?;
        let store = Store::open(&folders.store, keys(config)?)?;
        store.settle().await?;
        let sealing = Some(SealingKey::new(store.node_key("signing keys")));
        let auth =
            AuthConfig { issuer: config.issuer.clone(), audience: config.issuer.clone(), leeway: LEEWAY, sealing };
        let auth = Arc::new(Auth::open(&folders.keys, auth)?);
        let engines = Arc::new(EngineProcesses::new(engines(config)?));
        let guests = Arc::new(Guests::default());
        let limits = InvocationLimits {
            deadline: config.call_deadline,
            memory: config.call_memory,
            ..InvocationLimits::default()
        };
        let sandbox = SandboxConfig {
            limits: limits.clone(),
            pool: PoolConfig { instances: config.calls, ..PoolConfig::default() },
            compile_limits: CompileLimits { memory: config.compile_memory, ..CompileLimits::default() }
                .with_cpu(config.compile_time),
            compilers: config.compilers,
            ..SandboxConfig::new(folders.compiled, key_file(&folders.keys, "compiled.key")?, CompileCommand::own()?)
        };
        let sandbox = Sandbox::new(sandbox, guests.clone(), store.key_value())?;
        let logs = Arc::new(Logs::new(config.log_memory));
        let sandbox = Arc::new(sandbox.with_outgoing(guests.clone()).with_logs(logs.clone()));
        let tenant_limits = TenantLimits {
            weight: 1,
            per_second: config.tenant_requests_per_second,
            burst: config.tenant_requests_per_second.map_or(1, TenantLimits::burst_of),
            concurrency: config.tenant_calls,
            engine_memory: config.tenant_engine_memory,
            quotas: config.tenant_quotas,
        };
        let platform = Platform::new(Parts {
            store,
            auth,
            sandbox,
            engines,
            guests,
            limits,
            tenant_limits,
            model_memory: config.model_memory,
            upload_wait: config.upload_wait,
            reader: ReadCommand::own()?,
            egress: EgressParts {
                connector: Arc::new(Connector::new(EgressConfig {
                    private: config.egress_private.clone(),
                    extra_roots: config.egress_roots.clone(),
                })?),
                region: config.region.clone(),
                subjects_key: key_file(&folders.keys, "subjects.key")?,
            },
            watched: config.watched.clone(),
            logs,
            usage_retention: config.usage_retention,
            invocations: config.invocations,
        })?;
        platform.resume_uploads()?;
        platform.resume_jobs()?;
        let operator_token = operator_token(&config.data, &platform).await?;

        let listener = TcpListener::bind(config.listen).await.map_err(|e| {
            let detail = format!("{} cannot be listened on: {e}; choose another address with --listen", config.listen);
            Fault::new(Code::Conflict, detail)
        })?;
        let address = listener.local_addr().map_err(Fault::internal)?;
        if tls.is_none() && !address.ip().is_loopback() {
            // No refusal: behind a proxy that ends TLS, or in a container, this is how model servers are run.
            tracing::warn!(%address, "tokens and data cross the network unencrypted: use --tls-certificate and --tls-key");
        }
        let listening = ListenerConfig {
            tls,
            connections: config.connections.unwrap_or_else(descriptors::connections),
            connections_per_address: config.connections_per_address,
            new_connections_per_address: config.new_connections_per_address,
            client_wait: config.client_wait,
            grace: config.grace,
            ..ListenerConfig::default()
        };
        Ok(Self {
            app: App::new(platform.clone(), telemetry.clone().map(|spans| spans as _)),
            platform,
            listener,
            listening,
            telemetry,
            address,
            operator_token,
        })
    }

    /// The URL that it serves at.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.listening.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until `stop` resolves and what was under way has ended. Returns whether it all ended in time.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> Result<bool> {
        let watch = tokio::spawn(watch_clock(self.platform.clone()));
        let metered = self.platform.clone();
        let usage = tokio::spawn(async move { metered.record_usage().await });
        let [timetable, events, folders, buckets, metrics] = [(); 5].map(|()| self.platform.clone());
        let triggers = [
            tokio::spawn(async move { folders.follow_folders().await }),
            tokio::spawn(async move { buckets.follow_buckets().await }),
            tokio::spawn(async move { metrics.follow_metrics().await }),
            tokio::spawn(async move { timetable.follow_triggers().await }),
            tokio::spawn(async move { events.follow_events().await }),
        ];
        let watched = self.platform.clone();
        let quotas = tokio::spawn(async move { watched.watch_quotas().await });
        let watched = self.platform.clone();
        let recent = tokio::spawn(async move { watched.follow_calls().await });
        let renew = self.listening.tls.clone().map(|tls| tokio::spawn(renew_certificate(tls)));
        let platform = self.platform.clone();
        let issuers = tokio::spawn(async move { platform.follow_issuers().await });
        let platform = self.platform.clone();
        let rollouts = tokio::spawn(async move { platform.follow_rollouts().await });
        let (stop_calls, stopped) = tokio::sync::watch::channel(false);
        let calls = tokio::spawn(self.platform.clone().run_invocations(self.app.runner(), stopped.clone()));
        let webhooks = tokio::spawn(self.platform.clone().run_webhooks(stopped));
        let platform = self.platform.clone();
        let sweep = tokio::spawn(async move { platform.forget_ended().await });
        let grace = self.listening.grace;
        let served = aimass_http::serve(self.app, self.listener, self.listening, stop).await;
        stop_calls.send_replace(true);
        // Those that do not end in time run again at the next start.
        let calls_ended = tokio::time::timeout(grace, async { (calls.await, webhooks.await) }).await.is_ok();
        sweep.abort();
        watch.abort();
        issuers.abort();
        triggers.iter().for_each(tokio::task::JoinHandle::abort);
        rollouts.abort();
        renew.iter().for_each(tokio::task::JoinHandle::abort);
        usage.abort();
        quotas.abort();
        recent.abort();
        self.platform.close().await;
        if let Some(telemetry) = self.telemetry {
            // It waits for a thread that waits for this runtime.
            let _ = tokio::task::spawn_blocking(move || telemetry.close()).await;
        }
        served.map(|ended| ended && calls_ended).map_err(Fault::internal)
    }
}

/// Where the key that seals what tenants bring is, and what seals that.
fn keys(config: &Config) -> Result<KeyFile> {
    let file = KeyFile::at(&config.key_file);
    match &config.outer_key {
        Some(outer) => Ok(file.sealed_with(outer.fetch().map_err(|why| Fault::new(Code::Conflict, why))?)),
        None => Ok(file),
    }
}

/// What the engine processes are given.
pub(crate) fn engines(config: &Config) -> Result<ProcessConfig> {
    let gpu = match config.gpu {
        Gpu::Auto => GpuPolicy::Auto,
        Gpu::Off => GpuPolicy::Off,
        Gpu::Any => GpuPolicy::Any,
    };
    Ok(ProcessConfig {
        engines: EngineConfig {
            threads: config.inference_threads,
            gpu,
            onnxruntime: config.onnxruntime.clone(),
            ..EngineConfig::default()
        },
        command: EngineCommand::own()?,
        memory: config.engine_memory,
        run_limit: config.call_deadline + RUN_SLACK,
    })
}

/// Without the sandbox's clock nothing stops an endless loop any more, so the process ends and whoever watches it
/// starts a new one.
async fn watch_clock(platform: Arc<Platform>) {
    let mut late = false;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // A machine that was paused, for a snapshot or a move, finds the clock late once, and ticking a second later.
        match platform.interruptible() {
            Ok(()) => late = false,
            Err(_) if !late => late = true,
            Err(fault) => {
                tracing::error!(%fault, "guests cannot be interrupted: the process ends");
                std::process::exit(1);
            }
        }
    }
}

/// Takes a new certificate when its files change, or at once on SIGHUP, as administrators are used to.
async fn renew_certificate(tls: Arc<Tls>) {
    let mut told = match signal(SignalKind::hangup()) {
        Ok(told) => Some(told),
        Err(e) => {
            tracing::warn!(error = %e, "SIGHUP is not heard; the certificate's files are still watched");
            None
        }
    };
    loop {
        let hangup = async {
            match &mut told {
                Some(told) => told.recv().await,
                None => std::future::pending().await,
            }
        };
        let now = tokio::select! {
            _ = hangup => true,
            () = tokio::time::sleep(CERTIFICATE_POLL) => false,
        };
        let tls = tls.clone();
        // Files may stand on a network's disk, and reading them may take its time.
        let _ = tokio::task::spawn_blocking(move || tls.refresh(now)).await;
    }
}

/// Writes the operator's first token; a later start finds the file and mints nothing, unless the key that signed it was
/// revoked.
async fn operator_token(data: &Path, platform: &Platform) -> Result<(PathBuf, bool)> {
    let path = data.join(OPERATOR_TOKEN);
    match std::fs::read_to_string(&path) {
        Ok(token) if platform.auth().lost_its_key(token.trim()) => {
            tracing::warn!("the operator's token was signed by a key that is revoked: the file gets a new one");
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        _ => return Ok((path, false)),
    }
    let token = platform.mint_operator_token(OPERATOR_TTL).await?;
    private_file(&path, token.as_bytes()).map_err(|e| Fault::internal(format!("{}: {e}", path.display())))?;
    Ok((path, true))
}

/// A random key of this node's own, made once: without `compiled.key`, which authenticates our own compiled code, every
/// component is compiled again; without `subjects.key` the data subjects of the current hour count as new ones.
fn key_file(keys: &Path, name: &str) -> Result<[u8; 32]> {
    let path = keys.join(name);
    let fault = |e: std::io::Error| Fault::internal(format!("{}: {e}", path.display()));
    match std::fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| Fault::internal(format!("{} is not 32 bytes", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let key = aimass_auth::random_key()?;
            private_file(&path, &key).map_err(fault)?;
            Ok(key)
        }
        Err(e) => Err(fault(e)),
    }
}

/// A file that its owner alone can read, whole or not at all.
fn private_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // A temporary file is made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn private_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| Fault::internal(format!("{}: {e}", path.display())))
}
