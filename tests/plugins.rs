//! The example plugins on real models, beside the Python packages that the models are from.

use std::collections::BTreeMap;
use std::path::Path;

use aimass_core::Tensor;
use serde::Deserialize;
use serde_json::json;

use crate::support::{Client, Server, files, guests, python};

/// A tenant with a plugin and its models. The models' memory is large enough to keep each of them.
fn with(server: &Server, plugin: (&str, &[u8]), models: &[(&str, &Path)]) -> Client {
    let acme = server.tenant("acme");
    for (name, path) in models {
        acme.put(&format!("/api/v1/models/{name}"), &std::fs::read(path).unwrap()).expect(201);
    }
    acme.put(&format!("/api/v1/plugins/{}", plugin.0), plugin.1).expect(201);
    acme
}

fn server() -> Server {
    Server::start_with(&["--model-memory-mib", "8192"])
}

/// Calls a plugin with elements of BYTES; its outputs by name.
fn call<B: AsRef<[u8]>>(client: &Client, plugin: &str, input: &str, elements: &[B]) -> BTreeMap<String, Tensor> {
    let tensor = Tensor::from_bytes_elements(input, [elements.len() as u64], elements).unwrap();
    let (body, length) = aimass_http::oip::encode_request(&[tensor]);
    let header = aimass_http::oip::HEADER_LENGTH;
    let headers = [(header, length.as_str())];
    let answer = client.send("POST", &format!("/v2/models/{plugin}/infer"), &headers, &body).expect(200);
    let length = answer.header(header).to_owned();
    let outputs = aimass_http::oip::decode_response(answer.body.into(), Some(&length)).unwrap();
    outputs.into_iter().map(|tensor| (tensor.name().to_owned(), tensor)).collect()
}

fn strings(tensor: &Tensor) -> Vec<String> {
    tensor.bytes_elements().unwrap().into_iter().map(|b| String::from_utf8(b.to_vec()).unwrap()).collect()
}

/// Texts of many kinds, and after them every character of many scripts, forty a text.
fn texts() -> (Vec<String>, Vec<String>) {
    let whole = [
        "A man is eating food.",
        "Someone has lunch.",
        "The orbital period of Phobos is 7.65 hours.",
        "",
        "Ünïcode façade — “quotes”, naïve l'été: 東京タワー, Привет мир! ΣΊΣΥΦΟΣ",
        "a [MASK] b[SEP]c [mask] [UNK",
        "zero\u{200b}width no\u{a0}break\twide\u{3000}space \u{1f642} C++ #tag @at $5.00",
        "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    ];
    let mut whole: Vec<String> = whole.iter().map(|&text| text.to_owned()).collect();
    whole.push("word ".repeat(400));
    whole.push("x".repeat(101));
    let scripts = [
        0x01..0x530,
        0x591..0x5c8,
        0x620..0x6ff,
        0x905..0x97f,
        0xe01..0xe3b,
        0x1e00..0x1fff,
        0x2000..0x2190,
        0x3000..0x3100,
        0x4e00..0x4e30,
        0xac00..0xac30,
        0xfb00..0xfb07,
        0xff01..0xffbf,
    ];
    let characters: Vec<char> = scripts.into_iter().flatten().filter_map(char::from_u32).collect();
    let sweep = characters.chunks(40).map(|chunk| chunk.iter().map(|c| format!("a{c}b ")).collect()).collect();
    (whole, sweep)
}

#[derive(Deserialize)]
struct Embedding {
    ids: Vec<i64>,
    vector: Option<Vec<f64>>,
}

#[test]
fn text_embeddings_equal_those_of_the_weights_in_numpy_and_ids_those_of_tokenizers() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, sweep) = texts();
    let wanted: BTreeMap<&str, bool> =
        whole.iter().map(|t| (t.as_str(), true)).chain(sweep.iter().map(|t| (t.as_str(), false))).collect();
    let (asked, ids_onnx) = (folder.path().join("texts.json"), folder.path().join("ids.onnx"));
    std::fs::write(&asked, serde_json::to_vec(&wanted).unwrap()).unwrap();
    let arguments = [files::minilm(), &asked, &ids_onnx].map(|path| path.to_str().unwrap());
    let theirs = python::reference("minilm_reference.py", &arguments);
    let theirs: BTreeMap<String, Embedding> = serde_json::from_str(&theirs).unwrap();

    let server = server();
    let onnx = files::minilm_onnx();
    let plugin = ("text-embedding", guests::text_embedding());
    let acme = with(&server, plugin, &[("minilm", &onnx), ("ids", &ids_onnx)]);

    let outputs = call(&acme, "text-embedding", "text", &whole);
    assert_eq!(outputs["embedding"].shape(), [whole.len() as u64, 384]);
    let vectors = outputs["embedding"].elements::<f32>().unwrap();
    for (text, ours) in whole.iter().zip(vectors.chunks(384)) {
        let theirs = theirs[text].vector.as_ref().unwrap();
        let cosine: f64 = ours.iter().zip(theirs).map(|(&a, b)| f64::from(a) * b).sum();
        assert!(cosine >= 0.9999 && cosine < 1.0001, "{text:?}: {cosine}");
    }

    // A model that answers with the ids it was asked about.
    acme.put_json("/api/v1/plugins/text-embedding/config", &json!({ "model": "ids" })).expect(200);
    let all: Vec<&String> = whole.iter().chain(&sweep).collect();
    let outputs = call(&acme, "text-embedding", "text", &all.iter().map(|t| t.as_bytes()).collect::<Vec<_>>());
    let rows = outputs["embedding"].elements::<f32>().unwrap();
    let mut differ = vec![];
    for (text, ours) in all.iter().zip(rows.chunks(384)) {
        let theirs = &theirs[*text].ids;
        let ours: Vec<i64> = ours.iter().map(|&id| id as i64).collect();
        if ours[..theirs.len()] != theirs[..] || ours[theirs.len()..].iter().any(|&id| id != 0) {
            differ.push(*text);
        }
    }
    assert!(differ.is_empty(), "the ids differ from those of tokenizers: {differ:?}");
}

