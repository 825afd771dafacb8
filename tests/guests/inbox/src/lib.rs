//! Keeps the last request to each path (its header fields, an empty line, its body) and shows it to GET.

#[path = "../../http.rs"]
mod http;

use aimass_sdk::kv::Bucket;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

use http::{answer, read};

struct Inbox;

wasip2::http::proxy::export!(Inbox);

impl Guest for Inbox {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let bucket = Bucket::open("default").unwrap();
        let path = request.path_with_query().unwrap_or_default();
        if matches!(request.method(), Method::Get) {
            return answer(out, 200, &bucket.get(&path).unwrap().unwrap_or_default());
        }
        let fields = request.headers().entries().into_iter();
        let mut message: Vec<u8> =
            fields.flat_map(|(name, value)| [name.as_bytes(), b": ", &value, b"\n"].concat()).collect();
        message.push(b'\n');
        message.extend(read(&request));
        bucket.set(&path, &message).unwrap();
        answer(out, 200, b"kept\n");
    }
}
