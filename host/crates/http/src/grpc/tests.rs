//! Requests as a hostile or an ordinary client encodes them.

use aimass_core::{Code, ElementType, Tensor};
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::frame::Incoming;
use super::messages::{
    Choice, InferInputTensor, InferParameter, InferRequestedOutputTensor, ModelInferRequest, ModelInferResponse,
};
use super::tensors::read;

/// The protocol's message as it stands in its `.proto`; the product reads it without one.
#[derive(Clone, PartialEq, Message)]
struct InferTensorContents {
    #[prost(bool, repeated, tag = "1")]
    bool_contents: Vec<bool>,
    #[prost(int32, repeated, tag = "2")]
    int_contents: Vec<i32>,
    #[prost(int64, repeated, tag = "3")]
    int64_contents: Vec<i64>,
    #[prost(uint32, repeated, tag = "4")]
    uint_contents: Vec<u32>,
    #[prost(uint64, repeated, tag = "5")]
    uint64_contents: Vec<u64>,
    #[prost(float, repeated, tag = "6")]
    fp32_contents: Vec<f32>,
    #[prost(double, repeated, tag = "7")]
    fp64_contents: Vec<f64>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    bytes_contents: Vec<Vec<u8>>,
}

fn input(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
    let contents = contents.map(|contents| contents.encode_to_vec().into());
    InferInputTensor {
        name: "x".into(),
        datatype: datatype.into(),
        shape: shape.into(),
        contents,
        ..Default::default()
    }
}

fn request(input: InferInputTensor, raw: &[&[u8]]) -> ModelInferRequest {
    let raw_input_contents = raw.iter().map(|&raw| Bytes::copy_from_slice(raw)).collect();
    ModelInferRequest { inputs: vec![input], raw_input_contents, ..Default::default() }
}

fn typed(datatype: &str, shape: &[i64], contents: InferTensorContents) -> aimass_core::Result<Tensor> {
    Ok(read(request(input(datatype, shape, Some(contents)), &[]))?.inputs.remove(0))
}

fn parameter(choice: Choice) -> InferParameter {
    InferParameter { choice: Some(choice) }
}

#[test]
fn every_typed_content_becomes_its_tensor() {
    let none = InferTensorContents::default;
    let tensors = [
        (
            typed("BOOL", &[3], InferTensorContents { bool_contents: vec![true, false, true], ..none() }),
            Tensor::from_elements("x", [3], &[true, false, true]),
        ),
        (
            typed("INT8", &[2], InferTensorContents { int_contents: vec![-128, 127], ..none() }),
            Tensor::from_elements("x", [2], &[i8::MIN, i8::MAX]),
        ),
        (
            typed("INT16", &[1], InferTensorContents { int_contents: vec![-2], ..none() }),
            Tensor::from_elements("x", [1], &[-2i16]),
        ),
        (
            typed("INT32", &[2, 1], InferTensorContents { int_contents: vec![i32::MIN, 5], ..none() }),
            Tensor::from_elements("x", [2, 1], &[i32::MIN, 5]),
        ),
        (
            typed("INT64", &[1], InferTensorContents { int64_contents: vec![i64::MIN], ..none() }),
            Tensor::from_elements("x", [1], &[i64::MIN]),
        ),
        (
            typed("UINT8", &[1], InferTensorContents { uint_contents: vec![255], ..none() }),
            Tensor::from_elements("x", [1], &[255u8]),
        ),
        (
            typed("UINT16", &[1], InferTensorContents { uint_contents: vec![65535], ..none() }),
            Tensor::from_elements("x", [1], &[65535u16]),
        ),
        (
            typed("UINT32", &[1], InferTensorContents { uint_contents: vec![u32::MAX], ..none() }),
            Tensor::from_elements("x", [1], &[u32::MAX]),
        ),
        (
            typed("UINT64", &[1], InferTensorContents { uint64_contents: vec![u64::MAX], ..none() }),
            Tensor::from_elements("x", [1], &[u64::MAX]),
        ),
        (
            typed("FP32", &[2], InferTensorContents { fp32_contents: vec![1.5, f32::INFINITY], ..none() }),
            Tensor::from_elements("x", [2], &[1.5f32, f32::INFINITY]),
        ),
        (
            typed("FP64", &[1], InferTensorContents { fp64_contents: vec![-0.1], ..none() }),
            Tensor::from_elements("x", [1], &[-0.1f64]),
        ),
        (
            typed("BYTES", &[2], InferTensorContents { bytes_contents: vec![vec![0xff, 0], vec![]], ..none() }),
            Tensor::from_bytes_elements("x", [2], &[[0xffu8, 0].as_slice(), &[]]),
        ),
        (typed("FP32", &[0], none()), Tensor::from_elements::<f32>("x", [0], &[])),
    ];
    for (came, meant) in tensors {
        assert_eq!(came.unwrap(), meant.unwrap());
    }
}

