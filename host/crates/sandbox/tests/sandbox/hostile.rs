//! Guests that want too much.

use std::sync::Arc;

use aimass_core::limits::InvocationLimits;
use aimass_core::{Code, Fault, Tensor};

use crate::guests::{INTERNAL, Model, crowded, model};
use crate::support::{Bench, bench, bench_with, call, input, limits};

/// Whatever it did, the next guest is served.
async fn fault_of(bench: &Bench, guest: Vec<u8>) -> Fault {
    let fault = bench.infer(guest).await.unwrap_err();
    bench.assert_well().await;
    fault
}

#[tokio::test]
async fn f16_a_memory_bomb_runs_into_the_limit() {
    let infer = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let fault = fault_of(&bench(), model(Model { infer, ..Model::default() })).await;
    assert_eq!(fault.code(), Code::PluginResourceLimit, "{fault}");
}

#[tokio::test]
async fn f16_a_memory_bomb_spread_over_many_memories_runs_into_the_limit() {
    let bench = bench();
    // 64 pages are 4 MiB, and no single memory is over the limit of 16 MiB.
    let fault = fault_of(&bench, crowded(5, 64, 1)).await;
    assert_eq!(fault.code(), Code::PluginResourceLimit, "{fault}");
    assert!(bench.infer(crowded(3, 64, 1)).await.is_ok());
}

#[tokio::test]
async fn f17_a_table_bomb_runs_into_the_limit() {
    let infer = "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable";
    let fault = fault_of(&bench(), model(Model { fields: "(table $t 1 funcref)", infer, ..Model::default() })).await;
    assert_eq!(fault.code(), Code::PluginResourceLimit, "{fault}");
    let fault = fault_of(&bench(), crowded(3, 1, 60_000)).await;
    assert_eq!(fault.code(), Code::PluginResourceLimit, "tables are summed too: {fault}");
}

#[tokio::test]
async fn f18_a_stack_overflow_traps() {
    let fields = "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))";
    let infer = "(drop (call $deep (i32.const 1)))";
    let fault = fault_of(&bench(), model(Model { fields, infer, ..Model::default() })).await;
    assert_eq!(fault.code(), Code::PluginTrap);
    assert!(fault.detail().contains("stack"), "{fault}");
}

#[tokio::test]
async fn f19_an_answer_over_the_limit_is_refused() {
    // One tensor of 2 MiB: shape and data are set in the input's own record.
    let infer = "(drop (memory.grow (i32.const 40)))
        (i64.store (i32.load (i32.add (local.get $ptr) (i32.const 12))) (i64.const 524288))
        (i32.store (i32.add (local.get $ptr) (i32.const 20)) (i32.const 65536))
        (i32.store (i32.add (local.get $ptr) (i32.const 24)) (i32.const 2097152))";
    let guest = model(Model { infer, ..Model::default() });
    let fault = fault_of(&bench(), guest.clone()).await;
    assert_eq!(fault.code(), Code::PluginResourceLimit, "{fault}");
    let roomy = bench_with(InvocationLimits { output: 4 << 20, ..limits() }, 8);
    assert_eq!(roomy.infer(guest).await.unwrap()[0].data().len(), 2 << 20, "whole where it fits");
}

#[tokio::test]
async fn f10_a_malformed_answer_is_the_plugins_fault() {
    // The shape says 3 elements, the data has 2.
    let infer = "(i64.store (i32.load (i32.add (local.get $ptr) (i32.const 12))) (i64.const 3))";
    let fault = fault_of(&bench(), model(Model { infer, ..Model::default() })).await;
    assert_eq!(fault.code(), Code::PluginFault, "{fault}");
}

const LOG: &str = r#"(import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))"#;

#[tokio::test]
async fn f20_a_huge_argument_to_a_host_call_is_refused() {
    let bench = bench_with(InvocationLimits { memory: 512 << 20, ..limits() }, 8);
    let infer = "(drop (memory.grow (i32.const 3300)))
        (call $log (i32.const 2) (i32.const 128) (i32.const 1) (i32.const 0) (i32.const 209715200))";
    let fault = fault_of(&bench, model(Model { imports: LOG, infer, ..Model::default() })).await;
    assert_eq!(fault.code(), Code::PluginResourceLimit, "{fault}");
}

