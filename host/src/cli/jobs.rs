//! `aimass batch` and `aimass jobs`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::client::{Client, success};
use super::tenants::list;
use super::{Failure, Outcome, files, output};

/// How often the node is asked how far a job is.
const POLL: Duration = Duration::from_millis(300);

/// A node that does not answer may be starting again: the job goes on with it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Run a model or a plugin over every row of a file.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass batch credit --input people.parquet --output scores.parquet --column x=age,income,debt
  aimass batch credit@3 --input people.csv --output scores.ndjson --column x=age,income,debt --keep id --on-error skip
  aimass batch file-type --input files.ndjson --output labels.csv --keep name --detach
  aimass jobs show 0198c0de…

The input is a file here, which is stored on the node first, or the name of one that is there (`aimass files list`). An
input of the model that --column does not name is the column of its own name. The result is fetched when it is done.")]
pub(super) struct BatchCommand {
    /// The model or plugin: name, name@3 or name:prod
    target: String,
    /// The file with the rows: .parquet, .csv, .ndjson or .jsonl
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the result goes, here; its ending says what it is
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Which columns make up an input: `x=a,b,c`, or `x=a` for a column of numbers or lists; once for each input
    #[arg(long = "column", value_name = "INPUT=COLUMN,…", value_parser = column)]
    columns: Vec<(String, Vec<String>)>,
    /// Columns of the input that stand in the result, with commas between; `none` keeps none [default: all]
    #[arg(long, value_name = "COLUMN,…")]
    keep: Option<String>,
    /// Rows of one call [default: 256]
    #[arg(long, value_name = "ROWS")]
    batch_size: Option<u32>,
    /// Rows after which what is done is safe, whatever happens [default: 65536]
    #[arg(long, value_name = "ROWS")]
    checkpoint_rows: Option<u32>,
    /// What to do about a row that cannot be computed
    #[arg(long, value_enum, default_value_t = OnError::Fail)]
    on_error: OnError,
    /// Do not wait: print the job's id; the result stays on the node
    #[arg(long)]
    detach: bool,
}

/// What to do about a row that cannot be computed.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum OnError {
    /// End the job
    Fail,
    /// Leave the row out
    Skip,
    /// Keep the row, with nulls for its outputs
    Null,
}

impl OnError {
    /// As the API has it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Null => "null",
        }
    }
}

/// What `--column` says: an input and its columns.
pub(super) fn column(text: &str) -> Result<(String, Vec<String>), String> {
    let (input, columns) = text.split_once('=').ok_or("it is INPUT=COLUMN,…")?;
    Ok((input.to_owned(), columns.split(',').map(str::to_owned).collect()))
}

/// What `--keep` says: columns.
pub(super) fn kept(text: &str) -> Vec<String> {
    match text {
        "none" => vec![],
        names => names.split(',').map(str::to_owned).collect(),
    }
}

impl BatchCommand {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let named = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            name.ok_or_else(|| Failure::new(format!("{} is no file's name", path.display())))
        };
        let (input, result) = (named(&self.input)?, named(&self.output)?);
        if self.input.is_file() {
            files::put(client, &self.input, Some(&input)).await?;
        }
        let columns: Map<String, Value> = self.columns.into_iter().map(|(name, of)| (name, of.into())).collect();
        let keep = self.keep.as_deref().map(kept);
        let wish = json!({
            "kind": "batch", "target": self.target, "input": input, "output": result, "columns": columns, "keep": keep,
            "batch_size": self.batch_size, "checkpoint_rows": self.checkpoint_rows, "on_error": self.on_error.as_str(),
        });
        let job = client.json(Method::POST, "/api/v1/jobs", Some(&wish)).await?;
        let id = output::cell(&job["id"]);
        if self.detach {
            if json {
                output::json(&job);
            } else {
                println!("job {id} is {}; next: aimass jobs show {id}", output::cell(&job["state"]));
            }
            return Ok(());
        }
        let job = wait(client, &id).await?;
        if job["state"] != "done" {
            return Err(refusal(&job));
        }
        files::get(client, &result, &self.output).await?;
        if json {
            output::json(&job);
            return Ok(());
        }
        println!("{} rows to {}: {}", job["rows"], self.output.display(), output::bytes(&job["output_size"]));
        row_errors(&job);
        Ok(())
    }
}

/// Waits for a job's end, with a bar that says how far it is.
async fn wait(client: &Client, id: &str) -> Outcome<Value> {
    let bar = ProgressBar::new(1_000);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {msg}") {
        bar.set_style(style);
    }
    let mut answered = Instant::now();
    let ended = loop {
        match client.json(Method::GET, &format!("/api/v1/jobs/{id}"), None).await {
            Ok(job) if !matches!(job["state"].as_str(), Some("queued" | "running")) => break Ok(job),
            Ok(job) => {
                answered = Instant::now();
                bar.set_prefix(output::cell(&job["state"]));
                bar.set_position((job["done"].as_f64().unwrap_or_default() * 1_000.0) as u64);
                bar.set_message(pace(&job));
            }
            Err(refused @ Failure::Refused { .. }) => break Err(refused),
            Err(gone) if answered.elapsed() > PATIENCE => break Err(gone),
            Err(_) => bar.set_message("the node does not answer"),
        }
        tokio::time::sleep(POLL).await;
    };
    bar.finish_and_clear();
    ended
}

