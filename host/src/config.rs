//! Configuration of a node: flags, then `AIMASS_*` variables, then `aimass.toml`. Checked before any port is bound.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aimass_core::Name;
use aimass_core::event::QuotaLimits;
use aimass_egress::PrivateDestination;
use aimass_platform::{InvocationsConfig, QueueLimits};
use clap::Args;
use serde::Deserialize;

use crate::outer_key::OuterKey;
use crate::telemetry::TraceConfig;

/// The file that is read if it is there and no other one is named.
const DEFAULT_FILE: &str = "aimass.toml";

/// What may be said on the command line, in the environment or in the file.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Raw {
    /// Folder of everything that the node keeps [default: ~/.local/share/aimass]
    #[arg(long, env = "AIMASS_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "AIMASS_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// File with the key that seals what tenants bring; the first start makes it. Without it nothing of theirs can be
    /// read, and it is in no backup: keep a copy elsewhere [default: sealing/key in the data folder]
    #[arg(long, env = "AIMASS_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Name of an environment variable with a key (64 hex digits) that seals the key file, which is of no use without it
    /// then [default: the key file is not sealed]
    #[arg(long, env = "AIMASS_KEY_ENV", value_name = "NAME")]
    key_env: Option<String>,
    /// Command that prints such a key, run by a shell at each start: a client of a vault or a key service
    #[arg(long, env = "AIMASS_KEY_COMMAND", value_name = "COMMAND")]
    key_command: Option<String>,
    /// The URL that clients know the node by; tokens carry it as issuer [default: aimass]
    #[arg(long, env = "AIMASS_ISSUER", value_name = "TEXT")]
    issuer: Option<String>,
    /// Longest time of one call, seconds [default: 30]
    #[arg(long, env = "AIMASS_CALL_SECONDS", value_name = "SECONDS")]
    call_seconds: Option<u64>,
    /// Largest memory of one call's guest, MiB [default: 256]
    #[arg(long, env = "AIMASS_CALL_MEMORY_MIB", value_name = "MIB")]
    call_memory_mib: Option<usize>,
    /// Calls that may run at once [default: 1000]
    #[arg(long, env = "AIMASS_CALLS", value_name = "NUMBER")]
    calls: Option<u32>,
    /// Processor time that compiling one component may take, seconds [default: 60]
    #[arg(long, env = "AIMASS_COMPILE_SECONDS", value_name = "SECONDS")]
    compile_seconds: Option<u64>,
    /// Memory that compiling one component may take, MiB [default: 2048]
    #[arg(long, env = "AIMASS_COMPILE_MEMORY_MIB", value_name = "MIB")]
    compile_memory_mib: Option<u64>,
    /// Components that are compiled at once [default: half of the cores]
    #[arg(long, env = "AIMASS_COMPILERS", value_name = "NUMBER")]
    compilers: Option<usize>,
    /// How long an upload of a plugin waits for its component to be compiled before it answers that it will be,
    /// seconds; a client's `Prefer: wait` says otherwise [default: 2]
    #[arg(long, env = "AIMASS_UPLOAD_WAIT_SECONDS", value_name = "SECONDS")]
    upload_wait_seconds: Option<u64>,
    /// Memory of loaded models together, MiB [default: 1024]
    #[arg(long, env = "AIMASS_MODEL_MEMORY_MIB", value_name = "MIB")]
    model_memory_mib: Option<u64>,
    /// Memory of a process that runs models, on the CPU or for a GPU, MiB; it is replaced when it takes more. What a
    /// graphics card holds by itself does not count [default: twice the loaded models' memory, and 1024]
    #[arg(long, env = "AIMASS_ENGINE_MEMORY_MIB", value_name = "MIB")]
    engine_memory_mib: Option<u64>,
    /// Requests a second of one tenant, on average; a tenth of a second's worth may come at once [default: no limit]
    #[arg(long, env = "AIMASS_TENANT_REQUESTS_PER_SECOND", value_name = "NUMBER")]
    tenant_requests_per_second: Option<NonZeroU32>,
    /// Calls of one tenant at once [default: no limit]
    #[arg(long, env = "AIMASS_TENANT_CALLS", value_name = "NUMBER")]
    tenant_calls: Option<NonZeroU32>,
    /// Memory of one tenant's loaded models together, MiB; its least recently used ones leave first [default: no limit but
    /// the node's]
    #[arg(long, env = "AIMASS_TENANT_ENGINE_MEMORY_MIB", value_name = "MIB")]
    tenant_engine_memory_mib: Option<NonZeroU32>,
    /// What one tenant may keep of plugins and models, MiB [default: no limit]
    #[arg(long, env = "AIMASS_TENANT_STORAGE_MIB", value_name = "MIB")]
    tenant_storage_mib: Option<NonZeroU32>,
    /// Plugins of one tenant [default: no limit]
    #[arg(long, env = "AIMASS_TENANT_PLUGINS", value_name = "NUMBER")]
    tenant_plugins: Option<NonZeroU32>,
    /// Models of one tenant [default: no limit]
    #[arg(long, env = "AIMASS_TENANT_MODELS", value_name = "NUMBER")]
    tenant_models: Option<NonZeroU32>,
    /// Time that one tenant's guests run on processors and its models in engines, seconds in a day (UTC)
    /// [default: no limit]
    #[arg(long, env = "AIMASS_TENANT_COMPUTE_SECONDS_PER_DAY", value_name = "SECONDS")]
    tenant_compute_seconds_per_day: Option<NonZeroU32>,
    /// What one tenant's guests send out, MiB in a day (UTC) [default: no limit]
    #[arg(long, env = "AIMASS_TENANT_EGRESS_MIB_PER_DAY", value_name = "MIB")]
    tenant_egress_mib_per_day: Option<NonZeroU32>,
    /// Threads that run models on the CPU [default: one per core]
    #[arg(long, env = "AIMASS_INFERENCE_THREADS", value_name = "NUMBER")]
    inference_threads: Option<usize>,
    /// ONNX Runtime's library, which runs models on the CPU faster, or `off` [default: what `aimass engines install
    /// onnxruntime` installed]
    #[arg(long, env = "AIMASS_ONNXRUNTIME", value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// Whether models may use a GPU [default: auto]
    #[arg(long, env = "AIMASS_GPU", value_name = "POLICY")]
    gpu: Option<Gpu>,
    /// Certificate chain for https, PEM, the node's own first; read again when it changes, and on SIGHUP [default: http]
    #[arg(long, env = "AIMASS_TLS_CERTIFICATE", value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, env = "AIMASS_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Connections at once; further ones wait [default: half of the file descriptors, 8192 at most]
    #[arg(long, env = "AIMASS_CONNECTIONS", value_name = "NUMBER")]
    connections: Option<usize>,
    /// Connections at once of one address (of IPv6, a /64); 0 is no limit. Behind a proxy all clients are one address
    /// [default: 512]
    #[arg(long, env = "AIMASS_CONNECTIONS_PER_ADDRESS", value_name = "NUMBER")]
    connections_per_address: Option<u32>,
    /// New connections a second of one address; 0 is no limit [default: 1000]
    #[arg(long, env = "AIMASS_NEW_CONNECTIONS_PER_ADDRESS", value_name = "NUMBER")]
    new_connections_per_address: Option<u32>,
    /// How long a client may keep a request or an answer waiting beyond what its bytes earn (1 KiB a second), seconds
    /// [default: 20]
    #[arg(long, env = "AIMASS_CLIENT_WAIT_SECONDS", value_name = "SECONDS")]
    client_wait_seconds: Option<u64>,
    /// An internal destination that guests of tenants that allow it may send to, and where tenants' issuers may have their
    /// keys, though its address is not public; several with commas between [default: none]
    #[arg(long, env = "AIMASS_EGRESS_PRIVATE", value_name = "HOST:PORT", value_delimiter = ',')]
    egress_private: Option<Vec<String>>,
    /// Certificates, in PEM, that destinations are trusted by beside the system's: a company's own authority
    #[arg(long, env = "AIMASS_EGRESS_ROOTS", value_name = "FILE")]
    egress_roots: Option<PathBuf>,
    /// Asynchronous calls that run at once; one does while live calls keep all cores busy [default: one per core]
    #[arg(long, env = "AIMASS_ASYNC_CALLS", value_name = "NUMBER")]
    async_calls: Option<usize>,
    /// Attempts of an asynchronous call until it is given up [default: 5]
    #[arg(long, env = "AIMASS_CALL_ATTEMPTS", value_name = "NUMBER")]
    call_attempts: Option<u32>,
    /// How long the result of an asynchronous call is kept, seconds [default: 86400]
    #[arg(long, env = "AIMASS_RESULT_TTL_SECONDS", value_name = "SECONDS")]
    result_ttl_seconds: Option<u64>,
    /// How long an asynchronous call is kept that was given up, seconds [default: 1209600]
    #[arg(long, env = "AIMASS_DEAD_LETTER_TTL_SECONDS", value_name = "SECONDS")]
    dead_letter_ttl_seconds: Option<u64>,
    /// Asynchronous calls of one tenant that may wait or run [default: 100000]
    #[arg(long, env = "AIMASS_TENANT_QUEUE_CALLS", value_name = "NUMBER")]
    tenant_queue_calls: Option<u64>,
    /// What one tenant's asynchronous calls and their results may take on the disk, MiB [default: 1024]
    #[arg(long, env = "AIMASS_TENANT_QUEUE_MIB", value_name = "MIB")]
    tenant_queue_mib: Option<u64>,
    /// Where this node is, and so the data of tenants that do not say otherwise [default: regions do not matter]
    #[arg(long, env = "AIMASS_REGION", value_name = "REGION")]
    region: Option<String>,
    /// A folder that a tenant's triggers may watch for objects; several with commas between [default: none]
    #[arg(long, env = "AIMASS_WATCH_FOLDER", value_name = "TENANT=FOLDER", value_delimiter = ',')]
    watch_folder: Option<Vec<String>>,
    /// How long hours of usage can be asked for, days; the journal keeps them [default: 400]
    #[arg(long, env = "AIMASS_USAGE_RETENTION", value_name = "DAYS")]
    usage_retention: Option<u64>,
    /// Memory of what plugins log, MiB; the oldest lines leave first [default: 64]
    #[arg(long, env = "AIMASS_LOG_MEMORY_MIB", value_name = "MIB")]
    log_memory_mib: Option<usize>,
    /// Collector that requests' traces are sent to, over OTLP (http/protobuf, at /v1/traces). The standard OTEL_*
    /// variables say what else there is to say [default: OTEL_EXPORTER_OTLP_ENDPOINT, or none: nothing is traced]
    #[arg(long, env = "AIMASS_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Part of the requests without a trace of their own that is recorded, 0 to 1; what its caller records is recorded
    /// here as well [default: 0.01]
    #[arg(long, env = "AIMASS_TRACE_SAMPLING", value_name = "PART")]
    trace_sampling: Option<f64>,
    /// How long calls under way may take to end when the node stops, seconds [default: 30]
    #[arg(long, env = "AIMASS_GRACE_SECONDS", value_name = "SECONDS")]
    grace_seconds: Option<u64>,
}

