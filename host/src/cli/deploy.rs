//! `aimass deploy`, `promote`, `rollback`, `deployments`, `diff` and `aliases`: which version serves under a name.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::tenants::list;
use super::{Failure, Outcome, output, pinned};

/// Let a version of a plugin or model serve under an alias, at once or as a canary.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass deploy file-type --version 3
  aimass deploy file-type                     what it serves, with the newest settings and secrets
  aimass deploy file-type --version 3 --canary 10% --if 'error_rate < 0.01 && p99_ms < 50'
  aimass deploy file-type --version 3 --canary 10% --if 'p99_ms < 1.5 * stable_p99_ms' --after 10m
  aimass deploy detector --version 4 --alias staging

A bare name means what its alias `prod` says, else the newest version. The condition is CEL over the last minute of the
canary (where it has too few calls, over the last hour): requests, errors, error_rate (0 to 1), p50_ms, p99_ms, and the same of the version that it is tried beside, as
stable_requests, stable_errors, … All are decimal numbers. When it breaks, the alias goes back by itself.

A plugin's version runs with the settings and secrets that were the newest when it was deployed, until it is deployed
again; a rollback brings back both. A canary is another version than those that serve: other settings of the same version
are tried under another alias.")]
pub(super) struct Deploy {
    /// The plugin's or model's name
    name: String,
    /// The version [default: what the alias serves, with the newest settings and secrets]
    #[arg(long)]
    version: Option<u64>,
    /// Run it with the settings and secrets of this number instead of the newest
    #[arg(long, value_name = "NUMBER")]
    configuration: Option<u64>,
    /// The alias
    #[arg(long, default_value = "prod")]
    alias: String,
    /// Its part of the calls while it is tried out, such as 10% [default: all of them, at once]
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "version")]
    canary: Option<f64>,
    /// A version that gets a copy of each call; its answers are compared and never returned
    #[arg(long, value_name = "VERSION", requires = "version")]
    shadow: Option<u64>,
    /// What must hold of the canary, or it is taken back
    #[arg(long = "if", value_name = "CONDITION", requires = "canary")]
    gate: Option<String>,
    /// Calls of the canary before the condition is asked [default: 20]
    #[arg(long, value_name = "NUMBER", requires = "canary")]
    min_requests: Option<u64>,
    /// Promote it by itself after this time, if the condition holds, such as 10m
    #[arg(long, value_name = "TIME", requires = "canary", value_parser = humantime::parse_duration)]
    after: Option<Duration>,
}

/// Let an alias's canary serve all calls.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass promote file-type
  aimass promote file-type --alias staging --force")]
pub(super) struct Promote {
    /// The plugin's or model's name
    name: String,
    /// The alias
    #[arg(long, default_value = "prod")]
    alias: String,
    /// Also if its condition does not hold, or could not be asked yet
    #[arg(long)]
    force: bool,
}

/// Let an alias say again what it said before, with the settings and secrets of then; a canary ends.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass rollback file-type
  aimass rollback file-type --alias staging

A second rollback goes further back. `aimass deploy file-type` behind it takes the newest settings and secrets.")]
pub(super) struct Rollback {
    /// The plugin's or model's name
    name: String,
    /// The alias
    #[arg(long, default_value = "prod")]
    alias: String,
}

/// List what the aliases of a plugin or model were told, newest first.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass deployments file-type
  aimass deployments file-type --json")]
pub(super) struct Deployments {
    /// The plugin's or model's name
    name: String,
}

/// Show what is different between two versions of a plugin or model.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass diff file-type 2 3
  aimass diff file-type prod 3                what `aimass deploy file-type --version 3` would change
  aimass diff file-type 2 3 --json

An alias stands for the version with its largest part, and the settings and secrets that it serves with; a version runs
with the newest. Of settings and secrets the names are told, and no values.")]
pub(super) struct Diff {
    /// The plugin's or model's name
    name: String,
    /// A version, or an alias
    from: String,
    /// Another one
    to: String,
}

/// Say which versions serve under which names.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass aliases list file-type
  aimass aliases set file-type prod 3
  aimass aliases set file-type prod 2=90 3=10
  aimass aliases show file-type prod
  aimass aliases delete file-type staging

A version that the alias serves already keeps its settings and secrets, another one runs with the newest.

