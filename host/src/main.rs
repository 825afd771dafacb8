//! `aimass`: one binary that is the server, its tools and its clients.

mod cli;
mod compose;
mod config;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
