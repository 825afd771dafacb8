//! Data files: rows are read in batches, become tensors, and what a model says of them becomes rows again.
//!
//! Memory is bounded by a batch, whatever the file: a record is at most [`limits::RECORD`], a batch of rows at most
//! [`limits::BATCH`]. Parquet is read by its own library; CSV and NDJSON are taken apart here (by `csv-core` and
//! `serde_json`), since a line of a gigabyte must be refused before it is in memory, and a row that is not valid must
//! cost that row alone.
//!
//! ```
//! use std::sync::Arc;
//! use aimass_core::data::Format;
//! use aimass_data::{ReadOptions, Rows};
//!
//! let file = Arc::new(b"id,age\na,31\nb,47\n".to_vec());
//! let mut rows = Rows::open(file, &ReadOptions::new(Format::Csv))?;
//! let batch = rows.next()?.unwrap();
//! assert_eq!((batch.first, batch.records.num_rows(), batch.records.num_columns()), (0, 2, 2));
//! assert!(rows.next()?.is_none());
//! # Ok::<(), aimass_core::Fault>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cells;
mod inputs;
pub mod limits;
mod outputs;
mod plan;
mod process;
mod read;
mod source;
#[cfg(test)]
mod tests;
mod write;

pub use arrow_schema::SchemaRef;
pub use inputs::Prepared;
pub use outputs::{Answer, Answers};
pub use plan::{Mapping, Plan};
pub use process::{News, ReadCommand, read_child, read_in_child};
pub use read::{Batch, ReadOptions, Rows};
pub use source::Source;
pub use write::{Joiner, PartWriter};

use aimass_core::{Code, Fault};

/// The data are not what they are said to be, or not what is needed.
pub(crate) fn invalid(detail: impl Into<String>) -> Fault {
    Fault::new(Code::InvalidData, detail)
}
