//! Reads the text in images, with the three models (PP-OCRv4) of the Python package `rapidocr-onnxruntime` 1.4.4
//! (Apache-2.0): one finds lines of text, one tells whether a line stands on its head, one reads it.
//!
//! What the package does around the models happens here, by the package's own rules: an image is brought to a size
//! that the detector likes ([`page`]), its map of text becomes boxes ([`detect`], [`regions`], [`geometry`]), each box
//! is cut out of the image and straightened ([`crop`]), turned and read ([`read`]).
//!
//! ```sh
//! pip download --no-deps rapidocr-onnxruntime==1.4.4 && unzip rapidocr_onnxruntime-1.4.4-py3-none-any.whl
//! cd rapidocr_onnxruntime/models
//! aimass models push ppocr-det ch_PP-OCRv4_det_infer.onnx
//! aimass models push ppocr-cls ch_ppocr_mobile_v2.0_cls_infer.onnx
//! aimass models push ppocr-rec ch_PP-OCRv4_rec_infer.onnx
//! aimass push plugins/ocr
//! python3 tests/clients/ppocr_characters.py ch_PP-OCRv4_rec_infer.onnx > characters.txt
//! aimass plugins config ocr characters=@characters.txt
//! aimass invoke ocr image=@page.png
//! ```
//!
//! | setting | what |
//! |---|---|
//! | `characters` | the reader's characters, one a line, as its ONNX file carries them in its metadata |
//! | `detector` | the name of the first model (default `ppocr-det`): FP32 [-1,3,-1,-1] to [-1,1,-1,-1] |
//! | `classifier` | of the second (default `ppocr-cls`): FP32 [-1,3,48,192] to [-1,2] |
//! | `reader` | of the third (default `ppocr-rec`): FP32 [-1,3,48,-1] to [-1,-1,6625] |
//! | `filling` | `few` (default) or `package`: how lines are filled up for the reader |
//!
//! With `package` the text equals the package's. It then asks for a new width of the reader with nearly every page,
//! each of which the platform has to prepare; with `few` there are seven, and here and there a space differs.

mod crop;
mod detect;
mod geometry;
mod page;
mod pixels;
mod read;
mod regions;

use aimass_sdk::{ElementType, Fault, Inputs, Model, Outputs, Port, Signature, Tensor, nn, settings};

use geometry::Quad;
use page::Page;
use read::{Filling, Line, Reader};

/// Lines that the reader is less sure of are left out (the package's value).
const LEAST_SCORE: f32 = 0.5;

struct Ocr;

aimass_sdk::export_model!(Ocr);

impl Model for Ocr {
    fn signature() -> Signature {
        Signature::new("Reads the text in images, line by line from the top")
            .input_port(Port::new("image", ElementType::Bytes, [-1]).described("PNG or JPEG files, one an element"))
            .output_port(Port::new("text", ElementType::Bytes, [-1]).described("a line of text, UTF-8"))
            .output_port(Port::new("score", ElementType::Fp32, [-1]).described("how sure that is, 0 to 1"))
            .output_port(
                Port::new("corners", ElementType::Fp32, [-1, 4, 2])
                    .described("where it stands: x and y in pixels, clockwise from the corner where the text begins"),
            )
            .output_port(Port::new("image_index", ElementType::Int32, [-1]).described("in which image, from 0"))
    }

    fn infer(inputs: Inputs) -> Result<Outputs, Fault> {
        let content = inputs.get("image")?;
        let detector = model("detector", "ppocr-det")?;
        let characters = settings::require("characters")?;
        let filling = match settings::get("filling")?.as_deref() {
            None | Some("few") => Filling::Few,
            Some("package") => Filling::Package,
            Some(_) => return Err(Fault::internal("the setting `filling` is neither `few` nor `package`")),
        };
        let (classifier, reader) = (model("classifier", "ppocr-cls")?, model("reader", "ppocr-rec")?);
        let reader = Reader::new(classifier, reader, &characters, filling);

        let mut found: Vec<(i32, Quad, Line)> = vec![];
        for (index, file) in content.as_bytes()?.into_iter().enumerate() {
            let image = imaging::decode(file).map_err(|why| Fault::invalid_input(format!("image {index}: {why}")))?;
            let index = i32::try_from(index).map_err(|_| Fault::invalid_input("too many images"))?;
            let page = Page::of(image).map_err(|why| Fault::invalid_input(format!("image {index}: {why}")))?;
            let quads = detect::detect(&detector, &page.image)?;
            let (quads, cuts): (Vec<Quad>, Vec<_>) =
                quads.into_iter().filter_map(|quad| Some((quad, crop::crop(&page.image, &quad)?))).unzip();
            let lines = quads.iter().zip(reader.read(cuts)?).filter(|(_, line)| line.score >= LEAST_SCORE);
            found.extend(lines.map(|(quad, line)| (index, page.original(quad), line)));
        }

        let count = found.len() as u64;
        let scores: Vec<f32> = found.iter().map(|(_, _, line)| line.score).collect();
        let corners: Vec<f32> = found.iter().flat_map(|(_, quad, _)| quad.iter().flatten().copied()).collect();
        let indices: Vec<i32> = found.iter().map(|(index, _, _)| *index).collect();
        Ok(Outputs::new()
            .with(Tensor::from_bytes("text", [count], found.iter().map(|(_, _, line)| line.text.as_str()))?)
            .with(Tensor::from_slice("score", [count], &scores)?)
            .with(Tensor::from_slice("corners", [count, 4, 2], &corners)?)
            .with(Tensor::from_slice("image_index", [count], &indices)?))
    }
}

