//! The commands' HTTP client.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::{Failure, Outcome, trust};
use crate::config::Raw;

/// Which node, and with which token.
#[derive(Args, Clone, Debug)]
pub(crate) struct Connection {
    /// The node's URL
    #[arg(long, global = true, env = "AIMASS_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The token; without one, --token-file, then the operator's token of the local data folder
    #[arg(long, global = true, env = "AIMASS_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file that holds the token
    #[arg(long, global = true, env = "AIMASS_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file of PEM certificates that are trusted beside the system's, for a node with one of its own
    #[arg(long, global = true, env = "AIMASS_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Connection {
    /// A client for it. Nothing is sent yet.
    pub(crate) fn open(self) -> Outcome<Client> {
        let token = match (self.token, self.token_file) {
            (Some(token), _) => token,
            (None, Some(file)) => read_token(&file)?,
            (None, None) => match Raw::data_folder().map(|data| data.join(crate::compose::OPERATOR_TOKEN)) {
                Some(file) if file.exists() => read_token(&file)?,
                _ => return Err(Failure::new("no token: give one with --token, --token-file or AIMASS_TOKEN")),
            },
        };
        Client::trusting(&self.url, token.trim(), self.ca.as_deref())
    }
}

fn read_token(file: &Path) -> Outcome<String> {
    std::fs::read_to_string(file).map_err(|e| Failure::new(format!("{}: {e}", file.display())))
}

pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A client of one node with one token.
pub(crate) struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Body>,
    base: String,
    token: String,
}

impl Client {
    /// A client of the node at `url`. An empty token is none.
    pub(crate) fn new(url: &str, token: &str) -> Outcome<Self> {
        Self::trusting(url, token, None)
    }

    /// The same, over https with a node whose certificate the certificates in `ca` vouch for.
    pub(crate) fn trusting(url: &str, token: &str, ca: Option<&Path>) -> Outcome<Self> {
        let base = url.trim_end_matches('/').to_owned();
        let parsed = base.parse::<Uri>().ok().filter(|uri| uri.authority().is_some());
        let tls = match parsed.as_ref().and_then(Uri::scheme_str) {
            Some("https") => trust::with(ca)?,
            // Nothing is trusted where nothing is asked.
            Some("http") => trust::nobody()?,
            _ => return Err(Failure::new(format!("`{url}` is no http:// or https:// URL"))),
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Self { pool: Pool::builder(TokioExecutor::new()).build(connector), base, token: token.to_owned() })
    }

    /// The node's URL without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.base
    }

    /// The tenant that the token names; the node checks it, this only reads it.
    pub(crate) fn tenant(&self) -> Outcome<String> {
        use base64::Engine as _;
        let claims = self
            .token
            .split('.')
            .nth(1)
            .and_then(|part| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).ok())
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let tenant = claims.as_ref().and_then(|claims| claims["tenant"].as_str());
        tenant
            .map(str::to_owned)
            .ok_or_else(|| Failure::new("the token is no tenant's: make one with `aimass tokens create`"))
    }

    /// Sends a request and returns the answer's JSON; anything but success is a refusal.
    pub(crate) async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Outcome<Value> {
        let mut request = Request::builder().method(method);
        let bytes = match body {
            Some(value) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(value.to_string())
            }
            None => Bytes::new(),
        };
        let response = self.send(path, request, bytes).await?;
        success(response.status(), response.body())?;
        if response.body().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(response.body()).map_err(|e| Failure::new(format!("the answer is no JSON: {e}")))
    }

    /// Sends a request with a whole body and returns the whole answer, whatever its status.
    pub(crate) async fn send(
        &self,
        path: &str,
        request: http::request::Builder,
        body: Bytes,
    ) -> Outcome<Response<Bytes>> {
        let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        self.exchange(path, request, body).await
    }

    /// Sends a request with a body of any kind and returns the whole answer, whatever its status.
    pub(super) async fn exchange(
        &self,
        path: &str,
        request: http::request::Builder,
        body: Body,
    ) -> Outcome<Response<Bytes>> {
        let (parts, body) = self.open(path, request, body).await?.into_parts();
        let body = body.collect().await.map_err(|e| Failure::new(format!("the answer ended early: {e}")))?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }

    /// Sends a request and returns the answer's head, whatever its status; the body follows.
    pub(super) async fn open(
        &self,
        path: &str,
        request: http::request::Builder,
        body: Body,
    ) -> Outcome<Response<hyper::body::Incoming>> {
        let mut request = request.uri(format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        let request = request.body(body).map_err(|e| Failure::new(format!("the request is not valid: {e}")))?;
        self.pool.request(request).await.map_err(|e| {
            let reason = std::error::Error::source(&e).map_or_else(|| e.to_string(), |source| source.to_string());
            let advice = match reason.contains("certificate") {
                true => "trust it with --ca FILE or AIMASS_CA",
                false => "is `aimass serve` running there?",
            };
            Failure::new(format!("no answer from {}: {reason}; {advice}", self.base))
        })
    }
}

/// A refusal unless the status is a success.
pub(crate) fn success(status: StatusCode, body: &[u8]) -> Outcome {
    if status.is_success() {
        return Ok(());
    }
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |field: &str| problem[field].as_str().map(super::output::printable);
    let title = text("title").unwrap_or_else(|| status.to_string());
    let detail = text("detail").or_else(|| text("error")).unwrap_or_else(|| "the answer says nothing more".to_owned());
    Err(Failure::Refused { title, detail })
}
