//! Compiling in a child: its limits, its end, and what the sandbox makes of it. The children are this test program.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use aimass_core::{Code, Digest, Fault};
use aimass_sandbox::{CompileCommand, CompileLimits, Sandbox, SandboxConfig};

use crate::guests::{Model, model, with_modules};
use crate::support::{Doubling, Memory, call, compiler, input, limits};

fn sandbox(dir: &std::path::Path, compile: CompileCommand, compile_limits: CompileLimits) -> Sandbox {
    let config =
        SandboxConfig { limits: limits(), compile_limits, compilers: 1, ..SandboxConfig::new(dir, [7; 32], compile) };
    Sandbox::new(config, Arc::new(Doubling), Arc::new(Memory::default())).unwrap()
}

/// A component with so many modules, each of which takes some tenths of a second to compile.
fn slow(modules: usize) -> Vec<u8> {
    static MODULE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let step = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.load (local.get 1))) (local.get 2)))
            (local.set 1 (i32.xor (local.get 2) (i32.rotl (local.get 0) (i32.const 7))))
            (local.set 2 (i32.sub (i32.load (local.get 0)) (local.get 1)))";
        let function = format!("(func (local i32 i32 i32) {})", step.repeat(500));
        wat::parse_str(format!("(module (memory 1) {})", function.repeat(20))).unwrap()
    });
    with_modules(&MODULE, modules)
}

async fn refused(limits: CompileLimits, wasm: Vec<u8>) -> Fault {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(dir.path(), compiler(), limits);
    let digest = Digest::of(&wasm);
    let fault = sandbox.inspect(call(), digest, wasm.into()).await.unwrap_err();
    assert!(!sandbox.is_loaded(&digest) && !sandbox.compiled_path(&digest).exists(), "nothing of it stays");
    // And the next one is compiled.
    let good = model(Model::default());
    let plugin = sandbox.load(Digest::of(&good), async { Ok(good.into()) }).await;
    if limits_allow_anything(&fault) {
        assert_eq!(sandbox.infer(&plugin.unwrap(), call(), vec![input()]).await.unwrap(), [input()]);
    }
    fault
}

/// Whether the limits of that test let a small component through.
fn limits_allow_anything(fault: &Fault) -> bool {
    !fault.detail().contains("compiled code is larger")
}

#[tokio::test]
async fn f05_a_component_that_is_slow_to_compile_is_stopped_by_processor_time() {
    let started = Instant::now();
    let limits = CompileLimits::default().with_cpu(Duration::from_secs(1));
    let fault = refused(CompileLimits { wall: Duration::from_secs(60), ..limits }, slow(60)).await;
    assert_eq!(fault.code(), Code::CompileBudget, "{fault}");
    assert!(fault.detail().contains("processor time"), "{fault}");
    assert!(started.elapsed() < Duration::from_secs(50));
}

#[tokio::test]
async fn f05_a_component_that_takes_too_long_is_stopped_by_the_clock() {
    let limits = CompileLimits { wall: Duration::from_secs(1), ..CompileLimits::default() };
    let fault = refused(limits, slow(120)).await;
    assert_eq!(fault.code(), Code::CompileBudget, "{fault}");
    assert!(fault.detail().contains("longer than 1 s"), "{fault}");
}

#[tokio::test]
async fn f05_a_component_that_takes_too_much_memory_is_stopped() {
    let fault = refused(CompileLimits { memory: 64 << 20, ..CompileLimits::default() }, slow(60)).await;
    assert_eq!(fault.code(), Code::CompileBudget, "{fault}");
    assert!(fault.detail().contains("memory"), "{fault}");
}

#[tokio::test]
async fn f05_compiled_code_that_is_too_large_is_refused() {
    let fault = refused(CompileLimits { output: 10_000, ..CompileLimits::default() }, slow(1)).await;
    assert_eq!(fault.code(), Code::CompileBudget, "{fault}");
    assert!(fault.detail().contains("larger than 10000 bytes"), "{fault}");
}

#[tokio::test]
async fn a_compiler_that_breaks_is_said_to() {
    let shell =
        |script: &str| CompileCommand { program: "/bin/sh".into(), arguments: ["-c", script].map(Into::into).to_vec() };
    // Killed, ended without a word, and not to be started.
    for (script, says) in [("kill -SEGV $$", "signal: 11"), ("exit 77", "exit status: 77")] {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = sandbox(dir.path(), shell(script), CompileLimits::default());
        let wasm = model(Model::default());
        let fault = sandbox.inspect(call(), Digest::of(&wasm), wasm.into()).await.unwrap_err();
        assert_eq!(fault.code(), Code::InvalidComponent, "{fault}");
        assert!(fault.detail().contains("broke the compiler") && fault.detail().contains(says), "{fault}");
    }
    let dir = tempfile::tempdir().unwrap();
    let nowhere = CompileCommand { program: "/nowhere/aimass".into(), arguments: vec![] };
    let sandbox = sandbox(dir.path(), nowhere, CompileLimits::default());
    let wasm = model(Model::default());
    let fault = sandbox.inspect(call(), Digest::of(&wasm), wasm.into()).await.unwrap_err();
    assert_eq!(fault.code(), Code::Unavailable, "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compilation_waits_for_its_turn_and_tells_how_long_it_has_taken() {
    let dir = tempfile::tempdir().unwrap();
    let limits = CompileLimits { wall: Duration::from_secs(3), ..CompileLimits::default() };
    let sandbox = Arc::new(sandbox(dir.path(), compiler(), limits));
    let (first, second) = (slow(120), model(Model::default()));
    let (of_first, of_second) = (Digest::of(&first), Digest::of(&second));
    let slow = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.load(of_first, async { Ok(first.into()) }).await.map(drop) }
    });
    while sandbox.compiling(&of_first).is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let quick = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.load(of_second, async { Ok(second.into()) }).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(sandbox.compiling(&of_first).unwrap() >= Duration::from_millis(200));
    assert_eq!(sandbox.compiling(&of_second), None, "one at a time");
    assert_eq!(slow.await.unwrap().unwrap_err().code(), Code::CompileBudget);
    quick.await.unwrap().unwrap();
    assert_eq!(sandbox.compiling(&of_first), None);
}
