//! Models and files that the tests work on, from the package registry's cache.

use std::path::PathBuf;
use std::sync::OnceLock;

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
