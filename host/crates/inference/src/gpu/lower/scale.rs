//! How near to 0 the reference's numbers mean something.

use tract_onnx::pb::GraphProto;

/// tract's sigmoid is a fraction that is added to a half. What goes in is held within ±14.5, so that the sum stays
/// within 0 and 1, and 4.8e-7 comes out for whatever lies beyond (tract-linalg, `generic/sigmoid.rs`), where the GPU
/// gives e^x. On this scale the two differ by half of what the canary allows.
const SIGMOID: f64 = 1e-3;

/// The scale on which the canary measures an output at least; 0 where the output's own numbers are the scale.
pub(super) fn scale(graph: &GraphProto, output: &str) -> f64 {
    let mut name = output;
    // What makes one value is a chain without a circle: the nodes were put in an order before.
    while let Some(node) = graph.node.iter().find(|n| n.output.iter().any(|o| o == name)) {
        match node.op_type.as_str() {
            "Sigmoid" => return SIGMOID,
            "Identity" | "Dropout" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Transpose" | "Slice" => {}
            _ => break,
        }
        let Some(input) = node.input.first() else { break };
        name = input;
    }
    0.0
}
