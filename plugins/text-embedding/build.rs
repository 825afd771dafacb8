//! Builds the vocabulary in: its text, and an index over it, so that no call has to make one.
//!
//! Settings hold up to 56 KiB, and a vocabulary is four times that. It is a package's file and no part of this
//! repository: `MINILM_VOCABULARY` says where it is. Without it the plugin compiles, and says at the first call what
//! it lacks.

use std::path::Path;

#[path = "src/index.rs"]
mod index;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-env-changed=MINILM_VOCABULARY");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/index.rs");
    let out = std::env::var("OUT_DIR")?;
    let text = match std::env::var("MINILM_VOCABULARY") {
        Ok(path) => {
            println!("cargo::rerun-if-changed={path}");
            std::fs::read_to_string(&path).map_err(|e| format!("MINILM_VOCABULARY={path}: {e}"))?
        }
        Err(_) => String::new(),
    };
    let index = index::Index::of(&text)?;
    let source = format!(
        "pub(crate) static VOCABULARY: Vocabulary<'static> = Vocabulary {{\n    text: {text:?}.as_bytes(),\n    \
         starts: &{:?},\n    slots: &{:?},\n    longest: {},\n}};\n",
        index.starts, index.slots, index.longest
    );
    std::fs::write(Path::new(&out).join("built_in.rs"), source)?;
    Ok(())
}
