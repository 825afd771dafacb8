//! A plugin's secrets: set, replaced, deleted; their values are never shown.

use std::sync::Arc;

use aimass_core::event::Kind;
use aimass_core::{Fault, Name};
use aimass_platform::SecretDocument;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::visit::{Fields, Visit};
use super::{parts, shell};
use crate::app::App;
use crate::extract::Params;
use crate::problem::Rejection;

/// What the settings page shows of them.
pub(super) fn section(visit: &Visit, name: &Name, secrets: &[SecretDocument]) -> Markup {
    let base = parts::path(Kind::Plugin, name.as_str());
    let rows = html! {
        @for secret in secrets {
            tr {
                th scope="row" { code { (secret.key) } }
                td { (parts::ago(secret.set_ms)) " by " (secret.set_by) }
                td {
                    form method="post" action={ (base) "/secrets/remove" } data-confirm={ "Delete the secret " (secret.key) "?" } {
                        (shell::form_key(visit))
                        input type="hidden" name="key" value=(secret.key);
                        button.quiet.danger type="submit" aria-label={ "Delete the secret " (secret.key) } { "Delete" }
                    }
                }
            }
        }
    };
    html! {
        section {
            h2 { "Secrets" }
            p { "Sealed, never shown again, and read by the plugin as it reads settings." }
            @if !secrets.is_empty() { (parts::table("Secrets", &["Name", "Set", ""], &rows)) }
            details.panel {
                summary { "Set a secret" }
                form method="post" action={ (base) "/secrets" } {
                    (shell::form_key(visit))
                    div.row {
                        div.field {
                            label for="secret-key" { "Name" }
                            input #secret-key name="key" required maxlength="128" autocomplete="off" spellcheck="false";
                        }
                        div.field.grow {
                            label for="secret-value" { "Value" }
                            textarea #secret-value name="value" rows="2" required autocomplete="off" spellcheck="false" {}
                        }
                    }
                    button.primary type="submit" { "Set the secret" }
                }
            }
        }
    }
}

pub(crate) async fn set(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    // As it was written, but for the line breaks, which forms write as CR LF.
    let value = fields.all("value").next().ok_or_else(|| Fault::invalid("`value` is missing"))?.replace("\r\n", "\n");
    let (key, value) = (fields.text("key")?, value.as_bytes());
    let (secret, _) = app.platform().set_secret(visit.asked(), &name, key, value, false).await?;
    let notice = format!("The secret {} is set.", secret.key);
    Ok(visit.done(&format!("{}/settings", parts::path(Kind::Plugin, name.as_str())), notice))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let (name, key): (Name, _) = (params.get("name")?, fields.text("key")?);
    app.platform().delete_secret(visit.asked(), &name, key, false).await?;
    let notice = format!("The secret {key} is deleted.");
    Ok(visit.done(&format!("{}/settings", parts::path(Kind::Plugin, name.as_str())), notice))
}
