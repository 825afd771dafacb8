//! `GET /setting/KEY` shows a setting or secret; `POST /kept/KEY` keeps the body in the key-value store, and `GET` shows
//! it; `/sleep` does not end by itself.
#![cfg(target_family = "wasm")]

#[path = "../../http.rs"]
mod http;

use aimass_sdk::{kv, settings};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

use http::{answer, read};

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
