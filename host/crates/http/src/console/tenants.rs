//! The operator's pages: tenants, their limits, usage and tokens; the node.

use std::num::NonZeroU32;
use std::sync::Arc;

use aimass_core::event::Limits;
use aimass_core::{Name, Result};
use aimass_platform::{LimitsChange, NodeDocument, TenantDocument};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::visit::{Fields, Visit};
use super::{parts, quotas, shell, tokens, usage};
use crate::app::App;
use crate::extract::{Paging, Params, Query};
use crate::problem::Rejection;

const PATH: &str = "/console/tenants";

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(paging): Query<Paging>,
) -> Result<Response, Rejection> {
    let after = paging.after::<Name>()?;
    let page = app.platform().tenants(visit.asked(), after.as_ref(), paging.limit)?;
    let rows = html! {
        @for tenant in &page.items {
            tr {
                th scope="row" { a href={ (PATH) "/" (tenant.name) } { (tenant.name) } }
                td { (parts::ago(tenant.created_ms)) }
                td { (limits(&tenant.effective_limits)) }
            }
        }
    };
    let body = html! {
        (parts::heading(&html! { "Tenants" }, &html! {}))
        form.row method="post" action=(PATH) {
            (shell::form_key(&visit))
            div.field {
                label for="name" { "New tenant" }
                input #name name="name" required maxlength="63" placeholder="acme" autocomplete="off" spellcheck="false";
            }
            button.primary type="submit" { "Create" }
        }
        @if page.items.is_empty() && after.is_none() {
            (parts::empty("No tenant yet", &html! {
                p { "A tenant has plugins, models and tokens of its own, walled off from every other one." }
                (parts::command("aimass tenants create acme"))
            }))
        } @else {
            (parts::table("Tenants", &["Name", "Created", "Limits"], &rows))
            (parts::pager(PATH, page.next.as_deref()))
        }
    };
    Ok(shell::page(&visit, "Tenants", &body))
}

fn limits(limits: &Limits) -> Markup {
    let limit = |limit: Option<NonZeroU32>, unit: &str| limit.map(|n| format!("{n} {unit}"));
    let all = [
        limit(limits.requests_per_second, "requests/s"),
        limit(limits.calls, "calls at once"),
        limit(limits.engine_memory_mib, "MiB of models"),
        limit(limits.weight, "weight"),
    ];
    html! { (all.into_iter().flatten().collect::<Vec<_>>().join(" · ")) }
}

