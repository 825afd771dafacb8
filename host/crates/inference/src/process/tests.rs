//! Real children: this test program, started again to be one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use aimass_core::{Code, Tensor};
use tract_onnx::pb::tensor_proto::DataType;

use super::*;
use crate::engines::{Device, EngineConfig, GpuPolicy};
use crate::testing::{Builder, mlp};

/// In a child, standard input is the socket to the parent; in a test run it is not, and then there is nothing to do.
#[test]
fn this_is_the_child() {
    match serve() {
        Ok(()) => {}
        Err(fault) => assert_eq!(fault.code(), Code::InvalidRequest),
    }
}

fn processes(memory: u64, run_limit: Duration) -> EngineProcesses {
    processes_with(GpuPolicy::Off, memory, run_limit)
}

fn processes_with(gpu: GpuPolicy, memory: u64, run_limit: Duration) -> EngineProcesses {
    EngineProcesses::new(ProcessConfig {
        engines: EngineConfig { threads: 2, gpu, ..EngineConfig::default() },
        command: EngineCommand {
            program: std::env::current_exe().unwrap(),
            arguments: ["process::tests::this_is_the_child", "--exact", "--test-threads=1", "--quiet", "--skip"]
                .map(Into::into)
                .to_vec(),
        },
        memory,
        run_limit,
    })
}