/// Whether models may use a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Gpu {
    /// Where one is found and serves a model right and faster.
    Auto,
    /// Never.
    Off,
    /// Software devices as well, which are slower than the CPU engine: to exercise the GPU path without a GPU.
    Any,
}

/// A node's checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) key_file: PathBuf,
    pub(crate) outer_key: Option<OuterKey>,
    pub(crate) issuer: String,
    pub(crate) call_deadline: Duration,
    pub(crate) call_memory: usize,
    pub(crate) calls: u32,
    pub(crate) compile_time: Duration,
    pub(crate) compile_memory: u64,
    pub(crate) compilers: usize,
    pub(crate) upload_wait: Duration,
    pub(crate) model_memory: u64,
    pub(crate) engine_memory: u64,
    pub(crate) tenant_requests_per_second: Option<NonZeroU32>,
    pub(crate) tenant_calls: Option<NonZeroU32>,
    pub(crate) tenant_engine_memory: Option<u64>,
    pub(crate) tenant_quotas: QuotaLimits,
    pub(crate) inference_threads: usize,
    pub(crate) onnxruntime: Option<PathBuf>,
    pub(crate) gpu: Gpu,
    pub(crate) tls: Option<TlsFiles>,
    /// None is what the descriptors allow.
    pub(crate) connections: Option<usize>,
    pub(crate) connections_per_address: Option<NonZeroU32>,
    pub(crate) new_connections_per_address: Option<NonZeroU32>,
    pub(crate) client_wait: Duration,
    pub(crate) egress_private: Vec<PrivateDestination>,
    pub(crate) egress_roots: Option<PathBuf>,
    pub(crate) region: Option<Name>,
    pub(crate) traces: TraceConfig,
    pub(crate) usage_retention: Duration,
    pub(crate) log_memory: usize,
    pub(crate) invocations: InvocationsConfig,
    pub(crate) grace: Duration,
    /// Folders that tenants' triggers may watch.
    pub(crate) watched: Vec<(Name, PathBuf)>,
}

