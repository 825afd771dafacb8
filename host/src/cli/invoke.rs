//! `aimass invoke`: one call of a plugin or a model from the command line.

use std::io::Write;

use aimass_core::{ElementType, Port, Signature, Tensor};
use clap::Args;
use http::{Method, Request};
use serde_json::Value;

use super::client::{Client, success};
use super::{Failure, Outcome, invocations, output};

/// Call a plugin or a model.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass invoke file-type content=@photo.png
  aimass invoke double x=[1,2,3.5] --json
  aimass invoke hello-http --path /           an HTTP function
  aimass invoke counter --path /hits --method POST
  aimass invoke ocr page=@scan.png --async         accepted at once, runs later
  aimass invoke ocr page=@scan.png --async --wait --idempotency-key scan-17")]
pub(super) struct Invoke {
    /// Its name; `name@version` for a version, `name:alias` for an alias
    name: String,
    /// Inputs: `name=value`; a value is JSON, text, or @file
    inputs: Vec<String>,
    /// Call it as an HTTP function, at this path
    #[arg(long, conflicts_with = "inputs")]
    path: Option<String>,
    /// The method of the HTTP request
    #[arg(long, default_value = "GET", requires = "path")]
    method: Method,
    /// The body of the HTTP request
    #[arg(long, requires = "path")]
    data: Option<String>,
    /// Do not wait for the answer: the call is queued, and tried again where that helps (see `aimass invocations`)
    #[arg(long = "async")]
    later: bool,
    /// Wait until the queued call has ended, and print its answer
    #[arg(long, requires = "later")]
    wait: bool,
    /// The same key stands for the same call, however often it is sent
    #[arg(long, value_name = "KEY", requires = "later")]
    idempotency_key: Option<String>,
    /// The webhook endpoint that is told when the call has ended
    #[arg(long, value_name = "NAME", requires = "later")]
    callback: Option<String>,
}

impl Invoke {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        if let Some(path) = &self.path {
            return self.function(client, path, json).await;
        }
        let route = route(&self.name);
        let inputs = inputs(client, &route, &self.inputs).await?;
        if !self.later {
            show(&infer(client, &route, &inputs).await?, json);
            return Ok(());
        }
        let (body, header_length) = aimass_http::oip::encode_request(&inputs);
        let request = Request::builder().method(Method::POST).header(aimass_http::oip::HEADER_LENGTH, header_length);
        if let Some(answer) = self.queue(client, &format!("{route}/infer"), request, body, json).await? {
            show(&tensors(&answer)?, json);
        }
        Ok(())
    }

    /// Has a request queued; returns its answer if that was waited for.
    async fn queue(
        &self,
        client: &Client,
        path: &str,
        request: http::request::Builder,
        body: bytes::Bytes,
        json: bool,
    ) -> Outcome<Option<http::Response<bytes::Bytes>>> {
        let mut request = request.header("prefer", "respond-async");
        for (name, value) in [("idempotency-key", &self.idempotency_key), ("aimass-callback", &self.callback)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let accepted = client.send(path, request, body).await?;
        success(accepted.status(), accepted.body())?;
        let call: Value = serde_json::from_slice(accepted.body())
            .map_err(|e| Failure::new(format!("the call was not queued, but answered: {e}")))?;
        if !self.wait {
            match json {
                true => output::json(&call),
                // Nothing but the id, so that a shell can keep it.
                false => println!("{}", output::cell(&call["id"])),
            }
            return Ok(None);
        }
        let id = call["id"].as_str().unwrap_or_default();
        invocations::ended(client, id).await?;
        invocations::result(client, id).await.map(Some)
    }

    async fn function(&self, client: &Client, path: &str, json: bool) -> Outcome {
        let rest = path.trim_start_matches('/');
        let target = format!("/fn/{}/{}/{rest}", client.tenant()?, self.name);
        let request = Request::builder().method(self.method.clone());
        let body = self.data.clone().unwrap_or_default();
        let answer = match self.later {
            true => self.queue(client, &target, request, body.into(), json).await?,
            false => Some(client.send(&target, request, body.into()).await?),
        };
        if let Some(answer) = answer {
            success(answer.status(), answer.body())?;
            std::io::stdout().write_all(answer.body())?;
        }
        Ok(())
    }
}

/// The path of a name, `name:alias` or `name@version` in the inference protocol.
pub(super) fn route(name: &str) -> String {
    match name.split_once('@') {
        Some((name, version)) => format!("/v2/models/{name}/versions/{version}"),
        None => format!("/v2/models/{name}"),
    }
}

async fn signature(client: &Client, route: &str) -> Outcome<Signature> {
    let mut metadata = client.json(Method::GET, route, None).await?;
    let mut ports = |field: &str| -> Outcome<Vec<Port>> {
        serde_json::from_value(metadata[field].take())
            .map_err(|e| Failure::new(format!("the metadata is not valid: {e}")))
    };
    Ok(Signature { inputs: ports("inputs")?, outputs: ports("outputs")?, description: String::new() })
}

