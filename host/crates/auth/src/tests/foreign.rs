//! Tokens of tenants' own identity providers: rows 30 to 34 once more, where only the inside can see them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use aimass_core::identity::{Issuer, KeySource, Revocation};
use aimass_core::{Fault, Name};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::forge::{Forge, LEEWAY, NOW, encode};
use crate::auth::CACHE_BYTES;
use crate::{Auth, Identity, Jwks, Provider, Scope, Scopes};

const ID: &str = "https://id.example";

/// An identity provider with two keys.
struct Idp {
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
}

impl Idp {
    fn new() -> Self {
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { ed: Ed25519KeyPair::generate().unwrap(), ec }
    }

    fn jwks(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": encode(self.ed.public_key()) },
            { "kty": "EC", "crv": "P-256", "kid": "ec", "x": encode(&point[1..33]), "y": encode(&point[33..]) },
        ] })
    }

    fn ed(&self, claims: &Value) -> String {
        let message = format!("{}.{}", encode(r#"{"alg":"EdDSA","kid":"ed"}"#), encode(claims.to_string()));
        format!("{message}.{}", encode(self.ed.sign(message.as_bytes())))
    }

    fn ec(&self, claims: &Value) -> String {
        let message = format!("{}.{}", encode(r#"{"alg":"ES256","kid":"ec"}"#), encode(claims.to_string()));
        let signature = self.ec.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", encode(signature))
    }
}

fn claims(audience: &str) -> Value {
    json!({ "iss": ID, "aud": audience, "sub": "alice", "exp": NOW + 600, "iat": NOW, "roles": ["viewer"] })
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn provider(audience: &str, keys: KeySource) -> Provider {
    let (issuer, audience) = (ID.to_owned(), audience.to_owned());
    let issuer = Issuer { issuer, audience, keys, roles_claim: "roles".to_owned() };
    Provider { name: name("idp"), issuer, revoked: vec![] }
}

/// Registers what the tenant has from now on.
fn register(auth: &Auth, tenant: &str, providers: Vec<Provider>, roles: HashMap<String, Scopes>) {
    auth.set_identity(&name(tenant), || Ok(Identity { providers, roles })).unwrap();
}

fn document(idp: &Idp, audience: &str) -> Vec<Provider> {
    vec![provider(audience, KeySource::Jwks(idp.jwks()))]
}

#[test]
fn a_providers_token_acts_for_its_tenant_with_its_roles() {
    let (forge, idp) = (Forge::new(), Idp::new());
    register(&forge.auth, "acme", document(&idp, "a"), HashMap::new());
    let mut claims = claims("a");
    // What only the node may say counts for nothing.
    claims["tenant"] = json!("victim");
    claims["scope"] = json!("operator tokens:write");
    for token in [idp.ed(&claims), idp.ec(&claims)] {
        let caller = forge.auth.verify_at(&token, NOW).unwrap();
        assert_eq!(caller.tenant().unwrap().name().as_str(), "acme");
        let viewer = [Scope::PluginsRead, Scope::ModelsRead, Scope::TriggersRead, Scope::JobsRead];
        assert_eq!(caller.scopes, viewer.into_iter().collect());
        assert_eq!((caller.subject.as_str(), caller.kid.as_deref()), ("idp:alice", None));
        assert!(caller.jti.starts_with("idp:") && caller.jti.len() > 20, "{}", caller.jti);
    }
    claims["jti"] = json!("7");
    assert_eq!(forge.auth.verify_at(&idp.ed(&claims), NOW).unwrap().jti, "idp:7");
    assert!(!forge.accepts(&idp.ed(&claims), NOW + 600 + LEEWAY), "cached, and over");
}

#[test]
fn roles_are_found_where_the_tenant_says() {
    let (forge, idp) = (Forge::new(), Idp::new());
    let scopes_of = |claim: &str, claims: Value| {
        let mut providers = document(&idp, "a");
        providers[0].issuer.roles_claim = claim.to_owned();
        let own = HashMap::from([
            ("on-duty".to_owned(), [Scope::AuditRead].into_iter().collect()),
            // A built-in name means what it means for everybody.
            ("viewer".to_owned(), [Scope::TokensWrite].into_iter().collect()),
        ]);
        register(&forge.auth, "acme", providers, own);
        forge.auth.verify_at(&idp.ed(&claims), NOW).unwrap().scopes.to_string()
    };
    let with = |field: &str, value: Value| {
        let mut claims = claims("a");
        claims.as_object_mut().unwrap().remove("roles");
        claims[field] = value;
        claims
    };
    assert_eq!(scopes_of("roles", with("roles", json!(["on-duty"]))), "audit:read");
    assert_eq!(
        scopes_of("roles", with("roles", json!("on-duty viewer"))),
        "plugins:read models:read audit:read triggers:read jobs:read"
    );
    let keycloak = with("realm_access", json!({ "roles": ["on-duty", "uma"] }));
    assert_eq!(scopes_of("realm_access.roles", keycloak.clone()), "audit:read");
    assert_eq!(scopes_of("realm_access", keycloak), "", "an object names none");
    let auth0 = with("https://example.com/roles", json!(["on-duty"]));
    assert_eq!(scopes_of("https://example.com/roles", auth0), "audit:read");
    assert_eq!(scopes_of("roles", with("roles", json!([1, null, ["on-duty"], "operator", "Viewer"]))), "");
    assert_eq!(scopes_of("roles", with("groups", json!(["on-duty"]))), "", "a token without roles may do nothing");
    assert_eq!(scopes_of("a.b.c", with("a", json!({ "b": "on-duty" }))), "");
}

#[test]
fn f33_a_provider_leads_to_one_tenant_or_to_none() {
    let (forge, idp, other) = (Forge::new(), Idp::new(), Idp::new());
    register(&forge.auth, "acme", document(&idp, "a"), HashMap::new());
    // Two tenants of one provider, each with an audience of its own; and one whose keys are others.
    register(&forge.auth, "globex", document(&idp, "b"), HashMap::new());
    register(&forge.auth, "umbrella", document(&other, "c"), HashMap::new());
    let tenant_of =
        |token: &str| forge.auth.verify_at(token, NOW).ok().map(|caller| caller.tenant().unwrap().name().to_string());
    assert_eq!(tenant_of(&idp.ed(&claims("a"))).as_deref(), Some("acme"));
    assert_eq!(tenant_of(&idp.ed(&claims("b"))).as_deref(), Some("globex"));
    assert_eq!(tenant_of(&other.ed(&claims("c"))).as_deref(), Some("umbrella"));
    assert_eq!(tenant_of(&idp.ed(&claims("c"))), None, "somebody else's key");
    assert_eq!(tenant_of(&other.ed(&claims("a"))), None, "somebody else's key");
    let several = |audiences: Value| {
        let mut claims = claims("");
        claims["aud"] = audiences;
        tenant_of(&idp.ed(&claims))
    };
    assert_eq!(several(json!(["account", "a"])).as_deref(), Some("acme"));
    assert_eq!(several(json!(["a", "b"])), None, "which of the two tenants?");
    assert_eq!(several(json!(["account"])), None);
    assert_eq!(several(json!([])), None);
    // A provider that lends itself the node's own key id, and one that calls itself the node.
    let mut jwks = other.jwks();
    jwks["keys"][0]["kid"] = json!(forge.kid);
    register(&forge.auth, "umbrella", vec![provider("c", KeySource::Jwks(jwks))], HashMap::new());
    let token = other.ed(&claims("c")).replacen(
        &encode(r#"{"alg":"EdDSA","kid":"ed"}"#),
        &encode(format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, forge.kid)),
        1,
    );
    assert!(!forge.accepts(&token, NOW));
    assert!(forge.accepts(&forge.mint("someone").token, NOW), "the node's own are its own");
}

#[test]
fn f34_what_is_revoked_of_a_provider_is_refused_at_once() {
    let (forge, idp) = (Forge::new(), Idp::new());
    let set = |revoked: Vec<Revocation>| {
        let mut providers = document(&idp, "a");
        providers[0].revoked = revoked;
        register(&forge.auth, "acme", providers, HashMap::new());
    };
    set(vec![]);
    let (ed, ec) = (idp.ed(&claims("a")), idp.ec(&claims("a")));
    let mut bob = claims("a");
    bob["sub"] = json!("bob");
    let bob = idp.ec(&bob);
    let accepted = || [&ed, &ec, &bob].map(|token| forge.accepts(token, NOW));
    assert_eq!(accepted(), [true, true, true]);
    set(vec![Revocation::Kid("ed".to_owned())]);
    assert_eq!(accepted(), [false, true, true]);
    set(vec![Revocation::Kid("ed".to_owned()), Revocation::Subject("alice".to_owned())]);
    assert_eq!(accepted(), [false, false, true]);
    set(vec![]);
    assert_eq!(accepted(), [true, true, true]);
    // Roles change for tokens that are cached.
    let duty = |scope: Scope| HashMap::from([("on-duty".to_owned(), [scope].into_iter().collect())]);
    let mut claims = claims("a");
    claims["roles"] = json!(["on-duty"]);
    let token = idp.ed(&claims);
    for scope in [Scope::AuditRead, Scope::ModelsRead] {
        register(&forge.auth, "acme", document(&idp, "a"), duty(scope));
        assert_eq!(forge.auth.verify_at(&token, NOW).unwrap().scopes, [scope].into_iter().collect());
    }
    register(&forge.auth, "acme", vec![], HashMap::new());
    assert_eq!(accepted(), [false, false, false]);
    let failed = forge.auth.set_identity(&name("acme"), || Err(Fault::not_found()));
    assert!(failed.is_err());
}

#[test]
fn f34_fetched_keys_come_and_go() {
    let (forge, idp) = (Forge::new(), Idp::new());
    let url = "https://id.example/keys";
    let by_url = || vec![provider("a", KeySource::JwksUrl(url.to_owned()))];
    register(&forge.auth, "acme", by_url(), HashMap::new());
    let token = idp.ed(&claims("a"));
    assert!(!forge.accepts(&token, NOW));
    let asked = |token: &str| forge.auth.verify_or_ask_at(token, NOW).err().and_then(|refused| refused.ask);
    let wanted = asked(&token).unwrap();
    assert_eq!(wanted, (name("acme"), name("idp")));
    let all = Jwks::parse(idp.jwks().to_string().as_bytes()).unwrap();
    forge.auth.set_provider_keys(&wanted.0, &wanted.1, "https://elsewhere.example/keys", all.clone());
    assert!(!forge.accepts(&token, NOW), "of an address that is no longer its own");
    forge.auth.set_provider_keys(&wanted.0, &wanted.1, url, all);
    assert!(forge.accepts(&token, NOW));
    assert_eq!(asked(&token), None, "it is known");
    // Another change of the tenant's keeps what was fetched.
    register(&forge.auth, "acme", by_url(), HashMap::new());
    assert!(forge.accepts(&token, NOW));
    let mut fewer = idp.jwks();
    fewer["keys"].as_array_mut().unwrap().remove(0);
    forge.auth.set_provider_keys(&wanted.0, &wanted.1, url, Jwks::parse(fewer.to_string().as_bytes()).unwrap());
    assert!(!forge.accepts(&token, NOW), "cached, and its key is withdrawn");
    assert!(forge.accepts(&idp.ec(&claims("a")), NOW));
    let mut revoked = by_url();
    revoked[0].revoked = vec![Revocation::Kid("ed".to_owned())];
    register(&forge.auth, "acme", revoked, HashMap::new());
    assert_eq!(asked(&token), None, "nobody is asked for a revoked key");
    for garbage in ["", "a.b.c", "..", &"a".repeat(1 << 20)] {
        assert_eq!(asked(garbage), None);
    }
}

#[test]
fn f34_a_providers_end_holds_against_callers_that_never_pause() {
    let (forge, idp) = (Forge::new(), Idp::new());
    let token = idp.ed(&claims("a"));
    for _ in 0..20 {
        register(&forge.auth, "acme", document(&idp, "a"), HashMap::new());
        let (gone, done) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        let before = gone.load(Ordering::Acquire);
                        assert!(!(before && forge.accepts(&token, NOW)), "accepted after its end");
                    }
                });
            }
            assert!(forge.accepts(&token, NOW));
            register(&forge.auth, "acme", vec![], HashMap::new());
            gone.store(true, Ordering::Release);
            std::thread::yield_now();
            done.store(true, Ordering::Release);
        });
        assert!(!forge.accepts(&token, NOW));
    }
}

