//! Compiling in a process of its own: a component that takes for ever, takes all memory or breaks the compiler costs
//! its own upload, and nothing of a tenant's is parsed for the first time in the process that serves.
//!
//! A child gets one piece of shared memory as its standard input: its limits and the component. It compiles, writes
//! the outcome over them, and ends; what the outcome is, its exit status says. The child is this same program, so
//! compiled code that it leaves behind with status 0 is ours to sign, as if it had been compiled here.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aimass_core::{Code, Digest, Fault, Result};
use bytes::Bytes;
use rustix::fs::MemfdFlags;
use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::log::escaped;
use crate::sandbox::blocking;

pub(crate) mod child;

/// What a child says on standard error is for the log; more of it is not read.
const MAX_SAID: u64 = 16 << 10;

/// What Rust's runtime says when an allocation fails, before it ends the process.
const OUT_OF_MEMORY: &[u8] = b"memory allocation of";

/// The longest reason that a child gives.
pub(crate) const MAX_REASON: usize = 4 << 10;

/// How a child is started: a program that calls [`compile_child`](crate::compile_child), and its arguments.
#[derive(Clone, Debug)]
pub struct CompileCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl CompileCommand {
    /// This program itself, with the command `compile`.
    ///
    /// # Errors
    /// `internal` if the system does not say which program this is.
    pub fn own() -> Result<Self> {
        let program = std::env::current_exe().map_err(Fault::internal)?;
        Ok(Self { program, arguments: vec!["compile".into()] })
    }
}

/// What compiling one component may take. More is `compile_budget`.
#[derive(Clone, Debug)]
pub struct CompileLimits {
    /// Bytes of the child's memory.
    pub memory: u64,
    /// Time of processors, all of the child's threads together; whole seconds.
    pub cpu: Duration,
    /// Time by the clock: a child that waits uses no processor.
    pub wall: Duration,
    /// Bytes of the compiled code.
    pub output: u64,
}

impl CompileLimits {
    /// Of so much time of processors; by the clock, four times that: a child gives way to calls.
    #[must_use]
    pub fn with_cpu(self, cpu: Duration) -> Self {
        Self { cpu, wall: cpu.saturating_mul(4), ..self }
    }
}

impl Default for CompileLimits {
    fn default() -> Self {
        // Room for the largest guests that are in use, Python's and JavaScript's of 12 to 18 MB; they are not measured here.
        Self { memory: 2 << 30, cpu: Duration::ZERO, wall: Duration::ZERO, output: 512 << 20 }
            .with_cpu(Duration::from_secs(60))
    }
}

/// What a child is told, in front of the component.
pub(crate) struct Head {
    pub(crate) memory: u64,
    pub(crate) cpu_seconds: u64,
    pub(crate) output: u64,
}

impl Head {
    pub(crate) const LENGTH: usize = 32;
    const MAGIC: [u8; 8] = *b"aimass-c";

    fn write(&self) -> Vec<u8> {
        let numbers = [self.memory, self.cpu_seconds, self.output].map(u64::to_le_bytes);
        [&Self::MAGIC[..], &numbers.concat()].concat()
    }

    /// The head, unless these are the first bytes of something else.
    pub(crate) fn read(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        let mut words = bytes.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)));
        let mut next = || words.next();
        (next()? == u64::from_le_bytes(Self::MAGIC)).then_some(())?;
        Some(Self { memory: next()?, cpu_seconds: next()?, output: next()? })
    }
}

/// How a child ended by its own will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ending {
    /// The file holds compiled code.
    Compiled = 0,
    /// The component is not valid; the file says why.
    Refused = 3,
    /// The code is larger than it may be.
    TooLarge = 4,
    /// There was not memory enough.
    OutOfMemory = 5,
}

/// Starts children, so many at once, and knows since when each has been at work.
pub(crate) struct Compiler {
    command: CompileCommand,
    limits: CompileLimits,
    slots: Semaphore,
    running: Mutex<HashMap<Digest, Instant>>,
}

impl Compiler {
    pub(crate) fn new(command: CompileCommand, limits: CompileLimits, at_once: usize) -> Self {
        Self { command, limits, slots: Semaphore::new(at_once.max(1)), running: Mutex::default() }
    }

    /// For how long the component of that digest has been compiled; none while it waits for its turn.
    pub(crate) fn running(&self, digest: &Digest) -> Option<Duration> {
        self.lock().get(digest).map(Instant::elapsed)
    }

