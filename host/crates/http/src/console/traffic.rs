//! Which versions serve under which alias: splits, canaries, rollback, and how that came to be.

use std::sync::Arc;

use aimass_core::event::{Change, Kind, Route};
use aimass_core::name::DEFAULT_ALIAS;
use aimass_core::{Fault, Name, Result};
use aimass_platform::{AliasDocument, DeployWish, DeploymentDocument, ObjectDocument, PromoteWish, VersionFigures};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::objects::{self, Tab};
use super::visit::{Fields, Of, Visit};
use super::{lists, parts, shell};
use crate::app::App;
use crate::extract::{Paging, Params, Query};
use crate::problem::Rejection;

/// Changes on one page, newest first.
const PAGE: usize = 20;

/// The page of a name's traffic.
fn path(kind: Kind, name: &Name) -> String {
    format!("{}/traffic", parts::path(kind, name.as_str()))
}

/// Back to it, with word of what was done.
fn done(visit: &Visit, kind: Kind, name: &Name, notice: String) -> Response {
    visit.done(&path(kind, name), notice)
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    Of(kind): Of,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Response, Rejection> {
    let (platform, name) = (app.platform(), params.get::<Name>("name")?);
    let object = objects::record(platform, &visit, kind, &name)?;
    // A name has a bounded number of aliases: a page.
    let aliases = platform.aliases(visit.asked(), (kind, &name), None, None)?.items;
    let history = platform.deployments(visit.asked(), (kind, &name), paging.after_version()?, Some(PAGE))?;
    let base = path(kind, &name);
    let may_write = visit.may(lists::write_scope(kind));
    let body = html! {
        (objects::top(&visit, &object, Tab::Traffic))
        @if paging.after.is_none() {
            @if aliases.is_empty() {
                (parts::empty("No alias yet", &html! {
                    p { "Whoever calls “" (name) "” gets its newest version. With the alias " code { (DEFAULT_ALIAS) } " that is for you to say, and a new version can be tried out on a part of the calls:" }
                    (parts::command(&format!("aimass deploy {name} --version {}", object.summary.latest_version)))
                }))
            }
            @for alias in &aliases { (alias_section(&visit, &base, alias, may_write)) }
            @if may_write { (deploy_form(&visit, &base, &object)) }
        }
        (history_section(&base, &history.items, history.next.as_deref()))
    };
    Ok(shell::page(&visit, &format!("{name}: traffic"), &body))
}

fn alias_section(visit: &Visit, base: &str, alias: &AliasDocument, may_write: bool) -> Markup {
    let path = format!("{base}/{}", alias.alias);
    let canary = alias.route.canary.as_ref();
    html! {
        section.alias {
            div.heading {
                h2 { code { ":" (alias.alias) } @if canary.is_some() { " " span.badge { "canary" } } }
                @if may_write {
                    div.actions {
                        @if canary.is_some() { (button(visit, &format!("{path}/promote"), alias, "Promote the canary", "primary", None)) }
                        @if alias.rollback_to.is_some() || canary.is_some() {
                            (button(visit, &format!("{path}/rollback"), alias, "Roll back", "", Some("Roll this alias back?")))
                        }
                        (button(visit, &format!("{path}/delete"), alias, "Delete", "danger", Some("Delete this alias?")))
                    }
                }
            }
            div.panel-box {
                (split(&alias.route))
                div data-refresh=(path) { (figures(alias)) }
                @if let Some(canary) = canary {
                    p.hint {
                        "Version " (canary.version) " is tried out"
                        @if let Some(gate) = &canary.gate { "; it goes back by itself unless " code { (gate) } " after " (canary.min_requests) " calls" }
                        @if let Some(seconds) = canary.after_seconds { "; it is promoted after " (seconds) " s" }
                        "."
                    }
                    @if may_write { (canary_form(visit, &path, alias)) }
                }
                @if behind(alias) {
                    p.hint { "It serves with the settings and secrets of its deployment; there are newer ones." }
                    @if may_write { (newest_form(visit, base, alias)) }
                }
                p.hint { "Deployment " (alias.deployment) ", " (parts::ago(alias.set_ms)) " by " (alias.set_by) }
            }
        }
    }
}

/// Whether an alias serves with settings that are not the newest.
fn behind(alias: &AliasDocument) -> bool {
    alias.newest_configuration.is_some_and(|newest| alias.route.configurations().any(|number| number != newest))
}

/// The button that deploys again what an alias says, with the newest settings.
fn newest_form(visit: &Visit, base: &str, alias: &AliasDocument) -> Markup {
    html! {
        form method="post" action=(base) {
            (shell::form_key(visit))
            input type="hidden" name="alias" value=(alias.alias);
            button type="submit" aria-label={ "Take the newest settings of " (alias.alias) } { "Take the newest settings" }
        }
    }
}

/// A button that changes an alias, unless it was changed since this page.
fn button(visit: &Visit, path: &str, alias: &AliasDocument, text: &str, class: &str, confirm: Option<&str>) -> Markup {
    html! {
        form method="post" action=(path) data-confirm=[confirm] {
            (shell::form_key(visit))
            input type="hidden" name="deployment" value=(alias.deployment);
            button class=(class) type="submit" aria-label={ (text) " of " (alias.alias) } { (text) }
        }
    }
}

/// Each version with its part of the calls, percent.
fn shares(route: &Route) -> Vec<(u64, f64)> {
    let sum: u64 = route.split.iter().map(|share| u64::from(share.weight)).sum();
    let percent = |weight: u32| if sum == 0 { 0.0 } else { f64::from(weight) * 100.0 / sum as f64 };
    route.split.iter().map(|share| (share.version, percent(share.weight))).collect()
}

/// A percentage with as many digits as it has.
fn percent(value: f64) -> String {
    format!("{} %", (value * 100.0).round() / 100.0)
}

/// The split as a bar.
fn split(route: &Route) -> Markup {
    let shares = shares(route);
    let says: Vec<_> = shares.iter().map(|(version, part)| format!("version {version}: {}", percent(*part))).collect();
    let mut start = 0.0;
    let mut pieces = vec![];
    for (i, (version, part)) in shares.iter().enumerate() {
        pieces.push((i % 4, start, *part, *version));
        start += part;
    }
    html! {
        svg.split viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label=(says.join(", ")) {
            @for (colour, start, part, version) in &pieces {
                rect class={ "share-" (colour) } x=(format!("{start:.2}")) y="0" width=(format!("{part:.2}")) height="4" {
                    title { "version " (version) ": " (percent(*part)) }
                }
            }
        }
    }
}

/// The last minute of an alias's versions.
fn figures(alias: &AliasDocument) -> Markup {
    let parts_of = shares(&alias.route);
    let of = |version: u64| parts_of.iter().position(|(other, _)| *other == version);
    let canary = alias.route.canary.as_ref().map(|canary| canary.version);
    let rows = html! {
        @for VersionFigures { version, figures } in &alias.last_minute {
            tr {
                th scope="row" {
                    @if let Some(i) = of(*version) { span class={ "dot share-" (i % 4) } {} " " }
                    "v" (version)
                    @if canary == Some(*version) { " " span.badge { "canary" } }
                    @if alias.route.shadow == Some(*version) { " " span.badge.plain { "shadow" } }
                }
                td.number { @if let Some(i) = of(*version) { (percent(parts_of[i].1)) } @else { "a copy" } }
                td.number { (parts::count(figures.requests)) }
                td.number { span.failed[figures.errors > 0] { (percent(figures.error_rate * 100.0)) } }
                td.number { @if figures.requests > 0 { (format!("{:.2} ms", figures.p50_ms)) } @else { "–" } }
                td.number { @if figures.requests > 0 { (format!("{:.2} ms", figures.p99_ms)) } @else { "–" } }
            }
        }
    };
    html! {
        (parts::table("The last minute", &["Version", "Share#", "Calls, last minute#", "Failed#", "p50#", "p99#"], &rows))
        @if let Some(compared) = &alias.compared {
            p.hint {
                "The shadow’s answers: " (compared.equal) " equal, " (compared.different) " different, "
                (compared.failed) " failed, " (compared.dropped) " not copied, "
                (compared.not_compared) " not comparable"
            }
        }
    }
}

/// The slider that gives the canary another part.
fn canary_form(visit: &Visit, path: &str, alias: &AliasDocument) -> Markup {
    let Some(canary) = &alias.route.canary else { return html! {} };
    let now =
        shares(&alias.route).iter().find(|(version, _)| *version == canary.version).map_or(0.0, |(_, part)| *part);
    let id = format!("percent-{}", alias.alias);
    html! {
        form.row.slider method="post" action={ (path) "/canary" } {
            (shell::form_key(visit))
            input type="hidden" name="deployment" value=(alias.deployment);
            input type="hidden" name="version" value=(canary.version);
            div.field.grow {
                label for=(id) { "Version " (canary.version) " gets " output for=(id) { (percent(now)) } }
                input #(id) type="range" name="percent" min="0" max="100" step="1" value=(now.round()) data-slider;
            }
            button type="submit" { "Move the canary" }
        }
    }
}

fn deploy_form(visit: &Visit, base: &str, object: &ObjectDocument) -> Markup {
    html! {
        details.panel {
            summary { "Deploy a version" }
            form method="post" action=(base) {
                (shell::form_key(visit))
                div.row {
                    div.field { label for="alias" { "Alias" } input #alias name="alias" value=(DEFAULT_ALIAS) required maxlength="63"; }
                    div.field {
                        label for="deploy-version" { "Version" }
                        input #deploy-version type="number" name="version" min="1" max=(object.summary.latest_version)
                            value=(object.summary.latest_version) required;
                    }
                    div.field.grow {
                        label for="percent" { "Share: " output for="percent" { "100 %" } }
                        input #percent type="range" name="percent" min="1" max="100" value="100" data-slider aria-describedby="share-help";
                        p.hint #share-help { "Below 100 % it is a canary beside what serves now." }
                    }
                }
                div.row {
                    div.field.grow {
                        label for="gate" { "Gate of a canary" }
                        input #gate name="gate" placeholder="error_rate < 0.01 && p99_ms < 50" spellcheck="false" autocomplete="off";
                    }
                    div.field { label for="min" { "After calls" } input #min type="number" name="min_requests" min="1" placeholder="20"; }
                    div.field { label for="after" { "Promote after seconds" } input #after type="number" name="after_seconds" min="1" placeholder="never"; }
                }
                button.primary type="submit" { "Deploy" }
            }
        }
    }
}

fn history_section(base: &str, history: &[DeploymentDocument], next: Option<&str>) -> Markup {
    if history.is_empty() {
        return html! {};
    }
    let rows = html! {
        @for change in history {
            tr {
                th scope="row" { (change.number) }
                td { code { ":" (change.alias) } }
                td { (change_word(change.deployment.change)) @if let Some(number) = change.deployment.restores { " to " (number) } }
                td { (shares(&change.deployment.route).iter().map(|(version, part)| format!("v{version} {}", percent(*part))).collect::<Vec<_>>().join(", ")) }
                td {
                    @for seen in &change.deployment.seen {
                        div { "v" (seen.version) ": " (seen.requests) " calls, " (seen.errors) " failed, p99 " (parts::millis(seen.p99_us.saturating_mul(1_000))) }
                    }
                    @if let Some(gate) = change.deployment.gate.as_ref().filter(|_| !change.deployment.seen.is_empty()) { code { (gate) } }
                }
                td { (parts::ago(change.at_ms)) " by " (change.by) }
            }
        }
    };
    html! {
        section {
            h2 { "Deployments" }
            (parts::table("Deployments", &["Number", "Alias", "Change", "Says", "Seen", "When"], &rows))
            (parts::pager(base, next))
        }
    }
}

fn change_word(change: Change) -> Markup {
    let class = match change {
        Change::GateBroken => "badge bad",
        Change::RolledBack => "badge",
        Change::Promoted => "badge good",
        Change::Set | Change::Deployed => "badge plain",
    };
    html! { span class=(class) { (change.as_str().replace('_', " ")) } }
}

/// The figures alone, for who looks again.
pub(crate) async fn alias_figures(
    State(app): State<Arc<App>>,
    visit: Visit,
    Of(kind): Of,
    params: Params,
) -> Result<Response, Rejection> {
    let alias = app.platform().alias(visit.asked(), (kind, &params.get("name")?), &params.get("alias")?)?;
    Ok(shell::fragment(&figures(&alias)))
}

pub(crate) async fn deploy(
    State(app): State<Arc<App>>,
    visit: Visit,
    Of(kind): Of,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    let alias: Name = fields.parse("alias")?;
    // Everything at once is no canary.
    let percent = fields.number::<f64>("percent")?.filter(|percent| *percent < 100.0);
    let wish = DeployWish {
        alias: Some(alias.clone()),
        version: fields.number("version")?,
        configuration: None,
        canary_percent: percent,
        shadow: None,
        gate: percent.and(fields.get("gate")).map(str::to_owned),
        min_requests: percent.map_or(Ok(None), |_| fields.number("min_requests"))?,
        after_seconds: percent.map_or(Ok(None), |_| fields.number("after_seconds"))?,
    };
    app.platform().deploy(visit.asked(), (kind, &name), wish, None).await?;
    Ok(done(&visit, kind, &name, format!("The alias {alias} says so now.")))
}

/// Gives the canary another part, and leaves its gate and its settings as they are.
pub(crate) async fn move_canary(
    State(app): State<Arc<App>>,
    visit: Visit,
    Of(kind): Of,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    visit.caller.require(lists::write_scope(kind))?;
    let (name, alias): (Name, Name) = (params.get("name")?, params.get("alias")?);
    let platform = app.platform();
    let route = platform.alias(visit.asked(), (kind, &name), &alias)?.route;
    let canary = route.canary.ok_or_else(|| Fault::invalid("this alias has no canary"))?;
    let percent = fields.number("percent")?.ok_or_else(|| Fault::invalid("`percent` is missing"))?;
    let share = route.split.iter().find(|share| share.version == canary.version);
    let wish = DeployWish {
        alias: Some(alias),
        version: Some(canary.version),
        configuration: share.and_then(|share| share.configuration),
        canary_percent: Some(percent),
        shadow: route.shadow,
        gate: canary.gate,
        min_requests: Some(canary.min_requests),
        after_seconds: canary.after_seconds,
    };
    platform.deploy(visit.asked(), (kind, &name), wish, fields.number("deployment")?).await?;
    let notice = format!("Version {} gets {percent} % of the calls.", canary.version);
    Ok(done(&visit, kind, &name, notice))
}

pub(crate) async fn promote(
    State(app): State<Arc<App>>,
    visit: Visit,
    Of(kind): Of,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let (name, alias): (Name, Name) = (params.get("name")?, params.get("alias")?);
    let wish = PromoteWish::default();
    app.platform().promote(visit.asked(), (kind, &name), &alias, wish, fields.number("deployment")?).await?;
    let notice = format!("The canary of {alias} serves all calls.");
    Ok(done(&visit, kind, &name, notice))
}

pub(crate) async fn roll_back(
    State(app): State<Arc<App>>,
    visit: Visit,
    Of(kind): Of,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let (name, alias): (Name, Name) = (params.get("name")?, params.get("alias")?);
    app.platform().roll_back(visit.asked(), (kind, &name), &alias, fields.number("deployment")?).await?;
    let notice = format!("The alias {alias} says what it said before.");
    Ok(done(&visit, kind, &name, notice))
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    visit: Visit,
    Of(kind): Of,
    params: Params,
    fields: Fields,
) -> Result<Response, Rejection> {
    let (name, alias): (Name, Name) = (params.get("name")?, params.get("alias")?);
    let expected = fields.number("deployment")?;
    app.platform().delete_alias(visit.asked(), (kind, &name), alias.clone(), expected).await?;
    let notice = format!("The alias {alias} is deleted.");
    Ok(done(&visit, kind, &name, notice))
}

#[cfg(test)]
mod tests {
    use aimass_core::event::Share;

    use super::*;

    #[test]
    fn parts_of_the_split_are_percent() {
        let shares_of = vec![Share::new(1, 9), Share::new(2, 1)];
        let route = Route { split: shares_of, shadow: None, shadow_configuration: None, canary: None };
        assert_eq!(shares(&route), [(1, 90.0), (2, 10.0)]);
        assert_eq!((percent(90.0), percent(33.333_33)), ("90 %".into(), "33.33 %".into()));
        let bar = split(&route).0;
        assert!(bar.contains("x=\"90.00\"") && bar.contains("version 2: 10 %"), "{bar}");
    }
}
