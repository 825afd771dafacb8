//! `aimass egress`.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::tenants::list;
use super::{Outcome, output};

/// Say where a tenant's guests may send to, and across which regions.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass egress allow api.example.com
  aimass egress allow '*.example.com' --port 443 --port 8443 --method GET --region eu
  aimass egress list
  aimass egress deny api.example.com
  aimass egress region eu
  aimass egress transfers allow eu us --purpose 'support tickets, contract 17'
  aimass egress transfers list
  aimass egress transfers deny eu us

What no rule allows is denied. An address that is not public is never connected to, unless the operator's node lets the
destination in (aimass serve --egress-private HOST:PORT).")]
pub(super) enum Egress {
    /// Let guests send to a host, instead of what was allowed there before
    Allow {
        /// A host, or every name below one: '*.example.com'
        host: String,
        /// A port; may be given again
        #[arg(long = "port", value_name = "PORT", default_values_t = [443])]
        ports: Vec<u16>,
        /// A method; may be given again [default: every one]
        #[arg(long = "method", value_name = "METHOD")]
        methods: Vec<String>,
        /// Where the destination is; needed as soon as the node or the tenant's data has a region
        #[arg(long, value_name = "REGION")]
        region: Option<String>,
    },
    /// Take what was allowed for a host away
    Deny {
        /// The host, as it stands in the list
        host: String,
    },
    /// List where guests may send to
    List,
    /// Show the region that the tenant's data is labelled with, or set it
    Region {
        /// The region; `default` for the node's
        region: Option<String>,
    },
    /// Say between which regions data may be sent
    #[command(subcommand)]
    Transfers(Transfers),
}

/// Say between which regions data may be sent.
#[derive(Subcommand)]
pub(super) enum Transfers {
    /// Let data of one region be sent to another
    Allow {
        /// The data's region
        from: String,
        /// The destination's region
        to: String,
        /// What for: it stands in the list and in the journal
        #[arg(long, value_name = "TEXT")]
        purpose: Option<String>,
    },
    /// Take that away
    Deny {
        /// The data's region
        from: String,
        /// The destination's region
        to: String,
    },
    /// List between which regions data may be sent
    List,
}

const RULES: &str = "/api/v1/egress/rules";
const TRANSFERS: &str = "/api/v1/egress/transfers";

impl Egress {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::Allow { host, ports, methods, region } => {
                let methods: Vec<_> = methods.iter().map(|method| method.to_uppercase()).collect();
                let mut wish = json!({ "ports": ports, "methods": methods });
                if let Some(region) = region {
                    wish["region"] = region.into();
                }
                let rule = client.json(Method::PUT, &format!("{RULES}/{host}"), Some(&wish)).await?;
                let [host, ports, region] = ["host", "ports", "region"].map(|field| output::cell(&rule[field]));
                told(json, &rule, &format!("guests may send to {host}, port {ports}, in the region {region}"));
            }
            Self::Deny { host } => {
                client.json(Method::DELETE, &format!("{RULES}/{host}"), None).await?;
                told(json, &Value::Null, &format!("guests may no longer send to {host} by a rule of its own"));
            }
            Self::List => {
                list(client, RULES, json, &["HOST", "PORTS", "METHODS", "REGION"], |rule| {
                    let methods = output::cell(&rule["methods"]);
                    vec![
                        output::cell(&rule["host"]),
                        output::cell(&rule["ports"]),
                        if methods.is_empty() { "all".to_owned() } else { methods },
                        output::cell(&rule["region"]),
                    ]
                })
                .await?;
            }
            Self::Region { region } => {
                let path = "/api/v1/egress/region";
                let label = match region.as_deref() {
                    None => client.json(Method::GET, path, None).await?,
                    Some(region) => {
                        let region = Some(region).filter(|region| *region != "default");
                        client.json(Method::PUT, path, Some(&json!({ "region": region }))).await?
                    }
                };
                let whose = if label["own"] == true { "its own label" } else { "the node's" };
                told(json, &label, &format!("the data is in the region {} ({whose})", output::cell(&label["region"])));
            }
            Self::Transfers(transfers) => transfers.run(client, json).await?,
        }
        Ok(())
    }
}

impl Transfers {
    async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::Allow { from, to, purpose } => {
                let wish = purpose.map_or_else(|| json!({}), |purpose| json!({ "purpose": purpose }));
                let rule = client.json(Method::PUT, &format!("{TRANSFERS}/{from}/{to}"), Some(&wish)).await?;
                told(json, &rule, &format!("data of {from} may be sent to {to}"));
            }
            Self::Deny { from, to } => {
                client.json(Method::DELETE, &format!("{TRANSFERS}/{from}/{to}"), None).await?;
                told(json, &Value::Null, &format!("data of {from} may no longer be sent to {to}"));
            }
            Self::List => {
                list(client, TRANSFERS, json, &["FROM", "TO", "PURPOSE"], |rule| {
                    ["from", "to", "purpose"].map(|field| output::cell(&rule[field])).to_vec()
                })
                .await?;
            }
        }
        Ok(())
    }
}

/// The document for programs, a sentence for people.
fn told(json: bool, document: &Value, sentence: &str) {
    match json {
        true if document.is_null() => {}
        true => output::json(document),
        false => println!("{sentence}"),
    }
}
