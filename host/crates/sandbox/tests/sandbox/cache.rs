//! Compiled code on disk, and plugins in memory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aimass_core::{Code, Digest, Fault};

use crate::guests::{Model, model};
use crate::support::{bench, call, input, limits, open};

#[tokio::test]
async fn compiled_code_outlives_the_process_and_needs_no_wasm() {
    let bench = bench();
    let wasm = model(Model::default());
    let digest = Digest::of(&wasm);
    bench.load(wasm).await;
    let again = open(bench.dir.path(), [7; 32], limits(), 4);
    assert!(!again.is_loaded(&digest));
    let plugin = again.load(digest, async { panic!("the compiled code is there") }).await.unwrap();
    assert_eq!(again.infer(&plugin, call(), vec![input()]).await.unwrap(), [input()]);
}

#[tokio::test]
async fn damaged_or_foreign_code_is_compiled_again_and_never_mapped() {
    let bench = bench();
    let wasm = model(Model::default());
    let digest = Digest::of(&wasm);
    bench.load(wasm.clone()).await;
    let path = bench.sandbox.compiled_path(&digest);
    let good = fs::read(&path).unwrap();
    let damage: [fn(&mut Vec<u8>); 5] = [
        |code| code[0] ^= 1,
        |code| {
            let middle = code.len() / 2;
            code[middle] ^= 0x80;
        },
        |code| *code.last_mut().unwrap() ^= 1,
        |code| code.truncate(20),
        |code| code.clear(),
    ];
    for damage in damage {
        let mut bad = good.clone();
        damage(&mut bad);
        fs::remove_file(&path).unwrap();
        fs::write(&path, bad).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        let asked = AtomicUsize::new(0);
        let again = open(bench.dir.path(), [7; 32], limits(), 4);
        let plugin = again
            .load(digest, async {
                asked.fetch_add(1, Ordering::Relaxed);
                Ok(wasm.clone().into())
            })
            .await
            .unwrap();
        assert_eq!(asked.into_inner(), 1, "it was compiled again");
        assert_eq!(again.infer(&plugin, call(), vec![input()]).await.unwrap(), [input()]);
        assert_eq!(fs::read(&path).unwrap().len(), good.len());
    }
    // Whole, but signed with another key: as good as damaged.
    let asked = AtomicUsize::new(0);
    let other = open(bench.dir.path(), [8; 32], limits(), 4);
    other
        .load(digest, async {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(wasm.into())
        })
        .await
        .unwrap();
    assert_eq!(asked.into_inner(), 1);
}

#[tokio::test]
async fn one_components_code_does_not_pass_for_anothers() {
    let bench = bench();
    let (a, b) = (model(Model::default()), model(Model { infer: "unreachable", ..Model::default() }));
    let (for_a, for_b) = (Digest::of(&a), Digest::of(&b));
    bench.load(a).await;
    bench.load(b.clone()).await;
    let (at_a, at_b) = (bench.sandbox.compiled_path(&for_a), bench.sandbox.compiled_path(&for_b));
    fs::remove_file(&at_b).unwrap();
    fs::copy(at_a, &at_b).unwrap();
    let again = open(bench.dir.path(), [7; 32], limits(), 4);
    let plugin = again.load(for_b, async { Ok(b.into()) }).await.unwrap();
    assert_eq!(again.infer(&plugin, call(), vec![input()]).await.unwrap_err().code(), Code::PluginTrap);
}

#[tokio::test]
async fn f65_code_of_another_build_is_swept() {
    let bench = bench();
    let folder = bench.dir.path().join("compiled");
    let old = folder.join("0".repeat(64));
    fs::create_dir(&old).unwrap();
    fs::write(old.join("x.cwasm"), b"old").unwrap();
    let again = open(bench.dir.path(), [7; 32], limits(), 4);
    assert!(!old.exists());
    let wasm = model(Model::default());
    assert!(again.load(Digest::of(&wasm), async { Ok(wasm.into()) }).await.is_ok());
}

#[tokio::test]
async fn compiled_code_is_this_users_alone() {
    let bench = bench();
    let wasm = model(Model::default());
    let path = bench.sandbox.compiled_path(&Digest::of(&wasm));
    bench.load(wasm.clone()).await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    // A file that others may write to is not trusted, whatever its MAC says.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let again = open(bench.dir.path(), [7; 32], limits(), 4);
    let fault = again.load(Digest::of(&wasm), async { Err(Fault::not_found()) }).await.err().unwrap();
    assert_eq!(fault.code(), Code::NotFound, "it asked for the component");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_loads_compile_once() {
    let bench = Arc::new(bench());
    let wasm = model(Model::default());
    let asked = Arc::new(AtomicUsize::new(0));
    let loads: Vec<_> = (0..16)
        .map(|_| {
            let (bench, wasm, asked) = (bench.clone(), wasm.clone(), asked.clone());
            tokio::spawn(async move {
                let digest = Digest::of(&wasm);
                let give = async {
                    asked.fetch_add(1, Ordering::Relaxed);
                    Ok(wasm.into())
                };
                bench.sandbox.load(digest, give).await.map(|plugin| Arc::as_ptr(&plugin) as usize)
            })
        })
        .collect();
    let mut plugins = Vec::new();
    for load in loads {
        plugins.push(load.await.unwrap().unwrap());
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(plugins.iter().all(|plugin| *plugin == plugins[0]), "all share one");
}

#[tokio::test]
async fn what_the_blob_says_is_passed_on() {
    let fault = bench().sandbox.load(Digest::of(b"x"), async { Err(Fault::not_found()) }).await.err().unwrap();
    assert_eq!(fault.code(), Code::NotFound);
}
