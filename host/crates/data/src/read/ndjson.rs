//! NDJSON: one object a line. The first rows say which columns there are, and of which types.

use std::collections::VecDeque;
use std::sync::Arc;

use aimass_core::{Fault, Result};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use serde_json::{Map, Value};

use super::json_columns::{Column, Kind};
use super::lines::Lines;
use super::{Batch, ReadOptions};
use crate::{Source, invalid, limits};

/// A row, or why it is not valid.
type Row = Result<Map<String, Value>, String>;

pub(super) struct Ndjson {
    lines: Lines,
    /// Rows that were read ahead, each with its bytes.
    ahead: VecDeque<(Row, usize)>,
    columns: Vec<(String, Kind)>,
    schema: SchemaRef,
    batch: usize,
    /// The next row's number.
    at: u64,
}

impl Ndjson {
    pub(super) fn open(source: Arc<dyn Source>, options: &ReadOptions) -> Result<Self> {
        let mut lines = Lines::new(source);
        let (mut ahead, mut bytes) = (VecDeque::new(), 0);
        let mut columns: Vec<(String, Kind)> = vec![];
        while ahead.len() < limits::SAMPLE_ROWS && bytes < limits::SAMPLE_BYTES {
            let Some((row, length)) = parsed(&mut lines)? else { break };
            bytes += length;
            for (name, value) in row.iter().flatten() {
                let room = columns.len() < limits::COLUMNS;
                match columns.iter_mut().find(|(known, _)| known == name) {
                    Some((_, kind)) => *kind = kind.with(value),
                    None if room => columns.push((name.clone(), Kind::of(value))),
                    None => return Err(invalid(format!("the NDJSON file has more than {} columns", limits::COLUMNS))),
                }
            }
            ahead.push_back((row, length));
        }
        columns.retain(|(name, _)| options.wants(name));
        let fields: Vec<_> = columns.iter().map(|(name, kind)| kind.field(name)).collect();
        let schema = Arc::new(Schema::new(fields));
        let mut file = Self { lines, ahead, columns, schema, batch: options.batch.max(1), at: 0 };
        while file.at < options.skip && file.row()?.is_some() {}
        Ok(file)
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub(super) fn place(&self) -> (u64, u64) {
        let (read, all) = self.lines.place();
        let ahead: usize = self.ahead.iter().map(|(_, length)| length).sum();
        (read.saturating_sub(ahead as u64), all)
    }

    pub(super) fn next(&mut self) -> Result<Option<Batch>> {
        let first = self.at;
        let mut columns: Vec<Column> = self.columns.iter().map(|(_, kind)| Column::new(*kind)).collect();
        let (mut bad, mut rows, mut bytes) = (vec![], 0, 0);
        while rows < self.batch && bytes < limits::RECORD {
            let Some((row, length)) = self.row()? else { break };
            bytes += length;
            let taken = row.and_then(|row: Map<String, Value>| {
                // All or nothing: a column may not be longer than another.
                let fits = |((name, _), column): (&(String, Kind), &Column)| match row.get(name) {
                    Some(value) if !column.takes(value) => Err(format!("column `{name}` is not {}", column.kind())),
                    _ => Ok(()),
                };
                self.columns.iter().zip(&columns).try_for_each(fits).map(|()| row)
            });
            let row = taken.unwrap_or_else(|why| {
                bad.push((rows, why));
                Map::new()
            });
            for ((name, _), column) in self.columns.iter().zip(&mut columns) {
                column.push(row.get(name).unwrap_or(&Value::Null));
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> = columns.into_iter().map(Column::finish).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let records =
            RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(Fault::internal)?;
        Ok(Some(Batch { first, records, bad }))
    }

    fn row(&mut self) -> Result<Option<(Row, usize)>> {
        let row = match self.ahead.pop_front() {
            Some(row) => Some(row),
            None => parsed(&mut self.lines)?,
        };
        self.at += u64::from(row.is_some());
        Ok(row)
    }
}

/// The next line as a row, with its length.
fn parsed(lines: &mut Lines) -> Result<Option<(Row, usize)>> {
    let Some(line) = lines.next()? else { return Ok(None) };
    let row = match serde_json::from_slice::<Value>(line) {
        Ok(Value::Object(row)) => Ok(row),
        Ok(_) => Err("it is no JSON object".to_owned()),
        // Where, and not what: that would quote the row.
        Err(e) => Err(format!("it is no JSON, at its byte {}", e.column())),
    };
    Ok(Some((row, line.len() + 1)))
}
