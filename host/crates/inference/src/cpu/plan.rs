//! A model at concrete shapes, optimised. tract plans symbolic dimensions poorly, so every combination gets its own.

use std::sync::Arc;

use aimass_core::{Signature, Tensor};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{InferenceFact, InferenceModel, InferenceModelExt, InferenceNode};

use super::{convert, reason};
use crate::backend::{Refused, RunError};
use crate::isolated::catch;

pub(super) struct Plan {
    plan: Arc<TypedRunnableModel>,
    /// Of the graphs that the plan was made from: tract's symbols die with their scope, and some remain in the plan.
    _symbols: [SymbolScope; 2],
}

/// What to try for dimensions that the file leaves open, to see whether a model works at all: the first dimension
/// (nearly always the batch) as 1, the others as each of these. 1 fits most; the rest are sizes of images, of windows
/// of sound and of text.
const SIZES: [u64; 6] = [1, 224, 640, 64, 128, 16];

/// Plans the model at some shapes that fit its signature. Returns them (one an input) with the plan.
///
/// # Errors
/// Why it does not work at the first shapes that were tried.
pub(super) fn first(
    graph: &InferenceModel,
    signature: &Signature,
    max_tensor: u64,
) -> Result<(Vec<Vec<u64>>, Plan), Refused> {
    let open = signature.inputs.iter().any(|p| p.shape.iter().any(|&d| d < 0));
    let mut first_reason = None;
    for &size in if open { &SIZES[..] } else { &SIZES[..1] } {
        let pick = |(axis, &dim): (usize, &i64)| u64::try_from(dim).unwrap_or(if axis == 0 { 1 } else { size });
        let shapes: Vec<Vec<u64>> =
            signature.inputs.iter().map(|p| p.shape.iter().enumerate().map(pick).collect()).collect();
        let built = catch(|| build(graph, signature, &shapes, max_tensor))
            .unwrap_or_else(|panic| Err(format!("planning panicked: {panic}")));
        match built {
            Ok(plan) => return Ok((shapes, plan)),
            Err(reason) => first_reason.get_or_insert(reason),
        };
    }
    let reason = first_reason.unwrap_or_default();
    Err(Refused::new(format!("the CPU engine cannot run it: {reason}")))
}

/// Where plans are found: the ranks are fixed by the signature, so the dimensions in order are enough.
pub(super) fn key(shapes: &[Vec<u64>]) -> Vec<u64> {
    shapes.concat()
}

/// Plans the model at these input shapes.
///
/// # Errors
/// tract's reason, or that a tensor inside would be larger than `max_tensor`.
pub(super) fn build(
    graph: &InferenceModel,
    signature: &Signature,
    shapes: &[Vec<u64>],
    max_tensor: u64,
) -> Result<Plan, String> {
    let mut graph = graph.clone();
    for (position, (port, shape)) in signature.inputs.iter().zip(shapes).enumerate() {
        let datum_type = convert::datum_type(port.element_type).ok_or("an input's element type")?;
        let dims: TVec<usize> = shape.iter().map(|&d| d as usize).collect();
        graph.set_input_fact(position, InferenceFact::dt_shape(datum_type, dims)).map_err(|e| reason(&e))?;
    }
    answers_of_nothing(&mut graph)?;
    let symbols = graph.symbols.clone();
    let typed = graph.into_typed().map_err(|e| reason(&e))?;
    for node in typed.nodes() {
        for output in &node.outputs {
            let Some(dims) = output.fact.shape.as_concrete() else { continue };
            let count = dims.iter().fold(1u64, |count, &d| count.saturating_mul(d as u64));
            if count.saturating_mul(output.fact.datum_type.size_of() as u64) > max_tensor {
                return Err(format!("`{}` would make a tensor larger than {} MiB", node.name, max_tensor >> 20));
            }
        }
    }
    let symbols = [symbols, typed.symbols.clone()];
    // Where the last pass (kernels for this processor) has no answer, the graph before it still runs.
    let plan = (typed.clone().into_optimized().and_then(IntoRunnable::into_runnable))
        .or_else(|error| typed.into_decluttered().and_then(IntoRunnable::into_runnable).map_err(|_| error))
        .map_err(|e| reason(&e))?;
    Ok(Plan { plan, _symbols: symbols })
}

/// The largest of no numbers is −∞, and tract says the least finite number. It does so while it types the graph, so the
/// graph before that is asked.
fn answers_of_nothing(graph: &mut InferenceModel) -> Result<(), String> {
    let is_reduce = |node: &InferenceNode| node.op.name().starts_with("Reduce");
    if !graph.nodes().iter().any(is_reduce) {
        return Ok(());
    }
    graph.analyse(false).map_err(|e| reason(&e))?;
    for node in graph.nodes().iter().filter(|node| is_reduce(node)) {
        let input = node.inputs.first().and_then(|&outlet| graph.outlet_fact(outlet).ok());
        let shape = input.and_then(|fact| fact.shape.as_concrete_finite().ok().flatten());
        let operator = format!("{:?}", node.op);
        let extreme = operator.contains("reducer: Max") || operator.contains("reducer: Min");
        if extreme && shape.is_some_and(|shape| shape.contains(&0)) {
            return Err(format!("`{}` takes the largest or smallest of no elements, which it gets wrong", node.name));
        }
    }
    Ok(())
}

impl Plan {
    pub(super) fn run(&self, inputs: Vec<Tensor>, signature: &Signature) -> Result<Vec<Tensor>, RunError> {
        let inputs =
            inputs.iter().map(convert::into_tract).collect::<Result<TVec<_>, _>>().map_err(RunError::Inputs)?;
        let outputs = self.plan.run(inputs).map_err(|e| RunError::Inputs(reason(&e)))?;
        (outputs.iter().zip(&signature.outputs))
            .map(|(value, port)| convert::from_tract(value, &port.name, port.element_type))
            .collect::<Result<_, _>>()
            .map_err(RunError::Failed)
    }

    /// The shape of an output that the file does not tell: what this plan makes, open where the inputs are.
    pub(super) fn output_shape(&self, position: usize, signature: &Signature) -> Vec<i64> {
        let open = signature.inputs.iter().any(|p| p.shape.iter().any(|&d| d < 0));
        let dims = self.plan.model().output_fact(position).map(|fact| fact.shape.to_tvec()).unwrap_or_default();
        let fixed = |d: &TDim| d.to_i64().ok().filter(|_| !open).unwrap_or(-1);
        dims.iter().map(fixed).collect()
    }
}