Call one as NAME:ALIAS. A request's header `aimass-version: 3` insists on a version of the split, `aimass-route-key: X`
gives all requests with the same X the same version; the answer's `aimass-served-version` says which one served.")]
pub(super) enum Aliases {
    /// List the aliases of a plugin or model
    List {
        /// The plugin's or model's name
        name: String,
    },
    /// Show what an alias says, and how its versions did in the last minute
    Show {
        /// The plugin's or model's name
        name: String,
        /// The alias
        alias: String,
    },
    /// Let an alias name a version, or several by weight
    Set {
        /// The plugin's or model's name
        name: String,
        /// The alias
        alias: String,
        /// `VERSION`, or `VERSION=WEIGHT` for each of several
        #[arg(required = true)]
        versions: Vec<String>,
        /// A version that gets a copy of each call; its answers are compared and never returned
        #[arg(long, value_name = "VERSION")]
        shadow: Option<u64>,
    },
    /// Take an alias away
    Delete {
        /// The plugin's or model's name
        name: String,
        /// The alias
        alias: String,
    },
}

/// `10%`, `10` or `0.5%`.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    number.ok().filter(|part| (0.0..=100.0).contains(part)).ok_or_else(|| "a part is 0% to 100%".to_owned())
}

/// The path of a name, which is a plugin's or a model's.
async fn path_of(client: &Client, name: &str) -> Outcome<String> {
    let path = |kind: &str| format!("/api/v1/{kind}/{name}");
    let mut refused = None;
    for kind in ["plugins", "models"] {
        match client.json(Method::GET, &format!("{}/aliases?limit=1", path(kind)), None).await {
            Ok(_) => return Ok(path(kind)),
            // A token that may not see the one kind says nothing of the other.
            Err(failure) => refused = refused.or(Some(failure)),
        }
    }
    Err(refused.unwrap_or_else(|| Failure::new(format!("there is no `{name}`"))))
}

/// Who uploads a version may think that it serves: says so if the alias that a bare name means names others.
pub(super) async fn hint(client: &Client, kind: &str, version: &Value, json: bool) {
    let (name, number) = (output::cell(&version["name"]), &version["version"]);
    // Whoever may upload need not be allowed to look.
    let Ok(alias) = client.json(Method::GET, &format!("/api/v1/{kind}/{name}/aliases/prod"), None).await else {
        return;
    };
    let serves = |share: &Value| share["version"] == *number && share["weight"] != 0;
    if !json && !alias["split"].as_array().is_some_and(|split| split.iter().any(serves)) {
        println!("  {name}:prod stays {}; `aimass deploy {name} --version {number}` changes that", split(&alias));
    }
}

impl Deploy {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let mut wish = json!({ "alias": self.alias });
        let mut put = |field: &str, value: Option<Value>| value.into_iter().for_each(|value| wish[field] = value);
        put("version", self.version.map(Value::from));
        put("configuration", self.configuration.map(Value::from));
        put("canary_percent", self.canary.map(Value::from));
        put("shadow", self.shadow.map(Value::from));
        put("gate", self.gate.map(Value::from));
        put("min_requests", self.min_requests.map(Value::from));
        put("after_seconds", self.after.map(|after| after.as_secs().into()));
        let path = path_of(client, &self.name).await?;
        let alias = client.json(Method::POST, &format!("{path}/deployments"), Some(&wish)).await?;
        told(&self.name, &alias, json);
        Ok(())
    }
}

impl Promote {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let path = format!("{}/aliases/{}/promote", path_of(client, &self.name).await?, self.alias);
        let alias = client.json(Method::POST, &path, Some(&json!({ "force": self.force }))).await?;
        told(&self.name, &alias, json);
        Ok(())
    }
}

impl Rollback {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let path = format!("{}/aliases/{}/rollback", path_of(client, &self.name).await?, self.alias);
        let alias = client.json(Method::POST, &path, None).await?;
        told(&self.name, &alias, json);
        Ok(())
    }
}

impl Deployments {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let path = format!("{}/deployments", path_of(client, &self.name).await?);
        list(
            client,
            &path,
            json,
            &["NUMBER", "ALIAS", "WHEN", "BY", "CHANGE", "VERSIONS", "SETTINGS", "BECAUSE"],
            |d| {
                vec![
                    output::cell(&d["number"]),
                    output::cell(&d["alias"]),
                    output::time(&d["at_ms"]),
                    output::cell(&d["by"]),
                    output::cell(&d["change"]).replace('_', " "),
                    split(&d["route"]),
                    pinned::listed(&d["route"]),
                    because(d),
                ]
            },
        )
        .await
    }
}

