//! Hulls, smallest rectangles, and growing: what the package has OpenCV, shapely and Clipper do.

use std::f64::consts::PI;

/// Four corners, x and y.
pub(crate) type Quad = [[f32; 2]; 4];

/// Area times this over perimeter is how far a core is grown (the package's `unclip_ratio`).
const GROWTH: f64 = 1.6;

/// How far two points are apart.
pub(crate) fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// The rectangle of the least area around points, from its upper left corner clockwise, and its shorter side. None if
/// the points lie on a line.
pub(crate) fn mini_box(points: &[[f32; 2]]) -> Option<(Quad, f32)> {
    let hull = hull(points);
    let mut best: Option<(f64, Quad, f32)> = None;
    // One side of it lies on a side of the hull (Freeman and Shapira 1975).
    for (i, a) in hull.iter().enumerate() {
        let b = hull[(i + 1) % hull.len()];
        let length = (b[0] - a[0]).hypot(b[1] - a[1]);
        let u = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
        let mut reach = [f64::MAX, f64::MIN, f64::MAX, f64::MIN];
        for p in &hull {
            let (along, across) = (p[0] * u[0] + p[1] * u[1], p[1] * u[0] - p[0] * u[1]);
            reach = [reach[0].min(along), reach[1].max(along), reach[2].min(across), reach[3].max(across)];
        }
        let (length, width) = (reach[1] - reach[0], reach[3] - reach[2]);
        if best.is_none_or(|(area, ..)| length * width < area - 1e-9) {
            let corner = |along: f64, across: f64| {
                [(along * u[0] - across * u[1]) as f32, (along * u[1] + across * u[0]) as f32]
            };
            let [near, far, left, right] = reach;
            let corners = [corner(near, left), corner(far, left), corner(far, right), corner(near, right)];
            best = Some((length * width, corners, length.min(width) as f32));
        }
    }
    best.filter(|_| hull.len() > 2).map(|(_, quad, side)| (clockwise(quad), side))
}

/// The corners from the upper left one clockwise: of the two on the left the upper one first, then of the two on the
/// right.
pub(crate) fn clockwise(mut quad: Quad) -> Quad {
    quad.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let [a, b, c, d] = quad;
    let (upper_left, lower_left) = if b[1] > a[1] { (a, b) } else { (b, a) };
    let (upper_right, lower_right) = if d[1] > c[1] { (c, d) } else { (d, c) };
    [upper_left, upper_right, lower_right, lower_left]
}