    /// Compiles in a child, and returns the file that holds the code. If the future is dropped, the child is killed.
    ///
    /// # Errors
    /// `invalid_component` with the compiler's reason, or that it broke the compiler; `compile_budget`; `unavailable`
    /// if no child can be started.
    pub(crate) async fn compile(&self, digest: Digest, wasm: Bytes) -> Result<File> {
        let _slot = self.slots.acquire().await.map_err(Fault::internal)?;
        let _running = Running::begin(self, digest);
        let limits = &self.limits;
        let head = Head { memory: limits.memory, cpu_seconds: limits.cpu.as_secs().max(1), output: limits.output };
        let file = blocking(move || shared(&head, &wasm).map_err(Fault::internal)).await?;

        let unavailable =
            |e: std::io::Error| Fault::new(Code::Unavailable, "the compiler cannot be started").caused_by(e);
        let mut child = Command::new(&self.command.program)
            .args(&self.command.arguments)
            // Nothing of the server's environment is a compiler's business, its secrets least of all.
            .env_clear()
            // The allocator would reserve a GiB as memory that is in use, which counts against the child's limit.
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .stdin(file.try_clone().map_err(unavailable)?)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(unavailable)?;
        let mut said = Vec::new();
        let stderr = child.stderr.take();
        let listen = async {
            if let Some(stderr) = stderr {
                // Broken off or not: it is only for the log.
                let _ = stderr.take(MAX_SAID).read_to_end(&mut said).await;
            }
        };
        let ended = tokio::time::timeout(limits.wall, async { tokio::join!(child.wait(), listen).0 }).await;
        let Ok(status) = ended else {
            child.kill().await.map_err(Fault::internal)?;
            return Err(budget(format!("it took longer than {} s to compile", limits.wall.as_secs())));
        };
        self.outcome(status.map_err(Fault::internal)?, file, &said).await
    }

    async fn outcome(&self, status: ExitStatus, file: File, said: &[u8]) -> Result<File> {
        let CompileLimits { memory, cpu, output, .. } = self.limits;
        let is = |ending: Ending| status.code() == Some(i32::from(ending as u8));
        let by = |signal: Signal| status.signal() == Some(signal.as_raw());
        let too_large = || budget(format!("its compiled code is larger than {output} bytes"));
        if is(Ending::Compiled) {
            let length = file.metadata().map_err(Fault::internal)?.len();
            return if length > output { Err(too_large()) } else { Ok(file) };
        }
        if is(Ending::Refused) {
            let mut reason = vec![0; MAX_REASON];
            let length = file.read_at(&mut reason, 0).map_err(Fault::internal)?;
            let reason = String::from_utf8_lossy(&reason[..length]);
            return Err(Fault::new(Code::InvalidComponent, escaped(&reason, MAX_REASON)));
        }
        if is(Ending::TooLarge) || by(Signal::XFSZ) {
            return Err(too_large());
        }
        if by(Signal::XCPU) {
            return Err(budget(format!("it took more than {} s of processor time to compile", cpu.as_secs())));
        }
        let starved = said.windows(OUT_OF_MEMORY.len()).any(|words| words == OUT_OF_MEMORY);
        if is(Ending::OutOfMemory) || starved {
            return Err(budget(format!("it took more than {} MiB of memory to compile", memory >> 20)));
        }
        let detail = format!("compiling it broke the compiler, which ended with {status}");
        Err(Fault::new(Code::InvalidComponent, detail).caused_by(String::from_utf8_lossy(said)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Instant>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn budget(detail: String) -> Fault {
    Fault::new(Code::CompileBudget, detail)
}

/// The memory that a child gets.
fn shared(head: &Head, wasm: &[u8]) -> std::io::Result<File> {
    let file = File::from(rustix::fs::memfd_create("aimass-compile", MemfdFlags::CLOEXEC)?);
    file.write_all_at(&head.write(), 0)?;
    file.write_all_at(wasm, Head::LENGTH as u64)?;
    Ok(file)
}

/// A compilation that has begun, until it is dropped.
struct Running<'a> {
    compiler: &'a Compiler,
    digest: Digest,
}

impl<'a> Running<'a> {
    fn begin(compiler: &'a Compiler, digest: Digest) -> Self {
        compiler.lock().insert(digest, Instant::now());
        Self { compiler, digest }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.compiler.lock().remove(&self.digest);
    }
}
