//! Jobs: work over data files that takes longer than a request.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::{FileName, Format};
use crate::{Digest, Name};

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobWork {
    /// Inference over every row of a file.
    Batch(BatchWork),
}

/// Batch inference: everything that decides the result is fixed when the job is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchWork {
    /// The model or plugin.
    pub target: Name,
    /// Which version of it.
    pub version: u64,
    /// The number of the configuration that a plugin runs with; the newest for models and in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<u64>,
    /// The file with the rows.
    pub input: FileName,
    /// What it held then.
    pub input_digest: Digest,
    /// Bytes of it.
    pub input_size: u64,
    /// How to read it.
    pub input_format: Format,
    /// The file that the result becomes.
    pub output: FileName,
    /// How to write it.
    pub output_format: Format,
    /// Which columns make up an input; an input that is not named is the column of its name.
    #[serde(default)]
    pub columns: BTreeMap<String, Vec<String>>,
    /// The columns that stand in the result beside the outputs; all for none.
    #[serde(default)]
    pub keep: Option<Vec<String>>,
    /// Rows of one call.
    pub batch_size: u32,
    /// Rows of a piece of the result.
    pub checkpoint_rows: u32,
    /// What to do about a row that cannot be computed.
    pub on_error: OnError,
}

/// What to do about a row that cannot be computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// End the job.
    #[default]
    Fail,
    /// Leave the row out.
    Skip,
    /// Keep the row, with nulls for its outputs.
    Null,
}

/// A piece of a job's result that is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPart {
    /// The rows of the input that are done with it, from the first one on.
    pub rows: u64,
    /// Its bytes.
    pub digest: Digest,
    /// How many.
    pub size: u64,
}

/// A row that could not be computed. It says why, and nothing of what was in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowError {
    /// Its number, from 1.
    pub row: u64,
    /// Why.
    pub detail: String,
}

/// Rows that could not be computed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowErrors {
    /// How many.
    pub count: u64,
    /// The first ones.
    pub first: Vec<RowError>,
}

/// Rows that are named; the others are counted.
pub const NAMED_ROWS: usize = 20;

impl RowErrors {
    /// Takes note of one.
    pub fn add(&mut self, row: u64, detail: impl Into<String>) {
        self.count += 1;
        if self.first.len() < NAMED_ROWS {
            self.first.push(RowError { row, detail: detail.into() });
        }
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JobOutcome {
    /// The result is there.
    Done {
        /// Rows of the input.
        rows: u64,
        /// The result's bytes.
        digest: Digest,
        /// How many.
        size: u64,
    },
    /// It could not go on.
    Failed {
        /// The fault's code.
        code: String,
        /// Its sentence for the caller.
        detail: String,
    },
    /// Somebody ended it.
    Cancelled,
}

/// A data file has new content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStored {
    /// Whose.
    pub tenant: Name,
    /// Under which name.
    pub name: FileName,
    /// The bytes.
    pub digest: Digest,
    /// How many.
    pub size: u64,
}

/// A data file was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDeleted {
    /// Whose.
    pub tenant: Name,
    /// Which.
    pub name: FileName,
}

/// A job was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCreated {
    /// Whose.
    pub tenant: Name,
    /// Its id: that of the request which brought it.
    pub id: String,
    /// What it does.
    pub work: JobWork,
}

/// A piece of a job's result is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobAdvanced {
    /// Whose.
    pub tenant: Name,
    /// Which job.
    pub id: String,
    /// The piece.
    pub part: JobPart,
    /// Rows that could not be computed, from the first one on.
    #[serde(default)]
    pub errors: RowErrors,
}

/// A job begins again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRestarted {
    /// Whose.
    pub tenant: Name,
    /// Which job.
    pub id: String,
}

/// A job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEnded {
    /// Whose.
    pub tenant: Name,
    /// Which job.
    pub id: String,
    /// How.
    pub outcome: JobOutcome,
    /// Rows that could not be computed.
    #[serde(default)]
    pub errors: RowErrors,
}