/// Reads inputs as they stand on the command line, by what the plugin or model takes.
pub(super) async fn inputs(client: &Client, route: &str, texts: &[String]) -> Outcome<Vec<Tensor>> {
    let signature = signature(client, route).await?;
    texts.iter().map(|text| input(text, &signature)).collect()
}

/// Runs inference with binary tensors: any bytes, no rounding.
pub(super) async fn infer(client: &Client, route: &str, inputs: &[Tensor]) -> Outcome<Vec<Tensor>> {
    let (body, header_length) = aimass_http::oip::encode_request(inputs);
    let request = Request::builder().method(Method::POST).header(aimass_http::oip::HEADER_LENGTH, header_length);
    let answer = client.send(&format!("{route}/infer"), request, body).await?;
    success(answer.status(), answer.body())?;
    tensors(&answer)
}

fn tensors(answer: &http::Response<bytes::Bytes>) -> Outcome<Vec<Tensor>> {
    let length = answer.headers().get(aimass_http::oip::HEADER_LENGTH).and_then(|value| value.to_str().ok());
    Ok(aimass_http::oip::decode_response(answer.body().clone(), length)?)
}

/// Prints tensors: documents for programs, a table for people.
pub(super) fn show(outputs: &[Tensor], json: bool) {
    if json {
        return output::json(&outputs.iter().map(document).collect());
    }
    let rows = outputs.iter().map(|tensor| {
        let shape = format!("{} {:?}", tensor.element_type(), tensor.shape());
        vec![tensor.name().to_owned(), shape, shortened(&output::cell(&values(tensor)))]
    });
    println!("{}", output::table(&["OUTPUT", "TYPE", "VALUE"], rows));
}

/// Reads `name=value` by what the signature says of that name.
fn input(text: &str, signature: &Signature) -> Outcome<Tensor> {
    let (name, value) = text.split_once('=').ok_or_else(|| Failure::new(format!("`{text}` is not name=value")))?;
    let port = signature.inputs.iter().find(|port| port.name == name).ok_or_else(|| {
        let known: Vec<_> = signature.inputs.iter().map(|port| port.name.as_str()).collect();
        Failure::new(format!("there is no input `{name}`; the inputs are: {}", known.join(", ")))
    })?;
    if let Some(file) = value.strip_prefix('@') {
        let bytes = std::fs::read(file).map_err(|e| Failure::new(format!("{file}: {e}")))?;
        return from_file(port, bytes);
    }
    let parsed = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    let mut shape = vec![];
    let mut leaves = vec![];
    flatten(&parsed, 0, &mut shape, &mut leaves)
        .map_err(|()| Failure::new(format!("`{name}`: the lists are ragged")))?;
    // A value that lacks the leading dimensions, such as the batch's, stands for one of them.
    while shape.len() < port.shape.len() {
        shape.insert(0, 1);
    }
    Ok(from_leaves(port, shape, &leaves)?)
}

/// A file is one element of a BYTES input, and the raw elements of any other.
fn from_file(port: &Port, bytes: Vec<u8>) -> Outcome<Tensor> {
    let mut shape: Vec<u64> = port.shape.iter().map(|&d| u64::try_from(d).unwrap_or(1)).collect();
    let Some(size) = port.element_type.size() else {
        return Ok(Tensor::from_bytes_elements(&port.name, shape, &[bytes])?);
    };
    // The first free dimension takes what the others leave.
    if let Some(free) = port.shape.iter().position(|&d| d < 0) {
        let rest: u64 = shape.iter().product();
        shape[free] = (bytes.len() / size) as u64 / rest.max(1);
    }
    Ok(Tensor::new(&port.name, port.element_type, shape, bytes)?)
}

/// The leaves of nested lists in order, and the lists' lengths.
fn flatten<'a>(value: &'a Value, depth: usize, shape: &mut Vec<u64>, leaves: &mut Vec<&'a Value>) -> Result<(), ()> {
    let Value::Array(items) = value else {
        leaves.push(value);
        return if depth == shape.len() { Ok(()) } else { Err(()) };
    };
    match shape.get(depth) {
        None if leaves.is_empty() => shape.push(items.len() as u64),
        Some(&length) if length == items.len() as u64 => {}
        _ => return Err(()),
    }
    items.iter().try_for_each(|item| flatten(item, depth + 1, shape, leaves))
}

