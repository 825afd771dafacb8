//! The playground: a form made from the signature, and what came back.

mod answer;
mod function;
mod tensors;

use std::sync::Arc;
use std::time::Instant;

use aimass_core::event::Kind;
use aimass_core::limits::MAX_INFER_BODY;
use aimass_core::name::version_number;
use aimass_core::{ElementType, Fault, Name, ObjectRef, Port, Result, Selector, Signature};
use aimass_platform::{CallOptions, ObjectDocument, VersionDocument};
use axum::extract::{Request, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

pub(super) use answer::element_view;
pub(crate) use function::call as call_function;

use super::assets::PLAYGROUND;
use super::objects::{self, Tab};
use super::visit::Visit;
use super::{lists, parts, shell};
use crate::app::App;
use crate::extract::{Params, Query, whole_body};
use crate::oip;
use crate::problem::Rejection;

/// `?version=3`; the newest one if it is left out.
#[derive(Deserialize)]
pub(crate) struct Version {
    version: Option<String>,
}

impl Version {
    fn number(&self) -> Result<Option<u64>> {
        self.version.as_deref().filter(|text| !text.is_empty()).map(version_number).transpose()
    }

    /// What a call names.
    fn reference(&self, name: Name) -> Result<ObjectRef> {
        Ok(ObjectRef { name, selector: self.number()?.map_or(Selector::Latest, Selector::Version) })
    }
}

pub(crate) async fn plugin(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(version): Query<Version>,
) -> Result<Response, Rejection> {
    Ok(show(&app, &visit, Kind::Plugin, &params, &version)?)
}

pub(crate) async fn model(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(version): Query<Version>,
) -> Result<Response, Rejection> {
    Ok(show(&app, &visit, Kind::Model, &params, &version)?)
}

fn show(app: &App, visit: &Visit, kind: Kind, params: &Params, wanted: &Version) -> Result<Response> {
    visit.caller.require(lists::invoke_scope(kind))?;
    let name: Name = params.get("name")?;
    let object = objects::record(app.platform(), visit, kind, &name)?;
    let number = wanted.number()?.unwrap_or(object.summary.latest_version);
    let version = objects::version(app.platform(), visit, kind, &name, number)?;
    let body = html! {
        (objects::top(visit, &object, Tab::Playground))
        noscript { p.notice.warn { "The playground needs its script. From a terminal: " code { "aimass invoke " (name) " …" } } }
        @if object.summary.latest_version > 1 { (versions(&object, number)) }
        @if let Some(signature) = &version.inspection.signature { (infer_form(&version, signature)) }
        @if version.inspection.worlds.iter().any(|world| world.starts_with("wasi:http/")) {
            (function::form(visit, &version))
        }
    };
    Ok(shell::page_with(visit, &format!("{name}: playground"), &PLAYGROUND, &body))
}

/// Which version is called.
fn versions(object: &ObjectDocument, number: u64) -> Markup {
    html! {
        form.row method="get" {
            div.field {
                label for="version" { "Version" }
                input #version type="number" name="version" min="1" max=(object.summary.latest_version) value=(number);
            }
            button type="submit" { "Take this version" }
        }
    }
}

fn infer_form(version: &VersionDocument, signature: &Signature) -> Markup {
    let path = parts::path(version.kind, version.name.as_str());
    html! {
        section {
            h2 { "Inference" }
            @if !signature.description.is_empty() { p { (signature.description) } }
            form data-infer={ (path) "/infer?version=" (version.version) } {
                @for (i, port) in signature.inputs.iter().enumerate() { (input(i, port)) }
                div.actions { button.primary type="submit" { "Run" } span.hint role="status" data-status {} }
            }
            div data-result aria-live="polite" {}
        }
    }
}

/// One input: JSON for numbers, text for BYTES, a file for both, an image where the shape can hold one.
fn input(i: usize, port: &Port) -> Markup {
    let id = format!("input-{i}");
    let is_text = port.element_type == ElementType::Bytes;
    let image = image_shape(port);
    let shape: Vec<String> = port.shape.iter().map(i64::to_string).collect();
    html! {
        fieldset.port data-name=(port.name) data-type=(port.element_type) data-shape=(shape.join(",")) {
            legend { code { (port.name) } " " span.hint { (port.element_type) " " (objects::shape(&port.shape)) } }
            @if !port.description.is_empty() { p.hint #{ (id) "-help" } { (port.description) } }
            div.field {
                label for={ (id) "-form" } { "Given as" }
                select #{ (id) "-form" } data-form {
                    @if is_text {
                        option value="text" { "text" }
                        @if port.shape.len() == 1 && port.shape[0] != 1 { option value="lines" { "text, a line for each element" } }
                        option value="file" { "a file" }
                    } @else {
                        @if has_json(port.element_type) { option value="json" { "JSON" } }
                        @if image.is_some() { option value="image" { "an image" } }
                        option value="file" { "a file of raw little-endian bytes" }
                    }
                }
            }
            div.field data-for="json text lines" {
                label.hidden for={ (id) "-value" } { "Value of " (port.name) }
                textarea #{ (id) "-value" } rows=(if is_text { 5 } else { 4 }) data-value spellcheck="false" { (example(port)) }
            }
            div.field data-for="file image" hidden {
                label for={ (id) "-file" } { "File" }
                div.drop data-drop={ (id) "-file" } { input #{ (id) "-file" } type="file" data-file; p.hint { "or drop it here" } }
            }
            @if image.is_some() {
                div.row data-for="image" hidden {
                    div.field {
                        label for={ (id) "-scale" } { "Values" }
                        select #{ (id) "-scale" } data-scale {
                            @if port.element_type == ElementType::Uint8 { option value="255" { "0 to 255" } }
                            @else {
                                option value="1" { "0 to 1" }
                                option value="255" { "0 to 255" }
                                option value="signed" { "−1 to 1" }
                                option value="imagenet" { "ImageNet's mean and deviation" }
                            }
                        }
                    }
                    div.field {
                        label for={ (id) "-fit" } { "Fit" }
                        select #{ (id) "-fit" } data-fit { option value="stretch" { "stretch" } option value="pad" { "keep its sides, pad" } }
                    }
                    canvas.preview data-preview width="1" height="1" aria-label="The image as the model sees it" {}
                }
            }
        }
    }
}

/// The protocol gives the half-wide floats no JSON form.
fn has_json(element_type: ElementType) -> bool {
    !matches!(element_type, ElementType::Fp16 | ElementType::Bf16)
}

/// Whether an image can be brought into this shape, and where its channels stand.
fn image_shape(port: &Port) -> Option<&'static str> {
    if !matches!(port.element_type, ElementType::Fp32 | ElementType::Uint8) {
        return None;
    }
    let shape = match port.shape.as_slice() {
        [batch, rest @ ..] if rest.len() == 3 && *batch <= 1 => rest,
        rest if rest.len() == 3 => rest,
        _ => return None,
    };
    let channels = |n: i64| n == 1 || n == 3;
    match shape {
        [c, ..] if channels(*c) => Some("first"),
        [.., c] if channels(*c) => Some("last"),
        _ => None,
    }
}

