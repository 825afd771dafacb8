//! The lowering pass: from the file's graph, at concrete input shapes, to one of the instructions that wonnx gets
//! right.
//!
//! One walk in the order of execution. What depends on constants alone is computed ([`infer`]); every other node is
//! handed to the rule of its operator ([`rules`]), which appends instructions ([`emit`]) to the new graph. Since
//! rules emit nothing but instructions that are right at any size, the result needs no second pass; the whitelist
//! looks at it all the same, and what is still not known to be right is refused there.

mod context;
mod emit;
mod graph;
mod infer;
mod known;
mod op;
mod ranges;
mod rules;
mod scale;
mod share;

use std::collections::{HashMap, HashSet};

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};
use tract_onnx::prelude::DatumType;

use self::context::Context;
pub(super) use self::context::Feed;
use self::graph::{Graph, Id, count};
#[cfg(test)]
pub(super) use self::infer::info;
use self::known::{EXACT, Known, Range};
use self::op::Op;
use super::prepare::{Prepared, Value};
use crate::backend::Refused;
use crate::onnx::Onnx;
use crate::onnx::check::shown;

/// The operator set that instructions are written in.
const OPSET: i64 = 13;

/// What wide integers may hold at the inputs: as much as f32 holds exactly and, if sums and products of them would
/// be too large then, less.
const LIMITS: [f64; 4] = [EXACT, 1_048_576.0, 4_096.0, 128.0];

/// Lowers the model for inputs of these shapes.
///
/// # Errors
/// The first node that wonnx cannot be made to compute, and why.
pub(super) fn lower(onnx: &Onnx, shapes: &[Vec<u64>], max_tensor: u64) -> Result<Prepared, Refused> {
    let mut first = None;
    for limit in LIMITS {
        match lower_within(onnx, shapes, max_tensor, limit) {
            Ok(prepared) => return Ok(prepared),
            Err(reason) => {
                let integers = reason.contains("integers may");
                first.get_or_insert(reason);
                if !integers {
                    break;
                }
            }
        }
    }
    Err(Refused::new(first.unwrap_or_default()))
}

fn lower_within(onnx: &Onnx, shapes: &[Vec<u64>], max_tensor: u64, limit: f64) -> Result<Prepared, String> {
    let graph = onnx.proto.graph.as_ref().ok_or("the ONNX file holds no graph")?;
    let opset = opset(&onnx.proto)?;
    let mut context = Context { g: Graph::default(), values: HashMap::new(), feeds: vec![], outputs: vec![] };
    sources(&mut context, onnx, shapes, limit)?;
    for tensor in &graph.initializer {
        // Data in other files was refused before.
        let read = tract_onnx::tensor::load_tensor(&MmapDataResolver, tensor, None);
        let read = read.map_err(|_| format!("the initialiser {} cannot be read", shown(&tensor.name)))?;
        context.values.insert(&tensor.name, Known::constant(read));
    }
    let needed = needed(graph);
    for node in order(graph)? {
        let op = Op { node, opset };
        step(&mut context, &op, &needed, max_tensor).map_err(|reason| {
            let label = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
            let label = shown(label.map_or("", String::as_str));
            format!("the GPU engine cannot serve the {} {label}: {reason}", node.op_type)
        })?;
    }
    finish(context, onnx, shapes)
}

fn opset(proto: &ModelProto) -> Result<i64, String> {
    let default = proto.opset_import.iter().find(|i| matches!(i.domain.as_str(), "" | "ai.onnx"));
    default.map(|i| i.version).ok_or_else(|| "the model imports no default operator set".into())
}

fn sources<'a>(context: &mut Context<'a>, onnx: &'a Onnx, shapes: &[Vec<u64>], limit: f64) -> Result<(), String> {
    for (position, (port, shape)) in onnx.signature.inputs.iter().zip(shapes).enumerate() {
        let datum_type = datum_type(port.element_type).ok_or("an input's element type")?;
        if datum_type == DatumType::F64 {
            return Err(format!("the GPU engine computes in f32 alone, and {} is F64", shown(&port.name)));
        }
        let shape: Vec<usize> = shape.iter().map(|&d| d as usize).collect();
        let wide = Range::new(-limit, limit);
        let range = Range::of(datum_type)
            .map(|all| if all.exact() { all } else { Range::new(all.low.max(wide.low), wide.high) });
        let id = context.g.source(&shape);
        context.feeds.push(Feed { id: id.clone(), range: range.map(|r| (r.low, r.high)) });
        let known = Known { datum_type, shape, constant: None, id: Some(id), range, input: Some(position) };
        context.values.insert(&port.name, known);
    }
    Ok(())
}

/// tract's name of the element types that can be fed to the device as f32.
fn datum_type(element_type: aimass_core::ElementType) -> Option<DatumType> {
    use aimass_core::ElementType as E;
    Some(match element_type {
        E::Bool => DatumType::Bool,
        E::Uint8 => DatumType::U8,
        E::Uint16 => DatumType::U16,
        E::Uint32 => DatumType::U32,
        E::Uint64 => DatumType::U64,
        E::Int8 => DatumType::I8,
        E::Int16 => DatumType::I16,
        E::Int32 => DatumType::I32,
        E::Int64 => DatumType::I64,
        E::Fp16 => DatumType::F16,
        E::Fp32 => DatumType::F32,
        E::Fp64 => DatumType::F64,
        E::Bf16 | E::Bytes => return None,
    })
}

