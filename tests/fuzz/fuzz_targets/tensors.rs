//! Requests for inference, JSON and binary: the first two bytes say whether a header gives the JSON's length.
#![no_main]

use aimass_http::oip;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((head, body)) = input.split_first_chunk::<2>() else { return };
    let length = u16::from_le_bytes(*head);
    let header = (length != 0).then(|| length.to_string());
    let Ok(request) = oip::decode_request(body.to_vec().into(), header.as_deref()) else { return };
    // What was read comes back the same, with every value as it was.
    let (again, header) = oip::encode_request(&request.inputs);
    let same = oip::decode_request(again, Some(&header)).expect("our own request is read");
    assert_eq!(same.inputs, request.inputs);
    // JSON for every output is either possible or refused.
    if let Ok(answer) = oip::encode_response(&request, "m", "1", &request.inputs)
        && answer.header_length.is_none()
    {
        let outputs = oip::decode_response(answer.into_body(), None).expect("our own answer is read");
        if request.outputs.is_empty() {
            assert_eq!(outputs, request.inputs);
        }
    }
});
