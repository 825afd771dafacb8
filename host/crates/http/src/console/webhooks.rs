//! Webhook endpoints: where the tenant is told that calls have ended, and what became of each message.

use std::sync::Arc;

use aimass_core::{Name, Result};
use aimass_platform::{
    DeliveryDocument, ItemState, Scope, WebhookChange, WebhookDocument, WebhookRequest, WebhookSecretDocument,
};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::visit::{Fields, Visit};
use super::{calls, parts, shell};
use crate::app::App;
use crate::extract::{Paging, Params, Query};
use crate::problem::Rejection;

const PATH: &str = "/console/webhooks";

fn path(name: &Name) -> String {
    format!("{PATH}/{name}")
}

pub(crate) async fn list(State(app): State<Arc<App>>, visit: Visit) -> Result<Response, Rejection> {
    // A tenant has fifty at most: a page.
    let endpoints = app.platform().webhooks(visit.asked(), None, None)?.items;
    let body = html! {
        (parts::heading(&html! { "Webhooks" }, &html! {}))
        p { "Endpoints that are told when an asynchronous call has ended, if the call names one with " code { "aimass-callback" } ". Messages are signed as Standard Webhooks has it, and go out by the egress rules." }
        @if endpoints.is_empty() {
            (parts::empty("No endpoint yet", &html! {
                p { "What comes in from elsewhere is a trigger’s matter. To be told of ends:" }
                (parts::command("aimass webhooks create done https://hooks.example.com/aimass"))
            }))
        } @else { (rows(&endpoints)) }
        @if visit.may(Scope::WebhooksWrite) { (form(&visit)) }
    };
    Ok(shell::page(&visit, "Webhooks", &body))
}

fn rows(endpoints: &[WebhookDocument]) -> Markup {
    let rows = html! {
        @for endpoint in endpoints {
            tr {
                th scope="row" { a href=(path(&endpoint.name)) { (endpoint.name) } }
                td { code { (endpoint.url) } }
                td { (parts::ago(endpoint.created_ms)) }
                td { (rests(endpoint.paused)) }
            }
        }
    };
    parts::table("Endpoints", &["Name", "Address", "Made", "State"], &rows)
}

fn rests(paused: bool) -> Markup {
    html! { @if paused { span.badge.plain { "paused" } } @else { span.badge.good { "active" } } }
}

fn form(visit: &Visit) -> Markup {
    html! {
        details.panel {
            summary { "New endpoint" }
            form method="post" action=(PATH) {
                (shell::form_key(visit))
                div.row {
                    div.field {
                        label for="name" { "Name" }
                        input #name name="name" required maxlength="63" pattern="[a-z]([a-z0-9\\-]*[a-z0-9])?" autocomplete="off" spellcheck="false";
                    }
                    div.field.grow {
                        label for="url" { "Address" }
                        input #url name="url" required placeholder="https://hooks.example.com/aimass" autocomplete="off" spellcheck="false";
                    }
                    button.primary type="submit" { "Create the endpoint" }
                }
            }
        }
    }
}

pub(crate) async fn create(State(app): State<Arc<App>>, visit: Visit, fields: Fields) -> Result<Response, Rejection> {
    visit.caller.require(Scope::WebhooksWrite)?;
    let request = WebhookRequest { name: fields.text("name")?.to_owned(), url: fields.text("url")?.to_owned() };
    let made = app.platform().create_webhook(visit.asked(), request).await?;
    Ok(shown_once(&visit, &made))
}

pub(crate) async fn renew_secret(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
) -> Result<Response, Rejection> {
    let made = app.platform().renew_webhook_secret(visit.asked(), &params.get("webhook")?).await?;
    Ok(shown_once(&visit, &made))
}

