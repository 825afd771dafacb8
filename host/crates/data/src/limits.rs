//! What a file may make the node keep in memory. Every number says why.

/// Bytes of one record of CSV or NDJSON: an image in base64 fits, a file without line ends does not.
pub const RECORD: usize = 16 << 20;

/// Bytes of the rows that are read, computed or written at once, as they stand in memory: as much as an inference
/// request may have.
pub const BATCH: usize = 64 << 20;

/// Columns of a file: wide tables have thousands.
pub const COLUMNS: usize = 10_000;

/// Rows of NDJSON that say which columns there are.
pub const SAMPLE_ROWS: usize = 1_000;

/// Bytes of them.
pub const SAMPLE_BYTES: usize = 4 << 20;

/// Bytes of a page of Parquet when it is unpacked: writers end one at about 1 MiB.
pub const PAGE: usize = 64 << 20;

/// Bytes of Parquet's footer: a thousand columns in a hundred row groups have 10 MiB.
pub const FOOTER: usize = 16 << 20;

/// Bytes of the pages that are unpacked at once, of all columns.
pub const PAGES: usize = 256 << 20;

/// Bytes of memory of a process that reads: the pages, what they become, and what the program itself takes.
pub const READER: u64 = 768 << 20;

/// Bytes of a piece of a result before it is made durable: two of them are in memory at a time.
pub const PART: usize = 16 << 20;
