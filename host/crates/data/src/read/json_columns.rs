//! Columns of JSON values: which type fits those that were seen, and arrays of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aimass_core::{Fault, Result};
use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{Array, ArrayRef, ListArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use serde_json::Value;

use crate::cells::JSON;

/// What a single value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    /// Only nulls so far; whatever comes later is kept as its JSON.
    Unknown,
    Bool,
    Int,
    Float,
    Text,
    /// Whatever else: it is kept as its JSON.
    Other,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    One(Scalar),
    List(Scalar),
}

impl Scalar {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Unknown,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_i64() => Self::Int,
            Value::Number(_) => Self::Float,
            Value::String(_) => Self::Text,
            Value::Array(_) | Value::Object(_) => Self::Other,
        }
    }

    /// What holds values of both.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Unknown, one) | (one, Self::Unknown) => one,
            (Self::Int | Self::Float, Self::Int | Self::Float) => Self::Float,
            _ => Self::Other,
        }
    }

    fn takes(self, value: &Value) -> bool {
        let found = Self::of(value);
        found == Self::Unknown || matches!(self, Self::Unknown | Self::Other) || self.and(found) == self
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Unknown | Self::Text | Self::Other => DataType::Utf8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Text => "text",
            Self::Unknown | Self::Other => "null",
        }
    }
}

impl Kind {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Array(items) => {
                let item = items.iter().map(Scalar::of).fold(Scalar::Unknown, Scalar::and);
                if item == Scalar::Other { Self::One(Scalar::Other) } else { Self::List(item) }
            }
            one => Self::One(Scalar::of(one)),
        }
    }

    /// What holds this value as well.
    pub(super) fn with(self, value: &Value) -> Self {
        match (self, Self::of(value)) {
            (Self::One(a), Self::One(b)) => Self::One(a.and(b)),
            (Self::List(a), Self::List(b)) => match a.and(b) {
                Scalar::Other => Self::One(Scalar::Other),
                item => Self::List(item),
            },
            (Self::One(Scalar::Unknown), list @ Self::List(_)) | (list @ Self::List(_), Self::One(Scalar::Unknown)) => {
                list
            }
            _ => Self::One(Scalar::Other),
        }
    }

    pub(super) fn field(self, name: &str) -> Field {
        match self {
            Self::One(Scalar::Unknown | Scalar::Other) => {
                Field::new(name, DataType::Utf8, true).with_metadata(HashMap::from([(JSON.to_owned(), String::new())]))
            }
            Self::One(scalar) => Field::new(name, scalar.data_type(), true),
            Self::List(item) => Field::new(name, DataType::new_list(item.data_type(), true), true),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(scalar) => write!(f, "{}, as in the first rows", scalar.name()),
            Self::List(item) => write!(f, "a list of which each is {}, as in the first rows", item.name()),
        }
    }
}

/// A column on its way.
pub(super) struct Column {
    kind: Kind,
    values: Values,
    lists: Option<Lists>,
}

enum Values {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
}

/// Where in the values each row's list ends, and whether it is there.
#[derive(Default)]
struct Lists {
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

impl Column {
    pub(super) fn new(kind: Kind) -> Self {
        let (Kind::One(scalar) | Kind::List(scalar)) = kind;
        let values = match scalar {
            Scalar::Bool => Values::Bool(BooleanBuilder::new()),
            Scalar::Int => Values::Int(Int64Builder::new()),
            Scalar::Float => Values::Float(Float64Builder::new()),
            Scalar::Unknown | Scalar::Text | Scalar::Other => Values::Text(StringBuilder::new()),
        };
        Self { kind, values, lists: matches!(kind, Kind::List(_)).then(Lists::default) }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it can hold this value.
    pub(super) fn takes(&self, value: &Value) -> bool {
        match (self.kind, value) {
            (_, Value::Null) => true,
            (Kind::List(item), Value::Array(values)) => values.iter().all(|value| item.takes(value)),
            (Kind::List(_), _) => false,
            (Kind::One(scalar), value) => scalar.takes(value),
        }
    }

    /// Adds a value that it takes.
    pub(super) fn push(&mut self, value: &Value) {
        let (Kind::One(scalar) | Kind::List(scalar)) = self.kind;
        let raw = matches!(scalar, Scalar::Unknown | Scalar::Other);
        match (&mut self.lists, value) {
            (Some(lists), Value::Array(values)) => {
                values.iter().for_each(|value| self.values.push(value, raw));
                lists.lengths.push(values.len());
                lists.valid.push(true);
            }
            (Some(lists), _) => {
                lists.lengths.push(0);
                lists.valid.push(false);
            }
            (None, value) => self.values.push(value, raw),
        }
    }

    pub(super) fn finish(self) -> Result<ArrayRef> {
        let values = self.values.finish();
        let Some(Lists { lengths, valid }) = self.lists else { return Ok(values) };
        let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let list = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, Some(valid.into()));
        Ok(Arc::new(list.map_err(Fault::internal)?))
    }
}

impl Values {
    fn push(&mut self, value: &Value, raw: bool) {
        match self {
            Self::Bool(values) => values.append_option(value.as_bool()),
            Self::Int(values) => values.append_option(value.as_i64()),
            Self::Float(values) => values.append_option(value.as_f64()),
            Self::Text(values) if value.is_null() => values.append_null(),
            Self::Text(values) if raw => values.append_value(value.to_string()),
            Self::Text(values) => values.append_option(value.as_str()),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Bool(mut values) => Arc::new(values.finish()),
            Self::Int(mut values) => Arc::new(values.finish()),
            Self::Float(mut values) => Arc::new(values.finish()),
            Self::Text(mut values) => Arc::new(values.finish()),
        }
    }
}
