//! `aimass logs`: what a plugin's calls log, a look back or as it comes.

use std::time::Duration;

use clap::Args;
use http::header::ACCEPT;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use super::client::{Body, Client, success};
use super::{Failure, Outcome, audit, output};

/// Before going on after a connection that broke off; it doubles up to the second one.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_AT_MOST: Duration = Duration::from_secs(5);

/// A line of the stream of events that is longer is none of ours.
const MAX_LINE: usize = 1 << 20;

/// Show what a plugin's calls log, also as it comes.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass logs hello
  aimass logs hello -f --level warn
  aimass logs hello --request 0198c0de000070008000000000000000
  aimass logs hello --since 10m --text 'not found' --json

Each call leaves a line when it ends: how long it took, what it answered, and why it failed. The node keeps the newest
lines in memory: what was logged before it started is gone.")]
pub(super) struct Logs {
    /// The plugin
    name: String,
    /// Go on with what comes, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Only lines of this request (an answer's `x-request-id`)
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only lines that are at least so serious: trace, debug, info, warn, error
    #[arg(long)]
    level: Option<String>,
    /// Not before: a time as 2026-01-31T12:00:00Z, or how long ago, as 10m
    #[arg(long, value_parser = audit::point)]
    since: Option<u64>,
    /// Only lines that hold this text, in letters of either case
    #[arg(long)]
    text: Option<String>,
    /// How many lines to look back [default: 100, and 10 with --follow]
    #[arg(short = 'n', long, value_name = "NUMBER")]
    lines: Option<usize>,
}

impl Logs {
    /// Follows what a plugin logs from this time on, milliseconds since the epoch.
    pub(super) fn since(name: String, since: Option<u64>) -> Self {
        Self { name, follow: true, request: None, level: None, since, text: None, lines: None }
    }

    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        if self.follow { self.follow(client, json).await } else { self.show(client, json).await }
    }

    fn path(&self, limit: usize) -> String {
        let mut path = format!("/api/v1/plugins/{}/logs?limit={limit}", audit::encoded(&self.name));
        let parts = [("request_id", &self.request), ("level", &self.level), ("text", &self.text)];
        for (name, value) in parts.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
            path.push_str(&format!("&{name}={}", audit::encoded(value)));
        }
        if let Some(since) = self.since {
            path.push_str(&format!("&since_ms={since}"));
        }
        path
    }

    async fn show(&self, client: &Client, json: bool) -> Outcome {
        let wanted = self.lines.unwrap_or(100);
        let mut lines = vec![];
        let mut after = String::new();
        while lines.len() < wanted {
            let path = format!("{}{after}", self.path((wanted - lines.len()).min(1_000)));
            let page = client.json(Method::GET, &path, None).await?;
            lines.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", audit::encoded(next)),
                None => break,
            }
        }
        lines.reverse();
        if json {
            output::json(&Value::Array(lines));
        } else if lines.is_empty() {
            println!("there are none");
        } else {
            lines.iter().for_each(|line| println!("{}", row(line)));
        }
        Ok(())
    }

    /// Reads events; when the connection breaks off, goes on behind the last line.
    async fn follow(&self, client: &Client, json: bool) -> Outcome {
        let path = self.path(self.lines.unwrap_or(10));
        let (mut last, mut wait) = (None::<String>, AGAIN);
        let mut first = true;
        loop {
            let mut request = Request::builder().header(ACCEPT, "text/event-stream");
            if let Some(last) = &last {
                request = request.header("last-event-id", last);
            }
            let none: Body = Full::default().map_err(|never| match never {}).boxed_unsync();
            match client.open(&path, request, none).await {
                Ok(answer) if answer.status().is_success() => {
                    (wait, first) = (AGAIN, false);
                    events(answer.into_body(), &mut last, |event, data| tell(event, data, json)).await?;
                }
                Ok(answer) if first || !answer.status().is_server_error() => {
                    let status = answer.status();
                    let body = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    return success(status, &body);
                }
                Err(failure) if first => return Err(failure),
                // The node is starting, or not there for a moment.
                Ok(_) | Err(_) => wait = (wait * 2).min(AGAIN_AT_MOST),
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// Hands each event (its name and its data) to `tell`, and keeps the last id.
async fn events(
    mut body: hyper::body::Incoming,
    last: &mut Option<String>,
    mut tell: impl FnMut(&str, &str),
) -> Outcome {
    let mut bytes = vec![];
    let (mut event, mut data) = (String::new(), String::new());
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(piece) = frame.into_data() else { continue };
        bytes.extend_from_slice(&piece);
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            let line = String::from_utf8_lossy(&bytes[..end]).trim_end_matches('\r').to_owned();
            bytes.drain(..=end);
            if line.is_empty() {
                if !data.is_empty() {
                    tell(&event, &data);
                }
                event.clear();
                data.clear();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event),
                "data" => data.push_str(value),
                "id" => *last = Some(value.to_owned()),
                _ => {}
            }
        }
        if bytes.len() > MAX_LINE {
            return Err(Failure::new("the answer is no stream of events"));
        }
    }
    Ok(())
}

fn tell(event: &str, data: &str, json: bool) {
    let value: Value = serde_json::from_str(data).unwrap_or_default();
    match event {
        "lost" if json => println!("{value}"),
        "lost" => eprintln!("({} lines were lost: they came faster than they were read)", lost(&value["lost"])),
        _ if json => println!("{value}"),
        _ => println!("{}", row(&value)),
    }
}

fn lost(count: &Value) -> String {
    if count.is_null() { "some".to_owned() } else { count.to_string() }
}

/// A line for people: when, how serious, which version, whose words, and the request to ask for.
fn row(line: &Value) -> String {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(line["time_ms"].as_u64().unwrap_or_default());
    let level = output::cell(&line["level"]).to_uppercase();
    let whose = match line["kind"].as_str() {
        Some("guest") => output::cell(&line["context"]),
        other => format!("[{}]", output::printable(other.unwrap_or_default())),
    };
    let (text, request) = (output::cell(&line["text"]), output::cell(&line["request_id"]));
    let at = humantime::format_rfc3339_millis(at);
    format!("{at}  {level:<5}  v{}  {whose}  {text}  ({request})", line["version"])
}
