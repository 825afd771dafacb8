//! Whose signatures on plugins the tenant trusts.

use std::sync::Arc;

use aimass_core::{Fault, Name, Result};
use aimass_platform::{Scope, SignerKey};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::visit::{Fields, Visit};
use super::{parts, shell};
use crate::app::App;
use crate::extract::Params;
use crate::problem::Rejection;

const PATH: &str = "/console/signers";

pub(crate) async fn show(State(app): State<Arc<App>>, visit: Visit) -> Result<Response, Rejection> {
    let platform = app.platform();
    // A tenant has a hundred at most: a page.
    let signers = platform.signers(visit.asked(), None, None)?.items;
    let required = platform.signatures_required(visit.asked())?;
    let may_write = visit.may(Scope::SignersWrite);
    let rows = html! {
        @for signer in &signers {
            tr {
                th scope="row" { (signer.name) }
                td { code { (signer.public_key) } }
                td { (parts::ago(signer.added_ms)) " by " (signer.added_by) }
                td {
                    @if may_write {
                        form method="post" action={ (PATH) "/" (signer.name) "/remove" } data-confirm={ "Trust " (signer.name) " no longer?" } {
                            (shell::form_key(&visit))
                            button.quiet.danger type="submit" aria-label={ "Remove the signer " (signer.name) } { "Remove" }
                        }
                    }
                }
            }
        }
    };
    let body = html! {
        (parts::heading(&html! { "Signers" }, &html! {}))
        @if signers.is_empty() {
            (parts::empty("No signer yet", &html! {
                p { "A signer vouches for plugins by a detached signature over their bytes. Make a key, and trust it:" }
                (parts::command("aimass signers generate ci.pem && aimass signers add ci ci.pem.pub"))
            }))
        } @else { (parts::table("Signers", &["Name", "Public key (Ed25519)", "Added", ""], &rows)) }
        @if may_write { (form(&visit)) }
        (requirement(&visit, required, may_write))
    };
    Ok(shell::page(&visit, "Signers", &body))
}

fn form(visit: &Visit) -> Markup {
    html! {
        details.panel {
            summary { "Trust a signer" }
            form method="post" action={ (PATH) "/add" } {
                (shell::form_key(visit))
                div.field { label for="name" { "Name" } input #name name="name" required maxlength="63" autocomplete="off"; }
                div.field {
                    label for="key" { "Public key" }
                    textarea #key name="key" rows="3" required spellcheck="false" aria-describedby="key-help" {}
                    p.hint #key-help { "Ed25519, as PEM or as base64 of its 32 bytes" }
                }
                button.primary type="submit" { "Trust" }
            }
        }
    }
}

fn requirement(visit: &Visit, required: bool, may_write: bool) -> Markup {
    html! {
        section {
            h2 { "Unsigned plugins" }
            @if required { p { "Refused: every upload must be signed by one of these." } } @else { p { "Taken: signatures are shown, not asked for." } }
            @if may_write {
                form method="post" action={ (PATH) "/require" } {
                    (shell::form_key(visit))
                    input type="hidden" name="required" value=(if required { "no" } else { "yes" });
                    button type="submit" { @if required { "Take unsigned plugins, too" } @else { "Insist on signatures" } }
                }
            }
        }
    }
}

pub(crate) async fn add(State(app): State<Arc<App>>, visit: Visit, fields: Fields) -> Result<Response, Rejection> {
    let (name, key): (Name, SignerKey) = (fields.parse("name")?, fields.parse("key")?);
    let signer = app.platform().add_signer(visit.asked(), name, key).await?;
    Ok(visit.done(PATH, format!("{} is trusted.", signer.name)))
}

pub(crate) async fn remove(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    app.platform().remove_signer(visit.asked(), params.get("name")?).await?;
    Ok(visit.done(PATH, "The signer is trusted no longer."))
}

pub(crate) async fn require(State(app): State<Arc<App>>, visit: Visit, fields: Fields) -> Result<Response, Rejection> {
    let required = match fields.text("required")? {
        "yes" => true,
        "no" => false,
        _ => return Err(Fault::invalid("`required` is `yes` or `no`").into()),
    };
    app.platform().require_signatures(visit.asked(), required).await?;
    Ok(visit.done(PATH, if required { "Uploads must be signed now." } else { "Unsigned plugins are taken again." }))
}
