//! Named tensors: what a plugin is called with and answers.

use std::borrow::Cow;

use crate::element::cast;
use crate::{Element, ElementType, Fault};

/// A named tensor whose bytes fit its shape and type.
///
/// ```
/// use aimass_sdk::Tensor;
/// let x = Tensor::from_slice("x", [2, 2], &[1f32, 2.0, 3.0, 4.0])?;
/// assert_eq!(x.as_slice::<f32>()?.iter().sum::<f32>(), 10.0);
/// assert_eq!(x.shape(), [2, 2]);
/// # Ok::<(), aimass_sdk::Fault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub(crate) name: String,
    pub(crate) element_type: ElementType,
    pub(crate) shape: Vec<u64>,
    pub(crate) data: Vec<u8>,
}

impl Tensor {
    /// A tensor of numbers, row-major.
    ///
    /// # Errors
    /// [`Fault::Internal`] if there are more or fewer values than the shape says.
    ///
    /// ```
    /// # use aimass_sdk::Tensor;
    /// assert!(Tensor::from_slice("x", [3], &[1i64, 2, 3]).is_ok());
    /// assert!(Tensor::from_slice("x", [4], &[1i64, 2, 3]).is_err());
    /// ```
    pub fn from_slice<T: Element>(
        name: impl Into<String>,
        shape: impl Into<Vec<u64>>,
        values: &[T],
    ) -> Result<Self, Fault> {
        Self::from_raw(name, T::TYPE, shape, bytemuck::cast_slice(values).to_vec())
    }

    /// A tensor of booleans, row-major.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    ///
    /// ```
    /// # use aimass_sdk::{ElementType, Tensor};
    /// let t = Tensor::from_bools("mask", [2], &[true, false])?;
    /// assert_eq!(t.element_type(), ElementType::Bool);
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn from_bools(name: impl Into<String>, shape: impl Into<Vec<u64>>, values: &[bool]) -> Result<Self, Fault> {
        Self::from_raw(name, ElementType::Bool, shape, values.iter().map(|&b| b.into()).collect())
    }

    /// A tensor of type BYTES: strings, files.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`]; or an element of 4 GiB or more.
    ///
    /// ```
    /// # use aimass_sdk::Tensor;
    /// let labels = Tensor::from_bytes("label", [2], ["rust", "png"])?;
    /// assert_eq!(labels.as_strs()?, ["rust", "png"]);
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn from_bytes<B: AsRef<[u8]>>(
        name: impl Into<String>,
        shape: impl Into<Vec<u64>>,
        elements: impl IntoIterator<Item = B>,
    ) -> Result<Self, Fault> {
        let mut data = Vec::new();
        for element in elements {
            let element = element.as_ref();
            let length = u32::try_from(element.len()).map_err(|_| Fault::internal("an element of 4 GiB or more"))?;
            data.extend_from_slice(&length.to_le_bytes());
            data.extend_from_slice(element);
        }
        Self::from_raw(name, ElementType::Bytes, shape, data)
    }

    /// A tensor of little-endian bytes as they stand; elements of type BYTES each behind a 4-byte length.
    ///
    /// # Errors
    /// [`Fault::Internal`] if the bytes do not fit the shape and type.
    ///
    /// ```
    /// # use aimass_sdk::{ElementType, Tensor};
    /// let half = Tensor::from_raw("h", ElementType::Fp16, [1], vec![0x00, 0x3c])?; // 1.0
    /// assert_eq!(half.data(), [0x00, 0x3c]);
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn from_raw(
        name: impl Into<String>,
        element_type: ElementType,
        shape: impl Into<Vec<u64>>,
        data: Vec<u8>,
    ) -> Result<Self, Fault> {
        let tensor = Self { name: name.into(), element_type, shape: shape.into(), data };
        match tensor.fits() {
            true => Ok(tensor),
            false => Err(Fault::internal(format!(
                "`{}`: {} bytes are no {} {:?}",
                tensor.name,
                tensor.data.len(),
                tensor.element_type,
                tensor.shape
            ))),
        }
    }

