//! Tensors between the platform's form and ONNX Runtime's: inputs are lent where their bytes are aligned, outputs are
//! copied once.

use std::fmt::Debug;

use aimass_core::{ElementType, Port, Tensor};
use bytemuck::Pod;
use bytes::Bytes;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor as OrtTensor, TensorElementType, TensorRef};

use crate::backend::one_line;

type Fed<'a> = Result<SessionInputValue<'a>, String>;

/// Into ONNX Runtime, which reads the tensor's own bytes if it can.
pub(super) fn into_ort(tensor: &Tensor) -> Fed<'_> {
    match tensor.element_type() {
        ElementType::Uint8 => lend::<u8>(tensor),
        ElementType::Uint16 => lend::<u16>(tensor),
        ElementType::Uint32 => lend::<u32>(tensor),
        ElementType::Uint64 => lend::<u64>(tensor),
        ElementType::Int8 => lend::<i8>(tensor),
        ElementType::Int16 => lend::<i16>(tensor),
        ElementType::Int32 => lend::<i32>(tensor),
        ElementType::Int64 => lend::<i64>(tensor),
        ElementType::Fp32 => lend::<f32>(tensor),
        ElementType::Fp64 => lend::<f64>(tensor),
        ElementType::Fp16 => {
            let bits: Vec<u16> = bytemuck::pod_collect_to_vec(tensor.data());
            own::<f16>(tensor, bits.reinterpret_cast().to_vec())
        }
        ElementType::Bf16 => {
            let bits: Vec<u16> = bytemuck::pod_collect_to_vec(tensor.data());
            own::<bf16>(tensor, bits.reinterpret_cast().to_vec())
        }
        ElementType::Bool => own(tensor, tensor.data().iter().map(|&b| b != 0).collect()),
        ElementType::Bytes => strings(tensor),
    }
}

fn lend<T: Pod + PrimitiveTensorElementType + Debug>(tensor: &Tensor) -> Fed<'_> {
    match bytemuck::try_cast_slice::<u8, T>(tensor.data()) {
        Ok(numbers) => Ok(TensorRef::from_array_view((shape(tensor), numbers)).map_err(why)?.into()),
        Err(_) => own::<T>(tensor, bytemuck::pod_collect_to_vec(tensor.data())),
    }
}

fn own<T: Copy + PrimitiveTensorElementType + Debug + 'static>(tensor: &Tensor, numbers: Vec<T>) -> Fed<'_> {
    Ok(OrtTensor::from_array((shape(tensor), numbers)).map_err(why)?.into())
}

fn strings(tensor: &Tensor) -> Fed<'_> {
    let elements = tensor.bytes_elements().map_err(|fault| fault.detail().to_owned())?;
    // Owned: the value that is made of them must not look back at the tensor.
    let texts = elements.into_iter().map(|bytes| String::from_utf8(bytes.to_vec())).collect::<Result<Vec<_>, _>>();
    let texts = texts.map_err(|_| format!("`{}` holds text that is not UTF-8", tensor.name()))?;
    Ok(OrtTensor::from_string_array((shape(tensor), texts.as_slice())).map_err(why)?.into())
}

fn shape(tensor: &Tensor) -> Vec<i64> {
    tensor.shape().iter().map(|&d| d as i64).collect()
}

/// Out of ONNX Runtime, under the port's name; it must be of the port's type.
pub(super) fn from_ort(value: &DynValue, port: &Port) -> Result<Tensor, String> {
    let made = value.dtype().tensor_type().ok_or_else(|| format!("the output `{}` is no tensor", port.name))?;
    if element_type(made) != Some(port.element_type) {
        return Err(format!("the output `{}` is {made}, and the file says {}", port.name, port.element_type));
    }
    match port.element_type {
        ElementType::Uint8 => take::<u8>(value, port),
        ElementType::Uint16 => take::<u16>(value, port),
        ElementType::Uint32 => take::<u32>(value, port),
        ElementType::Uint64 => take::<u64>(value, port),
        ElementType::Int8 => take::<i8>(value, port),
        ElementType::Int16 => take::<i16>(value, port),
        ElementType::Int32 => take::<i32>(value, port),
        ElementType::Int64 => take::<i64>(value, port),
        ElementType::Fp32 => take::<f32>(value, port),
        ElementType::Fp64 => take::<f64>(value, port),
        ElementType::Fp16 => {
            let (shape, numbers) = value.try_extract_tensor::<f16>().map_err(why)?;
            tensor(port, shape, Bytes::copy_from_slice(bytemuck::cast_slice(numbers.reinterpret_cast())))
        }
        ElementType::Bf16 => {
            let (shape, numbers) = value.try_extract_tensor::<bf16>().map_err(why)?;
            tensor(port, shape, Bytes::copy_from_slice(bytemuck::cast_slice(numbers.reinterpret_cast())))
        }
        ElementType::Bool => {
            let (shape, flags) = value.try_extract_tensor::<bool>().map_err(why)?;
            tensor(port, shape, flags.iter().map(|&flag| u8::from(flag)).collect())
        }
        ElementType::Bytes => {
            let (shape, texts) = value.try_extract_strings().map_err(why)?;
            Tensor::from_bytes_elements(port.name.clone(), unsigned(shape), &texts)
                .map_err(|fault| fault.detail().to_owned())
        }
    }
}

fn take<T: Pod + PrimitiveTensorElementType>(value: &DynValue, port: &Port) -> Result<Tensor, String> {
    let (shape, numbers) = value.try_extract_tensor::<T>().map_err(why)?;
    tensor(port, shape, Bytes::copy_from_slice(bytemuck::cast_slice(numbers)))
}

fn tensor(port: &Port, shape: &[i64], data: Bytes) -> Result<Tensor, String> {
    Tensor::new(port.name.clone(), port.element_type, unsigned(shape), data).map_err(|fault| fault.detail().to_owned())
}

fn unsigned(shape: &[i64]) -> Vec<u64> {
    shape.iter().map(|&d| d.unsigned_abs()).collect()
}

fn element_type(ort: TensorElementType) -> Option<ElementType> {
    Some(match ort {
        TensorElementType::Bool => ElementType::Bool,
        TensorElementType::Uint8 => ElementType::Uint8,
        TensorElementType::Uint16 => ElementType::Uint16,
        TensorElementType::Uint32 => ElementType::Uint32,
        TensorElementType::Uint64 => ElementType::Uint64,
        TensorElementType::Int8 => ElementType::Int8,
        TensorElementType::Int16 => ElementType::Int16,
        TensorElementType::Int32 => ElementType::Int32,
        TensorElementType::Int64 => ElementType::Int64,
        TensorElementType::Float16 => ElementType::Fp16,
        TensorElementType::Bfloat16 => ElementType::Bf16,
        TensorElementType::Float32 => ElementType::Fp32,
        TensorElementType::Float64 => ElementType::Fp64,
        TensorElementType::String => ElementType::Bytes,
        _ => return None,
    })
}

fn why(error: ort::Error) -> String {
    one_line(&error.to_string())
}
