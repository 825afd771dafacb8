//! Durable writes per second: `cargo bench -p aimass-store`.

use aimass_core::digest::Hasher;
use aimass_core::event::{Actor, Event};
use aimass_core::seam::Bucket;
use aimass_core::{Result, Tenant};
use aimass_store::{Label, Store};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;

/// What a connection hands over at once.
const PART: usize = 16 << 10;

static NEXT: AtomicU64 = AtomicU64::new(0);

async fn append(store: Store) -> Result<()> {
    let jti = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
    store.write(Actor::system(), move |_| Ok((Some(Event::TokenRevoked { jti }), ()))).await
}

async fn increment(store: Store) -> Result<()> {
    let (tenant, plugin) = ("acme".parse()?, "counter".parse()?);
    let bucket = Bucket { tenant: Tenant::vouched_for(tenant), plugin, name: String::new() };
    store.key_value().increment(&bucket, "n", 1).await.map(drop)
}

/// Every writer writes once, all at the same time.
async fn all<F: Future<Output = Result<()>> + Send + 'static>(store: &Store, writers: u64, one: fn(Store) -> F) {
    let mut tasks = JoinSet::new();
    for _ in 0..writers {
        tasks.spawn(one(store.clone()));
    }
    for result in tasks.join_all().await {
        assert!(result.is_ok(), "{result:?}");
    }
}

fn writes(criterion: &mut Criterion) {
    let run = || -> std::result::Result<_, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path(), &folder.path().join("key"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok((folder, store, runtime))
    };
    let (_folder, store, runtime) = match run() {
        Ok(ready) => ready,
        Err(error) => {
            eprintln!("cannot open a store: {error}");
            return;
        }
    };
    let mut group = criterion.benchmark_group("store");
    for writers in [1, 64] {
        group.throughput(Throughput::Elements(writers));
        group.bench_function(format!("journal append, {writers} writers"), |bencher| {
            bencher.to_async(&runtime).iter(|| all(&store, writers, append));
        });
        group.bench_function(format!("key-value increment, {writers} writers"), |bencher| {
            bencher.to_async(&runtime).iter(|| all(&store, writers, increment));
        });
    }
    group.finish();
}

/// A blob as an upload makes it: hashed, sealed, synced and renamed.
async fn sealed(store: &Store, tenant: &Tenant, bytes: &[u8]) -> Result<()> {
    let mut writer = store.blobs().writer(tenant).await?;
    for part in bytes.chunks(PART) {
        writer.write(part).await?;
    }
    writer.finish().await.map(drop)
}

/// The same without sealing.
fn plain(folder: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut hasher = Hasher::default();
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    for part in bytes.chunks(512 << 10) {
        hasher.update(part);
        file.write_all(part)?;
    }
    file.as_file().sync_all()?;
    file.persist(folder.join(hasher.finish().hex()))?;
    std::fs::File::open(folder)?.sync_all()
}

/// What sealing costs an upload, and what opening costs a load.
fn blobs(criterion: &mut Criterion) {
    let ready = || -> std::result::Result<_, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path(), &folder.path().join("key"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok((folder, store, runtime, Tenant::vouched_for("acme".parse()?)))
    };
    let (folder, store, runtime, tenant) = match ready() {
        Ok(ready) => ready,
        Err(error) => {
            eprintln!("cannot open a store: {error}");
            return;
        }
    };
    let bytes = vec![0xA7; 64 << 20];
    let mut group = criterion.benchmark_group("blob of 64 MiB");
    group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(10);
    group.bench_function("plain", |bencher| bencher.iter(|| plain(folder.path(), &bytes)));
    group.bench_function("sealed", |bencher| bencher.to_async(&runtime).iter(|| sealed(&store, &tenant, &bytes)));
    group.finish();
}

/// What a guest waits for when it reads a value, and a call when its guest asks for a secret.
fn values(criterion: &mut Criterion) {
    let ready = || -> std::result::Result<_, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path(), &folder.path().join("key"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let tenant = Tenant::vouched_for("acme".parse()?);
        let bucket = Bucket { tenant: tenant.clone(), plugin: "p".parse()?, name: String::new() };
        let seal = runtime.block_on(async {
            let change = |key: &str, bytes: usize| (key.to_owned(), Some(vec![7; bytes].into()));
            let changes = vec![change("small", 64), change("large", 64 << 10)];
            store.key_value().set(&bucket, changes).await?;
            store.seal(&tenant).await
        })?;
        let label = Label { kind: "secret", name: "p/k", version: 1 };
        let sealed = seal.seal(label, &[7; 64])?;
        Ok((folder, store, runtime, bucket, seal, label, sealed))
    };
    let (_folder, store, runtime, bucket, seal, label, sealed) = match ready() {
        Ok(ready) => ready,
        Err(error) => {
            eprintln!("cannot open a store: {error}");
            return;
        }
    };
    let mut group = criterion.benchmark_group("value");
    let data = store.key_value();
    for (key, bytes) in [("small", 64), ("large", 64 << 10)] {
        group.bench_function(format!("key-value get, {bytes} bytes"), |bencher| {
            bencher.to_async(&runtime).iter(|| data.get(&bucket, key));
        });
    }
    group.bench_function("seal 64 bytes", |bencher| bencher.iter(|| seal.seal(label, &[7; 64])));
    group.bench_function("open 64 bytes", |bencher| bencher.iter(|| seal.open(label, &sealed)));
    group.finish();
}

criterion_group!(benches, writes, blobs, values);
criterion_main!(benches);
