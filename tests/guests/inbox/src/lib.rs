//! Keeps the last request to each path (its header fields, an empty line, its body) and shows it to GET.

use std::io::{Read as _, Write as _};

use aimass_sdk::kv::Bucket;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Inbox;

wasip2::http::proxy::export!(Inbox);

impl Guest for Inbox {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let bucket = Bucket::open("default").unwrap();
        let path = request.path_with_query().unwrap_or_default();
        if matches!(request.method(), Method::Get) {
            return answer(out, &bucket.get(&path).unwrap().unwrap_or_default());
        }
        let fields = request.headers().entries().into_iter();
        let mut message: Vec<u8> =
            fields.flat_map(|(name, value)| [name.as_bytes(), b": ", &value, b"\n"].concat()).collect();
        message.push(b'\n');
        let body = request.consume().unwrap();
        let mut stream = body.stream().unwrap();
        stream.read_to_end(&mut message).unwrap();
        bucket.set(&path, &message).unwrap();
        answer(out, b"kept\n");
    }
}

fn answer(out: ResponseOutparam, bytes: &[u8]) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(bytes).unwrap();
    stream.flush().unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}