#[derive(Deserialize)]
struct Detection {
    class: String,
    score: f32,
    #[serde(rename = "box")]
    place: [i32; 4],
}

#[test]
fn detections_equal_nudenets() {
    let folder = tempfile::tempdir().unwrap();
    let beside = folder.path().join("beside.png");
    let (skimage, matplotlib) = (files::skimage(), files::matplotlib());
    let images = [
        skimage.join("astronaut.png"),
        matplotlib.join("grace_hopper.jpg"),
        skimage.join("chelsea.png"),
        skimage.join("coffee.png"),
        skimage.join("rocket.jpg"),
    ];
    let arguments: Vec<&str> = [&beside].into_iter().chain(&images).map(|path| path.to_str().unwrap()).collect();
    let theirs = python::reference("nudenet_boxes.py", &arguments);
    let theirs: BTreeMap<String, Vec<Detection>> = serde_json::from_str(&theirs).unwrap();
    assert!(theirs.values().map(Vec::len).sum::<usize>() >= 3, "too little to compare");

    let server = server();
    let onnx = files::nudenet().join("320n.onnx");
    let acme = with(&server, ("image-detect", guests::image_detect()), &[("nudenet", &onnx)]);
    let paths: Vec<_> = images.iter().chain([&beside]).collect();
    let contents: Vec<_> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let outputs = call(&acme, "image-detect", "image", &contents);
    let labels = strings(&outputs["label"]);
    let scores = outputs["score"].elements::<f32>().unwrap();
    let boxes = outputs["box"].elements::<i32>().unwrap();
    let indices = outputs["image_index"].elements::<i32>().unwrap();
    for (index, path) in paths.iter().enumerate() {
        let theirs = &theirs[path.to_str().unwrap()];
        let ours: Vec<usize> = (0..labels.len()).filter(|&i| indices[i] == index as i32).collect();
        assert_eq!(ours.len(), theirs.len(), "{}", path.display());
        // Two JPEG decoders differ in a few values, so the scores do a little.
        let (pixels, by) = if path.extension().is_some_and(|e| e == "jpg") { (4, 0.05) } else { (1, 0.002) };
        for (&i, theirs) in ours.iter().zip(theirs) {
            assert_eq!(labels[i], theirs.class, "{}", path.display());
            assert!((scores[i] - theirs.score).abs() <= by, "{}: {} {}", path.display(), scores[i], theirs.score);
            let place = &boxes[i * 4..][..4];
            let near = place.iter().zip(theirs.place).all(|(a, b)| a.abs_diff(b) <= pixels);
            assert!(near, "{}: {place:?} {:?}", path.display(), theirs.place);
        }
    }
}

