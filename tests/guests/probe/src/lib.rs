//! Does what the path says. Knows nothing of AI Mass: any host of `wasi:http/proxy` can run it.

#[path = "../../http.rs"]
mod http;

use std::io::Write as _;

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme};

use http::{answer, read};

struct Probe;

wasip2::http::proxy::export!(Probe);

impl Guest for Probe {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/loop" => loop {
                std::hint::black_box(());
            },
            "/memory" => memory(),
            "/stack" => answer(out, 200, &stack(1).to_string().into_bytes()),
            "/panic" => panic!("the probe was told to panic"),
            "/silent" => {}
            "/sleep" => {
                subscribe_duration(3_600_000_000_000).block();
                answer(out, 200, b"slept");
            }
            "/endless" => endless(out),
            "/residue" => answer(out, 200, residue().as_bytes()),
            "/headers" => {
                let names: Vec<_> = request.headers().entries().into_iter().map(|(name, _)| name).collect();
                answer(out, 200, names.join("\n").as_bytes());
            }
            "/echo" => {
                let body = read(&request);
                answer(out, 200, &body);
            }
            "/outgoing" => {
                let call = OutgoingRequest::new(Fields::new());
                let _ = call.set_scheme(Some(&Scheme::Http));
                let _ = call.set_path_with_query(Some("/"));
                let _ = call.set_authority(Some("127.0.0.1:1"));
                let refused = match outgoing_handler::handle(call, None) {
                    Err(code) => format!("{code:?}"),
                    Ok(future) => {
                        future.subscribe().block();
                        format!("{:?}", future.get().map(|r| r.map(|r| r.map(|_| ()))))
                    }
                };
                answer(out, 200, refused.as_bytes());
            }
            "/shout" => {
                for n in 0..100_000 {
                    eprintln!("line {n} \u{1b}[31mred\u{1b}[0m {{\"forged\":true}}");
                }
                answer(out, 200, b"shouted");
            }
            _ => answer(out, 200, path.as_bytes()),
        }
    }
}

fn memory() {
    let mut kept: Vec<Vec<u8>> = vec![];
    loop {
        kept.push(vec![1; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

fn stack(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { stack(frame[0] + 1) + frame[63] }
}

fn endless(out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().unwrap();
    let chunk = [b'x'; 4096];
    while stream.write_all(&chunk).is_ok() {}
}

/// Takes memory that it did not have before, says whether all of it is zero, and leaves a mark in it.
fn residue() -> String {
    let pages = 64;
    let old = core::arch::wasm32::memory_grow(0, pages);
    let start = old * 65_536;
    let bytes = pages * 65_536;
    // SAFETY: these pages are ours: `memory_grow` has just given them, and nothing else knows of them.
    let memory = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, bytes) };
    let clean = memory.iter().all(|&b| b == 0);
    memory.fill(0xAA);
    std::hint::black_box(&memory);
    if clean { "clean".to_owned() } else { "residue".to_owned() }
}
