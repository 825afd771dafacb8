//! A trigger's runs: why, how they stand, and the call that each is.

use std::sync::Arc;

use aimass_core::{Name, Result};
use aimass_platform::{RunDocument, RunState, Scope};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::super::visit::Visit;
use super::super::{calls, parts, shell};
use super::{path, words};
use crate::api::triggers::run_id;
use crate::app::App;
use crate::extract::Params;
use crate::problem::Rejection;

pub(super) fn table(visit: &Visit, name: &Name, runs: &[RunDocument]) -> Markup {
    let (may_see, may_write) = (calls::may_see(visit), visit.may(Scope::TriggersWrite));
    let rows = html! {
        @for run in runs {
            tr {
                th scope="row" {
                    @if may_see && run.state != RunState::Forgotten {
                        a href=(calls::path(&run.id)) aria-label={ "The call of run " (run.number) } { (run.number) }
                    } @else { (run.number) }
                }
                td { (parts::ago(run.fired_ms)) }
                td { (words::cause(&run.cause)) @if let Some(by) = &run.asked_by { " by " (by) } }
                td { (words::state(run.state)) }
                td.number { @match run.attempts { Some(attempts) => { (attempts) }, None => { "–" } } }
                td { @if let Some(failure) = &run.failure { (failure.detail) } }
                td { @if may_write { (again(visit, name, run)) } }
            }
        }
    };
    let heads = ["Run", "Fired", "Why", "State", "Attempts#", "Failure", ""];
    parts::table("Runs", &heads, &rows)
}

fn again(visit: &Visit, name: &Name, run: &RunDocument) -> Markup {
    html! {
        form method="post" action={ (path(name.as_str())) "/runs/" (run.id) "/replay" } {
            (shell::form_key(visit))
            button.quiet type="submit" aria-label={ "Replay run " (run.number) } { "Replay" }
        }
    }
}

pub(crate) async fn replay(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    let run = app.platform().replay_run(visit.asked(), &name, run_id(&params)?).await?;
    Ok(visit.done(&path(name.as_str()), format!("Replayed: it is run {}.", run.number)))
}
