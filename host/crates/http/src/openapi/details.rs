//! What the types of a handler do not say, by method and path.

use aimass_core::cloud_event::DOCUMENT_CONTENT_TYPE;
use aimass_platform::{FileDocument, LogDocument, ObjectUsageDocument, Page, Scope, UsageDocument, VersionDocument};
use http::Method;
use serde_json::{Value, json};

use super::schemas::reference;
use super::{Operation, Schemas, oip, texts};
use crate::api::jobs::JobStatus;
use crate::api::upload::{SIGNATURE, Status};
use crate::routes::Route;

/// Adds it to an operation.
pub(super) fn add(route: &Route, operation: &mut Operation, schemas: &mut Schemas) {
    operation.description = texts::more(route.method.as_str(), route.path);
    match (route.method.as_str(), route.path) {
        ("PUT", "/api/v1/plugins/{name}") => {
            upload(operation, schemas, "application/wasm", "The component's bytes.");
            let says =
                "Who vouches for the bytes: `ed25519`, a public key and its signature of the digest, both base64.";
            operation.parameter("header", SIGNATURE, false, says, json!({ "type": "string", "pattern": "^ed25519 " }));
        }
        ("PUT", "/api/v1/models/{name}") => {
            upload(operation, schemas, "application/octet-stream", "The ONNX file's bytes.");
        }
        // The newest version is loaded to say where it runs.
        ("GET", "/api/v1/models/{name}") => operation.errors.extend([422]),
        ("POST", "/api/v1/roles") => or_replaced(operation),
        ("PUT", "/api/v1/plugins/{name}/secrets/{key}") => {
            let value = json!({ "application/octet-stream": { "schema": { "description": "The value, as it is." } } });
            operation.body = Some(json!({ "required": true, "content": value }));
            or_replaced(operation);
        }
        ("POST", "/api/v1/plugins/{name}/events") => {
            let event = json!({ "type": "object", "description": "The event in structured mode." });
            let data =
                json!({ "description": "The event's data, in binary mode: its attributes are in headers `ce-…`." });
            let content = json!({ DOCUMENT_CONTENT_TYPE: { "schema": event }, "*/*": { "schema": data } });
            operation.body = Some(json!({ "required": true, "content": content }));
            operation.empty_answer(204, "The plugin has handled it.");
            operation.errors.extend([415, 429, 502, 504, 508]);
        }
        ("PUT", "/api/v1/triggers/{name}") => or_replaced(operation),
        ("POST", path) if path.ends_with("/fire") || path.ends_with("/replay") => later(operation, "It will run."),
        ("PUT", "/api/v1/files/{file}") => stored(operation, schemas),
        ("GET", "/api/v1/files/{file}") => {
            operation.answers.insert(200, json!({ "description": "Its bytes.", "content": { "*/*": {} } }));
        }
        ("POST", "/api/v1/jobs") => {
            operation.answer(202, "It will be done.", "application/json", &schemas.answer::<JobStatus>());
            if let Some(answer) = operation.answers.get_mut(&202) {
                let says = "Where to ask how far it is.";
                answer["headers"] = json!({ "location": { "description": says, "schema": { "type": "string" } } });
            }
            operation.errors.insert(429);
        }
        ("GET", "/api/v1/jobs/{job}/events") => {
            let events = "Events `progress` and, as the last one, `end`, each with the job.";
            let schema = json!({ "type": "string", "description": events });
            operation.answer(200, "Events as they come.", "text/event-stream", &schema);
        }
        ("GET", "/api/v1/plugins/{name}/logs") => logs(operation, schemas),
        ("GET", "/api/v1/usage" | "/api/v1/tenants/{tenant}/usage") => usage(operation, schemas),
        ("GET", "/api/v1/invocations/{invocation}/result") => {
            let any = json!({ "description": "As the call was answered.", "content": { "*/*": {} } });
            operation.answers.insert(200, any.clone());
            operation.otherwise = Some(any);
        }
        // They are put into a queue.
        ("POST", path) if path.ends_with("/retry") || path.ends_with("/test") => {
            later(operation, "It waits for its turn.");
        }
        (_, path) if path.contains("/aliases/") || (path.ends_with("/deployments") && route.method == Method::POST) => {
            if let Some(answer) = operation.answers.get_mut(&200) {
                let tag = "The number of the alias's deployment in double quotes, for `If-Match`.";
                answer["headers"] = json!({ "etag": { "description": tag, "schema": { "type": "string" } } });
            }
        }
        // Another tenant's part.
        ("GET", "/api/v1/audit") => operation.may_fail(&[404]),
        ("GET", "/api/v1/audit/export") => {
            let line = json!({ "type": "string", "description": "A JSON object a line." });
            operation.answer(200, "The next lines; none behind the last.", "application/x-ndjson", &line);
        }
        ("GET", "/healthz") => {
            let properties = json!({ "status": { "const": "ok" }, "version": { "type": "string" } });
            let schema = json!({ "type": "object", "required": ["status", "version"], "properties": properties });
            operation.answer(200, "The process lives.", "application/json", &schema);
        }
        ("GET", "/readyz") => {
            operation.errors.insert(503);
            let properties = json!({ "status": { "const": "ready" } });
            let schema = json!({ "type": "object", "required": ["status"], "properties": properties });
            operation.answer(200, "The node serves.", "application/json", &schema);
        }
        ("GET", "/metrics") => {
            operation.errors.extend([401, 403, 500, 503]);
            operation.answer(200, "The metrics.", "application/openmetrics-text", &json!({ "type": "string" }));
        }
        ("GET", "/.well-known/jwks.json") => {
            let keys = json!({ "type": "array", "items": { "type": "object" } });
            let schema = json!({ "type": "object", "required": ["keys"], "properties": { "keys": keys } });
            operation.answer(200, "A JWK set (RFC 7517).", "application/json", &schema);
        }
        ("GET", "/openapi.json") => {
            operation.answer(200, "This document.", "application/json", &json!({ "type": "object" }));
        }
        (method, path) => oip::add(method, path, operation, schemas),
    }
}

