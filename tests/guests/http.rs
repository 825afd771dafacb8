//! What guests that are HTTP functions share: reading a request, and answering it. Included by path.

use std::io::Write as _;

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

/// Answers with a status and a body.
pub fn answer(out: ResponseOutparam, status: u16, bytes: &[u8]) {
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

/// The whole body.
pub fn read(request: &IncomingRequest) -> Vec<u8> {
    let body = request.consume().unwrap();
    let mut stream = body.stream().unwrap();
    let mut all = vec![];
    std::io::copy(&mut stream, &mut all).unwrap();
    all
}
