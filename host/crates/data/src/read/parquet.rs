//! Parquet.

use std::collections::VecDeque;
use std::sync::Arc;

use aimass_core::Result;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::reader::{ChunkReader, Length};

use super::{Batch, ReadOptions, pages};
use crate::source::Chunks;
use crate::{Source, invalid, limits};

pub(super) struct Parquet {
    chunks: Chunks,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    schema: SchemaRef,
    batch: usize,
    /// Row groups that are still to be read, and rows to pass over in the first of them.
    groups: VecDeque<usize>,
    skip: usize,
    reader: Option<ParquetRecordBatchReader>,
    total: u64,
    /// The next row's number.
    at: u64,
}

impl Parquet {
    pub(super) fn open(source: Arc<dyn Source>, options: &ReadOptions) -> Result<Self> {
        let chunks = Chunks::new(source);
        check_footer(&chunks)?;
        // Without the Arrow schema that some writers add: it says nothing that the types of Parquet do not say as well
        // as is needed here, and is one more thing to be wrong.
        let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&chunks, plain).map_err(|e| chunks.fault(e))?;
        let fields = metadata.schema().fields();
        if fields.len() > limits::COLUMNS {
            return Err(invalid(format!("the Parquet file has more than {} columns", limits::COLUMNS)));
        }
        // Text as views of the page that it came in: a value that a dictionary holds once is in memory once, however
        // many rows have it.
        let views: Vec<FieldRef> = fields.iter().map(|field| Arc::new(viewed(field))).collect();
        let options_with_views = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(views)));
        let metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options_with_views)
            .map_err(|e| chunks.fault(e))?;
        let wanted: Vec<usize> = (metadata.schema().fields().iter().enumerate())
            .filter(|(_, field)| options.wants(field.name()))
            .map(|(place, _)| place)
            .collect();
        let schema = metadata.schema().project(&wanted).map_err(|e| chunks.fault(e))?;
        let mask = ProjectionMask::roots(metadata.parquet_schema(), wanted);
        let sizes = metadata.metadata().row_groups().iter().map(|group| u64::try_from(group.num_rows()).ok());
        let sizes: Vec<u64> = sizes
            .collect::<Option<_>>()
            .ok_or_else(|| invalid("the Parquet file has a row group of less than no rows"))?;
        let total = sizes.iter().try_fold(0u64, |sum, rows| sum.checked_add(*rows));
        let total = total.ok_or_else(|| invalid("the Parquet file says that it has more rows than can be"))?;
        let (mut groups, mut skip): (VecDeque<_>, _) = ((0..sizes.len()).collect(), options.skip.min(total));
        while let Some(rows) = groups.front().and_then(|group| sizes.get(*group)).filter(|rows| **rows <= skip) {
            skip -= rows;
            groups.pop_front();
        }
        let skip = usize::try_from(skip).map_err(aimass_core::Fault::internal)?;
        let (batch, at) = (options.batch.max(1), options.skip.min(total));
        Ok(Self { chunks, metadata, mask, schema: Arc::new(schema), batch, groups, skip, reader: None, total, at })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            if let Some(reader) = &mut self.reader {
                match reader.next() {
                    Some(Ok(records)) if records.num_rows() == 0 => continue,
                    Some(Ok(records)) => {
                        let first = self.at;
                        self.at += records.num_rows() as u64;
                        return Ok(Some(Batch { first, records, bad: vec![] }));
                    }
                    Some(Err(e)) => return Err(self.chunks.fault(e)),
                    None => self.reader = None,
                }
            }
            // One row group after another, so that where batches end does not depend on where reading began.
            let Some(group) = self.groups.pop_front() else {
                if self.at != self.total {
                    return Err(invalid(format!(
                        "the Parquet file says that it has {} rows, and has {}",
                        self.total, self.at
                    )));
                }
                return Ok(None);
            };
            pages::check(&self.chunks, self.metadata.metadata().row_group(group), &self.mask)?;
            let builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(self.chunks.clone(), self.metadata.clone())
                    .with_projection(self.mask.clone())
                    .with_row_groups(vec![group])
                    .with_batch_size(self.batch)
                    .with_offset(std::mem::take(&mut self.skip));
            self.reader = Some(builder.build().map_err(|e| self.chunks.fault(e))?);
        }
    }
}

/// The directory of a file says how long it is in front of the last four bytes; in memory it is many times that.
fn check_footer(chunks: &Chunks) -> Result<()> {
    let short = || invalid("the Parquet file is not valid: it is too short");
    let at = chunks.len().checked_sub(8).ok_or_else(short)?;
    let end = chunks.get_bytes(at, 8).map_err(|e| chunks.fault(e))?;
    let (length, magic) = end.split_first_chunk::<4>().ok_or_else(short)?;
    if magic != b"PAR1" {
        return Err(invalid("the Parquet file is not valid: it does not end as one does"));
    }
    let length = u32::from_le_bytes(*length);
    if length as usize > limits::FOOTER {
        let detail = format!(
            "the Parquet file has a footer of {length} bytes: at most {} MiB can be read",
            limits::FOOTER >> 20
        );
        return Err(invalid(detail));
    }
    Ok(())
}

/// The field with text and bytes as views.
fn viewed(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::List(item) => DataType::List(Arc::new(viewed(item))),
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}
