//! `aimass tenants` and `aimass tokens`.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::{Outcome, output};

/// Create and list tenants (the operator).
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass tenants create acme
  aimass tenants list")]
pub(super) enum Tenants {
    /// Create a tenant
    Create {
        /// Its name
        name: String,
    },
    /// List the tenants
    List,
}

impl Tenants {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::Create { name } => {
                let tenant = client.json(Method::POST, "/api/v1/tenants", Some(&json!({ "name": name }))).await?;
                if json {
                    output::json(&tenant);
                } else {
                    println!("created the tenant {name}; next: aimass tokens create --tenant {name}");
                }
            }
            Self::List => {
                list(client, "/api/v1/tenants", json, &["NAME", "CREATED"], |t| {
                    vec![output::cell(&t["name"]), output::time(&t["created_ms"])]
                })
                .await?
            }
        }
        Ok(())
    }
}

/// What a tenant's developer needs: everything but giving rights to others.
pub(super) const DEVELOPER: &str = "plugins:read,plugins:write,plugins:invoke,models:read,models:write,models:invoke";

/// Create, list and revoke tokens.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass tokens create --tenant acme
  aimass tokens create --tenant acme --subject ci --scopes plugins:write --hours 1
  aimass tokens revoke --tenant acme 0198c0de…")]
pub(super) enum Tokens {
    /// Create a token and print it: it is shown this once
    Create {
        /// Whose (the operator names one; a tenant's token makes tokens for its own tenant)
        #[arg(long)]
        tenant: Option<String>,
        /// Who will hold it
        #[arg(long, default_value = "developer")]
        subject: String,
        /// What it may do, separated by commas
        #[arg(long, value_delimiter = ',', default_value = DEVELOPER)]
        scopes: Vec<String>,
        /// How long it is valid
        #[arg(long, default_value_t = 24)]
        hours: u64,
    },
    /// List tokens (never the secrets)
    List {
        /// Whose
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Revoke a token by its id
    Revoke {
        /// Whose
        #[arg(long)]
        tenant: Option<String>,
        /// Its id (`jti`)
        jti: String,
    },
}

impl Tokens {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::Create { tenant, subject, scopes, hours } => {
                let wish = json!({ "subject": subject, "scopes": scopes, "ttl_seconds": hours.saturating_mul(3600) });
                let token = client.json(Method::POST, &tokens_path(tenant.as_deref()), Some(&wish)).await?;
                if json {
                    output::json(&token);
                } else {
                    // Nothing but the token, so that a shell can keep it: export AIMASS_TOKEN=$(aimass tokens create …)
                    println!("{}", token["token"].as_str().unwrap_or_default());
                }
                Ok(())
            }
            Self::List { tenant } => {
                let headings = ["ID", "SUBJECT", "SCOPES", "EXPIRES", "REVOKED"];
                list(client, &tokens_path(tenant.as_deref()), json, &headings, |t| {
                    let expires = json!(t["expires"].as_u64().unwrap_or_default().saturating_mul(1000));
                    vec![
                        output::cell(&t["jti"]),
                        output::cell(&t["subject"]),
                        output::cell(&t["scopes"]),
                        output::time(&expires),
                        output::cell(&t["revoked"]),
                    ]
                })
                .await
            }
            Self::Revoke { tenant, jti } => {
                client.json(Method::DELETE, &format!("{}/{jti}", tokens_path(tenant.as_deref())), None).await?;
                if !json {
                    println!("revoked {jti}");
                }
                Ok(())
            }
        }
    }
}

fn tokens_path(tenant: Option<&str>) -> String {
    tenant.map_or_else(|| "/api/v1/tokens".to_owned(), |tenant| format!("/api/v1/tenants/{tenant}/tokens"))
}

/// Prints a whole list, page by page.
pub(super) async fn list(
    client: &Client,
    path: &str,
    json: bool,
    headings: &[&str],
    row: impl Fn(&Value) -> Vec<String>,
) -> Outcome {
    let mut items = vec![];
    let mut after = None::<String>;
    loop {
        let page = match &after {
            Some(cursor) => client.json(Method::GET, &format!("{path}?after={cursor}"), None).await?,
            None => client.json(Method::GET, path, None).await?,
        };
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    if json {
        output::json(&Value::Array(items));
    } else if items.is_empty() {
        println!("there are none");
    } else {
        println!("{}", output::table(headings, items.iter().map(row)));
    }
    Ok(())
}
