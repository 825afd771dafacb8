//! What a guest may call, one file per standard interface. WASI itself and `wasi:http` are wasmtime's own
//! implementation, with nothing of the process given to them (see `state.rs`).

pub(crate) mod carry;
pub(crate) mod egress;
pub(crate) mod keyvalue;
mod logging;
pub(crate) mod nn;
mod settings;

use aimass_core::{Fault, Result};
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::{config, keyvalue as kv, logging as log, nn as neural};
use crate::state::Guest;

/// The interfaces that a plugin may import (any 0.2 version of WASI's own).
pub(crate) const GIVEN: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:config/store",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:keyvalue/atomics",
    "wasi:keyvalue/batch",
    "wasi:keyvalue/store",
    "wasi:logging/logging",
    "wasi:nn/errors",
    "wasi:nn/graph",
    "wasi:nn/inference",
    "wasi:nn/tensor",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
    // Types only: nothing is called.
    "aimass:plugin/types",
];

/// Everything that a guest may import.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    link(&mut linker).map_err(Fault::internal)?;
    Ok(linker)
}

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    config::store::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    log::logging::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    kv::store::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    kv::atomics::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    kv::batch::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    neural::tensor::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    neural::errors::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    neural::graph::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    neural::inference::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    Ok(())
}
