//! `aimass`: one binary that is the server, its tools and its clients.

mod cli;
mod compose;
mod config;
mod core_dumps;
mod descriptors;
mod outer_key;
mod telemetry;

use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// What is freed is wiped: requests, secrets and models leave nothing behind in the memory of an idle node.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<mimalloc::MiMalloc> = ZeroAlloc(mimalloc::MiMalloc);

fn main() -> ExitCode {
    cli::run()
}
