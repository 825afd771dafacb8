//! `/openapi.json`: the API as OpenAPI 3.1 describes it, made of the route table and of the handlers' types.
//!
//! | from | comes |
//! |---|---|
//! | the route table | path, method, who may call, the scope |
//! | a handler's arguments and answer ([`Described`]) | parameters, bodies, answers, and their schemas |
//! | [`texts`] | a summary a route, a sentence a tag |
//! | [`details`] | what types do not say: other statuses, headers, bodies that are bytes |
//!
//! A handler whose types have no schema does not compile as a route, so nothing is left out by forgetting.

mod describe;
mod details;
mod errors;
mod oip;
mod schemas;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use aimass_platform::Scope;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::routes::{Access, Route, routes};

pub(crate) use describe::{Described, Input, Operation};
pub(crate) use errors::Problem;
pub(crate) use schemas::Schemas;

/// The document. It is the same for every node of a release.
pub fn openapi() -> Value {
    let mut schemas = Schemas::new();
    // Once for the names: a request's must not be an answer's, so all of those have to be known.
    for describe in routes().iter().filter_map(|route| route.described) {
        describe(&mut Operation::default(), &mut schemas);
    }
    let mut paths = BTreeMap::<_, BTreeMap<_, _>>::new();
    let mut tags = BTreeMap::new();
    for route in routes().iter().filter(|route| route.described.is_some()) {
        let operation = describe(route, &mut schemas);
        tags.insert(tag(route.path), texts::of_tag(tag(route.path)));
        paths.entry(route.path).or_default().insert(route.method.as_str().to_ascii_lowercase(), operation);
    }
    let tag = |(name, description)| match description {
        Some(text) => json!({ "name": name, "description": text }),
        None => json!({ "name": name }),
    };
    let mut document = json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": "AI Mass",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Runs tenants' WebAssembly plugins and ONNX models.",
            "description": texts::ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags.into_iter().map(tag).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": texts::TOKEN },
            },
            "parameters": details::shared_parameters(),
            "responses": errors::shared_answers(),
            "schemas": {},
        },
    });
    errors::add_schemas(&mut schemas);
    oip::add_schemas(&mut schemas);
    document["components"]["schemas"] = schemas.finish();
    schemas::tidy(&mut document);
    document
}

/// The same as bytes, made once.
pub(crate) fn bytes() -> Bytes {
    static BYTES: OnceLock<Bytes> = OnceLock::new();
    BYTES.get_or_init(|| openapi().to_string().into()).clone()
}

fn describe(route: &Route, schemas: &mut Schemas) -> Value {
    let mut operation = Operation::default();
    if let Some(describe) = route.described {
        describe(&mut operation, schemas);
    }
    let mut parameters: Vec<_> = parameters_of(route.path).map(details::path_parameter).collect();
    parameters.append(&mut operation.parameters);
    operation.parameters = parameters;
    errors::expected(route, &mut operation);
    details::add(route, &mut operation, schemas);
    let mut document = json!({
        "operationId": operation_id(route),
        "tags": [tag(route.path)],
        "security": security(route),
        "responses": errors::with_answers(route, &mut operation),
    });
    if let Some(summary) = texts::summary(route.method.as_str(), route.path) {
        document["summary"] = summary.into();
    }
    if let Some(text) = operation.description {
        document["description"] = text.into();
    }
    if !operation.parameters.is_empty() {
        document["parameters"] = operation.parameters.into();
    }
    if let Some(body) = operation.body {
        document["requestBody"] = body;
    }
    document
}

/// Whoever has one of these may call it. For a scheme that is not OAuth, the words are the scopes that a token needs
/// (OpenAPI 3.1, Security Requirement Object).
fn security(route: &Route) -> Value {
    let one = |scope: Scope| json!({ "token": [scope.as_str()] });
    match route.access {
        // A token is asked for nothing, and shows more.
        Access::Public if route.path == "/metrics" => json!([{}, { "token": [] }]),
        Access::Public | Access::Session | Access::Signed => json!([]),
        Access::Token => details::one_of_scopes(route.path).iter().map(|&scope| one(scope)).collect(),
        Access::Tenant(scope) => json!([one(scope)]),
        Access::TenantOrOperator(scope) => json!([one(scope), one(Scope::Operator)]),
        Access::Operator => json!([one(Scope::Operator)]),
    }
}

/// What a path is about: its first part behind the prefix.
fn tag(path: &'static str) -> &'static str {
    let rest = path.strip_prefix("/api/v1/");
    match rest {
        Some(rest) => rest.split('/').next().unwrap_or_default(),
        None if path.starts_with("/v2") => "inference",
        None => "node",
    }
}

/// `GET /api/v1/tenants/{tenant}/tokens` → `get_tenants_tenant_tokens`.
fn operation_id(route: &Route) -> String {
    let path = route.path.strip_prefix("/api/v1").unwrap_or(route.path);
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(route.method.as_str().to_ascii_lowercase(), |id, word| id + "_" + word)
}

/// The names in braces.
fn parameters_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}
