//! A model as wonnx is given it: one operator set, every value with a type and a shape.

use std::collections::HashMap;

use aimass_core::Signature;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::DatumType;

use super::lower::Feed;

/// A model whose every value has a known element type and shape.
pub(super) struct Prepared {
    pub(super) proto: ModelProto,
    /// As the file names it, at the shapes that it was prepared for.
    pub(super) signature: Signature,
    pub(super) values: HashMap<String, Value>,
    pub(super) weights: u64,
    /// The signature's inputs, as they are called in `proto`.
    pub(super) feeds: Vec<Feed>,
    /// The values of `proto` that hold the signature's outputs: at least as many numbers.
    pub(super) fetches: Vec<String>,
    /// The scales on which the signature's outputs are compared with the CPU's, at least.
    pub(super) scales: Vec<f64>,
}

/// What is known of one value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) datum_type: DatumType,
    pub(super) shape: Vec<usize>,
}

/// The file as it stands, but for inferred shapes: what wonnx would make of it without the lowering pass.
///
/// # Errors
/// A value whose shape is not known, or a type that wonnx has not.
#[cfg(test)]
pub(super) fn unlowered(onnx: &crate::onnx::Onnx) -> Result<Prepared, crate::backend::Refused> {
    use crate::backend::Refused;
    use crate::onnx::TRACT;
    use tract_onnx::tract_hir::infer::{Factoid, InferenceModelExt};

    let mut proto = onnx.proto.clone();
    let unknown = |e: tract_onnx::prelude::TractError| Refused::new(format!("its shapes cannot be inferred: {e:#}"));
    let parsed = TRACT.parse(&proto, None).map_err(unknown)?;
    let mut model = parsed.model;
    model.analyse(false).map_err(unknown)?;
    let mut values = HashMap::new();
    for (name, outlet) in parsed.outlets_by_name {
        let fact = model.outlet_fact(outlet).map_err(unknown)?;
        let shape = fact.shape.as_concrete_finite().ok().flatten();
        if let (Some(datum_type), Some(shape)) = (fact.datum_type.concretize(), shape) {
            values.insert(name, Value { datum_type, shape: shape.to_vec() });
        }
    }
    let mut signature = onnx.signature.clone();
    let info = |name: &String| {
        let value = values.get(name).ok_or_else(|| Refused::new(format!("the shape of {name} is not known")))?;
        super::lower::info(name, value.datum_type, &value.shape).map_err(Refused::new)
    };
    let graph = proto.graph.as_mut().ok_or_else(|| Refused::new("no graph"))?;
    for (port, output) in signature.outputs.iter_mut().zip(&mut graph.output) {
        *output = info(&output.name)?;
        port.shape = values[&output.name].shape.iter().map(|&d| d as i64).collect();
    }
    let outputs: Vec<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    let inside = graph.node.iter().flat_map(|n| &n.output).filter(|name| !outputs.contains(name));
    graph.value_info = inside.filter(|name| !name.is_empty()).map(info).collect::<Result<_, _>>()?;
    let feeds = signature.inputs.iter().map(|p| Feed { id: p.name.clone(), range: None }).collect();
    let scales = vec![0.0; outputs.len()];
    Ok(Prepared { proto, signature, values, weights: onnx.weights, feeds, fetches: outputs, scales })
}
