//! Rows 30 to 34 of the list of faults.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use aimass_core::Code;
use serde_json::json;

use super::corpus::{self, Corpus};
use super::forge::{Forge, LEEWAY, NOW, claims, open};
use crate::{Scope, Scopes};

fn all_are_refused(forge: &Forge, corpus: &Corpus, at_least: usize) {
    let different: HashSet<_> = corpus.iter().map(|(_, token)| token).collect();
    assert!(different.len() >= at_least, "{}", different.len());
    let control = forge.token(&forge.header().to_string(), &claims().to_string());
    assert!(forge.accepts(&control, NOW), "what the corpus is made from is good");
    for (name, token) in corpus {
        assert!(!forge.accepts(token, NOW), "accepted: {name}");
        assert!(!forge.accepts(token, NOW), "accepted the second time: {name}");
    }
    assert!(forge.accepts(&control, NOW));
}

#[test]
fn a_good_token_is_read_right() {
    let forge = Forge::new();
    let caller = forge.auth.verify_at(&forge.token(&forge.header().to_string(), &claims().to_string()), NOW).unwrap();
    assert_eq!((caller.subject.as_str(), caller.expires), ("someone", NOW + 600));
    assert_eq!(caller.tenant().unwrap().name().as_str(), "acme");
    assert_eq!(caller.scopes, Scopes::from_iter([Scope::PluginsInvoke]), "a scope of the future is left out");
    assert_eq!(caller.require(Scope::Operator).unwrap_err().code(), Code::InsufficientScope);
    let actor = caller.actor("r1");
    assert_eq!((actor.token.as_deref(), actor.request.as_deref()), (Some(caller.jti.as_str()), Some("r1")));

    let without_typ = forge.with_header(|header| drop(header.as_object_mut().unwrap().remove("typ")));
    assert!(forge.accepts(&without_typ, NOW));
    let operator = forge.with_claims(|claims| {
        claims.as_object_mut().unwrap().remove("tenant");
        claims["scope"] = json!("operator");
        claims["a-claim-of-the-future"] = json!({ "x": [1] });
    });
    let operator = forge.auth.verify_at(&operator, NOW).unwrap();
    assert!(operator.require(Scope::Operator).is_ok());
    assert_eq!(operator.tenant().unwrap_err().code(), Code::InsufficientScope);
}

#[test]
fn f30_the_algorithm_is_the_keys_and_the_signature_must_hold() {
    let forge = Forge::new();
    all_are_refused(&forge, &corpus::algorithms(&forge), 45);
    all_are_refused(&forge, &corpus::signatures(&forge), 45);
}

