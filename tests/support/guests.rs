//! The guests that the tests call, built once by the real `aimass build`.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::{aimass, root};

/// A project's component, built on first use.
fn built(project: &Path) -> PathBuf {
    // One build at a time: they share the toolchain's target folder.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let out = aimass(&["build", "--json", project.to_str().unwrap()]);
    let built: serde_json::Value = serde_json::from_str(&out).unwrap();
    PathBuf::from(built["component"].as_str().unwrap())
}

macro_rules! guests {
    ($($name:ident = $folder:literal;)*) => {$(
        #[doc = concat!("The component of `", $folder, "`.")]
        pub fn $name() -> &'static [u8] {
            static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
            BYTES.get_or_init(|| std::fs::read(built(&root().join($folder))).unwrap())
        }
    )*};
}

guests! {
    probe = "tests/guests/probe";
    echo = "tests/guests/echo";
    text = "tests/guests/text";
    hello = "plugins/hello-http";
    counter = "plugins/counter";
    file_type = "plugins/file-type";
}
