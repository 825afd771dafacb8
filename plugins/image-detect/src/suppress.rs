//! Non-maximum suppression, as OpenCV's `dnn::NMSBoxes` does it: whatever the labels, of boxes that overlap the best
//! one stays.

use crate::boxes::Detection;

/// Boxes that share more than this part of their common area are of one thing (the package's value).
const MOST_OVERLAP: f64 = 0.45;

/// The detections that no better one overlaps, best first.
pub(crate) fn suppress(mut detections: Vec<Detection>) -> Vec<Detection> {
    detections.sort_by(|a, b| b.score.total_cmp(&a.score)); // stable, as OpenCV's is
    let mut kept: Vec<Detection> = vec![];
    for detection in detections {
        if kept.iter().all(|better| overlap(&detection.place, &better.place) <= MOST_OVERLAP) {
            kept.push(detection);
        }
    }
    kept
}

/// Intersection over union.
fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f64 {
    let ([ax, ay, aw, ah], [bx, by, bw, bh]) = (a.map(f64::from), b.map(f64::from));
    let shared = |a: f64, a_size: f64, b: f64, b_size: f64| ((a + a_size).min(b + b_size) - a.max(b)).max(0.0);
    let both = shared(ax, aw, bx, bw) * shared(ay, ah, by, bh);
    let either = aw * ah + bw * bh - both;
    if either <= f64::EPSILON { 1.0 } else { both / either }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(boxes: &[([f32; 4], f32)]) -> Vec<f32> {
        let detections = boxes.iter().map(|&(place, score)| Detection { place, score, label: "x" }).collect();
        suppress(detections).into_iter().map(|d| d.score).collect()
    }

    #[test]
    fn of_boxes_that_overlap_the_best_stays() {
        let shifted = [1.0, 0.0, 10.0, 10.0]; // shares 90 of 110 with the first
        assert_eq!(kept(&[([0.0, 0.0, 10.0, 10.0], 0.5), (shifted, 0.9)]), [0.9]);
    }

    #[test]
    fn boxes_that_overlap_little_all_stay_best_first() {
        let half = [5.0, 0.0, 10.0, 10.0]; // shares 50 of 150
        assert_eq!(kept(&[([0.0, 0.0, 10.0, 10.0], 0.5), (half, 0.9), ([50.0, 0.0, 1.0, 1.0], 0.7)]), [0.9, 0.7, 0.5]);
    }

    #[test]
    fn what_a_suppressed_box_overlaps_may_stay() {
        // A chain: the second overlaps both others, which do not overlap each other enough.
        let chain = [([0.0, 0.0, 10.0, 10.0], 0.9), ([3.0, 0.0, 10.0, 10.0], 0.8), ([6.0, 0.0, 10.0, 10.0], 0.7)];
        assert_eq!(kept(&chain), [0.9, 0.7]);
    }
}