#[test]
fn f31_a_header_reaches_no_file_and_no_network() {
    let forge = Forge::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let corpus = corpus::headers(&forge, &url);
    // Without its folder, whatever would open a file fails or answers differently.
    std::fs::remove_dir_all(forge.dir.path()).unwrap();
    all_are_refused(&forge, &corpus, 55);
    let called = listener.accept().expect_err("somebody called the address in the header");
    assert_eq!(called.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn f32_times_are_integers_and_hold_to_the_second() {
    let forge = Forge::new();
    all_are_refused(&forge, &corpus::times(&forge), 55);

    let token = forge.with_claims(|claims| {
        claims["nbf"] = json!(NOW);
        claims["exp"] = json!(NOW + 100);
    });
    let first = NOW - LEEWAY;
    // Refused *on* `exp` (RFC 7519 §4.1.4).
    let last = NOW + 100 + LEEWAY - 1;
    assert!(!forge.accepts(&token, 0));
    assert!(!forge.accepts(&token, first - 1));
    assert!(!forge.accepts(&token, last + 1), "not yet cached");
    assert!(forge.accepts(&token, first));
    assert!(forge.accepts(&token, last), "cached");
    assert!(!forge.accepts(&token, last + 1), "cached, and over");
    assert!(!forge.accepts(&token, u64::MAX));
    assert!(forge.accepts(&token, last));
    let endless = forge.with_text("exp", "18446744073709551615");
    assert!(forge.accepts(&endless, NOW));
}

#[test]
fn f33_issuer_audience_and_subject_are_single_and_right() {
    let forge = Forge::new();
    all_are_refused(&forge, &corpus::parties(&forge), 60);
}

#[test]
fn f34_a_rotated_key_has_grace_and_a_revoked_one_has_none() {
    let forge = Forge::new();
    let (old, unseen) = (forge.mint("old").token, forge.mint("unseen").token);
    assert!(forge.accepts(&old, NOW));

    let kid = forge.auth.rotate().unwrap();
    assert_ne!(kid, forge.kid);
    let new = forge.mint("new").token;
    assert!(forge.accepts(&old, NOW) && forge.accepts(&new, NOW), "the old key is in grace");
    let published = |auth: &crate::Auth| {
        let keys = auth.jwks()["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(published(&forge.auth), [kid.clone(), forge.kid.clone()]);

    forge.auth.revoke_key(&forge.kid).unwrap();
    assert!(!forge.accepts(&old, NOW), "cached");
    assert!(!forge.accepts(&unseen, NOW), "not cached");
    assert!(forge.accepts(&new, NOW));
    assert_eq!(published(&forge.auth), [kid.clone()]);
    forge.auth.revoke_key(&forge.kid).expect("twice is once");
    assert_eq!(forge.auth.revoke_key("no-such-key").unwrap_err().code(), Code::NotFound);

    let again = open(forge.dir.path()).unwrap();
    assert!(again.verify_at(&old, NOW).is_err(), "after a restart");
    assert!(again.verify_at(&new, NOW).is_ok());
    assert_eq!(published(&again), [kid]);
}

#[test]
fn f34_the_active_key_is_replaced_when_it_is_revoked() {
    let forge = Forge::new();
    let stolen = forge.mint("stolen").token;
    forge.auth.rotate().unwrap();
    let active = forge.mint("active").token;
    assert!(forge.accepts(&active, NOW));
    let kid = forge.auth.jwks()["keys"][0]["kid"].as_str().unwrap().to_owned();
    forge.auth.revoke_key(&kid).unwrap();
    assert!(!forge.accepts(&active, NOW));
    assert!(forge.accepts(&forge.mint("newest").token, NOW));
    assert!(forge.accepts(&stolen, NOW), "the key in grace was not the one");
    // A key that went through a rotation while a token of it was cached is still the same key.
    forge.auth.revoke_key(&forge.kid).unwrap();
    assert!(!forge.accepts(&stolen, NOW));
}

#[test]
fn f34_a_revoked_token_is_refused_at_once() {
    let forge = Forge::new();
    let [cached, uncached, other] = ["cached", "uncached", "other"].map(|subject| forge.mint(subject));
    assert!(forge.accepts(&cached.token, NOW) && forge.accepts(&other.token, NOW));
    forge.auth.revoke(&cached.jti, cached.expires);
    forge.auth.load_revoked([(uncached.jti.clone(), uncached.expires)].into_iter());
    for _ in 0..2 {
        assert!(!forge.accepts(&cached.token, NOW) && !forge.accepts(&uncached.token, NOW));
        assert!(forge.accepts(&other.token, NOW));
    }
}

#[test]
fn f34_revocation_holds_against_callers_that_never_pause() {
    let forge = Forge::new();
    let minted: Vec<_> = (0..50).map(|i| forge.mint(&format!("s{i}"))).collect();
    let revoked: Vec<_> = minted.iter().map(|_| AtomicBool::new(false)).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    for (minted, revoked) in minted.iter().zip(&revoked) {
                        let before = revoked.load(Ordering::Acquire);
                        let accepted = forge.accepts(&minted.token, NOW);
                        assert!(!(before && accepted), "accepted after its revocation returned");
                    }
                }
            });
        }
        for (minted, revoked) in minted.iter().zip(&revoked) {
            assert!(forge.accepts(&minted.token, NOW));
            forge.auth.revoke(&minted.jti, minted.expires);
            revoked.store(true, Ordering::Release);
        }
        done.store(true, Ordering::Release);
    });
}