impl Diff {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let path = path_of(client, &self.name).await?;
        let diff = client.json(Method::GET, &format!("{path}/diff?from={}&to={}", self.from, self.to), None).await?;
        if json {
            output::json(&diff);
            return Ok(());
        }
        let lines = differences(&diff);
        println!("{}", if lines.is_empty() { "there is no difference".to_owned() } else { lines.join("\n") });
        if diff["compatible"] == false {
            println!(
                "callers of {} may not be able to call {}",
                output::cell(&diff["from"]),
                output::cell(&diff["to"])
            );
        }
        Ok(())
    }
}

impl Aliases {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::List { name } => {
                let path = format!("{}/aliases", path_of(client, &name).await?);
                list(client, &path, json, &["ALIAS", "VERSIONS", "SINCE", "BY"], |alias| {
                    let since = output::time(&alias["set_ms"]);
                    vec![output::cell(&alias["alias"]), split(alias), since, output::cell(&alias["set_by"])]
                })
                .await
            }
            Self::Show { name, alias } => {
                let path = format!("{}/aliases/{alias}", path_of(client, &name).await?);
                let alias = client.json(Method::GET, &path, None).await?;
                told(&name, &alias, json);
                if !json {
                    println!("{}", figures(&alias));
                    if let Some(compared) = compared(&alias) {
                        println!("{compared}");
                    }
                }
                Ok(())
            }
            Self::Set { name, alias, versions, shadow } => {
                let mut wish = json!({ "split": shares(&versions)? });
                if let Some(shadow) = shadow {
                    wish["shadow"] = shadow.into();
                }
                let path = format!("{}/aliases/{alias}", path_of(client, &name).await?);
                let alias = client.json(Method::PUT, &path, Some(&wish)).await?;
                told(&name, &alias, json);
                Ok(())
            }
            Self::Delete { name, alias } => {
                let path = format!("{}/aliases/{alias}", path_of(client, &name).await?);
                client.json(Method::DELETE, &path, None).await?;
                if !json {
                    println!("{name}:{alias} is gone");
                }
                Ok(())
            }
        }
    }
}

/// `3`, or `2=90 3=10`.
fn shares(versions: &[String]) -> Outcome<Vec<Value>> {
    let wrong = |text: &str| Failure::new(format!("`{text}` is neither VERSION nor VERSION=WEIGHT"));
    let share = |text: &String| {
        let (version, weight) = text.split_once('=').unwrap_or((text, "100"));
        let (version, weight) = (version.parse::<u64>(), weight.parse::<u32>());
        match (version, weight) {
            (Ok(version), Ok(weight)) => Ok(json!({ "version": version, "weight": weight })),
            _ => Err(wrong(text)),
        }
    };
    versions.iter().map(share).collect()
}

/// Says what an alias says now.
fn told(name: &str, alias: &Value, json: bool) {
    if json {
        output::json(alias);
        return;
    }
    println!("{name}:{} is {}", output::cell(&alias["alias"]), split(alias));
    if let Some(settings) = pinned::settings(name, alias) {
        println!("{settings}");
    }
    let canary = &alias["canary"];
    if canary.is_null() {
        return;
    }
    let version = output::cell(&canary["version"]);
    match canary["gate"].as_str() {
        Some(gate) => {
            let least = output::cell(&canary["min_requests"]);
            println!(
                "  {version} is a canary, and taken back unless {} (from {least} calls on)",
                output::printable(gate)
            );
        }
        None => println!("  {version} is a canary: `aimass promote {name}` or `aimass rollback {name}` ends that"),
    }
    if let Some(seconds) = canary["after_seconds"].as_u64() {
        let after = humantime::format_duration(Duration::from_secs(seconds));
        println!("  promoted by itself {after} after it was deployed");
    }
}

/// The versions of a split with their parts.
fn split(route: &Value) -> String {
    let shares: Vec<_> = route["split"].as_array().into_iter().flatten().collect();
    let total: f64 = shares.iter().filter_map(|share| share["weight"].as_f64()).sum();
    let part = |share: &&Value| {
        let version = output::cell(&share["version"]);
        let percent = 100.0 * share["weight"].as_f64().unwrap_or_default() / total;
        if shares.len() == 1 { version } else { format!("{version} ({}%)", (percent * 100.0).round() / 100.0) }
    };
    let mut text: Vec<_> = shares.iter().map(part).collect();
    text.extend(route["shadow"].as_u64().map(|shadow| format!("shadow {shadow}")));
    text.join(", ")
}

