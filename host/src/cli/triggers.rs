//! `aimass triggers`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::bucket::Where;
use super::client::Client;
use super::jobs::{OnError, column, kept};
use super::tenants::list;
use super::{Failure, Outcome, output};

const TRIGGERS: &str = "/api/v1/triggers";

/// Let models and plugins run by themselves.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass triggers create nightly --cron '30 2 * * *' --time-zone Europe/Berlin --function report
  aimass triggers create scores --cron '@hourly' --catch-up none --model ranking@3 --input request.json
  aimass triggers create incoming --webhook --function intake --path /orders
  aimass triggers create files --folder /data/incoming --suffix .csv --function import
  aimass triggers create files --bucket s3://incoming/2026 --endpoint https://s3.example.com --credentials env \
    --suffix .csv --function import
  aimass triggers create slow --when 'p99_ms > 200.0 && requests > 100.0' --of ranking --function alert
  aimass triggers create watch --on version.created --if 'event.data.version > 1' --tell notifier
  aimass triggers create scored --cron '0 3 * * *' --batch credit --rows people.parquet --output 'scores-{date}.parquet'
  aimass triggers create intake --on file.stored --if 'event.data.size > 1000' --batch credit --output '{run}.csv'
  aimass triggers list
  aimass triggers show nightly
  aimass triggers fire nightly
  aimass triggers runs nightly
  aimass triggers replay nightly 019ac6f0…
  aimass triggers pause nightly
  aimass triggers resume nightly
  aimass triggers delete nightly

A schedule has five fields (minute, hour, day, month, weekday), or six with seconds before them, and means the clock of
its time zone: a time that does not exist when clocks go forward runs at the jump, one that exists twice runs once. Of
runs that were missed while no node was there, the newest is caught up with if it is not too late (--catch-up).

A folder is one that the operator lets the tenant watch (aimass serve --watch-folder TENANT=FOLDER); each object in it,
also one that lies there already, runs once, and is the function's body. A bucket is the tenant's own, at any storage
that speaks S3 and that the tenant's egress rules allow (aimass egress allow); `show` tells why it cannot be read.

`--when` is a condition over the last minute of a version: requests, errors, error_rate (0 to 1), p50_ms, p99_ms. It
fires when it begins to hold.

A webhook comes to /hooks/TENANT/NAME, signed as Standard Webhooks has it; its secret is shown once, when the trigger is
made. Events are CloudEvents; `--if` is a condition over `event` in the Common Expression Language. A run is an
asynchronous call: aimass invocations shows what it answered.")]
pub(super) enum Triggers {
    /// Make a trigger, or replace one
    Create(Box<Create>),
    /// List the triggers
    List,
    /// Show a trigger
    Show {
        /// Its name
        name: String,
    },
    /// Let a trigger rest
    Pause {
        /// Its name
        name: String,
    },
    /// Let a trigger fire again; what came due while it rested is not caught up with
    Resume {
        /// Its name
        name: String,
    },
    /// Fire a trigger now
    Fire {
        /// Its name
        name: String,
    },
    /// List a trigger's runs, newest first
    Runs {
        /// The trigger's name
        name: String,
        /// At most so many
        #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
        limit: u16,
    },
    /// Run once more what an earlier run ran
    Replay {
        /// The trigger's name
        name: String,
        /// The run's id
        run: String,
    },
    /// Delete a trigger with what is recorded of its runs
    Delete {
        /// Its name
        name: String,
    },
}

