//! The protocol's small documents: metadata, health, errors.

use aimass_core::{Fault, Port, Signature};
use serde_json::{Value, json};

/// The extensions that this module implements, as the server's metadata names them.
pub const EXTENSIONS: &[&str] = &["binary_tensor_data"];

/// `GET /v2`.
pub fn server_metadata(version: &str) -> Value {
    json!({ "name": "aimass", "version": version, "extensions": EXTENSIONS })
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
