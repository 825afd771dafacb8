//! Typed contents (`InferTensorContents`): from protobuf's numbers to a tensor's bytes, in one pass.
//!
//! They are decoded when type and shape are known: into one allocation of the tensor's size, and not first into a list
//! of numbers that is up to eight times what came.

use aimass_core::ElementType;
use bytes::{BufMut, Bytes, BytesMut};

use super::wire::{self, Value};

/// The message's field for a type; none for those that only come raw.
fn field(element_type: ElementType) -> Option<(u32, &'static str)> {
    Some(match element_type {
        ElementType::Bool => (1, "bool_contents"),
        ElementType::Int8 | ElementType::Int16 | ElementType::Int32 => (2, "int_contents"),
        ElementType::Int64 => (3, "int64_contents"),
        ElementType::Uint8 | ElementType::Uint16 | ElementType::Uint32 => (4, "uint_contents"),
        ElementType::Uint64 => (5, "uint64_contents"),
        ElementType::Fp32 => (6, "fp32_contents"),
        ElementType::Fp64 => (7, "fp64_contents"),
        ElementType::Bytes => (8, "bytes_contents"),
        ElementType::Fp16 | ElementType::Bf16 => return None,
    })
}

/// Reads `count` elements. The caller sees to it that they are no more than may be allocated.
pub(super) fn read(contents: &Bytes, element_type: ElementType, count: usize) -> Result<Bytes, String> {
    let (field, name) =
        field(element_type).ok_or_else(|| format!("{element_type} comes in `raw_input_contents` only"))?;
    // Of the numbers of 4 and 8 bytes that are sent as such, all at once is the rule, and then nothing is copied.
    if matches!(element_type, ElementType::Fp32 | ElementType::Fp64)
        && let Some(packed) = only(contents, field)?
    {
        return Ok(packed);
    }
    // An element takes a byte at least: what the shape claims is bounded by what came.
    let mut out = BytesMut::with_capacity(match element_type.size() {
        Some(size) => count.min(contents.len()).saturating_mul(size),
        None => contents.len(),
    });
    let mut found = 0;
    wire::fields(contents, |number, value| {
        if number != field {
            return Err(format!("the elements of {element_type} are `{name}`"));
        }
        elements(element_type, value, |bytes| {
            found += 1;
            if found > count {
                return Err(format!("more than {count} elements came"));
            }
            if element_type == ElementType::Bytes {
                // As long as the message at most, which is far under 4 GiB.
                out.put_u32_le(bytes.len() as u32);
            }
            out.put_slice(bytes);
            Ok(())
        })
    })?;
    if found < count {
        return Err(format!("{found} of {count} elements came"));
    }
    Ok(out.freeze())
}

/// The field's bytes, if the message holds nothing else, once.
fn only(contents: &Bytes, field: u32) -> Result<Option<Bytes>, String> {
    let (mut found, mut others) = (None, false);
    wire::fields::<String>(contents, |number, value| {
        match value {
            Value::Bytes(bytes) if number == field && found.is_none() => found = Some(contents.slice_ref(bytes)),
            _ => others = true,
        }
        Ok(())
    })?;
    Ok(found.filter(|_| !others))
}

/// Hands the little-endian bytes of each element of one field to `put`. Numbers come one by one or packed.
fn elements(
    element_type: ElementType,
    value: Value<'_>,
    mut put: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let wrong = || Err(format!("an element is not a {element_type}"));
    match (element_type, value) {
        (ElementType::Bytes, Value::Bytes(bytes)) => put(bytes),
        (ElementType::Fp32, Value::Fixed32(bytes)) | (ElementType::Fp64, Value::Fixed64(bytes)) => put(bytes),
        (ElementType::Fp32, Value::Bytes(packed)) => whole(packed, 4, put),
        (ElementType::Fp64, Value::Bytes(packed)) => whole(packed, 8, put),
        (ElementType::Bytes | ElementType::Fp32 | ElementType::Fp64, _) => wrong(),
        (_, Value::Varint(number)) => integer(element_type, number, &mut put),
        (_, Value::Bytes(packed)) => wire::varints(packed, |number| integer(element_type, number, &mut put)),
        _ => wrong(),
    }
}

fn whole(packed: &[u8], size: usize, put: impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
    if !packed.len().is_multiple_of(size) {
        return Err(wire::Malformed.into());
    }
    packed.chunks_exact(size).try_for_each(put)
}

/// One integer or boolean. Protobuf's own types have 32 or 64 bits; the narrower ones are checked, never cut.
fn integer(
    element_type: ElementType,
    number: u64,
    put: &mut impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    // As every parser of protobuf reads a varint into 32 bits.
    let (signed, unsigned) = (number as i32, number as u32);
    let range = || format!("an element is out of the range of {element_type}");
    match element_type {
        ElementType::Bool => put(&[u8::from(number != 0)]),
        ElementType::Int8 => put(&i8::try_from(signed).map_err(|_| range())?.to_le_bytes()),
        ElementType::Int16 => put(&i16::try_from(signed).map_err(|_| range())?.to_le_bytes()),
        ElementType::Int32 => put(&signed.to_le_bytes()),
        ElementType::Uint8 => put(&u8::try_from(unsigned).map_err(|_| range())?.to_le_bytes()),
        ElementType::Uint16 => put(&u16::try_from(unsigned).map_err(|_| range())?.to_le_bytes()),
        ElementType::Uint32 => put(&unsigned.to_le_bytes()),
        _ => put(&number.to_le_bytes()),
    }
}
