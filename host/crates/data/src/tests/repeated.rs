//! What is computed again from a piece on comes out the same.

use std::sync::Arc;

use aimass_core::data::Format;
use aimass_core::{ElementType, Port, Signature, Tensor};

use super::joined;
use crate::{Answers, Mapping, PartWriter, Plan, ReadOptions, Rows};

fn signature() -> Signature {
    Signature {
        inputs: vec![Port::new("x", ElementType::Fp32, [-1, 2]), Port::new("name", ElementType::Bytes, [-1])],
        outputs: vec![Port::new("sum", ElementType::Fp32, [-1]), Port::new("twice", ElementType::Fp32, [-1, 2])],
        description: String::new(),
    }
}

/// Stands for a model: sums and doubles.
fn model(inputs: &[Tensor]) -> Vec<Tensor> {
    let x = inputs[0].elements::<f32>().unwrap();
    let rows = inputs[0].shape()[0];
    let sums: Vec<f32> = x.chunks(2).map(|row| row.iter().sum()).collect();
    let twice: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
    vec![
        Tensor::from_elements("twice", [rows, 2], &twice).unwrap(),
        Tensor::from_elements("sum", [rows], &sums).unwrap(),
    ]
}

/// The pieces of a job that begins behind so many rows, each of so many batches, and where each ends.
fn parts(file: &[u8], from: Format, to: Format, skip: u64, leave_out: bool) -> Vec<(u64, Vec<u8>)> {
    let mapping = Mapping::from([("x".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
    let keep = ["id".to_owned()];
    let columns = Plan::needed(&signature(), &mapping, Some(&keep));
    let options = ReadOptions { columns, batch: 7, skip, format: from };
    let mut rows = Rows::open(Arc::new(file.to_vec()), &options).unwrap();
    let plan = Plan::new(&signature(), &mapping, Some(&keep), &rows.schema()).unwrap();
    let (mut parts, mut part, mut end, mut batches) =
        (vec![], PartWriter::new(to, &plan.schema(), skip == 0).unwrap(), skip, 0);
    while let Some(batch) = rows.next().unwrap() {
        let prepared = plan.prepare(&batch).unwrap();
        let mut answers = Answers::new(&plan, &prepared);
        for call in prepared.calls() {
            let outputs = model(&prepared.tensors(&call).unwrap());
            answers.add(&prepared, &call, plan.answer(call.len(), &outputs).unwrap());
        }
        part.write(&answers.result(&plan, &batch, leave_out).unwrap()).unwrap();
        end = batch.first + batch.records.num_rows() as u64;
        batches += 1;
        if batches % 3 == 0 {
            let full = std::mem::replace(&mut part, PartWriter::new(to, &plan.schema(), false).unwrap());
            parts.push((end, full.finish().unwrap()));
        }
    }
    if batches % 3 != 0 {
        parts.push((end, part.finish().unwrap()));
    }
    parts
}

#[test]
fn a_job_that_goes_on_behind_any_piece_ends_with_the_same_bytes() {
    let mut lines: Vec<String> = (0..200)
        .map(|i| {
            format!("{{\"id\":\"row {i}\",\"a\":{i},\"b\":{}.5,\"name\":\"n{}\",\"other\":[{i}]}}\n", i * 3, i % 5)
        })
        .collect();
    lines[40] = "{\"id\":\"no numbers\",\"a\":null,\"b\":1.0,\"name\":\"n\"}\n".to_owned();
    lines[90] = "no json\n".to_owned();
    let ndjson = lines.concat().into_bytes();
    let read: Vec<_> =
        super::batches(&ndjson, &ReadOptions::new(Format::Ndjson)).into_iter().map(|b| b.records).collect();
    for from in [Format::Ndjson, Format::Csv, Format::Parquet] {
        // Several row groups, whose ends are no ends of batches.
        let file = match from {
            Format::Ndjson => ndjson.clone(),
            Format::Csv => super::written(from, &read),
            Format::Parquet => {
                let pieces = [0, 33, 99, 150].map(|at| {
                    read[0].slice(
                        at,
                        if at == 150 {
                            50
                        } else if at == 99 {
                            51
                        } else if at == 33 {
                            66
                        } else {
                            33
                        },
                    )
                });
                let part = |rows: &arrow_array::RecordBatch| {
                    let mut part = PartWriter::new(from, rows.schema_ref(), false).unwrap();
                    part.write(rows).unwrap();
                    part.finish().unwrap()
                };
                joined(from, &pieces.iter().map(part).collect::<Vec<_>>())
            }
        };
        for to in [Format::Ndjson, Format::Csv, Format::Parquet] {
            for leave_out in [true, false] {
                let whole = parts(&file, from, to, 0, leave_out);
                let bytes = |parts: &[(u64, Vec<u8>)]| parts.iter().map(|(_, part)| part.clone()).collect::<Vec<_>>();
                let expected = joined(to, &bytes(&whole));
                assert_eq!(whole.last().unwrap().0, 200);
                for (done, (end, _)) in whole.iter().enumerate() {
                    let rest = parts(&file, from, to, *end, leave_out);
                    let again = [bytes(&whole[..=done]), bytes(&rest)].concat();
                    assert!(joined(to, &again) == expected, "{from:?} to {to:?} behind row {end}");
                }
                let lines = super::batches(&expected, &ReadOptions::new(to));
                let rows: usize = lines.iter().map(|batch| batch.records.num_rows()).sum();
                assert_eq!(rows, if leave_out { 198 } else { 200 }, "{from:?} to {to:?}");
            }
        }
    }
}

#[test]
fn a_row_becomes_the_shape_that_a_model_takes() {
    let port = |shape: &[i64]| Port::new("x", ElementType::Fp32, shape.to_vec());
    let signature =
        |shape: &[i64]| Signature { inputs: vec![port(shape)], outputs: vec![], description: String::new() };
    let file = b"{\"x\":[1,2,3,4,5,6]}\n{\"x\":[1,2,3]}\n{\"x\":[1,2,3]}\n{\"x\":[1]}\n{\"x\":null}\n";
    let batch = &super::batches(file, &ReadOptions::new(Format::Ndjson))[0];
    let shapes = |shape: &[i64]| {
        let plan = Plan::new(&signature(shape), &Mapping::new(), None, &batch.records.schema());
        let prepared = plan.unwrap().prepare(batch).unwrap();
        let calls = prepared.calls().into_iter().map(|call| prepared.tensors(&call).unwrap()[0].shape().to_vec());
        (calls.collect::<Vec<_>>(), prepared.bad.iter().map(|(row, _)| *row).collect::<Vec<_>>())
    };
    assert_eq!(shapes(&[-1, 3]), (vec![vec![2, 3]], vec![0, 3, 4]));
    // A plugin or model with another free size: rows of equal length go together.
    assert_eq!(shapes(&[-1, -1]), (vec![vec![1, 6], vec![2, 3], vec![1, 1]], vec![4]));
    // No first dimension that grows: one row a call.
    assert_eq!(shapes(&[1, -1, 3]), (vec![vec![1, 2, 3], vec![1, 1, 3], vec![1, 1, 3]], vec![3, 4]));
    assert_eq!(shapes(&[3]), (vec![vec![3], vec![3]], vec![0, 3, 4]));
    assert!(Plan::new(&signature(&[-1, -1, -1]), &Mapping::new(), None, &batch.records.schema()).is_err());
}
