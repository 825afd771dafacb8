//! What an object's owner changes: a plugin's settings and who may call it; and its end.

use std::sync::Arc;

use aimass_core::event::{Kind, Settings};
use aimass_core::{Fault, Name, Result};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::objects::{self, Tab};
use super::visit::{Fields, Visit};
use super::{lists, parts, secrets, shell};
use crate::app::App;
use crate::extract::Params;
use crate::problem::Rejection;

/// Empty rows behind the settings that there are.
const SPARE: usize = 2;

pub(crate) async fn plugin(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    visit.caller.require(lists::write_scope(Kind::Plugin))?;
    let name: Name = params.get("name")?;
    let object = objects::record(app.platform(), &visit, Kind::Plugin, &name)?;
    let settings = app.platform().settings(visit.asked(), &name).await?;
    // A plugin has 64 at most: a page.
    let secrets = app.platform().secrets(visit.asked(), &name, None, None).await?.items;
    let body = html! {
        (objects::top(&visit, &object, Tab::Settings))
        (settings_form(&visit, &name, &settings))
        (secrets::section(&visit, &name, &secrets))
        (access_form(&visit, &name, object.summary.public))
        (delete_form(&visit, Kind::Plugin, &name))
    };
    Ok(shell::page(&visit, &format!("{name}: settings"), &body))
}

pub(crate) async fn model(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    visit.caller.require(lists::write_scope(Kind::Model))?;
    let name: Name = params.get("name")?;
    let object = objects::record(app.platform(), &visit, Kind::Model, &name)?;
    let body = html! {
        (objects::top(&visit, &object, Tab::Settings))
        (delete_form(&visit, Kind::Model, &name))
    };
    Ok(shell::page(&visit, &format!("{name}: settings"), &body))
}

fn settings_form(visit: &Visit, name: &Name, settings: &Settings) -> Markup {
    let base = parts::path(Kind::Plugin, name.as_str());
    html! {
        section {
            h2 { "Settings" }
            p { "The plugin reads these through " code { "wasi:config/store" } ". A version’s next call sees what is saved; an alias takes it when it is deployed again." }
            form method="post" action={ (base) "/settings" } {
                (shell::form_key(visit))
                @for (i, (key, value)) in settings.iter().enumerate() { (setting(i, key, value)) }
                @for i in 0..SPARE { (setting(settings.len() + i, "", "")) }
                p.hint { "A row without a name is left out." }
                button.primary type="submit" { "Save settings" }
            }
        }
    }
}

fn setting(i: usize, key: &str, value: &str) -> Markup {
    let rows = value.lines().count().clamp(1, 8);
    html! {
        div.row.setting {
            div.field {
                label.hidden for={ "key-" (i) } { "Name " (i + 1) }
                input #{ "key-" (i) } name="key" value=(key) placeholder="name" spellcheck="false" autocomplete="off";
            }
            div.field.grow {
                label.hidden for={ "value-" (i) } { "Value " (i + 1) }
                textarea #{ "value-" (i) } name="value" rows=(rows) placeholder="value" spellcheck="false" {
                    // A browser drops the first line break of a text area.
                    @if value.starts_with('\n') { "\n" } (value)
                }
            }
        }
    }
}

fn access_form(visit: &Visit, name: &Name, public: bool) -> Markup {
    let base = parts::path(Kind::Plugin, name.as_str());
    html! {
        section {
            h2 { "Access" }
            @if public {
                p { "Anybody may call this plugin under " code { "/fn" } ", without a token." }
            } @else {
                p { "Calls under " code { "/fn" } " take a token of this tenant with the scope " code { "plugins:invoke" } "." }
            }
            form method="post" action={ (base) "/access" } {
                (shell::form_key(visit))
                input type="hidden" name="public" value=(if public { "no" } else { "yes" });
                button type="submit" { @if public { "Ask for a token again" } @else { "Let anybody call it" } }
            }
        }
    }
}

fn delete_form(visit: &Visit, kind: Kind, name: &Name) -> Markup {
    html! {
        section {
            h2 { "Delete" }
            p { "Deletes the " (kind.as_str()) " with all its versions. Calls under way end; new ones find nothing. This cannot be undone." }
            form.row method="post" action={ (parts::path(kind, name.as_str())) "/delete" } {
                (shell::form_key(visit))
                div.field {
                    label for="confirm" { "Write “" (name) "” to confirm" }
                    input #confirm name="confirm" required pattern=(name) autocomplete="off" spellcheck="false";
                }
                button.danger type="submit" { "Delete " (name) }
            }
        }
    }
}

pub(crate) async fn save(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    app.platform().replace_settings(visit.asked(), &name, read(&fields)?).await?;
    Ok(visit.done(&format!("{}/settings", parts::path(Kind::Plugin, name.as_str())), "The settings are saved."))
}

/// The rows of the form: names and values in turn.
fn read(fields: &Fields) -> Result<Settings> {
    let mut settings = Settings::new();
    let mut key = None;
    for (field, text) in fields.pairs() {
        match (field, key.take()) {
            ("key", _) => key = Some(text.trim()).filter(|key| !key.is_empty()),
            ("value", Some(key)) => {
                // Forms write line breaks as CR LF (URL Standard, section 5.2).
                if settings.insert(key.to_owned(), text.replace("\r\n", "\n")).is_some() {
                    return Err(Fault::invalid(format!("the name `{key:.64}` stands twice")));
                }
            }
            _ => {}
        }
    }
    Ok(settings)
}

pub(crate) async fn set_access(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    let public = match fields.text("public")? {
        "yes" => true,
        "no" => false,
        _ => return Err(Fault::invalid("`public` is `yes` or `no`").into()),
    };
    app.platform().set_public(visit.asked(), &name, public).await?;
    let notice = if public { "Anybody may call it now." } else { "Calls take a token again." };
    Ok(visit.done(&format!("{}/settings", parts::path(Kind::Plugin, name.as_str())), notice))
}

pub(crate) async fn delete_plugin(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let name = confirmed(&params, &fields)?;
    app.platform().delete_plugin(visit.asked(), &name).await?;
    Ok(visit.done("/console/plugins", format!("The plugin {name} is deleted.")))
}

pub(crate) async fn delete_model(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let name = confirmed(&params, &fields)?;
    app.platform().delete_model(visit.asked(), &name).await?;
    Ok(visit.done("/console/models", format!("The model {name} is deleted.")))
}

fn confirmed(params: &Params, fields: &Fields) -> Result<Name> {
    let name: Name = params.get("name")?;
    match fields.get("confirm") == Some(name.as_str()) {
        true => Ok(name),
        false => Err(Fault::invalid("write the name to confirm; nothing was deleted")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_of_the_form_become_settings() {
        let read = |text: &str| read(&Fields::read(text.as_bytes()));
        let settings = read("key=a&value=1%0D%0A2&key=&value=left+out&key=b&value=").unwrap();
        assert_eq!(settings, Settings::from([("a".into(), "1\n2".into()), ("b".into(), String::new())]));
        assert!(read("key=a&value=1&key=a&value=2").is_err());
        assert_eq!(read("value=without&key=alone").unwrap(), Settings::new());
    }
}
