//! A tensor's `data` in JSON, to and from bytes: the hot path of inference by JSON.
//!
//! Reading takes one pass over the text, which need not be JSON, and one allocation of exactly the tensor's size: each
//! number goes from its digits to its little-endian bytes. Numbers are rounded once, from the decimal text to their
//! own type, as the standard library does it.

use aimass_core::tensor::element_count;
use aimass_core::{ElementType, Tensor};
use bytes::{BufMut, Bytes, BytesMut};

use super::scalar::{Decimal, Scalar};

const BINARY: &str = "use binary data (`binary_data_size`, `binary_data`)";

/// Reads `text`, which begins with a bracket if it is an array, as the elements of `shape`: one flat array, or arrays nested as the shape says.
pub(super) fn read(text: &str, element_type: ElementType, shape: &[u64]) -> Result<Bytes, String> {
    let count = element_count(shape).map_err(|fault| fault.detail().to_owned())?;
    // An element takes a character at least, and a comma or bracket: what the shape claims is bounded by what came.
    if count > text.len() / 2 {
        return Err(misfit(shape));
    }
    match element_type {
        ElementType::Bool => numbers::<bool>(text, shape, count),
        ElementType::Uint8 => numbers::<u8>(text, shape, count),
        ElementType::Uint16 => numbers::<u16>(text, shape, count),
        ElementType::Uint32 => numbers::<u32>(text, shape, count),
        ElementType::Uint64 => numbers::<u64>(text, shape, count),
        ElementType::Int8 => numbers::<i8>(text, shape, count),
        ElementType::Int16 => numbers::<i16>(text, shape, count),
        ElementType::Int32 => numbers::<i32>(text, shape, count),
        ElementType::Int64 => numbers::<i64>(text, shape, count),
        ElementType::Fp32 => numbers::<f32>(text, shape, count),
        ElementType::Fp64 => numbers::<f64>(text, shape, count),
        ElementType::Bytes => strings(text, shape, count),
        ElementType::Fp16 | ElementType::Bf16 => Err(format!("{element_type} has no JSON form: {BINARY}")),
    }
}

/// Appends the tensor's elements to `out` as one flat JSON array.
pub(super) fn write(tensor: &Tensor, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'[');
    match tensor.element_type() {
        ElementType::Bool => write_numbers::<bool>(tensor, out)?,
        ElementType::Uint8 => write_numbers::<u8>(tensor, out)?,
        ElementType::Uint16 => write_numbers::<u16>(tensor, out)?,
        ElementType::Uint32 => write_numbers::<u32>(tensor, out)?,
        ElementType::Uint64 => write_numbers::<u64>(tensor, out)?,
        ElementType::Int8 => write_numbers::<i8>(tensor, out)?,
        ElementType::Int16 => write_numbers::<i16>(tensor, out)?,
        ElementType::Int32 => write_numbers::<i32>(tensor, out)?,
        ElementType::Int64 => write_numbers::<i64>(tensor, out)?,
        ElementType::Fp32 => write_numbers::<f32>(tensor, out)?,
        ElementType::Fp64 => write_numbers::<f64>(tensor, out)?,
        ElementType::Bytes => {
            for (i, element) in
                tensor.bytes_elements().map_err(|fault| fault.detail().to_owned())?.into_iter().enumerate()
            {
                let text = std::str::from_utf8(element).map_err(|_| format!("element {i} is not UTF-8: {BINARY}"))?;
                separate(i, out);
                write_json(&text, out)?;
            }
        }
        half @ (ElementType::Fp16 | ElementType::Bf16) => return Err(format!("{half} has no JSON form: {BINARY}")),
    }
    out.push(b']');
    Ok(())
}

fn numbers<T: Scalar>(text: &str, shape: &[u64], count: usize) -> Result<Bytes, String> {
    let mut out = Vec::with_capacity(count * size_of::<T>());
    Reader::new(text).elements(shape, count, |reader| {
        let quick = reader.decimal().and_then(|decimal| Some((T::quick(&decimal)?, decimal.length)));
        if let Some((number, length)) = quick {
            reader.at += length;
            number.append(&mut out);
            return Ok(());
        }
        T::parse(reader.token()).map(|number| number.append(&mut out)).ok_or_else(|| {
            let i = out.len() / size_of::<T>();
            format!("element {i} of `data` is not a {}, or out of its range", T::TYPE)
        })
    })?;
    Ok(out.into())
}

