//! Pixels as PP-OCR's models take them: planes of blue, green, red, from -1 to 1.

use imaging::{CHANNELS, Image};

/// The planes of an image, filled up with 0 to a width.
pub(crate) fn planes(image: &Image, width: usize) -> Vec<f32> {
    // A look-up, where each of a page's millions of values would cost two divisions.
    let values: [f32; 256] = std::array::from_fn(|byte| (byte as f32 / 255.0 - 0.5) / 0.5);
    let mut planes = vec![0f32; CHANNELS * width * image.height];
    for (plane, channel) in planes.chunks_exact_mut(width * image.height).zip([2, 1, 0]) {
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            for (value, pixel) in row.iter_mut().zip(image.row(y).chunks_exact(CHANNELS)) {
                *value = values[usize::from(pixel[channel])];
            }
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blue_comes_first_and_zeros_fill_up() {
        let image = Image { width: 1, height: 2, pixels: vec![255, 0, 0, 0, 0, 255] };
        assert_eq!(planes(&image, 2), [-1.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 1.0, 0.0, -1.0, 0.0]);
    }
}
