//! Rows 6 and 10 of the fault list, as far as they are this crate's, and engines that fail.

use super::*;
use aimass_core::{Code, ElementType, Fault, Signature};
use prost::Message;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
    attribute_proto::AttributeType,
};

use crate::Tract;
use crate::backend::{self, Backend, LoadOptions, RunError};
use crate::pool::{Lane, Pool};
use crate::testing::{Builder, conv_net, floats, mlp, value};

fn refusal(model: &[u8]) -> Fault {
    engines(1, 1).inspect(model).expect_err("it should be refused")
}

fn refused_for(model: Builder, reason: &str) {
    let fault = refusal(&model.build());
    assert_eq!(fault.code(), Code::InvalidModel);
    assert!(fault.detail().contains(reason), "{}", fault.detail());
}

#[test]
fn f06_a_file_cut_or_spoilt_anywhere_is_refused_or_runs_but_never_panics() {
    let engines = engines(1, 1);
    let whole = conv_net().build();
    engines.inspect(&whole).unwrap();
    let (mut refused, steps) = (0, 50);
    for step in 0..steps {
        let at = whole.len() * step / steps;
        if let Err(fault) = engines.inspect(&whole[..at]) {
            assert_eq!(fault.code(), Code::InvalidModel, "cut at {at}: {fault}");
            refused += 1;
        }
        let mut spoilt = whole.clone();
        spoilt[at] ^= 0xff;
        if let Err(fault) = engines.inspect(&spoilt) {
            assert_eq!(fault.code(), Code::InvalidModel, "spoilt at {at}: {fault}");
        }
    }
    assert_eq!(refused, steps, "no part of a file is a model");
    for garbage in [&b""[..], b"\0asm", &[0xff; 64], &[0x0a; 64]] {
        assert_eq!(refusal(garbage).code(), Code::InvalidModel);
    }
}

#[test]
fn f06_nested_protobuf_is_refused() {
    // Two thousand graphs within attributes within nodes, written inside out.
    let mut bytes: Vec<u8> = Vec::new();
    let field = |tag: u8, inner: Vec<u8>| {
        let mut out = vec![tag << 3 | 2];
        prost::encode_length_delimiter(inner.len(), &mut out).unwrap();
        out.extend(inner);
        out
    };
    for _ in 0..2_000 {
        // GraphProto.node = 1, NodeProto.attribute = 5, AttributeProto.g = 6.
        bytes = field(1, field(5, field(6, bytes)));
    }
    let fault = refusal(&field(7, bytes));
    assert!(fault.detail().contains("recursion limit"), "{}", fault.detail());
}

#[test]
fn f06_graphs_within_graphs_are_bounded() {
    let mut graph = GraphProto::default();
    for _ in 0..12 {
        let attribute = AttributeProto {
            name: "then_branch".into(),
            r#type: AttributeType::Graph as i32,
            g: Some(graph),
            ..Default::default()
        };
        let node = NodeProto { op_type: "If".into(), attribute: vec![attribute], ..Default::default() };
        graph = GraphProto { node: vec![node], ..Default::default() };
    }
    let model = ModelProto { graph: Some(graph), ..Default::default() };
    let fault = refusal(&model.encode_to_vec());
    assert!(fault.detail().contains("nested"), "{}", fault.detail());
}

