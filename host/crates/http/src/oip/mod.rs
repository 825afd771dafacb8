//! Open Inference Protocol v2 over REST: requests and answers as bytes, both ways.
//!
//! Pure functions between bodies and core's tensors; routes and statuses are elsewhere. A tensor's data stands in the
//! JSON (`data`: flat or nested, row-major) or, by the binary-tensor extension, as raw little-endian bytes behind it;
//! [`HEADER_LENGTH`] then says where the JSON ends. Binary data is sliced out of the body, never copied.
//!
//! What JSON cannot hold is refused in JSON, in both directions, with the advice to use binary data: FP16 and BF16
//! (the protocol gives them no JSON form), NaN and infinities (RFC 8259 §6 has none; `null` would make three values
//! one, and bare `NaN`, which some servers write, breaks strict readers), BYTES that are not UTF-8.
//!
//! ```
//! use aimass_core::Tensor;
//! use aimass_http::oip;
//! let body = br#"{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [[1], [2.5]]}]}"#;
//! let request = oip::decode_request(body.as_slice().into(), None)?;
//! assert_eq!(request.inputs, [Tensor::from_elements("x", [2, 1], &[1f32, 2.5])?]);
//!
//! let answer = oip::encode_response(&request, "double", "1", &request.inputs)?;
//! assert_eq!(answer.header_length, None, "nobody asked for binary data");
//! assert_eq!(oip::decode_response(answer.into_body(), None)?, request.inputs);
//! # Ok::<(), aimass_core::Fault>(())
//! ```

mod data;
mod documents;
mod lift;
mod repository;
mod request;
mod response;
mod scalar;
mod tensor;
#[cfg(test)]
mod tests;

pub(crate) use documents::triton_type;
pub use documents::{
    EXTENSIONS, SERVER_NAME, error, live, model_config, model_metadata, model_ready, ready, server_metadata,
};
pub(crate) use repository::state as index_state;
pub use repository::{repository_index, statistics};
pub use request::{InferRequest, RequestedOutput, decode_request, encode_request};
pub(crate) use request::{check_requested, unsupported};
pub(crate) use response::chosen;
pub use response::{Encoded, decode_response, encode_response};
pub(crate) use tensor::{MAX_DIMENSIONS, about};

/// The header that holds the length of the JSON, where binary data stands behind it. Of the body as it is without a
/// `Content-Encoding`.
pub const HEADER_LENGTH: &str = "inference-header-content-length";
