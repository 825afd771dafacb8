//! Refusals and failures: which can come where, and what they look like.

use std::borrow::Cow;
use std::collections::BTreeMap;

use aimass_core::Code;
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::schemas::reference;
use super::{Operation, Schemas, parameters_of};
use crate::problem::status;
use crate::routes::{Access, Route};

/// Problem details (RFC 9457), as [`crate::problem`] writes them.
pub(crate) struct Problem;

impl JsonSchema for Problem {
    fn schema_name() -> Cow<'static, str> {
        "Problem".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        json_schema!({
            "type": "object",
            "description": "Problem details (RFC 9457).",
            "required": ["type", "title", "status", "detail", "code", "request_id"],
            "properties": {
                "type": { "type": "string", "format": "uri", "description": "`urn:aimass:problem:` and the code." },
                "title": { "type": "string", "description": "What kind of problem it is: the same for each." },
                "status": { "type": "integer", "description": "The status of the answer." },
                "detail": { "type": "string", "description": "What is wrong with this request, and what to do." },
                "code": { "enum": codes, "description": "A stable word for programs." },
                "request_id": { "type": "string", "description": "The request, as the log names it." },
            },
        })
    }
}

pub(super) fn add_schemas(schemas: &mut Schemas) {
    schemas.answer::<Problem>();
}

/// What can come of a route by its shape: a body can be too large, a name unknown, a token missing.
pub(super) fn expected(route: &Route, operation: &mut Operation) {
    let mut may = |statuses: &[u16]| operation.errors.extend(statuses);
    if route.access != Access::Public {
        may(&[401, 403, 500, 503]);
    }
    if parameters_of(route.path).next().is_some() {
        may(&[400, 404]);
    }
    // Each write is a record of the journal, and takes a key with which it is done once.
    let is_write = route.method != Method::GET && route.path.starts_with("/api/");
    if is_write {
        may(&[400, 409, 413, 422, 507]);
    }
    if !operation.parameters.is_empty() {
        operation.errors.insert(400);
    }
    if is_write {
        operation.parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
    }
    if operation.body.is_some() || (operation.unsaid && route.method != Method::GET) {
        operation.errors.extend([400, 413]);
    }
}

/// All answers of an operation, with its refusals as references to those that are shared.
pub(super) fn with_answers(route: &Route, operation: &mut Operation) -> BTreeMap<String, Value> {
    let form = if route.path.starts_with("/v2") { "Oip" } else { "Problem" };
    let refusal =
        |status: &u16| (status.to_string(), json!({ "$ref": format!("#/components/responses/{form}{status}") }));
    let answers =
        std::mem::take(&mut operation.answers).into_iter().map(|(status, answer)| (status.to_string(), answer));
    let otherwise = operation.otherwise.take().map(|answer| ("default".to_owned(), answer));
    operation.errors.iter().map(refusal).chain(answers).chain(otherwise).collect()
}

/// One answer a status, in both forms.
pub(super) fn shared_answers() -> Value {
    let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
    for &code in Code::ALL {
        by_status.entry(status(code).as_u16()).or_default().push(code);
    }
    let mut answers = BTreeMap::new();
    for (status, codes) in by_status {
        let titles: Vec<_> = codes.iter().map(|code| format!("{}.", code.title())).collect();
        let description = titles.join(" ");
        let narrow = json!({ "properties": {
            "status": { "const": status },
            "code": { "enum": codes.iter().map(|code| code.as_str()).collect::<Vec<_>>() },
        } });
        let problem = json!({ "allOf": [reference("Problem"), narrow] });
        let answer = |media_type: &str, schema: &Value| {
            let content = json!({ media_type: { "schema": schema } });
            json!({ "description": description, "content": content, "headers": headers(status) })
        };
        answers.insert(format!("Problem{status}"), answer("application/problem+json", &problem));
        answers.insert(format!("Oip{status}"), answer("application/json", &reference("InferenceError")));
    }
    json!(answers)
}

fn headers(status: u16) -> Value {
    let mut headers = json!({
        "x-request-id": { "description": "The request, as the log names it.", "schema": { "type": "string" } },
    });
    match status {
        401 => {
            headers["www-authenticate"] = json!({
                "description": "How to authenticate (RFC 6750).", "required": true, "schema": { "const": "Bearer" },
            });
        }
        429 | 503 => {
            headers["retry-after"] = json!({
                "description": "When to try again, seconds.", "required": true,
                "schema": { "type": "integer", "minimum": 1 },
            });
        }
        _ => {}
    }
    headers
}
