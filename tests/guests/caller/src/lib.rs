//! Sends the request that its own request's header describes, and answers with what came of it, in words:
//!
//! - `x-url`: where to; `x-method`: how (GET if not given)
//! - `x-size`: bytes of the body; `x-subjects`: whose data that is
//! - `x-times`: how often, one after the other; what came of the last one is told
//!
//! Knows nothing of AI Mass but the header that names the subjects.

#[allow(dead_code, reason = "it reads no body")]
#[path = "../../http.rs"]
mod http;

use std::io::{self, Write as _};

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, IncomingResponse, Method, OutgoingBody, OutgoingRequest, ResponseOutparam,
    Scheme,
};

use http::answer;

struct Caller;

wasip2::http::proxy::export!(Caller);

impl Guest for Caller {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let headers = request.headers();
        let header =
            |name: &str| headers.get(&name.to_owned()).into_iter().next().map(|v| String::from_utf8(v).unwrap());
        let number = |name: &str| header(name).map_or(0, |text| text.parse::<usize>().unwrap());
        let (url, subjects) = (header("x-url").unwrap(), header("x-subjects"));
        let method = header("x-method").unwrap_or_else(|| "GET".to_owned());
        let mut told = String::new();
        for _ in 0..number("x-times").max(1) {
            told = match send(&url, &method, number("x-size"), subjects.as_deref()) {
                Ok(response) => tell(response),
                Err(code) => format!("error {code:?}"),
            };
        }
        answer(out, 200, told.as_bytes());
    }
}

fn send(url: &str, method: &str, size: usize, subjects: Option<&str>) -> Result<IncomingResponse, ErrorCode> {
    let fields = Fields::new();
    if let Some(subjects) = subjects {
        fields.append(&"aimass-subjects".to_owned(), &subjects.as_bytes().to_vec()).unwrap();
    }
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let method = match method {
        "GET" => Method::Get,
        "POST" => Method::Post,
        other => Method::Other(other.to_owned()),
    };
    let call = OutgoingRequest::new(fields);
    call.set_method(&method).unwrap();
    call.set_scheme(Some(&scheme)).unwrap();
    if call.set_authority(Some(authority)).is_err() {
        return Err(ErrorCode::HttpRequestUriInvalid);
    }
    call.set_path_with_query(Some(path)).unwrap();
    let body = (size > 0).then(|| call.body().unwrap());
    let future = outgoing_handler::handle(call, None)?;
    if let Some(body) = body {
        let mut stream = body.write().unwrap();
        let chunk = vec![b'x'; size.min(64 << 10)];
        let mut left = size;
        while left > 0 {
            // A connection that was refused takes nothing: what came of it is told by the future.
            if stream.write_all(&chunk[..left.min(chunk.len())]).is_err() {
                break;
            }
            left -= left.min(chunk.len());
        }
        let _ = stream.flush();
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
    future.subscribe().block();
    future.get().unwrap().unwrap()
}

/// The status, where it leads, how many bytes came, and the first of them.
fn tell(response: IncomingResponse) -> String {
    let status = response.status();
    let location = response.headers().get(&"location".to_owned()).into_iter().next().unwrap_or_default();
    let body = response.consume().unwrap();
    let mut stream = body.stream().unwrap();
    let (mut first, mut bytes, mut piece) = (vec![], 0, vec![0; 64 << 10]);
    let end = loop {
        match io::Read::read(&mut stream, &mut piece) {
            Ok(0) => break "whole".to_owned(),
            Ok(read) => {
                bytes += read;
                first.extend_from_slice(&piece[..read.min(2000_usize.saturating_sub(first.len()))]);
            }
            Err(error) => break format!("broken off ({error})"),
        }
    };
    let (location, first) = (String::from_utf8_lossy(&location), String::from_utf8_lossy(&first));
    format!("status {status} {location} {end} {bytes} bytes\n{first}")
}
