//! From the model's output to candidates, as `_postprocess` of nudenet 3.4.2 does it.

use aimass_sdk::Fault;
use imaging::Image;

use crate::SIDE;

/// What the model tells apart, in the order of its scores.
const LABELS: [&str; 18] = [
    "FEMALE_GENITALIA_COVERED",
    "FACE_FEMALE",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "ANUS_EXPOSED",
    "FEET_EXPOSED",
    "BELLY_COVERED",
    "FEET_COVERED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "FACE_MALE",
    "BELLY_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_COVERED",
    "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
];

/// The package looks at candidates from 0.2 on, and its suppression then takes those above 0.25.
const LEAST_SCORE: f32 = 0.25;

/// Something that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Detection {
    /// Left, top, width, height in the image's pixels.
    pub(crate) place: [f32; 4],
    pub(crate) score: f32,
    pub(crate) label: &'static str,
}

/// The candidates with enough of a score, in the model's order.
///
/// `output` is [22, n]: the middle, width and height of n boxes in the model's pixels, then their score for each label.
pub(crate) fn detections(output: &[f32], image: &Image) -> Result<Vec<Detection>, Fault> {
    let rows = 4 + LABELS.len();
    let count = output.len() / rows;
    if count == 0 || output.len() % rows != 0 {
        return Err(Fault::internal(format!("the model gives {} numbers, not {rows} for each box", output.len())));
    }
    // Row by row, as the numbers lie: most candidates are nothing, and this finds that out quickest.
    let mut best = output[4 * count..5 * count].to_vec();
    let mut labels = vec![0usize; count];
    for label in 1..LABELS.len() {
        let scores = &output[(4 + label) * count..][..count];
        for ((best, at), &score) in best.iter_mut().zip(&mut labels).zip(scores) {
            if score > *best {
                (*best, *at) = (score, label);
            }
        }
    }
    let (width, height) = (image.width as f32, image.height as f32);
    let scale = image.width.max(image.height) as f32;
    let candidate = |i: usize| {
        let [x, y, w, h] = [0, 1, 2, 3].map(|row| output[row * count + i]);
        let x = ((x - w / 2.0) * scale / SIDE as f32).min(width).max(0.0);
        let y = ((y - h / 2.0) * scale / SIDE as f32).min(height).max(0.0);
        let w = (w * scale / SIDE as f32).min(width - x);
        let h = (h * scale / SIDE as f32).min(height - y);
        Detection { place: [x, y, w, h], score: best[i], label: LABELS[labels[i]] }
    };
    Ok((0..count).filter(|&i| best[i] > LEAST_SCORE).map(candidate).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One candidate of 22 numbers in an image of 640 by 480.
    fn one(place: [f32; 4], scores: &[(usize, f32)]) -> Vec<Detection> {
        let mut output = vec![0f32; 22];
        output[..4].copy_from_slice(&place);
        scores.iter().for_each(|&(label, score)| output[4 + label] = score);
        detections(&output, &Image { width: 640, height: 480, pixels: vec![] }).unwrap()
    }

    #[test]
    fn a_box_is_brought_to_the_images_pixels() {
        let found = one([100.0, 100.0, 40.0, 20.0], &[(1, 0.9), (12, 0.3)]);
        assert_eq!(found, [Detection { place: [160.0, 180.0, 80.0, 40.0], score: 0.9, label: "FACE_FEMALE" }]);
    }

    #[test]
    fn a_box_ends_where_the_image_does() {
        assert_eq!(one([310.0, 230.0, 40.0, 40.0], &[(0, 0.5)])[0].place, [580.0, 420.0, 60.0, 60.0]);
        assert_eq!(one([0.0, 0.0, 40.0, 40.0], &[(0, 0.5)])[0].place, [0.0, 0.0, 80.0, 80.0]);
    }

    #[test]
    fn a_low_score_is_nothing_and_of_equal_ones_the_first_counts() {
        assert!(one([9.0; 4], &[(3, 0.25)]).is_empty());
        assert_eq!(one([9.0; 4], &[(3, 0.5), (4, 0.5)])[0].label, "FEMALE_BREAST_EXPOSED");
    }

    #[test]
    fn numbers_that_are_no_boxes_are_refused() {
        assert!(detections(&[0.0; 21], &Image { width: 1, height: 1, pixels: vec![] }).is_err());
        assert!(detections(&[], &Image { width: 1, height: 1, pixels: vec![] }).is_err());
    }
}
