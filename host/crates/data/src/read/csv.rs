//! CSV: RFC 4180, with a line of names first. Every column is text, as it stands there.

use std::io::Read;
use std::sync::Arc;

use aimass_core::Result;
use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use csv_core::{ReadRecordResult, Reader};

use super::{Batch, ReadOptions};
use crate::source::Cursor;
use crate::{Source, invalid, limits};

/// Bytes that are read from the source at once.
const CHUNK: usize = 64 << 10;

pub(super) struct Csv {
    records: Records,
    /// Fields of a record.
    width: usize,
    /// Which of them are read.
    wanted: Vec<usize>,
    schema: SchemaRef,
    batch: usize,
    /// The next row's number.
    at: u64,
}

impl Csv {
    pub(super) fn open(source: Arc<dyn Source>, options: &ReadOptions) -> Result<Self> {
        let mut records = Records::new(source);
        if !records.next("the line of names")? {
            return Err(invalid("the CSV file is empty: its first line has the names of the columns"));
        }
        let (mut names, mut wanted, mut fields) = (Vec::<String>::new(), vec![], vec![]);
        for (place, field) in records.fields().enumerate() {
            let name = std::str::from_utf8(field).map_err(|_| invalid("the CSV file is not in UTF-8"))?;
            // Spreadsheets put a byte order mark first.
            let name = if place == 0 { name.strip_prefix('\u{feff}').unwrap_or(name) } else { name };
            if names.iter().any(|other| other == name) {
                return Err(invalid(format!(
                    "two columns of the CSV file have one name, number {} has it again",
                    place + 1
                )));
            }
            names.push(name.to_owned());
            if options.wants(name) {
                wanted.push(place);
                fields.push(Field::new(name, DataType::Utf8, true));
            }
        }
        let mut file = Self {
            records,
            width: names.len(),
            wanted,
            schema: Arc::new(Schema::new(fields)),
            batch: options.batch.max(1),
            at: 0,
        };
        while file.at < options.skip && file.record()? {}
        Ok(file)
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub(super) fn place(&self) -> (u64, u64) {
        self.records.place()
    }

    pub(super) fn next(&mut self) -> Result<Option<Batch>> {
        let first = self.at;
        let mut columns: Vec<StringBuilder> = self.wanted.iter().map(|_| StringBuilder::new()).collect();
        let (mut bad, mut rows, mut bytes) = (vec![], 0, 0);
        while rows < self.batch && bytes < limits::RECORD && self.record()? {
            bytes += self.records.length();
            match self.row() {
                Ok(cells) => columns.iter_mut().zip(cells).for_each(|(column, cell)| column.append_value(cell)),
                Err(why) => {
                    bad.push((rows, why));
                    columns.iter_mut().for_each(StringBuilder::append_null);
                }
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let columns = columns.into_iter().map(|mut column| Arc::new(column.finish()) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let records = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(aimass_core::Fault::internal)?;
        Ok(Some(Batch { first, records, bad }))
    }

    fn record(&mut self) -> Result<bool> {
        let there = self.records.next(&format!("row {}", self.at + 1))?;
        self.at += u64::from(there);
        Ok(there)
    }

    /// The wanted cells of the record, or why it is not valid.
    fn row(&self) -> Result<Vec<&str>, String> {
        let found = self.records.width();
        if found != self.width {
            return Err(format!("it has {found} fields, and the first line has {}", self.width));
        }
        let cell = |&place: &usize| std::str::from_utf8(self.records.field(place)).ok();
        self.wanted.iter().map(cell).collect::<Option<_>>().ok_or_else(|| "it is not in UTF-8".to_owned())
    }
}

/// Records one after another, none of them larger than the limit.
struct Records {
    reader: Reader,
    source: Cursor,
    size: u64,
    input: Vec<u8>,
    /// What is left of the input.
    from: usize,
    to: usize,
    ended: bool,
    taken: u64,
    /// The record's fields, one behind the other, and where each ends.
    output: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
}

impl Records {
    fn new(source: Arc<dyn Source>) -> Self {
        Self {
            reader: Reader::new(),
            size: source.size(),
            source: Cursor::new(source),
            input: vec![0; CHUNK],
            from: 0,
            to: 0,
            ended: false,
            taken: 0,
            output: vec![0; 4 << 10],
            ends: vec![0; 64],
            fields: 0,
        }
    }

    /// Goes on to the next record; whether there is one.
    fn next(&mut self, what: &str) -> Result<bool> {
        let (mut written, mut fields) = (0, 0);
        loop {
            if self.from == self.to && !self.ended {
                self.from = 0;
                self.to = self.source.read(&mut self.input).map_err(|e| self.source.fault(e))?;
                self.taken += self.to as u64;
                self.ended = self.to == 0;
            }
            let input = self.input.get(self.from..self.to).unwrap_or_default();
            let output = self.output.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(fields..).unwrap_or_default();
            let (result, read, wrote, ended) = self.reader.read_record(input, output, ends);
            self.from += read;
            written += wrote;
            fields += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => grow(&mut self.output, limits::RECORD).ok_or_else(|| {
                    invalid(format!("{what} of the CSV file is longer than {} MiB", limits::RECORD >> 20))
                })?,
                ReadRecordResult::OutputEndsFull => grow(&mut self.ends, limits::COLUMNS).ok_or_else(|| {
                    invalid(format!("{what} of the CSV file has more than {} fields", limits::COLUMNS))
                })?,
                ReadRecordResult::Record => {
                    self.fields = fields;
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    fn width(&self) -> usize {
        self.fields
    }

    /// Bytes of the record.
    fn length(&self) -> usize {
        self.fields.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or_default()
    }

    fn field(&self, place: usize) -> &[u8] {
        let start = place.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        let end = self.ends.get(place).copied().unwrap_or_default();
        self.output.get(start..end).unwrap_or_default()
    }

    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.fields).map(|place| self.field(place))
    }

    /// Bytes read, and all.
    fn place(&self) -> (u64, u64) {
        (self.taken - (self.to - self.from) as u64, self.size)
    }
}

/// Doubles a buffer, up to `most`.
fn grow<T: Clone + Default>(buffer: &mut Vec<T>, most: usize) -> Option<()> {
    let length = buffer.len();
    if length >= most {
        return None;
    }
    buffer.resize((2 * length).min(most), T::default());
    Some(())
}
