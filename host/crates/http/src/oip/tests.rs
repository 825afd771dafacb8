#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use aimass_core::{Code, ElementType, Fault, Signature, Tensor};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A request with one input whose JSON is `tensor`.
fn with(tensor: &str) -> Result<Tensor, Fault> {
    let body = format!(r#"{{"inputs":[{tensor}]}}"#);
    decode_request(body.into(), None).map(|request| request.inputs.into_iter().next().expect("one input"))
}

fn data(datatype: &str, shape: &str, data: &str) -> Result<Tensor, Fault> {
    with(&format!(r#"{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}"#))
}

fn binary(parameters: &str, bytes: &[u8]) -> Result<InferRequest, Fault> {
    let json = format!(r#"{{"inputs":[{{"name":"x","datatype":"INT16","shape":[2],"parameters":{parameters}}}]}}"#);
    let length = json.len().to_string();
    decode_request([json.as_bytes(), bytes].concat().into(), Some(&length))
}

#[test]
fn every_type_is_read_from_json_to_its_limits() {
    for (datatype, text, bytes) in [
        ("BOOL", "[true,false]", vec![1, 0]),
        ("UINT8", "[0,255]", vec![0, 255]),
        ("UINT16", "[0,65535]", [0u16, u16::MAX].map(u16::to_le_bytes).concat()),
        ("UINT32", "[0,4294967295]", [0, u32::MAX].map(u32::to_le_bytes).concat()),
        ("UINT64", "[0,18446744073709551615]", [0, u64::MAX].map(u64::to_le_bytes).concat()),
        ("INT8", "[-128,127]", vec![0x80, 0x7f]),
        ("INT16", "[-32768,32767]", [i16::MIN, i16::MAX].map(i16::to_le_bytes).concat()),
        ("INT32", "[-2147483648,2147483647]", [i32::MIN, i32::MAX].map(i32::to_le_bytes).concat()),
        ("INT64", "[-9223372036854775808,9223372036854775807]", [i64::MIN, i64::MAX].map(i64::to_le_bytes).concat()),
        ("FP32", "[3.4028235e38,-1]", [f32::MAX, -1.0].map(f32::to_le_bytes).concat()),
        ("FP64", "[1.7976931348623157e308,5E-324]", [f64::MAX, 5e-324].map(f64::to_le_bytes).concat()),
        (
            "BYTES",
            r#"["é\n\"]\ud83d\ude00",""]"#,
            [b"\x09\0\0\0\xc3\xa9\n\"]\xf0\x9f\x98\x80".as_slice(), b"\0\0\0\0"].concat(),
        ),
    ] {
        let tensor = data(datatype, "[2]", text).unwrap_or_else(|fault| panic!("{datatype}: {fault}"));
        assert_eq!(&tensor.data()[..], bytes, "{datatype}");
        assert_eq!(tensor.element_type().as_str(), datatype);
    }
}

#[test]
fn a_number_is_rounded_once() {
    // Halfway between two FP32 but for its last digit: by way of FP64 it would round to even, which is down.
    let tensor = data("FP32", "[1]", "[1.00000005960464477540]").unwrap();
    assert_eq!(tensor.elements::<f32>().unwrap(), [1.000_000_1]);
    let tensor = data("FP64", "[2]", "[0.1, 9007199254740993]").unwrap();
    assert_eq!(tensor.elements::<f64>().unwrap(), [0.1, 9_007_199_254_740_992.0]);
}

#[test]
fn long_data_is_read_as_short_data_is() {
    let numbers: Vec<f32> = (0..5_000u32).map(|i| f32::from_bits(0x3f00_0000 + i * 7_919)).collect();
    let pairs: Vec<String> =
        numbers.chunks(2).map(|pair| format!("[{}, {}]", f64::from(pair[0]), f64::from(pair[1]))).collect();
    let nested = format!("[{}]", pairs.join(","));
    let flat = format!("[{}]", numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ,\n"));
    for text in [&nested, &flat] {
        let tensor = data("FP32", "[2500,2]", text).unwrap();
        assert_eq!(tensor.elements::<f32>().unwrap(), numbers);
    }
    for (spoilt, code) in [
        (format!("{flat}]"), Code::InvalidRequest),
        (flat.replacen('[', "[,", 1), Code::InvalidTensor),
        (flat.replacen(',', " ", 1), Code::InvalidTensor),
        (flat.replacen(',', ",,", 1), Code::InvalidTensor),
        (flat.replacen("0.", ".", 1), Code::InvalidTensor),
        (flat.replacen("0.", "+0.", 1), Code::InvalidTensor),
        (flat.replacen("0.", "00.", 1), Code::InvalidTensor),
        (flat.replacen("0.", "\"0.\",0.", 1), Code::InvalidTensor),
        (flat.replacen("0.", "{}", 1), Code::InvalidTensor),
        (flat.replacen("0.", "\u{e9}", 1), Code::InvalidTensor),
        (format!("[{nested}]"), Code::InvalidTensor),
        (flat[..flat.len() - 1].to_owned(), Code::InvalidRequest),
    ] {
        let fault = data("FP32", "[2500,2]", &spoilt).unwrap_err();
        assert_eq!(fault.code(), code, "{:.40} …: {fault}", spoilt);
    }
}

#[test]
fn data_is_flat_or_nested_as_the_shape_says() {
    for (shape, text) in [
        ("[2,2]", "[1,2,3,4]"),
        ("[2,2]", "[[1,2],[3,4]]"),
        ("[2,2]", " [ [ 1 , 2 ] ,\n[3,\t4 ] ] "),
        ("[1,4]", "[[1,2,3,4]]"),
        ("[4,1]", "[[1],[2],[3],[4]]"),
        ("[1,2,2,1]", "[[[[1],[2]],[[3],[4]]]]"),
        ("[4]", "[1,2,3,4]"),
    ] {
        assert_eq!(data("UINT8", shape, text).unwrap().data()[..], [1, 2, 3, 4], "{shape} {text}");
    }
    assert_eq!(data("INT8", "[]", "[7]").unwrap().data()[..], [7], "a scalar");
    for (shape, text) in
        [("[0]", "[]"), ("[2,0]", "[]"), ("[2,0]", "[[],[]]"), ("[0,2]", "[]"), ("[0,18446744073709551615]", "[]")]
    {
        assert!(data("BYTES", shape, text).unwrap().data().is_empty(), "{shape} {text}");
    }
}

#[test]
fn f10_data_that_does_not_fit_its_shape_is_refused() {
    for (shape, text) in [
        ("[2]", "[1]"),
        ("[2]", "[1,2,3]"),
        ("[2]", "[]"),
        ("[1]", "[[1]]"),
        ("[2]", "[[1,2]]"),
        ("[0]", "[1]"),
        ("[]", "[]"),
        ("[]", "[1,2]"),
        ("[2,2]", "[[1,2],[3]]"),
        ("[2,2]", "[[1,2],[3,4,5]]"),
        ("[2,2]", "[[1,2,3],[4]]"),
        ("[2,2]", "[[1,2],3,4]"),
        ("[2,2]", "[1,2,[3,4]]"),
        ("[2,2]", "[[1,2]]"),
        ("[2,2]", "[[1,2],[3,4],[5,6]]"),
        ("[2,2]", "[[[1,2],[3,4]]]"),
        ("[2,2]", "[[1],[2],[3],[4]]"),
        ("[4]", "[[1,2],[3,4]]"),
        ("[1,2,2]", "[[1,2],[3,4]]"),
        ("[2,0]", "[[]]"),
        ("[2,0]", "[[],[],[]]"),
        ("[0,2]", "[[]]"),
        ("[2]", "{}"),
        ("[1]", "1"),
        ("[1]", "true"),
        ("[1]", "\"1\""),
        ("[1]", "\"[1]\""),
        ("[4294967296,4294967296]", "[1]"),
        ("[9223372036854775807]", "[1]"),
        ("[9223372036854775807,4]", "[[1]]"),
        ("[1000000000]", "[1,2]"),
    ] {
        let fault = data("FP64", shape, text).err().unwrap_or_else(|| panic!("accepted {shape} {text}"));
        assert_eq!(fault.code(), Code::InvalidTensor, "{shape} {text}");
        assert!(fault.detail().starts_with("tensor `x`: "), "{fault}");
    }
}

#[test]
fn f10_elements_of_another_type_or_out_of_range_are_refused() {
    for (datatype, elements) in [
        ("BOOL", vec!["1", "0", "\"true\"", "null"]),
        ("UINT8", vec!["256", "-1", "1.0", "1e2", "true", "\"1\"", "null", "{}", "[]", "18446744073709551616"]),
        ("INT8", vec!["128", "-129", "0.5"]),
        ("UINT16", vec!["65536", "-1"]),
        ("INT16", vec!["32768", "-32769"]),
        ("UINT32", vec!["4294967296", "-1"]),
        ("INT32", vec!["2147483648", "-2147483649"]),
        ("UINT64", vec!["18446744073709551616", "-1", "1e300"]),
        ("INT64", vec!["9223372036854775808", "-9223372036854775809"]),
        ("FP32", vec!["1e39", "-3.5e38", "\"1\"", "null", "true", "\"inf\"", "\"NaN\""]),
        ("FP64", vec!["1e309", "-1e400", "null"]),
        ("BYTES", vec!["1", "null", "true", "{}", "[\"a\"]", "\"\\ud800\""]),
        ("FP16", vec!["1"]),
        ("BF16", vec!["1"]),
    ] {
        for element in elements {
            let fault =
                data(datatype, "[1]", &format!("[{element}]")).err().unwrap_or_else(|| panic!("{datatype} {element}"));
            assert_eq!(fault.code(), Code::InvalidTensor, "{datatype} {element}: {fault}");
        }
    }
    assert!(data("FP16", "[1]", "[1]").unwrap_err().detail().contains("binary data"), "says what to do");
}

#[test]
fn documents_that_are_none_are_refused() {
    let deep = "[".repeat(100_000);
    let shape = format!("[{}]", vec!["1"; 65].join(","));
    for body in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"inputs":null}"#,
        r#"{"inputs":{}}"#,
        r#"{"inputs":[1]}"#,
        r#"{"inputs":[]} x"#,
        r#"{"inputs":[],"inputs":[]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"data":[1]}]}"#,
        r#"{"inputs":[{"datatype":"INT8","shape":[1],"data":[1]}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"INT8","shape":[-1],"data":[1]}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"INT8","shape":[1.0],"data":[1]}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"INT8","shape":1,"data":[1]}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[NaN]}]}"#,
        r#"{"inputs":[],"id":1}"#,
        r#"{"inputs":[],"outputs":[{}]}"#,
        r#"{"inputs":[],"outputs":[{"name":"y"},{"name":"y"}]}"#,
        r#"{"inputs":[],"parameters":{"binary_data_output":1}}"#,
        r#"{"inputs":[],"parameters":{"timeout":-1}}"#,
        &deep,
        &format!(r#"{{"inputs":[],"parameters":{deep}"#),
        &format!(r#"{{"inputs":[{{"name":"x","datatype":"INT8","shape":[1],"data":{deep}"#),
    ] {
        let fault =
            decode_request(body.to_owned().into(), None).err().unwrap_or_else(|| panic!("accepted {body:.100}"));
        assert_eq!(fault.code(), Code::InvalidRequest, "{body:.100}");
        assert!(fault.detail().len() < 300);
    }
    let closed = format!("{deep}{}", "]".repeat(100_000));
    for (datatype, shape, text) in
        [("INT8", "[1]", closed.as_str()), ("INT9", "[1]", "[1]"), ("int8", "[1]", "[1]"), ("INT8", &shape, "[1]")]
    {
        assert_eq!(data(datatype, shape, text).unwrap_err().code(), Code::InvalidTensor);
    }
    for tensor in [
        r#"{"name":"x","datatype":"INT8","shape":[1]}"#,
        r#"{"name":"x","datatype":"INT8","shape":[1],"data":null}"#,
        r#"{"name":"x","datatype":"INT8","shape":[1],"data":[1],"parameters":{"binary_data_size":1}}"#,
        r#"{"name":"x","datatype":"INT8","shape":[1],"parameters":{"binary_data_size":1}}"#,
        r#"{"name":"x","datatype":"INT8","shape":[1],"parameters":{"shared_memory_region":"r","shared_memory_byte_size":1}}"#,
    ] {
        assert_eq!(with(tensor).unwrap_err().code(), Code::InvalidTensor, "{tensor}");
    }
    for wanted in [
        r#""parameters":{"sequence_id":7}"#,
        r#""parameters":{"sequence_id":"s"}"#,
        r#""outputs":[{"name":"y","parameters":{"classification":3}}]"#,
        r#""outputs":[{"name":"y","parameters":{"shared_memory_region":"r"}}]"#,
    ] {
        let fault = decode_request(format!(r#"{{"inputs":[],{wanted}}}"#).into(), None).unwrap_err();
        assert_eq!(fault.code(), Code::UnsupportedOperation, "{wanted}");
    }
    assert!(decode_request(Bytes::from_static(b"{\"inputs\":[],\"id\":\"\xff\"}"), None).is_err(), "not UTF-8");
}

#[test]
fn binary_data_is_sliced_out_of_the_body() {
    let json = r#"{"inputs":[{"name":"a","datatype":"FP16","shape":[2],"parameters":{"binary_data_size":4}},
        {"name":"b","datatype":"UINT8","shape":[1],"data":[9]},
        {"name":"c","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}},
        {"name":"d","datatype":"FP64","shape":[0],"parameters":{"binary_data_size":0}}]}"#;
    let body = Bytes::from([json.as_bytes(), b"\x00\x3c\x00\xbc", b"\x02\0\0\0\xff\xfe"].concat());
    let request = decode_request(body.clone(), Some(&json.len().to_string())).unwrap();
    let names: Vec<_> = request.inputs.iter().map(Tensor::name).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!(request.inputs[2].bytes_elements().unwrap(), [b"\xff\xfe"]);
    let inside = body.as_ptr_range();
    for input in [0, 2] {
        assert!(inside.contains(&request.inputs[input].data().as_ptr()), "not copied");
    }
}

#[test]
fn f10_binary_sizes_that_do_not_fit_are_refused() {
    assert_eq!(
        binary(r#"{"binary_data_size":4}"#, &[1, 0, 2, 0]).unwrap().inputs[0].elements::<i16>().unwrap(),
        [1, 2]
    );
    for (parameters, bytes) in [
        (r#"{"binary_data_size":4}"#, 3),
        (r#"{"binary_data_size":4}"#, 5),
        (r#"{"binary_data_size":3}"#, 3),
        (r#"{"binary_data_size":5}"#, 5),
        (r#"{"binary_data_size":18446744073709551615}"#, 4),
        (r#"{"binary_data_size":0}"#, 0),
        ("{}", 4),
    ] {
        let fault = binary(parameters, &vec![0; bytes]).expect_err(parameters);
        assert_eq!(fault.code(), Code::InvalidTensor, "{parameters} {bytes}");
    }
    for parameters in [
        r#"{"binary_data_size":-1}"#,
        r#"{"binary_data_size":4.0}"#,
        r#"{"binary_data_size":"4"}"#,
        r#"{"binary_data_size":1e300}"#,
    ] {
        assert_eq!(binary(parameters, &[0; 4]).unwrap_err().code(), Code::InvalidRequest, "{parameters}");
    }
    let body = Bytes::from_static(br#"{"inputs":[]}"#);
    for length in ["14", "99999999999999999999", "-1", "+13", "", "13 ", "1e1", "0x0d", "12", "0"] {
        assert_eq!(decode_request(body.clone(), Some(length)).unwrap_err().code(), Code::InvalidRequest, "{length:?}");
    }
    assert!(decode_request(body, Some("13")).is_ok());
}

#[test]
fn what_a_client_asks_for_is_read() {
    let body = json!({
        "id": "7", "model_name": "ignored", "inputs": [],
        "outputs": [{ "name": "y", "parameters": { "binary_data": true } }, { "name": "z" }],
        "parameters": { "binary_data_output": false, "timeout": 1500, "priority": 1, "sequence_id": 0, "own": "x" },
    });
    let request = decode_request(body.to_string().into(), None).unwrap();
    assert_eq!(
        (request.id.as_deref(), request.binary_output, request.timeout),
        (Some("7"), false, Some(Duration::from_micros(1500)))
    );
    let outputs: Vec<_> = request.outputs.iter().map(|output| (output.name.as_str(), output.binary)).collect();
    assert_eq!(outputs, [("y", Some(true)), ("z", None)]);
}

#[test]
fn an_answer_holds_what_was_asked_for() {
    let y = Tensor::from_elements("y", [2, 1], &[1.5f32, -0.0]).unwrap();
    let z = Tensor::from_bytes_elements("z", [1], &["a\"\u{1}"]).unwrap();
    let outputs = [y, z];
    let wanted = |name: &str, binary| RequestedOutput { name: name.to_owned(), binary };

    let all = encode_response(&InferRequest::default(), "m", "3", &outputs).unwrap();
    assert_eq!(all.header_length, None);
    let text = all.into_body();
    assert_eq!(
        serde_json::from_slice::<Value>(&text).unwrap(),
        json!({ "model_name": "m", "model_version": "3", "outputs": [
            { "name": "y", "datatype": "FP32", "shape": [2, 1], "data": [1.5, -0.0] },
            { "name": "z", "datatype": "BYTES", "shape": [1], "data": ["a\"\u{1}"] },
        ]})
    );

    let request = InferRequest {
        id: Some("i".to_owned()),
        outputs: vec![wanted("z", Some(true)), wanted("y", None)],
        ..InferRequest::default()
    };
    let some = encode_response(&request, "m", "3", &outputs).unwrap();
    assert_eq!(some.chunks[1].as_ptr(), outputs[1].data().as_ptr(), "binary data is not copied");
    let length = some.header_length.unwrap();
    let body = some.into_body();
    let head: Value = serde_json::from_slice(&body[..length]).unwrap();
    assert_eq!(head["id"], "i");
    assert_eq!(
        head["outputs"][0],
        json!({ "name": "z", "datatype": "BYTES", "shape": [1], "parameters": { "binary_data_size": 7 } })
    );
    assert_eq!(body.len(), length + 7);
    let read = decode_response(body, Some(&length.to_string())).unwrap();
    assert_eq!(read, [outputs[1].clone(), outputs[0].clone()]);

    let empty = [Tensor::new("e", ElementType::Int64, [0], Bytes::new()).unwrap()];
    let request = InferRequest { binary_output: true, ..InferRequest::default() };
    let encoded = encode_response(&request, "m", "1", &empty).unwrap();
    let length = encoded.header_length.expect("the client looks for the header").to_string();
    assert_eq!(decode_response(encoded.into_body(), Some(&length)).unwrap(), empty);

    let request = InferRequest { outputs: vec![wanted("x", None)], ..InferRequest::default() };
    let fault = encode_response(&request, "m", "3", &outputs).unwrap_err();
    assert_eq!(fault.code(), Code::InvalidRequest);
    assert!(fault.detail().contains("\"y\", \"z\""), "{fault}");
}

#[test]
fn what_json_cannot_hold_goes_as_binary_data_or_not_at_all() {
    let tensors = [
        Tensor::from_elements("t", [2], &[0.0, f32::NAN]).unwrap(),
        Tensor::from_elements("t", [1], &[f32::INFINITY]).unwrap(),
        Tensor::from_elements("t", [1], &[f64::NEG_INFINITY]).unwrap(),
        Tensor::from_bytes_elements("t", [1], &[[0xffu8]]).unwrap(),
        Tensor::new("t", ElementType::Fp16, [1], vec![0, 0x3c]).unwrap(),
        Tensor::new("t", ElementType::Bf16, [1], vec![0x80, 0x3f]).unwrap(),
    ];
    for tensor in tensors {
        let fault = encode_response(&InferRequest::default(), "m", "1", std::slice::from_ref(&tensor)).unwrap_err();
        assert_eq!(fault.code(), Code::InvalidTensor);
        assert!(fault.detail().contains("binary_data"), "says what to do: {fault}");
        let request = InferRequest { binary_output: true, ..InferRequest::default() };
        let encoded = encode_response(&request, "m", "1", std::slice::from_ref(&tensor)).unwrap();
        let length = encoded.header_length.unwrap().to_string();
        assert_eq!(decode_response(encoded.into_body(), Some(&length)).unwrap()[0].data(), tensor.data());
    }
}

#[test]
fn the_documents_are_those_of_the_protocol() {
    assert_eq!(
        server_metadata("0.1.0"),
        json!({ "name": "aimass", "version": "0.1.0", "extensions": super::EXTENSIONS })
    );
    assert_eq!((live(), ready(false)), (json!({ "live": true }), json!({ "ready": false })));
    assert_eq!(model_ready("m", true), json!({ "name": "m", "ready": true }));
    assert_eq!(error(&Fault::not_found()), json!({ "error": "not_found: there is no such object" }));
    let metadata = model_metadata("m", &[], "wasm", &Signature::default());
    assert_eq!(metadata, json!({ "name": "m", "versions": [], "platform": "wasm", "inputs": [], "outputs": [] }));
}

#[test]
fn f10_a_claim_without_data_costs_nothing() {
    let started = Instant::now();
    for _ in 0..1000 {
        assert!(data("FP64", "[1000000000000]", "[1]").is_err());
        assert!(data("FP64", "[1000000,1000000]", "[[1]]").is_err());
        assert!(data("BYTES", "[1000000000000,0]", "[[1]]").is_err());
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

fn tensors() -> impl Strategy<Value = Tensor> {
    let types = prop::sample::select(ElementType::ALL);
    let shapes = prop::collection::vec(0u64..4, 0..4);
    (types, shapes, "\\PC{0,12}", any::<u64>()).prop_map(|(element_type, shape, name, seed)| {
        let count = shape.iter().product::<u64>() as usize;
        // Not random enough for anything but to be different every time.
        let mut state = seed | 1;
        let mut byte = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        match element_type.size() {
            None => {
                let elements: Vec<_> =
                    (0..count).map(|_| (0..byte() % 9).map(|_| byte()).collect::<Vec<_>>()).collect();
                Tensor::from_bytes_elements(name, shape, &elements).unwrap()
            }
            Some(size) => {
                let limit = if element_type == ElementType::Bool { 1 } else { 255 };
                let bytes: Vec<_> = (0..count * size).map(|_| byte() & limit).collect();
                Tensor::new(name, element_type, shape, bytes).unwrap()
            }
        }
    })
}

/// Nests a flat array as the shape says.
fn nest(flat: &mut std::vec::IntoIter<Value>, shape: &[u64]) -> Value {
    match shape {
        [] => flat.next().unwrap(),
        [length, inner @ ..] => (0..*length).map(|_| nest(flat, inner)).collect(),
    }
}

proptest! {
    #[test]
    fn every_tensor_round_trips_as_binary_data(inputs in prop::collection::vec(tensors(), 0..5)) {
        let (body, length) = encode_request(&inputs);
        prop_assert_eq!(&decode_request(body, Some(&length)).unwrap().inputs, &inputs);
        let request = InferRequest { binary_output: true, ..InferRequest::default() };
        let answer = encode_response(&request, "m", "1", &inputs).unwrap();
        let length = answer.header_length.map(|length| length.to_string());
        prop_assert_eq!(&decode_response(answer.into_body(), length.as_deref()).unwrap(), &inputs);
    }

    #[test]
    fn every_tensor_that_json_can_hold_round_trips_flat_and_nested(tensor in tensors()) {
        let encoded = encode_response(&InferRequest::default(), "m", "1", std::slice::from_ref(&tensor));
        let Ok(encoded) = encoded else { return Ok(()) };
        let body = encoded.into_body();
        prop_assert_eq!(&decode_response(body.clone(), None).unwrap()[0], &tensor);
        // By way of values only where these are exact: they hold numbers as FP64, and read them approximately.
        if !tensor.shape().is_empty() && !matches!(tensor.element_type(), ElementType::Fp32 | ElementType::Fp64) {
            let mut document: Value = serde_json::from_slice(&body).unwrap();
            let flat: Vec<Value> = serde_json::from_value(document["outputs"][0]["data"].take()).unwrap();
            document["outputs"][0]["data"] = nest(&mut flat.into_iter(), tensor.shape());
            prop_assert_eq!(&decode_response(document.to_string().into(), None).unwrap()[0], &tensor);
        }
    }

    /// Against the standard library, near the ends of the quick way and halfway between two FP32.
    #[test]
    fn every_number_is_the_nearest_one(digits in 0u64..1 << 60, cut in 0u32..19, point in 0usize..24, near in any::<f32>(), exponent in "(e-?[0-9])?") {
        let digits = (digits / 10u64.pow(cut)).to_string();
        let number = if point < digits.len() && point > 0 {
            format!("-{}.{}{exponent}", &digits[..point], &digits[point..])
        } else {
            format!("0.{}{digits}{exponent}", "0".repeat(point))
        };
        let halfway = (f64::from(near) + f64::from(near.next_up())) / 2.0;
        let mut all = vec![number];
        all.extend([halfway, halfway.next_up(), halfway.next_down()].iter().filter(|x| x.abs() < 1e38).map(f64::to_string));
        for text in all {
            let array = format!("[{text}]");
            let single: f32 = text.parse().unwrap();
            prop_assert_eq!(data("FP32", "[1]", &array).unwrap().elements::<f32>().unwrap()[0].to_bits(), single.to_bits(), "{}", text);
            let double: f64 = text.parse().unwrap();
            prop_assert_eq!(data("FP64", "[1]", &array).unwrap().elements::<f64>().unwrap()[0].to_bits(), double.to_bits(), "{}", text);
        }
    }

    #[test]
    fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), length in prop::option::of("[0-9]{0,3}")) {
        let _ = decode_request(body.clone().into(), length.as_deref());
        let _ = decode_response(body.into(), length.as_deref());
    }

    #[test]
    fn a_changed_request_is_read_or_refused(tensor in tensors(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (body, length) = encode_request(std::slice::from_ref(&tensor));
        let mut body = body.to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(request) = decode_request(body.into(), Some(&length)) {
            for input in request.inputs {
                prop_assert!(Tensor::new("", input.element_type(), input.shape(), input.data().clone()).is_ok());
            }
        }
    }

    #[test]
    fn json_data_never_panics(text in r#"[\[\], "0-9a-z\\{}.]{0,40}"#, datatype in prop::sample::select(ElementType::ALL), shape in prop::collection::vec(0u64..5, 0..4)) {
        let shape = format!("{shape:?}");
        let _ = data(datatype.as_str(), &shape, &text);
    }
}
