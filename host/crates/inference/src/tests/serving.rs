//! The CPU engine as it serves: signatures, shapes, many callers, deadlines, queues.

use super::*;
use aimass_core::{Code, ElementType, Port};
use tract_onnx::pb::tensor_proto::DataType;

use crate::testing::{Builder, conv_net, floats, mlp, value};

/// The same by hand, in f64, from the weights in the file.
fn mlp_by_hand(model: &Builder, x: &[f32], inputs: usize, hidden: usize, outputs: usize) -> Vec<f64> {
    let weights = |name: &str| -> Vec<f64> {
        let tensor = model.graph.initializer.iter().find(|t| t.name == name).unwrap();
        tensor.raw_data.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    };
    let layer = |x: &[f64], w: &[f64], b: &[f64], n: usize| -> Vec<f64> {
        (0..n).map(|j| b[j] + x.iter().enumerate().map(|(i, x)| x * w[i * n + j]).sum::<f64>()).collect()
    };
    x.chunks(inputs)
        .flat_map(|row| {
            let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            let mut h = layer(&row, &weights("w1"), &weights("b1"), hidden);
            h.iter_mut().for_each(|h| *h = h.max(0.0));
            layer(&h, &weights("w2"), &weights("b2"), outputs)
        })
        .collect()
}

#[tokio::test]
async fn a_model_answers_what_its_weights_say_at_every_batch_size() {
    let engines = engines(2, 16);
    let builder = mlp(-1, 10, 6, 3);
    let model = load(&engines, builder.clone().build()).await;
    for batch in [1, 2, 7, 1, 2] {
        let x = ramp(&[batch, 10]);
        let y = infer(&model, vec![x.clone()]).await.unwrap();
        assert_eq!((y[0].name(), y[0].shape()), ("y", &[batch, 3][..]));
        let right = mlp_by_hand(&builder, &x.elements::<f32>().unwrap(), 10, 6, 3);
        for (ours, right) in y[0].elements::<f32>().unwrap().iter().zip(right) {
            assert!((f64::from(*ours) - right).abs() < 1e-5, "{ours} {right}");
        }
    }
    assert_eq!(model.placement().backend, "tract");
    assert_eq!(model.placement().reason.as_deref(), Some("the GPU is turned off on this node"));
}

#[tokio::test]
async fn plans_are_kept_up_to_their_number() {
    let mut config = EngineConfig { threads: 1, gpu: GpuPolicy::Off, ..EngineConfig::default() };
    config.options.plans = 2;
    let engines = Engines::new(config).unwrap();
    let model = load(&engines, mlp(-1, 8, 8, 8).build()).await;
    let one = model.memory();
    for batch in 1..=12 {
        infer(&model, vec![ramp(&[batch, 8])]).await.unwrap();
    }
    // The graph, and at most two plans.
    assert!(model.memory() <= one / 2 * 3, "{} of {one}", model.memory());
}

#[test]
fn a_signature_has_names_types_and_open_dimensions_and_no_weights() {
    let mut model = mlp(-1, 10, 6, 3);
    // Older files declare the weights as inputs as well.
    model.graph.input.push(value("w1", DataType::Float, &[10, 6]));
    model.graph.input.push(value("ids", DataType::Int64, &[-1, -1]));
    let signature = engines(1, 1).inspect(&model.build()).unwrap();
    let ids = Port::new("ids", ElementType::Int64, [-1, -1]);
    assert_eq!(signature.inputs, [Port::new("x", ElementType::Fp32, [-1, 10]), ids]);
    assert_eq!(signature.outputs, [Port::new("y", ElementType::Fp32, [-1, 3])]);
}

#[test]
fn an_output_without_a_declared_shape_gets_one() {
    let mut model = mlp(2, 4, 4, 4);
    if let Some(tract_onnx::pb::type_proto::Value::TensorType(t)) =
        model.graph.output[0].r#type.as_mut().unwrap().value.as_mut()
    {
        t.shape = None;
    }
    let signature = engines(1, 1).inspect(&model.build()).unwrap();
    assert_eq!(signature.outputs[0].shape, [2, 4]);
}

