//! Rows as inputs of a model.

use std::ops::Range;

use aimass_core::{Result, Tensor};
use arrow_array::{Array, RecordBatch};
use bytes::{Bytes, BytesMut};

use crate::cells::{Cell, cell, put};
use crate::plan::{Input, Plan, printable};
use crate::{Batch, invalid, limits};

/// The rows of a batch that can be computed, ready to be.
#[derive(Debug)]
pub struct Prepared {
    joined: bool,
    ports: Vec<Values>,
    /// Which rows of the batch they are.
    pub(crate) rows: Vec<usize>,
    /// The other rows, and why not.
    pub(crate) bad: Vec<(usize, String)>,
}

/// The values of one input, row after row.
#[derive(Debug)]
struct Values {
    input: Input,
    data: Bytes,
    /// Where each row's bytes end.
    ends: Vec<usize>,
    /// How many elements each row has.
    counts: Vec<usize>,
}

impl Plan {
    /// Turns a batch's rows into inputs.
    ///
    /// # Errors
    /// `invalid_data` if they are more than can be computed at once. A row that is not valid is no error: it is
    /// noted.
    pub fn prepare(&self, batch: &Batch) -> Result<Prepared> {
        let records = &batch.records;
        let mut bad: Vec<Option<String>> = vec![None; records.num_rows()];
        for (row, why) in &batch.bad {
            if let Some(bad) = bad.get_mut(*row) {
                *bad = Some(why.clone());
            }
        }
        let mut ports = vec![];
        for input in &self.inputs {
            let (mut data, mut sizes) = (BytesMut::new(), vec![]);
            for (row, bad) in bad.iter_mut().enumerate() {
                let before = data.len();
                let taken = if bad.is_some() { Ok(0) } else { take(records, input, row, &mut data) };
                let count = taken.unwrap_or_else(|why| {
                    data.truncate(before);
                    *bad = Some(why);
                    0
                });
                sizes.push((data.len() - before, count));
                if data.len() > limits::BATCH {
                    let detail =
                        format!("{} rows are more than {} MiB: take fewer at once", row + 1, limits::BATCH >> 20);
                    return Err(invalid(detail));
                }
            }
            ports.push((input, data, sizes));
        }
        let rows: Vec<usize> = (0..bad.len()).filter(|row| bad.get(*row).is_some_and(Option::is_none)).collect();
        let ports = ports.into_iter().map(|(input, data, sizes)| pack(input, &data, &sizes, &bad)).collect();
        let bad = bad.into_iter().enumerate().filter_map(|(row, why)| Some((row, why?))).collect();
        Ok(Prepared { joined: self.joined, ports, rows, bad })
    }
}

/// Leaves out the bytes of rows that turned out not to be valid in another input.
fn pack(input: &Input, data: &[u8], sizes: &[(usize, usize)], bad: &[Option<String>]) -> Values {
    let (mut packed, mut ends, mut counts, mut at) = (BytesMut::with_capacity(data.len()), vec![], vec![], 0);
    for ((size, count), bad) in sizes.iter().zip(bad) {
        if bad.is_none() {
            packed.extend_from_slice(data.get(at..at + size).unwrap_or_default());
            ends.push(packed.len());
            counts.push(*count);
        }
        at += size;
    }
    Values { input: input.clone(), data: packed.freeze(), ends, counts }
}

/// Appends a row's values; how many there are.
fn take(records: &RecordBatch, input: &Input, row: usize, out: &mut BytesMut) -> Result<usize, String> {
    let mut count = 0;
    for &column in &input.columns {
        let array = records.column(column);
        let why = |what: &str| {
            let schema = records.schema_ref();
            let name = schema.fields().get(column).map_or("", |field| field.name().as_str());
            format!("column `{}` {what}", printable(name))
        };
        match cell(array, row) {
            Cell::List(values) => {
                for item in 0..values.len() {
                    put(&cell(&values, item), input.element, out)
                        .map_err(|what| why(&format!("has a value that {what}")))?;
                }
                count += values.len();
            }
            one => {
                put(&one, input.element, out).map_err(why)?;
                count += 1;
            }
        }
    }
    // Whether they fit is known here, so that one row's fault does not become a whole call's.
    shaped(&input.shape, count).map(|_| count).ok_or_else(|| {
        format!("it has {count} values for the input `{}`, which takes {:?} a row", printable(&input.name), input.shape)
    })
}

/// The shape of one row of so many values.
fn shaped(shape: &[i64], count: usize) -> Option<Vec<u64>> {
    let fixed = shape.iter().filter(|d| **d >= 0).try_fold(1u64, |product, d| product.checked_mul(*d as u64))?;
    let count = count as u64;
    let free = if shape.iter().any(|d| *d < 0) {
        (fixed > 0 && count.is_multiple_of(fixed)).then(|| count / fixed)?
    } else {
        (fixed == count).then_some(1)?
    };
    Some(shape.iter().map(|d| u64::try_from(*d).unwrap_or(free)).collect())
}

impl Prepared {
    /// Which of the rows can be computed in one call: those next to one another of the same shape, or each by itself.
    pub fn calls(&self) -> Vec<Range<usize>> {
        let mut calls: Vec<Range<usize>> = vec![];
        for row in 0..self.rows.len() {
            let same = |a: usize| self.ports.iter().all(|port| port.counts.get(a) == port.counts.get(row));
            match calls.last_mut() {
                Some(call) if self.joined && same(call.start) => call.end = row + 1,
                _ => calls.push(row..row + 1),
            }
        }
        calls
    }

    /// The inputs of some of the rows that can be computed in one call.
    ///
    /// # Errors
    /// `invalid_tensor`, which does not happen for what [`calls`](Self::calls) says.
    pub fn tensors(&self, rows: &Range<usize>) -> Result<Vec<Tensor>> {
        let tensor = |port: &Values| {
            let end = |row: usize| port.ends.get(row).copied().unwrap_or_default();
            let start = rows.start.checked_sub(1).map_or(0, end);
            let data = port.data.slice(start..end(rows.end.saturating_sub(1)).max(start));
            let count = port.counts.get(rows.start).copied().unwrap_or_default();
            let mut shape = shaped(&port.input.shape, count).unwrap_or_default();
            if self.joined {
                shape.insert(0, rows.len() as u64);
            }
            Tensor::new(port.input.name.clone(), port.input.element, shape, data)
        };
        self.ports.iter().map(tensor).collect()
    }
}