/// What is made may also replace what was there.
fn or_replaced(operation: &mut Operation) {
    if let Some(mut answer) = operation.answers.get(&201).cloned() {
        answer["description"] = "Replaced.".into();
        operation.answers.insert(200, answer);
    }
}

/// What is made is a wish that waits.
fn later(operation: &mut Operation, description: &str) {
    if let Some(mut answer) = operation.answers.remove(&201) {
        answer["description"] = description.into();
        operation.answers.insert(202, answer);
    }
    operation.errors.insert(429);
}

fn logs(operation: &mut Operation, schemas: &mut Schemas) {
    operation.answer(200, "The lines, newest first.", "application/json", &schemas.answer::<Page<LogDocument>>());
    let events = "With `Accept: text/event-stream`, lines as they come: events `line` with a document, and `lost` with \
                  how many were missed.";
    if let Some(answer) = operation.answers.get_mut(&200) {
        answer["content"]["text/event-stream"] = json!({ "schema": { "type": "string", "description": events } });
    }
    let says = "Where a reader of events that was cut off goes on.";
    operation.parameter("header", "Last-Event-ID", false, says, json!({ "type": "string" }));
}

fn usage(operation: &mut Operation, schemas: &mut Schemas) {
    let hours = schemas.answer::<Page<UsageDocument>>();
    let objects = schemas.answer::<Page<ObjectUsageDocument>>();
    let schema = json!({ "anyOf": [hours, objects] });
    operation.answer(200, "What was used, by hour, or by hour and object.", "application/json", &schema);
    if let Some(answer) = operation.answers.get_mut(&200) {
        answer["content"]["text/csv"] = json!({ "schema": { "type": "string" } });
    }
}

/// A data file comes in.
fn stored(operation: &mut Operation, schemas: &mut Schemas) {
    let bytes = json!({ "*/*": { "schema": { "description": "The file's bytes." } } });
    operation.body = Some(json!({ "required": true, "content": bytes }));
    operation.parameters.push(json!({ "$ref": "#/components/parameters/IfMatch" }));
    operation.errors.extend([412, 429]);
    let document = schemas.answer::<FileDocument>();
    let tag = json!({ "etag": {
        "description": "The file's digest in double quotes, for `If-Match`.", "schema": { "type": "string" },
    } });
    for (status, description) in [(200, "It held these bytes already."), (201, "Stored.")] {
        operation.answer(status, description, "application/json", &document);
        if let Some(answer) = operation.answers.get_mut(&status) {
            answer["headers"] = tag.clone();
        }
    }
}

