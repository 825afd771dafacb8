//! What the platform lends to a guest.

use std::sync::Arc;

use aimass_core::{Code, Tensor};

use crate::guests::{INTERNAL, Model, model};
use crate::support::{bench, call, call_of, input};

const NN: &str = r#"
    (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load-by-name" (func $load (param i32 i32 i32)))
    (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "[method]graph.init-execution-context" (func $context (param i32 i32)))
    (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor"
      (func $tensor (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.data" (func $data (param i32 i32)))
    (import "wasi:nn/inference@0.2.0-rc-2024-10-28" "[method]graph-execution-context.compute"
      (func $compute (param i32 i32 i32 i32)))
    (import "wasi:nn/errors@0.2.0-rc-2024-10-28" "[method]error.code" (func $code (param i32) (result i32)))"#;

/// Runs the model `double` twice over the input's data (the output of the first run is the input of the second,
/// and never enters the guest), and answers with the result.
fn twice(name: &str) -> Vec<u8> {
    let fields = format!(r#"(data (i32.const 1024) "{name}") (data (i32.const 1100) "\02\00\00\00")"#);
    let length = name.len();
    let infer = format!(
        "(call $load (i32.const 1024) (i32.const {length}) (i32.const 1200))
         (if (i32.load8_u (i32.const 1200)) (then
           ;; not-found is the seventh code
           (if (i32.eq (call $code (i32.load (i32.const 1204))) (i32.const 6)) (then {INTERNAL}))
           unreachable))
         (call $context (i32.load (i32.const 1204)) (i32.const 1200))
         (local.set $a (i32.load (i32.const 1204)))
         ;; FP32 is the second type; the data is that of the first input
         (local.set $b (call $tensor (i32.const 1100) (i32.const 1) (i32.const 1)
           (i32.load (i32.add (local.get $ptr) (i32.const 20))) (i32.load (i32.add (local.get $ptr) (i32.const 24)))))
         (local.set $c (i32.const 2))
         (loop $again
           (i32.store (i32.const 1300) (i32.const 128)) (i32.store (i32.const 1304) (i32.const 1))
           (i32.store (i32.const 1308) (local.get $b))
           (call $compute (local.get $a) (i32.const 1300) (i32.const 1) (i32.const 1200))
           (if (i32.load8_u (i32.const 1200)) (then unreachable))
           (local.set $b (i32.load (i32.add (i32.load (i32.const 1204)) (i32.const 8))))
           (br_if $again (local.tee $c (i32.sub (local.get $c) (i32.const 1)))))
         (call $data (local.get $b) (i32.const 1200))
         (i32.store (i32.add (local.get $ptr) (i32.const 20)) (i32.load (i32.const 1200)))
         (i32.store (i32.add (local.get $ptr) (i32.const 24)) (i32.load (i32.const 1204)))"
    );
    model(Model { imports: NN, fields: &fields, infer: &infer, ..Model::default() })
}

#[tokio::test]
async fn a_guest_runs_the_tenants_model() {
    let bench = bench();
    let plugin = bench.load(twice("double")).await;
    let outputs = bench.sandbox.infer(&plugin, call(), vec![input()]).await.unwrap();
    assert_eq!(outputs, [Tensor::from_elements("x", [2], &[4f32, 8.0]).unwrap()]);
    assert!(bench.infer(twice("double@1")).await.is_ok());
}

#[tokio::test]
async fn f36_another_tenants_model_is_not_found() {
    let bench = bench();
    let plugin = bench.load(twice("double")).await;
    let fault = bench.sandbox.infer(&plugin, call_of("other", "guest"), vec![input()]).await.unwrap_err();
    assert_eq!(fault.code(), Code::PluginFault, "the guest says so after `not-found`: {fault}");
    let fault = bench.infer(twice("absent")).await.unwrap_err();
    assert_eq!(fault.code(), Code::PluginFault, "the same as for what does not exist: {fault}");
}

#[tokio::test]
async fn f10_a_guests_tensor_that_does_not_fit_ends_its_call() {
    let infer = "(drop (call $tensor (i32.const 1100) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 7)))";
    let fields = r#"(data (i32.const 1100) "\ff\ff\ff\ff")"#;
    let fault = bench().infer(model(Model { imports: NN, fields, infer, ..Model::default() })).await.unwrap_err();
    assert_eq!(fault.code(), Code::PluginTrap);
}

#[tokio::test]
async fn f38_key_value_data_is_kept_apart_by_tenant_and_plugin() {
    let imports = r#"
        (import "wasi:keyvalue/store@0.2.0-draft" "open" (func $open (param i32 i32 i32)))
        (import "wasi:keyvalue/atomics@0.2.0-draft" "increment" (func $increment (param i32 i32 i32 i64 i32)))"#;
    // Answers with the counter as the first element's bits.
    let infer = "(call $open (i32.const 128) (i32.const 1) (i32.const 1200))
        (if (i32.load8_u (i32.const 1200)) (then unreachable))
        (call $increment (i32.load (i32.const 1204)) (i32.const 128) (i32.const 1) (i64.const 1) (i32.const 1200))
        (if (i32.load8_u (i32.const 1200)) (then unreachable))
        (i32.store (i32.load (i32.add (local.get $ptr) (i32.const 20))) (i32.load (i32.const 1208)))";
    let bench = bench();
    let plugin = bench.load(model(Model { imports, infer, ..Model::default() })).await;
    let mut counts = Vec::new();
    for (tenant, name) in [("acme", "a"), ("acme", "a"), ("acme", "b"), ("other", "a"), ("acme", "a")] {
        let outputs = bench.sandbox.infer(&plugin, call_of(tenant, name), vec![input()]).await.unwrap();
        counts.push(outputs[0].elements::<f32>().unwrap()[0].to_bits());
    }
    assert_eq!(counts, [1, 2, 1, 1, 3]);
}

#[tokio::test]
async fn a_guest_reads_its_settings() {
    let imports = r#"(import "wasi:config/store@0.2.0-rc.1" "get" (func $get (param i32 i32 i32)))"#;
    // ok(some(value)): answers with the value's length as the first element's bits.
    let infer = format!(
        "(call $get (i32.const 128) (i32.const 1) (i32.const 1200))
         (if (i32.load8_u (i32.const 1200)) (then unreachable))
         (if (i32.eqz (i32.load8_u (i32.const 1204))) (then {INTERNAL}))
         (i32.store (i32.load (i32.add (local.get $ptr) (i32.const 20))) (i32.load (i32.const 1212)))"
    );
    let bench = bench();
    let plugin = bench.load(model(Model { imports, infer: &infer, ..Model::default() })).await;
    let mut with = call();
    with.settings = Arc::new(aimass_core::event::Settings::from([("x".to_owned(), "seven!!".to_owned())]));
    let outputs = bench.sandbox.infer(&plugin, with, vec![input()]).await.unwrap();
    assert_eq!(outputs[0].elements::<f32>().unwrap()[0].to_bits(), 7);
    assert!(bench.sandbox.infer(&plugin, call(), vec![input()]).await.is_err(), "none without");
}
