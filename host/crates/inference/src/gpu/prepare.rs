//! What wonnx wants to be told that files do not always tell: the type and shape of everything inside.
//!
//! This is the place for the rewriting pass: it goes from one ONNX graph to another before the whitelist looks.

use std::collections::HashMap;

use aimass_core::Signature;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    ModelProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto::Dimension,
    tensor_shape_proto::dimension::Value as Dim, type_proto,
};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{Factoid, InferenceFact, InferenceModelExt};

use crate::backend::{Refused, one_line};
use crate::onnx::check::shown;
use crate::onnx::{Onnx, TRACT};

/// A model whose every value has a known element type and shape.
pub(super) struct Prepared {
    pub(super) proto: ModelProto,
    pub(super) signature: Signature,
    pub(super) values: HashMap<String, Value>,
    pub(super) weights: u64,
}

/// What is known of one value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) datum_type: DatumType,
    pub(super) shape: Vec<usize>,
}

/// Infers the shapes inside with tract and writes them into the file's `value_info`.
///
/// # Errors
/// Open dimensions of inputs, or a value whose shape depends on data.
pub(super) fn prepare(onnx: Onnx) -> Result<Prepared, Refused> {
    let Onnx { mut proto, mut signature, weights, .. } = onnx;
    if let Some(port) = signature.inputs.iter().find(|p| p.shape.iter().any(|&d| d < 0)) {
        return Err(Refused::new(format!("the GPU engine takes no open dimensions, and `{}` has some", port.name)));
    }
    let values = infer(&proto)?;
    let Some(graph) = proto.graph.as_mut() else { return Err(Refused::new("the ONNX file holds no graph")) };
    for (port, output) in signature.outputs.iter_mut().zip(&mut graph.output) {
        let Some(value) = values.get(&output.name) else {
            return Err(Refused::new(format!("the shape of the output {} is not known", shown(&output.name))));
        };
        port.shape = value.shape.iter().map(|&d| d as i64).collect();
        *output = info(&output.name, value)?;
    }
    let outputs: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    let inside = graph.node.iter().flat_map(|n| &n.output).filter(|name| !outputs.contains(&name.as_str()));
    graph.value_info = inside
        .filter(|name| !name.is_empty())
        .map(|name| match values.get(name) {
            Some(value) => info(name, value),
            None => Err(Refused::new(format!("the shape of {} depends on the data", shown(name)))),
        })
        .collect::<Result<_, _>>()?;
    Ok(Prepared { proto, signature, values, weights })
}

fn infer(proto: &ModelProto) -> Result<HashMap<String, Value>, Refused> {
    let unknown =
        |e: TractError| Refused::new(format!("its shapes cannot be inferred: {}", one_line(&format!("{e:#}"))));
    let parsed = TRACT.parse(proto, None).map_err(unknown)?;
    let mut model = parsed.model;
    model.analyse(false).map_err(unknown)?;
    let mut values = HashMap::with_capacity(parsed.outlets_by_name.len());
    for (name, outlet) in parsed.outlets_by_name {
        let fact: &InferenceFact = model.outlet_fact(outlet).map_err(unknown)?;
        let shape = fact.shape.as_concrete_finite().ok().flatten();
        if let (Some(datum_type), Some(shape)) = (fact.datum_type.concretize(), shape) {
            values.insert(name, Value { datum_type, shape: shape.to_vec() });
        }
    }
    Ok(values)
}

fn info(name: &str, value: &Value) -> Result<ValueInfoProto, Refused> {
    let elem_type = match value.datum_type {
        DatumType::F32 => DataType::Float,
        DatumType::I32 => DataType::Int32,
        DatumType::I64 | DatumType::TDim => DataType::Int64,
        DatumType::U8 => DataType::Uint8,
        other => return Err(Refused::new(format!("the GPU engine has no {other:?}, which {} is", shown(name)))),
    };
    let dim = |&d: &usize| Dimension { denotation: String::new(), value: Some(Dim::DimValue(d as i64)) };
    let shape = TensorShapeProto { dim: value.shape.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: elem_type as i32, shape: Some(shape) };
    Ok(ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { denotation: String::new(), value: Some(type_proto::Value::TensorType(tensor)) }),
        doc_string: String::new(),
    })
}
