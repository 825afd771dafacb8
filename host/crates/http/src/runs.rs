//! Requests that no connection brought: what triggers run.

use aimass_core::limits::MAX_JSON;
use aimass_core::name::version_number;
use aimass_core::{Fault, ObjectRef, Result, Selector};
use aimass_platform::{Perform, Performed, RunRequest};
use async_trait::async_trait;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::BodyExt;

use crate::app::App;
use crate::depth::Depth;
use crate::functions;
use crate::problem::{log, status};
use crate::v2;

/// What is kept of an answer that is no success.
const DETAIL: usize = 256;

#[async_trait]
impl Perform for App {
    async fn perform(&self, request: RunRequest) -> Performed {
        let id = request.id.clone();
        match serve(self, request).await {
            Ok(response) => read(response).await,
            Err(fault) => {
                log(&fault, &id);
                Performed { status: status(fault.code()).as_u16(), detail: Some(fault.detail().to_owned()) }
            }
        }
    }
}

async fn serve(app: &App, run: RunRequest) -> Result<Response> {
    let RunRequest { caller, id, method, path, content_type, body } = run;
    if let Some(rest) = path.strip_prefix("/v2/models/") {
        let servable = app.platform().servable(&caller, &model(rest)?)?;
        return v2::run(app, &caller, &servable, (body, None), Depth(0), &id).await;
    }
    // A function's request has a host, and this one comes from the node itself.
    let mut request = Request::builder().method(method.as_str()).uri(path).header(HOST, "localhost");
    if let Some(kind) = content_type {
        request = request.header(CONTENT_TYPE, kind);
    }
    let request =
        request.body(Body::from(body)).map_err(|e| Fault::invalid("the request is not valid").caused_by(e))?;
    functions::call_as(app, &caller, request, Depth(0), &id).await
}

/// `sum/infer`, `sum/versions/3/infer` or `sum:prod/infer`.
fn model(rest: &str) -> Result<ObjectRef> {
    let name = rest.strip_suffix("/infer").ok_or_else(Fault::not_found)?;
    match name.split_once("/versions/") {
        Some((name, version)) => {
            Ok(ObjectRef { name: name.parse()?, selector: Selector::Version(version_number(version)?) })
        }
        None => name.parse(),
    }
}

/// Reads an answer to its end, as a client would: a function that is still writing would be cut off else.
async fn read(response: Response) -> Performed {
    let (head, mut body) = response.into_parts();
    let (failed, mut words, mut size) = (head.status.as_u16() >= 400, Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                let detail = format!("the answer broke off: {error}");
                return Performed { status: 502, detail: Some(detail.chars().take(DETAIL).collect()) };
            }
        };
        let Some(data) = frame.data_ref() else { continue };
        size += data.len();
        if failed && words.len() < DETAIL {
            words.extend_from_slice(&data[..data.len().min(DETAIL - words.len())]);
        }
        // Nobody reads a longer one, and the guest's own limit stands far above.
        if size > MAX_JSON {
            break;
        }
    }
    let detail = (!words.is_empty()).then(|| String::from_utf8_lossy(&words).into_owned());
    Performed { status: head.status.as_u16(), detail }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_names_a_model() {
        for (path, reference) in
            [("sum/infer", "sum"), ("sum/versions/3/infer", "sum@3"), ("sum:prod/infer", "sum:prod")]
        {
            assert_eq!(model(path).unwrap().to_string(), reference);
        }
        assert!(model("sum").is_err() && model("../x/infer").is_err());
    }
}
