//! What `wit-bindgen` makes of `wit/`: the raw calls that the rest of this crate makes safe and pleasant.
//!
//! The result is checked in, as the crate `wasip2` does it: the generator is twenty crates, which every tenant's first
//! build would compile. A test notices when `wit/` changes; then, in the repository's root:
//!
//! ```sh
//! cargo install wit-bindgen-cli@0.62.0 --no-default-features --features rust
//! wit-bindgen rust wit --world model-plugin --generate-all --pub-export-macro --format \
//!     --default-bindings-module aimass_sdk::bindings --export-macro-name export_bindings \
//!     --out-dir sdk-guest/src/bindings
//! ```
//!
//! then the same for the world `event-plugin` with `aimass_sdk::event_bindings`, `export_event_bindings`, and of each
//! interface that it imports `--with wasi:nn/tensor@0.2.0-rc-2024-10-28=crate::bindings::wasi::nn::tensor`, so that both
//! share one; and the digest that the test prints goes into `WIT_SHA256`.
// Generated: its `unsafe` is the canonical ABI, its panics are on what a host cannot send.
#![allow(unsafe_code, missing_docs, unreachable_pub, clippy::panic, clippy::unwrap_used)]

#[path = "bindings/model_plugin.rs"]
mod model_plugin;

pub use model_plugin::*;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sha2::{Digest, Sha256};
    use std::path::{Path, PathBuf};

    const WIT_SHA256: &str = "c894f903b5335190e04e642e78d7456dd9abb7b034386e8b96e46c679bbe92ba";

    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, found) } else { found.push(path) }
        }
    }

    #[test]
    fn the_bindings_are_those_of_the_interfaces_as_they_stand() {
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let mut paths = Vec::new();
        files(&wit, &mut paths);
        paths.sort();
        let mut hash = Sha256::new();
        for path in paths {
            hash.update(std::fs::read(path).unwrap());
        }
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, WIT_SHA256, "wit/ has changed: make the bindings anew, as the module's documentation says");
    }
}
