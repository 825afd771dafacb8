//! Parquet: a piece is a file of one row group, and the file has the row groups of all pieces, as they are.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use aimass_core::Result;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::internal;

pub(super) struct Writer(ArrowWriter<Vec<u8>>);

/// What every reader of Parquet unpacks, and packs fast.
fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("aimass".to_owned())
        .set_max_row_group_row_count(None)
        .build()
}

impl Writer {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self> {
        // Readers go by the types of Parquet: what is a view of a text here is a text there.
        let options = ArrowWriterOptions::new().with_properties(properties()).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options);
        writer.map(Self).map_err(|e| crate::invalid(format!("the result cannot be written as Parquet: {e}")))
    }

    pub(super) fn write(&mut self, records: &RecordBatch) -> Result<()> {
        self.0.write(records).map_err(internal)
    }

    pub(super) fn size(&self) -> usize {
        self.0.in_progress_size()
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        self.0.into_inner().map_err(internal)
    }
}

/// Where the file's bytes gather until they are taken.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) struct Joiner {
    sink: Sink,
    /// Once there is a piece, which says the schema.
    writer: Option<SerializedFileWriter<Sink>>,
}

impl Joiner {
    pub(super) fn new() -> Self {
        Self { sink: Sink::default(), writer: None }
    }

    pub(super) fn add(&mut self, part: Bytes) -> Result<Vec<u8>> {
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = reader.parse_and_finish(&part).map_err(internal)?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let schema = metadata.file_metadata().schema_descr().root_schema_ptr();
                let writer = SerializedFileWriter::new(self.sink.clone(), schema, Arc::new(properties()));
                none.insert(writer.map_err(internal)?)
            }
        };
        let index = metadata.page_index();
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let mut out = writer.next_row_group().map_err(internal)?;
            for (place, column) in group.columns().iter().enumerate() {
                let closed = ColumnCloseResult {
                    bytes_written: column.compressed_size().unsigned_abs(),
                    rows_written: group.num_rows().unsigned_abs(),
                    metadata: column.clone(),
                    bloom_filter: None,
                    column_index: index.and_then(|index| index.column_index(number, place)).cloned(),
                    offset_index: index.and_then(|index| index.offset_index(number, place)).cloned(),
                };
                out.append_column(&part, closed).map_err(internal)?;
            }
            out.close().map_err(internal)?;
        }
        Ok(self.sink.take())
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        let Some(writer) = self.writer else { return Ok(vec![]) };
        writer.into_inner().map_err(internal)?;
        Ok(self.sink.take())
    }
}
