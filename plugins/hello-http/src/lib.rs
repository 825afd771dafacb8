//! An HTTP function that says hello, as cheaply as it can be said.
//!
//! It takes the crate `wasip2` alone: no SDK, no standard library. Without the latter nothing is set up before the
//! call, and the component imports `wasi:http` and `wasi:io` only. The template `http` of `aimass new` shows the
//! ordinary way, with the standard library.
#![cfg_attr(target_family = "wasm", no_std)]

#[cfg(target_family = "wasm")]
mod bump;

#[cfg(target_family = "wasm")]
mod guest {
    use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

    const GREETING: &[u8] = b"Hello from AI Mass\n";

    struct Hello;

    wasip2::http::proxy::export!(Hello);

    impl wasip2::exports::http::incoming_handler::Guest for Hello {
        fn handle(_: IncomingRequest, answer: ResponseOutparam) {
            let response = OutgoingResponse::new(Fields::new());
            let body = response.body();
            ResponseOutparam::set(answer, Ok(response));
            // The caller may be gone: then there is nobody to tell, and nothing else to do.
            let Ok(body) = body else { return };
            if let Ok(stream) = body.write() {
                // There is room for so little at once; the blocking call would wait until it is sent.
                let _ = match stream.check_write() {
                    Ok(room) if room >= GREETING.len() as u64 => stream.write(GREETING),
                    _ => stream.blocking_write_and_flush(GREETING),
                };
            }
            let _ = OutgoingBody::finish(body, None);
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        core::arch::wasm32::unreachable()
    }
}
