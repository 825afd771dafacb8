//! What the example plugins on images share: PNG and JPEG files as pixels, and resizing as OpenCV does it, to the bit,
//! since the models were trained on, and are compared with, what that makes.
//!
//! A library, not a plugin: it runs in `image-detect` and `ocr`.

mod decode;
mod resize;

pub use decode::decode;
pub use resize::resize;

/// Pixels: three bytes each, red, green, blue, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height * 3` bytes.
    pub pixels: Vec<u8>,
}

/// Bytes of a pixel.
pub const CHANNELS: usize = 3;

impl Image {
    /// A black image.
    ///
    /// ```
    /// let image = imaging::Image::black(2, 1);
    /// assert_eq!(image.pixels, [0; 6]);
    /// ```
    pub fn black(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![0; width * height * CHANNELS] }
    }

    /// The bytes of a row.
    ///
    /// ```
    /// let image = imaging::Image { width: 1, height: 2, pixels: vec![1, 2, 3, 4, 5, 6] };
    /// assert_eq!(image.row(1), [4, 5, 6]);
    /// ```
    pub fn row(&self, y: usize) -> &[u8] {
        &self.pixels[y * self.width * CHANNELS..][..self.width * CHANNELS]
    }
}
