//! Files that are made to cost memory or to break the reader.

use std::sync::Arc;

use aimass_core::data::Format;
use aimass_core::{Code, ElementType, Fault, Port, Result, Signature};
use arrow_array::builder::StringViewBuilder;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::{Mapping, PartWriter, Plan, ReadOptions, Rows, Source, limits};

/// A gigabyte of one letter, which nobody has in memory.
struct Endless {
    head: &'static [u8],
}

impl Source for Endless {
    fn size(&self) -> u64 {
        1 << 30
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.size() - offset).unwrap().min(out.len());
        for (place, byte) in out[..left].iter_mut().enumerate() {
            *byte = self.head.get(offset as usize + place).copied().unwrap_or(b'a');
        }
        Ok(left)
    }
}

fn refused(source: impl Source + 'static, format: Format) -> Fault {
    let source: Arc<dyn Source> = Arc::new(source);
    let fault = Rows::open(source, &ReadOptions::new(format)).and_then(|mut rows| {
        while rows.next()?.is_some() {}
        Ok(())
    });
    let fault = fault.unwrap_err();
    assert_eq!(fault.code(), Code::InvalidData, "{fault}");
    fault
}

#[test]
fn f02_a_line_of_a_gigabyte_is_refused_before_it_is_in_memory() {
    let csv = |head| refused(Endless { head }, Format::Csv).detail().to_owned();
    assert_eq!(csv(b"a,b\n1,"), "row 1 of the CSV file is longer than 16 MiB");
    assert_eq!(csv(b"a,b\n1,2\n\""), "row 2 of the CSV file is longer than 16 MiB");
    assert_eq!(csv(b""), "the line of names of the CSV file is longer than 16 MiB");
    let json = refused(Endless { head: b"{\"a\":1}\n{\"a\":\"" }, Format::Ndjson);
    assert_eq!(json.detail(), "a line of the NDJSON file is longer than 16 MiB");
    refused(Endless { head: b"PAR1" }, Format::Parquet);
    let fields = vec![b','; 20_000];
    assert!(refused(fields, Format::Csv).detail().contains("more than 10000 fields"));
    let deep = [vec![b'['; 100_000], b"\n".to_vec()].concat();
    let mut rows =
        Rows::open(Arc::new([b"{\"a\":".to_vec(), deep].concat()), &ReadOptions::new(Format::Ndjson)).unwrap();
    assert_eq!(rows.next().unwrap().unwrap().bad.len(), 1, "lists in lists are a row that is no JSON");
}

fn parquet(columns: Vec<(&str, ArrayRef)>, properties: WriterProperties) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(vec![], batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn f06_a_page_that_unpacks_to_more_than_it_may_is_refused_before() {
    let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; (limits::PAGE >> 3) + 1]));
    let properties = || {
        WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(usize::MAX)
            .set_data_page_row_count_limit(usize::MAX)
            .set_max_row_group_row_count(None)
            .set_write_batch_size(limits::PAGE)
    };
    for compression in [Compression::SNAPPY, Compression::ZSTD(Default::default())] {
        let file = parquet(vec![("a", zeros.clone())], properties().set_compression(compression).build());
        assert!(file.len() < 4 << 20, "{} bytes", file.len());
        let fault = refused(file, Format::Parquet);
        assert!(fault.detail().contains("a page of"), "{fault}");
    }
    // Of many columns, all together.
    let zeros = zeros.slice(0, limits::PAGE >> 4);
    let names: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    let columns = names.iter().map(|name| (name.as_str(), zeros.clone())).collect();
    let file = parquet(columns, properties().set_compression(Compression::SNAPPY).build());
    let fault = refused(file, Format::Parquet);
    assert!(fault.detail().contains("bytes together"), "{fault}");
    // What is packed in another way is said to be so.
    let none = WriterProperties::builder().set_compression(Compression::UNCOMPRESSED).build();
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert!(Rows::open(Arc::new(parquet(vec![("a", one)], none)), &ReadOptions::new(Format::Parquet)).is_ok());
}

