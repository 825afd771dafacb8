//! Pieces of a page that come while somebody looks: server-sent events (HTML, section 9.2) whose data is markup.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue};
use maud::Markup;

use super::origin;
use crate::app::App;

/// A sign of life, and how often it is asked whether the session still stands.
const ALIVE: Duration = Duration::from_secs(15);

/// A piece that goes behind those that are there.
pub(super) fn line(markup: &Markup) -> Event {
    Event::default().event("line").data(&markup.0)
}

/// A piece that takes the place of what is there.
pub(super) fn whole(markup: &Markup) -> Event {
    Event::default().event("whole").data(&markup.0)
}

/// The same, and nothing comes after it.
pub(super) fn last(markup: &Markup) -> Event {
    Event::default().event("last").data(&markup.0)
}

/// The pieces as they come, until there are no more, the session ends, or the node stops. Looking does not keep the
/// session: nobody may be there.
pub(super) fn answer<S>(app: Arc<App>, headers: &HeaderMap, pieces: S) -> Response
where
    S: Stream<Item = Event> + Send + 'static,
{
    let session = origin::session_id(headers).unwrap_or_default().to_owned();
    let events = stream::unfold((app, session, Box::pin(pieces)), |(app, session, mut pieces)| async move {
        let piece = tokio::select! {
            biased;
            () = app.drained() => return None,
            () = signed_out(&app, &session) => return None,
            piece = pieces.next() => piece?,
        };
        // It may have ended since the piece was waited for.
        signed_in(&app, &session).await.then_some((Ok::<_, Infallible>(piece), (app, session, pieces)))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response();
    // A proxy that collects answers before it passes them on would keep the pieces.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// Resolves when the session has ended, by itself or with its token.
async fn signed_out(app: &App, session: &str) {
    while signed_in(app, session).await {
        tokio::time::sleep(ALIVE).await;
    }
}

async fn signed_in(app: &App, session: &str) -> bool {
    match app.sessions().find(session, false, Instant::now()) {
        Some(session) => app.platform().authenticate(&session.token).await.is_ok(),
        None => false,
    }
}
