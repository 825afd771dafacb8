//! Whether an answer is the expected one, by the rules of ONNX's own runner (`onnx/backend/test/runner`): type and shape
//! are the same, strings are the same, numbers pass numpy's `assert_allclose`.

use aimass_core::tensor::Element;
use aimass_core::{ElementType, Tensor};
use half::{bf16, f16};

/// What `onnx/backend/test/loader` gives to every node test.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-7;

/// # Errors
/// The first difference, in words.
pub(super) fn same(found: &Tensor, expected: &Tensor) -> Result<(), String> {
    if found.element_type() != expected.element_type() {
        return Err(format!("{}, and {} is expected", found.element_type(), expected.element_type()));
    }
    if found.shape() != expected.shape() {
        return Err(format!("{:?}, and {:?} is expected", found.shape(), expected.shape()));
    }
    if found.element_type() == ElementType::Bytes {
        return if found.data() == expected.data() { Ok(()) } else { Err("other strings".into()) };
    }
    for (at, (found, expected)) in numbers(found).into_iter().zip(numbers(expected)).enumerate() {
        let near = found == expected || (found.is_nan() && expected.is_nan());
        if !near && !((found - expected).abs() <= ABSOLUTE + RELATIVE * expected.abs() && expected.is_finite()) {
            return Err(format!("element {at} is {found}, and {expected} is expected"));
        }
    }
    Ok(())
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    fn all<T: Element>(tensor: &Tensor, number: impl Fn(T) -> f64) -> Vec<f64> {
        tensor.elements::<T>().unwrap().into_iter().map(number).collect()
    }
    match tensor.element_type() {
        ElementType::Bool => all(tensor, |b: bool| f64::from(u8::from(b))),
        ElementType::Uint8 => all(tensor, |n: u8| n.into()),
        ElementType::Uint16 => all(tensor, |n: u16| n.into()),
        ElementType::Uint32 => all(tensor, |n: u32| n.into()),
        ElementType::Uint64 => all(tensor, |n: u64| n as f64),
        ElementType::Int8 => all(tensor, |n: i8| n.into()),
        ElementType::Int16 => all(tensor, |n: i16| n.into()),
        ElementType::Int32 => all(tensor, |n: i32| n.into()),
        ElementType::Int64 => all(tensor, |n: i64| n as f64),
        ElementType::Fp16 => all(tensor, |n: f16| n.into()),
        ElementType::Bf16 => all(tensor, |n: bf16| n.into()),
        ElementType::Fp32 => all(tensor, |n: f32| n.into()),
        ElementType::Fp64 => all(tensor, |n: f64| n),
        ElementType::Bytes => Vec::new(),
    }
}

#[test]
fn numbers_may_differ_by_a_thousandth_and_nothing_else_may() {
    let t = |shape: &[u64], numbers: &[f32]| Tensor::from_elements("t", shape, numbers).unwrap();
    let one = |a: f32, b: f32| same(&t(&[1], &[a]), &t(&[1], &[b]));
    assert!(one(1.0009, 1.0).is_ok() && one(f32::NAN, f32::NAN).is_ok() && one(f32::INFINITY, f32::INFINITY).is_ok());
    for (found, expected) in
        [(1.0011, 1.0), (f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 1.0), (1.0, f32::INFINITY), (1e-6, 0.0)]
    {
        assert!(one(found, expected).is_err(), "{found} {expected}");
    }
    assert!(same(&t(&[1, 1], &[1.0]), &t(&[1], &[1.0])).is_err());
    assert!(same(&Tensor::from_elements("t", [1], &[1i32]).unwrap(), &t(&[1], &[1.0])).is_err());
}
