//! Makes the component's memory small: one page (64 KiB) instead of the seventeen that Rust's default stack asks for.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // What an instance touched is wiped after every call, so a small memory is a fast one.
    if std::env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("wasm") {
        println!("cargo::rustc-link-arg=-zstack-size=32768");
    }
}
