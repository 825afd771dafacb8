//! The fields of an encoded message, one after another, without decoding any.

use prost::DecodeError;
use prost::encoding::{WireType, decode_key, decode_varint};

/// A field's value as it stands there.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed32(&'a [u8]),
    Fixed64(&'a [u8]),
    /// A string, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

/// What is no protobuf.
#[derive(Debug)]
pub(super) struct Malformed;

impl From<DecodeError> for Malformed {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

impl From<Malformed> for String {
    fn from(_: Malformed) -> Self {
        "the message is not valid protobuf".to_owned()
    }
}

/// Hands each field to `visit`.
pub(super) fn fields<'a, E: From<Malformed>>(
    mut message: &'a [u8],
    mut visit: impl FnMut(u32, Value<'a>) -> Result<(), E>,
) -> Result<(), E> {
    while !message.is_empty() {
        let (number, wire) = decode_key(&mut message).map_err(Malformed::from)?;
        let value = match wire {
            WireType::Varint => Value::Varint(decode_varint(&mut message).map_err(Malformed::from)?),
            WireType::ThirtyTwoBit => Value::Fixed32(take(&mut message, 4)?),
            WireType::SixtyFourBit => Value::Fixed64(take(&mut message, 8)?),
            WireType::LengthDelimited => {
                let length = decode_varint(&mut message).map_err(Malformed::from)?;
                Value::Bytes(take(&mut message, length)?)
            }
            // Gone since proto3.
            WireType::StartGroup | WireType::EndGroup => return Err(Malformed.into()),
        };
        visit(number, value)?;
    }
    Ok(())
}

/// Hands each of a chunk of packed varints to `visit`.
pub(super) fn varints<E: From<Malformed>>(
    mut packed: &[u8],
    mut visit: impl FnMut(u64) -> Result<(), E>,
) -> Result<(), E> {
    while !packed.is_empty() {
        visit(decode_varint(&mut packed).map_err(Malformed::from)?)?;
    }
    Ok(())
}

fn take<'a>(message: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let (value, rest) =
        usize::try_from(length).ok().and_then(|length| message.split_at_checked(length)).ok_or(Malformed)?;
    *message = rest;
    Ok(value)
}
