//! Guests that take too long, callers that leave, and a pool that is full.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aimass_core::limits::InvocationLimits;
use aimass_core::{Code, Digest, Fault};

use crate::guests::{Model, model};
use crate::support::{Bench, assert_ends_at, bench_with, call, hasty, input, limits};

const LOOP: &str = "(loop $forever (br $forever))";

fn bench() -> Bench {
    bench_with(hasty(), 64)
}

async fn assert_deadline(bench: &Bench, guest: Vec<u8>) {
    let plugin = bench.load(guest).await;
    assert_ends_at(hasty().deadline, async || {
        let fault = bench.sandbox.infer(&plugin, call(), vec![input()]).await.unwrap_err();
        assert_eq!(fault.code(), Code::PluginDeadline, "{fault}");
    })
    .await;
    bench.assert_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_endless_loops_on_twice_the_cores_end_in_time_and_others_go_on() {
    let bench = Arc::new(bench());
    let busy = bench.load(model(Model { infer: LOOP, ..Model::default() })).await;
    let good = bench.load(model(Model::default())).await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let slowest = std::sync::Mutex::new(Duration::MAX);
    assert_ends_at(hasty().deadline, async || {
        let loops: Vec<_> = (0..2 * cores)
            .map(|_| {
                let (bench, busy) = (bench.clone(), busy.clone());
                tokio::spawn(async move { bench.sandbox.infer(&busy, call(), vec![input()]).await.unwrap_err() })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut worst = Duration::ZERO;
        while loops.iter().any(|task| !task.is_finished()) {
            let (bench, good) = (bench.clone(), good.clone());
            let started = Instant::now();
            // As a request would come: through the runtime's timers and a task of its own.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let other = async move { bench.sandbox.infer(&good, call(), vec![input()]).await };
            tokio::spawn(other).await.unwrap().unwrap();
            worst = worst.max(started.elapsed());
        }
        for task in loops {
            assert_eq!(task.await.unwrap().code(), Code::PluginDeadline);
        }
        let mut slowest = slowest.lock().unwrap();
        *slowest = worst.min(*slowest);
    })
    .await;
    let slowest = slowest.into_inner().unwrap();
    assert!(slowest < Duration::from_millis(50), "{slowest:?}");
}

#[tokio::test]
async fn f14_an_endless_loop_ends_on_a_runtime_of_one_thread() {
    assert_deadline(&bench(), model(Model { infer: LOOP, ..Model::default() })).await;
}

#[tokio::test]
async fn f15_an_endless_start_function_ends() {
    let fields = format!("(func $s {LOOP}) (start $s)");
    let guest = model(Model { fields: &fields, ..Model::default() });
    assert_deadline(&bench(), guest.clone()).await;
    // And at upload, where the signature is asked for.
    let bench = bench();
    let fault = bench.sandbox.inspect(call(), Digest::of(&guest), guest.into()).await.unwrap_err();
    assert_eq!(fault.code(), Code::PluginDeadline);
}

#[tokio::test]
async fn f15_an_endless_allocator_ends() {
    assert_deadline(&bench(), model(Model { realloc: LOOP, ..Model::default() })).await;
}

const SLEEP: Model<'_> = Model {
    imports: r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $after (param i64) (result i32)))
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#,
    infer: "(call $block (call $after (i64.const 60000000000)))",
    fields: "",
    realloc: "",
    pages: 1,
};

#[tokio::test]
async fn f24_sleeping_in_a_host_call_ends() {
    assert_deadline(&bench(), model(SLEEP)).await;
}

#[tokio::test]
async fn f22_a_flood_of_host_calls_is_charged_as_time() {
    let imports = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))"#;
    let infer = "(loop $forever (drop (call $now)) (br $forever))";
    assert_deadline(&bench(), model(Model { imports, infer, ..Model::default() })).await;
}

#[tokio::test]
async fn a_call_may_ask_for_less_time_but_not_for_more() {
    let bench = bench();
    let plugin = bench.load(model(SLEEP)).await;
    assert_ends_at(Duration::from_millis(20), async || {
        let mut shorter = call();
        shorter.limits.deadline = Duration::from_millis(20);
        bench.sandbox.infer(&plugin, shorter, vec![input()]).await.unwrap_err();
    })
    .await;
    let mut longer = call();
    longer.limits.deadline = Duration::from_secs(3_600);
    let fault = bench.sandbox.infer(&plugin, longer, vec![input()]).await.unwrap_err();
    assert_eq!(fault.code(), Code::PluginDeadline);
}

#[tokio::test(flavor = "multi_thread")]
async fn f58_a_full_pool_is_told_at_once() {
    let bench = Arc::new(bench_with(hasty(), 1));
    let sleeper = bench.load(model(SLEEP)).await;
    let good = bench.load(model(Model::default())).await;
    let theirs = (bench.clone(), sleeper);
    let task = tokio::spawn(async move { theirs.0.sandbox.infer(&theirs.1, call(), vec![input()]).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    let fault: Fault = bench.sandbox.infer(&good, call(), vec![input()]).await.unwrap_err();
    assert_eq!(fault.code(), Code::Overloaded, "{fault}");
    assert!(fault.retry().is_some());
    assert!(started.elapsed() < Duration::from_millis(10), "{:?}", started.elapsed());
    task.await.unwrap().unwrap_err();
    bench.assert_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_when_the_caller_leaves_the_instance_goes() {
    let bench = Arc::new(bench_with(InvocationLimits { deadline: Duration::from_secs(60), ..limits() }, 1));
    for guest in [model(SLEEP), model(Model { infer: LOOP, ..Model::default() })] {
        let plugin = bench.load(guest.clone()).await;
        let theirs = bench.clone();
        let task = tokio::spawn(async move { theirs.sandbox.infer(&plugin, call(), vec![input()]).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        // The pool has one slot: it is free again, at once or when a guest that computes has its next turn.
        for _ in 0..500 {
            let plugin = bench.load(guest.clone()).await;
            match bench.sandbox.instantiate(&plugin, call()).await {
                Err(fault) if fault.code() == Code::Overloaded => tokio::time::sleep(Duration::from_millis(10)).await,
                _ => break,
            }
        }
        bench.assert_well().await;
    }
}
