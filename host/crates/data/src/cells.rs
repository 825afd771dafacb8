//! Single values of columns: what they are, as elements of tensors and as text.

use aimass_core::ElementType;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, DecimalType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use bytes::{BufMut, BytesMut};
use half::{bf16, f16};

/// Says of a field that its text is JSON.
pub(crate) const JSON: &str = "aimass.json";

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Single(f32),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    List(ArrayRef),
    /// A date, a time, a decimal: it can be written, and is no element of a tensor.
    Written(String),
}

/// Whether there are cells of this type.
pub(crate) fn has_cells(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => !item.data_type().is_nested() && has_cells(item.data_type()),
        DataType::Null | DataType::Boolean | DataType::Date32 | DataType::Timestamp(..) => true,
        DataType::Utf8 | DataType::Utf8View | DataType::BinaryView | DataType::Decimal128(..) => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// The value in row `row`. Of a type that has no cells it is null.
pub(crate) fn cell(array: &dyn Array, row: usize) -> Cell<'_> {
    if array.is_null(row) {
        return Cell::Null;
    }
    macro_rules! number {
        ($($pattern:pat => $ty:ty, $cell:ident;)*) => {
            match array.data_type() {
                $($pattern => return Cell::$cell(array.as_primitive::<$ty>().value(row).into()),)*
                _ => {}
            }
        };
    }
    number! {
        DataType::Int8 => Int8Type, Int;
        DataType::Int16 => Int16Type, Int;
        DataType::Int32 => Int32Type, Int;
        DataType::Int64 => Int64Type, Int;
        DataType::UInt8 => UInt8Type, Int;
        DataType::UInt16 => UInt16Type, Int;
        DataType::UInt32 => UInt32Type, Int;
        DataType::UInt64 => UInt64Type, Int;
        DataType::Float16 => Float16Type, Single;
        DataType::Float32 => Float32Type, Single;
        DataType::Float64 => Float64Type, Float;
    }
    match array.data_type() {
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row)),
        DataType::Utf8View => Cell::Text(array.as_string_view().value(row)),
        DataType::BinaryView => Cell::Bytes(array.as_binary_view().value(row)),
        DataType::List(_) => Cell::List(array.as_list::<i32>().value(row)),
        DataType::Decimal128(precision, scale) => {
            let value = array.as_primitive::<Decimal128Type>().value(row);
            Cell::Written(Decimal128Type::format_decimal(value, *precision, *scale))
        }
        DataType::Date32 => written(array.as_primitive::<Date32Type>().value_as_date(row).map(|date| date.to_string())),
        DataType::Timestamp(unit, zone) => {
            let time = match unit {
                TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value_as_datetime(row),
                TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value_as_datetime(row),
                TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value_as_datetime(row),
                TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value_as_datetime(row),
            };
            // Parquet's times with a zone are in UTC.
            let zone = if zone.is_some() { "Z" } else { "" };
            written(time.map(|time| format!("{time:?}{zone}")))
        }
        _ => Cell::Null,
    }
}

/// Of a time that no calendar has.
fn written(text: Option<String>) -> Cell<'static> {
    text.map_or(Cell::Null, Cell::Written)
}

