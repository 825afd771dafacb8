//! Between the protocol's messages and core's tensors. Raw data are slices of the message, never copied.

use std::collections::BTreeMap;
use std::time::Duration;

use aimass_core::limits::MAX_INFER_BODY;
use aimass_core::tensor::element_count;
use aimass_core::{Code, ElementType, Fault, Result, Tensor};
use bytes::Bytes;

use super::contents;
use super::messages::{
    Choice, InferInputTensor, InferOutputTensor, InferParameter, InferRequestedOutputTensor, ModelInferRequest,
};
use super::wire::{self, Value};
use crate::oip::{self, InferRequest, MAX_DIMENSIONS, RequestedOutput};

/// Bytes of an encoded request that are no tensor data: names, shapes, parameters. Two bytes can stand for an empty
/// message that takes two hundred in memory, so what is decoded is bounded before; tensor data are only sliced.
const MAX_HEAD: usize = 256 << 10;

/// Checks that an encoded [`ModelInferRequest`] is little else than tensor data.
///
/// # Errors
/// [`Code::InvalidRequest`] if not, or if it is malformed.
pub(super) fn check_head(encoded: &[u8]) -> Result<()> {
    const INPUTS: u32 = 5;
    const CONTENTS: u32 = 5;
    const RAW: u32 = 7;
    let mut data = 0;
    wire::fields::<String>(encoded, |field, value| match (field, value) {
        (RAW, Value::Bytes(raw)) => {
            data += raw.len();
            Ok(())
        }
        (INPUTS, Value::Bytes(input)) => wire::fields(input, |field, value| {
            if let (CONTENTS, Value::Bytes(contents)) = (field, value) {
                data += contents.len();
            }
            Ok(())
        }),
        _ => Ok(()),
    })
    .map_err(Fault::invalid)?;
    if encoded.len() - data > MAX_HEAD {
        return Err(Fault::invalid(format!("names, shapes and parameters take more than {MAX_HEAD} bytes")));
    }
    Ok(())
}

/// Reads a request.
///
/// # Errors
/// As [`oip::decode_request`].
pub(super) fn read(request: ModelInferRequest) -> Result<InferRequest> {
    let ModelInferRequest { id, mut parameters, inputs, outputs, raw_input_contents, .. } = request;
    if parameters.remove("sequence_id").is_some_and(|id| !is_zero(&id)) {
        return Err(oip::unsupported("sequences are"));
    }
    let raw = !raw_input_contents.is_empty();
    if raw && raw_input_contents.len() != inputs.len() {
        let detail = format!(
            "there are {} inputs and {} raw contents; each input has one, or none has",
            inputs.len(),
            raw_input_contents.len()
        );
        return Err(Fault::new(Code::InvalidTensor, detail));
    }
    let mut raw_input_contents = raw_input_contents.into_iter();
    let inputs =
        inputs.into_iter().map(|input| tensor(input, raw_input_contents.next())).collect::<Result<Vec<_>>>()?;
    let outputs = outputs.into_iter().map(requested).collect::<Result<Vec<_>>>()?;
    oip::check_requested(&outputs)?;
    Ok(InferRequest {
        id: Some(id).filter(|id| !id.is_empty()),
        inputs,
        outputs,
        binary_output: true,
        timeout: timeout(&parameters)?,
    })
}

/// An output, and its raw data.
pub(super) fn write(tensor: &Tensor) -> (InferOutputTensor, Bytes) {
    let output = InferOutputTensor {
        name: tensor.name().to_owned(),
        datatype: tensor.element_type().as_str().to_owned(),
        // A dimension of 2⁶³ has no data.
        shape: tensor.shape().iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect(),
    };
    (output, tensor.data().clone())
}

fn tensor(input: InferInputTensor, raw: Option<Bytes>) -> Result<Tensor> {
    let InferInputTensor { name, datatype, shape, parameters, contents } = input;
    let make = || -> Result<Tensor, String> {
        let detail = |fault: Fault| fault.detail().to_owned();
        if parameters.contains_key("shared_memory_region") {
            return Err("shared memory is not supported".to_owned());
        }
        let element_type: ElementType = datatype.parse().map_err(detail)?;
        if shape.len() > MAX_DIMENSIONS {
            return Err(format!("a tensor has {MAX_DIMENSIONS} dimensions at most"));
        }
        let shape = shape
            .iter()
            .map(|&d| u64::try_from(d).map_err(|_| format!("the dimension {d} is negative")))
            .collect::<Result<Vec<_>, _>>()?;
        let contents = contents.filter(|contents| !contents.is_empty());
        let data = match (raw, contents) {
            (Some(_), Some(_)) => return Err("both `contents` and `raw_input_contents` are given".to_owned()),
            (Some(raw), None) => raw,
            (None, contents) => {
                let count = element_count(&shape).map_err(detail)?;
                // Numbers are shorter here than in memory: what could not come raw does not come like this.
                if element_type.size().is_some_and(|size| count > MAX_INFER_BODY / size) {
                    return Err(format!("a tensor is at most {MAX_INFER_BODY} bytes"));
                }
                contents::read(&contents.unwrap_or_default(), element_type, count)?
            }
        };
        Tensor::new(name.as_str(), element_type, shape, data).map_err(detail)
    };
    make().map_err(|detail| oip::about(&name, &detail))
}

fn requested(output: InferRequestedOutputTensor) -> Result<RequestedOutput> {
    let InferRequestedOutputTensor { name, parameters } = output;
    if parameters.get("classification").is_some_and(|classes| !is_zero(classes)) {
        return Err(oip::unsupported("classification is"));
    }
    if parameters.contains_key("shared_memory_region") {
        return Err(oip::unsupported("shared memory is"));
    }
    Ok(RequestedOutput { name, binary: None })
}

/// Triton's `timeout`, in microseconds; 0 stands for none.
fn timeout(parameters: &BTreeMap<String, InferParameter>) -> Result<Option<Duration>> {
    let Some(parameter) = parameters.get("timeout") else { return Ok(None) };
    let micros = match parameter.choice {
        Some(Choice::Int64(micros)) => u64::try_from(micros).ok(),
        Some(Choice::Uint64(micros)) => Some(micros),
        _ => None,
    };
    let micros = micros.ok_or_else(|| Fault::invalid("`timeout` is a number of microseconds"))?;
    Ok(Some(micros).filter(|&micros| micros > 0).map(Duration::from_micros))
}

/// Zero, empty, false or nothing.
fn is_zero(parameter: &InferParameter) -> bool {
    match &parameter.choice {
        None => true,
        Some(Choice::Bool(value)) => !value,
        Some(Choice::Int64(value)) => *value == 0,
        Some(Choice::Uint64(value)) => *value == 0,
        Some(Choice::Double(value)) => *value == 0.0,
        Some(Choice::String(value)) => value.is_empty(),
    }
}
