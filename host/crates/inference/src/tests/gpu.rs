//! The GPU path on whatever Vulkan device there is; without one these tests say so and pass.

use super::*;
use aimass_core::Code;
use tract_onnx::pb::{AttributeProto, TensorProto};

use crate::backend::{Backend, LoadOptions, RunError};
use crate::testing::{Builder, conv_net, floats, int, ints, mlp, text};
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

/// A general convolution with a LeakyReLU behind it. Every node is on the whitelist; wonnx merges the two and forgets
/// the activation.
fn forgotten_activation() -> Vec<u8> {
    let alpha = AttributeProto { name: "alpha".into(), r#type: 1, f: 0.25, ..Default::default() };
    Builder::default()
        .input("x", &[1, 3, 8, 8])
        .weights("w", &[4, 3, 5, 5], 0.3)
        .weights("b", &[4], 0.3)
        .node("Conv", &["x", "w", "b"], "c", vec![ints("kernel_shape", &[5, 5])])
        .node("LeakyRelu", &["c"], "y", vec![alpha])
        .output("y", &[1, 4, 4, 4])
        .build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_the_gpu_gets_wrong_is_caught_by_the_canary_and_served_by_the_cpu() {
    let Some(engines) = any_gpu() else { return };
    let model = engines.load(forgotten_activation().into(), Device::Auto).await.unwrap();
    let placement = model.placement();
    assert_eq!(placement.backend, "tract");
    let reason = placement.reason.clone().unwrap();
    assert!(reason.contains("the canary") && placement.canary.unwrap() > 0.1, "{placement:?}");
    println!("{reason}");
    // What is served is right: a quarter of the negative values is kept.
    let y = infer(&model, vec![ramp(&[1, 3, 8, 8])]).await.unwrap()[0].elements::<f32>().unwrap();
    let plain =
        Wonnx.load(&forgotten_activation(), &LoadOptions::default()).unwrap().run(vec![ramp(&[1, 3, 8, 8])]).unwrap();
    let plain = plain[0].elements::<f32>().unwrap();
    assert!(plain.iter().any(|&v| v < -0.1), "the case has negative values");
    for (y, plain) in y.iter().zip(plain) {
        assert!((y - if plain < 0.0 { 0.25 * plain } else { plain }).abs() < 1e-4, "{y} {plain}");
    }

    let strict = engines.load(forgotten_activation().into(), Device::Gpu).await.err().unwrap();
    assert_eq!(strict.code(), Code::UnsupportedDevice);
    assert!(strict.detail().contains("the canary"), "{}", strict.detail());
}

/// Models that wonnx refuses, panics on or gets wrong, each with a word of the reason that must be given.
fn not_on_the_list() -> Vec<(&'static str, Builder)> {
    let x = |shape: &[i64]| Builder::default().input("x", shape);
    let out = |builder: Builder, shape: &[i64]| builder.output("y", shape);
    let shape = |name: &str, dims: &[i64]| TensorProto {
        name: name.into(),
        dims: vec![dims.len() as i64],
        data_type: tract_onnx::pb::tensor_proto::DataType::Int64 as i32,
        raw_data: dims.iter().flat_map(|d| d.to_le_bytes()).collect(),
        ..Default::default()
    };
    let conv = |inputs: &[&str], attributes: Vec<AttributeProto>| {
        let mut all = vec![ints("kernel_shape", &[3, 3])];
        all.extend(attributes);
        x(&[1, 3, 8, 8]).weights("w", &[4, 3, 3, 3], 0.3).weights("b", &[4], 0.3).node("Conv", inputs, "y", all)
    };
    let opset = |version: i64, mut builder: Builder| {
        builder.opset = version;
        builder
    };
    vec![
        ("open dimensions", mlp(-1, 8, 8, 8)),
        ("without a bias", out(conv(&["x", "w"], vec![]), &[1, 4, 6, 6])),
        ("dilated", out(conv(&["x", "w", "b"], vec![ints("dilations", &[2, 2])]), &[1, 4, 4, 4])),
        ("sets auto_pad", out(conv(&["x", "w", "b"], vec![text("auto_pad", "NOTSET")]), &[1, 4, 6, 6])),
        ("uses auto_pad", out(conv(&["x", "w", "b"], vec![text("auto_pad", "SAME_UPPER")]), &[1, 4, 8, 8])),
        ("no multiple of 4", mlp(4, 10, 8, 8)),
        ("no multiple of 4", mlp(2, 8, 8, 8)),
        ("outermost axis", out(x(&[2, 4]).node("Concat", &["x", "x"], "y", vec![int("axis", 1)]), &[2, 8])),
        ("not on the list", out(x(&[4]).weights("e", &[1], 1.0).node("Pow", &["x", "e"], "y", vec![]), &[4])),
        ("not on the list", out(x(&[4, 4]).node("Erf", &["x"], "y", vec![]), &[4, 4])),
        ("operator sets 7 to 15", opset(17, out(x(&[4, 4]).node("Softmax", &["x"], "y", vec![]), &[4, 4]))),
        ("last axis", out(x(&[4, 4]).node("Softmax", &["x"], "y", vec![int("axis", 0)]), &[4, 4])),
        (
            "inputs",
            out(
                x(&[1, 4]).initializer(shape("a", &[0])).node("Squeeze", &["x", "a"], "z", vec![]).node(
                    "Relu",
                    &["z"],
                    "y",
                    vec![],
                ),
                &[4],
            ),
        ),
        (
            "cannot read back",
            out(x(&[2, 4]).initializer(shape("s", &[8])).node("Reshape", &["x", "s"], "y", vec![]), &[8]),
        ),
        (
            "constant expressions",
            out(
                x(&[4]).weights("w", &[4], 1.0).node("Relu", &["w"], "z", vec![]).node("Add", &["x", "z"], "y", vec![]),
                &[4],
            ),
        ),
        ("at most 128", out(x(&[64 << 20]).node("Relu", &["x"], "y", vec![]), &[64 << 20])),
        ("multiple of 4", out(x(&[1, 17]).weights("w", &[1, 17], 1.0).node("Add", &["x", "w"], "y", vec![]), &[1, 17])),
        (
            "more than one digit",
            out(
                x(&[4]).initializer(floats("l", &[], &[0.0])).initializer(floats("h", &[], &[0.25])).node(
                    "Clip",
                    &["x", "l", "h"],
                    "y",
                    vec![],
                ),
                &[4],
            ),
        ),
        ("stays", out(x(&[2, 1, 4]).node("ReduceMean", &["x"], "y", vec![ints("axes", &[2])]), &[2, 1, 1])),
        (
            "its bias",
            out(
                x(&[1, 4]).weights("w", &[4, 4], 1.0).weights("b", &[1], 1.0).node(
                    "Gemm",
                    &["x", "w", "b"],
                    "y",
                    vec![],
                ),
                &[1, 4],
            ),
        ),
        (
            "transposes",
            out(x(&[4, 4]).weights("w", &[4, 4], 1.0).node("Gemm", &["x", "w"], "y", vec![int("transB", 1)]), &[4, 4]),
        ),
        (
            "ceil_mode",
            out(
                x(&[1, 4, 7, 7]).node(
                    "MaxPool",
                    &["x"],
                    "y",
                    vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)],
                ),
                &[1, 4, 4, 4],
            ),
        ),
    ]
}

