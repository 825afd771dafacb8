//! Requests for inference.

use std::borrow::Cow;
use std::time::Duration;

use aimass_core::{Code, Fault, Result, Tensor};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::Value;

use super::lift::Lifted;
use super::response::{Form, write_tensor};
use super::tensor::{Body, Entry, malformed};

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferRequest {
    /// The client's id of this request, to be sent back.
    pub id: Option<String>,
    /// The inputs, in the request's order. They are not checked against a signature yet.
    pub inputs: Vec<Tensor>,
    /// The outputs that are wanted; all of them if empty.
    pub outputs: Vec<RequestedOutput>,
    /// Whether outputs come as binary data where [`RequestedOutput::binary`] does not say.
    pub binary_output: bool,
    /// How long the client wants to wait (Triton's `timeout`), if it says.
    pub timeout: Option<Duration>,
}

/// An output that is asked for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedOutput {
    /// Its name.
    pub name: String,
    /// Whether it comes as binary data, if the request says.
    pub binary: Option<bool>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Option<Parameters>,
    #[serde(borrow)]
    inputs: Vec<Entry<'a>>,
    #[serde(borrow, default)]
    outputs: Option<Vec<Output<'a>>>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    binary_data_output: Option<bool>,
    /// Microseconds.
    #[serde(default)]
    timeout: Option<u64>,
    #[serde(default)]
    sequence_id: Option<Value>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    parameters: Option<OutputParameters>,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    #[serde(default)]
    binary_data: Option<bool>,
    #[serde(default)]
    classification: Option<u64>,
    #[serde(default)]
    shared_memory_region: Option<Value>,
}

/// Reads a request. `header_length` is the value of [`super::HEADER_LENGTH`], if the request has that header.
///
/// # Errors
/// [`Code::InvalidRequest`] if the JSON or the header is malformed, [`Code::InvalidTensor`] if a tensor's shape, type
/// and data do not fit, with the tensor's name, [`Code::UnsupportedOperation`] for extensions that are not offered
/// and that would change the answer (sequences, classification, shared memory). Nothing is allocated from a count
/// that the body does not hold.
pub fn decode_request(body: Bytes, header_length: Option<&str>) -> Result<InferRequest> {
    let mut body = Body::split(body, header_length)?;
    let json = body.json();
    let lifted = Lifted::new(&json);
    let document: Document<'_> = serde_json::from_slice(&lifted.rest).map_err(|error| malformed(&error))?;
    let Parameters { binary_data_output, timeout, sequence_id } = document.parameters.unwrap_or_default();
    if sequence_id.is_some_and(|id| id != 0 && id != "") {
        return Err(unsupported("sequences are"));
    }
    let inputs = document.inputs.into_iter().map(|entry| body.take(entry, &lifted)).collect::<Result<Vec<_>>>()?;
    body.finish()?;
    let outputs = document.outputs.unwrap_or_default().into_iter().map(requested).collect::<Result<Vec<_>>>()?;
    check_requested(&outputs)?;
    Ok(InferRequest {
        id: document.id.filter(|id| !id.is_empty()),
        inputs,
        outputs,
        binary_output: binary_data_output.unwrap_or(false),
        // 0 stands for none, as in Triton.
        timeout: timeout.filter(|&micros| micros > 0).map(Duration::from_micros),
    })
}

/// Writes a request for all outputs, with binary data both ways: no value is rounded, and every type goes through.
/// Returns the body and the value of [`super::HEADER_LENGTH`].
///
/// ```
/// use aimass_core::Tensor;
/// use aimass_http::oip;
/// let inputs = [Tensor::from_bytes_elements("content", [1], &[b"\xff".as_slice()])?];
/// let (body, header_length) = oip::encode_request(&inputs);
/// let request = oip::decode_request(body, Some(&header_length))?;
/// assert_eq!(request.inputs, inputs);
/// assert!(request.binary_output);
/// # Ok::<(), aimass_core::Fault>(())
/// ```
pub fn encode_request(inputs: &[Tensor]) -> (Bytes, String) {
    let mut json = br#"{"inputs":["#.to_vec();
    for (i, input) in inputs.iter().enumerate() {
        if i > 0 {
            json.push(b',');
        }
        // Binary data is outside the JSON, so there is nothing here that could be refused.
        let _ = write_tensor(input, Form::Binary, &mut json);
    }
    json.extend_from_slice(br#"],"parameters":{"binary_data_output":true}}"#);
    let length = json.len().to_string();
    let mut body = BytesMut::from(json.as_slice());
    body.reserve(inputs.iter().map(|input| input.data().len()).sum());
    inputs.iter().for_each(|input| body.extend_from_slice(input.data()));
    (body.freeze(), length)
}

/// Each output is asked for once.
pub(crate) fn check_requested(outputs: &[RequestedOutput]) -> Result<()> {
    match outputs.iter().enumerate().find(|(i, output)| outputs[..*i].iter().any(|o| o.name == output.name)) {
        Some((_, twice)) => Err(Fault::invalid(format!("the output `{:.64}` is asked for twice", twice.name))),
        None => Ok(()),
    }
}

fn requested(output: Output<'_>) -> Result<RequestedOutput> {
    let OutputParameters { binary_data, classification, shared_memory_region } = output.parameters.unwrap_or_default();
    if classification.is_some_and(|classes| classes > 0) {
        return Err(unsupported("classification is"));
    }
    if shared_memory_region.is_some() {
        return Err(unsupported("shared memory is"));
    }
    Ok(RequestedOutput { name: output.name.into_owned(), binary: binary_data })
}

pub(crate) fn unsupported(what: &str) -> Fault {
    Fault::new(Code::UnsupportedOperation, format!("{what} not supported"))
}