/// When, and what.
#[derive(Args)]
pub(super) struct Create {
    /// What to call it
    name: String,
    #[command(flatten)]
    when: When,
    /// The zone whose clock the schedule means
    #[arg(long, value_name = "ZONE", default_value = "UTC", requires = "cron")]
    time_zone: String,
    /// How late a missed run may still be caught up with (`2h`), or `none`
    #[arg(long, value_name = "TIME", default_value = "1h", requires = "cron")]
    catch_up: CatchUp,
    /// Only if this holds of the event
    #[arg(long = "if", value_name = "CONDITION", requires = "on")]
    condition: Option<String>,
    /// Whose figures: NAME, NAME@3 or NAME:prod
    #[arg(long, value_name = "NAME", requires = "when")]
    of: Option<String>,
    /// Only objects whose names end so
    #[arg(long, value_name = "END", conflicts_with_all = ["cron", "on", "webhook", "when"])]
    suffix: Option<String>,
    #[command(flatten)]
    place: Where,
    /// How often the folder or the bucket is looked into, or the condition asked
    #[arg(long, value_name = "TIME", default_value = "10s")]
    every: humantime::Duration,
    /// Make a new secret for the webhooks; the old one is void at once
    #[arg(long, requires = "webhook")]
    rotate_secret: bool,
    #[command(flatten)]
    what: What,
    /// The model's input: a file with a request of the Open Inference Protocol, or the request itself
    #[arg(long, value_name = "FILE|JSON", requires = "model")]
    input: Option<String>,
    /// The function's path
    #[arg(long, value_name = "PATH", default_value = "/", requires = "function")]
    path: String,
    /// The request's method
    #[arg(long, value_name = "METHOD", default_value = "POST", requires = "function")]
    method: String,
    /// The request's body
    #[arg(long, value_name = "TEXT", requires = "function")]
    body: Option<String>,
    /// The body's type
    #[arg(long, value_name = "TYPE", requires = "function")]
    content_type: Option<String>,
    /// The data file with the rows [default: the one that the event file.stored tells of]
    #[arg(long, value_name = "NAME", requires = "batch")]
    rows: Option<String>,
    /// The data file that the result becomes; {date} stands for the day of the run, {run} for its id
    #[arg(long, value_name = "NAME", requires = "batch")]
    output: Option<String>,
    /// Which columns make up an input: `x=a,b,c`; once for each input
    #[arg(long = "column", value_name = "INPUT=COLUMN,…", value_parser = column, requires = "batch")]
    columns: Vec<(String, Vec<String>)>,
    /// Columns of the rows that stand in the result, with commas between; `none` keeps none [default: all]
    #[arg(long, value_name = "COLUMN,…", requires = "batch")]
    keep: Option<String>,
    /// What to do about a row that cannot be computed [default: fail]
    #[arg(long, value_enum, requires = "batch")]
    on_error: Option<OnError>,
}

/// When it fires.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct When {
    /// At the times of this schedule
    #[arg(long, value_name = "SCHEDULE")]
    cron: Option<String>,
    /// When such an event happens: version.created; several with commas between
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    on: Vec<String>,
    /// When a signed webhook comes in
    #[arg(long)]
    webhook: bool,
    /// When an object arrives in this folder
    #[arg(long, value_name = "FOLDER")]
    folder: Option<String>,
    /// When an object arrives in this bucket: s3://NAME/FOLDER
    #[arg(long, value_name = "URL")]
    bucket: Option<String>,
    /// When figures begin to fulfil this condition
    #[arg(long, value_name = "CONDITION", requires = "of")]
    when: Option<String>,
}

/// What it runs.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct What {
    /// A model, or a plugin that is called like one: NAME, NAME@3 or NAME:prod
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// An HTTP function: NAME, NAME@3 or NAME:prod. It gets what fired the trigger as its request
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// A plugin that is told of events: NAME, NAME@3 or NAME:prod
    #[arg(long, value_name = "NAME")]
    tell: Option<String>,
    /// A model or plugin that every row of a data file goes through: NAME, NAME@3 or NAME:prod
    #[arg(long, value_name = "NAME", requires = "output")]
    batch: Option<String>,
}

/// A time, or none.
#[derive(Clone, Copy)]
pub(super) struct CatchUp(Duration);

impl std::str::FromStr for CatchUp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(Duration::ZERO)),
            text => humantime::parse_duration(text).map(Self).map_err(|e| format!("{e}; or `none`")),
        }
    }
}