#[test]
fn f06_a_dictionary_of_one_large_value_is_in_memory_once() {
    // A megabyte, a thousand times, in a file of little more than a megabyte.
    let text = "x".repeat(1 << 20);
    let mut values = StringViewBuilder::new().with_deduplicate_strings();
    (0..1_000).for_each(|_| values.append_value(&text));
    let properties = WriterProperties::builder()
        .set_dictionary_page_size_limit(usize::MAX)
        .set_compression(Compression::UNCOMPRESSED)
        .set_statistics_truncate_length(Some(64))
        .build();
    let file = parquet(vec![("a", Arc::new(values.finish()))], properties);
    assert!(file.len() < 3 << 20, "{} bytes", file.len());
    let mut rows = Rows::open(Arc::new(file), &ReadOptions::new(Format::Parquet)).unwrap();
    let batch = rows.next().unwrap().unwrap();
    assert_eq!(batch.records.num_rows(), 1_000);
    assert!(batch.records.get_array_memory_size() < 8 << 20, "{} bytes", batch.records.get_array_memory_size());
    // Neither does it become a gigabyte on its way to a model, or into a file.
    let signature = Signature {
        inputs: vec![Port::new("a", ElementType::Bytes, [-1])],
        outputs: vec![],
        description: String::new(),
    };
    let plan = Plan::new(&signature, &Mapping::new(), Some(&[]), &batch.records.schema()).unwrap();
    assert!(plan.prepare(&batch).unwrap_err().detail().contains("more than 64 MiB"));
    for format in [Format::Parquet, Format::Csv, Format::Ndjson] {
        let mut part = PartWriter::new(format, batch.records.schema_ref(), true).unwrap();
        assert!(part.write(&batch.records).unwrap_err().detail().contains("more than 64 MiB"), "{format:?}");
        part.write(&batch.records.slice(0, 10)).unwrap();
    }
}

#[test]
fn f44_a_parquet_file_that_is_cut_or_flipped_anywhere_is_refused_or_read_and_breaks_nothing() {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..3_000));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..3_000).map(|i| format!("text {}", i % 40))));
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let file = parquet(vec![("a", numbers), ("b", texts)], properties);
    let read = |bytes: Vec<u8>| -> Result<usize> {
        let mut rows = Rows::open(Arc::new(bytes), &ReadOptions::new(Format::Parquet))?;
        let mut count = 0;
        while let Some(batch) = rows.next()? {
            count += batch.records.num_rows();
        }
        Ok(count)
    };
    assert_eq!(read(file.clone()).unwrap(), 3_000);
    for length in (0..file.len()).step_by(file.len() / 200) {
        assert_eq!(read(file[..length].to_vec()).unwrap_err().code(), Code::InvalidData, "cut at {length}");
    }
    // The pages and the footer: every byte of the end, some of the rest.
    let places = (0..file.len()).step_by(37).chain(file.len().saturating_sub(800)..file.len());
    for place in places {
        for bit in [0x01, 0x80] {
            let mut flipped = file.clone();
            flipped[place] ^= bit;
            if let Err(fault) = read(flipped) {
                assert_eq!(fault.code(), Code::InvalidData, "byte {place}: {fault}");
            }
        }
    }
}

#[test]
fn f10_columns_of_the_wrong_type_are_named() {
    let signature = Signature {
        inputs: vec![Port::new("x", ElementType::Fp32, [-1, 2])],
        outputs: vec![Port::new("y", ElementType::Fp32, [-1])],
        description: String::new(),
    };
    let file = b"{\"a\":1,\"b\":[1,2],\"c\":{\"d\":1},\"y\":2}\n".to_vec();
    let rows = Rows::open(Arc::new(file), &ReadOptions::new(Format::Ndjson)).unwrap();
    let plan = |columns: &[&str], keep: &[&str]| {
        let mapping = Mapping::from([("x".to_owned(), columns.iter().map(|c| (*c).to_owned()).collect())]);
        let keep: Vec<String> = keep.iter().map(|c| (*c).to_owned()).collect();
        Plan::new(&signature, &mapping, Some(&keep), &rows.schema())
            .map(drop)
            .map_err(|fault| fault.detail().to_owned())
    };
    assert_eq!(plan(&["b"], &["a"]), Ok(()));
    assert!(plan(&["a", "b"], &[]).unwrap_err().contains("it has lists"));
    assert!(plan(&["a", "q"], &[]).unwrap_err().contains("no column `q`"));
    assert!(plan(&["b"], &["y"]).unwrap_err().contains("`y` is a column of the file and an output"));
    let mut batch = Rows::open(Arc::new(b"{\"x\":[1]}\n".to_vec()), &ReadOptions::new(Format::Ndjson)).unwrap();
    let one = Plan::new(&signature, &Mapping::new(), Some(&[]), &batch.schema()).unwrap();
    let prepared = one.prepare(&batch.next().unwrap().unwrap()).unwrap();
    assert_eq!(prepared.bad[0].1, "it has 1 values for the input `x`, which takes [2] a row");
}
