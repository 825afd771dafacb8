//! `aimass invocations`: asynchronous calls.

use std::io::Write as _;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use http::{Method, Request};
use serde_json::Value;

use super::client::{Client, success};
use super::{Failure, Outcome, output};

const CALLS: &str = "/api/v1/invocations";

/// How often it is asked whether a call has ended.
const POLL: Duration = Duration::from_millis(200);

/// List asynchronous calls, show what came of them, cancel and retry them.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass invoke double x=[1,2,3] --async
  aimass invocations list --state dead --newest-first
  aimass invocations show 0198c0de00007000800000000000000a
  aimass invocations result 0198c0de00007000800000000000000a --wait
  aimass invocations retry 0198c0de00007000800000000000000a
  aimass invocations cancel 0198c0de00007000800000000000000a

A call that fails for the platform's sake or traps is tried again, with growing pauses; one that was given up (`dead`)
can be tried again by hand. Results are kept for a day, unless the node says otherwise (serve --result-ttl-seconds).")]
pub(super) enum Invocations {
    /// List calls, oldest first unless told otherwise
    List {
        /// Only those in this state
        #[arg(long)]
        state: Option<State>,
        /// Only those of this plugin or model
        #[arg(long)]
        name: Option<String>,
        /// Only runs of this trigger
        #[arg(long)]
        trigger: Option<String>,
        /// The newest first
        #[arg(long)]
        newest_first: bool,
    },
    /// Show a call
    Show {
        /// Its id
        id: String,
    },
    /// Print what a call was answered with
    Result {
        /// Its id
        id: String,
        /// Wait until it has ended
        #[arg(long)]
        wait: bool,
    },
    /// Call a call off, also in the middle of an attempt
    Cancel {
        /// Its id
        id: String,
    },
    /// Try a call again that was given up
    Retry {
        /// Its id
        id: String,
    },
}

/// How far a call is.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum State {
    /// It waits.
    Queued,
    /// It runs.
    Running,
    /// It was answered.
    Done,
    /// It was given up.
    Dead,
    /// It was called off.
    Cancelled,
}

impl Invocations {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::List { state, name, trigger, newest_first } => {
                let state = state.and_then(|state| state.to_possible_value()).map(|value| value.get_name().to_owned());
                let newest_first = newest_first.then(|| "true".to_owned());
                let filters = [("state", state), ("name", name), ("trigger", trigger), ("newest_first", newest_first)];
                let filters: Vec<_> =
                    filters.into_iter().filter_map(|(field, value)| Some(format!("{field}={}", value?))).collect();
                list(client, &filters, json).await?;
            }
            Self::Show { id } => show(&client.json(Method::GET, &path(&id, ""), None).await?, json),
            Self::Result { id, wait } => {
                if wait {
                    ended(client, &id).await?;
                }
                std::io::stdout().write_all(result(client, &id).await?.body())?;
            }
            Self::Cancel { id } => show(&client.json(Method::DELETE, &path(&id, ""), None).await?, json),
            Self::Retry { id } => show(&client.json(Method::POST, &path(&id, "/retry"), None).await?, json),
        }
        Ok(())
    }
}

fn path(id: &str, of: &str) -> String {
    format!("{CALLS}/{id}{of}")
}

async fn list(client: &Client, filters: &[String], json: bool) -> Outcome {
    let mut calls = vec![];
    let mut after = None;
    loop {
        let query: Vec<_> = filters.iter().cloned().chain(after.map(|id| format!("after={id}"))).collect();
        let page = client.json(Method::GET, &format!("{CALLS}?{}", query.join("&")), None).await?;
        calls.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    if json {
        output::json(&Value::Array(calls));
    } else if calls.is_empty() {
        println!("there are none");
    } else {
        let rows = calls.iter().map(|call| {
            vec![
                output::cell(&call["id"]),
                output::cell(&call["name"]),
                output::cell(&call["state"]),
                output::cell(&call["attempts"]),
                output::time(&call["created_ms"]),
                output::cell(&call["failure"]["code"]),
            ]
        });
        println!("{}", output::table(&["ID", "NAME", "STATE", "ATTEMPTS", "ACCEPTED", "FAILURE"], rows));
    }
    Ok(())
}

/// Prints a call: the document for programs, its fields for people.
pub(super) fn show(call: &Value, json: bool) {
    if json {
        return output::json(call);
    }
    let row = |name: &str, value: String| (!value.is_empty()).then(|| vec![name.to_owned(), value]);
    let failure = ["code", "detail"].map(|field| output::cell(&call["failure"][field])).join(": ");
    let rows = [
        row("id", output::cell(&call["id"])),
        row("name", output::cell(&call["name"])),
        row("request", [output::cell(&call["method"]), output::cell(&call["path"])].join(" ").trim().to_owned()),
        row("trigger", output::cell(&call["trigger"])),
        row("state", output::cell(&call["state"])),
        row("attempts", format!("{} of {}", call["attempts"], call["max_attempts"])),
        row("accepted", output::time(&call["created_ms"])),
        row("tried", output::time(&call["due_ms"])),
        row("ended", output::time(&call["ended_ms"])),
        row("kept until", output::time(&call["expires_ms"])),
        row("callback", output::cell(&call["callback"])),
        row("failure", if call["failure"].is_null() { String::new() } else { failure }),
    ];
    println!("{}", output::table(&["CALL", ""], rows.into_iter().flatten()));
}

/// Waits until a call has ended, and returns it.
pub(super) async fn ended(client: &Client, id: &str) -> Outcome<Value> {
    loop {
        let call = client.json(Method::GET, &path(id, ""), None).await?;
        match call["state"].as_str() {
            Some("queued" | "running") => tokio::time::sleep(POLL).await,
            Some(_) => return Ok(call),
            None => return Err(Failure::new("the answer says no state")),
        }
    }
}

/// The answer of a call that has ended, with its header.
pub(super) async fn result(client: &Client, id: &str) -> Outcome<http::Response<bytes::Bytes>> {
    let answer = client.send(&path(id, "/result"), Request::builder().method(Method::GET), vec![].into()).await?;
    success(answer.status(), answer.body())?;
    Ok(answer)
}
