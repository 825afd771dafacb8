//! What a tensor is made of.

use std::fmt;

/// The type of a tensor's elements: those of the Open Inference Protocol v2, and BF16.
///
/// ```
/// use aimass_sdk::ElementType;
/// assert_eq!(ElementType::Fp32.to_string(), "FP32");
/// assert_eq!(ElementType::Fp32.size(), Some(4));
/// assert_eq!(ElementType::Bytes.size(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, one byte.
    Uint8,
    /// Unsigned, two bytes.
    Uint16,
    /// Unsigned, four bytes.
    Uint32,
    /// Unsigned, eight bytes.
    Uint64,
    /// Signed, one byte.
    Int8,
    /// Signed, two bytes.
    Int16,
    /// Signed, four bytes.
    Int32,
    /// Signed, eight bytes.
    Int64,
    /// IEEE 754 half precision.
    Fp16,
    /// The upper half of a single precision number.
    Bf16,
    /// IEEE 754 single precision.
    Fp32,
    /// IEEE 754 double precision.
    Fp64,
    /// Any bytes (a string, a file), behind their length.
    Bytes,
}

impl ElementType {
    /// Bytes that one element takes; none for [`ElementType::Bytes`], whose elements differ in length.
    ///
    /// ```
    /// # use aimass_sdk::ElementType;
    /// assert_eq!(ElementType::Int64.size(), Some(8));
    /// ```
    pub const fn size(self) -> Option<usize> {
        Some(match self {
            Self::Bool | Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => 2,
            Self::Uint32 | Self::Int32 | Self::Fp32 => 4,
            Self::Uint64 | Self::Int64 | Self::Fp64 => 8,
            Self::Bytes => return None,
        })
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        })
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust number that is an element of a tensor. FP16 and BF16, which Rust has no type for, are read and written as
/// raw bytes.
///
/// ```
/// use aimass_sdk::{Element, ElementType};
/// assert_eq!(<f32 as Element>::TYPE, ElementType::Fp32);
/// ```
pub trait Element: bytemuck::Pod + sealed::Sealed {
    /// The element type that it stands for.
    const TYPE: ElementType;
}

macro_rules! elements {
    ($($rust:ty = $ty:ident;)*) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const TYPE: ElementType = ElementType::$ty;
        }
    )*};
}

elements! {
    u8 = Uint8; u16 = Uint16; u32 = Uint32; u64 = Uint64;
    i8 = Int8; i16 = Int16; i32 = Int32; i64 = Int64;
    f32 = Fp32; f64 = Fp64;
}

// Tensors are little-endian and are cast, not converted. WebAssembly is little-endian, and so is every machine that
// plugins are tested on.
const _: () = assert!(cfg!(target_endian = "little"), "the SDK supports little-endian machines only");

/// The bytes of `values` as numbers: borrowed where they are aligned for it, else copied.
pub(crate) fn cast<T: bytemuck::Pod>(bytes: &[u8]) -> Option<std::borrow::Cow<'_, [T]>> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(values) => Some(values.into()),
        Err(_) if bytes.len().is_multiple_of(size_of::<T>()) => {
            Some(bytemuck::pod_collect_to_vec::<u8, T>(bytes).into())
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn aligned_bytes_are_borrowed_and_others_copied() {
        let numbers = [1f32, 2.0, 3.0];
        let aligned: &[u8] = bytemuck::cast_slice(&numbers);
        assert!(matches!(cast::<f32>(aligned), Some(Cow::Borrowed(n)) if n == numbers));

        let mut shifted = [0u8; 16];
        let start = (1..5).find(|&i| shifted[i..].as_ptr().align_offset(4) != 0).unwrap_or(1);
        shifted[start..start + 8].copy_from_slice(&aligned[..8]);
        assert!(matches!(cast::<f32>(&shifted[start..start + 8]), Some(Cow::Owned(n)) if n == numbers[..2]));
    }

    #[test]
    fn a_ragged_length_is_no_number() {
        assert!(cast::<f32>(&[0; 7]).is_none());
    }
}
