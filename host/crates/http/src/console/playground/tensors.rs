//! Numbers of tensors, for people.

use aimass_core::{ElementType, Tensor};
use half::{bf16, f16};

/// The longest side of a picture that is made of values.
const SIDE: u64 = 1_024;

/// The shortest: below, a table says more.
const SHORTEST: u64 = 8;

/// A tensor as rows and columns: what has at most one dimension beside its columns that is not 1.
pub(super) struct Grid {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Grid {
    pub(super) fn of(tensor: &Tensor) -> Option<Self> {
        let wide: Vec<u64> = tensor.shape().iter().copied().filter(|&size| size != 1).collect();
        let (rows, columns) = match wide.as_slice() {
            [] => (1, 1),
            [columns] => (1, *columns),
            [rows, columns] => (*rows, *columns),
            _ => return None,
        };
        let (rows, columns) = (usize::try_from(rows).ok()?, usize::try_from(columns).ok()?);
        (rows > 0 && columns > 0).then_some(Self { rows, columns })
    }

    /// The first `columns` values of a row.
    pub(super) fn row(&self, tensor: &Tensor, row: usize, columns: usize) -> Vec<String> {
        let start = row * self.columns;
        (start..start + columns).filter_map(|index| value(tensor, index)).collect()
    }
}

/// How many elements there are.
pub(super) fn count(tensor: &Tensor) -> usize {
    tensor.element_type().size().map_or(0, |size| tensor.data().len() / size)
}

/// The first values, as they are written in JSON; NaN and infinities by their names.
pub(super) fn values(tensor: &Tensor, limit: usize) -> Vec<String> {
    (0..count(tensor).min(limit)).filter_map(|index| value(tensor, index)).collect()
}

/// The largest values with their places, the largest first.
pub(super) fn largest(tensor: &Tensor, limit: usize) -> Option<Vec<(usize, String)>> {
    let mut all: Vec<(usize, f64)> =
        (0..count(tensor)).map(|i| Some((i, number(tensor, i)?))).collect::<Option<_>>()?;
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(limit);
    Some(all.into_iter().filter_map(|(i, _)| Some((i, value(tensor, i)?))).collect())
}

fn value(tensor: &Tensor, index: usize) -> Option<String> {
    let exact = match tensor.element_type() {
        ElementType::Bool => return number(tensor, index).map(|n| (n != 0.0).to_string()),
        ElementType::Uint64 => u64::from_le_bytes(element(tensor, index)?).to_string(),
        ElementType::Int64 => i64::from_le_bytes(element(tensor, index)?).to_string(),
        // The shortest that reads back as the same: of its own width, not of 64 bits.
        ElementType::Fp32 => f32::from_le_bytes(element(tensor, index)?).to_string(),
        ElementType::Fp16 => f16::from_le_bytes(element(tensor, index)?).to_string(),
        ElementType::Bf16 => bf16::from_le_bytes(element(tensor, index)?).to_string(),
        _ => number(tensor, index)?.to_string(),
    };
    Some(exact)
}

/// The bytes of one element.
fn element<const N: usize>(tensor: &Tensor, index: usize) -> Option<[u8; N]> {
    let start = index.checked_mul(N)?;
    tensor.data().get(start..start.checked_add(N)?)?.try_into().ok()
}

fn number(tensor: &Tensor, index: usize) -> Option<f64> {
    Some(match tensor.element_type() {
        ElementType::Bool | ElementType::Uint8 => f64::from(u8::from_le_bytes(element(tensor, index)?)),
        ElementType::Uint16 => f64::from(u16::from_le_bytes(element(tensor, index)?)),
        ElementType::Uint32 => f64::from(u32::from_le_bytes(element(tensor, index)?)),
        ElementType::Uint64 => u64::from_le_bytes(element(tensor, index)?) as f64,
        ElementType::Int8 => f64::from(i8::from_le_bytes(element(tensor, index)?)),
        ElementType::Int16 => f64::from(i16::from_le_bytes(element(tensor, index)?)),
        ElementType::Int32 => f64::from(i32::from_le_bytes(element(tensor, index)?)),
        ElementType::Int64 => i64::from_le_bytes(element(tensor, index)?) as f64,
        ElementType::Fp16 => f64::from(f16::from_le_bytes(element(tensor, index)?)),
        ElementType::Bf16 => f64::from(bf16::from_le_bytes(element(tensor, index)?)),
        ElementType::Fp32 => f64::from(f32::from_le_bytes(element(tensor, index)?)),
        ElementType::Fp64 => f64::from_le_bytes(element(tensor, index)?),
        ElementType::Bytes => return None,
    })
}

/// The values as a picture, where the shape is one's: height, width and one or three channels, at either end. Values
/// are spread from the smallest (black) to the largest; those of UINT8 stand for themselves.
///
/// As a bitmap of 24 bits (BITMAPINFOHEADER), which every browser reads and takes no library to write.
pub(super) fn bitmap(tensor: &Tensor) -> Option<Vec<u8>> {
    let shape = match tensor.shape() {
        [1, rest @ ..] if rest.len() >= 2 => rest,
        rest => rest,
    };
    let (channels, height, width, first) = match *shape {
        [c @ (1 | 3), h, w] => (c, h, w, true),
        [h, w, c @ (1 | 3)] => (c, h, w, false),
        [h, w] => (1, h, w, true),
        _ => return None,
    };
    if !(SHORTEST..=SIDE).contains(&height) || !(SHORTEST..=SIDE).contains(&width) {
        return None;
    }
    let (channels, height, width) =
        (usize::try_from(channels).ok()?, usize::try_from(height).ok()?, usize::try_from(width).ok()?);
    let all: Vec<f64> = (0..channels * height * width).map(|i| number(tensor, i)).collect::<Option<_>>()?;
    let finite = || all.iter().copied().filter(|n| n.is_finite());
    let (low, high) = match tensor.element_type() {
        ElementType::Uint8 => (0.0, 255.0),
        _ => (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max)),
    };
    let spread = if high > low { 255.0 / (high - low) } else { 0.0 };
    // Saturates, and makes NaN black.
    let grey = |n: f64| ((n - low) * spread) as u8;
    let at = |y: usize, x: usize, c: usize| match first {
        true => all[(c * height + y) * width + x],
        false => all[(y * width + x) * channels + c],
    };
    let row = (width * 3).next_multiple_of(4);
    let size = 54 + row * height;
    let mut file = Vec::with_capacity(size);
    file.extend_from_slice(b"BM");
    for field in [size, 0, 54, 40, width, height] {
        file.extend_from_slice(&u32::try_from(field).ok()?.to_le_bytes());
    }
    file.extend_from_slice(&1u16.to_le_bytes());
    file.extend_from_slice(&24u16.to_le_bytes());
    file.extend_from_slice(&[0; 24]);
    // From the bottom up, blue first, each row padded.
    for y in (0..height).rev() {
        for x in 0..width {
            let channel = |c: usize| grey(at(y, x, c.min(channels - 1)));
            file.extend_from_slice(&[channel(2), channel(1), channel(0)]);
        }
        file.resize(54 + row * (height - y), 0);
    }
    Some(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_type_is_written_exactly() {
        let t = |ty, data: &[u8]| Tensor::new("x", ty, [1], data.to_vec()).unwrap();
        assert_eq!(values(&t(ElementType::Uint64, &u64::MAX.to_le_bytes()), 9), ["18446744073709551615"]);
        assert_eq!(values(&t(ElementType::Fp32, &0.1f32.to_le_bytes()), 9), ["0.1"]);
        assert_eq!(values(&t(ElementType::Fp16, &f16::from_f32(1.5).to_le_bytes()), 9), ["1.5"]);
        assert_eq!(values(&t(ElementType::Bool, &[1]), 9), ["true"]);
        assert_eq!(values(&t(ElementType::Fp64, &f64::NAN.to_le_bytes()), 9), ["NaN"]);
    }

    #[test]
    fn a_picture_is_a_bitmap_of_its_size() {
        let pixels: Vec<u8> = (0..9 * 10 * 3).map(|i| i as u8).collect();
        let file = bitmap(&Tensor::new("x", ElementType::Uint8, [9, 10, 3], pixels).unwrap()).unwrap();
        assert_eq!((file.len(), &file[..2]), (54 + 32 * 9, &b"BM"[..]));
        assert_eq!(u32::from_le_bytes(file[2..6].try_into().unwrap()) as usize, file.len());
        // The last row of the file is the first one of the picture: red 0, green 1, blue 2.
        assert_eq!(file[54 + 32 * 8..54 + 32 * 8 + 3], [2, 1, 0]);
        let floats = Tensor::from_elements("x", [1, 3, 8, 8], &[f32::NAN; 192]).unwrap();
        assert!(bitmap(&floats).unwrap()[54..].iter().all(|byte| *byte == 0));
        assert!(bitmap(&Tensor::from_elements("x", [1, 4, 8, 8], &[0f32; 256]).unwrap()).is_none());
    }

    #[test]
    fn the_largest_come_first() {
        let t = Tensor::from_elements("x", [4], &[1f32, 9.0, -3.0, 4.0]).unwrap();
        assert_eq!(largest(&t, 2).unwrap(), [(1, "9".to_owned()), (3, "4".to_owned())]);
    }
}