/// A component or a model comes in.
fn upload(operation: &mut Operation, schemas: &mut Schemas, media_type: &str, what: &str) {
    let bytes = json!({ media_type: { "schema": { "description": what } } });
    operation.body = Some(json!({ "required": true, "content": bytes }));
    for name in ["IfMatch", "Prefer"] {
        operation.parameters.push(json!({ "$ref": format!("#/components/parameters/{name}") }));
    }
    operation.errors.extend([403, 412, 413, 422, 429]);
    let text = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    let found = json!({
        "etag": text("The version's digest in double quotes, for `If-Match`."),
        "content-location": text("The version's own path."),
        "preference-applied": text("What of `Prefer` was followed."),
    });
    let later = json!({
        "location": text("Where to ask how far it is."),
        "retry-after": { "description": "Seconds.", "schema": { "type": "integer" } },
        "preference-applied": text("What of `Prefer` was followed."),
    });
    let version = schemas.answer::<VersionDocument>();
    let stored = schemas.answer::<Status>();
    let same = "The newest version has these bytes already, or the key was used for this before.";
    for (status, description, schema, headers) in [
        (200, same, &version, &found),
        (201, "A new version.", &version, &found),
        (202, "The bytes are stored and will be compiled.", &stored, &later),
    ] {
        operation.answer(status, description, "application/json", schema);
        if let Some(answer) = operation.answers.get_mut(&status) {
            answer["headers"] = headers.clone();
        }
    }
}

/// The scopes one of which a call needs whose route takes every token.
pub(super) fn one_of_scopes(path: &str) -> &'static [Scope] {
    let calls = path.starts_with("/v2") || path.starts_with("/api/v1/invocations");
    if calls { &[Scope::PluginsInvoke, Scope::ModelsInvoke] } else { Scope::ALL }
}

/// A part of the path that is in braces.
pub(super) fn path_parameter(name: &str) -> Value {
    let is = |description: &str, schema: Value| json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema });
    let id = json!({ "type": "string", "minLength": 1 });
    match name {
        "tenant" => is("The tenant's name.", reference("Name")),
        "name" => is("Its name.", reference("Name")),
        "model" => {
            let pattern = "^[a-z]([a-z0-9-]*[a-z0-9])?(:[a-z]([a-z0-9-]*[a-z0-9])?)?$";
            is("A plugin's or a model's name, or `name:alias`.", json!({ "type": "string", "pattern": pattern }))
        }
        "alias" => is("The alias.", reference("Name")),
        "signer" => is("What the tenant calls the signer.", reference("Name")),
        "webhook" => is("What the tenant calls the endpoint.", reference("Name")),
        "file" => is("The data file.", reference("FileName")),
        "key" => is("What a guest asks for it by.", id),
        "from" => is("The region that the data is labelled with.", reference("Name")),
        "to" => is("The region of the destination.", reference("Name")),
        "version" => is("The version's number.", json!({ "type": "integer", "format": "uint64", "minimum": 1 })),
        "host" => is("A host, or `*.` and a name for every name below it.", id),
        "jti" => is("The token's id.", id),
        "kid" => is("The key's id.", id),
        _ => is(&format!("The {name}'s id."), id),
    }
}

/// Headers that several operations take.
pub(super) fn shared_parameters() -> Value {
    let header = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema });
    json!({
        "IdempotencyKey": header(
            "Idempotency-Key",
            "A key of the caller's choice: the same request with the same key is done once and answered alike. With another \
             request it is refused (422).",
            json!({ "type": "string", "minLength": 1 }),
        ),
        "IfMatch": header(
            "If-Match",
            "Only if the newest version has this digest, else 412.",
            json!({ "type": "string", "pattern": "^\"sha256:[0-9a-f]{64}\"$" }),
        ),
        "Callback": header(
            "aimass-callback",
            "With `Prefer: respond-async`: the webhook endpoint that is told when it has ended.",
            reference("Name"),
        ),
        "Prefer": header(
            "Prefer",
            "RFC 7240. `respond-async`: do it later, and answer at once (202). An upload of a plugin also takes `wait=` and \
             seconds: how long to wait for it to be compiled.",
            json!({ "type": "string", "examples": ["respond-async", "wait=5"] }),
        ),
    })
}