/// The nodes in an order in which everything is made before it is used. Files should be in one already.
fn order(graph: &GraphProto) -> Result<Vec<&NodeProto>, String> {
    let mut made: HashSet<&str> = graph.input.iter().map(|v| v.name.as_str()).collect();
    made.extend(graph.initializer.iter().map(|t| t.name.as_str()));
    made.insert("");
    let mut left: Vec<&NodeProto> = graph.node.iter().collect();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let before = left.len();
        left.retain(|node| {
            let ready = node.input.iter().all(|name| made.contains(name.as_str()));
            if ready {
                made.extend(node.output.iter().map(String::as_str));
                ordered.push(*node);
            }
            !ready
        });
        if left.len() == before {
            return Err("its nodes use values that nothing makes".into());
        }
    }
    Ok(ordered)
}

/// The values that a node, or the model's caller, reads: files list masks and running means that nothing does.
fn needed(graph: &GraphProto) -> HashSet<&str> {
    let read = graph.node.iter().flat_map(|n| &n.input).map(String::as_str);
    read.chain(graph.output.iter().map(|o| o.name.as_str())).filter(|name| !name.is_empty()).collect()
}

fn step<'a>(context: &mut Context<'a>, op: &Op<'a>, needed: &HashSet<&str>, max_tensor: u64) -> Result<(), String> {
    if crate::onnx::subgraphs(op.node).next().is_some() {
        return Err("the GPU engine runs no graphs within graphs".into());
    }
    let mut inputs: Vec<(&str, &Known)> = Vec::new();
    for name in op.node.input.iter().filter(|name| !name.is_empty()) {
        let known = context.values.get(name.as_str()).ok_or_else(|| format!("nothing makes {}", shown(name)))?;
        inputs.push((name, known));
    }
    if let Some(known) = rules::from_shapes(context, op)? {
        if let Some(output) = op.node.output.first() {
            context.values.insert(output, known);
        }
        return Ok(());
    }
    let facts = infer::facts(op.node, op.opset, &inputs)
        .map_err(|reason| format!("its shapes cannot be inferred: {reason}"))?;
    for (datum_type, shape) in facts.iter().flatten() {
        if count(shape) as u64 * datum_type.size_of() as u64 > max_tensor {
            return Err(format!("it would make a tensor larger than {} MiB", max_tensor >> 20));
        }
    }
    let random = op.name().starts_with("Random") || matches!(op.name(), "Bernoulli" | "Multinomial");
    if inputs.iter().all(|(_, known)| known.constant.is_some()) && !random {
        let values = infer::evaluate(op.node, op.opset, &inputs)
            .map_err(|reason| format!("it cannot be computed beforehand: {reason}"))?;
        for (name, value) in op.node.output.iter().filter(|name| !name.is_empty()).zip(values) {
            context.values.insert(name, Known::constant(value));
        }
        return Ok(());
    }
    if facts.iter().flatten().any(|(_, shape)| shape.contains(&0)) {
        return Err("it makes an empty tensor".into());
    }
    let input = same_numbers(op).then(|| inputs.first().and_then(|(_, known)| known.input)).flatten();
    let last = op.node.output.iter().rposition(|name| needed.contains(name.as_str()));
    context.outputs = facts;
    context.outputs.truncate(last.map_or(1, |last| last + 1));
    let made = rules::apply(context, op)?;
    for (position, name) in op.node.output.iter().enumerate().filter(|(_, name)| needed.contains(name.as_str())) {
        let (fact, id) = (context.outputs.get(position).cloned().flatten(), made.get(position).cloned());
        let (Some((datum_type, shape)), Some(id)) = (fact, id) else {
            return Err(format!("the GPU engine cannot compute its output {}", shown(name)));
        };
        if datum_type == DatumType::F64 {
            return Err("the GPU engine computes in f32 alone, and its output is F64".into());
        }
        let range = match Range::of(datum_type) {
            Some(_) => Some(ranges::after(context, op, datum_type, &shape)?),
            None => None,
        };
        if range.is_some_and(|r| !r.exact() && op.name() != "Cast") {
            return Err(format!("its integers may be larger than {EXACT}, up to which f32 is exact"));
        }
        // Instructions may have merged axes that the file does not.
        let id = context.g.view(&id, &shape);
        let known = Known { datum_type, shape, constant: None, id: Some(id), range, input };
        context.values.insert(name, known);
    }
    Ok(())
}

/// Whether the output holds the numbers of the first input, as they are.
fn same_numbers(op: &Op<'_>) -> bool {
    matches!(op.name(), "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Identity" | "Transpose" | "Cast" | "Expand")
}

