//! wonnx optimises chains of nodes with one computed input each, and builds every chain anew for each that uses its
//! end: a convolution whose result is used twice is computed twice, and one at the head of a GELU six times. It
//! remembers only nodes with several computed inputs. So such a one is put behind costly values that are used more
//! than once: a copy, made by joining the value with itself and passing on the first half.

use std::collections::{HashMap, HashSet};

use super::graph::{Graph, Id, count, int};

/// What is cheaper to copy than to compute again.
const COSTLY: [&str; 12] = [
    "Conv",
    "MatMul",
    "MaxPool",
    "AveragePool",
    "Softmax",
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "BatchNormalization",
    "Gather",
];

/// No copy is made of values that large: two of them would not fit a buffer.
const LARGEST: usize = (128 << 20) / 8;

/// Puts copies behind the values that would be computed several times. `fetches` are outputs, which stay.
pub(super) fn share(g: &mut Graph, fetches: &[Id]) {
    let mut uses: HashMap<Id, usize> = HashMap::new();
    for node in &g.nodes {
        // wonnx builds the same input of one node once.
        for input in node.input.iter().collect::<HashSet<_>>() {
            *uses.entry(input.clone()).or_default() += 1;
        }
    }
    for id in fetches {
        *uses.entry(id.clone()).or_default() += 1;
    }
    let mut costly: HashSet<Id> = HashSet::new();
    let mut copies: HashMap<Id, Id> = HashMap::new();
    for mut node in std::mem::take(&mut g.nodes) {
        for input in &mut node.input {
            if let Some(copy) = copies.get(input) {
                input.clone_from(copy);
            }
        }
        let id = node.output[0].clone();
        let computed = |input: &&Id| !g.constants.contains_key(*input) && !g.indices.contains_key(*input);
        let inputs: Vec<&Id> = node.input.iter().filter(computed).collect();
        let chained = inputs.len() == 1;
        // A convolution of 1×1 in groups of one channel is a multiplication.
        let cheap = node.op_type == "Conv" && g.shape(&node.input[1]).ends_with(&[1, 1, 1]);
        let is_costly = chained && (COSTLY.contains(&node.op_type.as_str()) && !cheap || costly.contains(inputs[0]));
        let shape = g.shape(&id);
        g.nodes.push(node);
        if !is_costly {
            continue;
        }
        if uses.get(&id).is_some_and(|&n| n > 1) && count(&shape) <= LARGEST {
            copies.insert(id.clone(), copy(g, &id, &shape));
        } else {
            costly.insert(id);
        }
    }
}

fn copy(g: &mut Graph, id: &str, shape: &[usize]) -> Id {
    let n = count(shape);
    // Not `view`: a view of a view is made one of the source, which is what must not be used twice.
    let flat = g.push("Squeeze", &[id], &[n], vec![]);
    let both = g.push("Concat", &[&flat, &flat], &[2 * n], vec![int("axis", 0)]);
    g.push("Squeeze", &[&both], shape, vec![])
}