fn strings(text: &str, shape: &[u64], count: usize) -> Result<Bytes, String> {
    // Four bytes of length stand for two quotes and a comma.
    let mut out = BytesMut::with_capacity(text.len() + count);
    let mut i = 0;
    Reader::new(text).elements(shape, count, |reader| {
        let bad = || format!("element {i} of `data` is not a string");
        let literal = reader.literal().ok_or_else(bad)?;
        let mut put = |element: &str| {
            // A literal is as long as the body at most, which is far under 4 GiB.
            out.put_u32_le(element.len() as u32);
            out.put_slice(element.as_bytes());
        };
        if literal.contains('\\') {
            put(&serde_json::from_str::<String>(literal).map_err(|_| bad())?);
        } else {
            put(&literal[1..literal.len() - 1]);
        }
        i += 1;
        Ok(())
    })?;
    Ok(out.freeze())
}

/// Walks an array; what is no JSON does not fit.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Calls `element` at each element, `count` times in all.
    fn elements<E>(mut self, shape: &[u64], count: usize, mut element: E) -> Result<(), String>
    where
        E: FnMut(&mut Self) -> Result<(), String>,
    {
        let fits = if shape.len() > 1 && self.nested() {
            self.array(shape, &mut element)?
        } else {
            self.array(&[count as u64], &mut element)?
        };
        if fits { Ok(()) } else { Err(misfit(shape)) }
    }

    /// Whether an array begins with an array.
    fn nested(&self) -> bool {
        let mut ahead = Self { ..*self };
        ahead.take(b'[') && ahead.peek() == Some(b'[')
    }

    /// One array of the outermost dimension; false if the text holds more or less. No deeper than the shape, whose
    /// length is bounded, and no turn of the loop without a character.
    fn array<E>(&mut self, shape: &[u64], element: &mut E) -> Result<bool, String>
    where
        E: FnMut(&mut Self) -> Result<(), String>,
    {
        let Some((&length, inner)) = shape.split_first() else { return Ok(false) };
        if !self.take(b'[') {
            return Ok(false);
        }
        for i in 0..length {
            if (i > 0 && !self.take(b',')) || self.peek() == Some(b']') {
                return Ok(false);
            }
            if inner.is_empty() {
                element(self)?;
            } else if !self.array(inner, element)? {
                return Ok(false);
            }
        }
        Ok(self.take(b']'))
    }

    fn decimal(&mut self) -> Option<Decimal> {
        self.peek();
        Decimal::read(&self.text.as_bytes()[self.at..])
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Everything up to the next comma, bracket or space.
    fn token(&mut self) -> &'a str {
        self.peek();
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let ends = |byte: &u8| matches!(byte, b',' | b'[' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// A string with its quotes, escapes as they stand.
    fn literal(&mut self) -> Option<&'a str> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at;
        let mut escaped = false;
        let length = self.text.as_bytes()[start + 1..].iter().position(|&byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        self.at = start + length + 2;
        self.text.get(start..self.at)
    }
}

fn write_numbers<T: Scalar>(tensor: &Tensor, out: &mut Vec<u8>) -> Result<(), String> {
    // A guess: two digits, a separator.
    out.reserve(tensor.data().len() / size_of::<T>() * 3);
    for (i, bytes) in tensor.data().chunks_exact(size_of::<T>()).enumerate() {
        let number = T::get(bytes);
        if !number.expressible() {
            return Err(format!("element {i} is NaN or infinite, which JSON cannot hold: {BINARY}"));
        }
        separate(i, out);
        write_json(&number, out)?;
    }
    Ok(())
}

fn separate(i: usize, out: &mut Vec<u8>) {
    if i > 0 {
        out.push(b',');
    }
}

/// Into a `Vec`, which cannot fail for numbers and strings.
pub(super) fn write_json(value: &(impl serde::Serialize + ?Sized), out: &mut Vec<u8>) -> Result<(), String> {
    value.serialize(&mut serde_json::Serializer::new(out)).map_err(|error| error.to_string())
}

fn misfit(shape: &[u64]) -> String {
    format!("`data` is not {shape:?}, neither as one flat array nor nested")
}