fn from_leaves(port: &Port, shape: Vec<u64>, leaves: &[&Value]) -> aimass_core::Result<Tensor> {
    use aimass_core::tensor::Element;
    fn numbers<T: Element>(
        port: &Port,
        shape: Vec<u64>,
        leaves: &[&Value],
        read: impl Fn(&Value) -> Option<T>,
    ) -> aimass_core::Result<Tensor> {
        let wrong = || aimass_core::Fault::invalid(format!("`{}` takes {}", port.name, port.element_type));
        let elements = leaves.iter().map(|leaf| read(leaf).ok_or_else(wrong)).collect::<Result<Vec<T>, _>>()?;
        Tensor::from_elements(&port.name, shape, &elements)
    }
    fn unsigned<T: TryFrom<u64>>(value: &Value) -> Option<T> {
        value.as_u64().and_then(|n| n.try_into().ok())
    }
    fn signed<T: TryFrom<i64>>(value: &Value) -> Option<T> {
        value.as_i64().and_then(|n| n.try_into().ok())
    }
    match port.element_type {
        ElementType::Bool => numbers(port, shape, leaves, Value::as_bool),
        ElementType::Uint8 => numbers::<u8>(port, shape, leaves, unsigned),
        ElementType::Uint16 => numbers::<u16>(port, shape, leaves, unsigned),
        ElementType::Uint32 => numbers::<u32>(port, shape, leaves, unsigned),
        ElementType::Uint64 => numbers::<u64>(port, shape, leaves, unsigned),
        ElementType::Int8 => numbers::<i8>(port, shape, leaves, signed),
        ElementType::Int16 => numbers::<i16>(port, shape, leaves, signed),
        ElementType::Int32 => numbers::<i32>(port, shape, leaves, signed),
        ElementType::Int64 => numbers::<i64>(port, shape, leaves, signed),
        ElementType::Fp16 => numbers(port, shape, leaves, |v| v.as_f64().map(half::f16::from_f64)),
        ElementType::Bf16 => numbers(port, shape, leaves, |v| v.as_f64().map(half::bf16::from_f64)),
        ElementType::Fp32 => numbers(port, shape, leaves, |v| v.as_f64().map(|n| n as f32)),
        ElementType::Fp64 => numbers(port, shape, leaves, Value::as_f64),
        ElementType::Bytes => {
            let texts: Vec<String> =
                leaves.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
            Tensor::from_bytes_elements(&port.name, shape, &texts)
        }
    }
}

/// A tensor as a JSON document; bytes that are no text become their closest text.
pub(super) fn document(tensor: &Tensor) -> Value {
    serde_json::json!({
        "name": tensor.name(),
        "datatype": tensor.element_type(),
        "shape": tensor.shape(),
        "data": values(tensor),
    })
}

fn values(tensor: &Tensor) -> Value {
    fn list<T: aimass_core::tensor::Element>(tensor: &Tensor, show: impl Fn(T) -> Value) -> Value {
        tensor.elements::<T>().unwrap_or_default().into_iter().map(show).collect()
    }
    match tensor.element_type() {
        ElementType::Bool => list::<bool>(tensor, Value::from),
        ElementType::Uint8 => list::<u8>(tensor, Value::from),
        ElementType::Uint16 => list::<u16>(tensor, Value::from),
        ElementType::Uint32 => list::<u32>(tensor, Value::from),
        ElementType::Uint64 => list::<u64>(tensor, Value::from),
        ElementType::Int8 => list::<i8>(tensor, Value::from),
        ElementType::Int16 => list::<i16>(tensor, Value::from),
        ElementType::Int32 => list::<i32>(tensor, Value::from),
        ElementType::Int64 => list::<i64>(tensor, Value::from),
        ElementType::Fp16 => list::<half::f16>(tensor, |n| n.to_f32().into()),
        ElementType::Bf16 => list::<half::bf16>(tensor, |n| n.to_f32().into()),
        ElementType::Fp32 => list::<f32>(tensor, Value::from),
        ElementType::Fp64 => list::<f64>(tensor, Value::from),
        ElementType::Bytes => {
            let elements = tensor.bytes_elements().unwrap_or_default();
            elements.into_iter().map(|bytes| Value::from(String::from_utf8_lossy(bytes))).collect()
        }
    }
}

/// The beginning of a long value: a table is for reading.
fn shortened(text: &str) -> String {
    const WIDTH: usize = 100;
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    text.chars().take(WIDTH).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> Signature {
        let inputs = vec![Port::new("x", ElementType::Fp32, [-1, 2]), Port::new("t", ElementType::Bytes, [-1])];
        Signature { inputs, ..Signature::default() }
    }

    #[test]
    fn values_take_the_shape_that_the_signature_wants() {
        let x = input("x=[[1,2],[3,4.5]]", &signature()).unwrap();
        assert_eq!((x.shape(), x.elements::<f32>().unwrap().as_slice()), (&[2, 2][..], &[1.0, 2.0, 3.0, 4.5][..]));
        assert_eq!(input("x=[1,2]", &signature()).unwrap().shape(), [1, 2]);
        assert_eq!(input("t=some text", &signature()).unwrap().bytes_elements().unwrap(), [b"some text"]);
        assert_eq!(input("t=[\"a\",\"b\"]", &signature()).unwrap().shape(), [2]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for bad in ["x", "y=1", "x=[[1,2],[3]]", "x=[[1],2]", "x=[1,[2]]", "x=[\"a\",\"b\"]"] {
            assert!(input(bad, &signature()).is_err(), "{bad}");
        }
    }
}
