//! What a trigger may be.

use aimass_core::event::{FunctionTarget, InferTarget, Trigger, TriggerSource, TriggerTarget};
use aimass_core::{Fault, ObjectRef, Result};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};

use super::schedule::Schedule;

/// Bytes of a fixed body: a trigger is one row of the index, which takes 60 KiB, and JSON may double a text.
const MAX_BODY: usize = 24 << 10;

/// Bytes of a path with its query.
const MAX_PATH: usize = 2 << 10;

/// Bytes of a content type.
const MAX_CONTENT_TYPE: usize = 256;

/// Checks a trigger as far as that needs no state.
///
/// # Errors
/// `invalid_request`, `invalid_name`.
pub(super) fn check(trigger: &Trigger) -> Result<()> {
    let brings_body = match &trigger.on {
        TriggerSource::Cron(cron) => {
            let schedule = Schedule::read(cron)?;
            if schedule.next_after(crate::triggers::timetable::now_ms()).is_none() {
                return Err(Fault::invalid("the schedule never comes again"));
            }
            false
        }
    };
    match &trigger.run {
        TriggerTarget::Infer(infer) => check_infer(infer, brings_body),
        TriggerTarget::Function(function) => check_function(function),
    }
}

fn check_infer(infer: &InferTarget, brings_body: bool) -> Result<()> {
    infer.model.parse::<ObjectRef>()?;
    match &infer.body {
        None if brings_body => Ok(()),
        None => Err(Fault::invalid("what fires this trigger brings no input: give it a `body`")),
        Some(body) if !body["inputs"].is_array() => {
            Err(Fault::invalid("`body` is a request of the Open Inference Protocol: an object with `inputs`"))
        }
        Some(body) => fits(body.to_string().len()),
    }
}

fn check_function(function: &FunctionTarget) -> Result<()> {
    function.plugin.parse::<ObjectRef>()?;
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    if !known.iter().any(|method| method.as_str() == function.method) {
        return Err(Fault::invalid("`method` is GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS"));
    }
    let path = &function.path;
    if !path.starts_with('/') || path.len() > MAX_PATH || PathAndQuery::try_from(path.as_str()).is_err() {
        return Err(Fault::invalid(format!("`path` begins with `/` and has {MAX_PATH} bytes at most")));
    }
    if let Some(kind) = &function.content_type
        && (kind.is_empty() || kind.len() > MAX_CONTENT_TYPE || HeaderValue::from_str(kind).is_err())
    {
        return Err(Fault::invalid("`content_type` is not valid"));
    }
    fits(function.body.as_ref().map_or(0, String::len))
}

fn fits(size: usize) -> Result<()> {
    if size > MAX_BODY {
        return Err(Fault::invalid(format!("a trigger's `body` has {MAX_BODY} bytes at most")));
    }
    Ok(())
}
