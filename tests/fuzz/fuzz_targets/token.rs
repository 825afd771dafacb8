//! Tokens: as they come, and as header and claims that are signed with nothing.
#![no_main]

use std::sync::LazyLock;

use aimass_auth::{Auth, AuthConfig};
use libfuzzer_sys::fuzz_target;

static AUTH: LazyLock<(tempfile::TempDir, Auth)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let auth = Auth::open(folder.path(), AuthConfig::new("https://node.example", "aimass")).expect("keys");
    (folder, auth)
});

fuzz_target!(|input: &[u8]| {
    let token = String::from_utf8_lossy(input);
    let refused = AUTH.1.verify(&token).expect_err("nobody signed this");
    assert_eq!(refused.detail(), AUTH.1.verify("").expect_err("no token").detail(), "one answer for all");
});
