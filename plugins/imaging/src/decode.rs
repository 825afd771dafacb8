//! PNG and JPEG files.

use std::io::Cursor;

use png::{ColorType, Transformations};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::{CHANNELS, Image};

/// The most pixels of an image: they and the decoder's own buffers must fit into the memory of a call, and a file of a
/// few bytes can claim any size.
const MOST_PIXELS: usize = 24_000_000;

/// The pixels of a PNG or JPEG file. Grey becomes colour, 16 bits become 8, transparency is dropped, and the
/// orientation that a camera noted is not applied: all as OpenCV's `imdecode` has it.
///
/// # Errors
/// In words for the caller: it is neither, it is damaged, it has more than 24 million pixels.
///
/// ```
/// assert_eq!(imaging::decode(b"GIF89a").unwrap_err(), "neither a PNG nor a JPEG file");
/// ```
pub fn decode(file: &[u8]) -> Result<Image, String> {
    if file.starts_with(b"\x89PNG\r\n\x1a\n") {
        png(file)
    } else if file.starts_with(b"\xff\xd8\xff") {
        jpeg(file)
    } else {
        Err("neither a PNG nor a JPEG file".into())
    }
}

fn check(width: usize, height: usize) -> Result<(), String> {
    match width.checked_mul(height) {
        Some(0) => Err("an image without pixels".into()),
        Some(count) if count <= MOST_PIXELS => Ok(()),
        _ => Err(format!("an image of {width} x {height} pixels; {MOST_PIXELS} are taken")),
    }
}

fn jpeg(file: &[u8]) -> Result<Image, String> {
    let wrong = |e: zune_jpeg::errors::DecodeErrors| format!("a damaged JPEG file: {e}");
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(wrong)?;
    let info = decoder.info().ok_or("a JPEG file without a header")?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    check(width, height)?;
    let pixels = decoder.decode().map_err(wrong)?;
    if pixels.len() != width * height * CHANNELS {
        return Err("a JPEG file of unknown colours".into());
    }
    Ok(Image { width, height, pixels })
}

fn png(file: &[u8]) -> Result<Image, String> {
    let wrong = |e: png::DecodingError| format!("a damaged PNG file: {e}");
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.ignore_checksums(false);
    let info = decoder.read_header_info().map_err(wrong)?;
    let (width, height) = (info.width as usize, info.height as usize);
    check(width, height)?;
    let mut reader = decoder.read_info().map_err(wrong)?;
    let size = reader.output_buffer_size().ok_or("a PNG file that is too large")?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(wrong)?;
    buffer.truncate(frame.buffer_size());
    let pixels = match frame.color_type {
        ColorType::Rgb => buffer,
        ColorType::Rgba => buffer.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        ColorType::Grayscale => buffer.iter().flat_map(|&v| [v; CHANNELS]).collect(),
        ColorType::GrayscaleAlpha => buffer.chunks_exact(2).flat_map(|p| [p[0]; CHANNELS]).collect(),
        ColorType::Indexed => return Err("a PNG file without its palette".into()),
    };
    Ok(Image { width, height, pixels })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn encode(width: u32, height: u32, color: ColorType, data: &[u8]) -> Vec<u8> {
        let mut file = vec![];
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(color);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        file
    }

    #[test]
    fn every_kind_of_png_becomes_three_channels() {
        let pixels = |color, data: &[u8]| decode(&encode(2, 1, color, data)).unwrap().pixels;
        assert_eq!(pixels(ColorType::Rgb, &[1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(pixels(ColorType::Rgba, &[1, 2, 3, 0, 4, 5, 6, 255]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(pixels(ColorType::Grayscale, &[7, 8]), [7, 7, 7, 8, 8, 8]);
        assert_eq!(pixels(ColorType::GrayscaleAlpha, &[7, 0, 8, 9]), [7, 7, 7, 8, 8, 8]);
    }

    #[test]
    fn what_is_cut_off_damaged_or_claims_too_much_is_refused() {
        let file = encode(20, 20, ColorType::Rgb, &[9; 1200]);
        for end in 0..file.len() - 12 {
            assert!(decode(&file[..end]).is_err(), "{end}");
        }
        let mut huge = encode(1, 1, ColorType::Grayscale, &[0]);
        huge[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        assert!(decode(&huge).is_err());
        assert!(check(65_536, 65_536).unwrap_err().contains("65536 x 65536"));
        assert!(decode(b"\xff\xd8\xff\xe0").is_err());
    }
}