/// How many rows are done, how fast, and how long it will still take.
fn pace(job: &Value) -> String {
    let rows = |field: &str| job[field].as_u64().map(|rows| indicatif::HumanCount(rows).to_string());
    let mut text = rows("rows").unwrap_or_default();
    if let Some(total) = rows("total_rows") {
        text.push_str(&format!("/{total}"));
    }
    text.push_str(" rows");
    if let Some(rate) = job["rows_per_second"].as_f64() {
        text.push_str(&format!(", {} a second", indicatif::HumanCount(rate as u64)));
    }
    if let Some(left) = job["seconds_left"].as_f64() {
        text.push_str(&format!(", {} left", indicatif::HumanDuration(Duration::from_secs_f64(left.min(1e9)))));
    }
    text
}

fn refusal(job: &Value) -> Failure {
    match job["state"].as_str() {
        Some("cancelled") => Failure::new("the job was cancelled"),
        _ => Failure::Refused {
            title: output::cell(&job["problem"]["title"]),
            detail: output::cell(&job["problem"]["detail"]),
        },
    }
}

/// Says which rows could not be computed.
fn row_errors(job: &Value) {
    let (count, first) = (job["row_errors"]["count"].as_u64().unwrap_or_default(), &job["row_errors"]["first"]);
    if count > 0 {
        eprintln!("{count} rows could not be computed; the first ones:");
    }
    for error in first.as_array().into_iter().flatten() {
        eprintln!("  row {}: {}", error["row"], output::cell(&error["detail"]));
    }
}

/// List, show, follow and cancel jobs.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass jobs list
  aimass jobs show 0198c0de…
  aimass jobs logs 0198c0de… --follow
  aimass jobs cancel 0198c0de…")]
pub(super) enum Jobs {
    /// List the jobs under way, and the last hundred that ended
    List,
    /// Show how far a job is
    Show {
        /// Its id
        id: String,
    },
    /// Show which rows could not be computed; with --follow also how far it is, until it ends
    Logs {
        /// The job's id
        id: String,
        /// Go on until the job ends
        #[arg(short, long)]
        follow: bool,
    },
    /// End a job; nothing of its result is kept
    Cancel {
        /// Its id
        id: String,
    },
}

impl Jobs {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::List => {
                let headings = ["ID", "STATE", "TARGET", "INPUT", "OUTPUT", "ROWS", "BAD", "CREATED"];
                list(client, "/api/v1/jobs", json, &headings, |job| {
                    vec![
                        output::cell(&job["id"]),
                        output::cell(&job["state"]),
                        target(job),
                        output::cell(&job["input"]),
                        output::cell(&job["output"]),
                        output::cell(&job["rows"]),
                        output::cell(&job["row_errors"]["count"]),
                        output::time(&job["created_ms"]),
                    ]
                })
                .await
            }
            Self::Show { id } => {
                let job = client.json(Method::GET, &path(&id)?, None).await?;
                show(&job, json);
                Ok(())
            }
            Self::Logs { id, follow } => logs(client, &id, follow, json).await,
            Self::Cancel { id } => {
                let job = client.json(Method::DELETE, &path(&id)?, None).await?;
                match json {
                    true => output::json(&job),
                    false => println!("job {id} is {}", output::cell(&job["state"])),
                }
                Ok(())
            }
        }
    }
}

/// Where a job is. An id is of letters and digits; what is not would be another path.
fn path(id: &str) -> Outcome<String> {
    match id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        true => Ok(format!("/api/v1/jobs/{id}")),
        false => Err(Failure::new("a job's id is of letters and digits")),
    }
}

fn target(job: &Value) -> String {
    format!("{}@{}", output::cell(&job["target"]), job["version"])
}

fn show(job: &Value, json: bool) {
    if json {
        return output::json(job);
    }
    let rows = [
        ("id", output::cell(&job["id"])),
        ("state", output::cell(&job["state"])),
        ("target", target(job)),
        ("input", output::cell(&job["input"])),
        ("output", output::cell(&job["output"])),
        ("rows", pace(job)),
        ("safe", output::cell(&job["durable_rows"])),
        ("bad rows", format!("{} ({})", job["row_errors"]["count"], output::cell(&job["on_error"]))),
        ("created", output::time(&job["created_ms"])),
        ("ended", output::time(&job["ended_ms"])),
        ("problem", output::cell(&job["problem"]["detail"])),
    ];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    let table = output::table(&["", ""], rows.map(|(field, value)| vec![field.to_owned(), value]));
    println!("{}", table.trim_start_matches('\n'));
}

async fn logs(client: &Client, id: &str, follow: bool, json: bool) -> Outcome {
    if !follow {
        let job = client.json(Method::GET, &path(id)?, None).await?;
        match json {
            true => output::json(&job["row_errors"]),
            false => row_errors(&job),
        }
        return Ok(());
    }
    let body = Full::default().map_err(|never| match never {}).boxed_unsync();
    let events = client.open(&format!("{}/events", path(id)?), Request::builder().method(Method::GET), body).await?;
    let early = |e: hyper::Error| Failure::new(format!("the answer ended early: {e}"));
    let (parts, mut body) = events.into_parts();
    if !parts.status.is_success() {
        return success(parts.status, &body.collect().await.map_err(early)?.to_bytes());
    }
    let (mut gathered, mut last) = (Vec::new(), Value::Null);
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(early)?.into_data() else { continue };
        gathered.extend_from_slice(&bytes);
        while let Some(end) = gathered.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = gathered.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&event);
            let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
            last = serde_json::from_str(data).map_err(|e| Failure::new(format!("the event is no JSON: {e}")))?;
            match json {
                true => println!("{last}"),
                false => println!("{}: {}", output::cell(&last["state"]), pace(&last)),
            }
        }
    }
    if !json {
        row_errors(&last);
    }
    match last["state"].as_str() {
        Some("failed" | "cancelled") => Err(refusal(&last)),
        _ => Ok(()),
    }
}
