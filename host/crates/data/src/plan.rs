//! Which columns become which inputs, and which columns the outputs become.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aimass_core::{ElementType, Port, Result, Signature};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::invalid;

/// Columns of an input, by the input's name.
pub type Mapping = BTreeMap<String, Vec<String>>;

/// How rows of a file go through a model.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    /// Whether rows are joined along the first dimension; otherwise each is a call of its own.
    pub(crate) joined: bool,
    /// Columns of the file that stand in the result.
    pub(crate) kept: Vec<usize>,
    pub(crate) schema: SchemaRef,
}

#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) element: ElementType,
    /// The shape of one row; −1 for what its number of values says.
    pub(crate) shape: Vec<i64>,
    /// Columns of the file.
    pub(crate) columns: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) element: ElementType,
    /// Whether a row has several values.
    pub(crate) list: bool,
}

impl Plan {
    /// The columns that must be read: those of inputs, and those that are kept. None if it is all of them.
    pub fn needed(signature: &Signature, mapping: &Mapping, keep: Option<&[String]>) -> Option<Vec<String>> {
        let of_inputs = signature.inputs.iter().flat_map(|port| columns_of(mapping, &port.name));
        let all: BTreeSet<String> = of_inputs.chain(keep?.iter().cloned()).collect();
        Some(all.into_iter().collect())
    }

    /// Fits a file's columns to a signature.
    ///
    /// # Errors
    /// `invalid_data` that names the column or the input, and says what there is.
    pub fn new(signature: &Signature, mapping: &Mapping, keep: Option<&[String]>, file: &Schema) -> Result<Self> {
        let place = |name: &str| file.fields().iter().position(|field| field.name() == name);
        let joined = |port: &Port| port.shape.first().is_some_and(|&first| first < 0);
        let joined = signature.inputs.iter().chain(&signature.outputs).all(joined);
        let mut inputs = vec![];
        for port in &signature.inputs {
            let shape = port.shape.get(usize::from(joined)..).unwrap_or_default().to_vec();
            if shape.iter().filter(|&&d| d < 0).count() > 1 {
                return Err(invalid(format!(
                    "the input `{}` has the shape {:?}: a row of a file does not say which sizes are meant",
                    port.name, port.shape
                )));
            }
            let columns = columns_of(mapping, &port.name).map(|name| {
                place(&name).ok_or_else(|| {
                    let names: Vec<_> = file.fields().iter().take(30).map(|field| field.name().as_str()).collect();
                    invalid(format!(
                        "the file has no column `{}` for the input `{}`: say which with `{}=COLUMN,…`; it has {}",
                        printable(&name),
                        port.name,
                        port.name,
                        printable(&names.join(", "))
                    ))
                })
            });
            let columns: Vec<usize> = columns.collect::<Result<_>>()?;
            for field in columns.iter().filter_map(|&column| file.fields().get(column)) {
                fits(port, field, columns.len())?;
            }
            inputs.push(Input { name: port.name.clone(), element: port.element_type, shape, columns });
        }
        let kept = match keep {
            None => (0..file.fields().len()).collect(),
            Some(names) => names
                .iter()
                .map(|name| {
                    let missing = || invalid(format!("the file has no column `{}` to keep", printable(name)));
                    place(name).ok_or_else(missing)
                })
                .collect::<Result<Vec<_>>>()?,
        };
        let outputs = signature.outputs.iter().map(|port| {
            let rest = port.shape.get(usize::from(joined)..).unwrap_or_default();
            let list = rest.iter().any(|&d| d != 1);
            Output { name: port.name.clone(), element: port.element_type, list }
        });
        let outputs: Vec<Output> = outputs.collect();
        let mut fields: Vec<_> = kept.iter().filter_map(|&column| file.fields().get(column).cloned()).collect();
        for output in &outputs {
            if fields.iter().any(|field| field.name() == &output.name) {
                return Err(invalid(format!(
                    "`{}` is a column of the file and an output: keep other columns",
                    printable(&output.name)
                )));
            }
            fields.push(Arc::new(Field::new(&output.name, output.data_type(), true)));
        }
        Ok(Self { inputs, outputs, joined, kept, schema: Arc::new(Schema::new(fields)) })
    }

    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Output {
    pub(crate) fn data_type(&self) -> DataType {
        let item = match self.element {
            ElementType::Bool => DataType::Boolean,
            ElementType::Uint8 => DataType::UInt8,
            ElementType::Uint16 => DataType::UInt16,
            ElementType::Uint32 => DataType::UInt32,
            ElementType::Uint64 => DataType::UInt64,
            ElementType::Int8 => DataType::Int8,
            ElementType::Int16 => DataType::Int16,
            ElementType::Int32 => DataType::Int32,
            ElementType::Int64 => DataType::Int64,
            // Readers of Parquet that know halves are few, and a single holds every one of them.
            ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 => DataType::Float32,
            ElementType::Fp64 => DataType::Float64,
            ElementType::Bytes => DataType::Utf8,
        };
        if self.list { DataType::new_list(item, true) } else { item }
    }
}

fn columns_of<'a>(mapping: &'a Mapping, input: &str) -> impl Iterator<Item = String> + use<'a> {
    // What is not said is the column of the input's own name.
    let own = if mapping.contains_key(input) { None } else { Some(input.to_owned()) };
    mapping.get(input).into_iter().flatten().cloned().chain(own)
}

/// Whether a column can be (a part of) an input at all; each value is looked at when it comes.
fn fits(port: &Port, field: &Field, columns: usize) -> Result<()> {
    let refuse = |why: &str| {
        Err(invalid(format!("the column `{}` cannot be the input `{}`: {why}", printable(field.name()), port.name)))
    };
    let item = match field.data_type() {
        DataType::List(_) if columns > 1 => return refuse("it has lists, and stands beside other columns"),
        DataType::List(item) => item.data_type(),
        one => one,
    };
    let text = matches!(item, DataType::Utf8 | DataType::Utf8View);
    let bytes = port.element_type == ElementType::Bytes;
    match item {
        DataType::Null => Ok(()),
        // Text may be written numbers; each is looked at.
        _ if text => Ok(()),
        DataType::BinaryView if bytes => Ok(()),
        DataType::Boolean if !bytes => Ok(()),
        other if !bytes && (other.is_integer() || other.is_floating()) => Ok(()),
        other => refuse(&format!("it is of the type {other}, and the input takes {}", port.element_type)),
    }
}

/// A name that somebody else chose, as a part of a sentence.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(500).collect()
}
