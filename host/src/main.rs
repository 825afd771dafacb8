//! `aimass`: one binary that is the server, its tools and its clients.

mod cli;
mod compose;
mod config;
mod descriptors;
mod outer_key;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
