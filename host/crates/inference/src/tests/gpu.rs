//! The GPU path on whatever Vulkan device there is; without one these tests say so and pass.

use std::collections::BTreeSet;

use super::*;
use aimass_core::Code;

mod lowered;
mod operators;

use crate::backend::{Backend, LoadOptions, RunError};
use crate::testing::{Builder, conv_net, floats, mlp};
use crate::{Tract, Wonnx};

fn any_gpu() -> Option<Engines> {
    let config = EngineConfig { threads: 2, gpu: GpuPolicy::Any, ..EngineConfig::default() };
    let engines = Engines::new(config).unwrap();
    let gpu = engines.devices().into_iter().find(|d| d.backend == "wonnx").unwrap();
    if gpu.available {
        println!("the GPU path runs on {} ({})", gpu.device, if gpu.software { "software" } else { "hardware" });
        Some(engines)
    } else {
        println!("SKIPPED: no Vulkan device: {}", gpu.device);
        None
    }
}

fn largest_difference(a: &[Tensor], b: &[Tensor]) -> f32 {
    let pairs = a.iter().zip(b).flat_map(|(a, b)| {
        let (a, b) = (a.elements::<f32>().unwrap(), b.elements::<f32>().unwrap());
        a.into_iter().zip(b).collect::<Vec<_>>()
    });
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_convolution_net_and_a_perceptron_run_on_the_gpu_and_agree_with_the_cpu() {
    let Some(engines) = any_gpu() else { return };
    for (model, shape) in
        [(conv_net(), vec![1, 3, 16, 16]), (mlp(4, 16, 32, 8), vec![4, 16]), (mlp(1, 12, 16, 10), vec![1, 12])]
    {
        let model = model.build();
        let gpu = engines.load(model.clone().into(), Device::Auto).await.unwrap();
        let cpu = engines.load(model.into(), Device::Cpu).await.unwrap();
        let placement = gpu.placement();
        assert_eq!(placement.backend, "wonnx", "{placement:?}");
        assert!(placement.reason.is_none() && placement.canary.unwrap() < 1e-3);
        // Many at once: the session takes one at a time, and answers are not mixed up.
        let calls: Vec<_> = (0..8)
            .map(|i| {
                let (gpu, cpu, x) = (Arc::clone(&gpu), Arc::clone(&cpu), ramp(&shape));
                let x = Tensor::from_elements(
                    "x",
                    shape.clone(),
                    &x.elements::<f32>().unwrap().iter().map(|x| x * (i + 1) as f32).collect::<Vec<_>>(),
                )
                .unwrap();
                tokio::spawn(async move {
                    let ours = infer(&cpu, vec![x.clone()]).await.unwrap();
                    let theirs = infer(&gpu, vec![x]).await.unwrap();
                    assert_eq!(ours[0].shape(), theirs[0].shape());
                    largest_difference(&ours, &theirs)
                })
            })
            .collect();
        for call in calls {
            let difference = call.await.unwrap();
            assert!(difference < 1e-3, "{difference}");
        }
        println!("{placement:?}");
    }
}

/// Angles so large that a GPU's sine, which is good for some turns only, is anything.
fn far_angles() -> Vec<u8> {
    Builder::default()
        .input("x", &[1, 64])
        .initializer(floats("w", &[1], &[1e9]))
        .node("Mul", &["x", "w"], "z", vec![])
        .node("Sin", &["z"], "y", vec![])
        .output("y", &[1, 64])
        .build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_the_gpu_gets_wrong_is_caught_by_the_canary_and_served_by_the_cpu() {
    let Some(engines) = any_gpu() else { return };
    let model = engines.load(far_angles().into(), Device::Auto).await.unwrap();
    let placement = model.placement();
    assert_eq!(placement.backend, "tract", "{placement:?}");
    let reason = placement.reason.clone().unwrap();
    assert!(reason.contains("the canary") && placement.canary.unwrap() > 1e-3, "{placement:?}");
    println!("{reason}");
    // What is served is right.
    let x = ramp(&[1, 64]);
    let y = infer(&model, vec![x.clone()]).await.unwrap()[0].elements::<f32>().unwrap();
    for (y, x) in y.iter().zip(x.elements::<f32>().unwrap()) {
        assert!((y - (x * 1e9).sin()).abs() < 1e-3);
    }
    let strict = engines.load(far_angles().into(), Device::Gpu).await.err().unwrap();
    assert_eq!(strict.code(), Code::UnsupportedDevice);
    assert!(strict.detail().contains("the canary"), "{}", strict.detail());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_dimensions_are_fixed_as_they_are_asked_for_and_the_cpu_serves_what_the_gpu_refuses() {
    let Some(engines) = any_gpu() else { return };
    // Refused above 2^22 elements, as every choice among so many is.
    let model = Builder::default()
        .input("x", &[-1, 8])
        .weights("w", &[8, 8], 0.5)
        .node("MatMul", &["x", "w"], "h", vec![])
        .initializer(floats("zero", &[1], &[0.0]))
        .node("Greater", &["h", "zero"], "c", vec![])
        .node("Where", &["c", "h", "zero"], "y", vec![])
        .output("y", &[-1, 8])
        .build();
    let gpu = engines.load(model.clone().into(), Device::Auto).await.unwrap();
    let cpu = engines.load(model.into(), Device::Cpu).await.unwrap();
    assert_eq!(gpu.placement().backend, "wonnx", "{:?}", gpu.placement());
    // More shapes than sessions are kept, and back to the first.
    for batch in [1, 2, 3, 5, 8, 13, 1, 600_000] {
        let x = ramp(&[batch, 8]);
        let (theirs, ours) = (infer(&gpu, vec![x.clone()]).await.unwrap(), infer(&cpu, vec![x]).await.unwrap());
        assert_eq!(theirs[0].shape(), ours[0].shape());
        assert!(largest_difference(&ours, &theirs) < 1e-3, "batch {batch}");
    }
    assert_eq!(gpu.placement().backend, "wonnx");
}

#[test]
fn what_wonnx_gets_wrong_or_refuses_is_right_after_lowering() {
    if any_gpu().is_none() {
        return;
    }
    let (mut wrong, mut failed) = (0, vec![]);
    for (name, model) in lowered::cases().into_iter().chain(operators::cases()) {
        let model = model.build();
        if let Err(refused) = Tract.load(&model, &LoadOptions::default()) {
            failed.push(format!("{name}: the CPU: {refused}"));
            continue;
        }
        let cpu = || Tract.load(&model, &LoadOptions::default()).unwrap();
        // Without the pass: refused by the whitelist, by wonnx, or wrong.
        let (listed, without) = crate::gpu::unlowered(&model, cpu());
        let bad = listed.is_err() || without.as_ref().map_or(true, |error| *error > 1e-3);
        wrong += usize::from(without.as_ref().is_ok_and(|error| *error > 1e-3));
        let with = crate::gpu::lowered(&model, cpu(), &LoadOptions::default());
        println!("{name}: without {without:?} ({listed:?}), with {with:?}");
        if !bad || !with.as_ref().is_ok_and(|error| *error < 1e-3) {
            failed.push(format!("{name}: without {without:?} ({listed:?}), with {with:?}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    // Silently wrong, each for a reason of its own; the others fail loudly, or are right on this device by chance.
    assert!(wrong >= 6, "the canary saw {wrong} wrong models");
}

#[test]
fn a_sigmoid_of_what_is_far_below_0_is_not_held_to_the_references_own_error() {
    if any_gpu().is_none() {
        return;
    }
    // As in the PP-OCR detector, which finds no text in noise: e^-17 or less, and 4.8e-7 from tract.
    let far = || {
        let model = Builder::default().input("x", &[2, 2]).initializer(floats("far", &[1], &[-17.0]));
        model.node("Add", &["x", "far"], "z", vec![]).node("Sigmoid", &["z"], "s", vec![])
    };
    let plain = far().node("Flatten", &["s"], "y", vec![]).output("y", &[2, 2]).build();
    let scaled = far().initializer(floats("by", &[1], &[1e6])).node("Mul", &["s", "by"], "y", vec![]);
    let scaled = scaled.output("y", &[2, 2]).build();
    let error = |model: &[u8]| {
        let options = LoadOptions::default();
        crate::gpu::lowered(model, Tract.load(model, &options).unwrap(), &options).unwrap()
    };
    assert!(error(&plain) < 1e-3);
    // What is computed from it has a scale of its own, and there the reference's error is seen.
    assert!(error(&scaled) > 0.5);
}

#[test]
fn every_operator_with_a_rule_has_a_model_that_the_rule_cures() {
    let rules = names(include_str!("../gpu/lower/rules.rs"), "fn apply", "_ => one(activation");
    let reductions = names(include_str!("../gpu/lower/rules/reduce.rs"), "fn over", "_ => return Err");
    let activations = names(include_str!("../gpu/lower/rules/activation.rs"), "let known", "if !known");
    assert!(rules.len() > 60 && reductions.len() >= 10 && activations.len() > 35, "{rules:?}{reductions:?}");
    let mut cured: Vec<&str> = operators::cases().into_iter().map(|(name, _)| name).collect();
    for (name, model) in operators::without_reference() {
        // Once tract has it, a model is due in the list of those that are cured.
        let reference = Tract.load(&model.build(), &LoadOptions::default());
        assert!(reference.is_err() || name == "GlobalLpPool", "{name} is known to tract now");
        cured.push(name);
    }
    let all = rules.into_iter().chain(reductions).chain(activations);
    let missing: Vec<&str> = all.filter(|op| *op != "Reduce" && !cured.contains(op)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_operator_on_the_whitelist_is_right_in_a_case_of_the_node_suite() {
    let listed = names(include_str!("../gpu/whitelist/nodes.rs"), "fn rule", "_ => Err");
    assert!(listed.len() > 45, "{listed:?}");
    let right: Vec<&str> = include_str!("../../conformance/wonnx.txt")
        .lines()
        .filter_map(|line| line.strip_prefix("test_")?.split_once(": "))
        .filter(|(_, verdicts)| verdicts.contains("right"))
        .map(|(case, _)| case)
        .collect();
    // `ReduceMean` is tested as reduce_mean_…, `GlobalAveragePool` as globalaveragepool.
    let tested = |op: &&str| {
        let op = if *op == "BatchNormalization" { "batchnorm".into() } else { op.to_lowercase() };
        right.iter().any(|case| {
            let mut name = String::new();
            case.split('_').any(|word| {
                name.push_str(word);
                name == op
            })
        })
    };
    let untested: Vec<&str> = listed.into_iter().filter(|op| !tested(op)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

/// The operators that a source file names between two of its words.
fn names(source: &'static str, from: &str, to: &str) -> BTreeSet<&'static str> {
    let part = &source[source.find(from).unwrap()..];
    let part = &part[..part.find(to).unwrap()];
    let quoted = part.split('"').skip(1).step_by(2);
    quoted.filter(|word| word.starts_with(char::is_uppercase) && word.chars().all(char::is_alphanumeric)).collect()
}

#[test]
fn what_cannot_be_lowered_is_refused_with_the_reason() {
    // No device is needed: the lowering comes before the session.
    for (word, model) in lowered::refusals() {
        let model = model.build();
        Tract.load(&model, &LoadOptions::default()).unwrap_or_else(|e| panic!("{word}: the CPU engine: {e}"));
        let refused = Wonnx.load(&model, &LoadOptions::default()).err().unwrap_or_else(|| panic!("{word}: accepted"));
        assert!(refused.0.contains(word), "wanted {word:?}, got {:?}", refused.0);
    }
}

#[tokio::test]
async fn a_stuck_gpu_session_is_seen_and_left_for_the_cpu() {
    let Some(_) = any_gpu() else { return };
    let mut config = EngineConfig { threads: 1, gpu: GpuPolicy::Any, ..EngineConfig::default() };
    let engines = Engines::new(config.clone()).unwrap();
    let mut session =
        Wonnx.load(&conv_net().build(), &LoadOptions { run_limit: Duration::ZERO, ..LoadOptions::default() }).unwrap();
    let x = ramp(&[1, 3, 16, 16]);
    // A limit of nothing stands in for a driver that hangs.
    assert!(matches!(session.run(vec![x.clone()]), Err(RunError::Lost(why)) if why.contains("did not answer")));
    assert!(matches!(session.run(vec![x.clone()]), Err(RunError::Lost(why)) if why.contains("stuck")));
    drop(engines);

    config.options.run_limit = Duration::ZERO;
    let engines = Engines::new(config).unwrap();
    let model = engines.load(conv_net().build().into(), Device::Auto).await.unwrap();
    assert_eq!(model.placement().backend, "tract", "the canary needs answers");
    assert!(infer(&model, vec![x]).await.is_ok());
}

#[tokio::test]
async fn a_model_leaves_a_gpu_that_fails_while_it_serves() {
    let Some(engines) = any_gpu() else { return };
    let x = ramp(&[1, 3, 16, 16]);
    for want in [Device::Auto, Device::Gpu] {
        let model = engines.load(conv_net().build().into(), want).await.unwrap();
        assert_eq!(model.placement().backend, "wonnx");
        let right = infer(&model, vec![x.clone()]).await.unwrap();
        model.gpu.as_ref().unwrap().break_sessions();
        let after = infer(&model, vec![x.clone()]).await;
        if want == Device::Auto {
            assert!(largest_difference(&after.unwrap(), &right) < 1e-3);
            assert!(model.placement().reason.clone().unwrap().contains("the GPU failed"));
            assert_eq!(model.placement().backend, "tract");
        } else {
            assert_eq!(after.unwrap_err().code(), Code::Unavailable);
            assert_eq!(infer(&model, vec![x.clone()]).await.unwrap_err().code(), Code::Unavailable);
        }
    }
}
