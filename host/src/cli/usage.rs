//! `aimass usage`.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{Method, Request};
use serde_json::{Value, json};

use super::client::{Client, success};
use super::{Outcome, audit, output};

/// Show what a tenant used, hour by hour: calls, their time, and what was sent out between which regions.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass usage
  aimass usage --hours 720 --json
  aimass usage --by plugin --from 7d
  aimass usage --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --csv > january.csv
  aimass usage --tenant acme        (the operator)

Processor time is what guests ran, without what they waited for; engine time what models ran, divided among calls that ran
together. The running hour is shown as far as it has come.")]
pub(super) struct Usage {
    /// How far to look back
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// From when on: a time as 2026-01-31T12:00:00Z, or how long ago, as 7d
    #[arg(long, value_parser = audit::point, conflicts_with = "hours")]
    from: Option<u64>,
    /// Until when, likewise
    #[arg(long, value_parser = audit::point)]
    to: Option<u64>,
    /// What to tell apart
    #[arg(long)]
    by: Option<By>,
    /// Print CSV, with all numbers in each row
    #[arg(long)]
    csv: bool,
    /// Whose (the operator names one; a tenant's token shows its own)
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    /// Each plugin and each model
    Plugin,
}

impl Usage {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let path = match &self.tenant {
            Some(tenant) => format!("/api/v1/tenants/{tenant}/usage"),
            None => "/api/v1/usage".to_owned(),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let from = self.from.map_or(now.saturating_sub(self.hours.saturating_mul(3600)), |ms| ms / 1000);
        let mut fixed = format!("{path}?from={from}");
        if let Some(to) = self.to {
            fixed.push_str(&format!("&to={}", to / 1000));
        }
        if self.by.is_some() {
            fixed.push_str("&by=plugin");
        }
        if self.csv {
            let answer = client.send(&format!("{fixed}&format=csv"), Request::builder(), Bytes::new()).await?;
            success(answer.status(), answer.body())?;
            print!("{}", String::from_utf8_lossy(answer.body()));
            return Ok(());
        }
        let mut after = String::new();
        let mut hours = vec![];
        loop {
            let page = client.json(Method::GET, &format!("{fixed}{after}"), None).await?;
            hours.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", audit::encoded(next)),
                None => break,
            }
        }
        if json {
            output::json(&Value::Array(hours));
            return Ok(());
        }
        if hours.is_empty() {
            println!("nothing was used");
        } else {
            show(&hours, self.by.is_some());
        }
        let quotas = client.json(Method::GET, &path.replace("/usage", "/quotas"), None).await?;
        show_quotas(quotas["items"].as_array().map_or(&[], Vec::as_slice));
        Ok(())
    }
}

/// Calls, then what was sent, then what was refused: each a table, if there is anything in it.
fn show(hours: &[Value], named: bool) {
    let hour = |used: &Value| output::time(&json!(used["hour"].as_u64().unwrap_or_default().saturating_mul(1000)));
    let calls = hours.iter().map(|used| {
        let mut row = vec![hour(used)];
        row.extend(named.then(|| output::cell(&used["name"])));
        let numbers = ["inferences", "functions", "guest_inferences", "errors", "guest_ms", "engine_ms"];
        row.extend(numbers.map(|field| output::cell(&used[field])));
        row.extend(["bytes_in", "bytes_out"].map(|field| output::bytes(&used[field])));
        row.push(output::cell(&used["memory_mib_seconds"]));
        row
    });
    let mut headings = vec!["HOUR"];
    headings.extend(named.then_some("NAME"));
    headings.extend(["INFERENCES", "FUNCTIONS", "BY GUESTS", "ERRORS", "GUEST MS", "ENGINE MS", "IN", "OUT", "MIB·S"]);
    println!("{}", output::table(&headings, calls));
    let sent: Vec<_> = hours.iter().flat_map(|used| transfers(used).map(move |flow| (used, flow))).collect();
    if !sent.is_empty() {
        let rows = sent.into_iter().map(|(used, flow)| {
            let [from, to, records, subjects] =
                ["from", "to", "records", "subjects"].map(|field| output::cell(&flow[field]));
            let [out, back] = ["bytes_sent", "bytes_received"].map(|field| output::bytes(&flow[field]));
            vec![hour(used), from, to, records, out, back, subjects]
        });
        let headings = ["HOUR", "FROM", "TO", "REQUESTS", "SENT", "RECEIVED", "SUBJECTS"];
        println!("\n{}", output::table(&headings, rows));
    }
    let refused: Vec<_> = hours
        .iter()
        .flat_map(|used| used["refused"].as_object().into_iter().flatten().map(move |refused| (used, refused)))
        .map(|(used, (reason, count))| vec![hour(used), output::printable(reason), output::cell(count)])
        .collect();
    if !refused.is_empty() {
        println!("\n{}", output::table(&["HOUR", "REFUSED", "REQUESTS"], refused));
    }
}

/// What is used now of what may be, if anything has a limit.
fn show_quotas(quotas: &[Value]) {
    let amount = |quota: &Value, field: &str| match quota["unit"].as_str() {
        _ if quota[field].is_null() => "no limit".to_owned(),
        Some("bytes") => output::bytes(&quota[field]),
        Some("milliseconds") => format!("{:.1} s", quota[field].as_f64().unwrap_or_default() / 1e3),
        _ => output::cell(&quota[field]),
    };
    let rows = quotas.iter().map(|quota| {
        let resets = quota["resets"].as_u64().map(|at| output::time(&json!(at.saturating_mul(1000))));
        vec![output::cell(&quota["quota"]), amount(quota, "used"), amount(quota, "limit"), resets.unwrap_or_default()]
    });
    println!("\n{}", output::table(&["QUOTA", "USED", "LIMIT", "RESETS"], rows));
}

fn transfers(used: &Value) -> impl Iterator<Item = &Value> {
    used["transfers"].as_array().into_iter().flatten()
}
