//! The form for a new job: inference over a file.

use std::sync::Arc;

use aimass_core::data::{FileName, Format};
use aimass_core::event::OnError;
use aimass_core::{Fault, Result};
use aimass_platform::{BatchRequest, JobRequest, Platform, Scope};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::super::visit::{Fields, Visit};
use super::super::{files, lists, shell};
use super::{PATH, path};
use crate::app::App;
use crate::problem::Rejection;

/// The formats that a result can have.
const FORMATS: [(Format, &str); 3] = [(Format::Parquet, "parquet"), (Format::Csv, "csv"), (Format::Ndjson, "ndjson")];

/// What to do about a row that cannot be computed, with its word in the form.
const ON_ERROR: [(OnError, &str, &str); 3] = [
    (OnError::Fail, "fail", "ends the job"),
    (OnError::Skip, "skip", "is left out"),
    (OnError::Null, "null", "gets nulls"),
];

/// Whether the token may make one.
pub(super) fn may(visit: &Visit) -> bool {
    let all = [Scope::JobsWrite, Scope::DataRead, Scope::DataWrite];
    all.into_iter().all(|scope| visit.may(scope))
        && lists::KINDS.into_iter().any(|kind| visit.may(lists::invoke_scope(kind)))
}

pub(super) fn section(platform: &Platform, visit: &Visit, input: Option<&str>) -> Markup {
    html! {
        details.panel open[input.is_some()] {
            summary { "New job" }
            form method="post" action=(PATH) {
                (shell::form_key(visit))
                div.row {
                    div.field.grow {
                        label for="target" { "Model or plugin" }
                        input #target name="target" required list="targets" placeholder="name, name@3 or name:prod" autocomplete="off" spellcheck="false";
                        datalist #targets { @for name in lists::callable(platform, visit) { option value=(name) {} } }
                    }
                    div.field.grow {
                        label for="input" { "Over the file" }
                        input #input name="input" required list="files" value=[input] placeholder="rows.csv" autocomplete="off" spellcheck="false";
                        datalist #files { @for name in inputs(platform, visit) { option value=(name) {} } }
                    }
                    div.field.grow {
                        label for="output" { "Into the file" }
                        input #output name="output" required placeholder="scores.csv" autocomplete="off" spellcheck="false";
                    }
                    div.field {
                        label for="format" { "As" }
                        select #format name="format" {
                            option value="" { "what its name says" }
                            @for (format, word) in FORMATS { option value=(word) { (files::format(Some(format))) } }
                        }
                    }
                }
                div.field {
                    label for="columns" { "Columns" }
                    textarea #columns name="columns" rows="2" spellcheck="false" placeholder="x=a,b,c" aria-describedby="columns-help" {}
                    p.hint #columns-help { "A line for each input: the columns that make it up. An input that has no line is the column of its own name." }
                }
                div.row {
                    div.field {
                        label for="batch-size" { "Rows of a call" }
                        input #batch-size type="number" name="batch-size" min="1" placeholder="256";
                    }
                    div.field {
                        label for="on-error" { "A row that cannot be computed" }
                        select #on-error name="on-error" { @for (_, word, says) in ON_ERROR { option value=(word) { (says) } } }
                    }
                    button.primary type="submit" { "Start the job" }
                }
            }
        }
    }
}

fn inputs(platform: &Platform, visit: &Visit) -> Vec<FileName> {
    let files = platform.files(visit.asked(), None, None).map(|page| page.items).unwrap_or_default();
    files.into_iter().filter(|file| file.format.is_some()).map(|file| file.name).collect()
}

pub(crate) async fn create(State(app): State<Arc<App>>, visit: Visit, fields: Fields) -> Result<Response, Rejection> {
    visit.caller.require(Scope::JobsWrite)?;
    let job =
        app.platform().create_job(visit.asked(), visit.request.as_str(), JobRequest::Batch(read(&fields)?)).await?;
    Ok(visit.done(&path(&job.id), "The job is accepted."))
}

/// The job that the form asks for.
fn read(fields: &Fields) -> Result<BatchRequest> {
    let format = match fields.get("format") {
        None => None,
        Some(word) => Some(
            FORMATS
                .into_iter()
                .find(|(_, known)| *known == word)
                .map(|(format, _)| format)
                .ok_or_else(|| Fault::invalid("there is no such format"))?,
        ),
    };
    let on_error = fields.get("on-error").unwrap_or("fail");
    let on_error = ON_ERROR.into_iter().find(|(_, word, _)| *word == on_error).map(|(on_error, ..)| on_error);
    Ok(BatchRequest {
        target: fields.text("target")?.to_owned(),
        input: fields.parse("input")?,
        output: fields.parse("output")?,
        input_format: None,
        format,
        columns: columns(fields.get("columns").unwrap_or_default())?,
        keep: None,
        batch_size: fields.number("batch-size")?,
        checkpoint_rows: None,
        on_error: on_error.ok_or_else(|| Fault::invalid("`on-error` is `fail`, `skip` or `null`"))?,
    })
}

/// A line for each input: `x=a,b,c`.
fn columns(text: &str) -> Result<std::collections::BTreeMap<String, Vec<String>>> {
    let mut all = std::collections::BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, columns) =
            line.split_once('=').ok_or_else(|| Fault::invalid("a line of columns is `input=column,column`"))?;
        let columns =
            columns.split(',').map(|column| column.trim().to_owned()).filter(|column| !column.is_empty()).collect();
        all.insert(input.trim().to_owned(), columns);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_form_becomes_the_job_that_it_says() {
        let read = |text: &str| read(&Fields::read(text.as_bytes()));
        let job = read("target=m%402&input=rows.csv&output=out.bin&format=ndjson&columns=x%3Da%2C+b%0D%0Ay%3Dc&batch-size=7&on-error=skip").unwrap();
        assert_eq!((job.target.as_str(), job.format, job.batch_size), ("m@2", Some(Format::Ndjson), Some(7)));
        assert_eq!(job.columns["x"], ["a", "b"]);
        assert_eq!((job.columns["y"].as_slice(), job.on_error), (&["c".to_owned()][..], OnError::Skip));
        let plain = read("target=m&input=rows.csv&output=out.csv&format=&columns=&batch-size=").unwrap();
        assert!(plain.columns.is_empty() && plain.format.is_none() && plain.batch_size.is_none());
        for bad in [
            "target=m&input=..&output=x",
            "target=m&input=a&output=b&columns=x",
            "target=m&input=a&output=b&format=exe",
            "target=m&input=a&output=b&on-error=pray",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
