//! `aimass issuers`, `aimass roles` and `aimass signing-keys`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::tenants::list;
use super::{Failure, Outcome, output};

/// Let a tenant's own identity providers sign its users in.
#[derive(Subcommand)]
#[command(after_help = "Examples (with a token of the tenant's that has the role admin):
  aimass issuers add keycloak --issuer https://id.example/realms/acme --audience aimass \\
      --jwks-url https://id.example/realms/acme/protocol/openid-connect/certs --roles-claim realm_access.roles
  aimass issuers list
  aimass issuers show keycloak
  aimass issuers revoke keycloak --subject 8f6c1d…
  aimass issuers restore keycloak --subject 8f6c1d…
  aimass issuers remove keycloak
A token's roles claim names roles: viewer, developer, admin, or the tenant's own (aimass roles).")]
pub(super) enum Issuers {
    /// Accept the tokens of an identity provider
    Add {
        /// What to call it
        name: String,
        /// The `iss` claim of its tokens, exactly
        #[arg(long, value_name = "TEXT")]
        issuer: String,
        /// The `aud` claim that its tokens bear for this platform, exactly
        #[arg(long, value_name = "TEXT")]
        audience: String,
        /// Where its keys are fetched from, again and again: a JWK set, over https
        #[arg(long, value_name = "ADDRESS", required_unless_present = "jwks", conflicts_with = "jwks")]
        jwks_url: Option<String>,
        /// A file with its keys: a JWK set
        #[arg(long, value_name = "FILE")]
        jwks: Option<PathBuf>,
        /// The claim that names the holder's roles; with dots for a claim inside of others [default: roles]
        #[arg(long, value_name = "CLAIM")]
        roles_claim: Option<String>,
    },
    /// List the identity providers
    List,
    /// Show an identity provider, its keys and what is revoked of it
    Show {
        /// Its name
        name: String,
    },
    /// Accept an identity provider's tokens no longer, at once
    Remove {
        /// Its name
        name: String,
    },
    /// Refuse a key or a subject of an identity provider, at once
    Revoke {
        /// The provider's name
        name: String,
        #[command(flatten)]
        what: What,
    },
    /// Accept a revoked key or subject again
    Restore {
        /// The provider's name
        name: String,
        #[command(flatten)]
        what: What,
    },
}

/// What of a provider's.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct What {
    /// A key, by its id: all tokens that it signed
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    /// A subject: all its tokens
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
}

impl What {
    fn field(&self) -> (&'static str, &str) {
        match self {
            Self { kid: Some(kid), .. } => ("kid", kid),
            Self { subject, .. } => ("subject", subject.as_deref().unwrap_or_default()),
        }
    }
}

impl Issuers {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let path = |name: &str| format!("/api/v1/issuers/{}", encoded(name));
        match self {
            Self::Add { name, issuer, audience, jwks_url, jwks, roles_claim } => {
                let mut wish = json!({ "name": name, "issuer": issuer, "audience": audience });
                let jwks = jwks.map(|file| read_json(&file)).transpose()?;
                let given = [("jwks_url", json!(jwks_url)), ("jwks", json!(jwks)), ("roles_claim", json!(roles_claim))];
                for (field, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
                    wish[field] = value;
                }
                show(&client.json(Method::POST, "/api/v1/issuers", Some(&wish)).await?, json);
            }
            Self::List => {
                let headings = ["NAME", "ISSUER", "AUDIENCE", "KEYS", "FETCHED", "ERROR"];
                list(client, "/api/v1/issuers", json, &headings, |i| {
                    let keys = i["keys"].as_array().map_or(0, Vec::len);
                    vec![
                        output::cell(&i["name"]),
                        output::cell(&i["issuer"]),
                        output::cell(&i["audience"]),
                        keys.to_string(),
                        output::time(&i["fetched_ms"]),
                        output::cell(&i["fetch_error"]),
                    ]
                })
                .await?;
            }
            Self::Show { name } => show(&client.json(Method::GET, &path(&name), None).await?, json),
            Self::Remove { name } => {
                client.json(Method::DELETE, &path(&name), None).await?;
                if !json {
                    println!("removed the issuer {name}: its tokens are refused");
                }
            }
            Self::Revoke { name, what } => {
                let (field, value) = what.field();
                let path = format!("{}/revocations", path(&name));
                show(&client.json(Method::POST, &path, Some(&json!({ field: value }))).await?, json);
            }
            Self::Restore { name, what } => {
                let (field, value) = what.field();
                let path = format!("{}/revocations?{field}={}", path(&name), encoded(value));
                show(&client.json(Method::DELETE, &path, None).await?, json);
            }
        }
        Ok(())
    }
}

