//! `GET /setting/KEY` shows a setting or secret; `POST /kept/KEY` keeps the body in the key-value store, and `GET` shows
//! it; `/sleep` does not end by itself.
#![cfg(target_family = "wasm")]

use std::io::Write as _;

use aimass_sdk::{kv, settings};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Keeper;

wasip2::http::proxy::export!(Keeper);

impl Guest for Keeper {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let found = match (request.method(), path.trim_start_matches('/').split_once('/')) {
            (_, Some(("setting", key))) => settings::get(key).unwrap().map(String::into_bytes),
            (Method::Get, Some(("kept", key))) => kv::Bucket::open("default").unwrap().get(key).unwrap(),
            (_, Some(("kept", key))) => {
                let body = read(&request);
                kv::Bucket::open("default").unwrap().set(key, &body).unwrap();
                Some(b"kept".to_vec())
            }
            _ => {
                subscribe_duration(3_600_000_000_000).block();
                None
            }
        };
        match found {
            Some(bytes) => answer(out, 200, &bytes),
            None => answer(out, 404, b"none"),
        }
    }
}

fn answer(out: ResponseOutparam, status: u16, bytes: &[u8]) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).unwrap();
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(bytes).unwrap();
    stream.flush().unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

fn read(request: &IncomingRequest) -> Vec<u8> {
    let body = request.consume().unwrap();
    let mut stream = body.stream().unwrap();
    let mut all = vec![];
    std::io::copy(&mut stream, &mut all).unwrap();
    all
}
