//! The ONNX file as it comes from a tenant: decoded, distrusted, described.

mod bombs;
pub(crate) mod check;
mod ports;

use std::sync::LazyLock;

use aimass_core::Signature;
use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use self::check::Known;
use crate::backend::{Refused, one_line};

/// A decoded model that passed the checks which need no engine.
pub(crate) struct Onnx {
    pub(crate) proto: ModelProto,
    pub(crate) signature: Signature,
    /// Outputs, by position, whose rank the file does not tell.
    pub(crate) unranked: Vec<usize>,
    /// Bytes of its initialisers.
    pub(crate) weights: u64,
}

impl Onnx {
    /// Decodes and checks. `max_tensor` bounds every tensor that the file declares.
    ///
    /// # Errors
    /// The reason why it is no model that can be served: not ONNX, nested too deeply, data in other files, shapes
    /// that are absurd or do not fit their data, operators that tract does not know.
    pub(crate) fn read(bytes: &[u8], max_tensor: u64) -> Result<Self, Refused> {
        Self::read_for(bytes, max_tensor, Known::Tract)
    }

    /// The same for an engine that knows other operators and types than tract.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn read_for(bytes: &[u8], max_tensor: u64, known: Known) -> Result<Self, Refused> {
        // prost stops at 100 nested messages, so the recursion below is bounded as well.
        let proto = ModelProto::decode(bytes).map_err(|error| {
            // Before the reason stand all the fields that it is nested in.
            let error = one_line(error.to_string().rsplit(": ").next().unwrap_or_default());
            Refused::new(format!("this is not an ONNX file: {error}"))
        })?;
        let graph = proto.graph.as_ref().ok_or_else(|| Refused::new("the ONNX file holds no graph"))?;
        if known == Known::Onnx && check::has_functions(bytes) {
            return Err(Refused::new("the ONNX file holds functions of its own, which are not supported"));
        }
        let weights = check::graph(graph, max_tensor, known)?;
        bombs::defuse(graph, max_tensor)?;
        let (signature, unranked) = ports::signature(graph)?;
        Ok(Self { proto, signature, unranked, weights })
    }
}

/// tract's ONNX front end, as the measurements say it works best.
pub(crate) static TRACT: LazyLock<tract_onnx::Onnx> =
    LazyLock::new(|| tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true));

/// The graphs inside a node's attributes (`If`, `Loop`, `Scan`).
pub(crate) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs))
}
