//! The forms for a new trigger: by the calendar, or for webhooks.

use std::sync::Arc;

use aimass_core::event::{
    CronSource, EventTarget, FunctionTarget, InferTarget, Trigger, TriggerSource, TriggerTarget, WebhookSource,
};
use aimass_core::{Code, Fault, Name, Result};
use aimass_platform::{NewTrigger, Platform, Scope};
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use http::header::ORIGIN;
use maud::{Markup, html};

use super::super::visit::{Fields, Visit};
use super::super::{lists, parts, shell};
use super::{PATH, hook, path};
use crate::app::App;
use crate::extract::Params;
use crate::problem::Rejection;

/// The methods that the form offers; what a schedule calls is mostly told to do something.
const METHODS: [&str; 5] = ["POST", "GET", "PUT", "PATCH", "DELETE"];

/// Zones that the form proposes; the node takes every one of IANA's.
const ZONES: [&str; 5] = ["UTC", "Europe/Berlin", "Europe/London", "America/New_York", "Asia/Tokyo"];

/// How late a missed run may still come: seconds and words.
const LATE: [(u64, &str); 4] =
    [(3_600, "an hour"), (24 * 3_600, "a day"), (7 * 24 * 3_600, "a week"), (0, "not at all")];

/// Both forms, and the names that can be called.
pub(super) fn section(platform: &Platform, visit: &Visit) -> Markup {
    html! {
        details.panel {
            summary { "New schedule" }
            form method="post" action=(PATH) {
                (shell::form_key(visit))
                input type="hidden" name="on" value="cron";
                div.row {
                    (name_field("cron"))
                    div.field {
                        label for="schedule" { "Schedule" }
                        input #schedule name="schedule" required placeholder="30 2 * * *" autocomplete="off" spellcheck="false" aria-describedby="schedule-help";
                    }
                    div.field {
                        label for="zone" { "Time zone" }
                        input #zone name="zone" value="UTC" list="zones" required autocomplete="off" spellcheck="false";
                        datalist #zones { @for zone in ZONES { option value=(zone) {} } }
                    }
                    div.field {
                        label for="late" { "Catch up when late by" }
                        select #late name="late" { @for (seconds, words) in LATE { option value=(seconds) { (words) } } }
                    }
                }
                p.hint #schedule-help { "Minute, hour, day of the month, month, weekday; or six fields with seconds before them; or @hourly, @daily." }
                (target("cron"))
                button.primary type="submit" { "Create the schedule" }
            }
        }
        details.panel {
            summary { "New webhook" }
            form method="post" action=(PATH) {
                (shell::form_key(visit))
                input type="hidden" name="on" value="webhook";
                p { "Whoever knows its secret can fire it: webhooks are signed as Standard Webhooks has it, and their body is what is called with." }
                div.row { (name_field("hook")) }
                (target("hook"))
                button.primary type="submit" { "Create the webhook" }
            }
        }
        datalist #targets { @for name in lists::callable(platform, visit) { option value=(name) {} } }
    }
}

fn name_field(form: &str) -> Markup {
    html! {
        div.field {
            label for={ (form) "-name" } { "Name" }
            input #{ (form) "-name" } name="name" required maxlength="63" pattern="[a-z]([a-z0-9\\-]*[a-z0-9])?" autocomplete="off" spellcheck="false";
        }
    }
}

/// What is called. Fields that a choice leaves no sense are hidden by the style sheet.
fn target(form: &str) -> Markup {
    let id = |field: &str| format!("{form}-{field}");
    html! {
        fieldset.target {
            legend { "Calls" }
            div.row {
                div.field {
                    label for=(id("runs")) { "How" }
                    select #(id("runs")) name="runs" {
                        option value="function" { "an HTTP function" }
                        option value="infer" { "inference" }
                        option value="event" { "telling a plugin of it" }
                    }
                }
                div.field.grow {
                    label for=(id("target")) { "Plugin or model" }
                    input #(id("target")) name="target" required list="targets" placeholder="name, name@3 or name:prod" autocomplete="off" spellcheck="false";
                }
                div.field.for-function {
                    label for=(id("method")) { "Method" }
                    select #(id("method")) name="method" { @for method in METHODS { option { (method) } } }
                }
                div.field.grow.for-function {
                    label for=(id("path")) { "Path" }
                    input #(id("path")) name="path" value="/" pattern="/.*" autocomplete="off" spellcheck="false";
                }
            }
            div.field.for-body {
                label for=(id("body")) { "Body" }
                textarea #(id("body")) name="body" rows="3" spellcheck="false" aria-describedby=(id("body-help")) {}
                p.hint #(id("body-help")) {
                    @if form == "cron" { "Of inference it is a request of the Open Inference Protocol: " code { "{\"inputs\": […]}" } "." }
                    @else { "Left empty, it is what the webhook brings." }
                }
            }
        }
    }
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Rejection> {
    visit.caller.require(Scope::TriggersWrite)?;
    let (platform, name) = (app.platform(), fields.parse::<Name>("name")?);
    let trigger = read(&fields)?;
    // Who wants a new one does not mean to replace another.
    match platform.trigger(visit.asked(), &name) {
        Ok(_) => return Err(Fault::new(Code::Conflict, format!("there is a trigger `{name}` already")).into()),
        Err(fault) if fault.code() == Code::NotFound => {}
        Err(fault) => return Err(fault.into()),
    }
    let (made, _) = platform.set_trigger(visit.asked(), &name, trigger.into(), false).await?;
    Ok(made_known(&visit, &headers, &made))
}

