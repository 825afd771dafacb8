//! Tensors as they cross every boundary: named, typed, little-endian, row-major.

use std::fmt;
use std::str::FromStr;

use bytes::{BufMut, Bytes, BytesMut};
use half::{bf16, f16};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Code, Fault};

macro_rules! element_types {
    ($($name:ident = $text:literal, $size:expr;)*) => {
        /// The element types of the Open Inference Protocol v2, and BF16, which Triton added.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ElementType {
            $(#[doc = concat!("`", $text, "`")] #[serde(rename = $text)] $name,)*
        }

        impl ElementType {
            /// Every element type.
            pub const ALL: &[ElementType] = &[$(ElementType::$name,)*];

            /// The protocol's name of it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Bytes of one element; `None` for BYTES, whose elements carry their length.
            pub const fn size(self) -> Option<usize> {
                match self { $(Self::$name => $size,)* }
            }
        }
    };
}

element_types! {
    Bool = "BOOL", Some(1);
    Uint8 = "UINT8", Some(1);
    Uint16 = "UINT16", Some(2);
    Uint32 = "UINT32", Some(4);
    Uint64 = "UINT64", Some(8);
    Int8 = "INT8", Some(1);
    Int16 = "INT16", Some(2);
    Int32 = "INT32", Some(4);
    Int64 = "INT64", Some(8);
    Fp16 = "FP16", Some(2);
    Bf16 = "BF16", Some(2);
    Fp32 = "FP32", Some(4);
    Fp64 = "FP64", Some(8);
    Bytes = "BYTES", None;
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ElementType {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::ALL.iter().copied().find(|t| t.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|t| t.as_str()).collect();
            Fault::new(Code::InvalidTensor, format!("a datatype is one of {}", known.join(", ")))
        })
    }
}

/// A Rust type that is an element type.
pub trait Element: Copy {
    /// Its element type.
    const TYPE: ElementType;
    /// Appends its little-endian bytes.
    fn put(self, out: &mut BytesMut);
    /// Reads it from exactly its size of little-endian bytes.
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! elements {
    ($($rust:ty = $ty:ident;)*) => {$(
        impl Element for $rust {
            const TYPE: ElementType = ElementType::$ty;
            fn put(self, out: &mut BytesMut) {
                out.put_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<Self>()];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
        }
    )*};
}

elements! {
    u8 = Uint8; u16 = Uint16; u32 = Uint32; u64 = Uint64;
    i8 = Int8; i16 = Int16; i32 = Int32; i64 = Int64;
    f16 = Fp16; bf16 = Bf16; f32 = Fp32; f64 = Fp64;
}

impl Element for bool {
    const TYPE: ElementType = ElementType::Bool;
    fn put(self, out: &mut BytesMut) {
        out.put_u8(self.into());
    }
    fn get(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }
}

/// A named tensor whose bytes fit its shape and type: that is checked when it is made.
///
/// Cloning shares the data.
///
/// ```
/// use aimass_core::{ElementType, Tensor};
/// let t = Tensor::from_elements("x", [2, 2], &[1f32, 2.0, 3.0, 4.0])?;
/// assert_eq!(t.element_type(), ElementType::Fp32);
/// assert_eq!(t.elements::<f32>()?, [1.0, 2.0, 3.0, 4.0]);
/// assert!(Tensor::new("x", ElementType::Fp32, [3], vec![0; 8]).is_err());
/// # Ok::<(), aimass_core::Fault>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor {
    name: String,
    element_type: ElementType,
    shape: Vec<u64>,
    data: Bytes,
}

/// Without the data, which are a tenant's and may be long: a log shows what was there, not what was in it.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({:?}, {}, {:?}, {} bytes)", self.name, self.element_type, self.shape, self.data.len())
    }
}

impl Tensor {
    /// A tensor of `data`: little-endian, row-major; BYTES elements each behind a 4-byte little-endian length.
    ///
    /// # Errors
    /// [`Code::InvalidTensor`] if the bytes do not fit the shape and type, or their product overflows. Nothing is
    /// allocated before that is known.
    pub fn new(
        name: impl Into<String>,
        element_type: ElementType,
        shape: impl Into<Vec<u64>>,
        data: impl Into<Bytes>,
    ) -> Result<Self, Fault> {
        let (name, shape, data) = (name.into(), shape.into(), data.into());
        let count = element_count(&shape)?;
        match element_type.size() {
            Some(size) => {
                let expected = count.checked_mul(size).ok_or_else(too_large)?;
                if expected != data.len() {
                    return Err(Fault::new(
                        Code::InvalidTensor,
                        format!(
                            "{element_type} {shape:?} is {count} elements in {expected} bytes, but {} bytes came",
                            data.len()
                        ),
                    ));
                }
                if element_type == ElementType::Bool && data.iter().any(|&b| b > 1) {
                    return Err(Fault::new(Code::InvalidTensor, "a BOOL element is 0 or 1"));
                }
            }
            None => {
                let found = BytesElements { rest: &data }.try_fold(0usize, |n, e| e.map(|_| n + 1))?;
                if found != count {
                    return Err(Fault::new(
                        Code::InvalidTensor,
                        format!("BYTES {shape:?} is {count} elements, but {found} came"),
                    ));
                }
            }
        }
        Ok(Self { name, element_type, shape, data })
    }

