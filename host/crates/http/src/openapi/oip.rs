//! The Open Inference Protocol's documents, as far as a schema can say them: binary data stands behind the JSON, and
//! [`HEADER_LENGTH`](crate::oip::HEADER_LENGTH) says where it begins.

use aimass_core::ElementType;
use aimass_platform::InvocationDocument;
use serde_json::{Value, json};

use super::schemas::reference;
use super::{Operation, Schemas};
use crate::oip::{EXTENSIONS, HEADER_LENGTH, SERVER_NAME};
use crate::routing::SERVED;

/// Adds what the operations under `/v2` take and answer.
pub(super) fn add(method: &str, path: &str, operation: &mut Operation, schemas: &mut Schemas) {
    if !path.starts_with("/v2") {
        return;
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    let (description, schema) = match (method, last) {
        ("GET", "v2") => ("The server.", "ServerMetadata"),
        ("GET", "live") => ("The process lives.", "ServerLive"),
        ("GET", "ready") if path == "/v2/health/ready" => {
            operation.errors.insert(503);
            ("The node serves.", "ServerReady")
        }
        ("GET", "ready") => {
            // Unloaded; no model or a plugin that is none; what loading says.
            operation.errors.extend([409, 422, 502, 504]);
            ("It serves.", "ModelReady")
        }
        ("GET", "config") => {
            operation.errors.insert(422);
            ("Its configuration, in Triton's words.", "ModelConfig")
        }
        ("GET", "stats") => ("The statistics.", "ModelStatistics"),
        ("POST", "infer") => return infer(operation, schemas),
        ("POST", "index") => {
            body(operation, false, "RepositoryIndexRequest");
            ("What the token may call.", "RepositoryIndex")
        }
        ("POST", "load" | "unload") => {
            body(operation, false, "RepositoryRequest");
            operation.errors.extend([409, 422, 502, 504]);
            operation.answers.clear();
            operation.empty_answer(200, "Done.");
            return;
        }
        ("GET", _) => {
            operation.errors.insert(422);
            ("Its inputs and outputs.", "ModelMetadata")
        }
        _ => return,
    };
    operation.answer(200, description, "application/json", &reference(schema));
}

fn infer(operation: &mut Operation, schemas: &mut Schemas) {
    body(operation, true, "InferenceRequest");
    let binary = json!({ "schema": { "description": "The JSON, and binary data behind it." } });
    if let Some(body) = &mut operation.body {
        body["content"]["application/octet-stream"] = binary.clone();
    }
    operation.parameter(
        "header",
        HEADER_LENGTH,
        false,
        "The length of the JSON, where binary data stands behind it.",
        json!({ "type": "integer", "minimum": 0 }),
    );
    for name in ["Prefer", "IdempotencyKey", "Callback"] {
        operation.parameters.push(json!({ "$ref": format!("#/components/parameters/{name}") }));
    }
    operation.errors.extend([400, 409, 413, 415, 422, 429, 502, 504, 507, 508]);
    let call = schemas.answer::<InvocationDocument>();
    operation.answer(202, "It is called later: an asynchronous call.", "application/json", &call);
    if let Some(answer) = operation.answers.get_mut(&202) {
        let text = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
        answer["headers"] = json!({
            "location": text("Where to ask how far it is."),
            "preference-applied": text("`respond-async`."),
        });
    }
    operation.answer(200, "The outputs.", "application/json", &reference("InferenceResponse"));
    if let Some(answer) = operation.answers.get_mut(&200) {
        answer["content"]["application/octet-stream"] = binary;
        let number = json!({ "type": "integer", "minimum": 0 });
        answer["headers"] = json!({
            HEADER_LENGTH: { "description": "The length of the JSON, before binary data.", "schema": number },
            SERVED: { "description": "The version that served.", "schema": number },
        });
    }
}

fn body(operation: &mut Operation, required: bool, schema: &str) {
    let content = json!({ "application/json": { "schema": reference(schema) } });
    operation.body = Some(json!({ "required": required, "content": content }));
}

pub(super) fn add_schemas(schemas: &mut Schemas) {
    for (name, schema) in documents() {
        schemas.name(name, schema);
    }
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn documents() -> Vec<(&'static str, Value)> {
    let text = json!({ "type": "string" });
    let number = json!({ "type": "integer", "minimum": 0 });
    let types: Vec<_> = ElementType::ALL.iter().map(|t| t.as_str()).collect();
    let shape = list(&number);
    let port_shape = json!({
        "type": "array", "items": { "type": "integer", "minimum": -1 },
        "description": "-1 stands for a dimension that may have any size.",
    });
    let parameters = json!({ "type": "object" });
    let port = object(
        &["name", "datatype", "shape"],
        json!({ "name": text, "datatype": { "enum": types }, "shape": port_shape }),
    );
    let config_port = object(
        &["name", "data_type", "dims"],
        json!({ "name": text, "data_type": { "type": "string", "pattern": "^TYPE_" }, "dims": port_shape }),
    );
    let data = json!({
        "type": "array",
        "description": "The elements, row-major, flat or nested. Without it, `parameters.binary_data_size` says how \
                        many of the bytes behind the JSON are this tensor's.",
    });
    let tensor_parameters = json!({ "type": "object", "properties": { "binary_data_size": number } });
    let tensor = object(
        &["name", "datatype", "shape"],
        json!({
            "name": text, "datatype": { "enum": types }, "shape": shape,
            "data": data, "parameters": tensor_parameters,
        }),
    );
    let wanted = object(
        &["name"],
        json!({ "name": text, "parameters": { "type": "object", "properties": {
            "binary_data": { "type": "boolean" },
        } } }),
    );
    let sum = object(&["count", "ns"], json!({ "count": number, "ns": number }));
    let parts =
        ["success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss"];
    let sums: serde_json::Map<_, _> = parts.iter().map(|&part| (part.to_owned(), sum.clone())).collect();
    let batch = object(
        &["batch_size", "compute_input", "compute_infer", "compute_output"],
        json!({ "batch_size": number, "compute_input": sum, "compute_infer": sum, "compute_output": sum }),
    );
    let memory = object(&["type", "id", "byte_size"], json!({ "type": text, "id": number, "byte_size": number }));
    let statistics = object(
        &["name", "version", "inference_count", "execution_count", "inference_stats"],
        json!({
            "name": text, "version": text, "last_inference": number, "inference_count": number,
            "execution_count": number, "inference_stats": object(&parts, sums.into()),
            "batch_stats": list(&batch), "memory_usage": list(&memory),
        }),
    );
    let entry = object(
        &["name", "version", "state"],
        json!({
            "name": text, "version": text, "state": { "enum": ["READY", "UNAVAILABLE"] },
            "reason": { "type": ["string", "null"] },
        }),
    );
    vec![
        ("InferenceError", object(&["error"], json!({ "error": text }))),
        (
            "ServerMetadata",
            object(
                &["name", "version", "extensions"],
                json!({
                    "name": { "const": SERVER_NAME }, "version": text,
                    "extensions": list(&json!({ "enum": EXTENSIONS })),
                }),
            ),
        ),
        ("ServerLive", object(&["live"], json!({ "live": { "type": "boolean" } }))),
        ("ServerReady", object(&["ready"], json!({ "ready": { "type": "boolean" } }))),
        ("ModelReady", object(&["name", "ready"], json!({ "name": text, "ready": { "type": "boolean" } }))),
        (
            "ModelMetadata",
            object(
                &["name", "versions", "platform", "inputs", "outputs"],
                json!({
                    "name": text, "versions": list(&text), "platform": { "enum": ["onnx", "wasm"] },
                    "inputs": list(&port), "outputs": list(&port),
                }),
            ),
        ),
        (
            "ModelConfig",
            object(
                &["name", "platform", "backend", "max_batch_size", "input", "output"],
                json!({
                    "name": text, "platform": text, "backend": text, "max_batch_size": number,
                    "input": list(&config_port), "output": list(&config_port),
                }),
            ),
        ),
        ("ModelStatistics", object(&["model_stats"], json!({ "model_stats": list(&statistics) }))),
        ("RepositoryIndex", list(&entry)),
        ("RepositoryIndexRequest", object(&[], json!({ "ready": { "type": "boolean" } }))),
        ("RepositoryRequest", object(&[], json!({ "parameters": parameters }))),
        ("InferenceTensor", tensor),
        (
            "InferenceRequest",
            object(
                &["inputs"],
                json!({
                    "id": text,
                    "inputs": list(&reference("InferenceTensor")),
                    "outputs": list(&wanted),
                    "parameters": { "type": "object", "properties": {
                        "binary_data_output": { "type": "boolean" },
                        "timeout": { "type": "integer", "minimum": 0, "description": "Microseconds." },
                    } },
                }),
            ),
        ),
        (
            "InferenceResponse",
            object(
                &["model_name", "model_version", "outputs"],
                json!({
                    "id": text, "model_name": text, "model_version": text,
                    "outputs": list(&reference("InferenceTensor")),
                }),
            ),
        ),
    ]
}
