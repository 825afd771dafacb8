//! Files as batches of rows.

mod csv;
mod json_columns;
mod lines;
mod ndjson;
mod pages;
mod parquet;

use std::sync::Arc;

use aimass_core::Result;
use aimass_core::data::Format;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::Source;

/// How a file is read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadOptions {
    /// What it is.
    pub format: Format,
    /// The columns that are read; all for none. A name that is not there is none.
    pub columns: Option<Vec<String>>,
    /// Rows of a batch.
    pub batch: usize,
    /// Rows that are passed over.
    pub skip: u64,
}

impl ReadOptions {
    /// All of a file, a thousand rows at a time.
    pub fn new(format: Format) -> Self {
        Self { format, columns: None, batch: 1024, skip: 0 }
    }

    fn wants(&self, name: &str) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns.iter().any(|column| column == name))
    }
}

/// Some rows of a file.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The number of the first one, from 0.
    pub first: u64,
    /// The rows.
    pub records: RecordBatch,
    /// Which of them, from 0, are not valid, and why; their columns are null.
    pub bad: Vec<(usize, String)>,
}

/// The rows of a file, batch by batch. Where batches end depends on the file and on where reading began, on nothing
/// else.
pub struct Rows {
    kind: Kind,
}

enum Kind {
    Parquet(parquet::Parquet),
    Csv(csv::Csv),
    Ndjson(ndjson::Ndjson),
}

impl Rows {
    /// Opens a file. Reads as much of it as says which columns there are.
    ///
    /// # Errors
    /// `invalid_data`, with what is wrong with it; what the source says.
    pub fn open(source: Arc<dyn Source>, options: &ReadOptions) -> Result<Self> {
        let kind = match options.format {
            Format::Parquet => Kind::Parquet(guarded(|| parquet::Parquet::open(source, options))?),
            Format::Csv => Kind::Csv(csv::Csv::open(source, options)?),
            Format::Ndjson => Kind::Ndjson(ndjson::Ndjson::open(source, options)?),
        };
        Ok(Self { kind })
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        match &self.kind {
            Kind::Parquet(file) => file.schema(),
            Kind::Csv(file) => file.schema(),
            Kind::Ndjson(file) => file.schema(),
        }
    }

    /// How many rows the whole file has, where it says so.
    pub fn total(&self) -> Option<u64> {
        match &self.kind {
            Kind::Parquet(file) => Some(file.total()),
            Kind::Csv(_) | Kind::Ndjson(_) => None,
        }
    }

    /// Bytes of the file that were read so far, and all of them, where that says how far it is.
    pub fn place(&self) -> Option<(u64, u64)> {
        match &self.kind {
            Kind::Parquet(_) => None,
            Kind::Csv(file) => Some(file.place()),
            Kind::Ndjson(file) => Some(file.place()),
        }
    }

    /// The next rows; none behind the last ones.
    ///
    /// # Errors
    /// `invalid_data` where the file cannot be read on; what the source says.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Batch>> {
        match &mut self.kind {
            Kind::Parquet(file) => guarded(|| file.next()),
            Kind::Csv(file) => file.next(),
            Kind::Ndjson(file) => file.next(),
        }
    }
}

/// The library has asserts that a file can break.
fn guarded<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(crate::invalid("the Parquet file is not valid: it breaks its reader")))
}
