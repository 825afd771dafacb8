//! What the sandbox is built with, and what one call carries.

use std::path::PathBuf;
use std::sync::Arc;

use aimass_core::limits::InvocationLimits;
use aimass_core::seam::{Asking, Configuration};
use aimass_core::trace::Trace;
use aimass_core::usage::Meter;
use aimass_core::{Name, Tenant};

use crate::compiler::{CompileCommand, CompileLimits};

/// How the sandbox is built.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// The folder for compiled code; made (mode 0700) if it is missing.
    pub cache_dir: PathBuf,
    /// The key of the MAC over compiled code. A file that another key signed is compiled again.
    pub cache_key: [u8; 32],
    /// The most that any call may use; a [`Call`] may ask for less.
    pub limits: InvocationLimits,
    /// How many guests run at once.
    pub pool: PoolConfig,
    /// How a compiler is started.
    pub compile: CompileCommand,
    /// What compiling one component may take.
    pub compile_limits: CompileLimits,
    /// How many components are compiled at once, at least 1; others wait.
    pub compilers: usize,
    /// How many plugins are held ready (linked, their code mapped); the least used leave first.
    pub loaded_plugins: usize,
}

impl SandboxConfig {
    /// The defaults, with compiled code in `cache_dir` under `cache_key`, made by what `compile` starts.
    pub fn new(cache_dir: impl Into<PathBuf>, cache_key: [u8; 32], compile: CompileCommand) -> Self {
        // Each uses several cores; the other half is for calls.
        let compilers = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        Self {
            compile,
            compile_limits: CompileLimits::default(),
            compilers,
            cache_dir: cache_dir.into(),
            cache_key,
            limits: InvocationLimits::default(),
            pool: PoolConfig::default(),
            // A linked Rust plugin costs tens of KiB beside its mapped code, so a thousand fit in tens of MiB.
            loaded_plugins: 1_000,
        }
    }
}

/// The size of the pool that instances are taken from. All of it is address space until it is used.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// Component instances alive at once, over all tenants. One more is answered `overloaded`.
    pub instances: u32,
    /// Bytes of a returned memory that stay mapped and are wiped by hand; what lies above is given back to the
    /// system. See `engine.rs` for what it costs small calls. More of it helps large tensors (600 kB in and out:
    /// 360 µs at 128 KiB, 140 µs at 1 MiB, nearly all of it page faults) and keeps that much of every slot that was
    /// ever used.
    pub keep_resident: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { instances: 1_000, keep_resident: 128 << 10 }
    }
}

/// Who calls which version of which plugin, and what it may use.
#[derive(Clone)]
pub struct Call {
    /// Whose plugin it is; the guest reaches this tenant's models and data only.
    pub tenant: Tenant,
    /// The plugin.
    pub plugin: Name,
    /// Its version.
    pub version: u64,
    /// What `wasi:config/store` answers.
    pub settings: Arc<dyn Configuration>,
    /// Limits of this call; what exceeds the sandbox's own is cut down to it.
    pub limits: InvocationLimits,
    /// The request's id, for the log.
    pub request_id: Arc<str>,
    /// How many calls of guests stand above this one; what it sends says one more.
    pub depth: u32,
    /// Where it stands in its trace; what it sends carries that on.
    pub trace: Trace,
    /// Who is told what it used.
    pub meter: Option<Arc<dyn Meter>>,
}

impl Call {
    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking { tenant: &self.tenant, plugin: &self.plugin, trace: &self.trace }
    }
}

/// Without the settings: they may be secrets.
impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tenant, plugin, version, limits, request_id, depth, trace, settings: _, meter: _ } = self;
        f.debug_struct("Call")
            .field("tenant", tenant)
            .field("plugin", plugin)
            .field("version", version)
            .field("limits", limits)
            .field("request_id", request_id)
            .field("depth", depth)
            .field("trace", trace)
            .finish_non_exhaustive()
    }
}

/// The smaller of the two, limit by limit.
pub(crate) fn tighter(a: &InvocationLimits, b: &InvocationLimits) -> InvocationLimits {
    InvocationLimits {
        deadline: a.deadline.min(b.deadline),
        memory: a.memory.min(b.memory),
        table_elements: a.table_elements.min(b.table_elements),
        output: a.output.min(b.output),
        host_call: a.host_call.min(b.host_call),
        resources: a.resources.min(b.resources),
        log_lines: a.log_lines.min(b.log_lines),
        outgoing_requests: a.outgoing_requests.min(b.outgoing_requests),
        outgoing_bytes: a.outgoing_bytes.min(b.outgoing_bytes),
        writes: a.writes && b.writes,
    }
}
