//! An HTTP function that counts in the key-value store.
//!
//! `POST /hits` adds one to the counter `hits` and answers the new number; `GET /hits` does the same, so that a
//! browser can count too. Any other path is another counter.
// Only the component, and the tests, use what stands here.
#![cfg_attr(not(any(test, target_family = "wasm")), allow(dead_code))]

use aimass_sdk::kv::{self, Bucket};

/// The longest name of a counter, in bytes, so that keys stay small.
const LONGEST_KEY: usize = 128;

/// Adds one to the counter that a path names, and answers the new number.
///
/// # Errors
/// A status and a text for the caller.
fn count(path_with_query: &str) -> Result<u64, (u16, String)> {
    let path = path_with_query.split('?').next().unwrap_or_default();
    let key = path.trim_matches('/');
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err((400, format!("name a counter in the path, of 1 to {LONGEST_KEY} bytes\n")));
    }
    let add = || -> Result<u64, kv::Error> { Bucket::open("default")?.increment(key, 1) };
    add().map_err(|error| (503, format!("{error}\n")))
}

#[cfg(target_family = "wasm")]
mod guest {
    use wasip2::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};

    struct Counter;

    wasip2::http::proxy::export!(Counter);

    impl wasip2::exports::http::incoming_handler::Guest for Counter {
        fn handle(request: IncomingRequest, answer: ResponseOutparam) {
            let path = request.path_with_query().unwrap_or_default();
            let (status, text) = match request.method() {
                Method::Get | Method::Post => match crate::count(&path) {
                    Ok(number) => (200, format!("{number}\n")),
                    Err(refusal) => refusal,
                },
                _ => (405, "GET or POST\n".to_owned()),
            };
            respond(answer, status, &text);
        }
    }

    fn respond(answer: ResponseOutparam, status: u16, text: &str) {
        let response = OutgoingResponse::new(Fields::new());
        let _ = response.set_status_code(status);
        let body = response.body();
        ResponseOutparam::set(answer, Ok(response));
        // The caller may be gone: then there is nobody to tell, and nothing else to do.
        let Ok(body) = body else { return };
        if let Ok(stream) = body.write() {
            let _ = stream.blocking_write_and_flush(text.as_bytes());
        }
        let _ = OutgoingBody::finish(body, None);
    }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn each_path_is_a_counter_of_its_own() {
        assert_eq!(count("/hits"), Ok(1));
        assert_eq!(count("/hits?from=here"), Ok(2));
        assert_eq!(count("/others"), Ok(1));
    }

    #[test]
    fn a_path_that_names_no_counter_is_refused() {
        assert!(matches!(count("/"), Err((400, _))));
        assert!(matches!(count(&"x".repeat(1000)), Err((400, _))));
    }
}
