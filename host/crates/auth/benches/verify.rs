//! What a token costs: the first check, and every later one.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use aimass_auth::{Auth, AuthConfig, Grant, Scope};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn verify(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let auth = Auth::open(dir.path(), AuthConfig::new("https://aimass.example", "aimass")).unwrap();
    let mint = || {
        let scopes = [Scope::PluginsInvoke, Scope::ModelsInvoke].into_iter().collect();
        let (subject, tenant) = ("bench".to_owned(), Some("acme".parse().unwrap()));
        auth.mint(Grant { subject, tenant, scopes, ttl: Duration::from_secs(3600) }).unwrap().token
    };

    let token = mint();
    auth.verify(&token).unwrap();
    c.bench_function("verify/cached", |b| b.iter(|| auth.verify(black_box(&token)).unwrap()));

    for i in 0..10_000 {
        auth.revoke(&format!("another-{i}"), u64::MAX);
    }
    c.bench_function("verify/cached, 10,000 others revoked", |b| b.iter(|| auth.verify(black_box(&token)).unwrap()));

    let mut revoked = 0u64;
    c.bench_function("verify/cached, just after a revocation", |b| {
        b.iter_batched(
            || {
                revoked += 1;
                auth.revoke(&format!("next-{revoked}"), 0);
            },
            |()| auth.verify(black_box(&token)).unwrap(),
            BatchSize::PerIteration,
        );
    });

    c.bench_function("verify/cold", |b| {
        b.iter_batched(mint, |token| auth.verify(black_box(&token)).unwrap(), BatchSize::SmallInput);
    });
}

criterion_group!(benches, verify);
criterion_main!(benches);
