//! Types, shapes and constants, one node at a time: tract reads the node as a model of its own, with its constant
//! inputs in it and the shapes of the others. So whatever depends on constants alone is known before its users are
//! looked at, and open dimensions, which tract often loses in whole models, do not occur.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto};
use tract_onnx::pb::{TensorShapeProto, tensor_shape_proto::Dimension, tensor_shape_proto::dimension::Value as Dim};
use tract_onnx::pb::{TypeProto, type_proto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{Factoid, InferenceModel, InferenceModelExt};

use super::known::{Known, plain};
use crate::backend::one_line;
use crate::isolated::catch;
use crate::onnx::TRACT;

/// Larger constants are weights, which tell no shape: they are not copied into the node's model.
const TELLING: usize = 4_096;

/// Type and shape of a value.
pub(super) type Fact = (DatumType, Vec<usize>);

/// The outputs' facts, by position; nothing for those that are left out.
///
/// # Errors
/// tract's reason, or that a shape depends on data.
pub(super) fn facts(node: &NodeProto, opset: i64, inputs: &[(&str, &Known)]) -> Result<Vec<Option<Fact>>, String> {
    let all = inputs.iter().all(|(_, known)| known.constant.is_some());
    let model = model(node, opset, inputs, |tensor| all || tensor.len() <= TELLING)?;
    run(|| facts_of(&model, node)).or_else(|first| {
        if all {
            return Err(first);
        }
        let model = self::model(node, opset, inputs, |_| true)?;
        run(|| facts_of(&model, node))
    })
}

fn facts_of(model: &ModelProto, node: &NodeProto) -> TractResult<Vec<Option<Fact>>> {
    let parsed = TRACT.parse(model, None)?;
    let mut inferred = parsed.model;
    inferred.analyse(false)?;
    let complete = |model: &InferenceModel| {
        node.output
            .iter()
            .map(|name| {
                let Some(outlet) = parsed.outlets_by_name.get(name).filter(|_| !name.is_empty()) else {
                    return Ok(None);
                };
                let fact = model.outlet_fact(*outlet)?;
                let shape = fact.shape.as_concrete_finite()?;
                Ok(shape.zip(fact.datum_type.concretize()).map(|(s, t)| (t, s.to_vec())))
            })
            .collect::<TractResult<Vec<Option<Fact>>>>()
    };
    let facts = complete(&inferred)?;
    let missing = facts.iter().zip(&node.output).any(|(fact, name)| fact.is_none() && !name.is_empty());
    if !missing {
        return Ok(facts);
    }
    let typed = inferred.into_typed()?;
    let mut known = typed.outputs.iter().map(|outlet| typed.outlet_fact(*outlet));
    node.output
        .iter()
        .map(|name| {
            if name.is_empty() {
                return Ok(None);
            }
            let fact = known.next().ok_or_else(|| TractError::msg("an output is missing"))??;
            let shape = fact.shape.as_concrete().ok_or_else(|| TractError::msg("its shape depends on the data"))?;
            Ok(Some((fact.datum_type, shape.to_vec())))
        })
        .collect()
}

/// The outputs' values, of a node whose inputs are all constant.
///
/// # Errors
/// tract's reason.
pub(super) fn evaluate(node: &NodeProto, opset: i64, inputs: &[(&str, &Known)]) -> Result<Vec<Tensor>, String> {
    let model = model(node, opset, inputs, |_| true)?;
    run(|| {
        let plan = TRACT.model_for_proto_model(&model)?.into_typed()?.into_runnable()?;
        plan.run(tvec![])?.into_iter().map(|value| plain(&value)).collect()
    })
}

fn run<T>(work: impl Fn() -> TractResult<T>) -> Result<T, String> {
    catch(|| work().map_err(|e| one_line(&format!("{e:#}")))).unwrap_or_else(|panic| Err(one_line(&panic)))
}

fn model(
    node: &NodeProto,
    opset: i64,
    inputs: &[(&str, &Known)],
    inside: impl Fn(&Tensor) -> bool,
) -> Result<ModelProto, String> {
    let mut graph = GraphProto { name: "node".into(), node: vec![node.clone()], ..Default::default() };
    for (position, (name, known)) in inputs.iter().enumerate() {
        if inputs[..position].iter().any(|(other, _)| other == name) {
            continue;
        }
        match &known.constant {
            Some(tensor) if inside(tensor) => graph.initializer.push(proto(name, tensor)?),
            _ => graph.input.push(info(name, known.datum_type, &known.shape)?),
        }
    }
    let named = node.output.iter().filter(|name| !name.is_empty());
    graph.output = named.map(|name| ValueInfoProto { name: name.clone(), ..Default::default() }).collect();
    let opset = OperatorSetIdProto { domain: String::new(), version: opset };
    Ok(ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..Default::default() })
}

fn proto(name: &str, tensor: &Tensor) -> Result<TensorProto, String> {
    Ok(TensorProto {
        name: name.into(),
        dims: tensor.shape().iter().map(|&d| d as i64).collect(),
        data_type: onnx_type(tensor.datum_type())? as i32,
        raw_data: if tensor.len() == 0 { Vec::new() } else { tensor.as_bytes().to_vec() },
        ..Default::default()
    })
}

/// A declaration.
pub(in crate::gpu) fn info(name: &str, datum_type: DatumType, shape: &[usize]) -> Result<ValueInfoProto, String> {
    let dim = |&d: &usize| Dimension { denotation: String::new(), value: Some(Dim::DimValue(d as i64)) };
    let shape = TensorShapeProto { dim: shape.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: onnx_type(datum_type)? as i32, shape: Some(shape) };
    Ok(ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { denotation: String::new(), value: Some(type_proto::Value::TensorType(tensor)) }),
        doc_string: String::new(),
    })
}

fn onnx_type(datum_type: DatumType) -> Result<DataType, String> {
    Ok(match datum_type {
        DatumType::Bool => DataType::Bool,
        DatumType::U8 => DataType::Uint8,
        DatumType::U16 => DataType::Uint16,
        DatumType::U32 => DataType::Uint32,
        DatumType::U64 => DataType::Uint64,
        DatumType::I8 => DataType::Int8,
        DatumType::I16 => DataType::Int16,
        DatumType::I32 => DataType::Int32,
        DatumType::I64 | DatumType::TDim => DataType::Int64,
        DatumType::F16 => DataType::Float16,
        DatumType::F32 => DataType::Float,
        DatumType::F64 => DataType::Double,
        other => return Err(format!("the GPU engine has no {other:?}")),
    })
}