impl Create {
    fn document(&self) -> Outcome<Value> {
        let on = match &self.when {
            When { cron: Some(schedule), .. } => json!({ "cron": {
                "schedule": schedule,
                "time_zone": self.time_zone,
                "catch_up_seconds": self.catch_up.0.as_secs(),
            } }),
            When { webhook: true, .. } => json!({ "webhook": {} }),
            When { when: Some(condition), .. } => {
                json!({ "metric": { "of": self.of, "when": condition, "every_seconds": self.every.as_secs() } })
            }
            When { folder: Some(folder), .. } => {
                let mut object = json!({ "folder": folder, "every_seconds": self.every.as_secs() });
                if let Some(suffix) = &self.suffix {
                    object["suffix"] = json!(suffix);
                }
                json!({ "object": object })
            }
            When { bucket: Some(url), .. } => {
                json!({ "bucket": self.place.source(url, self.suffix.as_deref(), self.every.as_secs()) })
            }
            When { on, .. } => match &self.condition {
                Some(condition) => json!({ "event": { "kinds": on, "if": condition } }),
                None => json!({ "event": { "kinds": on } }),
            },
        };
        let mut run = match &self.what {
            What { model: Some(model), .. } => json!({ "infer": { "model": model } }),
            What { tell: Some(plugin), .. } => json!({ "event": { "plugin": plugin } }),
            What { batch: Some(target), .. } => json!({ "batch": {
                "target": target,
                "input": self.rows,
                "output": self.output,
                "columns": self.columns.iter().cloned().collect::<BTreeMap<_, _>>(),
                "keep": self.keep.as_deref().map(kept),
                "on_error": self.on_error.unwrap_or(OnError::Fail).as_str(),
            } }),
            What { function, .. } => {
                json!({ "function": { "plugin": function, "method": self.method, "path": self.path } })
            }
        };
        if let Some(input) = &self.input {
            run["infer"]["body"] = read_json(input)?;
        }
        for (field, value) in [("body", &self.body), ("content_type", &self.content_type)] {
            if let Some(value) = value {
                run["function"][field] = json!(value);
            }
        }
        let mut document = json!({ "on": on, "run": run });
        if let Some(credentials) = self.place.credentials()? {
            document["credentials"] = credentials;
        }
        Ok(document)
    }
}

impl Triggers {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let path = |name: &str| format!("{TRIGGERS}/{name}");
        match self {
            Self::Create(wish) => {
                let query = if wish.rotate_secret { "?rotate-secret=true" } else { "" };
                let path = format!("{}{query}", path(&wish.name));
                let trigger = client.json(Method::PUT, &path, Some(&wish.document()?)).await?;
                show(&trigger, json);
                if let (false, Some(secret)) = (json, trigger["secret"].as_str()) {
                    let tenant = client.tenant().unwrap_or_else(|_| "TENANT".to_owned());
                    println!("webhooks come to {}/hooks/{tenant}/{}", client.url(), wish.name);
                    println!("signed with {secret} (shown this once)");
                }
            }
            Self::List => {
                let headings = ["NAME", "WHEN", "RUNS", "NEXT", "LAST RUN", "STATE"];
                list(client, TRIGGERS, json, &headings, |trigger| {
                    vec![
                        output::cell(&trigger["name"]),
                        when(trigger),
                        what(trigger),
                        output::time(&trigger["next_ms"]),
                        output::time(&trigger["last_run"]["fired_ms"]),
                        state(trigger).to_owned(),
                    ]
                })
                .await?;
            }
            Self::Show { name } => show(&client.json(Method::GET, &path(&name), None).await?, json),
            Self::Pause { name } => {
                show(&client.json(Method::POST, &format!("{}/pause", path(&name)), None).await?, json);
            }
            Self::Resume { name } => {
                show(&client.json(Method::POST, &format!("{}/resume", path(&name)), None).await?, json);
            }
            Self::Fire { name } => {
                let run = client.json(Method::POST, &format!("{}/fire", path(&name)), None).await?;
                fired(&name, &run, json);
            }
            Self::Replay { name, run } => {
                let run = client.json(Method::POST, &format!("{}/runs/{run}/replay", path(&name)), None).await?;
                fired(&name, &run, json);
            }
            Self::Runs { name, limit } => {
                let page = client.json(Method::GET, &format!("{}/runs?limit={limit}", path(&name)), None).await?;
                runs(&page["items"], json);
            }
            Self::Delete { name } => {
                client.json(Method::DELETE, &path(&name), None).await?;
                if !json {
                    println!("deleted the trigger {name}");
                }
            }
        }
        Ok(())
    }
}

