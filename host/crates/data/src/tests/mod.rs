//! Files in, files out.

mod hostile;
mod repeated;

use std::sync::Arc;

use aimass_core::data::Format;
use arrow_array::RecordBatch;

use crate::{Joiner, PartWriter, ReadOptions, Rows};

/// All batches of a file.
pub(super) fn batches(file: &[u8], options: &ReadOptions) -> Vec<crate::Batch> {
    let mut rows = Rows::open(Arc::new(file.to_vec()), options).unwrap();
    std::iter::from_fn(|| rows.next().unwrap()).collect()
}

/// A file of one piece.
pub(super) fn written(format: Format, batches: &[RecordBatch]) -> Vec<u8> {
    let mut part = PartWriter::new(format, batches[0].schema_ref(), true).unwrap();
    batches.iter().for_each(|batch| part.write(batch).unwrap());
    joined(format, &[part.finish().unwrap()])
}

pub(super) fn joined(format: Format, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut joiner = Joiner::new(format);
    let mut file = vec![];
    parts.iter().for_each(|part| file.extend_from_slice(&joiner.add(part.clone().into()).unwrap()));
    file.extend_from_slice(&joiner.finish().unwrap());
    file
}

/// A file's rows as NDJSON.
fn shown(file: &[u8], format: Format) -> String {
    let all: Vec<_> = batches(file, &ReadOptions::new(format)).into_iter().map(|batch| batch.records).collect();
    String::from_utf8(written(Format::Ndjson, &all)).unwrap()
}

const ROWS: &str = concat!(
    r#"{"a":1,"b":1.5,"c":"x, \"y\"","d":[1,2],"e":true,"f":{"deep":[1]},"g":null}"#,
    "\n",
    r#"{"a":null,"b":2.0,"c":"é\n","d":[],"e":null,"f":null,"g":null}"#,
    "\n",
    r#"{"a":-3,"b":null,"c":"","d":null,"e":false,"f":7,"g":null}"#,
    "\n",
);

#[test]
fn ndjson_is_read_in_the_types_that_it_has() {
    let types: Vec<String> = batches(ROWS.as_bytes(), &ReadOptions::new(Format::Ndjson))[0]
        .records
        .schema()
        .fields()
        .iter()
        .map(|field| field.data_type().to_string())
        .collect();
    assert_eq!(types[..3], ["Int64", "Float64", "Utf8"]);
    assert!(types[3].starts_with("List") && types[3].contains("Int64"), "{types:?}");
    assert_eq!(types[4..], ["Boolean", "Utf8", "Utf8"]);
    assert_eq!(shown(ROWS.as_bytes(), Format::Ndjson), ROWS);
}

#[test]
fn parquet_holds_what_it_was_given() {
    let read: Vec<_> =
        batches(ROWS.as_bytes(), &ReadOptions::new(Format::Ndjson)).into_iter().map(|b| b.records).collect();
    let parquet = written(Format::Parquet, &read);
    // That a text was JSON, Parquet does not say.
    let expected = ROWS.replace(r#"{"deep":[1]}"#, r#""{\"deep\":[1]}""#).replace(r#""f":7"#, r#""f":"7""#);
    assert_eq!(shown(&parquet, Format::Parquet), expected);
}

#[test]
fn csv_is_what_other_programs_read() {
    let read: Vec<_> =
        batches(ROWS.as_bytes(), &ReadOptions::new(Format::Ndjson)).into_iter().map(|b| b.records).collect();
    let csv = String::from_utf8(written(Format::Csv, &read)).unwrap();
    assert_eq!(
        csv,
        "a,b,c,d,e,f,g\n1,1.5,\"x, \"\"y\"\"\",\"[1,2]\",true,\"{\"\"deep\"\":[1]}\",\n,2.0,\"é\n\",[],,,\n-3,,\"\",,false,7,\n"
    );
    let again = batches(csv.as_bytes(), &ReadOptions::new(Format::Csv));
    assert_eq!((again.len(), again[0].records.num_rows(), again[0].bad.len()), (1, 3, 0));
    let all: Vec<_> = again.into_iter().map(|b| b.records).collect();
    assert_eq!(String::from_utf8(written(Format::Csv, &all)).unwrap().lines().next(), csv.lines().next());
}

#[test]
fn only_wanted_columns_are_read() {
    let read = batches(ROWS.as_bytes(), &ReadOptions::new(Format::Ndjson));
    let all: Vec<_> = read.into_iter().map(|b| b.records).collect();
    for format in [Format::Parquet, Format::Csv, Format::Ndjson] {
        let columns = Some(vec!["c".to_owned(), "nothing".to_owned(), "a".to_owned()]);
        let options = ReadOptions { columns, ..ReadOptions::new(format) };
        let batch = &batches(&written(format, &all), &options)[0];
        let names: Vec<_> = batch.records.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["a", "c"], "{format:?}");
    }
}

#[test]
fn a_row_that_is_not_valid_costs_itself_alone() {
    let csv = b"a,b\n1,2\n3\n4,\xff\n5,6\n";
    let batch = &batches(csv, &ReadOptions::new(Format::Csv))[0];
    let bad: Vec<_> = batch.bad.iter().map(|(row, why)| (*row, why.as_str())).collect();
    assert_eq!(bad, [(1, "it has 1 fields, and the first line has 2"), (2, "it is not in UTF-8")]);
    assert_eq!(batch.records.num_rows(), 4);

    let mut lines: Vec<String> = (0..2_000).map(|i| format!("{{\"a\":{i}}}")).collect();
    lines[1_500] = "{\"a\":\"text\"}".to_owned();
    lines[1_600] = "[1]".to_owned();
    lines[1_700] = "{\"a\":".to_owned();
    let options = ReadOptions { batch: 2_000, ..ReadOptions::new(Format::Ndjson) };
    let batch = &batches(lines.join("\n").as_bytes(), &options)[0];
    let bad: Vec<_> = batch.bad.iter().map(|(row, why)| (*row, why.as_str())).collect();
    assert_eq!(bad[0], (1_500, "column `a` is not a whole number, as in the first rows"));
    assert_eq!(bad[1], (1_600, "it is no JSON object"));
    assert!(bad[2].0 == 1_700 && bad[2].1.starts_with("it is no JSON, at its byte"), "{bad:?}");
}
