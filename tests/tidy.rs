//! What must never be: the walls between the crates, kept by reading the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::root;

/// Which of our crates a crate may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("store", &["core"]),
    ("auth", &["core"]),
    ("toolchain", &["core"]),
    ("sandbox", &["core"]),
    ("inference", &["core"]),
    ("egress", &["core"]),
    ("data", &["core"]),
    ("platform", &["core", "store", "auth", "toolchain", "sandbox", "inference", "egress", "data"]),
    ("http", &["core", "auth", "platform"]),
];

/// Which crates alone may name a library.
const OWNED: &[(&str, &[&str])] = &[
    ("sled", &["store"]),
    ("object_store", &["store"]),
    ("wasmtime", &["sandbox"]),
    ("wasmtime-wasi", &["sandbox"]),
    ("wasmtime-wasi-http", &["sandbox"]),
    ("wonnx", &["inference"]),
    ("tract-onnx", &["inference"]),
    ("ort", &["inference"]),
    ("parquet", &["data"]),
    ("arrow-array", &["data"]),
    ("axum", &["http"]),
    ("tonic", &["http"]),
    ("jsonwebtoken", &["auth"]),
];

fn crates() -> PathBuf {
    root().join("host/crates")
}

fn manifest(folder: &Path) -> toml::Table {
    fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap()
}

/// Every Rust source below a folder, but what was built.
pub fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.extend((!path.ends_with("target")).then_some(path));
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources below {}", folder.display());
    found
}

/// The lines of a source that are part of the product: before its tests, without comments.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(i, line)| (i + 1, line))
}

fn all_product_sources() -> Vec<(PathBuf, String)> {
    let mut all = sources(&root().join("host/src"));
    for (name, _) in ALLOWED {
        all.extend(sources(&crates().join(name).join("src")));
    }
    // Modules that are tests altogether.
    all.retain(|(path, _)| {
        !path.file_stem().is_some_and(|s| s == "tests") && !path.components().any(|c| c.as_os_str() == "tests")
    });
    all
}

#[test]
fn crates_depend_one_way() {
    for (name, allowed) in ALLOWED {
        let manifest = manifest(&crates().join(name));
        let used: BTreeSet<_> = manifest["dependencies"]
            .as_table()
            .unwrap()
            .keys()
            .filter_map(|dependency| dependency.strip_prefix("aimass-"))
            .collect();
        let forbidden: Vec<_> = used.iter().filter(|used| !allowed.contains(used)).collect();
        assert!(forbidden.is_empty(), "{name} must not use {forbidden:?}");
    }
    let known: BTreeSet<_> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let there: BTreeSet<_> =
        fs::read_dir(crates()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, known, "a new crate needs a row in ALLOWED");
}

#[test]
fn a_library_is_named_by_its_owner_alone() {
    for (library, owners) in OWNED {
        for (name, _) in ALLOWED.iter().filter(|(name, _)| !owners.contains(name)) {
            let manifest = manifest(&crates().join(name));
            let used = manifest["dependencies"].as_table().unwrap().contains_key(*library);
            assert!(!used, "{name} must not name {library}");
        }
        let host = manifest(&root().join("host"));
        assert!(!host["dependencies"].as_table().unwrap().contains_key(*library), "host must not name {library}");
    }
    for (path, text) in all_product_sources() {
        if !path.starts_with(crates().join("http")) {
            assert!(!text.contains("hyper::server") && !text.contains("hyper_util::server"), "{}", path.display());
        }
    }
}

#[test]
fn only_auth_makes_a_tenant() {
    for (path, text) in all_product_sources() {
        if path.starts_with(crates().join("auth")) || path.ends_with("core/src/tenant.rs") {
            continue;
        }
        for (line, code) in product_lines(&text) {
            assert!(!code.contains("vouched_for"), "{}:{line} makes a Tenant", path.display());
        }
    }
}

#[test]
fn only_http_turns_a_fault_into_a_status() {
    for (path, text) in all_product_sources() {
        let inside = path.strip_prefix(root()).unwrap();
        // The command line is a client: it reads statuses.
        if inside.starts_with("host/crates/http")
            || inside.starts_with("host/src/cli")
            || inside.starts_with("host/crates/sandbox")
        {
            continue;
        }
        assert!(!text.contains("StatusCode"), "{} names a status", inside.display());
    }
}

#[test]
fn unsafe_stands_where_it_may_and_is_proven() {
    for (path, text) in all_product_sources() {
        let lines: Vec<_> = text.lines().collect();
        for (line, code) in product_lines(&text) {
            if !code.contains("unsafe ") && !code.contains("allow(unsafe_code)") {
                continue;
            }
            let allowed = ["host/crates/sandbox/src", "host/crates/inference/src", "host/crates/store/src/mapped.rs"];
            assert!(
                allowed.iter().any(|a| path.starts_with(root().join(a))),
                "{}:{line} is unsafe where nothing may be",
                path.display()
            );
            if code.contains("unsafe {") {
                let before = &lines[line.saturating_sub(20)..line];
                assert!(before.iter().any(|l| l.contains("SAFETY")), "{}:{line} has no proof", path.display());
            }
        }
    }
}

#[test]
fn input_cannot_reach_a_panic() {
    for (path, text) in all_product_sources() {
        for (line, code) in product_lines(&text) {
            for word in [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("] {
                assert!(!code.contains(word), "{}:{line} has {word}", path.display());
            }
        }
    }
}

#[test]
fn rooms_are_small() {
    for (path, text) in all_product_sources() {
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines: look for the second thing it does", path.display());
    }
}

#[test]
fn every_crate_keeps_the_lints() {
    for (name, _) in ALLOWED {
        let manifest = manifest(&crates().join(name));
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{name}");
    }
}

#[test]
fn nothing_makes_rustup_fetch_a_toolchain() {
    for file in ["rust-toolchain", "rust-toolchain.toml"] {
        assert!(!root().join(file).exists(), "{file} would make rustup fetch a toolchain");
    }
}
