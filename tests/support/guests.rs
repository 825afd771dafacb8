//! The guests that the tests call, built once by the real `aimass build`.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::{aimass_with, files, root};

/// A project's component, built on first use.
fn built(project: &Path, variables: &[(&str, &Path)]) -> PathBuf {
    // One build at a time: they share the toolchain's target folder.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let out = aimass_with(&["build", "--json", project.to_str().unwrap()], variables);
    let built: serde_json::Value = serde_json::from_str(&out).unwrap();
    PathBuf::from(built["component"].as_str().unwrap())
}

macro_rules! guests {
    ($($name:ident = $folder:literal;)*) => {$(
        #[doc = concat!("The component of `", $folder, "`.")]
        pub fn $name() -> &'static [u8] {
            static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
            BYTES.get_or_init(|| std::fs::read(built(&root().join($folder), &[])).unwrap())
        }
    )*};
}

guests! {
    probe = "tests/guests/probe";
    caller = "tests/guests/caller";
    echo = "tests/guests/echo";
    keeper = "tests/guests/keeper";
    once = "tests/guests/once";
    text = "tests/guests/text";
    inbox = "tests/guests/inbox";
    broken = "tests/guests/broken";
    tensors = "tests/guests/tensors";
    hello = "plugins/hello-http";
    counter = "plugins/counter";
    changes = "plugins/changes";
    file_type = "plugins/file-type";
    file_type_python = "plugins/file-type-python";
    file_type_javascript = "plugins/file-type-javascript";
    image_detect = "plugins/image-detect";
    ocr = "plugins/ocr";
}

/// The component of `plugins/text-embedding`, with its vocabulary built in.
pub fn text_embedding() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let vocabulary = files::minilm().join("vocab.txt");
        let component = built(&root().join("plugins/text-embedding"), &[("MINILM_VOCABULARY", &vocabulary)]);
        std::fs::read(component).unwrap()
    })
}
