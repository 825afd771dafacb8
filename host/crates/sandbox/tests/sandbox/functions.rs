//! HTTP functions.

use std::task::Poll;
use std::time::{Duration, Instant};

use aimass_core::limits::InvocationLimits;
use aimass_core::{Code, Fault};
use aimass_sandbox::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};

use crate::guests::{hello, http};
use crate::support::{Bench, assert_ends_at, bench, bench_with, call, hasty, limits};

async fn get(bench: &Bench, wasm: Vec<u8>) -> Result<Response<Body>, Fault> {
    let plugin = bench.load(wasm).await;
    let request = Request::get("/hi").header("host", "acme.test").body(Empty::<Bytes>::new()).unwrap();
    bench.sandbox.http(&plugin, call(), request).await
}

async fn text(response: Response<Body>) -> Result<Bytes, Fault> {
    Ok(response.into_body().collect().await?.to_bytes())
}

#[tokio::test]
async fn an_answer_that_is_whole_has_a_length() {
    let bench = bench();
    for _ in 0..100 {
        let response = get(&bench, hello()).await.unwrap();
        assert_eq!(response.status(), 200);
        let length = http_body::Body::size_hint(response.body()).exact();
        assert_eq!(text(response).await.unwrap(), "hello");
        if length == Some(5) {
            return;
        }
        // The guest's time slice ended between its head and its end, so the body was streamed.
    }
    panic!("never whole");
}

#[tokio::test]
async fn a_request_without_a_host_is_served() {
    let bench = bench();
    let plugin = bench.load(hello()).await;
    let request = Request::post("/").body(Full::new(Bytes::from_static(b"x"))).unwrap();
    assert!(bench.sandbox.http(&plugin, call(), request).await.is_ok());
}

#[tokio::test]
async fn an_answer_streams_while_the_guest_runs() {
    let body = "(call $hello (local.get $stream)) (call $sleep (i64.const 1000)) (call $hello (local.get $stream))";
    let (bench, started) = (bench(), Instant::now());
    let response = get(&bench, http("", body, true)).await.unwrap();
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "hello");
    assert!(started.elapsed() < Duration::from_millis(900), "the first piece does not wait for the second");
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    assert!(started.elapsed() >= Duration::from_millis(1000));
}

