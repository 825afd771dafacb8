//! The parent: starts a child, gives it the bytes that it asks for, and hears what it finds.

use std::io::{self, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use aimass_core::{Code, Fault, Result};
use serde_json::Value;

use super::{ASKS, BATCH, END, FAILED, Head, News, OPENED, ReadCommand, Start, put, take, unpacked};
use crate::{Batch, ReadOptions, Source, invalid};

/// What a child says on standard error is for the log; more of it is not read.
const MAX_SAID: u64 = 16 << 10;

/// What Rust's runtime says when an allocation fails, before it ends the process.
const OUT_OF_MEMORY: &[u8] = b"memory allocation of";

/// The most bytes that a child may ask for at once.
const MOST: u64 = 1 << 20;

/// Ends the process when nobody waits for it any more.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads a file in a child, and tells what it finds; ends early if `tell` says no. Blocks.
///
/// # Errors
/// `invalid_data`, with what is wrong with the file, or that it takes too much memory or breaks its reader; what the
/// source says; `unavailable` if no child can be started.
pub fn read_in_child(
    command: &ReadCommand,
    source: &dyn Source,
    options: &ReadOptions,
    tell: &mut dyn FnMut(News) -> bool,
) -> Result<()> {
    let unavailable = |e: io::Error| Fault::new(Code::Unavailable, "a reader cannot be started").caused_by(e);
    let child = Command::new(&command.program)
        .args(&command.arguments)
        // Nothing of the server's environment is a reader's business, its secrets least of all.
        .env_clear()
        // The allocator would reserve a GiB as memory that is in use, which counts against the child's limit.
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Ended(child.map_err(unavailable)?);
    let (input, output) = (child.0.stdin.take(), child.0.stdout.take());
    let (mut input, output) = input.zip(output).ok_or_else(|| Fault::internal("a child without pipes"))?;
    let mut output = BufReader::new(output);
    let start = Start { options: options.clone(), size: source.size(), memory: command.memory };
    let start = serde_json::to_vec(&start).map_err(Fault::internal)?;
    let mut failed = None;
    let heard = put(&mut input, &[&start]).and_then(|()| {
        loop {
            let mut kind = [0];
            output.read_exact(&mut kind)?;
            let said = take(&mut output)?;
            match answer(kind[0], &said, source, &mut input, tell) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(Stop::Io(e)) => return Err(e),
                Err(Stop::Fault(fault)) => {
                    failed = Some(fault);
                    return Ok(());
                }
            }
        }
    });
    match (failed, heard) {
        (Some(fault), _) => Err(fault),
        (None, Ok(())) => Ok(()),
        (None, Err(_)) => Err(broken(&mut child.0, command.memory)),
    }
}

enum Stop {
    /// The child is gone.
    Io(io::Error),
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Does what a child wants; whether it goes on.
fn answer(
    kind: u8,
    said: &[u8],
    source: &dyn Source,
    input: &mut impl Write,
    tell: &mut dyn FnMut(News) -> bool,
) -> Result<bool, Stop> {
    let strange = || Fault::internal("a reader says what it cannot");
    let number = |at: usize| said.get(at..).and_then(|rest| rest.first_chunk::<8>()).map(|n| u64::from_le_bytes(*n));
    match kind {
        ASKS => {
            let (offset, length) = number(0).zip(number(8)).ok_or_else(strange)?;
            let mut bytes = vec![0; length.min(MOST) as usize];
            let mut filled = 0;
            while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match source.read_at(offset + filled as u64, rest)? {
                    0 => break,
                    read => filled += read,
                }
            }
            bytes.truncate(filled);
            put(input, &[&bytes]).map_err(Stop::Io)?;
            Ok(true)
        }
        OPENED => {
            let total = number(0).ok_or_else(strange)?;
            let (schema, _) = unpacked(said.get(8..).unwrap_or_default())?;
            Ok(tell(News::Opened { schema, total: (total != u64::MAX).then_some(total) }))
        }
        BATCH => {
            let (length, rest) = said.split_first_chunk::<4>().ok_or_else(strange)?;
            let (head, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(strange)?;
            let Head { first, done, bad } = serde_json::from_slice(head).map_err(Fault::internal)?;
            let (_, records) = unpacked(rest)?;
            let records = records.ok_or_else(strange)?;
            Ok(tell(News::Batch(Batch { first, records, bad }, done)))
        }
        FAILED => {
            let words: Value = serde_json::from_slice(said).map_err(Fault::internal)?;
            let code = words["code"].as_str().and_then(Code::named).unwrap_or(Code::Internal);
            Err(Stop::Fault(Fault::new(code, words["detail"].as_str().unwrap_or_default())))
        }
        END => Ok(false),
        _ => Err(strange().into()),
    }
}

/// Why a child ended that should not have.
fn broken(child: &mut Child, memory: u64) -> Fault {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // Broken off or not: it is only for the log.
        let _ = stderr.take(MAX_SAID).read_to_end(&mut said);
    }
    let status = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
    if said.windows(OUT_OF_MEMORY.len()).any(|words| words == OUT_OF_MEMORY) {
        return invalid(format!("reading the file takes more than {} MiB of memory", memory >> 20));
    }
    invalid(format!("the file breaks its reader, which ended with {status}")).caused_by(String::from_utf8_lossy(&said))
}
