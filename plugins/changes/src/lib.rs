//! Is told of events by triggers, and shows the newest ones as an HTTP function: one component, two worlds.
//!
//! ```sh
//! aimass push plugins/changes
//! aimass triggers create changes --on version.created,object.deleted --tell changes
//! ```
//!
//! `GET /fn/{tenant}/changes` then answers a line for each event, the newest first.
// Only the component, and the tests, use what stands here.
#![cfg_attr(not(any(test, target_family = "wasm")), allow(dead_code))]

use aimass_sdk::kv::{self, Bucket};
use aimass_sdk::{Event, Events, Fault};

/// Lines that are shown.
const SHOWN: u64 = 50;

struct Changes;

impl Events for Changes {
    fn handle(event: Event) -> Result<(), Fault> {
        let line = format!(
            "{} {} {}",
            event.time.as_deref().unwrap_or("-"),
            event.kind,
            event.subject.as_deref().unwrap_or("-")
        );
        if note(&event.id, &line)? {
            aimass_sdk::log::info!("{line}");
        }
        Ok(())
    }
}

aimass_sdk::export_events!(Changes);

/// Keeps a line, unless the event was told before. Returns whether it is new.
fn note(id: &str, line: &str) -> Result<bool, kv::Error> {
    let bucket = Bucket::open("default")?;
    let told = format!("told/{id}");
    if bucket.exists(&told)? {
        return Ok(false);
    }
    let number = bucket.increment("count", 1)?;
    bucket.set(&format!("line/{number}"), line.as_bytes())?;
    // Last: an event whose line was not kept is told again.
    bucket.set(&told, b"")?;
    Ok(true)
}

/// The newest lines.
fn newest() -> Result<String, kv::Error> {
    let bucket = Bucket::open("default")?;
    let count = bucket.increment("count", 0)?;
    let mut text = String::new();
    for number in (1..=count).rev().take(SHOWN as usize) {
        let line = bucket.get(&format!("line/{number}"))?.unwrap_or_default();
        text.push_str(&String::from_utf8_lossy(&line));
        text.push('\n');
    }
    Ok(text)
}

#[cfg(target_family = "wasm")]
mod guest {
    use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

    struct Shown;

    wasip2::http::proxy::export!(Shown);

    impl wasip2::exports::http::incoming_handler::Guest for Shown {
        fn handle(_: IncomingRequest, answer: ResponseOutparam) {
            let (status, text) = match crate::newest() {
                Ok(text) => (200, text),
                Err(error) => (503, format!("{error}\n")),
            };
            let response = OutgoingResponse::new(Fields::new());
            let _ = response.set_status_code(status);
            let body = response.body();
            ResponseOutparam::set(answer, Ok(response));
            // The caller may be gone: then there is nobody to tell, and nothing else to do.
            let Ok(body) = body else { return };
            if let Ok(stream) = body.write() {
                // 50 lines of 80 characters fit into one write.
                let _ = stream.blocking_write_and_flush(&text.as_bytes()[..text.len().min(4096)]);
            }
            let _ = OutgoingBody::finish(body, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_kept_once_and_the_newest_stands_first() {
        for (id, kind) in [("1", "a"), ("2", "b"), ("1", "a")] {
            let event = Event { id: id.to_owned(), kind: kind.to_owned(), ..Event::default() };
            assert_eq!(Changes::handle(event), Ok(()));
        }
        assert_eq!(newest(), Ok("- b -\n- a -\n".to_owned()));
    }
}