#[test]
fn f06_absurd_shapes_are_refused_before_anything_is_allocated() {
    let huge = i64::MAX / 2;
    refused_for(
        Builder::default().input("x", &[huge, huge]).node("Relu", &["x"], "y", vec![]).output("y", &[1]),
        "larger",
    );
    let claims = TensorProto { dims: vec![1 << 40], ..floats("w", &[1], &[1.0]) };
    refused_for(mlp(1, 4, 4, 4).initializer(claims), "larger");
    let negative = TensorProto { dims: vec![-4], ..floats("w", &[1], &[1.0]) };
    refused_for(mlp(1, 4, 4, 4).initializer(negative), "dimension -4");
    let short = TensorProto { dims: vec![100], ..floats("w", &[1], &[1.0]) };
    refused_for(mlp(1, 4, 4, 4).initializer(short), "holds 4");
    // The bomb is in the data: a shape that an operator is told to fill.
    let shape = |dims: [i64; 2]| TensorProto {
        name: "s".into(),
        dims: vec![2],
        data_type: DataType::Int64 as i32,
        int64_data: dims.to_vec(),
        ..Default::default()
    };
    for dims in [[1 << 20, 1 << 20], [1 << 17, 1 << 17], [i64::MAX, i64::MAX], [-1, 5]] {
        let bomb = Builder::default()
            .input("x", &[1])
            .initializer(shape(dims))
            .node("ConstantOfShape", &["s"], "z", vec![])
            .node("Add", &["x", "z"], "y", vec![])
            .output("y", &[-1, -1]);
        assert_eq!(refusal(&bomb.clone().build()).code(), Code::InvalidModel);
        if dims[0] > 1 {
            refused_for(bomb, r#"the ConstantOfShape "ConstantOfShape_z" would make a tensor larger"#);
        }
    }
    for (operator, inputs) in [("Expand", &["x", "s"][..]), ("Tile", &["xx", "s"])] {
        let bomb = Builder::default()
            .input("x", &[1])
            .input("xx", &[1, 1])
            .initializer(shape([1 << 17, 1 << 17]))
            .node(operator, inputs, "y", vec![])
            .output("y", &[-1, -1]);
        refused_for(bomb, "would make a tensor larger");
    }
}

#[test]
fn f06_unknown_operators_are_named() {
    let model = mlp(1, 4, 4, 4).node("TurboEncabulator", &["x"], "z", vec![]);
    refused_for(model, r#"the operator "TurboEncabulator" is not supported"#);
    // tract knows it, and computes it wrongly.
    let model = mlp(1, 4, 4, 4).node("GlobalLpPool", &["x"], "z", vec![]);
    refused_for(model, r#"the operator "GlobalLpPool" is not supported"#);
    let mut model = mlp(1, 4, 4, 4);
    model.graph.node[0].domain = "evil.example".into();
    refused_for(model, r#"the operator "Gemm" (domain "evil.example")"#);
}

#[test]
fn f06_data_in_other_files_is_refused_and_no_file_is_read() {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    for location in ["/etc/hostname", "../../secret", "weights.bin"] {
        let outside = TensorProto {
            name: "w".into(),
            dims: vec![4],
            data_type: DataType::Float as i32,
            data_location: Some(DataLocation::External as i32),
            external_data: vec![entry("location", location)],
            ..Default::default()
        };
        refused_for(mlp(1, 4, 4, 4).initializer(outside.clone()), "in another file");
        // The same hidden in an attribute.
        let attribute = AttributeProto {
            name: "value".into(),
            r#type: AttributeType::Tensor as i32,
            t: Some(outside),
            ..Default::default()
        };
        let mut model = mlp(1, 4, 4, 4);
        model.graph.node.push(NodeProto {
            op_type: "Constant".into(),
            output: vec!["c".into()],
            attribute: vec![attribute],
            ..Default::default()
        });
        refused_for(model, "in another file");
    }
}

#[test]
fn f06_text_that_is_none_and_missing_pieces_are_refused_with_the_reason() {
    let mut strings = Builder::default().node("Identity", &["x"], "y", vec![]);
    strings.graph.input.push(value("x", DataType::String, &[1]));
    strings.graph.output.push(value("y", DataType::String, &[1]));
    let mut strings = Tract.load(&strings.build(), &LoadOptions::default()).unwrap();
    let text = Tensor::from_bytes_elements("x", [1], &["grüezi"]).unwrap();
    assert_eq!(strings.run(vec![text.clone()]).unwrap(), [text.renamed("y")]);
    let binary = Tensor::from_bytes_elements("x", [1], &[[0xffu8]]).unwrap();
    let error = strings.run(vec![binary]).unwrap_err().to_string();
    assert!(error.contains("not UTF-8"), "{error}");

    let mut nowhere = mlp(1, 4, 4, 4);
    nowhere.graph.output[0].name = "elsewhere".into();
    refused_for(nowhere, r#"nothing in the graph makes the output "elsewhere""#);

    let mut twice = mlp(1, 4, 4, 4);
    twice.graph.input.push(value("x", DataType::Float, &[1, 4]));
    refused_for(twice, "declared twice");

    refused_for(Builder::default().input("x", &[1]), "no outputs");
    assert!(refusal(&ModelProto::default().encode_to_vec()).detail().contains("no graph"));
    // Shapes that do not fit one another.
    refused_for(
        Builder::default()
            .input("x", &[2, 3])
            .weights("w", &[4, 4], 1.0)
            .node("MatMul", &["x", "w"], "y", vec![])
            .output("y", &[2, 4]),
        "cannot run it",
    );
}

#[test]
fn f06_a_chain_of_many_thousand_nodes_overflows_no_stack() {
    let mut builder = Builder::default().input("x", &[4]);
    for i in 0..20_000 {
        let from = if i == 0 { "x".to_owned() } else { format!("v{i}") };
        builder = builder.node("Relu", &[&from], &format!("v{}", i + 1), vec![]);
    }
    // Served or refused: both are answers.
    let _ = engines(1, 1).inspect(&builder.output("v20000", &[4]).build());
}

#[tokio::test]
async fn f10_inputs_that_do_not_fit_the_signature_are_refused() {
    let engines = engines(1, 4);
    let model = load(&engines, mlp(-1, 4, 4, 4).build()).await;
    let tensor = |name: &str, shape: &[u64]| {
        Tensor::from_elements(name, shape, &vec![0f32; shape.iter().product::<u64>() as usize]).unwrap()
    };
    let ints = Tensor::from_elements("x", [1, 4], &[0i32; 4]).unwrap();
    for (inputs, why) in [
        (vec![], "missing"),
        (vec![tensor("z", &[1, 4])], "no such input"),
        (vec![tensor("x", &[1, 5])], "takes"),
        (vec![tensor("x", &[4])], "takes"),
        (vec![ints], "INT32"),
        (vec![tensor("x", &[1, 4]), tensor("x", &[1, 4])], "twice"),
    ] {
        let fault = infer(&model, inputs).await.unwrap_err();
        assert_eq!(fault.code(), Code::InvalidTensor);
        assert!(fault.detail().contains(why), "{}", fault.detail());
    }
    infer(&model, vec![tensor("x", &[2, 4])]).await.unwrap();
}

#[tokio::test]
async fn f10_shapes_that_are_open_but_do_not_go_together_are_refused() {
    let model = Builder::default()
        .input("a", &[-1])
        .input("x", &[-1])
        .node("Add", &["a", "x"], "y", vec![])
        .output("y", &[-1])
        .build();
    let model = load(&engines(1, 4), model).await;
    let tensor = |name: &str, count: usize| Tensor::from_elements(name, [count as u64], &vec![1f32; count]).unwrap();
    let fault = infer(&model, vec![tensor("a", 3), tensor("x", 4)]).await.unwrap_err();
    assert_eq!(fault.code(), Code::InvalidTensor);
    assert!(fault.detail().contains("does not run on these inputs"), "{}", fault.detail());
    assert!(infer(&model, vec![tensor("a", 3), tensor("x", 3)]).await.is_ok());
}

#[tokio::test]
async fn f10_an_input_that_would_make_a_huge_tensor_inside_is_refused() {
    let mut config = EngineConfig { threads: 1, gpu: GpuPolicy::Off, ..EngineConfig::default() };
    config.options.max_tensor = 1 << 20;
    let engines = Engines::new(config).unwrap();
    // The outer sum of two vectors: n + n numbers in, n² inside.
    let model = Builder::default()
        .input("a", &[-1, 1])
        .input("x", &[1, -1])
        .node("Add", &["a", "x"], "y", vec![])
        .output("y", &[-1, -1])
        .build();
    let model = load(&engines, model).await;
    let pair = |n: usize| {
        let numbers = vec![1f32; n];
        let tensor = |name: &str, shape: [u64; 2]| Tensor::from_elements(name, shape, &numbers).unwrap();
        vec![tensor("a", [n as u64, 1]), tensor("x", [1, n as u64])]
    };
    assert!(infer(&model, pair(100)).await.is_ok());
    let fault = infer(&model, pair(100_000)).await.unwrap_err();
    assert_eq!(fault.code(), Code::InvalidTensor);
    assert!(fault.detail().contains("larger than 1 MiB"), "{}", fault.detail());
}

/// An engine that does what it is told, for what real ones do rarely.
#[derive(Clone)]
struct Scripted(Signature);

impl backend::Loaded for Scripted {
    fn signature(&self) -> &Signature {
        &self.0
    }
    fn memory(&self) -> u64 {
        0
    }
    fn run(&mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        match inputs[0].name() {
            "panic" => panic!("as it was told"),
            "lost" => Err(RunError::Lost("as it was told".into())),
            _ => Ok(inputs),
        }
    }
    fn fork(&self) -> Option<Box<dyn backend::Loaded>> {
        Some(Box::new(self.clone()))
    }
}

#[tokio::test]
async fn a_panicking_engine_costs_its_own_call_and_no_thread() {
    let lane = Lane::new(Pool::start("t", 1, 4).unwrap(), Box::new(Scripted(Signature::default())));
    let call = async |what: &str| {
        let input = Tensor::new(what, ElementType::Uint8, [1], vec![1]).unwrap();
        lane.run(vec![input], Instant::now() + Duration::from_secs(10)).await.unwrap()
    };
    for _ in 0..20 {
        assert!(matches!(call("panic").await, Err(RunError::Failed(_))));
        assert!(matches!(call("lost").await, Err(RunError::Lost(_))));
        assert!(call("fine").await.is_ok());
    }
    let told: Fault = RunError::Failed("in a file of ours".into()).into();
    assert_eq!(told.code(), Code::Unavailable);
    assert!(!told.detail().contains("file of ours"), "causes stay in the log");
}
