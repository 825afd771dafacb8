//! Tensors between the platform's form and tract's: one copy a direction.

use aimass_core::{ElementType, Tensor};
use bytes::Bytes;
use tract_onnx::prelude::{DatumType, TValue, Tensor as TractTensor, TractResult, tract_ndarray};

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
        ElementType::Bytes => DatumType::String,
        ElementType::Bf16 => return None,
    })
}

/// Into tract. The tensor's bytes fit its shape and type: [`Tensor`] sees to it.
pub(super) fn into_tract(tensor: &Tensor) -> Result<TValue, String> {
    let wrong = || format!("`{}` holds {}", tensor.name(), tensor.element_type());
    let datum_type = datum_type(tensor.element_type()).ok_or_else(wrong)?;
    let shape: Vec<usize> =
        tensor.shape().iter().map(|&d| usize::try_from(d)).collect::<Result<_, _>>().map_err(|_| wrong())?;
    if datum_type == DatumType::String {
        return strings_into_tract(tensor, &shape);
    }
    let mut own = TractTensor::zero_dt(datum_type, &shape).map_err(|e| super::reason(&e))?;
    // tract has no bytes to lend of a tensor without elements.
    if !tensor.data().is_empty() {
        own.as_bytes_mut().copy_from_slice(tensor.data());
    }
    Ok(own.into())
}

fn strings_into_tract(tensor: &Tensor, shape: &[usize]) -> Result<TValue, String> {
    let elements = tensor.bytes_elements().map_err(|fault| fault.detail().to_owned())?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
    let strings = elements.into_iter().map(text).collect::<Result<Vec<String>, _>>();
    let strings = strings.map_err(|_| format!("`{}` holds text that is not UTF-8", tensor.name()))?;
    let array = tract_ndarray::ArrayD::from_shape_vec(shape, strings).map_err(|e| e.to_string())?;
    Ok(TractTensor::from(array).into())
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
    let shape: Vec<u64> = value.shape().iter().map(|&d| d as u64).collect();
    if wanted == DatumType::String {
        let strings = value.to_plain_array_view::<String>().map_err(|e| super::reason(&e))?;
        let strings: Vec<&String> = strings.iter().collect();
        return Tensor::from_bytes_elements(name, shape, &strings).map_err(|fault| fault.detail().to_owned());
    }
    let data = if value.len() == 0 { Bytes::new() } else { Bytes::copy_from_slice(value.as_bytes()) };
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
