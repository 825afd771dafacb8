//! Data files: what jobs read and write.

use std::sync::Arc;

use aimass_core::data::{FileName, Format};
use aimass_platform::{FileDocument, Scope};
use axum::extract::{Request, State};
use axum::response::Response;
use maud::{Markup, html};

use super::upload::ask;
use super::visit::Visit;
use super::{jobs, parts, shell};
use crate::api;
use crate::app::App;
use crate::extract::{Paging, Params, Query};
use crate::problem::Rejection;

const PATH: &str = "/console/files";

/// Where a file can be fetched. Its name is one of plain characters.
pub(super) fn path(name: &FileName) -> String {
    format!("{PATH}/{name}")
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(paging): Query<Paging>,
) -> Result<Response, Rejection> {
    let after = paging.after::<FileName>()?;
    let page = app.platform().files(visit.asked(), after.as_ref(), paging.limit)?;
    let body = html! {
        (parts::heading(&html! { "Files" }, &html! {}))
        @if page.items.is_empty() && after.is_none() {
            (parts::empty("No file yet", &html! {
                p { "Data files hold rows, as Parquet, CSV or NDJSON. A job runs a model or a plugin over every row, and what comes out is a file, too:" }
                (parts::command("aimass batch my-model --input rows.csv --output scores.csv"))
            }))
        } @else {
            (rows(&visit, &page.items))
            (parts::pager(PATH, page.next.as_deref()))
        }
        @if visit.may(Scope::DataWrite) { (upload_form()) }
    };
    Ok(shell::page(&visit, "Files", &body))
}

fn rows(visit: &Visit, files: &[FileDocument]) -> Markup {
    let (may_write, may_run) = (visit.may(Scope::DataWrite), visit.may(Scope::JobsWrite));
    let may_see_jobs = visit.may(Scope::JobsRead);
    let rows = html! {
        @for file in files {
            tr {
                th scope="row" { a href=(path(&file.name)) download { (file.name) } }
                td { (format(file.format)) }
                td.number { (parts::bytes(file.size)) }
                td { (parts::ago(file.stored_ms)) " by " (file.stored_by) }
                td {
                    @match &file.job {
                        Some(job) if may_see_jobs => { a href=(jobs::path(job)) { "of a job" } },
                        Some(_) => { "of a job" },
                        None => { "–" },
                    }
                }
                td {
                    @if may_run && file.format.is_some() {
                        a.button.quiet href={ "/console/jobs?input=" (file.name) } aria-label={ "Run a job over " (file.name) } { "Run" }
                    }
                    @if may_write {
                        " "
                        form method="post" action={ (path(&file.name)) "/delete" } data-confirm={ "Delete the file " (file.name) "?" } {
                            (shell::form_key(visit))
                            button.quiet.danger type="submit" aria-label={ "Delete the file " (file.name) } { "Delete" }
                        }
                    }
                }
            }
        }
    };
    parts::table("Files", &["Name", "Rows as", "Size#", "Stored", "Result", ""], &rows)
}

/// A format as one says it.
pub(super) fn format(format: Option<Format>) -> &'static str {
    match format {
        Some(Format::Parquet) => "Parquet",
        Some(Format::Csv) => "CSV",
        Some(Format::Ndjson) => "NDJSON",
        None => "–",
    }
}

fn upload_form() -> Markup {
    html! {
        section {
            h2 { "Upload" }
            form data-upload=(PATH) data-then=(PATH) {
                div.field {
                    label for="file" { "File: .parquet, .csv, .ndjson or .jsonl" }
                    div.drop data-drop="file" {
                        input #file type="file" name="file" required;
                        p.hint { "or drop it here" }
                    }
                }
                div.field {
                    label for="name" { "Name" }
                    input #name name="name" required maxlength="100" pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*"
                        autocomplete="off" spellcheck="false" aria-describedby="name-help";
                    p.hint #name-help { "A name that is there gets what is in this file." }
                }
                div.actions { button.primary type="submit" { "Upload" } }
                div.progress hidden {
                    progress max="1" value="0" aria-label="Uploaded" {}
                    span role="status" data-status {}
                }
                div data-result aria-live="polite" {}
            }
        }
    }
}

pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    request: Request,
) -> Result<Response, Rejection> {
    let name: FileName = params.get("file")?;
    let stored = api::files::store(State(app), ask(&visit), params, request).await?;
    visit.session.tell(format!("The file {name} is stored."));
    Ok(stored)
}

/// Its bytes, to be kept: no browser opens them as a page.
pub(crate) async fn fetch(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    api::files::fetch(State(app), ask(&visit), params).await
}

pub(crate) async fn delete(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let name: FileName = params.get("file")?;
    app.platform().delete_file(visit.asked(), &name).await?;
    Ok(visit.done(PATH, format!("The file {name} is deleted.")))
}