    fn fits(&self) -> bool {
        let Some(count) = self.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d)) else { return false };
        match self.element_type.size() {
            Some(size) => count.checked_mul(size as u64) == Some(self.data.len() as u64),
            None => split(&self.data).try_fold(0u64, |n, e| e.map(|_| n + 1)) == Some(count),
        }
    }

    /// Its name.
    ///
    /// ```
    /// # use aimass_sdk::Tensor;
    /// assert_eq!(Tensor::from_slice("x", [1], &[0u8])?.name(), "x");
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its elements.
    ///
    /// ```
    /// # use aimass_sdk::{ElementType, Tensor};
    /// assert_eq!(Tensor::from_slice("x", [1], &[0u8])?.element_type(), ElementType::Uint8);
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// The sizes of its dimensions; empty for a scalar.
    ///
    /// ```
    /// # use aimass_sdk::Tensor;
    /// assert_eq!(Tensor::from_slice("x", [1, 2], &[0u8, 1])?.shape(), [1, 2]);
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Its bytes: little-endian, row-major.
    ///
    /// ```
    /// # use aimass_sdk::Tensor;
    /// assert_eq!(Tensor::from_slice("x", [1], &[258u16])?.data(), [2, 1]);
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Its bytes, without a copy.
    ///
    /// ```
    /// # use aimass_sdk::Tensor;
    /// assert_eq!(Tensor::from_slice("x", [1], &[258u16])?.into_data(), [2, 1]);
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// The same tensor under another name: an input given back as an output.
    ///
    /// ```
    /// # use aimass_sdk::Tensor;
    /// assert_eq!(Tensor::from_slice("x", [1], &[0u8])?.renamed("y").name(), "y");
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    #[must_use]
    pub fn renamed(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Its elements as numbers, row-major; borrowed where the bytes are aligned for the type, else copied.
    ///
    /// # Errors
    /// [`Fault::InvalidInput`] if it holds another type.
    ///
    /// ```
    /// # use aimass_sdk::Tensor;
    /// let t = Tensor::from_slice("x", [2], &[1i32, -1])?;
    /// assert_eq!(*t.as_slice::<i32>()?, [1, -1]);
    /// assert!(t.as_slice::<f32>().is_err());
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn as_slice<T: Element>(&self) -> Result<Cow<'_, [T]>, Fault> {
        self.expect(T::TYPE)?;
        cast(&self.data).ok_or_else(|| Fault::internal("the bytes do not fit the type"))
    }

    /// Its elements as booleans, row-major.
    ///
    /// # Errors
    /// As [`Tensor::as_slice`].
    ///
    /// ```
    /// # use aimass_sdk::Tensor;
    /// assert_eq!(Tensor::from_bools("m", [2], &[true, false])?.to_bools()?, [true, false]);
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn to_bools(&self) -> Result<Vec<bool>, Fault> {
        self.expect(ElementType::Bool)?;
        Ok(self.data.iter().map(|&b| b != 0).collect())
    }

    /// Its elements of type BYTES, borrowed.
    ///
    /// # Errors
    /// As [`Tensor::as_slice`].
    ///
    /// ```
    /// # use aimass_sdk::Tensor;
    /// let files = Tensor::from_bytes("content", [2], [&b"\x7fELF"[..], b""])?;
    /// assert_eq!(files.as_bytes()?, [&b"\x7fELF"[..], b""]);
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn as_bytes(&self) -> Result<Vec<&[u8]>, Fault> {
        self.expect(ElementType::Bytes)?;
        split(&self.data).collect::<Option<_>>().ok_or_else(|| Fault::invalid_input("a length runs over the end"))
    }

    /// Its elements of type BYTES as UTF-8, borrowed.
    ///
    /// # Errors
    /// As [`Tensor::as_slice`]; [`Fault::InvalidInput`] too if one is not UTF-8.
    ///
    /// ```
    /// # use aimass_sdk::Tensor;
    /// assert_eq!(Tensor::from_bytes("t", [1], ["grüezi"])?.as_strs()?, ["grüezi"]);
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn as_strs(&self) -> Result<Vec<&str>, Fault> {
        let text =
            |b| std::str::from_utf8(b).map_err(|_| Fault::invalid_input(format!("`{}` is not UTF-8", self.name)));
        self.as_bytes()?.into_iter().map(text).collect()
    }

    fn expect(&self, wanted: ElementType) -> Result<(), Fault> {
        if self.element_type == wanted {
            return Ok(());
        }
        Err(Fault::invalid_input(format!("`{}` holds {}, not {wanted}", self.name, self.element_type)))
    }
}

/// The elements of a BYTES tensor; `None` where a length runs over the end.
fn split(mut data: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let element = data.split_first_chunk::<4>().and_then(|(length, rest)| {
            let (element, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            data = rest;
            Some(element)
        });
        if element.is_none() {
            data = &[];
        }
        Some(element)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_that_overflows_is_refused() {
        assert!(Tensor::from_raw("x", ElementType::Fp64, [u64::MAX, 2], vec![]).is_err());
    }

    #[test]
    fn a_scalar_has_one_element_and_a_zero_dimension_none() {
        assert!(Tensor::from_slice("x", [], &[1f32]).is_ok());
        assert!(Tensor::from_slice::<f32>("x", [3, 0], &[]).is_ok());
    }

    #[test]
    fn a_length_over_the_end_is_refused() {
        assert!(Tensor::from_raw("x", ElementType::Bytes, [1], vec![5, 0, 0, 0, b'a']).is_err());
        assert!(Tensor::from_raw("x", ElementType::Bytes, [1], vec![5, 0]).is_err());
        assert!(Tensor::from_raw("x", ElementType::Bytes, [2], vec![1, 0, 0, 0, b'a']).is_err());
    }

    #[test]
    fn text_that_is_not_utf8_is_the_callers_fault() {
        let t = Tensor::from_bytes("t", [1], [[0xff]]).unwrap();
        assert!(matches!(t.as_strs(), Err(Fault::InvalidInput(_))));
    }
}