const TENSOR: &str = r#"(import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor"
    (func $tensor (param i32 i32 i32 i32 i32) (result i32)))"#;

#[tokio::test]
async fn f21_a_flood_of_resources_is_refused() {
    // A scalar U8 each: type 4, one byte at 128.
    let infer = "(local.set $a (i32.const 2000000))
        (loop $more
          (drop (call $tensor (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 128) (i32.const 1)))
          (br_if $more (local.tee $a (i32.sub (local.get $a) (i32.const 1)))))";
    let fault = fault_of(&bench(), model(Model { imports: TENSOR, infer, ..Model::default() })).await;
    assert_eq!(fault.code(), Code::PluginResourceLimit, "{fault}");
}

#[tokio::test]
async fn f21_what_resources_hold_on_the_host_is_counted() {
    // Tensors of 1 MiB, which the guest's own memory is large enough for once; 16 MiB is the limit.
    let infer = "(drop (memory.grow (i32.const 20)))
        (i32.store (i32.const 1024) (i32.const 1048576))
        (loop $more
          (drop (call $tensor (i32.const 1024) (i32.const 1) (i32.const 4) (i32.const 4096) (i32.const 1048576)))
          (br $more))";
    let fault = fault_of(&bench(), model(Model { imports: TENSOR, infer, ..Model::default() })).await;
    assert_eq!(fault.code(), Code::PluginResourceLimit, "{fault}");
    assert!(fault.detail().contains("outside of its memory"), "{fault}");
}

#[tokio::test]
async fn f22_f23_a_flood_of_forged_log_lines_is_counted_escaped_and_dropped() {
    // 5,000 lines of "x\nlevel=ERROR" with an escape code; 1,000 are let through.
    let fields = r#"(data (i32.const 1024) "\1b[31mx\nlevel=ERROR")"#;
    let infer = "(local.set $a (i32.const 5000))
        (loop $more
          (call $log (i32.const 2) (i32.const 128) (i32.const 1) (i32.const 1024) (i32.const 18))
          (br_if $more (local.tee $a (i32.sub (local.get $a) (i32.const 1)))))";
    let lines = Arc::new(Lines::default());
    let bench = bench();
    let plugin = bench.load(model(Model { imports: LOG, fields, infer, ..Model::default() })).await;
    {
        let _guard = tracing::subscriber::set_default(Capture(lines.clone()));
        bench.sandbox.infer(&plugin, call(), vec![input()]).await.unwrap();
    }
    let lines = lines.0.lock().unwrap();
    let guest: Vec<_> = lines.iter().filter(|line| line.contains("text=")).collect();
    assert_eq!(guest.len(), 1_000);
    assert!(guest.iter().all(|line| line.contains(r"\u{1b}[31mx\nlevel=ERROR")), "{}", guest[0]);
    assert!(guest.iter().all(|line| line.contains("tenant=acme") && line.contains("request_id=r-1")));
    assert!(lines.iter().any(|line| line.contains("dropped=4000")), "the rest is counted");
}

#[tokio::test]
async fn f25_a_trap_is_told_and_the_next_call_is_fresh() {
    let bench = bench();
    let fault = fault_of(&bench, model(Model { infer: "unreachable", ..Model::default() })).await;
    assert_eq!(fault.code(), Code::PluginTrap);
    assert!(fault.detail().contains("unreachable"), "{fault}");
    assert!(!fault.detail().contains("backtrace"), "frames stay in the log: {fault}");
    assert!(fault.cause().unwrap().contains("infer"), "and are there");

    // Counts in a global and in memory, and complains when either is not new.
    let fields = "(global $count (mut i32) (i32.const 0))";
    let infer = format!(
        "(if (i32.or (global.get $count) (i32.load (i32.const 2048))) (then {INTERNAL}))
         (global.set $count (i32.const 1)) (i32.store (i32.const 2048) (i32.const 1))"
    );
    let guest = model(Model { fields, infer: &infer, ..Model::default() });
    for _ in 0..3 {
        assert!(bench.infer(guest.clone()).await.is_ok());
    }
}

