//! What `wit-bindgen` makes of `wit/`: the raw calls that the rest of this crate makes safe and pleasant.
//!
//! The folder `wit/` stands beside this crate's, in the repository as well as where the toolchain unpacks both.
#![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)] // generated: its `unsafe` is the canonical ABI

wit_bindgen::generate!({
    path: "../wit",
    world: "aimass:plugin/model-plugin",
    generate_all,
    pub_export_macro: true,
    default_bindings_module: "aimass_sdk::bindings",
    export_macro_name: "export_bindings",
});