/// Loads a model; an engine that died before waits a moment before it starts again, and says for how long.
async fn when_up(processes: &EngineProcesses, model: Vec<u8>, key: &ModelKey) -> ProcessModel {
    loop {
        match processes.load(model.clone().into(), Device::Cpu, "t", key.clone()).await {
            Ok(model) => return model,
            Err(fault) => {
                let after = fault.retry().unwrap_or_else(|| panic!("{fault} {:?}", fault.cause()));
                assert!(after < Duration::from_secs(2), "{fault}");
                tokio::time::sleep(after).await;
            }
        }
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn ramp(shape: &[u64]) -> Tensor {
    let count: u64 = shape.iter().product();
    let numbers: Vec<f32> = (0..count).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    Tensor::from_elements("x", shape, &numbers).unwrap()
}

/// `x` [n] → `y` [n, 1024, 1024]: as many MiB of memory as 4 n.
fn eater() -> Vec<u8> {
    let mut shape = crate::testing::floats("unused", &[1], &[0.0]);
    shape.name = "shape".into();
    shape.dims = vec![3];
    shape.data_type = DataType::Int64 as i32;
    shape.raw_data = [1i64, 1024, 1024].iter().flat_map(|n| n.to_le_bytes()).collect();
    Builder::default()
        .input("x", &[-1, 1, 1])
        .initializer(shape)
        .node("Expand", &["x", "shape"], "y", vec![])
        .output("y", &[-1, 1024, 1024])
        .build()
}

/// `x` [n, n] → `y` [n, n]: sixty-four products of matrices one after another.
fn slow() -> Vec<u8> {
    let mut model = Builder::default().input("x", &[-1, -1]);
    for step in 0..64 {
        let from = if step == 0 { "x".to_owned() } else { format!("t{step}") };
        let to = if step == 63 { "y".to_owned() } else { format!("t{}", step + 1) };
        model = model.node("MatMul", &[&from, "x"], &to, vec![]);
    }
    model.output("y", &[-1, -1]).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_and_large_tensors_go_through_and_come_back() {
    let processes = processes(4 << 30, Duration::from_secs(20));
    let identity = Builder::default().input("x", &[-1]).node("Identity", &["x"], "y", vec![]).output("y", &[-1]);
    let model = processes.load(identity.build().into(), Device::Cpu, "t", "a/identity".into()).await.unwrap();
    for count in [0, 1, 10, 4_000, 5_000, 200_000, 3, 12_000_000, 200_000] {
        let x = ramp(&[count]);
        let (y, _) = model.infer_timed(vec![x.clone()], soon()).await.unwrap();
        assert_eq!((y[0].name(), y[0].shape(), y[0].data()), ("y", x.shape(), x.data()), "{count}");
    }
    let expand = processes.load(eater().into(), Device::Cpu, "t", "a/expand".into()).await.unwrap();
    // What goes in fits into a packet, and what comes out does not.
    let (y, timing) = expand.infer_timed(vec![ramp(&[2, 1, 1])], soon()).await.unwrap();
    assert_eq!(y[0].shape(), [2, 1024, 1024]);
    assert_eq!(y[0].data()[..4], (-1f32).to_le_bytes());
    assert!(!timing.compute.is_zero());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_at_once_each_get_their_own_answer() {
    let processes = processes(4 << 30, Duration::from_secs(20));
    let identity = Builder::default().input("x", &[-1]).node("Identity", &["x"], "y", vec![]).output("y", &[-1]);
    let model = Arc::new(processes.load(identity.build().into(), Device::Cpu, "t", "a/identity".into()).await.unwrap());
    let callers = (0..32u64).map(|caller| {
        let model = model.clone();
        tokio::spawn(async move {
            for turn in 0..20u64 {
                let numbers = vec![(caller * 1000 + turn) as f32; (caller as usize % 4) * 5_000 + 1];
                let x = Tensor::from_elements("x", [numbers.len() as u64], &numbers).unwrap();
                let (y, _) = model.infer_timed(vec![x.clone()], soon()).await.unwrap();
                assert_eq!(y[0].data(), x.data());
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f59_a_killed_engine_fails_its_calls_and_the_next_one_serves_soon() {
    let processes = processes(4 << 30, Duration::from_secs(20));
    let model = Arc::new(processes.load(slow().into(), Device::Cpu, "t", "a/slow".into()).await.unwrap());
    let call = {
        let model = model.clone();
        tokio::spawn(async move { model.infer_timed(vec![ramp(&[1500, 1500])], soon()).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let killed = Instant::now();
    rustix::process::kill_process(pid(&model), rustix::process::Signal::KILL).unwrap();
    let fault = call.await.unwrap().unwrap_err();
    assert_eq!(fault.code(), Code::Unavailable);
    assert!(fault.retry().is_some());
    assert!(!model.alive());
    let again = processes.load(mlp(1, 4, 4, 4).build().into(), Device::Cpu, "t", "a/mlp".into()).await.unwrap();
    again.infer_timed(vec![ramp(&[1, 4])], soon()).await.unwrap();
    println!("served again {:?} after the kill", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn f59_a_model_that_eats_memory_kills_thrice_and_is_quarantined() {
    // The engine itself takes some 20 MiB.
    let processes = processes(256 << 20, Duration::from_secs(20));
    let key: ModelKey = "a/eater".into();
    for death in 1..=3 {
        let eater = when_up(&processes, eater(), &key).await;
        eater.infer_timed(vec![ramp(&[1, 1, 1])], soon()).await.unwrap();
        let fault = eater.infer_timed(vec![ramp(&[200, 1, 1])], soon()).await.unwrap_err();
        assert_eq!(fault.code(), Code::Unavailable, "{fault}");
        assert!(!eater.alive(), "death {death}");
    }
    let fault = processes.load(eater().into(), Device::Cpu, "t", key).await.err().unwrap();
    assert!(fault.detail().contains("quarantined"), "{fault}");
    // Others are served; the engine waits a moment between deaths that follow one another.
    let other = when_up(&processes, mlp(1, 4, 4, 4).build(), &"b/mlp".into()).await;
    other.infer_timed(vec![ramp(&[1, 4])], soon()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f59_a_gpu_engine_that_takes_too_much_memory_is_replaced() {
    if let Err(reason) = crate::gpu::Gpu::default().device() {
        return println!("SKIPPED: no Vulkan device: {reason}");
    }
    let processes = processes_with(GpuPolicy::Any, 400 << 20, Duration::from_secs(60));
    let double = Builder::default().input("x", &[-1, 1024]).node("Add", &["x", "x"], "y", vec![]);
    let double = double.output("y", &[-1, 1024]).build();
    let load = async |model: &[u8], name: &str| {
        loop {
            let loaded = processes.load(model.to_vec().into(), Device::Gpu, "t", name.into()).await;
            match loaded {
                Ok(model) => return model,
                Err(fault) => tokio::time::sleep(fault.retry().unwrap_or_else(|| panic!("{fault}"))).await,
            }
        }
    };
    let soon = || Instant::now() + Duration::from_secs(60);
    let eater = load(&double, "a/eater").await;
    assert_eq!(eater.placement().backend, "wonnx");
    eater.infer_timed(vec![ramp(&[1, 1024])], soon()).await.unwrap();
    // 117 MiB, which are held as the request, on the device twice, and by the canary.
    let fault = eater.infer_timed(vec![ramp(&[30_000, 1024])], soon()).await.unwrap_err();
    assert_eq!(fault.code(), Code::Unavailable, "{fault}");
    assert!(!eater.alive(), "{fault}");
    let other = load(&mlp(1, 4, 4, 4).build(), "b/mlp").await;
    assert_eq!(other.placement().backend, "wonnx");
    other.infer_timed(vec![ramp(&[1, 4])], soon()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f59_an_engine_that_hangs_is_replaced_and_others_calls_end() {
    let processes = processes(4 << 30, Duration::from_millis(1_500));
    let hanging = processes.load(slow().into(), Device::Cpu, "t", "a/hang".into()).await.unwrap();
    let identity = Builder::default().input("x", &[-1]).node("Identity", &["x"], "y", vec![]).output("y", &[-1]);
    let other = processes.load(identity.build().into(), Device::Cpu, "t", "b/identity".into()).await.unwrap();
    let x = ramp(&[4000, 4000]);
    let (began, deadline) = (Instant::now(), Instant::now() + Duration::from_millis(500));
    let fault = hanging.infer_timed(vec![x], deadline).await.unwrap_err();
    assert_eq!(fault.code(), Code::Unavailable);
    assert!(began.elapsed() < Duration::from_millis(1_400), "the caller is told at its deadline");
    // Its thread is lost for now, and the other one serves.
    while other.alive() {
        let answer = other.infer_timed(vec![ramp(&[8])], soon()).await;
        assert!(answer.is_ok() || !other.alive(), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "the engine that hangs was never replaced: {}",
            other.link().busy()
        );
    }
    let again = when_up(&processes, mlp(1, 4, 4, 4).build(), &"b/mlp".into()).await;
    again.infer_timed(vec![ramp(&[1, 4])], soon()).await.unwrap();
    assert!(processes.blame.suspects(&"a/hang".into()));
    assert!(!processes.blame.suspects(&"b/identity".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn f06_an_upload_that_ends_its_reader_is_refused_and_ends_no_calls() {
    let processes = processes(192 << 20, Duration::from_secs(20));
    let serving = processes.load(mlp(1, 4, 4, 4).build().into(), Device::Cpu, "t", "a/mlp".into()).await.unwrap();
    // 240 MiB of constants: more than the process may hold.
    let large = Builder::default().input("x", &[60_000, 1024]).weights("w", &[60_000, 1024], 1.0);
    let large = large.node("Add", &["x", "w"], "y", vec![]).output("y", &[60_000, 1024]).build();
    let fault = processes.inspect(large.into()).await.unwrap_err();
    assert_eq!(fault.code(), Code::InvalidModel, "{fault}");
    serving.infer_timed(vec![ramp(&[1, 4])], soon()).await.unwrap();
    let signature = loop {
        match processes.inspect(mlp(1, 4, 4, 4).build().into()).await {
            Ok(signature) => break signature,
            Err(fault) => {
                let after = fault.retry().unwrap_or_else(|| panic!("{fault} {:?}", fault.cause()));
                tokio::time::sleep(after).await;
            }
        }
    };
    assert_eq!(signature.inputs[0].shape, [1, 4]);
    let fault = processes.inspect(b"no model".as_slice().into()).await.unwrap_err();
    assert_eq!(fault.code(), Code::InvalidModel);
}

fn pid(model: &ProcessModel) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(model.link().pid as i32).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_gets_what_others_leave() {
    let processes = processes(4 << 30, Duration::from_secs(20));
    let model = Arc::new(processes.load(slow().into(), Device::Cpu, "t", "a/slow".into()).await.unwrap());
    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let behind: Vec<_> = (0..60)
        .map(|_| {
            let (model, done) = (model.clone(), done.clone());
            tokio::spawn(async move {
                model.infer_at(vec![ramp(&[120, 120])], soon(), true).await.unwrap();
                done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            })
        })
        .collect();
    while done.load(std::sync::atomic::Ordering::SeqCst) < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = done.load(std::sync::atomic::Ordering::SeqCst);
    // As many, of the same tenant and for the same model, behind all of them.
    let live = (0..40).map(|i| {
        let model = model.clone();
        // Shapes of their own, so that none is joined with another.
        tokio::spawn(async move { model.infer_at(vec![ramp(&[100 + i, 100 + i])], soon(), false).await.unwrap() })
    });
    for call in live.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let passed = done.load(std::sync::atomic::Ordering::SeqCst) - before;
    assert!(passed <= 15, "{passed} that nobody waits for went before 40 that somebody does");
    for call in behind {
        call.await.unwrap();
    }
}
