//! The command line: one file a command.

/// As `std`'s, but that a reader who has seen enough (`| head`) ends the command without a word.
macro_rules! println {
    ($($text:tt)*) => { $crate::cli::output::line(format_args!($($text)*)) };
}
/// The same without an end of the line.
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::output::text(format_args!($($text)*)) };
}

mod audit;
mod backup;
mod bucket;
mod client;
mod compile;
mod completions;
mod demo;
mod deploy;
mod dev;
mod doctor;
mod egress;
mod engine;
mod engines;
mod files;
mod guest;
mod help;
mod identity;
mod invocations;
mod invoke;
mod jobs;
mod logs;
mod objects;
mod openapi;
mod output;
mod pinned;
mod read;
mod secrets;
mod serve;
mod signers;
mod tenants;
mod triggers;
pub(crate) mod trust;
mod uploads;
mod usage;
mod webhooks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use client::Connection;

/// Why a command ended without doing what it was asked for. Printed on standard error; exit status 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server said no: its problem's title and detail.
    #[error("{title}: {detail}")]
    Refused {
        /// The problem's title.
        title: String,
        /// What it says about this request.
        detail: String,
    },
    /// Anything else, as a sentence that says what to do.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }
}

impl From<aimass_core::Fault> for Failure {
    fn from(fault: aimass_core::Fault) -> Self {
        let detail = match fault.cause() {
            Some(cause) => format!("{} ({cause})", fault.detail()),
            None => fault.detail().to_owned(),
        };
        Self::Refused { title: fault.code().title().to_owned(), detail }
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        Self::Other(e.to_string())
    }
}

/// What a command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Run other people's model code, safely and fast.
#[derive(Parser)]
#[command(name = "aimass", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  aimass demo                                   the whole tour on a free port
  aimass serve --data ./data                    a node that keeps its data in ./data
  aimass new my-model && aimass build my-model  a plugin from a template, built to WebAssembly
  aimass push my-model && aimass invoke my-model x=[1,2,3]
  aimass doctor                                 what this machine lacks, and what to do about it";

#[derive(Subcommand)]
enum Command {
    /// Run a node
    Serve(serve::Serve),
    /// Show the whole tour: build, upload, call, refuse
    Demo(demo::Demo),
    /// Create a plugin's project from a template
    New(guest::New),
    /// Build a plugin's project to a WebAssembly component
    Build(guest::Build),
    /// Upload a plugin: a project (built first) or a component
    Push(guest::Push),
    /// Build, upload and call a plugin anew whenever a file of it changes
    Dev(dev::Dev),
    /// Call a plugin or a model
    Invoke(invoke::Invoke),
    /// List asynchronous calls, show what came of them, cancel and retry them
    #[command(subcommand)]
    Invocations(invocations::Invocations),
    /// List, show, delete and configure plugins
    #[command(subcommand)]
    Plugins(objects::Plugins),
    /// Upload, list, show and delete models
    #[command(subcommand)]
    Models(objects::Models),
    /// Let a version serve under an alias, at once or as a canary
    Deploy(deploy::Deploy),
    /// Let a canary serve all calls
    Promote(deploy::Promote),
    /// Let an alias say again what it said before
    Rollback(deploy::Rollback),
    /// List what the aliases of a plugin or model were told
    Deployments(deploy::Deployments),
    /// Show what is different between two versions
    Diff(deploy::Diff),
    /// Say which versions serve under which names
    #[command(subcommand)]
    Aliases(deploy::Aliases),
    /// Set, list and delete secrets of plugins
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    /// Say whose signatures on plugins count
    #[command(subcommand)]
    Signers(signers::Signers),
    /// Sign a component, without sending anything
    Sign(signers::Sign),
    /// Let models and plugins run by themselves
    #[command(subcommand)]
    Triggers(triggers::Triggers),
    /// Create, list, limit and erase tenants (the operator)
    #[command(subcommand)]
    Tenants(tenants::Tenants),
    /// List and rotate the keys that seal what tenants bring (the operator)
    #[command(subcommand)]
    Keys(secrets::Keys),
    /// Create, list and revoke tokens
    #[command(subcommand)]
    Tokens(tenants::Tokens),
    /// Let a tenant's own identity providers sign its users in
    #[command(subcommand)]
    Issuers(identity::Issuers),
    /// Name sets of scopes, for tokens and for users of identity providers
    #[command(subcommand)]
    Roles(identity::Roles),
    /// List, rotate and revoke the keys that the node signs tokens with (the operator)
    #[command(subcommand)]
    SigningKeys(identity::SigningKeys),
    /// Show who did what, and check that the record of it is whole
    Audit(audit::Audit),
    /// Back a data folder up, while its server runs or not
    Backup(backup::Backup),
    /// Make a data folder of a backup
    Restore(backup::Restore),
    /// Build the index anew from the journal, with the server stopped
    Rebuild(backup::Rebuild),
    /// Run a model or a plugin over every row of a file
    Batch(jobs::BatchCommand),
    /// List, show, follow and cancel jobs
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// Store, fetch, list and delete data files
    #[command(subcommand)]
    Files(files::Files),
    /// Say where guests may send to, and across which regions
    #[command(subcommand)]
    Egress(egress::Egress),
    /// Show what a plugin's calls log, also as it comes
    Logs(logs::Logs),
    /// Say where to tell that asynchronous calls have ended
    #[command(subcommand)]
    Webhooks(webhooks::Webhooks),
    /// Show what a tenant used, hour by hour
    Usage(usage::Usage),
    /// List the engines that run models on this machine, or install one
    Engines(engines::Engines),
    /// Say which devices, engines and toolchains were found, and what to do about what is missing
    Doctor(doctor::Doctor),
    /// Print what the HTTP API is (OpenAPI 3.1)
    Openapi(openapi::Openapi),
    /// Print a script with which a shell completes this command line
    Completions(completions::Completions),
    /// Hold models for the server that started this process
    #[command(hide = true)]
    Engine(engine::Engine),
    /// Compile one component for the server that started this process
    #[command(hide = true)]
    Compile(compile::Compile),
    /// Read one data file for the server that started this process
    #[command(hide = true)]
    Read(read::Read),
}

