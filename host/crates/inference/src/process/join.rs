//! Requests joined into one batch, where the model allows it and where it was measured to pay.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use aimass_core::{Result, Signature, Tensor};
use bytes::BytesMut;

use super::link::Outputs;
use crate::pool::lock;

/// The most requests that run together. Transformers gain little beyond it, and others wait meanwhile.
pub(super) const MOST: usize = 8;

/// How many of `count` requests run together: an engine plans every batch size anew, so there are few.
pub(super) fn size(count: usize) -> usize {
    match count {
        MOST.. => MOST,
        4.. => 4,
        _ => 1,
    }
}

/// What is known of joining one model's requests: by shape, for a model can gain at one and lose at another.
pub(super) struct Joins {
    possible: bool,
    trials: Mutex<HashMap<u64, Trial>>,
}

/// Shapes that are measured; others run alone. A model is used at a handful.
const SHAPES: usize = 64;

/// Runs that are measured before anything is decided; the first one of a size plans, and is slow.
const RUNS: u32 = 8;

/// What joining must gain, at least: less is noise, and others wait longer for a turn behind a batch.
const GAIN: f64 = 0.85;

#[derive(Default)]
struct Trial {
    /// Seconds a request, alone and joined.
    alone: Least,
    joined: Least,
    never: bool,
}

/// The shortest run: whatever else the machine does only makes runs longer, so averages taken at different loads cannot
/// be compared.
struct Least {
    runs: u32,
    seconds: f64,
}

impl Default for Least {
    fn default() -> Self {
        Self { runs: 0, seconds: f64::INFINITY }
    }
}

impl Least {
    fn add(&mut self, seconds: f64) {
        self.runs = self.runs.saturating_add(1);
        self.seconds = self.seconds.min(seconds);
    }
}

impl Joins {
    /// Requests can be joined if the first dimension of every input and output is open: nearly always the batch.
    pub(super) fn of(signature: &Signature) -> Self {
        let open = |ports: &[aimass_core::Port]| {
            !ports.is_empty() && ports.iter().all(|p| p.shape.first() == Some(&-1) && p.element_type.size().is_some())
        };
        Self { possible: open(&signature.inputs) && open(&signature.outputs), trials: Mutex::default() }
    }

    pub(super) fn possible(&self) -> bool {
        self.possible
    }

    /// What a request must have in common with another one to be joined with it; nothing if it runs alone: it is a
    /// batch already, or joining does not pay.
    pub(super) fn key(&self, inputs: &[Tensor]) -> Option<u64> {
        if !self.possible || inputs.iter().any(|tensor| tensor.shape().first() != Some(&1)) {
            return None;
        }
        let key = shape(inputs);
        let trials = lock(&self.trials);
        trials.get(&key).is_some_and(Trial::joins).then_some(key)
    }

    /// Learns from a run of `size` requests together.
    pub(super) fn ran(&self, outputs: &Outputs, size: usize) {
        let Some(key) = outputs.shape.filter(|_| self.possible) else { return };
        let mut trials = lock(&self.trials);
        if trials.len() >= SHAPES && !trials.contains_key(&key) {
            return;
        }
        let trial = trials.entry(key).or_default();
        let seconds = outputs.compute.as_secs_f64() / size as f64;
        match size {
            1 => trial.alone.add(seconds),
            _ => trial.joined.add(seconds),
        }
    }

    /// These inputs cannot be joined, although the signature looks like it.
    pub(super) fn never(&self, inputs: &[Tensor]) {
        let mut trials = lock(&self.trials);
        trials.entry(shape(inputs)).or_default().never = true;
    }
}

impl Trial {
    fn joins(&self) -> bool {
        let tried = self.joined.runs >= RUNS;
        !self.never && self.alone.runs >= RUNS && (!tried || self.joined.seconds < GAIN * self.alone.seconds)
    }
}

/// What inputs have in common that can be joined: types and shapes behind the first dimension. Nothing for inputs that
/// are batches already.
pub(super) fn shape_of_one(inputs: &[Tensor]) -> Option<u64> {
    inputs.iter().all(|tensor| tensor.shape().first() == Some(&1)).then(|| shape(inputs))
}

