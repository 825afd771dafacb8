//! Tokens: who has one, for what; new ones, shown once; and their end.

use std::sync::Arc;

use aimass_core::{Name, Result};
use aimass_platform::{Page, Scope, TokenDocument, TokenRequest, TokenSecret};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::visit::{Fields, Visit};
use super::{parts, shell};
use crate::app::App;
use crate::extract::{Paging, Params, Query};
use crate::problem::Rejection;

/// Roles that every tenant has, in the order of what they may do.
const ROLES: [(&str, &str); 3] =
    [("viewer", "sees"), ("developer", "uploads, configures and calls"), ("admin", "everything in the tenant")];

/// How long a token may be valid, in the form: hours and words.
const LIVES: [(u64, &str); 5] =
    [(1, "an hour"), (24, "a day"), (7 * 24, "a week"), (90 * 24, "90 days"), (365 * 24, "a year")];

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(paging): Query<Paging>,
) -> Result<Response, Rejection> {
    let page = app.platform().tokens(visit.asked(), None, paging.after.as_deref(), paging.limit).await?;
    let may_write = visit.is_operator() || visit.may(Scope::TokensWrite);
    let body = html! {
        (parts::heading(&html! { "Tokens" }, &html! {}))
        @if may_write { (form(&visit, "/console/tokens", visit.is_operator())) }
        (rows(&visit, "/console/tokens", &page, may_write))
    };
    Ok(shell::page(&visit, "Tokens", &body))
}

pub(crate) async fn create(State(app): State<Arc<App>>, visit: Visit, fields: Fields) -> Result<Response, Rejection> {
    let secret = app.platform().mint_token(visit.asked(), None, wish(&fields)?).await?;
    Ok(shown_once(&visit, &secret, "/console/tokens"))
}

pub(crate) async fn revoke(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    app.platform().revoke_token(visit.asked(), None, params.text("jti")?.to_owned()).await?;
    Ok(visit.done("/console/tokens", "The token is revoked: it is refused from now on."))
}

pub(crate) async fn create_for(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let tenant: Name = params.get("tenant")?;
    let secret = app.platform().mint_token(visit.asked(), Some(&tenant), wish(&fields)?).await?;
    Ok(shown_once(&visit, &secret, &format!("/console/tenants/{tenant}")))
}

pub(crate) async fn revoke_for(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
) -> Result<Response, Rejection> {
    let tenant: Name = params.get("tenant")?;
    app.platform().revoke_token(visit.asked(), Some(&tenant), params.text("jti")?.to_owned()).await?;
    Ok(visit.done(&format!("/console/tenants/{tenant}"), "The token is revoked: it is refused from now on."))
}

fn wish(fields: &Fields) -> Result<TokenRequest> {
    let words = |name| fields.all(name).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    Ok(TokenRequest {
        subject: fields.text("subject")?.to_owned(),
        scopes: words("scope"),
        roles: words("role"),
        ttl_seconds: fields.number::<u64>("hours")?.map(|hours| hours.saturating_mul(3_600)),
    })
}

/// The form for a new token. The operator's own hold the scope `operator`, a tenant's a role or scopes.
pub(super) fn form(visit: &Visit, action: &str, operator: bool) -> Markup {
    html! {
        details.panel {
            summary { "New token" }
            form method="post" action=(action) {
                (shell::form_key(visit))
                div.row {
                    div.field.grow {
                        label for="subject" { "For whom" }
                        input #subject name="subject" required maxlength="256" placeholder="ci, alice@example.com" autocomplete="off";
                    }
                    @if operator {
                        input type="hidden" name="scope" value="operator";
                    } @else {
                        div.field {
                            label for="role" { "Role" }
                            select #role name="role" {
                                @for (role, what) in ROLES { option value=(role) selected[role == "developer"] { (role) ": " (what) } }
                                option value="" { "only the scopes below" }
                            }
                        }
                    }
                    div.field {
                        label for="hours" { "Valid for" }
                        select #hours name="hours" { @for (hours, words) in LIVES { option value=(hours) selected[hours == 24] { (words) } } }
                    }
                }
                @if !operator {
                    fieldset {
                        legend { "Scopes beside the role's" }
                        div.choices {
                            @for scope in Scope::ALL.iter().filter(|scope| **scope != Scope::Operator) {
                                label.check { input type="checkbox" name="scope" value=(scope.as_str()); span { (scope.as_str()) } }
                            }
                        }
                    }
                }
                button.primary type="submit" { "Create the token" }
            }
        }
    }
}

/// The tokens that there are. `base` is where they are revoked.
pub(super) fn rows(visit: &Visit, base: &str, page: &Page<TokenDocument>, may_write: bool) -> Markup {
    let now = parts::now().as_secs();
    let rows = html! {
        @for token in &page.items {
            @let own = token.jti == visit.caller.jti;
            tr {
                th scope="row" { (token.subject) @if own { " " span.badge.plain { "this session" } } }
                td { (scopes(&token.scopes)) }
                td { (parts::when(token.expires.saturating_mul(1_000))) }
                td {
                    @if token.revoked { span.badge.bad { "revoked" } }
                    @else if token.expires <= now { span.badge.plain { "expired" } }
                    @else { span.badge.good { "valid" } }
                }
                td {
                    @if may_write && !token.revoked && token.expires > now {
                        form method="post" action={ (base) "/" (token.jti) "/revoke" } data-confirm={ "Revoke the token of " (token.subject) "?" } {
                            (shell::form_key(visit))
                            button.quiet.danger type="submit" aria-label={ "Revoke the token of " (token.subject) } { "Revoke" }
                        }
                    }
                }
            }
        }
    };
    html! {
        @if page.items.is_empty() {
            (parts::empty("No token yet", &html! { p { "Tokens that this node makes stand here. The secret itself is shown once." } }))
        } @else {
            (parts::table("Tokens", &["For whom", "Scopes", "Valid until (UTC)", "State", ""], &rows))
            (parts::pager(base, page.next.as_deref()))
        }
    }
}

fn scopes(scopes: &[String]) -> Markup {
    html! {
        @if scopes.len() <= 3 { (scopes.join(", ")) }
        @else { details { summary { (scopes.len()) " scopes" } (scopes.join(", ")) } }
    }
}

fn shown_once(visit: &Visit, secret: &TokenSecret, back: &str) -> Response {
    let body = html! {
        (parts::heading(&html! { "Token for " (secret.document.subject) }, &html! {}))
        p.notice.warn { "This is the only time that it is shown. Keep it like a password." }
        div.command { code #token { (secret.token) } button.quiet type="button" data-copy=(secret.token) { "Copy" } }
        p { "In a terminal:" }
        (parts::command("export AIMASS_TOKEN=…"))
        p { a href=(back) { "Back to the tokens" } }
    };
    shell::page(visit, "New token", &body)
}
