//! Finds faces, feet and bare skin in images, as a filter of what people upload needs it, with the detector (YOLOv8n)
//! of the Python package `nudenet` 3.4.2 (MIT).
//!
//! Everything around the model happens here, as the package does it: the file is decoded, laid into the corner of a
//! black square and resized; the model's 2,100 candidates become boxes ([`boxes`]), of which those that overlap a
//! better one go ([`suppress`]).
//!
//! ```sh
//! pip download --no-deps nudenet==3.4.2 && unzip nudenet-3.4.2-py3-none-any.whl
//! aimass models push nudenet nudenet/320n.onnx
//! aimass push plugins/image-detect
//! aimass invoke image-detect image=@photo.jpg
//! ```
//!
//! The setting `model` names the model (default `nudenet`): `images` FP32 [-1,3,320,320] to `output0` FP32
//! [-1,22,2100].

mod boxes;
mod suppress;

use aimass_sdk::{ElementType, Fault, Inputs, Model, Outputs, Port, Signature, Tensor, nn, settings};
use imaging::{CHANNELS, Image};

use boxes::{Detection, detections};
use suppress::suppress;

/// The side of the square that the model looks at.
const SIDE: usize = 320;

struct ImageDetect;

aimass_sdk::export_model!(ImageDetect);

impl Model for ImageDetect {
    fn signature() -> Signature {
        Signature::new("Finds faces, feet and bare skin in images")
            .input_port(Port::new("image", ElementType::Bytes, [-1]).described("PNG or JPEG files, one an element"))
            .output_port(
                Port::new("box", ElementType::Int32, [-1, 4])
                    .described("left, top, width, height in pixels, best first"),
            )
            .output_port(Port::new("score", ElementType::Fp32, [-1]).described("how sure that is, 0 to 1"))
            .output_port(Port::new("label", ElementType::Bytes, [-1]).described("what is there, such as `FACE_MALE`"))
            .output_port(Port::new("image_index", ElementType::Int32, [-1]).described("in which image, from 0"))
    }

    fn infer(inputs: Inputs) -> Result<Outputs, Fault> {
        let content = inputs.get("image")?;
        let name = settings::get("model")?;
        let graph = nn::Graph::load_by_name(name.as_deref().unwrap_or("nudenet"))?;
        let mut found: Vec<(i32, Detection)> = vec![];
        for (index, file) in content.as_bytes()?.into_iter().enumerate() {
            let image = imaging::decode(file).map_err(|why| Fault::invalid_input(format!("image {index}: {why}")))?;
            let index = i32::try_from(index).map_err(|_| Fault::invalid_input("too many images"))?;
            found.extend(detect(&graph, &image)?.into_iter().map(|detection| (index, detection)));
        }
        let count = found.len() as u64;
        let boxes: Vec<i32> = found.iter().flat_map(|(_, d)| d.place.map(|value| value as i32)).collect();
        let scores: Vec<f32> = found.iter().map(|(_, d)| d.score).collect();
        let indices: Vec<i32> = found.iter().map(|(index, _)| *index).collect();
        Ok(Outputs::new()
            .with(Tensor::from_slice("box", [count, 4], &boxes)?)
            .with(Tensor::from_slice("score", [count], &scores)?)
            .with(Tensor::from_bytes("label", [count], found.iter().map(|(_, d)| d.label))?)
            .with(Tensor::from_slice("image_index", [count], &indices)?))
    }
}

fn detect(graph: &nn::Graph, image: &Image) -> Result<Vec<Detection>, Fault> {
    let input = nn::Tensor::from_slice([1, CHANNELS as u32, SIDE as u32, SIDE as u32], &planes(image))?;
    let output = graph.compute([("images", input)])?;
    let output = output.get("output0")?.to_vec::<f32>()?;
    Ok(suppress(detections(&output, image)?))
}

/// The model's input: the image in the upper left corner of a black square, resized, as planes of blue, green, red.
///
/// (The package means to give red first. It swaps the two twice, so blue is first, and the scores that it was tuned by
/// are of that.)
fn planes(image: &Image) -> Vec<f32> {
    let square = image.width.max(image.height);
    let small = imaging::resize(image, (square, square), (SIDE, SIDE));
    let mut planes = vec![0f32; CHANNELS * SIDE * SIDE];
    for (plane, channel) in planes.chunks_exact_mut(SIDE * SIDE).zip([2, 1, 0]) {
        for (value, pixel) in plane.iter_mut().zip(small.pixels.chunks_exact(CHANNELS)) {
            *value = f32::from(pixel[channel]) * (1.0 / 255.0);
        }
    }
    planes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use aimass_sdk::testing;

    /// A white PNG of 2 by 1 pixels.
    const PNG: [u8; 68] = [
        137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 2, 0, 0, 0, 1, 8, 0, 0, 0, 0, 209, 73,
        32, 86, 0, 0, 0, 11, 73, 68, 65, 84, 120, 156, 99, 252, 207, 0, 0, 2, 4, 1, 1, 199, 60, 215, 21, 0, 0, 0, 0,
        73, 69, 78, 68, 174, 66, 96, 130,
    ];

    #[test]
    fn the_image_lies_in_the_corner_of_a_black_square() {
        let planes = planes(&Image { width: 2, height: 1, pixels: vec![255, 0, 0, 255, 0, 0] });
        let at = |plane: usize, x: usize, y: usize| planes[plane * SIDE * SIDE + y * SIDE + x];
        assert_eq!((at(2, 0, 0), at(2, 319, 79)), (1.0, 1.0));
        assert_eq!((at(0, 0, 0), at(1, 0, 0), at(2, 0, 319)), (0.0, 0.0, 0.0));
    }

    #[test]
    fn each_detection_says_which_image_it_is_of() {
        testing::model("nudenet", |inputs| {
            assert_eq!(inputs[0].1.dimensions(), [1, 3, 320, 320]);
            let mut output = vec![0f32; 22 * 2100];
            for (row, value) in [160.0, 80.0, 320.0, 160.0].into_iter().enumerate() {
                output[row * 2100 + 7] = value;
            }
            output[(4 + 12) * 2100 + 7] = 0.5; // FACE_MALE
            Ok(vec![("output0".into(), nn::Tensor::from_slice([1, 22, 2100], &output)?)])
        });
        let content = Tensor::from_bytes("image", [2], [PNG; 2]).unwrap();
        let outputs = ImageDetect::infer(Inputs::from(vec![content])).unwrap();
        assert_eq!(*outputs.get("box").unwrap().as_slice::<i32>().unwrap(), [0, 0, 2, 1, 0, 0, 2, 1]);
        assert_eq!(outputs.get("label").unwrap().as_strs().unwrap(), ["FACE_MALE"; 2]);
        assert_eq!(*outputs.get("image_index").unwrap().as_slice::<i32>().unwrap(), [0, 1]);
        assert_eq!(*outputs.get("score").unwrap().as_slice::<f32>().unwrap(), [0.5; 2]);
    }

    #[test]
    fn what_is_no_image_is_the_callers_fault_and_is_numbered() {
        testing::model("nudenet", |_| panic!("it was asked about no image"));
        let content = Tensor::from_bytes("image", [1], ["text"]).unwrap();
        let fault = ImageDetect::infer(Inputs::from(vec![content])).unwrap_err();
        assert_eq!(fault.to_string(), "invalid input: image 0: neither a PNG nor a JPEG file");
    }
}