/// Where the node's certificate and its key are.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl TlsFiles {
    /// Both or neither.
    fn both(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Self>, String> {
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(Self { certificate, key })),
            (None, None) => Ok(None),
            _ => Err("`tls-certificate` and `tls-key` go together".to_owned()),
        }
    }
}

impl Raw {
    /// Adds what the file says and what is default, and checks every value.
    ///
    /// # Errors
    /// A sentence that names the setting and what it may be.
    pub(crate) fn checked(self, file: Option<&Path>) -> Result<Config, String> {
        let file = read_file(file)?;
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        let data = match self.data.or(file.data) {
            Some(folder) => folder,
            None => default_data().ok_or("no home folder is known: name a data folder with --data")?,
        };
        let model_memory_mib = self.model_memory_mib.or(file.model_memory_mib).unwrap_or(1_024);
        // A model holds its weights as they came and as a plan repacked them; running it takes memory besides.
        let engine_memory_mib = model_memory_mib.saturating_mul(2).saturating_add(1_024);
        let config = Config {
            key_file: self.key_file.or(file.key_file).unwrap_or_else(|| data.join("sealing/key")),
            outer_key: OuterKey::of(self.key_env.or(file.key_env), self.key_command.or(file.key_command))?,
            data,
            listen: self.listen.or(file.listen).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            issuer: self.issuer.or(file.issuer).unwrap_or_else(|| "aimass".to_owned()),
            call_deadline: Duration::from_secs(self.call_seconds.or(file.call_seconds).unwrap_or(30)),
            call_memory: self.call_memory_mib.or(file.call_memory_mib).unwrap_or(256).saturating_mul(1 << 20),
            calls: self.calls.or(file.calls).unwrap_or(1_000),
            compile_time: Duration::from_secs(self.compile_seconds.or(file.compile_seconds).unwrap_or(60)),
            compile_memory: (self.compile_memory_mib.or(file.compile_memory_mib).unwrap_or(2_048))
                .saturating_mul(1 << 20),
            compilers: self.compilers.or(file.compilers).unwrap_or(cores.div_ceil(2)),
            upload_wait: Duration::from_secs(self.upload_wait_seconds.or(file.upload_wait_seconds).unwrap_or(2)),
            model_memory: model_memory_mib.saturating_mul(1 << 20),
            engine_memory: (self.engine_memory_mib.or(file.engine_memory_mib).unwrap_or(engine_memory_mib))
                .saturating_mul(1 << 20),
            tenant_requests_per_second: self.tenant_requests_per_second.or(file.tenant_requests_per_second),
            tenant_calls: self.tenant_calls.or(file.tenant_calls),
            tenant_engine_memory: (self.tenant_engine_memory_mib.or(file.tenant_engine_memory_mib))
                .map(|mib| u64::from(mib.get()) << 20),
            tenant_quotas: QuotaLimits {
                storage_mib: self.tenant_storage_mib.or(file.tenant_storage_mib),
                plugins: self.tenant_plugins.or(file.tenant_plugins),
                models: self.tenant_models.or(file.tenant_models),
                compute_seconds_per_day: (self.tenant_compute_seconds_per_day).or(file.tenant_compute_seconds_per_day),
                egress_mib_per_day: self.tenant_egress_mib_per_day.or(file.tenant_egress_mib_per_day),
            },
            inference_threads: self.inference_threads.or(file.inference_threads).unwrap_or(cores),
            onnxruntime: onnxruntime(self.onnxruntime.or(file.onnxruntime)),
            gpu: self.gpu.or(file.gpu).unwrap_or(Gpu::Auto),
            tls: TlsFiles::both(self.tls_certificate.or(file.tls_certificate), self.tls_key.or(file.tls_key))?,
            connections: self.connections.or(file.connections),
            connections_per_address: NonZeroU32::new(
                self.connections_per_address.or(file.connections_per_address).unwrap_or(512),
            ),
            new_connections_per_address: NonZeroU32::new(
                self.new_connections_per_address.or(file.new_connections_per_address).unwrap_or(1_000),
            ),
            client_wait: Duration::from_secs(self.client_wait_seconds.or(file.client_wait_seconds).unwrap_or(20)),
            egress_private: (self.egress_private.or(file.egress_private).unwrap_or_default().iter())
                .map(|text| text.parse().map_err(|why| format!("`egress-private`: {why}")))
                .collect::<Result<_, _>>()?,
            egress_roots: self.egress_roots.or(file.egress_roots),
            region: (self.region.or(file.region))
                .map(|text| text.parse::<Name>().map_err(|fault| format!("`region`: {}", fault.detail())))
                .transpose()?,
            watched: (self.watch_folder.or(file.watch_folder).unwrap_or_default().iter())
                .map(|text| watched(text))
                .collect::<Result<_, _>>()?,
            traces: TraceConfig {
                endpoint: self.otlp_endpoint.or(file.otlp_endpoint),
                sampling: self.trace_sampling.or(file.trace_sampling),
            },
            usage_retention: Duration::from_secs(
                self.usage_retention.or(file.usage_retention).unwrap_or(400).saturating_mul(86_400),
            ),
            log_memory: self.log_memory_mib.or(file.log_memory_mib).unwrap_or(64).saturating_mul(1 << 20),
            invocations: InvocationsConfig {
                workers: self.async_calls.or(file.async_calls).unwrap_or(cores),
                attempts: self.call_attempts.or(file.call_attempts).unwrap_or(5),
                result_ttl: Duration::from_secs(
                    self.result_ttl_seconds.or(file.result_ttl_seconds).unwrap_or(24 * 3_600),
                ),
                dead_ttl: Duration::from_secs(
                    self.dead_letter_ttl_seconds.or(file.dead_letter_ttl_seconds).unwrap_or(14 * 24 * 3_600),
                ),
                limits: QueueLimits {
                    entries: self.tenant_queue_calls.or(file.tenant_queue_calls).unwrap_or(100_000),
                    bytes: (self.tenant_queue_mib.or(file.tenant_queue_mib).unwrap_or(1_024)).saturating_mul(1 << 20),
                },
            },
            grace: Duration::from_secs(self.grace_seconds.or(file.grace_seconds).unwrap_or(30)),
        };
        let within = |name: &str, value: u64, low: u64, high: u64| match (low..=high).contains(&value) {
            true => Ok(()),
            false => Err(format!("`{name}` is {low} to {high}, not {value}")),
        };
        within("call-seconds", config.call_deadline.as_secs(), 1, 3_600)?;
        within("call-memory-mib", (config.call_memory >> 20) as u64, 1, 4_096)?;
        within("calls", config.calls.into(), 1, 10_000)?;
        within("compile-seconds", config.compile_time.as_secs(), 1, 3_600)?;
        within("compile-memory-mib", config.compile_memory >> 20, 64, 1 << 20)?;
        within("compilers", config.compilers as u64, 1, 1_024)?;
        within("upload-wait-seconds", config.upload_wait.as_secs(), 0, 600)?;
        within("model-memory-mib", config.model_memory >> 20, 1, 1 << 20)?;
        within("engine-memory-mib", config.engine_memory >> 20, 64, 1 << 22)?;
        within("inference-threads", config.inference_threads as u64, 1, 1_024)?;
        within("connections", config.connections.unwrap_or(1) as u64, 1, 1 << 20)?;
        within("client-wait-seconds", config.client_wait.as_secs(), 1, 3_600)?;
        within("usage-retention", config.usage_retention.as_secs() / 86_400, 1, 36_500)?;
        within("log-memory-mib", (config.log_memory >> 20) as u64, 1, 1 << 16)?;
        within("async-calls", config.invocations.workers as u64, 1, 10_000)?;
        within("call-attempts", config.invocations.attempts.into(), 1, 100)?;
        within("result-ttl-seconds", config.invocations.result_ttl.as_secs(), 1, 366 * 24 * 3_600)?;
        within("dead-letter-ttl-seconds", config.invocations.dead_ttl.as_secs(), 1, 366 * 24 * 3_600)?;
        within("tenant-queue-mib", config.invocations.limits.bytes >> 20, 1, 1 << 20)?;
        within("grace-seconds", config.grace.as_secs(), 0, 3_600)?;
        if config.traces.sampling.is_some_and(|part| !(0.0..=1.0).contains(&part)) {
            return Err("`trace-sampling` is 0 to 1".to_owned());
        }
        let http = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        if config.traces.endpoint.as_deref().is_some_and(|url| !http(url)) {
            return Err("`otlp-endpoint` is an http:// or https:// URL".to_owned());
        }
        if config.issuer.is_empty() || config.issuer.len() > 256 {
            return Err("`issuer` is 1 to 256 bytes".to_owned());
        }
        Ok(config)
    }