#[test]
fn the_cache_is_bounded_for_providers_tokens_too() {
    let (forge, idp) = (Forge::new(), Idp::new());
    register(&forge.auth, "acme", document(&idp, "a"), HashMap::new());
    for i in 0..3000 {
        let mut claims = claims("a");
        claims["note"] = json!(format!("{i:05000}"));
        assert!(forge.accepts(&idp.ed(&claims), NOW));
    }
    let (bytes, tokens) = forge.auth.cached();
    assert!(bytes <= CACHE_BYTES && (500..3000).contains(&tokens), "{bytes} bytes in {tokens} tokens");
}

#[test]
fn f30_keys_that_prove_nothing_are_refused() {
    let idp = Idp::new();
    let good = idp.jwks()["keys"].clone();
    let parse = |keys: Value| Jwks::parse(json!({ "keys": keys }).to_string().as_bytes());
    assert_eq!(parse(good.clone()).unwrap().keys().len(), 2);
    let with = |at: usize, field: &str, value: Value| {
        let mut key = good[at].clone();
        key[field] = value;
        json!([key])
    };
    let rsa = |bits: usize, e: &str| {
        let mut n = vec![0xff; bits / 8];
        n[0] |= 0x80;
        json!([{ "kty": "RSA", "kid": "r", "n": encode(n), "e": e }])
    };
    assert_eq!(parse(rsa(2048, "AQAB")).unwrap().keys()[0].algorithm, "RS256");
    let small_order = |hex: &str| with(0, "x", json!(encode(hex_bytes(hex))));
    for (what, keys) in [
        ("none", json!([])),
        ("a secret", json!([{ "kty": "oct", "kid": "1", "k": "c2VjcmV0" }])),
        ("a private half", with(0, "d", json!("AAAA"))),
        ("no id", with(0, "kid", Value::Null)),
        ("an empty id", with(0, "kid", json!(""))),
        ("a long id", with(0, "kid", json!("k".repeat(129)))),
        ("for encryption", with(0, "use", json!("enc"))),
        ("for signing alone", with(0, "key_ops", json!(["sign"]))),
        ("another algorithm", with(1, "alg", json!("ES384"))),
        ("the other kind's algorithm", with(1, "alg", json!("EdDSA"))),
        ("an HMAC", with(0, "alg", json!("HS256"))),
        ("another curve", with(1, "crv", json!("secp256k1"))),
        ("a point off the curve", with(1, "x", good[1]["y"].clone())),
        ("a short coordinate", with(1, "x", json!("AAAA"))),
        ("a short key", with(0, "x", json!("AAAA"))),
        ("not base64url", with(0, "x", json!("+/+/"))),
        ("RSA of 1024 bits", rsa(1024, "AQAB")),
        ("RSA of 16384 bits", rsa(16384, "AQAB")),
        ("RSA with exponent 1", rsa(2048, "AQ")),
        ("RSA with exponent 3", rsa(2048, "Aw")),
        ("small order: the neutral element", small_order(&format!("01{}", "00".repeat(31)))),
        ("small order: the same with a sign", small_order(&format!("01{}80", "00".repeat(30)))),
        ("small order: zero", small_order(&"00".repeat(32))),
        ("small order: −1", small_order(&format!("ec{}7f", "ff".repeat(30)))),
        ("small order: not reduced", small_order(&format!("ee{}7f", "ff".repeat(30)))),
        ("small order: 8", small_order("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")),
        ("the same id twice", json!([good[0], good[0]])),
        ("too many", Value::Array(vec![good[0].clone(); 33])),
        ("not keys", json!([1, "key"])),
    ] {
        assert!(parse(keys).is_err(), "accepted: {what}");
    }
    for (what, text) in [
        ("too long", format!(r#"{{"keys":{good},"x":"{}"}}"#, "x".repeat(crate::MAX_JWKS))),
        ("a bare key", good[0].to_string()),
        ("nothing", String::new()),
        ("a page", "<html>".to_owned()),
        ("nested", format!(r#"{{"keys":{}"#, "[".repeat(10_000))),
    ] {
        assert!(Jwks::parse(text.as_bytes()).is_err(), "accepted: {what}");
    }
    // What is of no use is left out beside what is.
    let mixed = json!([good[0], { "kty": "RSA", "use": "enc", "kid": "e" }, { "kty": "AKP", "kid": "pq" }]);
    assert_eq!(parse(mixed).unwrap().keys().len(), 1);
}

fn hex_bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}
