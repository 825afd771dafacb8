//! The protocol's small documents: metadata, health, errors.

use aimass_core::{ElementType, Fault, Port, Signature};
use serde_json::{Value, json};

/// The server's name in its metadata.
pub const SERVER_NAME: &str = "aimass";

/// The extensions that are there, as the server's metadata names them.
pub const EXTENSIONS: &[&str] = &["binary_tensor_data", "model_configuration", "model_repository", "statistics"];

/// `GET /v2`.
pub fn server_metadata(version: &str) -> Value {
    json!({ "name": SERVER_NAME, "version": version, "extensions": EXTENSIONS })
}

/// `GET /v2/models/{name}[/versions/{v}]`. `platform` is what runs it, such as `onnx` or `wasm`.
///
/// ```
/// use aimass_core::{ElementType, Port, Signature};
/// let signature = Signature { inputs: vec![Port::new("x", ElementType::Fp32, [-1, 4])], ..Signature::default() };
/// let document = aimass_http::oip::model_metadata("iris", &[1, 2], "onnx", &signature);
/// assert_eq!(document["versions"], serde_json::json!(["1", "2"]));
/// assert_eq!(document["inputs"][0]["shape"], serde_json::json!([-1, 4]));
/// ```
pub fn model_metadata(name: &str, versions: &[u64], platform: &str, signature: &Signature) -> Value {
    let port = |port: &Port| json!({ "name": port.name, "datatype": port.element_type, "shape": port.shape });
    let versions: Vec<_> = versions.iter().map(u64::to_string).collect();
    json!({
        "name": name,
        "versions": versions,
        "platform": platform,
        "inputs": signature.inputs.iter().map(port).collect::<Vec<_>>(),
        "outputs": signature.outputs.iter().map(port).collect::<Vec<_>>(),
    })
}

/// `GET /v2/models/{name}[/versions/{v}]/config`: what of Triton's model configuration says something here.
///
/// `max_batch_size` is 0: the ports' shapes stand whole, with the batch dimension where there is one.
pub fn model_config(name: &str, platform: &str, signature: &Signature) -> Value {
    let port =
        |port: &Port| json!({ "name": port.name, "data_type": triton_type(port.element_type).1, "dims": port.shape });
    json!({
        "name": name,
        "platform": platform,
        "backend": platform,
        "max_batch_size": 0,
        "input": signature.inputs.iter().map(port).collect::<Vec<_>>(),
        "output": signature.outputs.iter().map(port).collect::<Vec<_>>(),
    })
}

/// An element type's number and name in Triton's `model_config.proto`.
pub(crate) fn triton_type(element_type: ElementType) -> (i32, &'static str) {
    match element_type {
        ElementType::Bool => (1, "TYPE_BOOL"),
        ElementType::Uint8 => (2, "TYPE_UINT8"),
        ElementType::Uint16 => (3, "TYPE_UINT16"),
        ElementType::Uint32 => (4, "TYPE_UINT32"),
        ElementType::Uint64 => (5, "TYPE_UINT64"),
        ElementType::Int8 => (6, "TYPE_INT8"),
        ElementType::Int16 => (7, "TYPE_INT16"),
        ElementType::Int32 => (8, "TYPE_INT32"),
        ElementType::Int64 => (9, "TYPE_INT64"),
        ElementType::Fp16 => (10, "TYPE_FP16"),
        ElementType::Fp32 => (11, "TYPE_FP32"),
        ElementType::Fp64 => (12, "TYPE_FP64"),
        ElementType::Bytes => (13, "TYPE_STRING"),
        ElementType::Bf16 => (14, "TYPE_BF16"),
    }
}

/// `GET /v2/health/live`.
pub fn live() -> Value {
    json!({ "live": true })
}

/// `GET /v2/health/ready`.
pub fn ready(ready: bool) -> Value {
    json!({ "ready": ready })
}

/// `GET /v2/models/{name}[/versions/{v}]/ready`.
pub fn model_ready(name: &str, ready: bool) -> Value {
    json!({ "name": name, "ready": ready })
}

/// The body of every answer that is not a success.
pub fn error(fault: &Fault) -> Value {
    json!({ "error": fault.to_string() })
}