type Line = ([[f32; 2]; 4], String, f32);

#[test]
fn lines_of_text_equal_rapidocrs() {
    let folder = tempfile::tempdir().unwrap();
    let matplotlib = files::matplotlib();
    let (font, photo) = (matplotlib.join("DejaVuSans.ttf"), matplotlib.join("grace_hopper.jpg"));
    let arguments = [&font, &photo, folder.path()].map(|path: &Path| path.to_str().unwrap().to_owned());
    python::reference("ocr_pages.py", &arguments.each_ref().map(String::as_str));
    let pages = ["letter.png", "slanted.png", "turned.png", "banner.png", "photo.png"].map(|p| folder.path().join(p));
    let arguments = pages.each_ref().map(|path| path.to_str().unwrap());
    let theirs: BTreeMap<String, Vec<Line>> =
        serde_json::from_str(&python::reference("rapidocr_lines.py", &arguments)).unwrap();
    assert!(theirs.values().all(|lines| lines.len() > 1), "too little to compare");

    let server = server();
    let models = files::ppocr();
    let reader = models.join("ch_PP-OCRv4_rec_infer.onnx");
    let detector = models.join("ch_PP-OCRv4_det_infer.onnx");
    let classifier = models.join("ch_ppocr_mobile_v2.0_cls_infer.onnx");
    let models: [(&str, &Path); 3] = [("ppocr-det", &detector), ("ppocr-cls", &classifier), ("ppocr-rec", &reader)];
    let acme = with(&server, ("ocr", guests::ocr()), &models);
    let characters = python::reference("ppocr_characters.py", &[reader.to_str().unwrap()]);

    for (filling, pages) in [("package", &pages[..]), ("few", &pages[..1])] {
        let settings = json!({ "characters": characters, "filling": filling });
        acme.put_json("/api/v1/plugins/ocr/config", &settings).expect(200);
        let contents: Vec<_> = pages.iter().map(|path| std::fs::read(path).unwrap()).collect();
        let outputs = call(&acme, "ocr", "image", &contents);
        let texts = strings(&outputs["text"]);
        let scores = outputs["score"].elements::<f32>().unwrap();
        let corners = outputs["corners"].elements::<f32>().unwrap();
        let indices = outputs["image_index"].elements::<i32>().unwrap();
        for (index, page) in pages.iter().enumerate() {
            let theirs = &theirs[page.to_str().unwrap()];
            let ours: Vec<usize> = (0..texts.len()).filter(|&i| indices[i] == index as i32).collect();
            assert_eq!(ours.len(), theirs.len(), "{}", page.display());
            for (&i, (their_corners, text, score)) in ours.iter().zip(theirs) {
                if filling == "package" {
                    assert_eq!(texts[i], *text, "{}", page.display());
                    assert!((scores[i] - score).abs() < 0.005, "{text}: {} {score}", scores[i]);
                } else {
                    // Filled up to other widths, the reader sees a space more or less.
                    assert_eq!(texts[i].replace(' ', ""), text.replace(' ', ""));
                }
                let ours = &corners[i * 8..][..8];
                let apart = ours.iter().zip(their_corners.iter().flatten()).map(|(a, b)| (a - b).abs());
                assert!(apart.fold(0.0, f32::max) <= 1.0, "{text}: {ours:?} {their_corners:?}");
            }
        }
    }
}