/// The convex hull, without points on its sides (Andrew's monotone chain).
fn hull(points: &[[f32; 2]]) -> Vec<[f64; 2]> {
    let mut points: Vec<[f64; 2]> = points.iter().map(|p| p.map(f64::from)).collect();
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    points.dedup();
    if points.len() < 3 {
        return points;
    }
    let turn = |a: [f64; 2], b: [f64; 2], c: [f64; 2]| (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
    let half = |points: &mut dyn Iterator<Item = [f64; 2]>| {
        let mut chain: Vec<[f64; 2]> = vec![];
        for p in points {
            while chain.len() > 1 && turn(chain[chain.len() - 2], chain[chain.len() - 1], p) <= 0.0 {
                chain.pop();
            }
            chain.push(p);
        }
        chain.pop(); // it begins the other half
        chain
    };
    let mut hull = half(&mut points.iter().copied());
    hull.extend(half(&mut points.iter().rev().copied()));
    hull
}

/// A box with its sides moved outwards and its corners rounded, in whole pixels, as Clipper's offsetting does it.
pub(crate) fn grown(quad: &Quad) -> Vec<[f32; 2]> {
    let exact = quad.map(|p| p.map(f64::from));
    let side = |i: usize| (exact[(i + 1) % 4][0] - exact[i][0]).hypot(exact[(i + 1) % 4][1] - exact[i][1]);
    let perimeter: f64 = (0..4).map(side).sum();
    let cross = |i: usize| exact[i][0] * exact[(i + 1) % 4][1] - exact[(i + 1) % 4][0] * exact[i][1];
    let area = (0..4).map(cross).sum::<f64>().abs() / 2.0;
    let by = area * GROWTH / perimeter;

    // Clipper counts in whole numbers, and so cuts fractions off.
    let corners = exact.map(|p| p.map(f64::trunc));
    // Steps of a circle, so that no chord is further from it than a quarter of a pixel.
    let steps = (PI / (1.0 - 0.25f64.min(by * 0.25) / by).acos()).min(by * PI);
    let mut points = vec![];
    for i in 0..4 {
        let (before, here, next) = (corners[(i + 3) % 4], corners[i], corners[(i + 1) % 4]);
        // Outwards is to the left of a clockwise walk, where y points down.
        let outwards = |a: [f64; 2], b: [f64; 2]| (b[0] - a[0]).atan2(-(b[1] - a[1])) - PI;
        let (from, to) = (outwards(before, here), outwards(here, next));
        let turn = (to - from).rem_euclid(2.0 * PI);
        let turn = if turn > PI { 0.0 } else { turn };
        let count = (steps / (2.0 * PI) * turn).round().max(1.0);
        // From the side before in whole steps, and to the side behind in what is left.
        for step in 0..count as u32 {
            let angle = from + 2.0 * PI / steps * f64::from(step);
            let point = [here[0] + by * angle.cos(), here[1] + by * angle.sin()];
            points.push(point.map(|v| v.round() as f32));
        }
        points.push([here[0] + by * to.cos(), here[1] + by * to.sin()].map(|v| v.round() as f32));
    }
    points
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn close(a: Quad, b: Quad, by: f32) -> bool {
        a.iter().zip(b).all(|(a, b)| distance(*a, b) <= by)
    }

    #[test]
    fn the_smallest_rectangle_around_a_slanted_one_is_itself() {
        let slanted = [[10.0, 0.0], [30.0, 20.0], [20.0, 30.0], [0.0, 10.0]];
        let mut points = slanted.to_vec();
        points.extend([[15.0, 15.0], [20.0, 20.0], [10.0, 10.0]]);
        let (found, side) = mini_box(&points).unwrap();
        assert!(close(found, clockwise(slanted), 1e-4), "{found:?}");
        assert!((side - 200f32.sqrt()).abs() < 1e-4);
    }

    #[test]
    fn points_on_a_line_have_none() {
        assert!(mini_box(&[[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]]).is_none());
        assert!(mini_box(&[[3.0, 3.0]]).is_none() && mini_box(&[]).is_none());
    }

    #[test]
    fn a_box_grows_to_every_side_alike() {
        // 100 by 20: 2000 * 1.6 / 240 = 13.3.
        let flat = [[50.0, 40.0], [150.0, 40.0], [150.0, 60.0], [50.0, 60.0]];
        let (found, _) = mini_box(&grown(&flat)).unwrap();
        assert_eq!(found, [[37.0, 27.0], [163.0, 27.0], [163.0, 73.0], [37.0, 73.0]]);
        let slanted = [[100.0, 0.0], [300.0, 200.0], [250.0, 250.0], [50.0, 50.0]];
        let (found, side) = mini_box(&grown(&slanted)).unwrap();
        let by = 200f32.hypot(200.0) * 5000f32.sqrt() * 1.6 / 2.0 / (200f32.hypot(200.0) + 5000f32.sqrt());
        assert!((side - (5000f32.sqrt() + 2.0 * by)).abs() < 2.0, "{found:?}");
    }

    #[test]
    fn corners_come_clockwise_from_the_upper_left() {
        let wanted = [[0.0, 0.0], [9.0, 1.0], [8.0, 5.0], [1.0, 4.0]];
        assert_eq!(clockwise([wanted[2], wanted[0], wanted[3], wanted[1]]), wanted);
    }
}
