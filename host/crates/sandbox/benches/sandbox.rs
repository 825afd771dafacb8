//! What one call costs: instantiate + drop, and instantiate + call + drop, of an HTTP function and a model plugin.
//!
//! `AIMASS_BENCH_HELLO` and `AIMASS_BENCH_MODEL` may name components to measure; else small hand-written ones are.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/sandbox/guests.rs"]
#[allow(dead_code, unreachable_pub)]
mod guests;
#[path = "../tests/sandbox/support.rs"]
#[allow(dead_code, unreachable_pub)]
mod support;

use std::hint::black_box;
use std::sync::Arc;

use aimass_core::limits::InvocationLimits;
use aimass_core::{ElementType, Signature, Tensor};
use aimass_sandbox::Plugin;
use bytes::Bytes;
use criterion::{Criterion, criterion_group};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use support::{Bench, call};

fn bench(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Entered, so that what is dropped outside of a future finds its runtime.
    let _entered = runtime.enter();
    let bench = support::bench_with(InvocationLimits::default(), 1_000);

    let hello = runtime.block_on(load(&bench, "AIMASS_BENCH_HELLO", guests::hello()));
    let mut group = c.benchmark_group("http");
    group.bench_function("instantiate+drop", |b| {
        b.to_async(&runtime).iter(|| bench.sandbox.instantiate(&hello, call()));
    });
    group.bench_function("instantiate+call+drop", |b| {
        b.to_async(&runtime).iter(|| async {
            let request = Request::get("http://localhost/").body(Empty::<Bytes>::new()).unwrap();
            let response = bench.sandbox.http(&hello, call(), request).await.unwrap();
            black_box(response.into_body().collect().await.unwrap())
        });
    });
    group.finish();

    let model = runtime.block_on(load(&bench, "AIMASS_BENCH_MODEL", guests::model(guests::Model::default())));
    let signature = runtime.block_on(bench.sandbox.signature(&model, call())).unwrap();
    let inputs = example(&signature);
    let mut group = c.benchmark_group("model");
    group.bench_function("instantiate+drop", |b| {
        b.to_async(&runtime).iter(|| bench.sandbox.instantiate(&model, call()));
    });
    // Asking for the signature needs no model behind `wasi:nn`, so any plugin can be measured with it.
    group.bench_function("instantiate+signature+drop", |b| {
        b.to_async(&runtime).iter(|| bench.sandbox.signature(&model, call()));
    });
    if std::env::var_os("AIMASS_BENCH_MODEL").is_none() {
        group.bench_function("instantiate+infer+drop", |b| {
            b.to_async(&runtime).iter(|| bench.sandbox.infer(&model, call(), inputs.clone()));
        });
        let large = Tensor::new("x", ElementType::Fp32, [150_528], vec![0; 602_112]).unwrap();
        group.bench_function("infer 600 kB in and out", |b| {
            b.to_async(&runtime).iter(|| bench.sandbox.infer(&model, call(), vec![large.clone()]));
        });
    }
    group.finish();
}

async fn load(bench: &Bench, variable: &str, otherwise: Vec<u8>) -> Arc<Plugin> {
    let wasm = std::env::var_os(variable).map_or(otherwise, |path| std::fs::read(path).unwrap());
    bench.load(wasm).await
}

/// Inputs that fit: every free dimension is 1, every byte 0.
fn example(signature: &Signature) -> Vec<Tensor> {
    let tensor = |port: &aimass_core::Port| {
        let shape: Vec<u64> = port.shape.iter().map(|&d| u64::try_from(d).unwrap_or(1)).collect();
        let size = shape.iter().product::<u64>() as usize * port.element_type.size().unwrap_or(4);
        Tensor::new(&*port.name, port.element_type, shape, vec![0; size]).unwrap()
    };
    signature.inputs.iter().map(tensor).collect()
}

criterion_group!(benches, bench);

fn main() {
    // What the sandbox starts to compile is this program again.
    if let Ok(status) = aimass_sandbox::compile_child() {
        std::process::exit(status.into());
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