pub(crate) async fn create(State(app): State<Arc<App>>, visit: Visit, fields: Fields) -> Result<Response, Rejection> {
    let tenant = app.platform().create_tenant(visit.asked(), fields.parse("name")?).await?;
    let notice = format!("The tenant {} is there. It needs a token.", tenant.name);
    Ok(visit.done(&format!("{PATH}/{}", tenant.name), notice))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Response, Rejection> {
    let name: Name = params.get("tenant")?;
    let platform = app.platform();
    let tenant = platform.tenant(visit.asked(), &name)?;
    let page = platform.tokens(visit.asked(), Some(&name), paging.after.as_deref(), paging.limit).await?;
    let hours = usage::hours(platform, &visit, Some(&name))?;
    let quotas = platform.quotas_of(visit.asked(), &name)?;
    let path = format!("{PATH}/{name}");
    let body = html! {
        p.crumbs { a href=(PATH) { "Tenants" } " / " }
        (parts::heading(&html! { (name) }, &html! { a.button href={ "/console/audit?tenant=" (name) } { "Audit" } }))
        (quotas::section(&quotas))
        section { h2 { "Usage" } (usage::report(&hours)) }
        section {
            h2 { "Tokens" }
            (tokens::form(&visit, &format!("{path}/tokens"), false))
            (tokens::rows(&visit, &format!("{path}/tokens"), &page, true))
        }
        (limits_form(&visit, &tenant))
    };
    Ok(shell::page(&visit, name.as_str(), &body))
}

/// The limits in the order of the form: field, title, own, effective.
fn rows(tenant: &TenantDocument) -> [(&'static str, &'static str, Option<NonZeroU32>, Option<NonZeroU32>); 9] {
    let (own, all) = (&tenant.limits, &tenant.effective_limits);
    let (mine, node) = (&own.quotas, &all.quotas);
    [
        ("requests_per_second", "Requests a second", own.requests_per_second, all.requests_per_second),
        ("calls", "Calls at once", own.calls, all.calls),
        ("engine_memory_mib", "Memory of its models, MiB", own.engine_memory_mib, all.engine_memory_mib),
        ("weight", "Weight beside other tenants", own.weight, all.weight),
        ("storage_mib", "Storage, MiB", mine.storage_mib, node.storage_mib),
        ("plugins", "Plugins", mine.plugins, node.plugins),
        ("models", "Models", mine.models, node.models),
        (
            "compute_seconds_per_day",
            "Compute a day, seconds",
            mine.compute_seconds_per_day,
            node.compute_seconds_per_day,
        ),
        ("egress_mib_per_day", "Sent out a day, MiB", mine.egress_mib_per_day, node.egress_mib_per_day),
    ]
}

fn limits_form(visit: &Visit, tenant: &TenantDocument) -> Markup {
    html! {
        section {
            h2 { "Limits" }
            form method="post" action={ (PATH) "/" (tenant.name) "/limits" } {
                (shell::form_key(visit))
                div.row {
                    @for (field, title, own, effective) in rows(tenant) {
                        div.field {
                            label for=(field) { (title) }
                            input #(field) type="number" min="1" name=(field) value=[own]
                                placeholder=(effective.map_or("no limit".to_owned(), |n| n.to_string()));
                        }
                    }
                    button.primary type="submit" { "Save limits" }
                }
                p.hint { "An empty field is as the node has it for every tenant. Changes hold at once." }
            }
        }
    }
}

pub(crate) async fn limit(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let name: Name = params.get("tenant")?;
    // Every field of the form stands in it: an empty one gives the limit back to the node.
    let change = LimitsChange {
        weight: Some(fields.number("weight")?),
        requests_per_second: Some(fields.number("requests_per_second")?),
        calls: Some(fields.number("calls")?),
        engine_memory_mib: Some(fields.number("engine_memory_mib")?),
        storage_mib: Some(fields.number("storage_mib")?),
        plugins: Some(fields.number("plugins")?),
        models: Some(fields.number("models")?),
        compute_seconds_per_day: Some(fields.number("compute_seconds_per_day")?),
        egress_mib_per_day: Some(fields.number("egress_mib_per_day")?),
    };
    app.platform().limit_tenant(visit.asked(), &name, change).await?;
    Ok(visit.done(&format!("{PATH}/{name}"), "The limits hold."))
}

/// The operator's first page: how this node is.
pub(super) async fn node(app: &App, visit: &Visit) -> Result<Response> {
    let node = app.platform().node(visit.asked()).await?;
    let tenants = app.platform().tenants(visit.asked(), None, Some(1))?;
    let body = html! {
        (parts::heading(&html! { "This node" }, &html! {}))
        @match &node.fault {
            Some(fault) => p.notice.bad role="alert" { "Not ready: " (fault) },
            None => p.notice.good { "Ready, for " (up(node.up_seconds)) },
        }
        div.cards {
            (parts::card("Version", &html! { (node.version) }, &html! { "region " (node.region) }))
            (parts::card("Models in memory", &html! { (node.models) }, &html! { (parts::bytes(node.model_bytes)) }))
            (parts::card("Evictions", &html! { (parts::count(node.evictions)) }, &html! { "models that made room" }))
            (parts::card("Journal", &html! { (parts::count(node.records)) }, &html! { "records" }))
        }
        (devices(&node))
        @if tenants.items.is_empty() {
            (parts::empty("No tenant yet", &html! {
                p { "Nothing can be uploaded before there is a tenant, and a token for it." }
                (parts::command("aimass tenants create acme && aimass tokens create --tenant acme"))
                p { "Or " a href=(PATH) { "create one here" } "." }
            }))
        }
    };
    Ok(shell::page(visit, "This node", &body))
}

fn devices(node: &NodeDocument) -> Markup {
    let rows = html! {
        @for device in &node.devices {
            tr {
                th scope="row" { (device.engine) }
                td { (device.device) @if device.software { " " span.badge.plain { "in software" } } }
                td { @if device.available { span.badge.good { "available" } } @else { span.badge.plain { "not available" } } }
            }
        }
    };
    html! {
        section {
            h2 { "Engines" }
            @if node.devices.is_empty() { p.hint { "No engine answered." } }
            @else { (parts::table("Engines", &["Engine", "Device", "State"], &rows)) }
        }
    }
}

fn up(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_shortly() {
        assert_eq!((up(59), up(61), up(86_400 * 3)), ("59 s".into(), "1 min".into(), "3 days".into()));
    }
}