/// Appends a value as an element of a tensor.
///
/// # Errors
/// Why it is none, without the value itself.
pub(crate) fn put(cell: &Cell<'_>, element: ElementType, out: &mut BytesMut) -> Result<(), &'static str> {
    if element == ElementType::Bytes {
        let bytes: &[u8] = match cell {
            Cell::Text(text) => text.as_bytes(),
            Cell::Bytes(bytes) => bytes,
            Cell::Null => return Err("is null"),
            _ => return Err("is no text, and the input takes BYTES"),
        };
        out.put_u32_le(u32::try_from(bytes.len()).map_err(|_| "is too long")?);
        out.put_slice(bytes);
        return Ok(());
    }
    macro_rules! whole {
        ($ty:ty) => {
            out.put_slice(
                &<$ty>::try_from(whole(cell)?).map_err(|_| "does not fit into the input's type")?.to_le_bytes(),
            )
        };
    }
    match element {
        ElementType::Bool => out.put_u8(truth(cell)?.into()),
        ElementType::Uint8 => whole!(u8),
        ElementType::Uint16 => whole!(u16),
        ElementType::Uint32 => whole!(u32),
        ElementType::Uint64 => whole!(u64),
        ElementType::Int8 => whole!(i8),
        ElementType::Int16 => whole!(i16),
        ElementType::Int32 => whole!(i32),
        ElementType::Int64 => whole!(i64),
        ElementType::Fp16 => out.put_slice(&f16::from_f64(number(cell)?).to_le_bytes()),
        ElementType::Bf16 => out.put_slice(&bf16::from_f64(number(cell)?).to_le_bytes()),
        ElementType::Fp32 => out.put_f32_le(match cell {
            Cell::Single(value) => *value,
            other => number(other)? as f32,
        }),
        ElementType::Fp64 => out.put_f64_le(number(cell)?),
        ElementType::Bytes => {}
    }
    Ok(())
}

const NO_NUMBER: &str = "is not a number";

fn number(cell: &Cell<'_>) -> Result<f64, &'static str> {
    match cell {
        Cell::Null => Err("is null"),
        Cell::Bool(value) => Ok(f64::from(u8::from(*value))),
        Cell::Int(value) => Ok(*value as f64),
        Cell::Single(value) => Ok((*value).into()),
        Cell::Float(value) => Ok(*value),
        Cell::Text(text) if text.trim().is_empty() => Err("is empty"),
        Cell::Text(text) => text.trim().parse().map_err(|_| NO_NUMBER),
        Cell::Bytes(_) | Cell::List(_) | Cell::Written(_) => Err(NO_NUMBER),
    }
}

fn whole(cell: &Cell<'_>) -> Result<i128, &'static str> {
    match cell {
        Cell::Bool(value) => Ok((*value).into()),
        Cell::Int(value) => Ok(*value),
        Cell::Text(text) if !text.trim().is_empty() => text.trim().parse().map_err(|_| "is not a whole number"),
        other => {
            let value = number(other)?;
            // What is beyond is no element of any type.
            if value.fract() != 0.0 || value.abs() >= 2f64.powi(64) {
                return Err("is not a whole number");
            }
            Ok(value as i128)
        }
    }
}

fn truth(cell: &Cell<'_>) -> Result<bool, &'static str> {
    let text = match cell {
        Cell::Bool(value) => return Ok(*value),
        Cell::Text(text) => text.trim(),
        other => match whole(other)? {
            0 => "0",
            1 => "1",
            _ => "",
        },
    };
    match text {
        "1" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err("is not true or false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_elements_only_if_nothing_of_them_is_lost() {
        let put = |cell: Cell<'_>, element| {
            let mut out = BytesMut::new();
            put(&cell, element, &mut out).map(|()| out.to_vec())
        };
        assert_eq!(put(Cell::Int(300), ElementType::Int64), Ok(300i64.to_le_bytes().to_vec()));
        assert_eq!(put(Cell::Int(300), ElementType::Uint8), Err("does not fit into the input's type"));
        assert_eq!(put(Cell::Float(3.0), ElementType::Int8), Ok(vec![3]));
        assert_eq!(put(Cell::Float(3.5), ElementType::Int8), Err("is not a whole number"));
        assert_eq!(put(Cell::Float(f64::NAN), ElementType::Int8), Err("is not a whole number"));
        assert_eq!(put(Cell::Text(" 1.5 "), ElementType::Fp32), Ok(1.5f32.to_le_bytes().to_vec()));
        assert_eq!(put(Cell::Text(""), ElementType::Fp32), Err("is empty"));
        assert_eq!(put(Cell::Text("abc"), ElementType::Fp32), Err(NO_NUMBER));
        assert_eq!(put(Cell::Null, ElementType::Fp32), Err("is null"));
        assert_eq!(put(Cell::Text("true"), ElementType::Bool), Ok(vec![1]));
        assert_eq!(put(Cell::Int(2), ElementType::Bool), Err("is not true or false"));
        assert_eq!(put(Cell::Text("ab"), ElementType::Bytes), Ok(vec![2, 0, 0, 0, b'a', b'b']));
        assert!(put(Cell::Int(1), ElementType::Bytes).is_err());
        assert_eq!(put(Cell::Int(i128::from(u64::MAX)), ElementType::Uint64), Ok(vec![255; 8]));
    }
}
