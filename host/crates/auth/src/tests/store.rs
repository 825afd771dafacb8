//! Keys on the disk, minting, and the bound of the cache.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use aimass_core::{Code, Name};

use super::forge::{Forge, NOW, open};
use crate::auth::CACHE_BYTES;
use crate::keys::thumbprint;
use crate::{Auth, AuthConfig, Grant, Scope, Scopes};

#[test]
fn the_thumbprint_is_that_of_the_standard() {
    // RFC 8037, appendix A.3.
    assert_eq!(
        thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

#[test]
fn keys_outlive_a_restart_and_are_the_owners_alone() {
    let forge = Forge::new();
    let token = forge.mint("someone").token;
    forge.auth.rotate().unwrap();
    // What a crash between two steps leaves behind.
    fs::write(forge.dir.path().join("keys.json.tmp"), "{").unwrap();
    fs::write(forge.dir.path().join("never-used.pk8"), "x").unwrap();
    let again = open(forge.dir.path()).unwrap();
    assert_eq!(again.jwks(), forge.auth.jwks());
    assert!(again.verify_at(&token, NOW).is_ok());
    fs::remove_file(forge.dir.path().join("never-used.pk8")).unwrap();
    let files: Vec<_> = fs::read_dir(forge.dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "one private key and the state: {files:?}");
    for file in files {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
}

#[test]
fn a_new_folder_is_the_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data/keys");
    open(&dir).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn damaged_keys_are_refused_not_replaced() {
    let state = |forge: &Forge| forge.dir.path().join("keys.json");
    let private = |forge: &Forge| forge.dir.path().join(format!("{}.pk8", forge.kid));
    let damages: [(&str, &dyn Fn(&Forge)); 7] = [
        ("cut off", &|forge| {
            let text = fs::read(state(forge)).unwrap();
            fs::write(state(forge), &text[..text.len() / 2]).unwrap();
        }),
        ("a newer format", &|forge| {
            let text = fs::read_to_string(state(forge)).unwrap();
            fs::write(state(forge), text.replace("\"format\": 1", "\"format\": 2")).unwrap();
        }),
        ("another public key", &|forge| {
            let text = fs::read_to_string(state(forge)).unwrap();
            let x = forge.auth.jwks()["keys"][0]["x"].as_str().unwrap().to_owned();
            fs::write(state(forge), text.replace(&x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")).unwrap();
        }),
        ("no private key", &|forge| fs::remove_file(private(forge)).unwrap()),
        ("another private key", &|forge| {
            let other = Forge::new();
            fs::copy(private(&other), private(forge)).unwrap();
        }),
        ("a private key that is none", &|forge| fs::write(private(forge), "key").unwrap()),
        ("a private key that others may read", &|forge| {
            fs::set_permissions(private(forge), fs::Permissions::from_mode(0o644)).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let forge = Forge::new();
        damage(&forge);
        let fault = open(forge.dir.path()).err().unwrap_or_else(|| panic!("opened: {name}"));
        assert_eq!(fault.code(), Code::Integrity, "{name}");
    }
}

#[test]
fn a_grant_needs_a_subject_and_an_end() {
    let forge = Forge::new();
    let grant =
        |subject: &str, ttl| Grant { subject: subject.to_owned(), tenant: None, scopes: Scopes::default(), ttl };
    for bad in [
        grant("", Duration::from_secs(1)),
        grant("someone", Duration::ZERO),
        grant("someone", Duration::from_millis(999)),
        grant("someone", Duration::MAX),
        grant(&"s".repeat(9000), Duration::from_secs(1)),
    ] {
        assert_eq!(forge.auth.mint(bad).err().unwrap().code(), Code::InvalidRequest);
    }
    let minted = forge.auth.mint(grant("someone", Duration::from_secs(60))).unwrap();
    assert_eq!(forge.auth.verify(&minted.token).unwrap().jti, minted.jti, "by the clock of the machine");
    let config = AuthConfig { leeway: Duration::from_secs(6), ..AuthConfig::new("i", "a") };
    assert_eq!(Auth::open(forge.dir.path(), config).err().unwrap().code(), Code::InvalidRequest);
}

#[test]
fn the_cache_is_bounded() {
    let forge = Forge::new();
    for i in 0..3000 {
        let scopes = Scope::ALL.iter().copied().collect();
        let grant = Grant { subject: format!("{i:05000}"), tenant: None, scopes, ttl: Duration::from_secs(60) };
        let token = forge.auth.mint_at(grant, NOW).unwrap().token;
        assert!(forge.accepts(&token, NOW));
    }
    let (bytes, tokens) = forge.auth.cached();
    assert!(bytes <= CACHE_BYTES && tokens < 3000, "{bytes} bytes in {tokens} tokens");
    assert!(tokens > 500, "{tokens}");
}

#[test]
fn a_public_plugin_is_reached_without_a_token() {
    let forge = Forge::new();
    let name: Name = "acme".parse().unwrap();
    assert_eq!(forge.auth.public(&name).name(), &name);
}