#[test]
fn what_the_gpu_engine_is_known_to_get_wrong_is_refused_with_the_reason() {
    // No device is needed: the whitelist comes before the session.
    for (word, model) in not_on_the_list() {
        let model = model.build();
        Tract.load(&model, &LoadOptions::default()).unwrap_or_else(|e| panic!("{word}: the CPU engine: {e}"));
        let refused = Wonnx.load(&model, &LoadOptions::default()).err().unwrap_or_else(|| panic!("{word}: accepted"));
        assert!(refused.0.contains(word), "wanted {word:?}, got {:?}", refused.0);
    }
}

#[test]
fn what_is_not_on_the_list_would_fail_or_be_caught_by_the_canary() {
    if any_gpu().is_none() {
        return;
    }
    let mut wrong = 0;
    for (word, model) in not_on_the_list() {
        let model = model.build();
        let cpu = Tract.load(&model, &LoadOptions::default()).unwrap();
        let outcome = crate::gpu::unlisted(&model, cpu);
        println!("{word}: {outcome:?}");
        wrong += usize::from(outcome.is_ok_and(|error| error > 1e-3));
    }
    // Silently wrong, each for a reason of its own; the others fail loudly, or are right on this device by chance.
    assert!(wrong >= 6, "the canary saw {wrong} wrong models");
}

#[tokio::test]
async fn types_other_than_f32_stay_on_the_cpu() {
    use tract_onnx::pb::tensor_proto::DataType;
    for data_type in [DataType::Float16, DataType::Double, DataType::Bool, DataType::Int32, DataType::Int64] {
        let mut builder = Builder::default().node("Identity", &["x"], "y", vec![]);
        builder.graph.input.push(crate::testing::value("x", data_type, &[4]));
        builder.graph.output.push(crate::testing::value("y", data_type, &[4]));
        let refused = Wonnx.load(&builder.build(), &LoadOptions::default()).err().unwrap();
        assert!(refused.0.contains("GPU engine"), "{}", refused.0);
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
