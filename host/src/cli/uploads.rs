//! Uploads from the client's side: sent with a progress bar, and followed while the node compiles.

use std::path::Path;
use std::time::Duration;

use http::header::LOCATION;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::client::{Client, success};
use super::tenants::list;
use super::{Failure, Outcome, output};

/// How often the node is asked how far it is.
const POLL: Duration = Duration::from_millis(500);

/// What the node answered to an upload.
pub(super) enum Sent {
    /// The version, and whether it is new.
    Done(Value, bool),
    /// It is compiled in the background; where its status is.
    Accepted(Value, String),
}

impl Client {
    /// Uploads a file with a progress bar and waits for what becomes of it; returns the version and whether it is new.
    pub(super) async fn upload(&self, path: &str, file: &Path) -> Outcome<(Value, bool)> {
        let sent = self.put_file(path, file, &[]).await?;
        self.follow(sent).await
    }

    /// Uploads a file with a progress bar.
    pub(super) async fn put_file(&self, path: &str, file: &Path, headers: &[(&str, String)]) -> Outcome<Sent> {
        let named = |e: std::io::Error| Failure::new(format!("{}: {e}", file.display()));
        let opened = tokio::fs::File::open(file).await.map_err(named)?;
        let size = opened.metadata().await.map_err(named)?.len();
        let bar = ProgressBar::new(size);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}") {
            bar.set_style(style);
        }
        bar.set_message("uploading");
        let progress = bar.clone();
        let chunks = futures_util::stream::try_unfold(opened, move |mut file| {
            let progress = progress.clone();
            async move {
                let mut buffer = bytes::BytesMut::with_capacity(256 << 10);
                let read = tokio::io::AsyncReadExt::read_buf(&mut file, &mut buffer).await?;
                progress.inc(read as u64);
                if progress.position() == progress.length().unwrap_or_default() {
                    progress.set_message("validating");
                }
                Ok::<_, std::io::Error>((read > 0).then(|| (Frame::data(buffer.freeze()), file)))
            }
        });
        let mut request = Request::builder().method(Method::PUT).header(http::header::CONTENT_LENGTH, size);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = self.exchange(path, request, BodyExt::boxed_unsync(StreamBody::new(chunks))).await;
        bar.finish_and_clear();
        let response = response?;
        success(response.status(), response.body())?;
        let document = serde_json::from_slice(response.body()).map_err(|e| Failure::new(e.to_string()))?;
        Ok(match response.status() {
            StatusCode::ACCEPTED => {
                let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                let location = location.ok_or_else(|| Failure::new("the answer does not say where to ask on"))?;
                Sent::Accepted(document, location.to_owned())
            }
            status => Sent::Done(document, status == StatusCode::CREATED),
        })
    }

    /// Waits for what becomes of an upload, with a line that says how far it is.
    pub(super) async fn follow(&self, sent: Sent) -> Outcome<(Value, bool)> {
        let (mut document, location) = match sent {
            Sent::Done(version, new) => return Ok((version, new)),
            Sent::Accepted(document, location) => (document, location),
        };
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(120));
        let ended = loop {
            match document["state"].as_str() {
                Some("ready") => break Ok((document["version"].take(), true)),
                Some("failed") => break Err(refusal(&document["problem"])),
                _ => bar.set_message(state(&document)),
            }
            tokio::time::sleep(POLL).await;
            document = match self.json(Method::GET, &location, None).await {
                Ok(document) => document,
                Err(failure) => break Err(failure),
            };
        };
        bar.finish_and_clear();
        ended
    }
}

fn refusal(problem: &Value) -> Failure {
    Failure::Refused { title: output::cell(&problem["title"]), detail: output::cell(&problem["detail"]) }
}

/// How far an upload is, as a few words.
fn state(document: &Value) -> String {
    match document["seconds"].as_f64() {
        Some(seconds) => format!("{} ({seconds:.0} s)", output::cell(&document["state"])),
        None => output::cell(&document["state"]),
    }
}

/// Says that an upload goes on without this command.
pub(super) fn report_accepted(document: &Value, json: bool) {
    if json {
        output::json(document);
        return;
    }
    let (name, id) = (output::cell(&document["name"]), output::cell(&document["id"]));
    println!("{name} is {}; next: aimass plugins uploads {id}", state(document));
}

/// Lists the uploads that the node compiles in the background, or waits for one of them.
pub(super) async fn uploads(client: &Client, id: Option<String>, json: bool) -> Outcome {
    let Some(id) = id else {
        let headings = ["ID", "PLUGIN", "STATE", "ACCEPTED", "VERSION", "PROBLEM"];
        return list(client, "/api/v1/uploads", json, &headings, |upload| {
            vec![
                output::cell(&upload["id"]),
                output::cell(&upload["name"]),
                state(upload),
                output::time(&upload["accepted_ms"]),
                output::cell(&upload["version"]["version"]),
                output::cell(&upload["problem"]["detail"]),
            ]
        })
        .await;
    };
    let location = format!("/api/v1/uploads/{id}");
    let document = client.json(Method::GET, &location, None).await?;
    let uploaded = client.follow(Sent::Accepted(document, location)).await?;
    super::objects::report_upload(&uploaded, json);
    Ok(())
}
