//! The limits that stand unless a configuration says otherwise. Every number says why.

use std::time::Duration;

/// What one invocation of a guest may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvocationLimits {
    /// Wall time from the call to the last byte of the answer.
    pub deadline: Duration,
    /// Bytes of all linear memories of the instance together.
    pub memory: usize,
    /// Elements of all tables of the instance together.
    pub table_elements: usize,
    /// Bytes of the answer.
    pub output: usize,
    /// Bytes that a single call from the guest to the host may carry.
    pub host_call: usize,
    /// Resources (handles) that the guest may hold at once.
    pub resources: usize,
    /// Log lines; further ones are counted and dropped.
    pub log_lines: usize,
    /// Requests that it may send out.
    pub outgoing_requests: u32,
    /// Bytes of the bodies of those and of their answers together.
    pub outgoing_bytes: u64,
    /// Whether it may change its key-value data.
    pub writes: bool,
}

impl Default for InvocationLimits {
    fn default() -> Self {
        Self {
            // Long enough for a large model on a CPU; a tenant may ask for less.
            deadline: Duration::from_secs(30),
            // What a Python guest needs; a Rust one uses a few MiB.
            memory: 256 << 20,
            // A Rust guest uses hundreds, a Python one tens of thousands.
            table_elements: 100_000,
            // A batch of images, or half a minute of audio.
            output: 64 << 20,
            host_call: 64 << 20,
            // A guest holds tens; a leak is stopped long before it costs memory.
            resources: 10_000,
            log_lines: 1_000,
            // An orchestration of other services; a scan of a network takes more.
            outgoing_requests: 50,
            outgoing_bytes: 64 << 20,
            writes: true,
        }
    }
}

/// The largest component that may be uploaded: a Python guest is 18 MB.
pub const MAX_COMPONENT: u64 = 64 << 20;

/// The largest model that may be uploaded: ONNX's own limit for a file is 2 GiB (protobuf).
pub const MAX_MODEL: u64 = 2 << 30;

/// The largest data file, an upload or a job's result: hundreds of millions of rows of a few numbers.
pub const MAX_DATA_FILE: u64 = 16 << 30;

/// The largest JSON body of the management API.
pub const MAX_JSON: usize = 1 << 20;

/// The largest body of an inference request.
pub const MAX_INFER_BODY: usize = 64 << 20;

/// The largest body of a function's request.
pub const MAX_FUNCTION_BODY: usize = 64 << 20;

/// The header that says how many guests' calls a request stands below: set by whoever sends a guest's requests.
pub const CALL_DEPTH: &str = "aimass-call-depth";

/// Guests below one another: a pipeline has three or four, a loop has no end.
pub const MAX_CALL_DEPTH: u32 = 8;

/// Aliases of one plugin or model: a call's way to its version looks at all of them when it is not in memory.
pub const MAX_ALIASES: usize = 100;

/// Versions that an alias may split its calls among.
pub const MAX_SPLIT: usize = 16;

/// The largest weight of a version in a split.
pub const MAX_WEIGHT: u32 = 1_000_000;
