//! Reading in a process of its own: a file that takes all memory or breaks its reader costs its own job, and nothing of
//! a tenant's is taken apart in the process that serves.
//!
//! The child has no file and no key: it asks for bytes over its standard output and gets them over its standard input.
//! What it says is one byte of kind, a length (u32, little-endian) and as many bytes; batches are streams of Arrow's own
//! format (IPC).

mod child;
mod parent;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use aimass_core::{Fault, Result};
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::{Batch, ReadOptions};
pub use child::read_child;
pub use parent::read_in_child;

/// How a child is started: a program that calls [`read_child`], and its arguments.
#[derive(Clone, Debug)]
pub struct ReadCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Bytes of memory that it may take.
    pub memory: u64,
}

impl ReadCommand {
    /// This program itself, with the command `read`.
    ///
    /// # Errors
    /// `internal` if the system does not say which program this is.
    pub fn own() -> Result<Self> {
        let program = std::env::current_exe().map_err(Fault::internal)?;
        Ok(Self { program, arguments: vec!["read".into()], memory: crate::limits::READER })
    }
}

/// What a child finds.
#[derive(Debug)]
pub enum News {
    /// The file is open: its columns, and how many rows it has, where it says so.
    Opened {
        /// The columns.
        schema: SchemaRef,
        /// All rows.
        total: Option<u64>,
    },
    /// Some rows, and the part of the file that was read by then, where that says how far it is.
    Batch(Batch, Option<f64>),
}

/// The first thing that a child is told.
#[derive(Serialize, Deserialize)]
struct Start {
    options: ReadOptions,
    size: u64,
    memory: u64,
}

/// What stands before a batch.
#[derive(Serialize, Deserialize)]
struct Head {
    first: u64,
    done: Option<f64>,
    bad: Vec<(usize, String)>,
}

/// Kinds of what a child says.
const ASKS: u8 = 1;
const OPENED: u8 = 2;
const BATCH: u8 = 3;
const FAILED: u8 = 4;
const END: u8 = 5;

/// More is nothing that either side says: a batch is at most [`crate::limits::BATCH`], and its columns of numbers.
const LARGEST: u32 = 1 << 30;

fn put(out: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).ok().filter(|length| *length <= LARGEST);
    out.write_all(&length.ok_or(io::ErrorKind::FileTooLarge)?.to_le_bytes())?;
    parts.iter().try_for_each(|part| out.write_all(part))?;
    out.flush()
}

fn take(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::new();
    // What is announced is not there yet.
    match from.take(length.into()).read_to_end(&mut bytes)? {
        read if read == length as usize => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Rows, or columns alone, as a stream.
fn packed(schema: &Schema, records: Option<&RecordBatch>) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(Fault::internal)?;
    records.map_or(Ok(()), |records| writer.write(records)).map_err(Fault::internal)?;
    writer.into_inner().map_err(Fault::internal)
}

fn unpacked(bytes: &[u8]) -> Result<(SchemaRef, Option<RecordBatch>)> {
    let mut reader = StreamReader::try_new(bytes, None).map_err(Fault::internal)?;
    let records = reader.next().transpose().map_err(Fault::internal)?;
    Ok((reader.schema(), records))
}