#[tokio::test]
async fn many_pieces_arrive_in_order_and_whole() {
    let body = "(local.set $n (i32.const 2000))
        (loop $more
          (call $hello (local.get $stream))
          (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let bench = bench();
    let response = get(&bench, http("", body, true)).await.unwrap();
    assert_eq!(text(response).await.unwrap().len(), 10_000);
}

#[tokio::test]
async fn f24_the_deadline_covers_the_stream() {
    let bench = bench_with(hasty(), 8);
    let guest = http("", "(call $hello (local.get $stream)) (call $sleep (i64.const 60000))", true);
    bench.load(guest.clone()).await;
    assert_ends_at(hasty().deadline, async || {
        let response = get(&bench, guest.clone()).await.unwrap();
        assert_eq!(text(response).await.unwrap_err().code(), Code::PluginDeadline);
    })
    .await;

    // Before the head, it is a plain fault; and a loop is no better than sleep.
    for before in ["(call $sleep (i64.const 60000))", "(loop $forever (br $forever))"] {
        let fault = get(&bench, http(before, "", true)).await.unwrap_err();
        assert_eq!(fault.code(), Code::PluginDeadline);
    }
    bench.assert_well().await;
}

#[tokio::test]
async fn f24_a_caller_that_takes_nothing_costs_bounded_memory_and_ends_with_the_deadline() {
    let bench = bench_with(InvocationLimits { output: 1 << 30, ..hasty() }, 1);
    // Writes 4,096 bytes for ever; nobody reads.
    let body = "(loop $more
        (call $write (local.get $stream) (i32.const 0) (i32.const 4096) (i32.const 256)) (br $more))";
    let response = get(&bench, http("", body, true)).await.unwrap();
    tokio::time::sleep(hasty().deadline + Duration::from_millis(300)).await;
    bench.assert_well().await; // The only slot is free: the guest is gone.
    let mut body = response.into_body();
    let mut received = 0;
    let fault = loop {
        match body.frame().await.unwrap() {
            Ok(frame) => received += frame.into_data().unwrap().len(),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.code(), Code::PluginDeadline);
    assert!(received <= 2 << 20, "{received}");
}

#[tokio::test]
async fn f19_a_body_over_the_limit_ends_with_an_error() {
    let bench = bench();
    let body = "(local.set $n (i32.const 512))
        (loop $more
          (call $write (local.get $stream) (i32.const 0) (i32.const 4096) (i32.const 256))
          (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let guest = http("", body, true);
    let response = get(&bench, guest.clone()).await.unwrap();
    assert_eq!(text(response).await.unwrap_err().code(), Code::PluginResourceLimit);
    // One that is small enough to be whole at once fails before anything is sent.
    let plugin = bench.load(hello()).await;
    let mut tight = call();
    tight.limits.output = 4;
    let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
    let fault = bench.sandbox.http(&plugin, tight, request).await.unwrap_err();
    assert_eq!(fault.code(), Code::PluginResourceLimit);
    bench.assert_well().await;
}

#[tokio::test]
async fn f25_a_trap_is_a_fault_before_and_behind_the_head() {
    let bench = bench();
    let fault = get(&bench, http("unreachable", "", true)).await.unwrap_err();
    assert_eq!(fault.code(), Code::PluginTrap);
    // Behind the head, but nothing was sent yet.
    let fault = get(&bench, http("", "(call $hello (local.get $stream)) unreachable", true)).await.unwrap_err();
    assert_eq!(fault.code(), Code::PluginTrap);
    // Behind the head and some of the body: cut off, never cut short silently.
    let body = "(call $hello (local.get $stream)) (call $sleep (i64.const 50)) unreachable";
    let response = get(&bench, http("", body, true)).await.unwrap();
    assert_eq!(text(response).await.unwrap_err().code(), Code::PluginTrap);
    bench.assert_well().await;
}

#[tokio::test]
async fn a_guest_that_does_not_answer_is_told() {
    let fault = get(&bench(), http("return", "", true)).await.unwrap_err();
    assert_eq!(fault.code(), Code::PluginFault);
    assert!(fault.detail().contains("without an answer"), "{fault}");
    // The error code `loop-detected`.
    let refuse = "(call $set (local.get $out) (i32.const 1) (i32.const 36)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) return";
    let fault = get(&bench(), http(refuse, "", true)).await.unwrap_err();
    assert_eq!(fault.code(), Code::PluginFault, "{fault}");
}

/// Declares a length of 7 and then writes `hello`.
const SEVEN: &str = r#"
    (i64.store (i32.const 1100) (i64.const 0x2d746e65746e6f63))   ;; "content-"
    (i64.store (i32.const 1108) (i64.const 0x6874676e656c))       ;; "length"
    (i32.store8 (i32.const 1116) (i32.const 55))                  ;; "7"
    (call $append (local.get $fields) (i32.const 1100) (i32.const 14) (i32.const 1116) (i32.const 1) (i32.const 256))"#;

#[tokio::test]
async fn f19_less_than_the_declared_length_is_a_fault() {
    let bench = bench();
    // Whether the guest finishes its body or just forgets it, at once or after a while.
    for finish in [true, false] {
        for wait in ["", "(call $sleep (i64.const 20))"] {
            let guest = http(SEVEN, &format!("(call $hello (local.get $stream)) {wait}"), finish);
            let outcome = match get(&bench, guest).await {
                Ok(response) => text(response).await.map(drop),
                Err(fault) => Err(fault),
            };
            assert_eq!(outcome.unwrap_err().code(), Code::PluginFault, "{finish} {wait}");
        }
    }
    // To HEAD it is in order.
    let plugin = bench.load(http(SEVEN, "", false)).await;
    let request = Request::head("/").body(Empty::<Bytes>::new()).unwrap();
    let response = bench.sandbox.http(&plugin, call(), request).await.unwrap();
    assert_eq!(response.headers()["content-length"], "7");
}

#[tokio::test]
async fn f19_a_task_that_runs_out_of_budget_gets_the_whole_answer() {
    let bench = bench();
    let guest = http("", "(call $hello (local.get $stream)) (call $hello (local.get $stream))", true);
    bench.load(guest.clone()).await;
    // Tokio's channels feign to be empty for a task that did much already, 128 operations in one go; wherever in the
    // call that happens, the answer must not be cut by it.
    for spent in 0..=128 {
        tokio::task::yield_now().await;
        std::future::poll_fn(|cx| {
            for _ in 0..spent {
                if let Poll::Ready(operation) = tokio::task::coop::poll_proceed(cx) {
                    operation.made_progress();
                }
            }
            Poll::Ready(())
        })
        .await;
        let response = get(&bench, guest.clone()).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "hellohello", "{spent} operations spent");
    }
}

#[tokio::test]
async fn f11_when_the_caller_leaves_the_stream_the_guest_goes() {
    let bench = bench_with(InvocationLimits { deadline: Duration::from_secs(60), ..limits() }, 1);
    let body = "(call $hello (local.get $stream)) (call $sleep (i64.const 60000))";
    let response = get(&bench, http("", body, true)).await.unwrap();
    drop(response);
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.assert_well().await;
}

#[tokio::test]
async fn a_guest_may_work_on_after_its_answer() {
    let bench = bench_with(limits(), 1);
    // Finishes the body itself, then sleeps: the one slot stays taken although the caller is done.
    let body = "(call $hello (local.get $stream)) (call $drop_stream (local.get $stream))
        (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 256)) (call $sleep (i64.const 1000))";
    bench.load(hello()).await;
    let response = get(&bench, http("", body, false)).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
    let fault = get(&bench, hello()).await.unwrap_err();
    assert_eq!(fault.code(), Code::Overloaded);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    bench.assert_well().await;
}

#[tokio::test]
async fn f27_a_flood_of_header_fields_is_no_panic() {
    let before = "(local.set $n (i32.const 32769))
        (loop $more
          (call $append (local.get $fields) (i32.const 1024) (i32.const 5) (i32.const 1024) (i32.const 5) (i32.const 256))
          (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let bench = bench();
    match get(&bench, http(before, "(call $hello (local.get $stream))", true)).await {
        // The surplus is refused with a typed error, which this guest ignores.
        Ok(response) => assert!(response.headers().len() < 32_769),
        Err(fault) => assert!(matches!(fault.code(), Code::PluginTrap | Code::PluginResourceLimit), "{fault}"),
    }
    bench.assert_well().await;
}

#[tokio::test]
async fn f55_an_outgoing_request_is_refused_with_a_typed_error() {
    // Sends to `hello`, waits, and answers only if the result is ok(err(HTTP-request-denied = 15)).
    let before = "(local.set $n (call $request (call $fields)))
        (drop (call $authority (local.get $n) (i32.const 1) (i32.const 1024) (i32.const 5)))
        (drop (call $path (local.get $n) (i32.const 1) (i32.const 1029) (i32.const 1)))
        (call $send (local.get $n) (i32.const 0) (i32.const 0) (i32.const 256))
        (if (i32.load8_u (i32.const 256)) (then unreachable))
        (local.set $n (i32.load (i32.const 264)))
        (call $block (call $subscribe (local.get $n)))
        (call $get (local.get $n) (i32.const 512))
        (if (i32.ne (i32.load8_u (i32.const 512)) (i32.const 1)) (then unreachable))  ;; some
        (if (i32.load8_u (i32.const 520)) (then unreachable))                         ;; ok: not taken before
        (if (i32.ne (i32.load8_u (i32.const 528)) (i32.const 1)) (then unreachable))  ;; err
        (if (i32.ne (i32.load8_u (i32.const 536)) (i32.const 15)) (then unreachable))";
    let response = get(&bench(), http(before, "(call $hello (local.get $stream))", true)).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
}
