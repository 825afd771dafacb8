//! Requests joined into one batch, where the model allows it and where it was measured to pay.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aimass_core::{Result, Signature, Tensor};
use bytes::BytesMut;

use super::worth::Worth;
use crate::pool::lock;

/// What is known of joining one model's requests: by shape, for a model can gain at one and lose at another.
pub(super) struct Joins {
    possible: bool,
    shapes: Mutex<HashMap<u64, Known>>,
}

#[derive(Default)]
struct Known {
    worth: Worth,
    /// These inputs cannot be joined, although the signature looks like it.
    never: bool,
}

/// Shapes that are measured; others run alone. A model is used at a handful.
const SHAPES: usize = 64;

impl Joins {
    /// Requests can be joined if the first dimension of every input and output is open: nearly always the batch.
    pub(super) fn of(signature: &Signature) -> Self {
        let open = |ports: &[aimass_core::Port]| {
            !ports.is_empty() && ports.iter().all(|p| p.shape.first() == Some(&-1) && p.element_type.size().is_some())
        };
        Self { possible: open(&signature.inputs) && open(&signature.outputs), shapes: Mutex::default() }
    }

    pub(super) fn possible(&self) -> bool {
        self.possible
    }

    /// What a request must have in common with another one to be joined with it; nothing if it is a batch already.
    pub(super) fn key(&self, inputs: &[Tensor]) -> Option<u64> {
        if self.possible { shape_of_one(inputs) } else { None }
    }

    /// How many of `waiting` requests with this key the next turn takes, if it may hold its worker for `hold`.
    pub(super) fn turn(&self, key: u64, waiting: u64, now: Instant, hold: Duration) -> u64 {
        match lock(&self.shapes).get_mut(&key) {
            Some(known) if !known.never => {
                known.worth.turn(usize::try_from(waiting).unwrap_or(usize::MAX), now, hold) as u64
            }
            _ => 1,
        }
    }

    /// Learns from a run of `size` requests with this key together, which took `compute`.
    pub(super) fn ran(&self, key: Option<u64>, size: usize, compute: Duration) {
        let Some(key) = key else { return };
        let mut shapes = lock(&self.shapes);
        if shapes.len() < SHAPES || shapes.contains_key(&key) {
            shapes.entry(key).or_default().worth.ran(size, compute, Instant::now());
        }
    }

    /// These inputs cannot be joined, although the signature looks like it.
    pub(super) fn never(&self, inputs: &[Tensor]) {
        if let Some(known) = lock(&self.shapes).get_mut(&shape(inputs)) {
            known.never = true;
        }
    }
}

/// What inputs have in common that can be joined: types and shapes behind the first dimension. Nothing for inputs that
/// are batches already.
fn shape_of_one(inputs: &[Tensor]) -> Option<u64> {
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

    #[test]
    fn what_was_joined_comes_apart_again() {
        let rows = [row(1.0), row(2.0), row(3.0)];
        let batch = joined(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        assert_eq!(batch[0].shape(), [3, 2]);
        assert_eq!(parted(&batch, 3).unwrap(), rows);
        assert!(parted(&batch, 2).is_none());
    }

    #[test]
    fn only_single_rows_of_a_model_with_an_open_batch_are_joined() {
        let port = |shape: &[i64]| Port::new("x", ElementType::Fp32, shape);
        let signature =
            |shape: &[i64]| Signature { inputs: vec![port(shape)], outputs: vec![port(shape)], ..Default::default() };
        assert!(!Joins::of(&signature(&[1, 2])).possible());
        let joins = Joins::of(&signature(&[-1, 2]));
        let batch = vec![Tensor::from_elements("x", [2, 2], &[0f32; 4]).unwrap()];
        assert_eq!(joins.key(&batch), None, "a batch already");
        let key = joins.key(&row(1.0)).unwrap();
        assert_eq!(joins.key(&row(2.0)), Some(key));
        let (now, hold) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(joins.turn(key, 32, now, hold), 1, "nothing is known yet");
        let ran = |size| joins.ran(Some(key), size, Duration::from_millis(1));
        ran(1);
        assert_eq!(joins.turn(key, 32, now, hold), 1, "it is examined from now on");
        (0..4).for_each(|_| ran(1));
        assert_eq!(joins.turn(key, 32, now, hold), 4);
        joins.never(&row(1.0));
        assert_eq!(joins.turn(key, 32, now + Duration::from_secs(60), hold), 1);
    }
}
