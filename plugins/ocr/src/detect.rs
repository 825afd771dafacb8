//! Where text stands: the package's `TextDetector` with its `DBPostProcess` (differentiable binarisation, Liao et al.
//! 2020). The model says of each pixel how likely it is in the core of a line; cores become boxes and are grown.

use aimass_sdk::{Fault, nn};
use imaging::{CHANNELS, Image};

use crate::geometry::{Quad, clockwise, distance, grown, mini_box};
use crate::page::stepped;
use crate::pixels::planes;
use crate::regions::{Mask, regions};

/// The shorter side is at least this long when the detector looks.
const LEAST_SIDE: usize = 736;
/// From what likelihood on a pixel is text.
const TEXT: f32 = 0.3;
/// What a box must hold in the mean.
const LEAST_MEAN: f64 = 0.5;
const MOST_BOXES: usize = 1000;
/// What is no longer than this on a side, in the model's pixels, is dirt.
const LEAST_BOX: f32 = 3.0;

/// The lines of text in an image, from top to bottom and left to right.
pub(crate) fn detect(detector: &nn::Graph, image: &Image) -> Result<Vec<Quad>, Fault> {
    let (width, height) = (image.width, image.height);
    let shortest = width.min(height);
    let by = if shortest < LEAST_SIDE { LEAST_SIDE as f64 / shortest as f64 } else { 1.0 };
    let (w, h) = stepped(width, height, by);
    let input = planes(&imaging::resize(image, (width, height), (w, h)), w);
    let input = nn::Tensor::from_slice([1, CHANNELS as u32, h as u32, w as u32], &input)?;
    let map = sole(&detector.compute([("x", input)])?, "sigmoid_0.tmp_0", "map")?.to_vec::<f32>()?;
    if map.len() != w * h {
        return Err(Fault::internal(format!("the detector gives {} numbers for {w} x {h} pixels", map.len())));
    }
    let mut quads: Vec<Quad> = boxes(&Map { w, h, values: &map })
        .into_iter()
        .map(|quad| {
            let x = |x: f32| (x / w as f32 * width as f32).round_ties_even().clamp(0.0, width as f32);
            let y = |y: f32| (y / h as f32 * height as f32).round_ties_even().clamp(0.0, height as f32);
            clockwise(quad.map(|p| [x(p[0]), y(p[1])]))
                .map(|p| [p[0].min(width as f32 - 1.0), p[1].min(height as f32 - 1.0)])
        })
        .filter(|q| distance(q[0], q[1]).floor() > 3.0 && distance(q[0], q[3]).floor() > 3.0)
        .collect();
    in_reading_order(&mut quads);
    Ok(quads)
}

/// A model's only output, whatever it is called: `name` in the package's file, `test` in unit tests.
pub(crate) fn sole<'o>(outputs: &'o nn::Outputs, name: &str, test: &str) -> Result<&'o nn::Tensor, Fault> {
    Ok(outputs.get(name).or_else(|e| outputs.get(test).map_err(|_| e))?)
}

/// The detector's answer.
struct Map<'a> {
    w: usize,
    h: usize,
    values: &'a [f32],
}

/// The boxes in the map's pixels.
fn boxes(map: &Map<'_>) -> Vec<Quad> {
    let mut mask = Mask { width: map.w, height: map.h, set: map.values.iter().map(|&v| v > TEXT).collect() };
    mask.dilate();
    let mut found = vec![];
    for points in regions(&mask).into_iter().take(MOST_BOXES) {
        let Some((core, side)) = mini_box(&points) else { continue };
        if side < LEAST_BOX || mean(map, &core) < LEAST_MEAN {
            continue;
        }
        let Some((quad, side)) = mini_box(&grown(&core)) else { continue };
        if side >= LEAST_BOX + 2.0 {
            found.push(quad);
        }
    }
    found
}

