//! `wasi:http/outgoing-handler`: a guest reaches nothing until its tenant has an egress policy.

use http::HeaderName;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, Result as HttpResult, WasiBody, WasiHttpHooks,
};

/// Refuses every outgoing request, with the typed error that `wasi:http` has for it.
pub(crate) struct Egress;

type Sent = HttpResult<(http::Response<WasiBody>, Box<dyn Future<Output = HttpResult<()>> + Send>)>;

impl WasiHttpHooks for Egress {
    // The default of this one allocates a closure for every header that is looked at.
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = HttpResult<()>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }

    // Sixteen pieces of 64 KiB: most answers are whole before the guest has to wait for the caller to take them,
    // and a caller that takes nothing costs 1 MiB at most.
    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        16
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        64 << 10
    }
}