/// Something that fits, to begin with: zeros where the shape is small, nothing where it is not.
fn example(port: &Port) -> String {
    if port.element_type == ElementType::Bytes {
        return String::new();
    }
    let sizes: Vec<usize> = port.shape.iter().map(|&size| usize::try_from(size).unwrap_or(1)).collect();
    let count = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    if count.is_none_or(|count| count > 256) {
        return String::new();
    }
    let zero = match port.element_type {
        ElementType::Bool => "false",
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64 => "0.0",
        _ => "0",
    };
    sizes.iter().rev().fold(zero.to_owned(), |inner, &size| format!("[{}]", vec![inner; size].join(", ")))
}

/// Runs inference: the request is one of the Open Inference Protocol, the answer a piece of the page.
pub(crate) async fn infer(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(version): Query<Version>,
    request: Request,
) -> Result<Response, Rejection> {
    let servable = app.platform().servable(&visit.caller, &version.reference(params.get("name")?)?)?;
    servable.signature()?;
    let length = request.headers().get(oip::HEADER_LENGTH).map(|value| value.to_str().map(str::to_owned));
    let length = length.transpose().map_err(|_| Fault::invalid("the length of the JSON is a number"))?;
    let body = whole_body(request, MAX_INFER_BODY).await?;
    let mut wanted = oip::decode_request(body, length.as_deref())?;
    let inputs = std::mem::take(&mut wanted.inputs);
    let started = Instant::now();
    let options = CallOptions { deadline: wanted.timeout, ..CallOptions::default() };
    let id = visit.request.as_str();
    let outputs = app.platform().infer(&visit.caller, &servable, inputs, options, id).await?;
    Ok(shell::fragment(&answer::page(&outputs, started.elapsed(), (servable.version(), id))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_fits_its_port() {
        let port = |ty, shape: &[i64]| Port::new("x", ty, shape);
        assert_eq!(example(&port(ElementType::Fp32, &[-1, 2])), "[[0.0, 0.0]]");
        assert_eq!(example(&port(ElementType::Bool, &[])), "false");
        assert_eq!(example(&port(ElementType::Fp32, &[1, 3, 640, 640])), "");
        assert_eq!(example(&port(ElementType::Fp32, &[i64::MAX, i64::MAX])), "");
        assert_eq!(image_shape(&port(ElementType::Fp32, &[1, 3, 640, 640])), Some("first"));
        assert_eq!(image_shape(&port(ElementType::Uint8, &[-1, -1, 3])), Some("last"));
        assert_eq!(image_shape(&port(ElementType::Fp32, &[8, 3, 4, 4])), None, "no batch");
        assert_eq!(image_shape(&port(ElementType::Int64, &[1, 3, 4, 4])), None);
    }
}
