//! One tensor of a request or an answer, and the binary data behind the JSON.

use std::borrow::Cow;

use aimass_core::{Code, ElementType, Fault, Result, Tensor};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::data;
use super::lift::Lifted;

/// The most dimensions of a tensor, and so the deepest nesting of its data: numpy's limit.
pub(crate) const MAX_DIMENSIONS: usize = 64;

/// A tensor as it stands in the JSON. `data` stays text until its type and shape are known, in whichever order the
/// fields come. Fields that are not known are ignored: clients send more than the protocol names.
#[derive(Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    shape: Vec<u64>,
    #[serde(default)]
    parameters: Option<Parameters>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    binary_data_size: Option<u64>,
    /// Memory shared with the client: there is none.
    #[serde(default)]
    shared_memory_region: Option<IgnoredAny>,
}

/// A body, split where the JSON ends.
pub(super) struct Body {
    json: Bytes,
    /// What is left of the binary data; `None` if the header is missing.
    binary: Option<Bytes>,
}

impl Body {
    /// Splits at what [`super::HEADER_LENGTH`] says.
    pub(super) fn split(mut body: Bytes, header_length: Option<&str>) -> Result<Self> {
        let Some(text) = header_length else { return Ok(Self { json: body, binary: None }) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let length = text.parse().ok().filter(|&length: &usize| digits && length <= body.len()).ok_or_else(|| {
            Fault::invalid(format!(
                "`Inference-Header-Content-Length` is a number up to the body's {} bytes",
                body.len()
            ))
        })?;
        let json = body.split_to(length);
        Ok(Self { json, binary: Some(body) })
    }

    /// The JSON, to borrow from while tensors are taken.
    pub(super) fn json(&self) -> Bytes {
        self.json.clone()
    }

    /// Makes the tensor, with its data from the JSON or from the front of the binary data.
    pub(super) fn take(&mut self, entry: Entry<'_>, document: &Lifted<'_>) -> Result<Tensor> {
        let name = entry.name.clone();
        self.tensor(entry, document).map_err(|detail| about(&name, &detail))
    }

    /// Checks that all binary data was taken.
    pub(super) fn finish(self) -> Result<()> {
        match self.binary {
            Some(rest) if !rest.is_empty() => {
                let detail = format!("{} bytes stand behind the last tensor's binary data", rest.len());
                Err(Fault::new(Code::InvalidTensor, detail))
            }
            _ => Ok(()),
        }
    }

    fn tensor(&mut self, entry: Entry<'_>, document: &Lifted<'_>) -> Result<Tensor, String> {
        let Entry { name, datatype, shape, parameters, data } = entry;
        let detail = |fault: Fault| fault.detail().to_owned();
        let element_type: ElementType = datatype.parse().map_err(detail)?;
        if shape.len() > MAX_DIMENSIONS {
            return Err(format!("a tensor has {MAX_DIMENSIONS} dimensions at most"));
        }
        let parameters = parameters.unwrap_or_default();
        if parameters.shared_memory_region.is_some() {
            return Err("shared memory is not supported".to_owned());
        }
        let data = match (parameters.binary_data_size, data) {
            (Some(_), Some(_)) => return Err("both `data` and `binary_data_size` are given".to_owned()),
            (None, None) => return Err("neither `data` nor `binary_data_size` is given".to_owned()),
            (None, Some(text)) => data::read(document.original(text.get())?, element_type, &shape)?,
            (Some(size), None) => self.binary(size)?,
        };
        Tensor::new(name, element_type, shape, data).map_err(detail)
    }

    fn binary(&mut self, size: u64) -> Result<Bytes, String> {
        let rest =
            self.binary.as_mut().ok_or("`binary_data_size` takes the header `Inference-Header-Content-Length`")?;
        let size = usize::try_from(size).ok().filter(|&size| size <= rest.len());
        let size =
            size.ok_or_else(|| format!("`binary_data_size` is more than the {} bytes that are left", rest.len()))?;
        Ok(rest.split_to(size))
    }
}

/// A tensor's fault, with its name: at most 64 characters of it, since it may be hostile.
pub(crate) fn about(name: &str, detail: &str) -> Fault {
    Fault::new(Code::InvalidTensor, format!("tensor `{name:.64}`: {detail}"))
}

/// A body that is not what the protocol says. `serde_json`'s message names the place; it may quote the input, so its
/// length is bounded.
pub(super) fn malformed(error: &serde_json::Error) -> Fault {
    Fault::invalid(format!("the body is not an inference document: {:.200}", error.to_string()))
}
