//! `aimass usage`.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::{Outcome, output};

/// Show what a tenant used, hour by hour: calls, their time, and what was sent out between which regions.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass usage
  aimass usage --hours 720 --json
  aimass usage --tenant acme        (the operator)")]
pub(super) struct Usage {
    /// How far to look back
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// Whose (the operator names one; a tenant's token shows its own)
    #[arg(long)]
    tenant: Option<String>,
}

impl Usage {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let path = match &self.tenant {
            Some(tenant) => format!("/api/v1/tenants/{tenant}/usage"),
            None => "/api/v1/usage".to_owned(),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut after = now.saturating_sub(self.hours.saturating_mul(3600)).to_string();
        let mut hours = vec![];
        loop {
            let page = client.json(Method::GET, &format!("{path}?after={after}"), None).await?;
            hours.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => break,
            }
        }
        if json {
            output::json(&Value::Array(hours));
        } else if hours.is_empty() {
            println!("nothing was used");
        } else {
            show(&hours);
        }
        Ok(())
    }
}

/// Calls, then what was sent, then what was refused: each a table, if there is anything in it.
fn show(hours: &[Value]) {
    let hour = |used: &Value| output::time(&json!(used["hour"].as_u64().unwrap_or_default().saturating_mul(1000)));
    let calls = hours.iter().map(|used| {
        let numbers = ["inferences", "inference_ms", "functions"].map(|field| output::cell(&used[field]));
        [vec![hour(used)], numbers.to_vec()].concat()
    });
    println!("{}", output::table(&["HOUR", "INFERENCES", "MILLISECONDS", "FUNCTIONS"], calls));
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

fn transfers(used: &Value) -> impl Iterator<Item = &Value> {
    used["transfers"].as_array().into_iter().flatten()
}