/// What a deployment was decided by.
fn because(deployment: &Value) -> String {
    let seen = deployment["seen"].as_array().into_iter().flatten().map(|seen| {
        let ms = seen["p99_us"].as_f64().unwrap_or_default() / 1e3;
        let [version, requests, errors] = ["version", "requests", "errors"].map(|field| output::cell(&seen[field]));
        format!("{version}: {errors} of {requests} failed, p99 {ms} ms")
    });
    deployment["gate"].as_str().map(output::printable).into_iter().chain(seen).collect::<Vec<_>>().join("; ")
}

/// The last minute of an alias's versions.
fn figures(alias: &Value) -> String {
    let rows = alias["last_minute"].as_array().into_iter().flatten().map(|row| {
        let number = |field: &str| format!("{:.1}", row[field].as_f64().unwrap_or_default());
        let percent = 100.0 * row["error_rate"].as_f64().unwrap_or_default();
        let [version, requests, errors] = ["version", "requests", "errors"].map(|field| output::cell(&row[field]));
        vec![version, requests, format!("{errors} ({percent:.1}%)"), number("p50_ms"), number("p99_ms")]
    });
    output::table(&["VERSION", "CALLS/MIN", "FAILED", "P50 MS", "P99 MS"], rows)
}

/// How the shadow compares.
fn compared(alias: &Value) -> Option<String> {
    let compared = Some(&alias["compared"]).filter(|compared| !compared.is_null())?;
    let [equal, different, failed, dropped, not_compared] =
        ["equal", "different", "failed", "dropped", "not_compared"].map(|field| output::cell(&compared[field]));
    let largest = compared["largest_difference"].as_f64().map_or("not a number".to_owned(), |far| far.to_string());
    Some(format!(
        "the shadow's answers: {equal} equal, {different} different (by {largest} at most), {failed} failed, {dropped} \
         not copied, {not_compared} not comparable"
    ))
}

fn differences(diff: &Value) -> Vec<String> {
    let mut lines = vec![];
    for field in ["digest", "size", "device", "description"] {
        if !diff[field].is_null() {
            let of = |side: &str| {
                if field == "size" { output::bytes(&diff[field][side]) } else { output::cell(&diff[field][side]) }
            };
            lines.push(format!("{field}: {} -> {}", of("from"), of("to")));
        }
    }
    if !diff["signed_by"].is_null() {
        let signer = |side: &str| {
            let signed = &diff["signed_by"][side];
            let (signer, key) = (output::cell(&signed["signer"]), output::cell(&signed["key"]));
            if signed.is_null() { "nobody".to_owned() } else { format!("{signer} ({key})") }
        };
        lines.push(format!("signed by: {} -> {}", signer("from"), signer("to")));
    }
    for field in ["worlds", "imports", "exports"] {
        for (sign, side) in [("-", "removed"), ("+", "added")] {
            let names = diff[field][side].as_array().into_iter().flatten();
            lines.extend(names.map(|name| format!("{field}: {sign} {}", output::cell(name))));
        }
    }
    for port in diff["ports"].as_array().into_iter().flatten() {
        let of = |side: &str| match &port[side] {
            Value::Null => "none".to_owned(),
            port => format!("{} {}", output::cell(&port["datatype"]), port["shape"]),
        };
        let (direction, name) = (output::cell(&port["direction"]), output::cell(&port["name"]));
        lines.push(format!("{direction} {name}: {} -> {}", of("from"), of("to")));
    }
    lines.extend(pinned::differences(diff));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_splits_are_read_as_people_write_them() {
        assert_eq!((percent("10%"), percent("0.5")), (Ok(10.0), Ok(0.5)));
        assert!(percent("101%").is_err() && percent("-1").is_err() && percent("x%").is_err());
        let of = |texts: &[&str]| shares(&texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["3"]).unwrap(), [json!({ "version": 3, "weight": 100 })]);
        assert_eq!(of(&["2=90", "3=10"]).unwrap().len(), 2);
        assert!(of(&["2=x"]).is_err() && of(&["prod"]).is_err());
        let route = json!({ "split": [{ "version": 2, "weight": 199 }, { "version": 3, "weight": 1 }], "shadow": 4 });
        assert_eq!(split(&route), "2 (99.5%), 3 (0.5%), shadow 4");
    }
}