fn shown_once(visit: &Visit, made: &WebhookSecretDocument) -> Response {
    let name = &made.webhook.name;
    let body = html! {
        (parts::heading(&html! { "Endpoint " (name) }, &html! {}))
        p { "Messages to " code { (made.webhook.url) } " are signed with this secret:" }
        (parts::secret(&made.secret))
        p { a href=(path(name)) { "To the endpoint" } }
    };
    shell::page(visit, "New endpoint", &body)
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Response, Rejection> {
    let (platform, name) = (app.platform(), params.get::<Name>("webhook")?);
    let page = platform.deliveries(visit.asked(), &name, paging.after.as_deref(), paging.limit)?;
    let deliveries = deliveries(&visit, &name, &page.items);
    if visit.fragment {
        return Ok(shell::fragment(&deliveries));
    }
    let endpoint = platform.webhook(visit.asked(), &name)?;
    let path = path(&name);
    let body = html! {
        p.crumbs { a href=(PATH) { "Webhooks" } " / " }
        (parts::heading(&html! { (name) " " (rests(endpoint.paused)) }, &actions(&visit, &endpoint)))
        dl.facts {
            dt { "Address" } dd { code { (endpoint.url) } }
            dt { "Made" } dd { (parts::ago(endpoint.created_ms)) }
        }
        section {
            h2 { "Messages" }
            @if page.items.is_empty() && paging.after.is_none() {
                (parts::empty("No message yet", &html! {
                    p { "A call that names this endpoint is told of here when it has ended:" }
                    (parts::command(&format!("aimass invoke my-plugin x=[1,2,3] --async --callback {name}")))
                }))
            } @else {
                @if paging.after.is_none() { div data-refresh=(path) { (deliveries) } } @else { (deliveries) }
                (parts::pager(&path, page.next.as_deref()))
            }
        }
    };
    Ok(shell::page(&visit, name.as_str(), &body))
}

fn actions(visit: &Visit, endpoint: &WebhookDocument) -> Markup {
    let (name, path) = (&endpoint.name, path(&endpoint.name));
    let button = |act: &str, text: &str, class: &str, confirm: Option<String>| {
        shell::act(visit, &format!("{path}/{act}"), text, class, confirm.as_deref())
    };
    html! {
        @if visit.may(Scope::WebhooksWrite) {
            (button("test", "Send a test", "primary", None))
            @if endpoint.paused { (button("resume", "Resume", "", None)) } @else { (button("pause", "Pause", "", None)) }
            (button("secret", "New secret", "", Some(format!("Make a new secret for {name}? For a day messages are signed with both."))))
            (button("delete", "Delete", "danger", Some(format!("Delete {name}? What waits for it is given up."))))
        }
    }
}

fn deliveries(visit: &Visit, name: &Name, deliveries: &[DeliveryDocument]) -> Markup {
    let (may_see, may_write) = (calls::may_see(visit), visit.may(Scope::WebhooksWrite));
    let rows = html! {
        @for delivery in deliveries {
            @let progress = &delivery.progress;
            tr {
                th scope="row" { code title=(delivery.id) { (calls::short(&delivery.id)) } }
                td {
                    @match &delivery.invocation {
                        Some(call) if may_see => { a href=(calls::path(call)) { "call " (calls::short(call)) } },
                        Some(call) => { "call " (calls::short(call)) },
                        None => { "a test" },
                    }
                }
                td { (calls::badge(progress.state)) }
                td.number { (progress.attempts) " of " (progress.max_attempts) }
                td { (parts::ago(progress.created_ms)) }
                td { @if let Some(failure) = &progress.failure { (failure.detail) } }
                td {
                    @if may_write && progress.state == ItemState::Dead {
                        form method="post" action={ (path(name)) "/deliveries/" (delivery.id) "/retry" } {
                            (shell::form_key(visit))
                            button.quiet type="submit" aria-label={ "Send " (delivery.id) " again" } { "Send again" }
                        }
                    }
                }
            }
        }
    };
    parts::table("Messages", &["Message", "Tells of", "State", "Attempts#", "Since", "Failure", ""], &rows)
}

pub(crate) async fn test(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let name: Name = params.get("webhook")?;
    app.platform().test_webhook(visit.asked(), &name).await?;
    Ok(visit.done(&path(&name), "A test is on its way."))
}

pub(crate) async fn pause(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    change(&app, &visit, &params, true, "Messages wait from now on.").await
}

pub(crate) async fn resume(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    change(&app, &visit, &params, false, "Messages go on.").await
}

async fn change(app: &App, visit: &Visit, params: &Params, paused: bool, says: &str) -> Result<Response, Rejection> {
    let name: Name = params.get("webhook")?;
    let change = WebhookChange { paused: Some(paused), ..WebhookChange::default() };
    app.platform().change_webhook(visit.asked(), &name, change).await?;
    Ok(visit.done(&path(&name), says))
}

pub(crate) async fn retry(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let name: Name = params.get("webhook")?;
    app.platform().retry_delivery(visit.asked(), &name, params.text("delivery")?).await?;
    Ok(visit.done(&path(&name), "It is sent again."))
}

pub(crate) async fn delete(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let name: Name = params.get("webhook")?;
    app.platform().remove_webhook(visit.asked(), &name).await?;
    Ok(visit.done(PATH, format!("The endpoint {name} is deleted.")))
}