#[test]
fn unpacked_numbers_are_numbers() {
    // The tag of `fp32_contents` and four bytes, twice; of `int_contents` and a varint, then two packed ones.
    let floats = [&[0x35][..], &1f32.to_le_bytes(), &[0x35], &2f32.to_le_bytes()].concat();
    let mixed = [0x10, 7, 0x12, 2, 8, 9];
    for (datatype, shape, contents, meant) in [
        ("FP32", 2, floats, Tensor::from_elements("x", [2], &[1f32, 2.0]).unwrap()),
        ("UINT8", 1, vec![0x20, 9], Tensor::from_elements("x", [1], &[9u8]).unwrap()),
        ("INT16", 3, mixed.to_vec(), Tensor::from_elements("x", [3], &[7i16, 8, 9]).unwrap()),
    ] {
        let input = InferInputTensor { contents: Some(contents.into()), ..input(datatype, &[shape], None) };
        assert_eq!(read(request(input, &[])).unwrap().inputs, [meant]);
    }
}

#[test]
fn f10_tensors_that_do_not_fit_are_refused() {
    let ints = |values: &[i32]| InferTensorContents { int_contents: values.into(), ..Default::default() };
    let floats = InferTensorContents { fp32_contents: vec![1.0; 3], ..Default::default() };
    let cases = [
        // Raw: too short, too long, an overflowing product, a negative dimension, framing of BYTES, no BOOL.
        request(input("FP32", &[2], None), &[&[0; 7]]),
        request(input("FP32", &[2], None), &[&[0; 9]]),
        request(input("FP32", &[i64::MAX, i64::MAX], None), &[&[0; 8]]),
        request(input("FP64", &[i64::MAX], None), &[&[]]),
        request(input("FP32", &[-1], None), &[&[0; 4]]),
        request(input("BYTES", &[1], None), &[&[0xff, 0xff, 0xff, 0xff, 0]]),
        request(input("BYTES", &[2], None), &[&[1, 0, 0, 0, b'a']]),
        request(input("BOOL", &[1], None), &[&[2]]),
        request(input("FP33", &[1], None), &[&[0; 4]]),
        request(input("FP32", &[1; 65], None), &[&[0; 4]]),
        // Raw contents for more inputs than there are, or for some.
        request(input("FP32", &[1], None), &[&[0; 4], &[0; 4]]),
        // Typed: claims that nothing stands behind, too few, too many, out of range, another type's field.
        request(input("INT64", &[1 << 40], Some(ints(&[1]))), &[]),
        request(input("FP32", &[1 << 60], None), &[]),
        request(input("INT64", &[(64 << 20) / 8 + 1], None), &[]),
        request(input("FP32", &[2], Some(floats.clone())), &[]),
        request(input("FP32", &[4], Some(floats.clone())), &[]),
        request(input("INT8", &[1], Some(ints(&[128]))), &[]),
        request(input("INT32", &[1], Some(ints(&[1, 2]))), &[]),
        request(input("INT32", &[3], Some(ints(&[1, 2]))), &[]),
        request(input("FP32", &[1], Some(ints(&[1]))), &[]),
        request(input("FP16", &[1], Some(ints(&[1]))), &[]),
        request(input("BF16", &[1], None), &[]),
        request(input("FP32", &[3], Some(floats)), &[&[0; 12]]),
        request(InferInputTensor { contents: Some(vec![0x0a, 9].into()), ..input("BOOL", &[1], None) }, &[]),
    ];
    for case in cases {
        let fault = read(case.clone()).expect_err(&format!("{case:?}"));
        assert_eq!(fault.code(), Code::InvalidTensor, "{case:?}: {fault}");
    }
}

