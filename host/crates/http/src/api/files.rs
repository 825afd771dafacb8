//! `/api/v1/files`: data files.

use std::sync::Arc;

use aimass_core::data::{FileName, Format};
use aimass_core::limits::MAX_DATA_FILE;
use aimass_core::{Code, Fault};
use aimass_platform::{FileContent, FileDocument, Page};
use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderValue, StatusCode};

use super::upload::expected;
use crate::app::App;
use crate::extract::{Ask, Paging, Params, Query, announced_length, next_chunk};
use crate::problem::Rejection;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<FileDocument>>, Rejection> {
    let after = paging.after::<FileName>()?;
    Ok(Answer(app.platform().files(ask.asked(), after.as_ref(), paging.limit)?))
}

/// 201 for a new name or other bytes, 200 for what it held already.
pub(crate) async fn store(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    request: Request,
) -> Result<Response, Rejection> {
    let name: FileName = params.get("file")?;
    if announced_length(request.headers()).is_some_and(|length| length > MAX_DATA_FILE) {
        return Err(Fault::new(Code::PayloadTooLarge, format!("a data file is at most {MAX_DATA_FILE} bytes")).into());
    }
    let platform = app.platform();
    let mut upload = platform.begin_file(ask.asked(), name, expected(request.headers())?).await?;
    let mut body = request.into_body();
    while let Some(chunk) = next_chunk(&mut body).await? {
        upload.write(&chunk).await?;
    }
    let (document, created) = platform.finish_file(ask.asked(), upload).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(ETAG, format!("\"{}\"", document.digest))], Answer(document)).into_response())
}

pub(crate) async fn fetch(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<Response, Rejection> {
    let content = app.platform().file(ask.asked(), &params.get("file")?).await?;
    let document = content.document.clone();
    let chunks = futures_util::stream::try_unfold(content, |mut content: FileContent| async move {
        Ok::<_, Fault>(content.next().await?.map(|chunk| (chunk, content)))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let kind = match document.format {
        Some(Format::Parquet) => "application/vnd.apache.parquet",
        Some(Format::Csv) => "text/csv; charset=utf-8",
        Some(Format::Ndjson) => "application/x-ndjson",
        None => "application/octet-stream",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LENGTH, document.size.into());
    // A name of plain characters: nothing to quote.
    for (name, value) in [
        (ETAG, format!("\"{}\"", document.digest)),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", document.name)),
    ] {
        headers.insert(name, HeaderValue::from_str(&value).map_err(Fault::internal)?);
    }
    Ok(response)
}

pub(crate) async fn delete(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    app.platform().delete_file(ask.asked(), &params.get("file")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
