//! Tensors to the device and back: everything is f32 there.

use aimass_core::{ElementType, Port, Tensor};
use tract_onnx::prelude::f16;

use super::lower::Feed;

macro_rules! numbers {
    ($tensor:expr, $($variant:ident $rust:ty),*) => {
        match $tensor.element_type() {
            $(ElementType::$variant => {
                $tensor.elements::<$rust>().map(|all| all.into_iter().map(|n| n as f64).collect())
            })*
            ElementType::Bool => $tensor.elements::<bool>().map(|all| all.into_iter().map(|b| f64::from(u8::from(b))).collect()),
            ElementType::Fp16 => $tensor.elements::<f16>().map(|all| all.into_iter().map(f64::from).collect()),
            other => return Err(format!("`{}` holds {other}", $tensor.name())),
        }
    };
}

/// The tensor's numbers.
///
/// # Errors
/// It holds none.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f64>, String> {
    let read: Result<Vec<f64>, _> = numbers!(
        tensor, Uint8 u8, Uint16 u16, Uint32 u32, Uint64 u64, Int8 i8, Int16 i16, Int32 i32, Int64 i64, Fp32 f32, Fp64 f64
    );
    read.map_err(|e| e.to_string())
}

/// The numbers as the device takes them.
///
/// # Errors
/// An integer that it would round, or that is no index of what it chooses from.
pub(super) fn to_device(tensor: &Tensor, feed: &Feed) -> Result<Vec<f32>, String> {
    if tensor.element_type() == ElementType::Fp32 {
        return tensor.elements::<f32>().map_err(|e| e.to_string());
    }
    let numbers = numbers(tensor)?;
    if let Some((low, high)) = feed.range
        && let Some(outside) = numbers.iter().find(|n| !(low..=high).contains(*n))
    {
        return Err(format!("`{}` holds {outside}; on the GPU it may hold {low} to {high}", tensor.name()));
    }
    Ok(numbers.into_iter().map(|n| n as f32).collect())
}

/// What the device computed, as the signature promises it.
///
/// # Errors
/// It is too little, or of no such type.
pub(super) fn from_device(port: &Port, numbers: &[f32]) -> Result<Tensor, String> {
    let shape: Vec<u64> = port.shape.iter().map(|&d| d.unsigned_abs()).collect();
    let count = aimass_core::tensor::element_count(&shape).map_err(|e| e.to_string())?;
    // Behind the numbers may lie what instructions have left there.
    let numbers = numbers.get(..count).ok_or_else(|| format!("it gave too little for `{}`", port.name))?;
    macro_rules! made {
        ($($variant:ident $rust:ty),*) => {
            match port.element_type {
                ElementType::Fp32 => Tensor::from_elements(port.name.clone(), shape, numbers),
                $(ElementType::$variant => {
                    let cast: Vec<$rust> = numbers.iter().map(|&n| n as $rust).collect();
                    Tensor::from_elements(port.name.clone(), shape, &cast)
                })*
                ElementType::Bool => {
                    let cast: Vec<bool> = numbers.iter().map(|&n| n != 0.0).collect();
                    Tensor::from_elements(port.name.clone(), shape, &cast)
                }
                ElementType::Fp16 => {
                    let cast: Vec<f16> = numbers.iter().map(|&n| f16::from_f32(n)).collect();
                    Tensor::from_elements(port.name.clone(), shape, &cast)
                }
                other => return Err(format!("`{}` is {other}", port.name)),
            }
        };
    }
    made!(Uint8 u8, Uint16 u16, Uint32 u32, Uint64 u64, Int8 i8, Int16 i16, Int32 i32, Int64 i64)
        .map_err(|e| e.to_string())
}