#[tokio::test]
async fn f27_bad_utf8_traps() {
    let infer = "(call $log (i32.const 2) (i32.const 128) (i32.const 2) (i32.const 128) (i32.const 2))";
    let fault = fault_of(&bench(), model(Model { imports: LOG, infer, ..Model::default() })).await;
    assert_eq!(fault.code(), Code::PluginTrap, "{fault}");
    // A discriminant that the enum does not have.
    let infer = "(call $log (i32.const 99) (i32.const 128) (i32.const 1) (i32.const 128) (i32.const 1))";
    let fault = fault_of(&bench(), model(Model { imports: LOG, infer, ..Model::default() })).await;
    assert_eq!(fault.code(), Code::PluginTrap, "{fault}");
    // A list that ends behind the memory.
    let infer = "(call $log (i32.const 2) (i32.const 128) (i32.const 1) (i32.const 65530) (i32.const 100))";
    let fault = fault_of(&bench(), model(Model { imports: LOG, infer, ..Model::default() })).await;
    assert_eq!(fault.code(), Code::PluginTrap, "{fault}");
}

#[tokio::test]
async fn f28_nothing_of_one_call_is_left_for_the_next() {
    // One slot, so that the second guest gets the very memory and table that the first one wrote to.
    let bench = bench_with(limits(), 1);
    let fields = "(table $t 1000 funcref) (func $f) (elem declare func $f)";
    let fill = "(drop (memory.grow (i32.const 100)))
        (memory.fill (i32.const 8192) (i32.const 170) (i32.const 6500000))
        (table.fill $t (i32.const 0) (ref.func $f) (i32.const 1000))
        (drop (table.grow $t (ref.func $f) (i32.const 5000)))";
    let scan = format!(
        "(drop (memory.grow (i32.const 100)))
         (drop (table.grow $t (ref.null func) (i32.const 5000)))
         (local.set $a (i32.const 8192))
         (loop $more
           (if (i32.load (local.get $a)) (then {INTERNAL}))
           (br_if $more (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 4))) (i32.const 6500000))))
         (local.set $a (i32.const 0))
         (loop $more
           (if (i32.eqz (ref.is_null (table.get $t (local.get $a)))) (then {INTERNAL}))
           (br_if $more (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 1))) (i32.const 6000))))"
    );
    let writer = bench.load(model(Model { fields, infer: fill, ..Model::default() })).await;
    let scanner = bench.load(model(Model { fields, infer: &scan, ..Model::default() })).await;
    for _ in 0..3 {
        bench.sandbox.infer(&writer, call(), vec![input()]).await.unwrap();
        let other = crate::support::call_of("other", "scanner");
        bench.sandbox.infer(&scanner, other, vec![input()]).await.expect("zeros only");
    }
}

#[tokio::test]
async fn a_fault_of_the_guest_is_passed_on_bounded() {
    let fault = fault_of(&bench(), model(Model { infer: INTERNAL, ..Model::default() })).await;
    assert_eq!((fault.code(), fault.detail()), (Code::PluginFault, "x"));
    // invalid-input, with a message of 60,000 bytes out of the zeroed memory.
    let infer = "(i32.store8 (i32.const 64) (i32.const 1)) (i32.store8 (i32.const 68) (i32.const 0))
        (i32.store (i32.const 72) (i32.const 4200)) (i32.store (i32.const 76) (i32.const 60000)) (return (i32.const 64))";
    let fault = fault_of(&bench(), model(Model { infer, ..Model::default() })).await;
    assert_eq!(fault.code(), Code::InvalidRequest);
    assert!(fault.detail().len() <= 1024 && !fault.detail().contains('\0'));
}

#[tokio::test]
async fn large_tensors_pass_unchanged() {
    let bench = bench_with(InvocationLimits { output: 8 << 20, host_call: 8 << 20, ..limits() }, 8);
    let values: Vec<f32> = (0..1_000_000).map(|i| i as f32).collect();
    let input = Tensor::from_elements("x", [1_000, 1_000], &values).unwrap();
    let plugin = bench.load(model(Model::default())).await;
    let outputs = bench.sandbox.infer(&plugin, call(), vec![input.clone()]).await.unwrap();
    assert_eq!(outputs, [input]);
}

#[derive(Default)]
struct Lines(std::sync::Mutex<Vec<String>>);

/// Keeps events as `name=value` lines.
struct Capture(Arc<Lines>);

impl tracing::Subscriber for Capture {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(String);
        impl tracing::field::Visit for Fields {
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                self.0 += &format!("{field}={value} ");
            }

            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
