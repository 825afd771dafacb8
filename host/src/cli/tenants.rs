//! `aimass tenants` and `aimass tokens`.

use std::num::NonZeroU32;
use std::str::FromStr;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::{Outcome, output};

/// Create, list, limit and erase tenants (the operator).
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass tenants create acme
  aimass tenants list
  aimass tenants show acme
  aimass tenants limits acme --weight 4 --requests-per-second 200
  aimass tenants limits acme --requests-per-second default
  aimass tenants limits acme --storage-mib 500 --compute-seconds-per-day 3600
  aimass tenants erase acme --yes")]
pub(super) enum Tenants {
    /// Create a tenant
    Create {
        /// Its name
        name: String,
    },
    /// List the tenants
    List,
    /// Show a tenant with its limits
    Show {
        /// Its name
        name: String,
    },
    /// Erase a tenant with all that it has, here and in every backup; its name is never given again
    Erase {
        /// Its name
        name: String,
        /// That is meant
        #[arg(long)]
        yes: bool,
    },
    /// Change a tenant's limits, at once; `default` makes one the node's again
    Limits {
        /// Its name
        name: String,
        /// Its part of the engines' time: a tenant with 4 gets four times as much as one with 1 when both ask
        #[arg(long, value_name = "NUMBER")]
        weight: Option<Limit>,
        /// Requests a second, on average; a tenth of a second's worth may come at once
        #[arg(long, value_name = "NUMBER")]
        requests_per_second: Option<Limit>,
        /// Calls at once
        #[arg(long, value_name = "NUMBER")]
        calls: Option<Limit>,
        /// Memory of its loaded models together, MiB
        #[arg(long, value_name = "MIB")]
        engine_memory_mib: Option<Limit>,
        /// What it may keep of plugins and models, MiB
        #[arg(long, value_name = "MIB")]
        storage_mib: Option<Limit>,
        /// Plugins
        #[arg(long, value_name = "NUMBER")]
        plugins: Option<Limit>,
        /// Models
        #[arg(long, value_name = "NUMBER")]
        models: Option<Limit>,
        /// Time that its guests run on processors and its models in engines, seconds in a day (UTC)
        #[arg(long, value_name = "SECONDS")]
        compute_seconds_per_day: Option<Limit>,
        /// What its guests send out, MiB in a day (UTC)
        #[arg(long, value_name = "MIB")]
        egress_mib_per_day: Option<Limit>,
    },
}

/// A limit as it is given: a number, or `default`.
#[derive(Clone, Copy)]
pub(super) struct Limit(Option<NonZeroU32>);

impl FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self(None)),
            number => number.parse().map(|n| Self(Some(n))).map_err(|_| "a number from 1, or `default`"),
        }
    }
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
            Self::Show { name } => {
                let tenant = client.json(Method::GET, &format!("/api/v1/tenants/{name}"), None).await?;
                show(&tenant, json);
            }
            Self::Erase { name, yes } => super::secrets::erase(client, &name, yes, json).await?,
            Self::Limits {
                name,
                weight,
                requests_per_second,
                calls,
                engine_memory_mib,
                storage_mib,
                plugins,
                models,
                compute_seconds_per_day,
                egress_mib_per_day,
            } => {
                let wishes = [
                    ("weight", weight),
                    ("requests_per_second", requests_per_second),
                    ("calls", calls),
                    ("engine_memory_mib", engine_memory_mib),
                    ("storage_mib", storage_mib),
                    ("plugins", plugins),
                    ("models", models),
                    ("compute_seconds_per_day", compute_seconds_per_day),
                    ("egress_mib_per_day", egress_mib_per_day),
                ];
                let given = wishes.into_iter().filter_map(|(field, wish)| Some((field.to_owned(), json!(wish?.0))));
                let change = Value::Object(given.collect());
                let path = format!("/api/v1/tenants/{name}/limits");
                show(&client.json(Method::PATCH, &path, Some(&change)).await?, json);
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

/// Prints a tenant with the limits that hold, and whose they are.
fn show(tenant: &Value, json: bool) {
    if json {
        return output::json(tenant);
    }
    let mut rows = vec![
        vec!["name".to_owned(), output::cell(&tenant["name"])],
        vec!["created".to_owned(), output::time(&tenant["created_ms"])],
    ];
    for (label, field) in [
        ("weight", "weight"),
        ("requests a second", "requests_per_second"),
        ("calls at once", "calls"),
        ("engine memory, MiB", "engine_memory_mib"),
        ("storage, MiB", "storage_mib"),
        ("plugins", "plugins"),
        ("models", "models"),
        ("compute a day, seconds", "compute_seconds_per_day"),
        ("egress a day, MiB", "egress_mib_per_day"),
    ] {
        let limit = &tenant["effective_limits"][field];
        let number = if limit.is_null() { "no limit".to_owned() } else { output::cell(limit) };
        let whose = if tenant["limits"][field].is_null() { "the node's" } else { "its own" };
        rows.push(vec![label.to_owned(), format!("{number} ({whose})")]);
    }
    println!("{}", output::table(&["", ""], rows).trim_start_matches('\n'));
}

/// What a tenant's developer needs: everything but giving rights to others.
pub(super) const DEVELOPER: &str = "plugins:read,plugins:write,plugins:invoke,models:read,models:write,models:invoke,egress:read,usage:read,\
     triggers:read,triggers:write,data:read,data:write,jobs:read,jobs:write";

/// Create, list and revoke tokens.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass tokens create --tenant acme
  aimass tokens create --tenant acme --subject ci --scopes plugins:write --hours 1
  aimass tokens create --tenant acme --subject alice --role admin
  aimass tokens list --tenant acme
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
        /// What it may do, separated by commas [default: what the role `developer` may, unless there is a --role]
        #[arg(long, alias = "scope", value_delimiter = ',')]
        scopes: Vec<String>,
        /// A role whose scopes it gets as well, as the role stands now; several with commas between
        #[arg(long = "role", value_name = "ROLE", value_delimiter = ',')]
        roles: Vec<String>,
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
            Self::Create { tenant, subject, mut scopes, roles, hours } => {
                if scopes.is_empty() && roles.is_empty() {
                    scopes = DEVELOPER.split(',').map(str::to_owned).collect();
                }
                let ttl = hours.saturating_mul(3600);
                let wish = json!({ "subject": subject, "scopes": scopes, "roles": roles, "ttl_seconds": ttl });
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