fn model(setting: &str, default: &str) -> Result<nn::Graph, Fault> {
    let name = settings::get(setting)?;
    Ok(nn::Graph::load_by_name(name.as_deref().unwrap_or(default))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use aimass_sdk::testing;

    /// A grey PNG of 64 by 64 pixels.
    fn page() -> Vec<u8> {
        let mut file = vec![];
        let mut encoder = png::Encoder::new(&mut file, 64, 64);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(&[200; 64 * 64]).unwrap();
        file
    }

    /// Models that find text in the upper half of the page and read `ab`, with this score.
    fn read(score: f32) -> Outputs {
        testing::settings([("characters", "a\nb")]);
        testing::model("ppocr-det", |inputs| {
            let shape = inputs[0].1.dimensions();
            assert_eq!(shape, [1, 3, 736, 736]);
            let map: Vec<f32> = (0..736 * 736)
                .map(|i| if (100..600).contains(&(i % 736)) && (100..250).contains(&(i / 736)) { 0.9 } else { 0.0 })
                .collect();
            Ok(vec![("map".into(), nn::Tensor::from_slice([1, 1, 736, 736], &map)?)])
        });
        testing::model("ppocr-cls", |inputs| {
            assert_eq!(inputs[0].1.dimensions(), [1, 3, 48, 192]);
            Ok(vec![("label".into(), nn::Tensor::from_slice([1, 2], &[0.9f32, 0.1])?)])
        });
        testing::model("ppocr-rec", move |inputs| {
            assert_eq!(inputs[0].1.dimensions(), [1, 3, 48, 320]);
            // blank, a, a, blank, b: of the classes blank, a, b, space.
            let steps = [[1.0, 0.0, 0.0, 0.0], [0.0, score, 0.0, 0.0], [0.0, score, 0.0, 0.0]];
            let more = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, score, 0.0]];
            let all: Vec<f32> = steps.iter().chain(&more).flatten().copied().collect();
            Ok(vec![("steps".into(), nn::Tensor::from_slice([1, 5, 4], &all)?)])
        });
        let image = Tensor::from_bytes("image", [1], [page()]).unwrap();
        Ocr::infer(Inputs::from(vec![image])).unwrap()
    }

    #[test]
    fn a_line_is_found_and_read() {
        let outputs = read(0.75);
        assert_eq!(outputs.get("text").unwrap().as_strs().unwrap(), ["ab"]);
        assert_eq!(*outputs.get("score").unwrap().as_slice::<f32>().unwrap(), [0.75]);
        let corners = outputs.get("corners").unwrap().as_slice::<f32>().unwrap().into_owned();
        // 500 by 150 pixels at 11.5 times the size, grown by 1.6 times area / perimeter, which is 92 pixels.
        let (left, top, right, bottom) = (corners[0], corners[1], corners[4], corners[5]);
        assert!((0.0..=1.0).contains(&left) && (0.0..=1.0).contains(&top), "{corners:?}");
        assert!((60.0..=62.0).contains(&right) && (29.0..=31.0).contains(&bottom), "{corners:?}");
    }

    #[test]
    fn what_the_reader_is_unsure_of_is_left_out() {
        assert_eq!(read(0.4).get("text").unwrap().shape(), [0]);
    }

    #[test]
    fn what_is_no_image_is_the_callers_fault() {
        read(0.9);
        let image = Tensor::from_bytes("image", [1], ["text"]).unwrap();
        assert!(matches!(Ocr::infer(Inputs::from(vec![image])), Err(Fault::InvalidInput(_))));
    }
}
