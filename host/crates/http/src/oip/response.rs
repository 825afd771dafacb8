//! Answers to requests for inference.

use aimass_core::{Code, Fault, Result, Tensor};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;

use super::data::{self, write_json};
use super::lift::Lifted;
use super::request::{InferRequest, RequestedOutput};
use super::tensor::{Body, Entry, about, malformed};

/// An encoded answer.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The body's pieces: the JSON, then each binary output, which shares its tensor's memory.
    pub chunks: Vec<Bytes>,
    /// The value of [`super::HEADER_LENGTH`]; none if there is no binary output. The content type is then
    /// `application/octet-stream`, else `application/json`.
    pub header_length: Option<usize>,
}

impl Encoded {
    /// The body's length.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Whether there is no body: there always is one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body in one piece; copies where there are several.
    pub fn into_body(self) -> Bytes {
        if let [one] = self.chunks.as_slice() {
            return one.clone();
        }
        let mut body = BytesMut::with_capacity(self.len());
        self.chunks.iter().for_each(|chunk| body.extend_from_slice(chunk));
        body.freeze()
    }
}

/// How a tensor's data is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Binary,
}

/// Writes the answer to `request`: the outputs that it asks for in its order, or all.
///
/// # Errors
/// [`Code::InvalidRequest`] if it asks for an output that is not among `outputs`; [`Code::InvalidTensor`] if it wants
/// JSON for what JSON cannot hold.
pub fn encode_response(
    request: &InferRequest,
    model_name: &str,
    model_version: &str,
    outputs: &[Tensor],
) -> Result<Encoded> {
    let form = |binary: bool| if binary { Form::Binary } else { Form::Json };
    let chosen: Vec<_> = chosen(request, outputs)?.into_iter().map(|(output, binary)| (output, form(binary))).collect();

    let mut json = Vec::with_capacity(256);
    json.push(b'{');
    if let Some(id) = &request.id {
        field("id", id, &mut json)?;
        json.push(b',');
    }
    field("model_name", model_name, &mut json)?;
    json.push(b',');
    field("model_version", model_version, &mut json)?;
    json.extend_from_slice(br#","outputs":["#);
    let mut chunks = vec![Bytes::new()];
    for (i, &(output, form)) in chosen.iter().enumerate() {
        if i > 0 {
            json.push(b',');
        }
        write_tensor(output, form, &mut json)?;
        if form == Form::Binary && !output.data().is_empty() {
            chunks.push(output.data().clone());
        }
    }
    json.extend_from_slice(b"]}");
    let binary = chosen.iter().any(|&(_, form)| form == Form::Binary);
    let header_length = binary.then_some(json.len());
    chunks[0] = json.into();
    Ok(Encoded { chunks, header_length })
}

/// The outputs that the request asks for, in its order, or all; each with whether it is sent as binary data.
///
/// # Errors
/// [`Code::InvalidRequest`] if it asks for one that is not there.
pub(crate) fn chosen<'a>(request: &InferRequest, outputs: &'a [Tensor]) -> Result<Vec<(&'a Tensor, bool)>> {
    if request.outputs.is_empty() {
        return Ok(outputs.iter().map(|output| (output, request.binary_output)).collect());
    }
    let find = |wanted: &RequestedOutput| {
        let output = outputs.iter().find(|output| output.name() == wanted.name).ok_or_else(|| {
            let known: Vec<_> = outputs.iter().map(Tensor::name).collect();
            Fault::invalid(format!("there is no output `{:.64}`; the outputs are {known:?}", wanted.name))
        })?;
        Ok((output, wanted.binary.unwrap_or(request.binary_output)))
    };
    request.outputs.iter().map(find).collect()
}

/// Reads an answer's outputs. `header_length` is the value of [`super::HEADER_LENGTH`], if the answer has that header.
///
/// # Errors
/// As [`super::decode_request`].
pub fn decode_response(body: Bytes, header_length: Option<&str>) -> Result<Vec<Tensor>> {
    #[derive(Deserialize)]
    struct Document<'a> {
        #[serde(borrow)]
        outputs: Vec<Entry<'a>>,
    }
    let mut body = Body::split(body, header_length)?;
    let json = body.json();
    let lifted = Lifted::new(&json);
    let document: Document<'_> = serde_json::from_slice(&lifted.rest).map_err(|error| malformed(&error))?;
    let outputs = document.outputs.into_iter().map(|entry| body.take(entry, &lifted)).collect::<Result<_>>()?;
    body.finish()?;
    Ok(outputs)
}

/// Appends a tensor's JSON. Cannot fail in the binary form.
///
/// # Errors
/// [`Code::InvalidTensor`] if it holds what JSON cannot.
pub(super) fn write_tensor(tensor: &Tensor, form: Form, json: &mut Vec<u8>) -> Result<()> {
    let mut write = || -> Result<(), String> {
        json.extend_from_slice(br#"{"name":"#);
        write_json(tensor.name(), json)?;
        json.extend_from_slice(br#","datatype":""#);
        json.extend_from_slice(tensor.element_type().as_str().as_bytes());
        json.extend_from_slice(br#"","shape":"#);
        write_json(tensor.shape(), json)?;
        match form {
            Form::Json => {
                json.extend_from_slice(br#","data":"#);
                data::write(tensor, json)?;
            }
            Form::Binary => {
                json.extend_from_slice(br#","parameters":{"binary_data_size":"#);
                write_json(&tensor.data().len(), json)?;
                json.push(b'}');
            }
        }
        json.push(b'}');
        Ok(())
    };
    write().map_err(|detail| about(tensor.name(), &detail))
}

fn field(name: &str, value: &str, json: &mut Vec<u8>) -> Result<()> {
    let mut write = || -> Result<(), String> {
        write_json(name, json)?;
        json.push(b':');
        write_json(value, json)
    };
    write().map_err(|detail| Fault::new(Code::Internal, "the answer could not be written").caused_by(detail))
}