#[test]
fn f10_a_head_that_would_grow_in_memory_is_refused_before_it_does() {
    // Two bytes each: an empty input, an empty raw content, an empty output, an empty parameter.
    for tag in [0x2a, 0x3a, 0x32, 0x22] {
        let fault = ModelInferRequest::check(&[tag, 0].repeat(8 << 20)).unwrap_err();
        assert_eq!(fault.code(), Code::InvalidRequest);
    }
    let long_shape = input("FP32", &vec![1; 512 << 10], None);
    let encoded = ModelInferRequest { inputs: vec![long_shape], ..Default::default() }.encode_to_vec();
    assert!(ModelInferRequest::check(&encoded).is_err());
    for broken in [&[0x3a, 0x7f][..], &[0x2a, 2, 0x2a, 9], &[0xff; 11], &[0x0b]] {
        assert!(ModelInferRequest::check(broken).is_err(), "{broken:?}");
    }
    // Tensor data is no head, raw or typed.
    let large = request(input("UINT8", &[1 << 20], None), &[&vec![0; 1 << 20]]).encode_to_vec();
    ModelInferRequest::check(&large).unwrap();
    let typed = InferTensorContents { fp32_contents: vec![0.0; 1 << 18], ..Default::default() };
    ModelInferRequest::check(&request(input("FP32", &[1 << 18], Some(typed)), &[]).encode_to_vec()).unwrap();
}

#[test]
fn raw_data_is_not_copied() {
    let encoded = Bytes::from(request(input("UINT8", &[4096], None), &[&[7; 4096]]).encode_to_vec());
    let range = encoded.as_ptr_range();
    let read = read(ModelInferRequest::decode(encoded.clone()).unwrap()).unwrap();
    assert!(range.contains(&read.inputs[0].data().as_ptr()));
}

#[test]
fn what_would_change_the_answer_is_refused() {
    let with = |name: &str, choice| {
        let mut request = request(input("FP32", &[1], None), &[&[0; 4]]);
        request.parameters.insert(name.into(), parameter(choice));
        read(request)
    };
    assert_eq!(with("sequence_id", Choice::Int64(7)).unwrap_err().code(), Code::UnsupportedOperation);
    assert_eq!(with("sequence_id", Choice::String("s".into())).unwrap_err().code(), Code::UnsupportedOperation);
    with("sequence_id", Choice::Int64(0)).unwrap();
    assert_eq!(with("timeout", Choice::Int64(1500)).unwrap().timeout.unwrap().as_micros(), 1500);
    assert_eq!(with("timeout", Choice::Uint64(0)).unwrap().timeout, None);
    assert_eq!(with("timeout", Choice::Int64(-1)).unwrap_err().code(), Code::InvalidRequest);
    with("anything", Choice::Double(0.5)).unwrap();

    let output = |name: &str, parameters: &[(&str, Choice)]| InferRequestedOutputTensor {
        name: name.into(),
        parameters: parameters.iter().map(|(key, choice)| ((*key).to_owned(), parameter(choice.clone()))).collect(),
    };
    let asking = |outputs| read(ModelInferRequest { outputs, ..Default::default() });
    let classes = asking(vec![output("y", &[("classification", Choice::Int64(3))])]);
    assert_eq!(classes.unwrap_err().code(), Code::UnsupportedOperation);
    let shared = asking(vec![output("y", &[("shared_memory_region", Choice::String("r".into()))])]);
    assert_eq!(shared.unwrap_err().code(), Code::UnsupportedOperation);
    assert_eq!(asking(vec![output("y", &[]), output("y", &[])]).unwrap_err().code(), Code::InvalidRequest);
    assert_eq!(asking(vec![output("y", &[]), output("z", &[])]).unwrap().outputs.len(), 2);
}

#[test]
fn outputs_are_raw() {
    let tensor = Tensor::from_elements("y", [2, 1], &[1u16, 2]).unwrap();
    let (output, raw) = super::tensors::write(&tensor);
    assert_eq!((output.datatype.as_str(), output.shape.as_slice()), ("UINT16", &[2, 1][..]));
    let answer = ModelInferResponse { outputs: vec![output], raw_output_contents: vec![raw], ..Default::default() };
    let answer = ModelInferResponse::decode(answer.encode_to_vec().as_slice()).unwrap();
    assert_eq!(answer.raw_output_contents[0], tensor.data());
}

proptest! {
    /// Whatever comes, the answer is a tensor that fits or a refusal.
    #[test]
    fn no_bytes_panic(encoded in prop::collection::vec(any::<u8>(), 0..200), ty in 0..ElementType::ALL.len()) {
        let _ = ModelInferRequest::check(&encoded);
        if let Ok(request) = ModelInferRequest::decode(encoded.as_slice()) {
            let _ = read(request);
        }
        let datatype = ElementType::ALL[ty].as_str();
        for count in [0, 1, 3] {
            let input = InferInputTensor { contents: Some(encoded.clone().into()), ..input(datatype, &[count], None) };
            let _ = read(request(input, &[]));
        }
    }
}
