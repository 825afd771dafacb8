//! The child: limits itself, reads one file, and ends.

use std::io::{self, BufWriter, Read, Stdin, Stdout, Write};
use std::sync::{Arc, Mutex, PoisonError};

use aimass_core::{Fault, Result};
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::DataType;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{ASKS, BATCH, END, FAILED, Head, OPENED, Start, packed, put, take};
use crate::write::spread;
use crate::{Rows, Source, invalid, limits};

/// Bytes that are asked for at once.
const BLOCK: u64 = 128 << 10;
/// Blocks that are kept: columns of Parquet are read at many places in turn.
const BLOCKS: usize = 32;

/// Reads the file that the server has behind standard input and output. The limits that it is told of stay, for this is
/// a process of its own.
///
/// # Errors
/// `invalid_request` if nobody is there who asks for it: this is for the server to start, not for people.
pub fn read_child() -> Result<()> {
    let mut link = Link { input: io::stdin(), output: BufWriter::new(io::stdout()) };
    let start = take(&mut link.input).ok().and_then(|bytes| serde_json::from_slice::<Start>(&bytes).ok());
    let Some(Start { options, size, memory }) = start else {
        return Err(Fault::invalid("a reader is started by `aimass serve`, which gives it a file"));
    };
    let set = |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    // Allocations beyond it fail, which ends the process. A core dump would hold the tenant's rows.
    set(Resource::Data, memory).and_then(|()| set(Resource::Core, 0)).map_err(Fault::internal)?;
    let link = Arc::new(Mutex::new(link));
    let source = Arc::new(Remote { size, link: link.clone(), blocks: Mutex::default() });
    let say = |kind: u8, parts: &[&[u8]]| lock(&link).say(kind, parts).map_err(Fault::internal);
    let read = || -> Result<()> {
        let mut rows = Rows::open(source, &options)?;
        let total = rows.total().unwrap_or(u64::MAX).to_le_bytes();
        say(OPENED, &[&total, &packed(&rows.schema(), None)?])?;
        while let Some(batch) = rows.next()? {
            let done = rows.place().map(|(read, all)| read as f64 / all.max(1) as f64);
            let head = Head { first: batch.first, done, bad: batch.bad };
            let head = serde_json::to_vec(&head).map_err(Fault::internal)?;
            let records = compact(&batch.records)?;
            let length = (head.len() as u32).to_le_bytes();
            say(BATCH, &[&length, &head, &packed(&records.schema(), Some(&records))?])?;
        }
        say(END, &[])
    };
    if let Err(fault) = read() {
        let words = serde_json::json!({ "code": fault.code().as_str(), "detail": fault.detail() }).to_string();
        say(FAILED, &[words.as_bytes()])?;
    }
    Ok(())
}

/// The rows without what their pages held besides: a view of a text keeps all of the page that it is in.
fn compact(records: &RecordBatch) -> Result<RecordBatch> {
    if spread(records) > limits::BATCH {
        let detail =
            format!("{} rows are more than {} MiB: take fewer at once", records.num_rows(), limits::BATCH >> 20);
        return Err(invalid(detail));
    }
    let columns = records.columns().iter().map(|column| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column.clone(),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
    RecordBatch::try_new_with_options(records.schema(), columns.collect(), &options).map_err(Fault::internal)
}

/// The way to the parent.
struct Link {
    input: Stdin,
    output: BufWriter<Stdout>,
}

impl Link {
    fn say(&mut self, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
        self.output.write_all(&[kind])?;
        put(&mut self.output, parts)
    }

    fn ask(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        self.say(ASKS, &[&offset.to_le_bytes(), &BLOCK.to_le_bytes()])?;
        take(&mut self.input)
    }
}

/// A file that the parent has.
struct Remote {
    size: u64,
    link: Arc<Mutex<Link>>,
    /// The newest last.
    blocks: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl Source for Remote {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        if offset >= self.size {
            return Ok(0);
        }
        let number = offset / BLOCK;
        let mut blocks = lock(&self.blocks);
        match blocks.iter().position(|(known, _)| *known == number) {
            Some(place) if place + 1 < blocks.len() => {
                let block = blocks.remove(place);
                blocks.push(block);
            }
            Some(_) => {}
            None => {
                let block = lock(&self.link).ask(number * BLOCK).map_err(Fault::internal)?;
                if blocks.len() == BLOCKS {
                    blocks.remove(0);
                }
                blocks.push((number, block));
            }
        }
        let block = blocks.last().map(|(_, block)| block.as_slice()).unwrap_or_default();
        let mut there = block.get((offset % BLOCK) as usize..).unwrap_or_default();
        there.read(out).map_err(Fault::internal)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