    /// A tensor of numbers (or booleans).
    ///
    /// # Errors
    /// [`Code::InvalidTensor`] if their count does not fit the shape.
    pub fn from_elements<T: Element>(
        name: impl Into<String>,
        shape: impl Into<Vec<u64>>,
        elements: &[T],
    ) -> Result<Self, Fault> {
        let mut data = BytesMut::with_capacity(size_of_val(elements));
        for &element in elements {
            element.put(&mut data);
        }
        Self::new(name, T::TYPE, shape, data)
    }

    /// A BYTES tensor.
    ///
    /// # Errors
    /// [`Code::InvalidTensor`] if the count does not fit the shape, or an element is 4 GiB or more.
    pub fn from_bytes_elements<B: AsRef<[u8]>>(
        name: impl Into<String>,
        shape: impl Into<Vec<u64>>,
        elements: &[B],
    ) -> Result<Self, Fault> {
        let total = elements.iter().map(|e| e.as_ref().len() + 4).sum();
        let mut data = BytesMut::with_capacity(total);
        for element in elements {
            let bytes = element.as_ref();
            data.put_u32_le(u32::try_from(bytes.len()).map_err(|_| too_large())?);
            data.put_slice(bytes);
        }
        Self::new(name, ElementType::Bytes, shape, data)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same data under another name.
    #[must_use]
    pub fn renamed(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The type of its elements.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// Its shape; empty for a scalar.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Its bytes, as [`Tensor::new`] takes them.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Its elements as numbers.
    ///
    /// # Errors
    /// [`Code::InvalidTensor`] if it holds another type.
    pub fn elements<T: Element>(&self) -> Result<Vec<T>, Fault> {
        if T::TYPE != self.element_type {
            return Err(Fault::new(
                Code::InvalidTensor,
                format!("`{}` holds {}, not {}", self.name, self.element_type, T::TYPE),
            ));
        }
        Ok(self.data.chunks_exact(size_of::<T>()).map(T::get).collect())
    }

    /// The elements of a BYTES tensor, borrowed.
    ///
    /// # Errors
    /// [`Code::InvalidTensor`] if it holds another type.
    pub fn bytes_elements(&self) -> Result<Vec<&[u8]>, Fault> {
        if self.element_type != ElementType::Bytes {
            let detail = format!("`{}` holds {}, not BYTES", self.name, self.element_type);
            return Err(Fault::new(Code::InvalidTensor, detail));
        }
        BytesElements { rest: &self.data }.collect()
    }
}

/// The number of elements of a shape (1 for a scalar).
///
/// # Errors
/// [`Code::InvalidTensor`] if the product overflows.
pub fn element_count(shape: &[u64]) -> Result<usize, Fault> {
    let product = shape.iter().try_fold(1u64, |product, &d| product.checked_mul(d)).ok_or_else(too_large)?;
    usize::try_from(product).map_err(|_| too_large())
}

fn too_large() -> Fault {
    Fault::new(Code::InvalidTensor, "the tensor's size overflows")
}

struct BytesElements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for BytesElements<'a> {
    type Item = Result<&'a [u8], Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let element = self
            .rest
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        match element {
            Some((element, rest)) => {
                self.rest = rest;
                Some(Ok(element))
            }
            None => {
                self.rest = &[];
                Some(Err(Fault::new(Code::InvalidTensor, "a BYTES element ends behind the data")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f10_a_shape_that_does_not_fit_is_refused() {
        for (ty, shape, bytes) in [
            (ElementType::Fp32, vec![2, 2], 15),
            (ElementType::Fp32, vec![u64::MAX, 2], 0),
            (ElementType::Fp64, vec![u64::MAX / 8 + 1], 0),
            (ElementType::Fp32, vec![1 << 62, 1], 4),
            (ElementType::Bytes, vec![2], 4),
        ] {
            let fault = Tensor::new("x", ty, shape, vec![0; bytes]).unwrap_err();
            assert_eq!(fault.code(), Code::InvalidTensor);
        }
        assert!(Tensor::new("x", ElementType::Fp32, [0, u64::MAX], vec![]).is_ok(), "an empty tensor is one");
    }

    #[test]
    fn bytes_elements_round_trip() {
        let t = Tensor::from_bytes_elements("b", [3], &[b"".as_slice(), b"a", b"bc"]).unwrap();
        assert_eq!(t.bytes_elements().unwrap(), [b"".as_slice(), b"a", b"bc"]);
        let truncated = t.data().slice(..t.data().len() - 1);
        assert!(Tensor::new("b", ElementType::Bytes, [3], truncated).is_err());
    }

    #[test]
    fn every_number_round_trips() {
        let t = Tensor::from_elements("x", [2], &[f16::from_f32(1.5), f16::NAN]).unwrap();
        assert_eq!(t.elements::<f16>().unwrap()[0], f16::from_f32(1.5));
        let t = Tensor::from_elements("x", [], &[i64::MIN]).unwrap();
        assert_eq!(t.elements::<i64>().unwrap(), [i64::MIN]);
        assert!(t.elements::<u64>().is_err());
        assert!(Tensor::new("x", ElementType::Bool, [1], vec![2]).is_err());
    }
}
