//! Makes inputs constant: they leave `graph.input` and come back as `graph.initializer`.
//!
//! On the level of protobuf's fields, because decoding into tract's messages and encoding again would lose what these
//! do not know (functions, sequences, optional values).

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// Field numbers of `onnx.proto`.
const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const GRAPH_INPUT: u32 = 11;
const VALUE_INFO_NAME: u32 = 1;
const TENSOR_NAME: u32 = 8;

/// The model with these inputs, by name, fixed to encoded TensorProtos.
pub(super) fn fix(model: &[u8], values: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields(model) {
        match field.number {
            MODEL_GRAPH => put(&mut out, MODEL_GRAPH, &graph(field.content, values)),
            _ => out.extend_from_slice(field.whole),
        }
    }
    out
}

fn graph(graph: &[u8], values: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields(graph) {
        let fixed = field.number == GRAPH_INPUT && {
            let name = fields(field.content).find(|f| f.number == VALUE_INFO_NAME).unwrap().content;
            values.iter().any(|(fixed, _)| fixed.as_bytes() == name)
        };
        if !fixed {
            out.extend_from_slice(field.whole);
        }
    }
    for (name, value) in values {
        // Of a field that comes twice the last counts, so the name may simply be appended.
        let mut tensor = value.clone();
        put(&mut tensor, TENSOR_NAME, name.as_bytes());
        put(&mut out, GRAPH_INITIALIZER, &tensor);
    }
    out
}

struct Field<'a> {
    number: u32,
    /// With its key and length.
    whole: &'a [u8],
    /// Without; empty for a field that is not delimited by its length.
    content: &'a [u8],
}

fn fields(mut rest: &[u8]) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || {
        let start = rest;
        let (number, wire) = if rest.is_empty() { return None } else { decode_key(&mut rest).unwrap() };
        let mut content = &[][..];
        match wire {
            WireType::Varint => drop(decode_varint(&mut rest).unwrap()),
            WireType::ThirtyTwoBit => rest = &rest[4..],
            WireType::SixtyFourBit => rest = &rest[8..],
            WireType::LengthDelimited => {
                let length = decode_varint(&mut rest).unwrap() as usize;
                (content, rest) = rest.split_at(length);
            }
            other => panic!("onnx.proto has no {other:?}"),
        }
        Some(Field { number, whole: &start[..start.len() - rest.len()], content })
    })
}

fn put(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}