fn shape(inputs: &[Tensor]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for tensor in inputs {
        (tensor.element_type(), tensor.shape().get(1..)).hash(&mut hasher);
    }
    hasher.finish()
}

/// One batch of several requests' inputs, in their order.
pub(super) fn joined(requests: &[&[Tensor]]) -> Result<Vec<Tensor>> {
    let first = requests.first().copied().unwrap_or_default();
    let join = |(position, tensor): (usize, &Tensor)| {
        let mut data = BytesMut::with_capacity(tensor.data().len() * requests.len());
        requests.iter().filter_map(|inputs| inputs.get(position)).for_each(|t| data.extend_from_slice(t.data()));
        let mut shape = tensor.shape().to_vec();
        if let Some(rows) = shape.first_mut() {
            *rows = requests.len() as u64;
        }
        Tensor::new(tensor.name(), tensor.element_type(), shape, data.freeze())
    };
    first.iter().enumerate().map(join).collect()
}

/// Each request's part of the outputs; nothing if they are not a row a request.
pub(super) fn parted(outputs: &[Tensor], requests: usize) -> Option<Vec<Vec<Tensor>>> {
    if outputs.iter().any(|tensor| tensor.shape().first() != Some(&(requests as u64))) {
        return None;
    }
    let part = |request: usize| {
        let own = |tensor: &Tensor| {
            let length = tensor.data().len() / requests;
            let mut shape = tensor.shape().to_vec();
            shape[0] = 1;
            let data = tensor.data().slice(request * length..(request + 1) * length);
            Tensor::new(tensor.name(), tensor.element_type(), shape, data).ok()
        };
        outputs.iter().map(own).collect::<Option<Vec<_>>>()
    };
    (0..requests).map(part).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use aimass_core::{ElementType, Port};
    use std::time::Duration;

    fn row(value: f32) -> Vec<Tensor> {
        vec![Tensor::from_elements("x", [1, 2], &[value, -value]).unwrap()]
    }

    fn took(seconds: f64, inputs: &[Tensor]) -> Outputs {
        let shape = shape_of_one(inputs);
        let compute = Duration::from_secs_f64(seconds);
        Outputs { tensors: vec![], memory: 0, queue: Duration::ZERO, compute, batch: 1, shape }
    }

    #[test]
    fn what_was_joined_comes_apart_again() {
        let rows = [row(1.0), row(2.0), row(3.0)];
        let batch = joined(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        assert_eq!(batch[0].shape(), [3, 2]);
        assert_eq!(parted(&batch, 3).unwrap(), rows);
        assert!(parted(&batch, 2).is_none());
    }

    #[test]
    fn requests_are_joined_only_where_it_was_measured_to_pay() {
        let port = |shape: &[i64]| Port::new("x", ElementType::Fp32, shape);
        let signature =
            |shape: &[i64]| Signature { inputs: vec![port(shape)], outputs: vec![port(shape)], ..Default::default() };
        assert!(!Joins::of(&signature(&[1, 2])).possible());
        for (together, pays) in [(0.5, true), (0.95, false), (1.5, false)] {
            let joins = Joins::of(&signature(&[-1, 2]));
            let inputs = row(1.0);
            assert_eq!(joins.key(&inputs), None, "nothing is known yet");
            (0..RUNS).for_each(|_| joins.ran(&took(1.0, &inputs), 1));
            assert!(joins.key(&inputs).is_some(), "it is tried");
            // The first one plans, and others share the machine.
            joins.ran(&took(100.0, &inputs), 4);
            (1..RUNS).for_each(|_| joins.ran(&took(4.0 * together, &inputs), 4));
            assert_eq!(joins.key(&inputs).is_some(), pays, "{together}");
            let batch = vec![Tensor::from_elements("x", [2, 2], &[0f32; 4]).unwrap()];
            assert_eq!(joins.key(&batch), None, "a batch already");
        }
    }
}
