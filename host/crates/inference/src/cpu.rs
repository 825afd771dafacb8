//! The CPU engine: tract. Pure Rust, nothing to install, and never once silently wrong when it was measured.

mod convert;
mod plan;

use std::sync::Arc;

use aimass_core::{Signature, Tensor};
use quick_cache::sync::Cache;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::InferenceModel;

use crate::backend::{Backend, LoadOptions, Loaded, Refused, RunError, one_line};
use crate::isolated::catch;
use crate::onnx::check::shown;
use crate::onnx::{Onnx, TRACT};

/// tract, as a [`Backend`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Tract;

impl Backend for Tract {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Loaded>, Refused> {
        Ok(Box::new(load(Onnx::read(model, options.max_tensor)?, options)?))
    }
}

/// A model in tract: the graph with open dimensions, and a plan for every combination of concrete shapes in use.
#[derive(Clone)]
pub(crate) struct TractModel(Arc<Shared>);

struct Shared {
    signature: Signature,
    graph: InferenceModel,
    plans: Cache<Vec<u64>, Arc<plan::Plan>>,
    weights: u64,
    max_tensor: u64,
}

/// Loads a checked file. May panic where tract does: callers run it through [`catch`] or on a thread of its own.
pub(crate) fn load(onnx: Onnx, options: &LoadOptions) -> Result<TractModel, Refused> {
    let Onnx { proto, mut signature, unranked, weights } = onnx;
    for port in signature.inputs.iter().chain(&signature.outputs) {
        if convert::datum_type(port.element_type).is_none() {
            let (name, kind) = (shown(&port.name), port.element_type);
            return Err(Refused::new(format!("the CPU engine has no {kind}, which {name} is")));
        }
    }
    let graph = catch(|| TRACT.model_for_proto_model(&proto))
        .map_err(|panic| Refused::new(format!("the CPU engine cannot read it: {panic}")))?
        .map_err(|e| Refused::new(format!("the CPU engine cannot read it: {}", reason(&e))))?;
    drop(proto);
    let (shapes, first) = plan::first(&graph, &signature, options.max_tensor)?;
    for position in unranked {
        signature.outputs[position].shape = first.output_shape(position, &signature);
    }
    let plans = Cache::new(options.plans.max(1));
    plans.insert(plan::key(&shapes), Arc::new(first));
    Ok(TractModel(Arc::new(Shared { signature, graph, plans, weights, max_tensor: options.max_tensor })))
}

impl Loaded for TractModel {
    fn signature(&self) -> &Signature {
        &self.0.signature
    }

    fn memory(&self) -> u64 {
        // tract repacks weights for its kernels, once a plan; the graph holds them as they came.
        self.0.weights * (1 + self.0.plans.len() as u64)
    }

    fn run(&mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        let key: Vec<u64> = inputs.iter().flat_map(|t| t.shape().iter().copied()).collect();
        let plan = match self.0.plans.get(&key) {
            Some(plan) => plan,
            // Several callers with the same new shape wait for one of them to plan it.
            None => self.0.plans.get_or_insert_with(&key, || {
                let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.shape().to_vec()).collect();
                catch(|| plan::build(&self.0.graph, &self.0.signature, &shapes, self.0.max_tensor))
                    .unwrap_or_else(|panic| Err(format!("planning panicked: {panic}")))
                    .map(Arc::new)
                    .map_err(RunError::Inputs)
            })?,
        };
        catch(|| plan.run(inputs, &self.0.signature)).unwrap_or_else(|panic| Err(RunError::Failed(panic)))
    }

    fn fork(&self) -> Option<Box<dyn Loaded>> {
        Some(Box::new(self.clone()))
    }
}

/// tract's error with its causes, on one line.
fn reason(error: &TractError) -> String {
    one_line(&format!("{error:#}"))
}
