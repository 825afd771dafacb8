//! CSV (RFC 4180) and NDJSON.

use std::fmt::Write as _;

use aimass_core::Result;
use aimass_core::data::Format;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{Schema, SchemaRef};

use crate::cells::{Cell, JSON, cell, has_cells};
use crate::invalid;
use crate::plan::printable;

pub(super) struct Writer {
    format: Format,
    schema: SchemaRef,
    text: String,
}

impl Writer {
    pub(super) fn csv(schema: &SchemaRef, first: bool) -> Result<Self> {
        writable(schema, "CSV")?;
        let mut text = String::new();
        if first {
            for (place, field) in schema.fields().iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                quoted(field.name(), &mut text);
            }
            text.push('\n');
        }
        Ok(Self { format: Format::Csv, schema: schema.clone(), text })
    }

    pub(super) fn ndjson(schema: &SchemaRef) -> Result<Self> {
        writable(schema, "NDJSON")?;
        Ok(Self { format: Format::Ndjson, schema: schema.clone(), text: String::new() })
    }

    pub(super) fn write(&mut self, records: &RecordBatch) {
        for row in 0..records.num_rows() {
            match self.format {
                Format::Ndjson => self.object(records, row),
                _ => self.line(records, row),
            }
        }
    }

    pub(super) fn size(&self) -> usize {
        self.text.len()
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    fn line(&mut self, records: &RecordBatch, row: usize) {
        for (place, column) in records.columns().iter().enumerate() {
            if place > 0 {
                self.text.push(',');
            }
            match cell(column, row) {
                Cell::Null => {}
                Cell::Text(text) => quoted(text, &mut self.text),
                list @ Cell::List(_) => {
                    let mut text = String::new();
                    json(&list, &mut text);
                    quoted(&text, &mut self.text);
                }
                other => plain(&other, &mut self.text),
            }
        }
        self.text.push('\n');
    }

    fn object(&mut self, records: &RecordBatch, row: usize) {
        self.text.push('{');
        for (place, (field, column)) in self.schema.fields().iter().zip(records.columns()).enumerate() {
            if place > 0 {
                self.text.push(',');
            }
            string(field.name(), &mut self.text);
            self.text.push(':');
            match cell(column, row) {
                Cell::Text(text) if field.metadata().contains_key(JSON) => self.text.push_str(text),
                value => json(&value, &mut self.text),
            }
        }
        self.text.push_str("}\n");
    }
}

fn writable(schema: &Schema, format: &str) -> Result<()> {
    let none =
        |data_type: &arrow_schema::DataType| !has_cells(data_type) || *data_type == arrow_schema::DataType::BinaryView;
    match schema.fields().iter().find(|field| none(field.data_type())) {
        None => Ok(()),
        Some(field) => {
            let (name, data_type) = (printable(field.name()), field.data_type());
            Err(invalid(format!(
                "the column `{name}` is of the type {data_type}, which {format} has no place for: keep other columns"
            )))
        }
    }
}

/// A number or a time as it is written.
fn plain(cell: &Cell<'_>, out: &mut String) {
    // Writing to a string does not fail.
    let _ = match cell {
        Cell::Bool(value) => write!(out, "{value}"),
        Cell::Int(value) => write!(out, "{value}"),
        // The shortest digits that are read as the same number again.
        Cell::Single(value) => write!(out, "{value:?}"),
        Cell::Float(value) => write!(out, "{value:?}"),
        Cell::Text(text) => write!(out, "{text}"),
        Cell::Written(text) => write!(out, "{text}"),
        Cell::Null | Cell::Bytes(_) | Cell::List(_) => Ok(()),
    };
}

fn json(cell: &Cell<'_>, out: &mut String) {
    match cell {
        Cell::Single(value) if !value.is_finite() => out.push_str("null"),
        Cell::Float(value) if !value.is_finite() => out.push_str("null"),
        Cell::Bool(_) | Cell::Int(_) | Cell::Single(_) | Cell::Float(_) => plain(cell, out),
        Cell::Text(text) => string(text, out),
        Cell::Written(text) => string(text, out),
        Cell::List(values) => {
            out.push('[');
            for item in 0..values.len() {
                if item > 0 {
                    out.push(',');
                }
                json(&crate::cells::cell(values, item), out);
            }
            out.push(']');
        }
        Cell::Null | Cell::Bytes(_) => out.push_str("null"),
    }
}

fn string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// A field of CSV, in quotes where it must be.
fn quoted(text: &str, out: &mut String) {
    // A line that is one empty field would be read as no line.
    let needs = text.contains([',', '"', '\n', '\r']) || text.is_empty() || text.starts_with('\u{feff}');
    if !needs {
        out.push_str(text);
        return;
    }
    out.push('"');
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}