    /// A node over this folder, on a free port of this machine alone.
    pub(crate) fn for_demo(data: &Path) -> Self {
        Self { data: Some(data.to_owned()), listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))), ..Self::default() }
    }

    /// The data folder alone, for commands that only look for a token there.
    pub(crate) fn data_folder() -> Option<PathBuf> {
        std::env::var_os("AIMASS_DATA").map(PathBuf::from).or_else(default_data)
    }
}

/// `TENANT=FOLDER`.
fn watched(text: &str) -> Result<(Name, PathBuf), String> {
    let (tenant, folder) = text.split_once('=').ok_or("`watch-folder` is TENANT=FOLDER")?;
    let tenant = tenant.parse::<Name>().map_err(|fault| format!("`watch-folder`: {}", fault.detail()))?;
    // Before anything starts, and so that a folder is known by one path.
    let folder = std::path::absolute(folder).map_err(|e| format!("`watch-folder`: {folder}: {e}"))?;
    match folder.is_dir() {
        true => Ok((tenant, folder)),
        false => Err(format!("`watch-folder`: {} is no folder", folder.display())),
    }
}

/// The library that was named, else the one that was installed. What is no path is no library.
pub(crate) fn onnxruntime(named: Option<PathBuf>) -> Option<PathBuf> {
    let installed = || aimass_toolchain::onnxruntime::installed(&aimass_toolchain::Cache::user());
    named.map_or_else(installed, |path| {
        Some(path).filter(|path| !path.as_os_str().is_empty() && path != Path::new("off"))
    })
}

