//! Tensors between the platform's form and tract's: one copy a direction.

use aimass_core::{ElementType, Tensor};
use bytes::Bytes;
use tract_onnx::prelude::{DatumType, TValue, Tensor as TractTensor, TractResult};

// Both forms are compared as bytes; the platform's are little-endian.
#[cfg(target_endian = "big")]
compile_error!("tensors are exchanged with tract in the machine's byte order, which must be little-endian");

/// tract's name of an element type; `None` for those it has not.
pub(super) fn datum_type(element_type: ElementType) -> Option<DatumType> {
    Some(match element_type {
        ElementType::Bool => DatumType::Bool,
        ElementType::Uint8 => DatumType::U8,
        ElementType::Uint16 => DatumType::U16,
        ElementType::Uint32 => DatumType::U32,
        ElementType::Uint64 => DatumType::U64,
        ElementType::Int8 => DatumType::I8,
        ElementType::Int16 => DatumType::I16,
        ElementType::Int32 => DatumType::I32,
        ElementType::Int64 => DatumType::I64,
        ElementType::Fp16 => DatumType::F16,
        ElementType::Fp32 => DatumType::F32,
        ElementType::Fp64 => DatumType::F64,
        ElementType::Bf16 | ElementType::Bytes => return None,
    })
}

/// Into tract. The tensor's bytes fit its shape and type: [`Tensor`] sees to it.
pub(super) fn into_tract(tensor: &Tensor) -> Result<TValue, String> {
    let wrong = || format!("`{}` holds {}", tensor.name(), tensor.element_type());
    let datum_type = datum_type(tensor.element_type()).ok_or_else(wrong)?;
    let shape: Vec<usize> =
        tensor.shape().iter().map(|&d| usize::try_from(d)).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let mut own = TractTensor::zero_dt(datum_type, &shape).map_err(|e| super::reason(&e))?;
    // tract has no bytes to lend of a tensor without elements.
    if !tensor.data().is_empty() {
        own.as_bytes_mut().copy_from_slice(tensor.data());
    }
    Ok(own.into())
}

/// Out of tract, under `name` and as `element_type`, which the file declares.
pub(super) fn from_tract(value: &TractTensor, name: &str, element_type: ElementType) -> Result<Tensor, String> {
    let wanted = datum_type(element_type).ok_or_else(|| format!("the output `{name}` is {element_type}"))?;
    let cast;
    let value = if value.datum_type() == wanted {
        value
    } else {
        // Shapes are symbolic inside tract; the declared type is what was promised.
        cast = resolve(value, wanted).map_err(|e| super::reason(&e))?;
        &cast
    };
    let data = if value.len() == 0 { Bytes::new() } else { Bytes::copy_from_slice(value.as_bytes()) };
    let shape: Vec<u64> = value.shape().iter().map(|&d| d as u64).collect();
    Tensor::new(name, element_type, shape, data).map_err(|fault| fault.detail().to_owned())
}

fn resolve(value: &TractTensor, wanted: DatumType) -> TractResult<TractTensor> {
    let numbers = if value.datum_type() == DatumType::TDim {
        value.cast_to_dt(DatumType::I64)?.into_owned()
    } else {
        value.clone()
    };
    Ok(numbers.cast_to_dt(wanted)?.into_owned())
}
