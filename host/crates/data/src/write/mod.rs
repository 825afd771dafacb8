//! Rows as files, piece by piece: a piece depends on its rows alone, and a file on its pieces, so that what is written
//! again after a crash comes out the same.

mod parquet;
mod text;

use aimass_core::data::Format;
use aimass_core::{Fault, Result};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_schema::{DataType, SchemaRef};
use bytes::Bytes;

use crate::{invalid, limits};

/// A piece of a file on its way.
pub struct PartWriter {
    kind: Kind,
    rows: u64,
}

enum Kind {
    Parquet(Box<parquet::Writer>),
    Text(text::Writer),
}

impl PartWriter {
    /// Begins a piece of rows with these columns; the first one of a file may begin in another way.
    ///
    /// # Errors
    /// `invalid_data` for a column that the format has no place for.
    pub fn new(format: Format, schema: &SchemaRef, first: bool) -> Result<Self> {
        let kind = match format {
            Format::Parquet => Kind::Parquet(Box::new(parquet::Writer::new(schema)?)),
            Format::Csv => Kind::Text(text::Writer::csv(schema, first)?),
            Format::Ndjson => Kind::Text(text::Writer::ndjson(schema)?),
        };
        Ok(Self { kind, rows: 0 })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// `invalid_data` if they are more than can be in memory at once.
    pub fn write(&mut self, records: &RecordBatch) -> Result<()> {
        if spread(records) > limits::BATCH {
            let detail = format!(
                "{} rows of the result are more than {} MiB: keep fewer columns, or take fewer rows at once",
                records.num_rows(),
                limits::BATCH >> 20
            );
            return Err(invalid(detail));
        }
        self.rows += records.num_rows() as u64;
        match &mut self.kind {
            Kind::Parquet(writer) => writer.write(records),
            Kind::Text(writer) => {
                writer.write(records);
                Ok(())
            }
        }
    }

    /// Whether the piece is so large that it should end.
    pub fn is_full(&self) -> bool {
        let bytes = match &self.kind {
            Kind::Parquet(writer) => writer.size(),
            Kind::Text(writer) => writer.size(),
        };
        bytes >= limits::PART
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the piece.
    ///
    /// # Errors
    /// `internal`.
    pub fn finish(self) -> Result<Vec<u8>> {
        match self.kind {
            Kind::Parquet(writer) => writer.finish(),
            Kind::Text(writer) => Ok(writer.finish()),
        }
    }
}

/// Puts the pieces of a file together.
pub struct Joiner(Option<parquet::Joiner>);

impl Joiner {
    /// Begins a file.
    pub fn new(format: Format) -> Self {
        Self((format == Format::Parquet).then(parquet::Joiner::new))
    }

    /// Takes the next piece; returns the next bytes of the file.
    ///
    /// # Errors
    /// `internal`.
    pub fn add(&mut self, part: Bytes) -> Result<Bytes> {
        match &mut self.0 {
            Some(joiner) => joiner.add(part).map(Bytes::from),
            None => Ok(part),
        }
    }

    /// The last bytes of the file.
    ///
    /// # Errors
    /// `internal`.
    pub fn finish(self) -> Result<Bytes> {
        self.0.map_or(Ok(Bytes::new()), |joiner| joiner.finish().map(Bytes::from))
    }
}

/// Bytes of the text in some rows: a view of a text is short, however long the text.
pub(crate) fn spread(records: &RecordBatch) -> usize {
    let of = |column: &arrow_array::ArrayRef| -> usize {
        match column.data_type() {
            DataType::Utf8View => column.as_string_view().lengths().map(|length| length as usize).sum(),
            DataType::BinaryView => column.as_binary_view().lengths().map(|length| length as usize).sum(),
            DataType::List(item) if matches!(item.data_type(), DataType::Utf8View) => {
                let lists = column.as_list::<i32>();
                let used = lists.iter().flatten();
                used.map(|values| values.as_string_view().lengths().map(|length| length as usize).sum::<usize>()).sum()
            }
            _ => 0,
        }
    };
    records.columns().iter().map(of).fold(0, usize::saturating_add)
}

fn internal(error: impl std::fmt::Display) -> Fault {
    Fault::internal(error)
}