/// A new secret for a trigger's webhooks.
pub(crate) async fn renew_secret(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    visit.caller.require(Scope::TriggersWrite)?;
    let (platform, name) = (app.platform(), params.get::<Name>("name")?);
    let trigger = platform.trigger(visit.asked(), &name)?.trigger;
    let (made, _) = platform.set_trigger(visit.asked(), &name, trigger.into(), true).await?;
    Ok(made_known(&visit, &headers, &made))
}

fn made_known(visit: &Visit, headers: &HeaderMap, made: &NewTrigger) -> Response {
    let name = &made.trigger.name;
    let Some(secret) = &made.secret else {
        return visit.done(&path(name.as_str()), "The trigger is there.");
    };
    // A form says where the browser sees this node.
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    let body = html! {
        (parts::heading(&html! { "Webhook " (name) }, &html! {}))
        p { "Webhooks come here:" }
        (parts::command(&format!("{origin}{}", hook(visit, name))))
        p { "They are signed with this secret:" }
        (parts::secret(secret))
        p { a href=(path(name.as_str())) { "To the trigger" } }
    };
    shell::page(visit, "New webhook", &body)
}

/// The trigger that a form asks for.
fn read(fields: &Fields) -> Result<Trigger> {
    let on = match fields.text("on")? {
        "cron" => TriggerSource::Cron(CronSource {
            schedule: fields.text("schedule")?.to_owned(),
            time_zone: fields.text("zone")?.to_owned(),
            catch_up_seconds: fields.number("late")?.unwrap_or_default(),
        }),
        "webhook" => TriggerSource::Webhook(WebhookSource {}),
        _ => return Err(Fault::invalid("`on` is `cron` or `webhook`")),
    };
    let target = fields.text("target")?.to_owned();
    // Forms write line breaks as CR LF (URL Standard, section 5.2).
    let body = fields.get("body").map(|body| body.replace("\r\n", "\n"));
    let run = match fields.text("runs")? {
        "function" => TriggerTarget::Function(FunctionTarget {
            plugin: target,
            method: fields.get("method").unwrap_or("POST").to_owned(),
            path: fields.get("path").unwrap_or("/").to_owned(),
            content_type: None,
            body,
        }),
        "infer" => {
            let no_json = |e| Fault::invalid(format!("the body is not JSON: {e}"));
            let body = body.map(|body| serde_json::from_str(&body).map_err(no_json)).transpose()?;
            TriggerTarget::Infer(InferTarget { model: target, body })
        }
        "event" => TriggerTarget::Event(EventTarget { plugin: target }),
        _ => return Err(Fault::invalid("`runs` is `function`, `infer` or `event`")),
    };
    Ok(Trigger { on, run })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_form_becomes_the_trigger_that_it_says() {
        let read = |text: &str| read(&Fields::read(text.as_bytes()));
        let trigger =
            read("on=cron&schedule=%40hourly&zone=UTC&late=0&runs=infer&target=m%403&body=%7B%22inputs%22%3A%5B%5D%7D");
        let Trigger { on: TriggerSource::Cron(cron), run: TriggerTarget::Infer(infer) } = trigger.unwrap() else {
            panic!()
        };
        assert_eq!((cron.schedule.as_str(), cron.catch_up_seconds), ("@hourly", 0));
        assert_eq!((infer.model.as_str(), infer.body.unwrap().to_string().as_str()), ("m@3", "{\"inputs\":[]}"));
        let hook = read("on=webhook&runs=function&target=f&method=PUT&path=%2Fx&body=").unwrap();
        let TriggerTarget::Function(function) = hook.run else { panic!() };
        assert_eq!((function.method.as_str(), function.path.as_str(), function.body), ("PUT", "/x", None));
        for bad in [
            "on=never&runs=event&target=x",
            "on=cron&runs=event&target=x",
            "on=webhook&runs=infer&target=x&body=%7B",
            "on=webhook&runs=dance&target=x",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