/// Parses the arguments, runs the command, and turns its outcome into an exit status.
pub(crate) fn run() -> ExitCode {
    let Cli { json, connection, command } = help::parse();
    log_to_stderr(matches!(command, Command::Serve(_) | Command::Engine(_) | Command::Compile(_) | Command::Read(_)));
    let command = match command {
        Command::Engine(engine) => return ended(engine.run()),
        Command::Compile(compile) => return compile.run(),
        Command::Read(read) => return ended(read.run()),
        command => command,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&Failure::new(format!("no runtime: {e}"))),
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve(c) => c.run(json).await,
            Command::Demo(c) => c.run().await,
            Command::New(c) => c.run(json),
            Command::Build(c) => c.run(json).map(drop),
            Command::Push(c) => c.run(&connection.open()?, json).await,
            Command::Dev(c) => c.run(connection, json).await,
            Command::Invoke(c) => c.run(&connection.open()?, json).await,
            Command::Invocations(c) => c.run(&connection.open()?, json).await,
            Command::Plugins(c) => c.run(&connection.open()?, json).await,
            Command::Models(c) => c.run(&connection.open()?, json).await,
            Command::Deploy(c) => c.run(&connection.open()?, json).await,
            Command::Promote(c) => c.run(&connection.open()?, json).await,
            Command::Rollback(c) => c.run(&connection.open()?, json).await,
            Command::Deployments(c) => c.run(&connection.open()?, json).await,
            Command::Diff(c) => c.run(&connection.open()?, json).await,
            Command::Aliases(c) => c.run(&connection.open()?, json).await,
            Command::Secrets(c) => c.run(&connection.open()?, json).await,
            Command::Keys(c) => c.run(&connection.open()?, json).await,
            Command::Signers(c) => c.run(connection, json).await,
            Command::Sign(c) => c.run(json),
            Command::Triggers(c) => c.run(&connection.open()?, json).await,
            Command::Tenants(c) => c.run(&connection.open()?, json).await,
            Command::Tokens(c) => c.run(&connection.open()?, json).await,
            Command::Issuers(c) => c.run(&connection.open()?, json).await,
            Command::Roles(c) => c.run(&connection.open()?, json).await,
            Command::SigningKeys(c) => c.run(&connection.open()?, json).await,
            Command::Audit(c) => c.run(connection, json).await,
            Command::Backup(c) => c.run(json),
            Command::Restore(c) => c.run(json),
            Command::Rebuild(c) => c.run(json),
            Command::Batch(c) => c.run(&connection.open()?, json).await,
            Command::Jobs(c) => c.run(&connection.open()?, json).await,
            Command::Files(c) => c.run(&connection.open()?, json).await,
            Command::Egress(c) => c.run(&connection.open()?, json).await,
            Command::Logs(c) => c.run(&connection.open()?, json).await,
            Command::Webhooks(c) => c.run(&connection.open()?, json).await,
            Command::Usage(c) => c.run(&connection.open()?, json).await,
            Command::Openapi(c) => c.run(),
            Command::Completions(c) => c.run(),
            Command::Doctor(c) => c.run(json).await,
            // They have no use for this runtime, and have run already.
            Command::Engine(c) => c.run(),
            Command::Compile(_) => Ok(()),
            Command::Read(c) => c.run(),
            Command::Engines(c) => c.run(json).await,
        }
    });
    // Threads that run a model or a guest are not waited for: what must be kept is on disk already.
    runtime.shutdown_background();
    ended(outcome)
}

fn ended(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    eprintln!("error: {failure}");
    ExitCode::FAILURE
}

/// Logs go to standard error: a node tells what it does, a command only what goes wrong. `AIMASS_LOG` says otherwise.
fn log_to_stderr(node: bool) {
    let default = if node { "info" } else { "error" };
    let filter = EnvFilter::try_from_env("AIMASS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let layer = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // People read a terminal; machines read what is not one.
    if terminal {
        layer.init()
    } else {
        layer.json().init()
    }
    if node {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// A library that panics on a tenant's model may quote it: the log gets the place, and the words only on demand.
fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(at, "a thread panicked");
    tracing::debug!(words = info.payload_as_str().unwrap_or_default(), "it said");
}
