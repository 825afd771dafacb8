//! `/api/v1/jobs`: work that takes longer than a request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aimass_platform::{JobDocument, JobRequest, JobState, Page};
use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::app::App;
use crate::extract::{Ask, Json, Paging, Params, Query};
use crate::problem::{Rejection, document};

/// News that come faster than this are joined: a person reads them, or a program that draws.
const PACE: Duration = Duration::from_millis(250);

/// A stream that has no news says that it is there still.
const ALIVE: Duration = Duration::from_secs(15);

/// A job, with the problem that it failed of.
#[derive(JsonSchema, Serialize)]
pub(crate) struct JobStatus {
    #[serde(flatten)]
    job: JobDocument,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Value>,
}

impl JobStatus {
    fn of(job: JobDocument, ask: &Ask) -> Self {
        let problem = job.failure.as_ref().map(|fault| document(fault, ask.request.as_str()));
        Self { job, problem }
    }
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<JobStatus>>, Rejection> {
    let page = app.platform().jobs(ask.asked(), paging.after.as_deref(), paging.limit)?;
    let items = page.items.into_iter().map(|job| JobStatus::of(job, &ask)).collect();
    Ok(Answer(Page { items, next: page.next }))
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ask: Ask,
    Json(wish): Json<JobRequest>,
) -> Result<Response, Rejection> {
    let job = app.platform().create_job(ask.asked(), ask.id(), wish).await?;
    let location = [(LOCATION, format!("/api/v1/jobs/{}", job.id))];
    Ok((StatusCode::ACCEPTED, location, Answer(JobStatus::of(job, &ask))).into_response())
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<JobStatus>, Rejection> {
    let job = app.platform().job(ask.asked(), params.text("job")?)?;
    Ok(Answer(JobStatus::of(job, &ask)))
}

pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<JobStatus>, Rejection> {
    let job = app.platform().cancel_job(ask.asked(), params.text("job")?).await?;
    Ok(Answer(JobStatus::of(job, &ask)))
}

/// Server-sent events (WHATWG HTML, section 9.2): `progress` with the job as it is, and `end` with the job as it ended,
/// which is the last one.
pub(crate) async fn events(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<Response, Rejection> {
    let id = params.text("job")?.to_owned();
    let (job, news) = app.platform().follow_job(ask.asked(), &id)?;
    let ended = |job: &JobDocument| !matches!(job.state, JobState::Queued | JobState::Running);
    let first = event(if ended(&job) { "end" } else { "progress" }, &JobStatus::of(job, &ask));
    let rest = futures_util::stream::unfold(news, move |news| {
        let (app, id) = (app.clone(), id.clone());
        let ask = ask.clone();
        async move {
            let mut news = news?;
            let changed = tokio::select! {
                changed = news.changed() => changed.is_ok(),
                () = tokio::time::sleep(ALIVE) => return Some((Bytes::from_static(b": still here\n\n"), Some(news))),
                // Nobody is kept from stopping by a stream without an end.
                () = app.drained() => return None,
            };
            let job = app.platform().job(ask.asked(), &id).ok()?;
            if ended(&job) || !changed {
                return Some((event("end", &JobStatus::of(job, &ask)), None));
            }
            tokio::time::sleep(PACE).await;
            news.borrow_and_update();
            Some((event("progress", &JobStatus::of(job, &ask)), Some(news)))
        }
    });
    let all = futures_util::StreamExt::chain(futures_util::stream::iter([first]), rest);
    let mut response = Response::new(Body::from_stream(futures_util::StreamExt::map(all, Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn event(name: &str, status: &JobStatus) -> Bytes {
    // JSON has no line ends of its own.
    let data = serde_json::to_string(status).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n").into()
}