fn show(issuer: &Value, json: bool) {
    if json {
        return output::json(issuer);
    }
    let mut rows: Vec<Vec<String>> = [
        ("name", "name"),
        ("issuer", "issuer"),
        ("audience", "audience"),
        ("roles claim", "roles_claim"),
        ("keys from", "jwks_url"),
        ("error", "fetch_error"),
    ]
    .into_iter()
    .filter(|(_, field)| !issuer[*field].is_null())
    .map(|(label, field)| vec![label.to_owned(), output::cell(&issuer[field])])
    .collect();
    if !issuer["fetched_ms"].is_null() {
        rows.push(vec!["keys fetched".to_owned(), output::time(&issuer["fetched_ms"])]);
    }
    for key in issuer["keys"].as_array().into_iter().flatten() {
        let revoked = if key["revoked"] == true { " (revoked)" } else { "" };
        let text = format!("{} {}{revoked}", output::cell(&key["kid"]), output::cell(&key["algorithm"]));
        rows.push(vec!["key".to_owned(), text]);
    }
    for revoked in issuer["revoked"].as_array().into_iter().flatten() {
        let what = ["kid", "subject"].into_iter().find(|kind| !revoked[*kind].is_null()).unwrap_or_default();
        rows.push(vec![format!("revoked {what}"), output::cell(&revoked[what])]);
    }
    println!("{}", output::table(&["", ""], rows).trim_start_matches('\n'));
}

/// Name sets of scopes, for tokens and for users of identity providers.
#[derive(Subcommand)]
#[command(after_help = "Examples (with a token of the tenant's that has the role admin):
  aimass roles list
  aimass roles show on-duty
  aimass roles set on-duty --scopes models:read,models:invoke,audit:read
  aimass roles delete on-duty")]
pub(super) enum Roles {
    /// List the roles that the tenant has
    List,
    /// Show a role
    Show {
        /// Its name
        name: String,
    },
    /// Create or replace a role; users of identity providers that have it follow at once
    Set {
        /// Its name
        name: String,
        /// All that its holders may do, separated by commas
        #[arg(long, alias = "scope", value_delimiter = ',', required = true)]
        scopes: Vec<String>,
    },
    /// Delete a role
    Delete {
        /// Its name
        name: String,
    },
}

impl Roles {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        let path = |name: &str| format!("/api/v1/roles/{}", encoded(name));
        let headings = ["NAME", "KIND", "SCOPES"];
        let row = |role: &Value| {
            let kind = if role["built_in"] == true { "built in" } else { "own" };
            vec![output::cell(&role["name"]), kind.to_owned(), output::cell(&role["scopes"])]
        };
        let print = |role: Value| match json {
            true => output::json(&role),
            false => println!("{}", output::table(&headings, [row(&role)])),
        };
        match self {
            Self::List => list(client, "/api/v1/roles", json, &headings, row).await?,
            Self::Show { name } => print(client.json(Method::GET, &path(&name), None).await?),
            Self::Set { name, scopes } => {
                let wish = json!({ "name": name, "scopes": scopes });
                print(client.json(Method::POST, "/api/v1/roles", Some(&wish)).await?);
            }
            Self::Delete { name } => {
                client.json(Method::DELETE, &path(&name), None).await?;
                if !json {
                    println!("deleted the role {name}");
                }
            }
        }
        Ok(())
    }
}

/// List, rotate and revoke the keys that the node signs tokens with (the operator).
#[derive(Subcommand)]
#[command(after_help = "Examples:
  aimass signing-keys list
  aimass signing-keys rotate
  aimass signing-keys revoke 3kPr…
To revoke the key that signed your own token: rotate, `aimass tokens create --subject operator --scopes operator`, and
revoke with the new token.")]
pub(super) enum SigningKeys {
    /// List the keys, newest first
    List,
    /// Sign with a new key from now on; tokens of the old one stay valid
    Rotate,
    /// Refuse all tokens that a key signed, at once
    Revoke {
        /// Its id
        kid: String,
    },
}

impl SigningKeys {
    pub(super) async fn run(self, client: &Client, json: bool) -> Outcome {
        match self {
            Self::List => {
                list(client, "/api/v1/signing-keys", json, &["KID", "CREATED", "STATE"], |key| {
                    let created = json!(key["created"].as_u64().unwrap_or_default().saturating_mul(1000));
                    vec![output::cell(&key["kid"]), output::time(&created), output::cell(&key["state"])]
                })
                .await?;
            }
            Self::Rotate => {
                let key = client.json(Method::POST, "/api/v1/signing-keys", None).await?;
                if json {
                    output::json(&key);
                } else {
                    println!("tokens are signed with {} from now on", output::cell(&key["kid"]));
                }
            }
            Self::Revoke { kid } => {
                client.json(Method::DELETE, &format!("/api/v1/signing-keys/{}", encoded(&kid)), None).await?;
                if !json {
                    println!("revoked {kid}: all tokens that it signed are refused");
                }
            }
        }
        Ok(())
    }
}

fn read_json(file: &Path) -> Outcome<Value> {
    let named = |e: &dyn std::fmt::Display| Failure::new(format!("{}: {e}", file.display()));
    serde_json::from_slice(&std::fs::read(file).map_err(|e| named(&e))?).map_err(|e| named(&e))
}

/// Text as a part of a path or query (RFC 3986 §2.3): whatever is not plain as its bytes.
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().map(|b| if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
