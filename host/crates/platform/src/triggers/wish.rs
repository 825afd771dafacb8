//! What a trigger may be.

use aimass_core::data::Format;
use aimass_core::event::{
    BatchTarget, EventSource, FunctionTarget, InferTarget, Trigger, TriggerSource, TriggerTarget,
};
use aimass_core::{Fault, ObjectRef, Result};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};

use super::events::condition;
use super::journal_events::{self, short};
use super::metrics;
use super::objects::EVERY;
use super::request::output_of;
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
        TriggerSource::Event(source) => {
            check_event(source)?;
            // An event is no request for inference.
            false
        }
        TriggerSource::Webhook(_) => true,
        TriggerSource::Metric(source) => {
            source.of.parse::<ObjectRef>()?;
            every(source.every_seconds)?;
            metrics::condition(&source.when)?;
            // Figures are no request for inference.
            false
        }
        TriggerSource::Bucket(source) => {
            every(source.every_seconds)?;
            source.check()?;
            true
        }
        TriggerSource::Object(source) => {
            every(source.every_seconds)?;
            if source.folder.len() > MAX_PATH || source.suffix.as_ref().is_some_and(|s| s.len() > MAX_CONTENT_TYPE) {
                return Err(Fault::invalid("the folder or the suffix is too long"));
            }
            true
        }
    };
    match &trigger.run {
        TriggerTarget::Infer(infer) => check_infer(infer, brings_body),
        TriggerTarget::Function(function) => check_function(function),
        TriggerTarget::Event(target) => target.plugin.parse::<ObjectRef>().map(drop),
        TriggerTarget::Batch(batch) => check_batch(batch, &trigger.on),
    }
}

fn every(seconds: u64) -> Result<()> {
    if !EVERY.contains(&seconds) {
        return Err(Fault::invalid(format!("`every_seconds` is {} to {}", EVERY.start(), EVERY.end())));
    }
    Ok(())
}

fn check_event(source: &EventSource) -> Result<()> {
    let unknown = source.kinds.iter().find(|kind| !journal_events::kinds().any(|known| known == short(kind)));
    if let Some(unknown) = unknown.map(String::as_str).or_else(|| source.kinds.is_empty().then_some("")) {
        let known: Vec<_> = journal_events::kinds().collect();
        return Err(Fault::invalid(format!("`{unknown:.60}` is no event; there are {}", known.join(", "))));
    }
    source.condition.as_deref().map(condition).transpose().map(drop)
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

fn check_batch(batch: &BatchTarget, on: &TriggerSource) -> Result<()> {
    batch.target.parse::<ObjectRef>()?;
    let tells_of_files = |source: &EventSource| source.kinds.iter().all(|kind| short(kind) == "file.stored");
    match &batch.input {
        None if !matches!(on, TriggerSource::Event(source) if tells_of_files(source)) => {
            return Err(Fault::invalid("what fires this trigger names no data file: give it an `input`"));
        }
        Some(input) if Format::of(input.as_str()).is_none() => return Err(no_rows("input")),
        _ => {}
    }
    // Whatever stands for the run, the name's ending says what is written.
    if Format::of(output_of(&batch.output, "0", "2000-01-01")?.as_str()).is_none() {
        return Err(no_rows("output"));
    }
    fits(serde_json::to_string(batch).map_err(Fault::internal)?.len())
}

fn no_rows(field: &str) -> Fault {
    Fault::invalid(format!("`{field}` ends in `.parquet`, `.csv`, `.ndjson` or `.jsonl`"))
}

fn fits(size: usize) -> Result<()> {
    if size > MAX_BODY {
        return Err(Fault::invalid(format!("a trigger's `body` has {MAX_BODY} bytes at most")));
    }
    Ok(())
}
