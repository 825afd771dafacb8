//! `aimass webhooks`: endpoints that are told when asynchronous calls have ended.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::tenants::list;
use super::{Outcome, output};

const WEBHOOKS: &str = "/api/v1/webhooks";

/// Say where to tell that asynchronous calls have ended.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass egress allow hooks.example.com
  aimass webhooks create done https://hooks.example.com/aimass    prints the secret, this once
  aimass webhooks test done && aimass webhooks deliveries done
  aimass invoke ocr page=@scan.png --async --callback done
  aimass webhooks pause done
  aimass webhooks retry done msg_0198c0de00007000800000000000000a_1

Messages are signed as Standard Webhooks has it (webhook-id, webhook-timestamp, webhook-signature), go out by the tenant's
egress rules, and are sent again for about a day until the endpoint answers with 2xx.")]
pub(super) enum Webhooks {
    /// Make an endpoint, and print its secret
    Create {
        /// What to call it
        name: String,
        /// Where messages are sent to
        #[arg(value_name = "URL")]
        address: String,
    },
    /// List endpoints
    List,
    /// Show an endpoint
    Show {
        /// Its name
        name: String,
    },
    /// Send messages to another address
    Move {
        /// Its name
        name: String,
        /// The address
        #[arg(value_name = "URL")]
        address: String,
    },
    /// Let messages wait
    Pause {
        /// Its name
        name: String,
    },
    /// Let messages go on
    Resume {
        /// Its name
        name: String,
    },
    /// Give it a new secret, and print that; for a day messages are signed under the old one as well
    RenewSecret {
        /// Its name
        name: String,
    },
    /// Send a message that says nothing
    Test {
        /// Its name
        name: String,
    },
    /// List messages to an endpoint
    Deliveries {
        /// Its name
        name: String,
    },
    /// Send a message again that was given up
    Retry {
        /// The endpoint's name
        name: String,
        /// The message's id
        id: String,
    },
    /// Remove an endpoint; what waits for it is given up
    Delete {
        /// Its name
        name: String,
    },
}

impl Webhooks {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::Create { name, address } => {
                let wish = json!({ "name": name, "url": address });
                secret(&client.json(Method::POST, WEBHOOKS, Some(&wish)).await?, json);
            }
            Self::RenewSecret { name } => {
                secret(&client.json(Method::POST, &path(&name, "/secret"), None).await?, json);
            }
            Self::List => {
                list(client, WEBHOOKS, json, &["NAME", "URL", "PAUSED", "CREATED"], |webhook| {
                    vec![
                        output::cell(&webhook["name"]),
                        output::cell(&webhook["url"]),
                        output::cell(&webhook["paused"]),
                        output::time(&webhook["created_ms"]),
                    ]
                })
                .await?;
            }
            Self::Show { name } => show(&client.json(Method::GET, &path(&name, ""), None).await?, json),
            Self::Move { name, address } => change(client, &name, json!({ "url": address }), json).await?,
            Self::Pause { name } => change(client, &name, json!({ "paused": true }), json).await?,
            Self::Resume { name } => change(client, &name, json!({ "paused": false }), json).await?,
            Self::Test { name } => {
                delivery(&client.json(Method::POST, &path(&name, "/test"), None).await?, json);
            }
            Self::Deliveries { name } => {
                let headings = ["ID", "INVOCATION", "STATE", "ATTEMPTS", "CREATED", "FAILURE"];
                list(client, &path(&name, "/deliveries"), json, &headings, |message| {
                    vec![
                        output::cell(&message["id"]),
                        output::cell(&message["invocation"]),
                        output::cell(&message["state"]),
                        output::cell(&message["attempts"]),
                        output::time(&message["created_ms"]),
                        output::cell(&message["failure"]["detail"]),
                    ]
                })
                .await?;
            }
            Self::Retry { name, id } => {
                let again = path(&name, &format!("/deliveries/{id}/retry"));
                delivery(&client.json(Method::POST, &again, None).await?, json);
            }
            Self::Delete { name } => {
                client.json(Method::DELETE, &path(&name, ""), None).await?;
                if !json {
                    println!("removed {name}");
                }
            }
        }
        Ok(())
    }
}

fn path(name: &str, of: &str) -> String {
    format!("{WEBHOOKS}/{name}{of}")
}

async fn change(client: &Client, name: &str, change: Value, json: bool) -> Outcome {
    show(&client.json(Method::PATCH, &path(name, ""), Some(&change)).await?, json);
    Ok(())
}

fn show(webhook: &Value, json: bool) {
    if json {
        return output::json(webhook);
    }
    let [name, url] = ["name", "url"].map(|field| output::cell(&webhook[field]));
    let paused = if webhook["paused"] == true { " (paused: messages wait)" } else { "" };
    println!("{name} is told at {url}{paused}");
}

fn delivery(message: &Value, json: bool) {
    if json {
        return output::json(message);
    }
    println!("{} is {}", output::cell(&message["id"]), output::cell(&message["state"]));
}

/// Nothing but the secret, so that a shell can keep it.
fn secret(webhook: &Value, json: bool) {
    match json {
        true => output::json(webhook),
        false => println!("{}", webhook["secret"].as_str().unwrap_or_default()),
    }
}
