//! What a rule can see and do.

use std::collections::HashMap;

use tract_onnx::prelude::DatumType;

use super::graph::{Graph, Id};
use super::infer::Fact;
use super::known::{EXACT, Known, Range, floats, numbers};
use super::op::{self, Op};
use crate::onnx::check::shown;

/// An input of the model on its way to the device, as f32.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::gpu) struct Feed {
    pub(in crate::gpu) id: Id,
    /// What integers it may hold; others are for the CPU.
    pub(in crate::gpu) range: Option<(f64, f64)>,
}

/// The state of a lowering.
pub(super) struct Context<'a> {
    pub(super) g: Graph,
    pub(super) values: HashMap<&'a str, Known>,
    pub(super) feeds: Vec<Feed>,
    /// Of the node that is being lowered.
    pub(super) outputs: Vec<Option<Fact>>,
}

impl Context<'_> {
    pub(super) fn known(&self, op: &Op<'_>, position: usize) -> Result<&Known, String> {
        let name = op.input(position).ok_or_else(|| format!("its input {position} is missing"))?;
        self.values.get(name).ok_or_else(|| format!("nothing makes its input {}", shown(name)))
    }

    pub(super) fn shape(&self, op: &Op<'_>, position: usize) -> Result<Vec<usize>, String> {
        self.known(op, position).map(|known| known.shape.clone())
    }

    /// The shape of the output.
    pub(super) fn out(&self, position: usize) -> Result<Vec<usize>, String> {
        let fact = self.outputs.get(position).and_then(Option::as_ref);
        fact.map(|(_, shape)| shape.clone()).ok_or_else(|| "the shape of its output is not known".into())
    }

    pub(super) fn out_type(&self) -> DatumType {
        self.outputs.first().and_then(Option::as_ref).map_or(DatumType::F32, |(datum_type, _)| *datum_type)
    }

    /// The input in the lowered graph, in its shape.
    pub(super) fn x(&mut self, op: &Op<'_>, position: usize) -> Result<Id, String> {
        let known = self.known(op, position)?;
        if let Some(id) = &known.id {
            return Ok(id.clone());
        }
        let tensor = known.constant.as_ref().ok_or("it is no number")?;
        if known.range.is_some_and(|r| !r.exact()) {
            return Err("an integer constant is too large for f32".into());
        }
        let (shape, numbers) = (known.shape.clone(), floats(tensor)?);
        let id = self.g.constant(&shape, numbers);
        if let Some(known) = op.input(position).and_then(|name| self.values.get_mut(name)) {
            known.id = Some(id.clone());
        }
        Ok(id)
    }

    /// The first input.
    pub(super) fn x0(&mut self, op: &Op<'_>) -> Result<Id, String> {
        self.x(op, 0)
    }

    /// A constant input's numbers, flat; nothing if it is left out.
    pub(super) fn floats(&self, op: &Op<'_>, position: usize) -> Result<Option<Vec<f32>>, String> {
        if op.input(position).is_none() {
            return Ok(None);
        }
        let known = self.known(op, position)?;
        let tensor = known.constant.as_ref().ok_or_else(|| format!("its input {position} is no constant"))?;
        floats(tensor).map(Some)
    }

    /// A constant input's integers, flat; nothing if it is left out.
    pub(super) fn ints(&self, op: &Op<'_>, position: usize) -> Result<Option<Vec<i64>>, String> {
        if op.input(position).is_none() {
            return Ok(None);
        }
        let known = self.known(op, position)?;
        let tensor = known.constant.as_ref().ok_or_else(|| format!("its input {position} is no constant"))?;
        let numbers = numbers(tensor).ok_or_else(|| format!("its input {position} holds no numbers"))?;
        Ok(Some(numbers.into_iter().map(|n| n as i64).collect()))
    }

    /// Integers that are an attribute in some operator sets, and an input in others.
    pub(super) fn listed(&self, op: &Op<'_>, name: &str, position: usize) -> Result<Option<Vec<i64>>, String> {
        match op.ints(name) {
            Some(ints) => Ok(Some(ints.to_vec())),
            None => self.ints(op, position),
        }
    }

    /// The same as axes of the first input; nothing if they are not given.
    pub(super) fn axes(&self, op: &Op<'_>, position: usize) -> Result<Option<Vec<usize>>, String> {
        let rank = self.shape(op, 0)?.len();
        let Some(axes) = self.listed(op, "axes", position)? else { return Ok(None) };
        axes.into_iter().map(|a| op::axis(a, rank)).collect::<Result<_, _>>().map(Some)
    }

    /// Sees to it that indices stay within `size`: by what is known of them, or by what their input may hold.
    pub(super) fn bound(&mut self, op: &Op<'_>, position: usize, size: usize) -> Result<(), String> {
        let wanted = Range::new(-(size as f64), size as f64 - 1.0);
        let known = self.known(op, position)?;
        if known.range.is_some_and(|r| r.within(wanted)) {
            return Ok(());
        }
        let feed = known.input.and_then(|input| self.feeds.get_mut(input));
        let Some(Feed { range: Some((low, high)), .. }) = feed else {
            return Err(format!("its indices may leave its {size} rows"));
        };
        (*low, *high) = (low.max(wanted.low), high.min(wanted.high));
        Ok(())
    }

    pub(super) fn all_exact(&self, op: &Op<'_>) -> Result<(), String> {
        for position in 0..op.inputs() {
            if op.input(position).is_none() {
                continue;
            }
            if self.known(op, position)?.range.is_some_and(|r| !r.exact()) {
                return Err(format!("its integers may be larger than {EXACT}, up to which f32 is exact"));
            }
        }
        Ok(())
    }
}