fn read_file(named: Option<&Path>) -> Result<Raw, String> {
    let path = named.unwrap_or_else(|| Path::new(DEFAULT_FILE));
    if named.is_none() && !path.exists() {
        return Ok(Raw::default());
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn default_data() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(base.join("aimass"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_range_is_named() {
        let raw = Raw { data: Some("x".into()), call_seconds: Some(0), ..Raw::default() };
        assert!(raw.checked(None).unwrap_err().contains("call-seconds"));
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let raw = Raw { data: Some("x".into()), tls_key: Some("k".into()), ..Raw::default() };
        assert!(raw.checked(None).unwrap_err().contains("tls-certificate"));
    }

    #[test]
    fn what_egress_may_reach_is_checked_before_the_port_is_bound() {
        let raw = |private: &str, region: &str| Raw {
            data: Some("x".into()),
            egress_private: Some(vec![private.to_owned()]),
            region: Some(region.to_owned()),
            ..Raw::default()
        };
        for bad in ["0x7f.1:80", "host", "host:0", "host:65536", "[::1:80"] {
            assert!(raw(bad, "eu").checked(None).unwrap_err().contains("egress-private"), "{bad}");
        }
        assert!(raw("host:80", "E U").checked(None).unwrap_err().contains("region"));
        let config = raw("[::1]:8443", "eu").checked(None).unwrap();
        assert_eq!(
            (config.egress_private[0].to_string().as_str(), config.region.unwrap().as_str()),
            ("[::1]:8443", "eu")
        );
    }

    #[test]
    fn a_watched_folder_is_a_tenants_and_there() {
        let folder = tempfile::tempdir().unwrap();
        let raw = |text: String| Raw { data: Some("x".into()), watch_folder: Some(vec![text]), ..Raw::default() };
        for bad in ["acme", "acme=/nowhere/at/all", "A=/tmp", "=/tmp"] {
            assert!(raw(bad.to_owned()).checked(None).unwrap_err().contains("watch-folder"), "{bad}");
        }
        let config = raw(format!("acme={}", folder.path().display())).checked(None).unwrap();
        assert_eq!(config.watched[0].1, folder.path());
    }

    #[test]
    fn flags_win_over_the_file_and_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:1\"\ncalls = 7\n").unwrap();
        let raw = Raw { data: Some("x".into()), calls: Some(8), ..Raw::default() };
        let config = raw.clone().checked(Some(&file)).unwrap();
        assert_eq!((config.calls, config.listen.port()), (8, 1));
        std::fs::write(&file, "lisen = 1\n").unwrap();
        assert!(raw.checked(Some(&file)).unwrap_err().contains("lisen"));
    }
}
