//! Its effects are keyed by the asynchronous call that they are of, as a careful function's should be; and it fails as
//! the path says:
//!
//! - `/effect`: has its effect, and counts the attempt
//! - `/effects`: tells how many effects and how many attempts there were
//! - `/flaky/N`: traps in the first N attempts
//! - `/mute`: ends without an answer
//! - `/slow/MS`: takes so long
//! - `/status/S`: answers with this status

use aimass_sdk::kv::Bucket;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Once;

wasip2::http::proxy::export!(Once);

impl wasip2::exports::http::incoming_handler::Guest for Once {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let headers = request.headers();
        let header = |name: &str| {
            headers.get(&name.to_owned()).into_iter().next().map(|value| String::from_utf8(value).unwrap())
        };
        let (call, attempt) = (header("aimass-invocation-id"), header("aimass-attempt"));
        let attempt: u64 = attempt.map_or(0, |text| text.parse().unwrap());
        let path = request.path_with_query().unwrap_or_default();
        let mut parts = path.trim_matches('/').split('/');
        let (what, number) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default().parse::<u64>());
        let number = number.unwrap_or_default();
        let mut status = 200;
        let text = match what {
            "effect" => effect(&call.unwrap(), attempt),
            "effects" => {
                let effects = Bucket::open("effects").unwrap().keys().unwrap().len();
                let attempts = Bucket::open("default").unwrap().increment("attempts", 0).unwrap();
                format!("{effects} {attempts}")
            }
            "flaky" if attempt <= number => panic!("it was told to"),
            // Ends without a word.
            "mute" => return,
            "slow" => {
                std::thread::sleep(std::time::Duration::from_millis(number));
                format!("{} {attempt}", call.unwrap_or_default())
            }
            "status" => {
                status = u16::try_from(number).unwrap();
                "as told".to_owned()
            }
            _ => format!("{} {attempt}", call.unwrap_or_default()),
        };
        answer(out, status, &text);
    }
}

fn effect(call: &str, attempt: u64) -> String {
    Bucket::open("default").unwrap().increment("attempts", 1).unwrap();
    Bucket::open("effects").unwrap().set(call, attempt.to_string().as_bytes()).unwrap();
    format!("{call} {attempt}")
}

fn answer(out: ResponseOutparam, status: u16, text: &str) {
    let fields = Fields::new();
    fields.append(&"x-answered".to_owned(), &b"once".to_vec()).unwrap();
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).unwrap();
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().unwrap();
    stream.blocking_write_and_flush(text.as_bytes()).unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}
