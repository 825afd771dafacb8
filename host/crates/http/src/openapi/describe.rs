//! What a handler's types say of its operation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, StatusCode, Uri};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::Schemas;
use crate::app::App;
use crate::extract::{Ask, Json, Params, Query};
use crate::problem::Rejection;

/// An operation, as far as it is known.
#[derive(Default)]
pub(crate) struct Operation {
    pub(super) description: Option<&'static str>,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    /// What it answers when it does what it was asked for, by status.
    pub(super) answers: BTreeMap<u16, Value>,
    /// What it answers with any other status.
    pub(super) otherwise: Option<Value>,
    /// Statuses of refusals and failures.
    pub(super) errors: BTreeSet<u16>,
    /// It takes or gives something that its types do not describe: [`details`](super::details) has to.
    pub(super) unsaid: bool,
}

impl Operation {
    /// An answer with a document in it.
    pub(super) fn answer(&mut self, status: u16, description: &str, media_type: &str, schema: &Value) {
        let content = json!({ media_type: { "schema": schema } });
        self.answers.insert(status, json!({ "description": description, "content": content }));
    }

    /// An answer without a body.
    pub(super) fn empty_answer(&mut self, status: u16, description: &str) {
        self.answers.insert(status, json!({ "description": description }));
    }

    /// Refusals or failures that can come.
    pub(crate) fn may_fail(&mut self, statuses: &[u16]) {
        self.errors.extend(statuses);
    }

    /// A parameter of the query or a header.
    pub(crate) fn parameter(&mut self, place: &str, name: &str, required: bool, description: &str, schema: Value) {
        let parameter = json!({
            "name": name, "in": place, "required": required, "description": description, "schema": schema
        });
        self.parameters.push(parameter);
    }
}

/// Part of a request that a handler takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no description for `/openapi.json`",
    note = "derive `schemars::JsonSchema` for the type inside, or implement `Input` in openapi/describe.rs"
)]
pub(crate) trait Input {
    /// Says what it is.
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

/// What a handler answers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no description for `/openapi.json`",
    note = "derive `schemars::JsonSchema` for the type inside, or implement `Output` in openapi/describe.rs"
)]
pub(crate) trait Output {
    /// Says what it is.
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

/// A handler whose inputs and output can be described. `T` is what axum's `Handler` has there.
#[diagnostic::on_unimplemented(
    message = "this handler has no description for `/openapi.json`",
    note = "derive `schemars::JsonSchema` for what it takes and answers (see openapi/describe.rs)"
)]
pub(crate) trait Described<T> {
    /// Says what it takes and answers.
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

impl<F, Fut> Described<((),)> for F
where
    F: FnOnce() -> Fut,
    Fut: Future,
    Fut::Output: Output,
{
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Fut::Output::describe(operation, schemas);
    }
}

macro_rules! handlers {
    ($($input:ident)*) => {
        impl<F, Fut, M, $($input,)*> Described<(M, $($input,)*)> for F
        where
            F: FnOnce($($input,)*) -> Fut,
            Fut: Future,
            Fut::Output: Output,
            $($input: Input,)*
        {
            fn describe(operation: &mut Operation, schemas: &mut Schemas) {
                $($input::describe(operation, schemas);)*
                Fut::Output::describe(operation, schemas);
            }
        }
    };
}

handlers!(A);
handlers!(A B);
handlers!(A B C);
handlers!(A B C D);
handlers!(A B C D E);
handlers!(A B C D E G);
handlers!(A B C D E G H);
handlers!(A B C D E G H I);

/// Parts of a request that are no part of its description: who asks, the path (the route table has it), headers
/// (`details` names those that mean something).
macro_rules! silent {
    ($($input:ty),*) => {
        $(impl Input for $input {
            fn describe(_: &mut Operation, _: &mut Schemas) {}
        })*
    };
}

silent!(State<Arc<App>>, Ask, Params, HeaderMap, Uri);

impl<T: JsonSchema> Input for Query<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let object = schemas.inline::<T>();
        let required = object["required"].as_array().cloned().unwrap_or_default();
        let properties = object["properties"].as_object().cloned().unwrap_or_default();
        for (name, mut schema) in properties {
            // In a query there is no null; a parameter is left out instead.
            not_null(&mut schema);
            let description = schema["description"].as_str().unwrap_or_default().to_owned();
            if let Some(object) = schema.as_object_mut() {
                object.remove("description");
            }
            let required = required.iter().any(|required| required == &name);
            operation.parameter("query", &name, required, &description, schema);
        }
    }
}

fn not_null(schema: &mut Value) {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(choices) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        choices.retain(|choice| choice["type"] != "null");
        if let [only] = choices.as_slice() {
            let mut only = only.clone();
            if let Some(description) = schema.get("description") {
                only["description"] = description.clone();
            }
            *schema = only;
        }
    }
}

impl<T: JsonSchema> Input for Json<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let content = json!({ "application/json": { "schema": schemas.request::<T>() } });
        operation.body = Some(json!({ "required": true, "content": content }));
    }
}

/// The body as it comes.
impl Input for Request {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.unsaid = true;
    }
}

impl<T: JsonSchema> Output for Answer<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let schema = schemas.answer::<T>();
        // Any JSON at all.
        operation.unsaid |= schema == Value::Bool(true);
        operation.answer(200, "Done.", "application/json", &schema);
    }
}

/// Something was made; `details` says so where the status can be another one.
impl<T: JsonSchema> Output for (StatusCode, Answer<T>) {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let schema = schemas.answer::<T>();
        operation.answer(201, "Made.", "application/json", &schema);
    }
}

/// Done, and nothing to say.
impl Output for StatusCode {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.empty_answer(204, "Done.");
    }
}

impl Output for Response {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.unsaid = true;
    }
}

/// With headers, which `details` has to name.
impl<T: JsonSchema, const N: usize> Output for ([(HeaderName, String); N], Answer<T>) {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Answer::<T>::describe(operation, schemas);
    }
}

impl<B: Into<Body>, const N: usize> Output for ([(HeaderName, &'static str); N], B) {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.unsaid = true;
    }
}

impl<T: Output> Output for Result<T, Rejection> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        T::describe(operation, schemas);
    }
}
