//! The child: limits itself, compiles one component, and ends.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;

use aimass_core::limits::{InvocationLimits, MAX_COMPONENT};
use aimass_core::{Fault, Result};
use rustix::process::{Resource, Rlimit, nice, setrlimit};

use super::{Ending, Head, MAX_REASON};
use crate::config::PoolConfig;
use crate::{engine, inspect};

/// How much a compiler gives way to calls: 15 of 19. It gets what they leave.
const NICE: i32 = 15;

/// Stacks of the compiler's threads, which the kernel counts as memory.
const STACKS: u64 = 64 << 20;

/// Compiles the component that the server left in standard input, within the limits that stand before it. Returns the
/// status that the process shall exit with, at once: this is a process of its own, whose limits stay.
///
/// # Errors
/// `invalid_request` if standard input is nothing of a server's: this is for the server to start, not for people.
/// `internal` if the system does not let it.
pub fn compile_child() -> Result<u8> {
    let fault = |e: std::io::Error| Fault::internal(e);
    let file = File::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(fault)?);
    let mut head = [0; Head::LENGTH];
    // At an offset, so that a terminal or a pipe is refused and not waited for.
    let head = file.read_exact_at(&mut head, 0).ok().and_then(|()| Head::read(&head));
    let Some(head) = head else {
        return Err(Fault::invalid("a compiler is started by `aimass serve`, which leaves it a component"));
    };
    limit(&head)?;
    let length = file.metadata().map_err(fault)?.len().saturating_sub(Head::LENGTH as u64).min(MAX_COMPONENT + 1);
    let mut wasm = vec![0; usize::try_from(length).map_err(Fault::internal)?];
    file.read_exact_at(&mut wasm, Head::LENGTH as u64).map_err(fault)?;
    // What compiled code depends on is the same here as in the server; the pool is not used.
    let pool = PoolConfig { instances: 1, ..PoolConfig::default() };
    // It was built in the server, without these limits.
    let Ok(engine) = engine::build(&pool, &InvocationLimits::default()) else {
        return Ok(Ending::OutOfMemory as u8);
    };
    let (ending, answer) = match inspect::compile(&engine, &wasm) {
        Ok(code) if code.len() as u64 > head.output => (Ending::TooLarge, vec![]),
        Ok(code) => (Ending::Compiled, code),
        Err(inspect::Refusal::OutOfMemory) => (Ending::OutOfMemory, vec![]),
        Err(inspect::Refusal::Invalid(fault)) => {
            let mut reason = fault.detail().to_owned();
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
            (Ending::Refused, reason.into_bytes())
        }
    };
    file.set_len(0).map_err(fault)?;
    file.write_all_at(&answer, 0).map_err(fault)?;
    Ok(ending as u8)
}

fn limit(head: &Head) -> Result<()> {
    let set = |resource, current: u64, maximum: u64| {
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) }).map_err(Fault::internal)
    };
    // Allocations beyond it fail, which ends the process. Address space that nothing can be written to is not counted.
    let memory = head.memory.saturating_add(STACKS);
    set(Resource::Data, memory, memory)?;
    // The first is a signal that says why, the second one that cannot be ignored.
    set(Resource::Cpu, head.cpu_seconds, head.cpu_seconds.saturating_add(1))?;
    let output = head.output.max(MAX_REASON as u64);
    set(Resource::Fsize, output, output)?;
    // A core dump would hold the tenant's component.
    set(Resource::Core, 0, 0)?;
    // Where that is not allowed it competes with calls as an equal, which is no reason not to compile.
    let _ = nice(NICE);
    Ok(())
}
