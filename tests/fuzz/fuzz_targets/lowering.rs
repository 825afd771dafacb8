//! ONNX files: read, checked, and rewritten for the GPU.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| aimass_inference::fuzz_lowering(input));
