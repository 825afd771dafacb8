//! OpenCV's `resize` with `INTER_LINEAR` on 8-bit images, to the bit.
//!
//! Source: OpenCV 4.10, `modules/imgproc/src/resize.cpp`: weights of 11 bits, a horizontal pass into integers, a
//! vertical one that rounds in two steps; and where an image is exactly halved, the mean of four pixels instead.

use crate::{CHANNELS, Image};

/// Bits of a weight, and what 1 is.
const ONE: f32 = 2048.0;

/// Resizes an image, which lies in the upper left corner of a black canvas of `canvas` (width, height), to `to`. A
/// canvas of the image's own size leaves nothing black.
///
/// ```
/// let image = imaging::Image { width: 2, height: 1, pixels: vec![0, 0, 0, 100, 100, 100] };
/// let wider = imaging::resize(&image, (2, 1), (4, 1));
/// assert_eq!(wider.pixels, [0, 0, 0, 25, 25, 25, 75, 75, 75, 100, 100, 100]);
/// ```
pub fn resize(image: &Image, canvas: (usize, usize), to: (usize, usize)) -> Image {
    if canvas == (to.0 * 2, to.1 * 2) {
        return halved(image, to);
    }
    let columns = columns(canvas.0, to.0);
    let mut resized = Image::black(to.0, to.1);
    // Each source row is widened once, for the two target rows and more that it may count in.
    let mut widened = [Widened::new(to.0), Widened::new(to.0)];
    let scale = canvas.1 as f64 / to.1 as f64;
    for (y, target) in resized.pixels.chunks_exact_mut(to.0 * CHANNELS).enumerate() {
        let (first, weight) = source(y, scale);
        let clipped = |row: isize| row.clamp(0, canvas.1 as isize - 1) as usize;
        let (upper, lower) = (clipped(first), clipped(first + 1));
        if widened[1].row == Some(upper) {
            widened.swap(0, 1);
        }
        widened[0].fill(image, upper, &columns);
        widened[1].fill(image, lower, &columns);
        let (above, below) = weights(weight);
        for ((value, &a), &b) in target.iter_mut().zip(&widened[0].values).zip(&widened[1].values) {
            let sum = ((above * (a >> 4)) >> 16) + ((below * (b >> 4)) >> 16);
            *value = ((sum + 2) >> 2) as u8;
        }
    }
    resized
}

/// Where a target's pixel lies in the source: the pixel before it, and how far beyond that.
fn source(target: usize, scale: f64) -> (isize, f32) {
    let at = ((target as f64 + 0.5) * scale - 0.5) as f32;
    let before = at.floor();
    (before as isize, at - before)
}

/// The weights of the pixel before and of the one behind.
fn weights(beyond: f32) -> (i32, i32) {
    let fixed = |weight: f32| (weight * ONE).round_ties_even() as i32;
    (fixed(1.0 - beyond), fixed(beyond))
}

/// For each target column the source column before it, the weights of that and of the next.
fn columns(from: usize, to: usize) -> Vec<(usize, i32, i32)> {
    let scale = from as f64 / to as f64;
    let column = |x| match source(x, scale) {
        (before, _) if before < 0 => (0, weights(0.0)),
        (before, _) if before as usize >= from - 1 => (from - 1, weights(0.0)),
        (before, beyond) => (before as usize, weights(beyond)),
    };
    (0..to).map(column).map(|(at, (a, b))| (at, a, b)).collect()
}

/// A source row at the target's width.
struct Widened {
    row: Option<usize>,
    values: Vec<i32>,
}

impl Widened {
    fn new(width: usize) -> Self {
        Self { row: None, values: vec![0; width * CHANNELS] }
    }

    fn fill(&mut self, image: &Image, row: usize, columns: &[(usize, i32, i32)]) {
        if self.row == Some(row) {
            return;
        }
        self.row = Some(row);
        if row >= image.height {
            self.values.fill(0);
            return;
        }
        let source = image.row(row);
        let pixel = |at: usize| source.get(at * CHANNELS..).and_then(|rest| rest.first_chunk::<CHANNELS>());
        for (value, &(at, a, b)) in self.values.chunks_exact_mut(CHANNELS).zip(columns) {
            let (before, behind) = (pixel(at).unwrap_or(&[0; 3]), pixel(at + 1).unwrap_or(&[0; 3]));
            for (value, (&p, &q)) in value.iter_mut().zip(before.iter().zip(behind)) {
                *value = i32::from(p) * a + i32::from(q) * b;
            }
        }
    }
}

/// To half the canvas's size.
fn halved(image: &Image, to: (usize, usize)) -> Image {
    let mut half = Image::black(to.0, to.1);
    let value = |x: usize, y: usize, c: usize| match x < image.width && y < image.height {
        true => u32::from(image.pixels[(y * image.width + x) * CHANNELS + c]),
        false => 0,
    };
    for (i, pixel) in half.pixels.chunks_exact_mut(CHANNELS).enumerate() {
        let (x, y) = (i % to.0 * 2, i / to.0 * 2);
        for (c, out) in pixel.iter_mut().enumerate() {
            let sum = value(x, y, c) + value(x + 1, y, c) + value(x, y + 1, c) + value(x + 1, y + 1, c);
            *out = ((sum + 2) >> 2) as u8;
        }
    }
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image whose values follow no line, so that every weight shows.
    fn pattern(width: usize, height: usize) -> Image {
        let pixels = (0..width * height * CHANNELS).map(|i| (i * i * 7 + i * 13) as u8).collect();
        Image { width, height, pixels }
    }

    /// FNV-1a, to compare an image with what OpenCV made of it.
    fn hash(image: &Image) -> u32 {
        image.pixels.iter().fold(0x811c_9dc5, |h: u32, &b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
    }

    #[test]
    fn the_canvas_is_black_where_the_image_is_not() {
        let white = Image { width: 4, height: 2, pixels: vec![255; 24] };
        let small = resize(&white, (4, 4), (2, 2));
        assert_eq!(small.pixels[..6], [255; 6]);
        assert_eq!(small.pixels[6..], [0; 6]);
        let mut padded = Image::black(9, 9);
        for (y, row) in pattern(5, 9).pixels.chunks(15).enumerate() {
            padded.pixels[y * 27..][..15].copy_from_slice(row);
        }
        assert_eq!(resize(&pattern(5, 9), (9, 9), (7, 7)), resize(&padded, (9, 9), (7, 7)));
    }

    #[test]
    fn an_image_at_its_own_size_stays_as_it_is() {
        assert_eq!(resize(&pattern(7, 5), (7, 5), (7, 5)), pattern(7, 5));
    }

    #[test]
    fn every_value_is_opencvs() {
        for (from, to, theirs) in OPENCV {
            assert_eq!(hash(&resize(&pattern(from.0, from.1), from, to)), theirs, "{from:?} {to:?}");
        }
    }

    /// From, to, and the hash of what `cv2.resize` of opencv-python-headless 4.10.0.84 makes of [`pattern`].
    const OPENCV: [((usize, usize), (usize, usize), u32); 6] = [
        ((7, 5), (13, 11), 0x8916_87f6),
        ((40, 30), (17, 9), 0x62db_0387),
        ((64, 48), (32, 24), 0x739e_f1c5),
        ((33, 21), (96, 48), 0x6f6c_b6ba),
        ((100, 3), (32, 32), 0xf90b_751c),
        ((320, 240), (224, 160), 0xe061_2455),
    ];
}