#[tokio::test]
async fn every_element_type_goes_in_and_comes_out() {
    use DataType as D;
    use ElementType as E;
    let engines = engines(1, 4);
    for (onnx, ours) in [
        (D::Bool, E::Bool),
        (D::Uint8, E::Uint8),
        (D::Uint16, E::Uint16),
        (D::Uint32, E::Uint32),
        (D::Uint64, E::Uint64),
        (D::Int8, E::Int8),
        (D::Int16, E::Int16),
        (D::Int32, E::Int32),
        (D::Int64, E::Int64),
        (D::Float16, E::Fp16),
        (D::Float, E::Fp32),
        (D::Double, E::Fp64),
    ] {
        let mut builder = Builder::default().node("Identity", &["x"], "y", vec![]);
        builder.graph.input.push(value("x", onnx, &[-1]));
        builder.graph.output.push(value("y", onnx, &[-1]));
        let model = load(&engines, builder.build()).await;
        for count in [0u64, 3] {
            let data: Vec<u8> = (0..count as usize * ours.size().unwrap()).map(|i| (i % 2) as u8).collect();
            let x = Tensor::new("x", ours, [count], data).unwrap();
            let y = infer(&model, vec![x.clone()]).await.unwrap();
            assert_eq!(y, [x.renamed("y")], "{ours}");
        }
    }
}