fn show(trigger: &Value, json: bool) {
    if json {
        return output::json(trigger);
    }
    let rows = [
        ("name", output::cell(&trigger["name"])),
        ("when", when(trigger)),
        ("runs", what(trigger)),
        ("state", state(trigger).to_owned()),
        ("next", output::time(&trigger["next_ms"])),
        ("fired", format!("{} times", output::cell(&trigger["runs"]))),
        ("last run", output::time(&trigger["last_run"]["fired_ms"])),
        ("last outcome", output::cell(&trigger["last_run"]["state"])),
        ("signed", output::cell(&trigger["signed"])),
        ("last error", last_error(&trigger["last_error"])),
    ];
    let rows = rows.into_iter().filter(|(_, text)| !text.is_empty()).map(|(label, text)| vec![label.to_owned(), text]);
    println!("{}", output::table(&["", ""], rows).trim_start_matches('\n'));
}

fn runs(items: &Value, json: bool) {
    if json {
        return output::json(items);
    }
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return println!("there are none");
    }
    let rows = items.iter().map(|run| {
        let cause = &run["cause"];
        let late = if cause["caught_up"] == true { ", caught up" } else { "" };
        vec![
            output::cell(&run["id"]),
            format!("{}{late}", output::cell(&cause["type"])),
            output::time(&run["fired_ms"]),
            output::cell(&run["state"]),
            output::cell(&run["attempts"]),
            output::cell(&run["failure"]["detail"]),
        ]
    });
    println!("{}", output::table(&["ID", "CAUSE", "FIRED", "STATE", "ATTEMPTS", "FAILURE"], rows));
}

fn fired(name: &str, run: &Value, json: bool) {
    if json {
        return output::json(run);
    }
    println!("fired {name}: run {}; next: aimass triggers runs {name}", output::cell(&run["id"]));
}

fn when(trigger: &Value) -> String {
    let on = &trigger["on"];
    if let Some(cron) = on["cron"].as_object() {
        return format!("{} ({})", output::cell(&cron["schedule"]), output::cell(&cron["time_zone"]));
    }
    if let Some(metric) = on["metric"].as_object() {
        return format!("{} of {}", output::cell(&metric["when"]), output::cell(&metric["of"]));
    }
    if let Some(bucket) = on["bucket"].as_object() {
        let at = on["bucket"]["endpoint"].as_str().unwrap_or("Amazon");
        let parts = [output::cell(&bucket["url"]), output::cell(&on["bucket"]["suffix"]), output::printable(at)];
        return format!("objects in {} {} at {}", parts[0], parts[1], parts[2]);
    }
    if let Some(object) = on["object"].as_object() {
        return format!("objects in {} {}", output::cell(&object["folder"]), output::cell(&on["object"]["suffix"]));
    }
    match (on["webhook"].is_null(), on["event"]["if"].as_str()) {
        (false, _) => "webhook".to_owned(),
        (true, None) => output::cell(&on["event"]["kinds"]),
        (true, Some(condition)) => {
            format!("{} if {}", output::cell(&on["event"]["kinds"]), output::printable(condition))
        }
    }
}

fn last_error(error: &Value) -> String {
    match error["failures"].as_u64() {
        Some(failures) => {
            let detail = output::cell(&error["detail"]);
            format!("{detail} ({failures} times until {})", output::time(&error["at_ms"]))
        }
        None => String::new(),
    }
}

fn what(trigger: &Value) -> String {
    let run = &trigger["run"];
    let function = &run["function"];
    if let Some(batch) = run["batch"].as_object() {
        let input = batch.get("input").map_or_else(|| "each stored file".to_owned(), output::cell);
        return format!("{} over {input}", output::cell(&run["batch"]["target"]));
    }
    match (run["infer"].is_null(), run["event"].is_null()) {
        (false, _) => format!("infer {}", output::cell(&run["infer"]["model"])),
        (_, false) => format!("tell {}", output::cell(&run["event"]["plugin"])),
        _ => ["method", "plugin", "path"].map(|field| output::cell(&function[field])).join(" "),
    }
}

fn state(trigger: &Value) -> &'static str {
    if trigger["paused"] == true { "paused" } else { "active" }
}

/// JSON that is given, or that is in a file.
fn read_json(given: &str) -> Outcome<Value> {
    let named = |e: &dyn std::fmt::Display| Failure::new(format!("--input: {e}"));
    if given.trim_start().starts_with('{') {
        return serde_json::from_str(given).map_err(|e| named(&e));
    }
    let bytes = std::fs::read(Path::new(given)).map_err(|e| named(&format!("{given}: {e}")))?;
    serde_json::from_slice(&bytes).map_err(|e| named(&format!("{given}: {e}")))
}
