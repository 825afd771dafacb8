//! What a model says of rows, as columns beside theirs.

use std::ops::Range;
use std::sync::Arc;

use aimass_core::tensor::Element;
use aimass_core::{ElementType, Fault, Result, Tensor};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    ListArray, RecordBatch, RecordBatchOptions, StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
    new_empty_array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::Field;
use arrow_select::concat::concat;
use arrow_select::take::take;
use half::{bf16, f16};

use crate::plan::{Output, Plan, printable};
use crate::{Batch, Prepared, invalid};

/// The answers of a batch's calls, in the order of their rows.
#[derive(Debug)]
pub struct Answers {
    /// For every output the answers of each call.
    columns: Vec<Vec<ArrayRef>>,
    /// The rows that were computed.
    rows: Vec<usize>,
    bad: Vec<(usize, String)>,
}

impl Answers {
    /// For the rows of a batch; those that cannot be computed are noted already.
    pub fn new(plan: &Plan, prepared: &Prepared) -> Self {
        Self { columns: plan.outputs.iter().map(|_| vec![]).collect(), rows: vec![], bad: prepared.bad.clone() }
    }

    /// Takes the answer of a call for these rows, which are behind those of the calls before.
    pub fn add(&mut self, prepared: &Prepared, call: &Range<usize>, answer: Answer) {
        self.columns.iter_mut().zip(answer.0).for_each(|(column, array)| column.push(array));
        self.rows.extend_from_slice(prepared.rows.get(call.clone()).unwrap_or_default());
    }

    /// Notes that one of the rows could not be computed.
    pub fn failed(&mut self, prepared: &Prepared, row: usize, why: impl Into<String>) {
        self.bad.extend(prepared.rows.get(row).map(|row| (*row, why.into())));
    }

    /// The rows of the batch that could not be computed, in order, and why.
    pub fn bad(&mut self) -> &[(usize, String)] {
        self.bad.sort_by_key(|(row, _)| *row);
        &self.bad
    }

    /// The result: the kept columns and the outputs. Rows that could not be computed are left out, or have nulls.
    ///
    /// # Errors
    /// `internal`.
    pub fn result(&self, plan: &Plan, batch: &Batch, leave_out: bool) -> Result<RecordBatch> {
        let all = batch.records.num_rows();
        let whole = self.rows.len() == all;
        let rows = UInt32Array::from_iter_values(self.rows.iter().map(|row| *row as u32));
        let mut columns: Vec<ArrayRef> = vec![];
        for &kept in &plan.kept {
            let column = batch.records.column(kept);
            columns.push(match whole || !leave_out {
                true => column.clone(),
                false => take(column, &rows, None).map_err(Fault::internal)?,
            });
        }
        // Where in the answers each row of the batch is.
        let mut places: Vec<Option<u32>> = vec![None; all];
        for (place, row) in self.rows.iter().enumerate() {
            if let Some(slot) = places.get_mut(*row) {
                *slot = Some(place as u32);
            }
        }
        let places = UInt32Array::from(places);
        for (output, parts) in plan.outputs.iter().zip(&self.columns) {
            let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
            let answers = match parts.is_empty() {
                true => new_empty_array(&output.data_type()),
                false => concat(&parts).map_err(Fault::internal)?,
            };
            columns.push(match whole || leave_out {
                true => answers,
                false => take(&answers, &places, None).map_err(Fault::internal)?,
            });
        }
        let count = if leave_out { self.rows.len() } else { all };
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(plan.schema(), columns, &options).map_err(Fault::internal)
    }
}

/// What one call says of its rows, as columns.
#[derive(Debug)]
pub struct Answer(Vec<ArrayRef>);

impl Plan {
    /// Makes columns of the outputs of a call for so many rows.
    ///
    /// # Errors
    /// `invalid_data` if they are none for so many rows, or not what the signature says.
    pub fn answer(&self, rows: usize, tensors: &[Tensor]) -> Result<Answer> {
        let columns = self.outputs.iter().map(|output| {
            let tensor = tensors.iter().find(|tensor| tensor.name() == output.name);
            let tensor = tensor.ok_or_else(|| wrong(output, "is missing"))?;
            column(output, tensor, rows, self.joined)
        });
        columns.collect::<Result<_>>().map(Answer)
    }
}

fn wrong(output: &Output, what: &str) -> Fault {
    invalid(format!("the output `{}` {what}", printable(&output.name)))
}

/// An output of some rows.
fn column(output: &Output, tensor: &Tensor, rows: usize, joined: bool) -> Result<ArrayRef> {
    if tensor.element_type() != output.element {
        return Err(wrong(output, &format!("is {}, not {}", tensor.element_type(), output.element)));
    }
    let of_row = if joined {
        match tensor.shape().split_first() {
            Some((&found, rest)) if found == rows as u64 => rest,
            _ => return Err(wrong(output, &format!("has the shape {:?} for {rows} rows", tensor.shape()))),
        }
    } else {
        tensor.shape()
    };
    let count = aimass_core::tensor::element_count(of_row)?;
    let values = values(output, tensor)?;
    if !output.list {
        return if count == 1 { Ok(values) } else { Err(wrong(output, &format!("has {count} values a row, not one"))) };
    }
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let lists = ListArray::try_new(item, OffsetBuffer::from_lengths(vec![count; rows]), values, None);
    Ok(Arc::new(lists.map_err(Fault::internal)?))
}

/// A tensor's elements.
fn values(output: &Output, tensor: &Tensor) -> Result<ArrayRef> {
    fn of<T: Element, A: From<Vec<T>> + arrow_array::Array + 'static>(tensor: &Tensor) -> Result<ArrayRef> {
        Ok(Arc::new(A::from(tensor.elements::<T>()?)))
    }
    let singles = |values: Vec<f32>| -> Result<ArrayRef> { Ok(Arc::new(Float32Array::from(values))) };
    match output.element {
        ElementType::Bool => of::<bool, BooleanArray>(tensor),
        ElementType::Uint8 => of::<u8, UInt8Array>(tensor),
        ElementType::Uint16 => of::<u16, UInt16Array>(tensor),
        ElementType::Uint32 => of::<u32, UInt32Array>(tensor),
        ElementType::Uint64 => of::<u64, UInt64Array>(tensor),
        ElementType::Int8 => of::<i8, Int8Array>(tensor),
        ElementType::Int16 => of::<i16, Int16Array>(tensor),
        ElementType::Int32 => of::<i32, Int32Array>(tensor),
        ElementType::Int64 => of::<i64, Int64Array>(tensor),
        ElementType::Fp32 => of::<f32, Float32Array>(tensor),
        ElementType::Fp64 => of::<f64, Float64Array>(tensor),
        ElementType::Fp16 => singles(tensor.elements::<f16>()?.into_iter().map(f16::to_f32).collect()),
        ElementType::Bf16 => singles(tensor.elements::<bf16>()?.into_iter().map(bf16::to_f32).collect()),
        ElementType::Bytes => {
            let texts = tensor.bytes_elements()?.into_iter().map(std::str::from_utf8);
            let texts: Vec<&str> = texts.collect::<Result<_, _>>().map_err(|_| wrong(output, "is not in UTF-8"))?;
            Ok(Arc::new(StringArray::from(texts)))
        }
    }
}
