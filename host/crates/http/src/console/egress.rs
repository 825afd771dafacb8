//! Where the tenant's guests may send to, and across which regions.

use std::sync::Arc;

use aimass_core::policy::{EgressRule, TransferRule};
use aimass_core::{Fault, Name, Result};
use aimass_platform::{EgressWish, RegionDocument, Scope, TransferWish};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::visit::{Fields, Visit};
use super::{parts, shell};
use crate::app::App;
use crate::problem::Rejection;

const PATH: &str = "/console/egress";

pub(crate) async fn show(State(app): State<Arc<App>>, visit: Visit) -> Result<Response, Rejection> {
    let platform = app.platform();
    // A tenant has a hundred rules of each kind at most: a page.
    let rules = platform.egress_rules(visit.asked(), None, None)?.items;
    let transfers = platform.transfers(visit.asked(), None, None)?.items;
    let region = platform.data_region(visit.asked())?;
    let may_write = visit.may(Scope::EgressWrite);
    let body = html! {
        (parts::heading(&html! { "Egress" }, &html! {}))
        p { "Plugins of this tenant reach nothing but what stands here." }
        section { h2 { "Destinations" } (rules_table(&visit, &rules, may_write)) @if may_write { (rule_form(&visit, &region)) } }
        section { h2 { "Between regions" } (transfers_table(&visit, &transfers, may_write)) @if may_write { (transfer_form(&visit)) } }
        (region_section(&visit, &region, may_write))
    };
    Ok(shell::page(&visit, "Egress", &body))
}

fn rules_table(visit: &Visit, rules: &[EgressRule], may_write: bool) -> Markup {
    if rules.is_empty() {
        return parts::empty(
            "No destination yet",
            &html! {
                p { "Guests’ outgoing requests are refused until a rule names their host:" }
                (parts::command("aimass egress allow api.example.com"))
            },
        );
    }
    let rows = html! {
        @for rule in rules {
            tr {
                th scope="row" { code { (rule.host) } }
                td { (rule.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")) }
                td { @if rule.methods.is_empty() { "every one" } @else { (rule.methods.join(", ")) } }
                td { (rule.region) }
                td { @if may_write { (remove(visit, "remove", &[("host", &rule.host)], &rule.host)) } }
            }
        }
    };
    parts::table("Destinations", &["Host", "Ports", "Methods", "Region", ""], &rows)
}

/// A button that takes something away.
fn remove(visit: &Visit, path: &str, fields: &[(&str, &str)], what: &str) -> Markup {
    html! {
        form method="post" action={ (PATH) "/" (path) } data-confirm={ "Remove the rule for " (what) "?" } {
            (shell::form_key(visit))
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            button.quiet.danger type="submit" aria-label={ "Remove the rule for " (what) } { "Remove" }
        }
    }
}

fn rule_form(visit: &Visit, region: &RegionDocument) -> Markup {
    html! {
        details.panel {
            summary { "Allow a destination" }
            form method="post" action={ (PATH) "/allow" } {
                (shell::form_key(visit))
                div.row {
                    div.field.grow {
                        label for="host" { "Host" }
                        input #host name="host" required placeholder="api.example.com or *.example.com" autocomplete="off" spellcheck="false";
                    }
                    div.field { label for="ports" { "Ports" } input #ports name="ports" value="443" required; }
                    div.field { label for="methods" { "Methods" } input #methods name="methods" placeholder="every one"; }
                    div.field { label for="to-region" { "Region" } input #to-region name="region" value=(region.node); }
                    button.primary type="submit" { "Allow" }
                }
            }
        }
    }
}

fn transfers_table(visit: &Visit, transfers: &[TransferRule], may_write: bool) -> Markup {
    if transfers.is_empty() {
        return html! { p.hint { "Data stays in its region: no transfer is permitted." } };
    }
    let rows = html! {
        @for rule in transfers {
            tr {
                th scope="row" { (rule.from) " → " (rule.to) }
                td { (rule.purpose.as_deref().unwrap_or("–")) }
                td {
                    @if may_write {
                        (remove(visit, "transfers/remove", &[("from", rule.from.as_str()), ("to", rule.to.as_str())], &format!("{} to {}", rule.from, rule.to)))
                    }
                }
            }
        }
    };
    parts::table("Transfers", &["Regions", "Purpose", ""], &rows)
}

fn transfer_form(visit: &Visit) -> Markup {
    html! {
        details.panel {
            summary { "Permit a transfer" }
            form.row method="post" action={ (PATH) "/transfers/allow" } {
                (shell::form_key(visit))
                div.field { label for="from" { "From" } input #from name="from" required placeholder="eu"; }
                div.field { label for="to" { "To" } input #to name="to" required placeholder="us"; }
                div.field.grow { label for="purpose" { "Purpose" } input #purpose name="purpose" maxlength="512"; }
                button.primary type="submit" { "Permit" }
            }
        }
    }
}

fn region_section(visit: &Visit, region: &RegionDocument, may_write: bool) -> Markup {
    html! {
        section {
            h2 { "Where the data is" }
            p { "This tenant’s data is labelled " strong { (region.region) } @if !region.own { ", as the node is" } "." }
            @if may_write {
                form.row method="post" action={ (PATH) "/region" } {
                    (shell::form_key(visit))
                    div.field {
                        label for="region" { "Region" }
                        input #region name="region" value=[region.own.then_some(&region.region)] placeholder={ (region.node) " (the node’s)" };
                    }
                    button type="submit" { "Save" }
                }
            }
        }
    }
}

pub(crate) async fn allow(State(app): State<Arc<App>>, visit: Visit, fields: Fields) -> Result<Response, Rejection> {
    let words = |name| fields.get(name).unwrap_or_default().split([',', ' ']).filter(|word| !word.is_empty());
    let port = |word: &str| word.parse::<u16>().map_err(|_| Fault::invalid("`ports` are numbers"));
    let wish = EgressWish {
        ports: words("ports").map(port).collect::<Result<_>>()?,
        methods: words("methods").map(str::to_ascii_uppercase).collect(),
        region: fields.get("region").map(str::parse).transpose()?,
    };
    let rule = app.platform().allow_egress(visit.asked(), fields.text("host")?, wish).await?;
    Ok(visit.done(PATH, format!("Plugins may send to {} now.", rule.host)))
}

pub(crate) async fn remove_rule(
    State(app): State<Arc<App>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Rejection> {
    app.platform().remove_egress(visit.asked(), fields.text("host")?).await?;
    Ok(visit.done(PATH, "The rule is removed."))
}

pub(crate) async fn allow_transfer(
    State(app): State<Arc<App>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Rejection> {
    let wish = TransferWish { purpose: fields.get("purpose").map(str::to_owned) };
    let (from, to): (Name, Name) = (fields.parse("from")?, fields.parse("to")?);
    app.platform().allow_transfer(visit.asked(), from, to, wish).await?;
    Ok(visit.done(PATH, "The transfer is permitted."))
}

pub(crate) async fn remove_transfer(
    State(app): State<Arc<App>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Rejection> {
    app.platform().remove_transfer(visit.asked(), fields.parse("from")?, fields.parse("to")?).await?;
    Ok(visit.done(PATH, "The transfer is no longer permitted."))
}

pub(crate) async fn set_region(
    State(app): State<Arc<App>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Rejection> {
    let region = fields.get("region").map(str::parse).transpose()?;
    let region = app.platform().set_data_region(visit.asked(), region).await?;
    Ok(visit.done(PATH, format!("The data is labelled {}.", region.region)))
}
