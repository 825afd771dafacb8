//! What belongs to one call: the data of its `Store`, made for it and dropped with it.

use std::sync::Arc;
use std::time::Instant;

use aimass_core::logs::LogKeeper;
use aimass_core::outgoing::Outgoing;
use aimass_core::seam::{Inference, KeyValue, Values};
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::config::Call;
use crate::host::egress::Egress;
use crate::limits::{Exceeded, Limiter};
use crate::log::{Log, Stdio, Stream};

/// The guest's time is up; it becomes `plugin_deadline`.
#[derive(Debug, thiserror::Error)]
#[error("the deadline passed")]
pub(crate) struct DeadlinePassed;

/// Ticks that a guest runs before it lets others have the thread: at least one whole tick.
const SLICE: u64 = 2;

/// Bytes of random numbers that one call to the host gives: keys, seeds, a page of noise.
const MAX_RANDOM: u64 = 1 << 20;

/// Bytes of the fields (headers, trailers) of one request or response, as wasmtime counts them.
const MAX_FIELDS: usize = 128 << 10;

/// What guests' calls to the host need of the platform.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) inference: Arc<dyn Inference>,
    pub(crate) key_value: Arc<dyn KeyValue>,
    /// Without it guests send nothing.
    pub(crate) outgoing: Option<Arc<dyn Outgoing>>,
    /// Without it guests' lines go to `tracing` alone.
    pub(crate) logs: Option<Arc<dyn LogKeeper>>,
}

/// The data of one call's store.
pub(crate) struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    egress: Egress,
    limiter: Limiter,
    pub(crate) table: ResourceTable,
    pub(crate) log: Arc<Log>,
    pub(crate) services: Arc<Services>,
    pub(crate) deadline: Instant,
    /// The call's settings and secrets, once the guest has asked for one.
    pub(crate) values: Option<Values>,
    /// Bytes that resources of this guest hold on the host's side.
    held: usize,
}

/// A store for one call, with every limit set.
pub(crate) fn store(engine: &Engine, services: Arc<Services>, call: Call, deadline: Instant) -> Store<Guest> {
    let limits = &call.limits;
    let limiter = Limiter::new(limits, call.meter.clone());
    let (resources, host_call) = (limits.resources, limits.host_call);
    let log = Arc::new(Log::new(call, services.logs.clone()));

    // Nothing of the process is inherited: no arguments, environment, folders or sockets.
    let mut wasi = WasiCtx::builder();
    wasi.stdout(Stdio(log.clone(), Stream::Out))
        .stderr(Stdio(log.clone(), Stream::Err))
        .max_random_size(MAX_RANDOM)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(MAX_FIELDS);
    let mut table = ResourceTable::new();
    table.set_max_capacity(resources);

    let egress = Egress::new(services.clone(), log.clone(), deadline);
    let guest =
        Guest { wasi: wasi.build(), http, egress, limiter, table, log, services, deadline, values: None, held: 0 };
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(host_call);
    store.set_max_component_handles(resources);
    store.set_epoch_deadline(SLICE);
    store.epoch_deadline_callback(|store| {
        if Instant::now() >= store.data().deadline {
            return Err(DeadlinePassed.into());
        }
        // Tokio's own yield, not a bare wake: it lets the runtime look at its timers and sockets in between, which
        // it would otherwise do only every 61st poll.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}

impl Guest {
    /// Whose call it is.
    pub(crate) fn call(&self) -> &Call {
        &self.log.call
    }

    /// Counts bytes that the host keeps for the guest, beside the guest's own memory and under the same limit.
    pub(crate) fn hold(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let limit = self.call().limits.memory;
        match self.held.checked_add(bytes) {
            Some(sum) if sum <= limit => self.held = sum,
            _ => return Err(Exceeded::HostMemory(limit).into()),
        }
        Ok(())
    }

    /// Gives back what [`Guest::hold`] counted.
    pub(crate) fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.egress }
    }
}
