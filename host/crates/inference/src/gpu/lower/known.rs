//! What is known of the values of the file: type, shape, the constant if it is one, and the range of integers.

use std::sync::Arc;

use tract_onnx::prelude::{DatumType, Tensor, TractResult};

use super::graph::Id;

/// Up to here (2^24) every integer is an f32.
pub(super) const EXACT: f64 = 16_777_216.0;

/// The smallest and the largest number that a value may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Range {
    pub(super) const TRUTH: Self = Self { low: 0.0, high: 1.0 };

    pub(super) fn new(low: f64, high: f64) -> Self {
        Self { low, high }
    }

    /// What the type can hold, of the types that are computed as integers here.
    pub(super) fn of(datum_type: DatumType) -> Option<Self> {
        let (low, high) = match datum_type {
            DatumType::Bool => (0.0, 1.0),
            DatumType::U8 => (0.0, 255.0),
            DatumType::I8 => (-128.0, 127.0),
            DatumType::U16 => (0.0, 65_535.0),
            DatumType::I16 => (-32_768.0, 32_767.0),
            DatumType::U32 | DatumType::U64 => (0.0, f64::from(u32::MAX)),
            DatumType::I32 | DatumType::I64 | DatumType::TDim => (f64::from(i32::MIN), f64::from(i32::MAX)),
            _ => return None,
        };
        Some(Self { low, high })
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    pub(super) fn within(self, other: Self) -> bool {
        self.low >= other.low && self.high <= other.high
    }

    pub(super) fn exact(self) -> bool {
        self.low >= -EXACT && self.high <= EXACT
    }

    /// The smallest range around what `f` gives at the corners.
    pub(super) fn corners(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let all = [f(self.low, other.low), f(self.low, other.high), f(self.high, other.low), f(self.high, other.high)];
        Self {
            low: all.iter().copied().fold(f64::INFINITY, f64::min),
            high: all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// One value of the file.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) datum_type: DatumType,
    pub(super) shape: Vec<usize>,
    pub(super) constant: Option<Arc<Tensor>>,
    /// What it is called in the lowered graph; a constant is put there when it is first needed.
    pub(super) id: Option<Id>,
    /// Of integers and truth values alone.
    pub(super) range: Option<Range>,
    /// The model's input, by position, that holds the same numbers.
    pub(super) input: Option<usize>,
}

impl Known {
    pub(super) fn constant(tensor: Tensor) -> Self {
        let range = range(&tensor);
        Self {
            datum_type: tensor.datum_type(),
            shape: tensor.shape().to_vec(),
            constant: Some(Arc::new(tensor)),
            id: None,
            range,
            input: None,
        }
    }
}

/// A tensor without tract's symbolic dimensions.
pub(super) fn plain(tensor: &Tensor) -> TractResult<Tensor> {
    if tensor.datum_type() == DatumType::TDim {
        return Ok(tensor.cast_to_dt(DatumType::I64)?.into_owned());
    }
    Ok(tensor.clone())
}

/// The numbers as f64.
pub(super) fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    let cast = tensor.cast_to_dt(DatumType::F64).ok()?;
    Some(cast.to_plain_array_view::<f64>().ok()?.iter().copied().collect())
}

/// The numbers as f32.
///
/// # Errors
/// That one of them is none: too large, or with too many digits.
pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f32>, String> {
    let wrong = || format!("a constant of {:?} is no f32", tensor.datum_type());
    if tensor.datum_type() == DatumType::F32 {
        let view = tensor.to_plain_array_view::<f32>().map_err(|_| wrong())?;
        return Ok(view.iter().copied().collect());
    }
    let exact = |&n: &f64| {
        let float = n as f32;
        (f64::from(float) == n || n.is_nan()).then_some(float)
    };
    let numbers = numbers(tensor).ok_or_else(wrong)?;
    numbers.iter().map(exact).collect::<Option<Vec<f32>>>().ok_or_else(wrong)
}

fn range(tensor: &Tensor) -> Option<Range> {
    Range::of(tensor.datum_type())?;
    let numbers = numbers(tensor)?;
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(if numbers.is_empty() { Range::new(0.0, 0.0) } else { Range::new(low, high) })
}
