//! The image as the detector takes it, and the way back to the caller's pixels: the package's `RapidOCR.preprocess`,
//! `maybe_add_letterbox` and `_get_origin_points`.

use imaging::{CHANNELS, Image};

use crate::geometry::Quad;

const MOST_SIDE: usize = 2000;
const LEAST_SIDE: usize = 30;
/// An image that is wider than so many times its height gets black above and below.
const MOST_RATIO: usize = 8;
/// The models' sides are multiples of this.
pub(crate) const STEP: usize = 32;

pub(crate) struct Page {
    pub(crate) image: Image,
    /// The caller's width and height.
    raw: (usize, usize),
    /// The caller's pixels in one of the image's, across and down.
    ratio: (f32, f32),
    /// Black rows above.
    above: usize,
}

impl Page {
    /// # Errors
    /// The image is so narrow that nothing would be left of it.
    pub(crate) fn of(image: Image) -> Result<Self, String> {
        let raw = (image.width, image.height);
        let mut page = Self { image, raw, ratio: (1.0, 1.0), above: 0 };
        let longest = page.image.width.max(page.image.height);
        if longest > MOST_SIDE {
            page.scale(MOST_SIDE as f64 / longest as f64)?;
        }
        let shortest = page.image.width.min(page.image.height);
        if shortest < LEAST_SIDE {
            page.scale(LEAST_SIDE as f64 / shortest as f64)?;
        }
        let (width, height) = (page.image.width, page.image.height);
        if height <= LEAST_SIDE || width > MOST_RATIO * height {
            let wanted = (width / MOST_RATIO).max(LEAST_SIDE) * 2;
            page.above = wanted.abs_diff(height) / 2;
            let mut boxed = Image::black(width, height + 2 * page.above);
            boxed.pixels[page.above * width * CHANNELS..][..page.image.pixels.len()]
                .copy_from_slice(&page.image.pixels);
            page.image = boxed;
        }
        Ok(page)
    }

    fn scale(&mut self, by: f64) -> Result<(), String> {
        let (width, height) = (self.image.width, self.image.height);
        let to = stepped(width, height, by);
        // What a scaled image would need is bounded as what a decoded one may have.
        if to.0 == 0 || to.1 == 0 || to.0.max(to.1) > 10 * MOST_SIDE {
            return Err(format!("an image of {width} x {height} pixels is too narrow to be read"));
        }
        self.image = imaging::resize(&self.image, (width, height), to);
        self.ratio = (width as f32 / to.0 as f32, height as f32 / to.1 as f32);
        Ok(())
    }

    /// Corners in the caller's pixels.
    pub(crate) fn original(&self, quad: &Quad) -> Quad {
        quad.map(|[x, y]| {
            let (x, y) = (x * self.ratio.0, (y - self.above as f32) * self.ratio.1);
            [x.clamp(0.0, self.raw.0 as f32), y.clamp(0.0, self.raw.1 as f32)]
        })
    }
}

/// A scaled size, each side brought to a multiple of [`STEP`]; halves go to the even one, as in Python.
pub(crate) fn stepped(width: usize, height: usize, by: f64) -> (usize, usize) {
    let side = |side: usize| ((side as f64 * by).floor() / STEP as f64).round_ties_even() as usize * STEP;
    (side(width), side(height))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_image_stays_as_it_is() {
        let page = Page::of(Image::black(640, 480)).unwrap();
        assert_eq!((page.image.width, page.image.height, page.above, page.ratio), (640, 480, 0, (1.0, 1.0)));
        assert_eq!(page.original(&[[-1.0, 2.0]; 4])[0], [0.0, 2.0]);
    }

    #[test]
    fn a_large_image_shrinks_and_a_line_gets_room() {
        let page = Page::of(Image::black(4000, 3000)).unwrap();
        assert_eq!((page.image.width, page.image.height), (1984, 1504));
        let page = Page::of(Image::black(600, 40)).unwrap();
        assert_eq!((page.image.height, page.above), (150, 55));
        assert_eq!(page.original(&[[10.0, 60.0]; 4])[0], [10.0, 5.0]);
    }

    #[test]
    fn an_image_of_one_row_is_refused() {
        assert!(Page::of(Image::black(2000, 1)).is_err());
    }

    #[test]
    fn sides_go_to_the_next_multiple() {
        assert_eq!(stepped(48, 80, 1.0), (64, 64)); // 1.5 and 2.5 both go to 2
        assert_eq!(stepped(100, 20, 1.0), (96, 32));
    }
}