fn finish(context: Context<'_>, onnx: &Onnx, shapes: &[Vec<u64>]) -> Result<Prepared, String> {
    let Context { mut g, values, feeds, .. } = context;
    let mut signature = onnx.signature.clone();
    for (port, shape) in signature.inputs.iter_mut().zip(shapes) {
        port.shape = shape.iter().map(|&d| d as i64).collect();
    }
    let mut fetches = Vec::new();
    for port in &mut signature.outputs {
        let known = values.get(port.name.as_str());
        let known = known.ok_or_else(|| format!("nothing makes the output {}", shown(&port.name)))?;
        let Some(id) = known.id.clone().filter(|_| known.constant.is_none()) else {
            return Err(format!("the output {} is a constant, which needs no GPU", shown(&port.name)));
        };
        port.shape = known.shape.iter().map(|&d| d as i64).collect();
        fetches.push(readable(&mut g, &id));
    }
    prune(&mut g, &fetches);
    share::share(&mut g, &fetches);
    let used = prune(&mut g, &fetches);
    let weights = g.constants.iter().filter(|(id, _)| used.contains(*id)).map(|(_, c)| c.len() as u64 * 4).sum();
    let proto = encode(&g, &feeds, &fetches, &used)?;
    let values = (g.shapes.into_iter().filter(|(id, _)| used.contains(id)))
        .map(|(id, shape)| {
            let integers =
                g.indices.contains_key(&id) || g.nodes.iter().any(|n| n.op_type == "Cast" && n.output.contains(&id));
            let datum_type = if integers { DatumType::I32 } else { DatumType::F32 };
            (id, Value { datum_type, shape })
        })
        .collect();
    let graph = onnx.proto.graph.as_ref();
    let scale = |name: &str| graph.map_or(0.0, |graph| scale::scale(graph, name));
    let scales = signature.outputs.iter().map(|port| scale(&port.name)).collect();
    Ok(Prepared { proto, signature, values, weights, feeds, fetches, scales })
}

/// The buffer that holds the value: wonnx reads back what a node computed, not what only passes on.
fn readable(g: &mut Graph, id: &str) -> Id {
    match g.maker(id) {
        Some(node) if node.op_type == "Squeeze" => {
            let source = node.input[0].clone();
            if g.maker(&source).is_some() { source } else { g.copy(&source) }
        }
        Some(_) => id.into(),
        None => g.copy(id),
    }
}

/// Drops nodes that no output needs. Returns the values in use.
fn prune(g: &mut Graph, fetches: &[Id]) -> HashSet<Id> {
    let mut used: HashSet<Id> = fetches.iter().cloned().collect();
    let mut kept: Vec<NodeProto> = Vec::with_capacity(g.nodes.len());
    for node in std::mem::take(&mut g.nodes).into_iter().rev() {
        if node.output.iter().any(|o| used.contains(o)) {
            used.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    g.nodes = kept;
    used
}

fn encode(g: &Graph, feeds: &[Feed], fetches: &[Id], used: &HashSet<Id>) -> Result<ModelProto, String> {
    let info = |id: &str| {
        let cast = g.nodes.iter().any(|n| n.op_type == "Cast" && n.output.iter().any(|o| o == id));
        infer::info(id, if cast { DatumType::I32 } else { DatumType::F32 }, &g.shape(id))
    };
    let mut graph = GraphProto { name: "lowered".into(), node: g.nodes.clone(), ..Default::default() };
    graph.input = feeds.iter().filter(|f| used.contains(&f.id)).map(|f| info(&f.id)).collect::<Result<_, _>>()?;
    let mut outputs: Vec<&Id> = fetches.iter().collect();
    outputs.sort();
    outputs.dedup();
    graph.output = outputs.iter().map(|id| info(id)).collect::<Result<_, _>>()?;
    let inside = g.nodes.iter().flat_map(|n| &n.output).filter(|id| !fetches.contains(id));
    graph.value_info = inside.map(|id| info(id)).collect::<Result<_, _>>()?;
    for (id, numbers) in g.constants.iter().filter(|(id, _)| used.contains(*id)) {
        // Shaders read four numbers at once, and wonnx makes the buffers of constants no longer than their data, unless
        // they are very short.
        let padding = if numbers.len() > 16 { numbers.len().next_multiple_of(4) - numbers.len() } else { 0 };
        let bytes = numbers.iter().copied().chain(std::iter::repeat_n(0.0, padding)).flat_map(f32::to_le_bytes);
        graph.initializer.push(tensor(id, DataType::Float, &g.shape(id), bytes.collect()));
    }
    for (id, indices) in g.indices.iter().filter(|(id, _)| used.contains(*id)) {
        let bytes = indices.iter().flat_map(|i| i.to_le_bytes()).collect();
        graph.initializer.push(tensor(id, DataType::Int32, &[indices.len()], bytes));
    }
    graph.initializer.sort_by(|a, b| a.name.cmp(&b.name));
    let opset = OperatorSetIdProto { domain: String::new(), version: OPSET };
    Ok(ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..Default::default() })
}

fn tensor(name: &str, data_type: DataType, shape: &[usize], raw_data: Vec<u8>) -> TensorProto {
    let dims = shape.iter().map(|&d| d as i64).collect();
    TensorProto { name: name.into(), dims, data_type: data_type as i32, raw_data, ..Default::default() }
}
