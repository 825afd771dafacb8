//! A line cut out of its image and straightened: the package's `get_rotate_crop_image`, that is
//! `cv2.warpPerspective` with `INTER_CUBIC` and the border's pixels repeated.

use imaging::{CHANNELS, Image};

use crate::geometry::{Quad, distance};

/// Something so much higher than wide is a line that runs down; it is laid on its side.
const UPRIGHT: f64 = 1.5;
/// OpenCV looks between pixels at steps of a 32nd.
const STEPS: f64 = 32.0;

/// The image within a quadrilateral as a rectangle. None if the quadrilateral is flat.
pub(crate) fn crop(image: &Image, quad: &Quad) -> Option<Image> {
    let [a, b, c, d] = *quad;
    let width = distance(a, b).max(distance(c, d)) as usize;
    let height = distance(a, d).max(distance(b, c)) as usize;
    if width == 0 || height == 0 {
        return None;
    }
    let map = Perspective::onto(quad, width as f64, height as f64)?;
    let mut cut = Image::black(width, height);
    let weights: Vec<[f32; 4]> = (0..STEPS as u32).map(|step| cubic(step as f32 / STEPS as f32)).collect();
    for (y, row) in cut.pixels.chunks_exact_mut(width * CHANNELS).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(CHANNELS).enumerate() {
            let [at_x, at_y] = map.at(x as f64, y as f64).map(|v| (v * STEPS).round_ties_even() as i64);
            let steps = STEPS as i64;
            let across = &weights[at_x.rem_euclid(steps) as usize];
            let down = &weights[at_y.rem_euclid(steps) as usize];
            sample(image, (at_x.div_euclid(steps), at_y.div_euclid(steps)), across, down, pixel);
        }
    }
    Some(if height as f64 / width as f64 >= UPRIGHT { laid(&cut) } else { cut })
}

/// The mean of sixteen pixels, the second of four by four at `at`.
fn sample(image: &Image, at: (i64, i64), across: &[f32; 4], down: &[f32; 4], out: &mut [u8]) {
    let clipped = |v: i64, most: usize| v.clamp(0, most as i64 - 1) as usize;
    let columns = [-1, 0, 1, 2].map(|step| clipped(at.0 + step, image.width) * CHANNELS);
    let mut sums = [0f32; CHANNELS];
    for (step, down) in (-1..).zip(down) {
        let row = image.row(clipped(at.1 + step, image.height));
        for (&column, across) in columns.iter().zip(across) {
            let weight = down * across;
            for (sum, &value) in sums.iter_mut().zip(&row[column..column + CHANNELS]) {
                *sum += weight * f32::from(value);
            }
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum.round().clamp(0.0, 255.0) as u8;
    }
}

/// What the pixels one before, at, one and two behind count, at this fraction of a pixel (Keys 1981, with OpenCV's
/// -0.75).
fn cubic(x: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let (first, second, third) = (far(x + 1.0), near(x), near(1.0 - x));
    [first, second, third, 1.0 - first - second - third]
}

/// From a rectangle's points to a quadrilateral's.
struct Perspective([f64; 8]);

impl Perspective {
    /// Source: Heckbert, Fundamentals of Texture Mapping (1989), 2.2.3.
    fn onto(quad: &Quad, width: f64, height: f64) -> Option<Self> {
        let [[x0, y0], [x1, y1], [x2, y2], [x3, y3]] = quad.map(|p| p.map(f64::from));
        let (dx1, dx2, sx) = (x1 - x2, x3 - x2, x0 - x1 + x2 - x3);
        let (dy1, dy2, sy) = (y1 - y2, y3 - y2, y0 - y1 + y2 - y3);
        let area = dx1 * dy2 - dx2 * dy1;
        if area == 0.0 {
            return None;
        }
        let (g, h) = ((sx * dy2 - dx2 * sy) / area, (dx1 * sy - sx * dy1) / area);
        Some(Self([
            (x1 - x0 + g * x1) / width,
            (x3 - x0 + h * x3) / height,
            x0,
            (y1 - y0 + g * y1) / width,
            (y3 - y0 + h * y3) / height,
            y0,
            g / width,
            h / height,
        ]))
    }

    fn at(&self, x: f64, y: f64) -> [f64; 2] {
        let [a, b, c, d, e, f, g, h] = self.0;
        let depth = g * x + h * y + 1.0;
        [(a * x + b * y + c) / depth, (d * x + e * y + f) / depth]
    }
}

/// Turned to the left by a quarter.
fn laid(image: &Image) -> Image {
    let mut laid = Image::black(image.height, image.width);
    for (i, pixel) in laid.pixels.chunks_exact_mut(CHANNELS).enumerate() {
        let (x, y) = (i % image.height, i / image.height);
        pixel.copy_from_slice(&image.row(x)[(image.width - 1 - y) * CHANNELS..][..CHANNELS]);
    }
    laid
}

/// Turned by a half.
pub(crate) fn upside_down(image: &Image) -> Image {
    let pixels = image.pixels.chunks_exact(CHANNELS).rev().flatten().copied().collect();
    Image { pixels, ..*image }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A pixel's red says its column, its green its row.
    fn grid(width: usize, height: usize) -> Image {
        let pixels = (0..width * height).flat_map(|i| [(i % width) as u8, (i / width) as u8, 0]).collect();
        Image { width, height, pixels }
    }

    #[test]
    fn an_upright_rectangle_is_copied() {
        let quad = [[2.0, 1.0], [8.0, 1.0], [8.0, 4.0], [2.0, 4.0]];
        let cut = crop(&grid(10, 10), &quad).unwrap();
        assert_eq!((cut.width, cut.height), (6, 3));
        assert_eq!(cut.row(1)[..6], [2, 2, 0, 3, 2, 0]);
    }

    #[test]
    fn a_slanted_one_is_straightened() {
        let quad = [[10.0, 20.0], [30.0, 10.0], [35.0, 20.0], [15.0, 30.0]];
        let cut = crop(&grid(60, 60), &quad).unwrap();
        assert_eq!((cut.width, cut.height), (22, 11));
        let pixel = |x: usize, y: usize| [cut.row(y)[x * CHANNELS], cut.row(y)[x * CHANNELS + 1]];
        assert_eq!(pixel(0, 0), [10, 20]);
        assert_eq!(pixel(11, 0), [20, 15]);
    }

    #[test]
    fn a_line_that_runs_down_is_laid_on_its_side() {
        let cut = crop(&grid(10, 20), &[[1.0, 1.0], [4.0, 1.0], [4.0, 11.0], [1.0, 11.0]]).unwrap();
        assert_eq!((cut.width, cut.height), (10, 3));
        assert_eq!(cut.row(0)[..6], [3, 1, 0, 3, 2, 0]);
    }

    #[test]
    fn half_a_turn_twice_changes_nothing_and_a_flat_box_is_nothing() {
        assert_eq!(upside_down(&upside_down(&grid(5, 4))), grid(5, 4));
        assert_eq!(upside_down(&grid(5, 4)).row(0)[..3], [4, 3, 0]);
        assert!(crop(&grid(9, 9), &[[0.0, 0.0], [5.0, 0.0], [5.0, 0.0], [0.0, 0.0]]).is_none());
        assert!(crop(&grid(9, 9), &[[0.0, 0.0], [5.0, 5.0], [5.0, 5.0], [0.0, 0.0]]).is_none());
    }

    #[test]
    fn weights_add_up() {
        assert_eq!(cubic(0.0), [0.0, 1.0, 0.0, 0.0]);
        assert!((cubic(0.3).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
