//! A node of the file, as rules read it.

use tract_onnx::pb::{AttributeProto, NodeProto};

/// A node with the operator set that its file imports.
pub(super) struct Op<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) opset: i64,
}

impl Op<'_> {
    pub(super) fn name(&self) -> &str {
        &self.node.op_type
    }

    /// The input's name; `None` if it is left out.
    pub(super) fn input(&self, position: usize) -> Option<&str> {
        self.node.input.get(position).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// How many inputs the node lists, with those left out in between.
    pub(super) fn inputs(&self) -> usize {
        self.node.input.len()
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |a| a.f)
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    pub(super) fn text(&self, name: &str, default: &'static str) -> &str {
        self.attribute(name).map_or(default, |a| std::str::from_utf8(&a.s).unwrap_or("?"))
    }

    pub(super) fn attribute_floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|a| a.floats.as_slice())
    }

    /// The attribute as an axis of a tensor of this rank.
    pub(super) fn axis(&self, default: i64, rank: usize) -> Result<usize, String> {
        axis(self.int("axis", default), rank)
    }
}

/// An axis counted from the front.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(counted).ok().filter(|&a| a < rank).ok_or_else(|| format!("it has no axis {axis}"))
}