/// The mean of the map within a quadrilateral, its edge included, as `cv2.fillPoly` fills it.
fn mean(map: &Map<'_>, quad: &Quad) -> f64 {
    let bound = |value: f32, most: usize| (value.max(0.0) as usize).min(most - 1);
    let (xs, ys) = (quad.map(|p| p[0]), quad.map(|p| p[1]));
    let least = |v: &[f32; 4]| v.iter().copied().fold(f32::INFINITY, f32::min);
    let most = |v: &[f32; 4]| v.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (left, right) = (bound(least(&xs).floor(), map.w), bound(most(&xs).ceil(), map.w));
    let (top, bottom) = (bound(least(&ys).floor(), map.h), bound(most(&ys).ceil(), map.h));
    // OpenCV cuts the corners' fractions off, counted from the left and the top.
    let points = quad.map(|p| [(p[0] - left as f32).trunc(), (p[1] - top as f32).trunc()]);
    let (mut sum, mut count) = (0f64, 0u32);
    for y in 0..=bottom - top {
        let Some((from, to)) = span(&points, y as f32) else { continue };
        let width = (right - left) as f32;
        let (from, to) = (from.clamp(0.0, width) as usize, to.clamp(0.0, width) as usize);
        let row = &map.values[(top + y) * map.w + left..][..=to];
        sum += row[from..].iter().copied().map(f64::from).sum::<f64>();
        count += (to + 1 - from) as u32;
    }
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// From where to where a convex polygon's pixels reach in a row: its edges are drawn as lines of whole pixels.
fn span(points: &Quad, y: f32) -> Option<(f32, f32)> {
    let mut span: Option<(f32, f32)> = None;
    let mut reach = |x: f32| {
        let (from, to) = span.get_or_insert((x, x));
        (*from, *to) = (from.min(x), to.max(x));
    };
    for (i, a) in points.iter().enumerate() {
        let b = points[(i + 1) % 4];
        if a[1] == b[1] {
            if a[1] == y {
                reach(a[0]);
                reach(b[0]);
            }
            continue;
        }
        // A flat edge has many pixels in a row: those within half a row of it.
        let x = |y: f32| (a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1])).round();
        let (upper, lower) = (a[1].min(b[1]), a[1].max(b[1]));
        if (upper..=lower).contains(&y) {
            let half = if (b[0] - a[0]).abs() > (b[1] - a[1]).abs() { 0.49 } else { 0.0 };
            reach(x((y - half).max(upper)));
            reach(x((y + half).min(lower)));
        }
    }
    span
}

/// From top to bottom; what begins within ten pixels of the same height, from left to right. As the package sorts,
/// which is no order in the strict sense.
fn in_reading_order(quads: &mut [Quad]) {
    quads.sort_by(|a, b| a[0][1].total_cmp(&b[0][1]).then(a[0][0].total_cmp(&b[0][0])));
    for i in 1..quads.len() {
        for j in (1..=i).rev() {
            let (before, this) = (quads[j - 1][0], quads[j][0]);
            if (this[1] - before[1]).abs() < 10.0 && this[0] < before[0] {
                quads.swap(j - 1, j);
            } else {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, y: f32) -> Quad {
        [[x, y], [x + 9.0, y], [x + 9.0, y + 9.0], [x, y + 9.0]]
    }

    #[test]
    fn a_rectangle_is_found_and_grown() {
        let (w, h) = (200, 100);
        let inside = |i: usize| (50..150).contains(&(i % w)) && (40..60).contains(&(i / w));
        let values: Vec<f32> = (0..w * h).map(|i| if inside(i) { 0.8 } else { 0.1 }).collect();
        let found = boxes(&Map { w, h, values: &values });
        assert_eq!(found.len(), 1);
        // 100 by 20 after dilation, grown by 100 * 20 * 1.6 / 240 = 13.3.
        for (corner, wanted) in found[0].iter().zip([[37.0, 27.0], [163.0, 27.0], [163.0, 73.0], [37.0, 73.0]]) {
            assert!(distance(*corner, wanted) < 1.5, "{found:?}");
        }
    }

    #[test]
    fn what_is_small_or_faint_is_no_text() {
        let (w, h) = (50, 50);
        let with = |side: usize, value: f32| {
            let values: Vec<f32> = (0..w * h)
                .map(|i| if i % w < side + 9 && i % w > 9 && i / w < side + 9 && i / w > 9 { value } else { 0.0 })
                .collect();
            boxes(&Map { w, h, values: &values }).len()
        };
        assert_eq!((with(20, 0.9), with(2, 0.9), with(20, 0.4)), (1, 0, 0));
    }

    #[test]
    fn the_mean_is_taken_within_a_slanted_box() {
        let values: Vec<f32> = (0..100).map(|i| if i % 10 + i / 10 < 10 { 1.0 } else { 0.0 }).collect();
        let map = Map { w: 10, h: 10, values: &values };
        let triangle = [[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [0.0, 9.0]];
        assert_eq!(mean(&map, &triangle), 1.0);
        assert!(mean(&map, &[[0.0, 0.0], [9.0, 0.0], [9.0, 9.0], [0.0, 9.0]]) < 0.6);
    }

    #[test]
    fn lines_are_read_from_the_top_and_from_the_left() {
        let mut quads = [at(50.0, 100.0), at(80.0, 5.0), at(10.0, 8.0), at(10.0, 200.0)];
        in_reading_order(&mut quads);
        assert_eq!(quads.map(|q| q[0][0] + q[0][1]), [18.0, 85.0, 150.0, 210.0]);
    }
}