#[tokio::test]
async fn inputs_come_in_any_order() {
    let model = Builder::default()
        .input("a", &[2])
        .input("x", &[2])
        .node("Sub", &["a", "x"], "y", vec![])
        .output("y", &[2])
        .build();
    let model = load(&engines(1, 4), model).await;
    let tensor = |name: &str, v: [f32; 2]| Tensor::from_elements(name, [2], &v).unwrap();
    let (a, x) = (tensor("a", [5.0, 7.0]), tensor("x", [1.0, 2.0]));
    for inputs in [vec![a.clone(), x.clone()], vec![x, a]] {
        assert_eq!(infer(&model, inputs).await.unwrap()[0].elements::<f32>().unwrap(), [4.0, 5.0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_each_get_their_own_answer() {
    let engines = engines(2, 1024);
    let model = load(&engines, mlp(-1, 4, 8, 4).build()).await;
    let calls: Vec<_> = (0..200u64)
        .map(|i| {
            let model = Arc::clone(&model);
            tokio::spawn(async move {
                let x = Tensor::from_elements("x", [1, 4], &[i as f32, 1.0, -1.0, 0.5]).unwrap();
                let alone = infer(&model, vec![x.clone()]).await.unwrap();
                let again = infer(&model, vec![x]).await.unwrap();
                assert_eq!(alone, again);
                alone[0].elements::<f32>().unwrap()[0].to_bits()
            })
        })
        .collect();
    let mut seen = std::collections::HashSet::new();
    for call in calls {
        seen.insert(call.await.unwrap());
    }
    assert!(seen.len() > 50, "answers were mixed up: {}", seen.len());
}

/// A model that takes a hundred milliseconds or so: a square matrix, multiplied many times.
fn slow() -> Builder {
    let side = 512;
    let mut builder = Builder::default().input("x", &[side, side]).weights("w", &[side, side], 0.05);
    for i in 0..60 {
        let from = if i == 0 { "x".to_owned() } else { format!("m{i}") };
        builder = builder.node("MatMul", &[&from, "w"], &format!("m{}", i + 1), vec![]);
    }
    builder.node("Relu", &["m60"], "y", vec![]).output("y", &[side, side])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_answers_at_once_and_a_passed_deadline_never_runs() {
    let engines = engines(1, 2);
    let slow = load(&engines, slow().build()).await;
    let x = ramp(&[512, 512]);
    let started = Instant::now();
    infer(&slow, vec![x.clone()]).await.unwrap();
    let alone = started.elapsed();

    let calls: Vec<_> = (0..6)
        .map(|_| {
            let (slow, x) = (Arc::clone(&slow), x.clone());
            tokio::spawn(async move {
                let start = Instant::now();
                (infer(&slow, vec![x]).await, start.elapsed())
            })
        })
        .collect();
    let mut refused = 0;
    for call in calls {
        match call.await.unwrap() {
            (Ok(_), _) => {}
            (Err(fault), after) => {
                assert_eq!(fault.code(), Code::Overloaded);
                assert!(after < Duration::from_millis(200).max(alone / 2), "answered after {after:?}");
                refused += 1;
            }
        }
    }
    // One runs and two wait, if the thread took the first before the others came; it may take one more meanwhile.
    assert!((2..=4).contains(&refused), "{refused} were refused");

    let (busy, x2) = (Arc::clone(&slow), x.clone());
    let busy = tokio::spawn(async move { infer(&busy, vec![x2]).await });
    tokio::time::sleep(alone / 4).await;
    let start = Instant::now();
    let late = slow.infer(vec![x], Instant::now() + Duration::from_millis(5)).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable);
    assert!(start.elapsed() < Duration::from_millis(100).max(alone / 2), "{:?}", start.elapsed());
    busy.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_past_deadline_is_refused_before_it_is_queued() {
    let model = load(&engines(1, 1), mlp(1, 4, 4, 4).build()).await;
    let fault = model.infer(vec![ramp(&[1, 4])], Instant::now() - Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(fault.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_convolution_net_runs() {
    let model = load(&engines(1, 4), conv_net().build()).await;
    let y = infer(&model, vec![ramp(&[1, 3, 16, 16])]).await.unwrap();
    let y = y[0].elements::<f32>().unwrap();
    assert_eq!(y.len(), 12);
    assert!(y.iter().all(|p| (0.0..1.0).contains(p)), "{y:?}");
}

#[tokio::test]
async fn a_model_without_inputs_is_a_constant() {
    let model = Builder::default()
        .initializer(floats("w", &[2], &[1.0, 2.0]))
        .node("Relu", &["w"], "y", vec![])
        .output("y", &[2])
        .build();
    let model = load(&engines(1, 4), model).await;
    assert_eq!(infer(&model, vec![]).await.unwrap()[0].elements::<f32>().unwrap(), [1.0, 2.0]);
}

/// The real model of the first example plugin, where its file is at hand: `AIMASS_MAGIKA_MODEL` names it.
#[tokio::test]
async fn magika_loads_and_runs() {
    let Some(path) = std::env::var_os("AIMASS_MAGIKA_MODEL") else {
        println!("skipped: AIMASS_MAGIKA_MODEL does not name a model file");
        return;
    };
    let model = load(&engines(1, 4), std::fs::read(path).unwrap()).await;
    assert_eq!(model.signature.inputs.len(), 1);
    let port = &model.signature.inputs[0];
    assert_eq!((port.element_type, &port.shape[..]), (ElementType::Int32, &[-1, 2048][..]));
    for batch in [1u64, 3] {
        let tokens: Vec<i32> = (0..batch * 2048).map(|i| (i % 257) as i32).collect();
        let x = Tensor::from_elements(port.name.clone(), [batch, 2048], &tokens).unwrap();
        let start = Instant::now();
        let y = infer(&model, vec![x.clone()]).await.unwrap();
        let first = start.elapsed();
        let mut laps: Vec<Duration> = Vec::new();
        for _ in 0..9 {
            let start = Instant::now();
            infer(&model, vec![x.clone()]).await.unwrap();
            laps.push(start.elapsed());
        }
        laps.sort();
        println!("magika, batch {batch}: first {first:?}, median {:?}", laps[4]);
        assert_eq!(y[0].shape()[0], batch);
        for row in y[0].elements::<f32>().unwrap().chunks(y[0].shape()[1] as usize) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-3, "scores are probabilities");
        }
    }
}
