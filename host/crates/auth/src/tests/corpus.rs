//! Tokens that must be refused. All but those that say otherwise carry a signature by the node's own key, so that
//! only the flaw they are named for can refuse them.

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use serde_json::{Value, json};

use super::forge::{AUDIENCE, Forge, ISSUER, claims, encode, hmac_of};

pub(super) type Corpus = Vec<(String, String)>;

/// Row 30: the algorithm.
pub(super) fn algorithms(forge: &Forge) -> Corpus {
    let payload = claims().to_string();
    let header = |alg: &str| json!({ "typ": "JWT", "alg": alg, "kid": forge.kid }).to_string();
    let mut all = Corpus::new();
    let mut add = |name: &str, token: String| all.push((name.to_owned(), token));

    for none in ["none", "None", "NONE", "nOnE", ""] {
        add(&format!("alg {none:?}, no signature"), forge.token_by(&header(none), &payload, |_| vec![]));
        add(&format!("alg {none:?}, a good signature"), forge.token(&header(none), &payload));
    }
    // The public key in every form that a library might take for a secret.
    let x = encode(forge.public());
    let jwks = forge.auth.jwks();
    let spki = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], forge.public()].concat();
    let jwk = jwks["keys"][0].to_string();
    for (form, secret) in
        [("raw", forge.public()), ("base64url", x.as_bytes()), ("JWK", jwk.as_bytes()), ("SPKI", &spki), ("empty", b"")]
    {
        for (alg, algorithm) in [("HS256", HMAC_SHA256), ("HS384", HMAC_SHA384), ("HS512", HMAC_SHA512)] {
            let sign = |message: &str| hmac_of(algorithm, secret, message);
            add(&format!("{alg} keyed with the public key, {form}"), forge.token_by(&header(alg), &payload, sign));
        }
        let sign = |message: &str| hmac_of(HMAC_SHA256, secret, message);
        add(&format!("EdDSA that is an HMAC, {form}"), forge.token_by(&header("EdDSA"), &payload, sign));
    }
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    for (alg, padding) in
        [("RS256", &RSA_PKCS1_SHA256 as &dyn aws_lc_rs::signature::RsaEncoding), ("PS256", &RSA_PSS_SHA256)]
    {
        let sign = |message: &str| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(padding, &random, message.as_bytes(), &mut signature).unwrap();
            signature
        };
        add(&format!("{alg} by an RSA key"), forge.token_by(&header(alg), &payload, sign));
        add(&format!("EdDSA that is {alg}"), forge.token_by(&header("EdDSA"), &payload, sign));
    }
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let by_p256 = |message: &str| p256.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec();
    add("ES256 by a P-256 key", forge.token_by(&header("ES256"), &payload, by_p256));
    add("EdDSA that is ES256", forge.token_by(&header("EdDSA"), &payload, by_p256));
    let other = Ed25519KeyPair::generate().unwrap();
    let by_other = |message: &str| other.sign(message.as_bytes()).as_ref().to_vec();
    add("another Ed25519 key under our kid", forge.token_by(&header("EdDSA"), &payload, by_other));
    for alg in ["eddsa", "EDDSA", "EdDSA ", "Ed25519", "Ed448", "ES256", "RS256", "HS256", "A128KW", "EdDSA\0"] {
        add(&format!("alg {alg:?}, a good signature"), forge.token(&header(alg), &payload));
    }
    for alg in [Value::Null, json!(1), json!(["EdDSA"]), json!({ "EdDSA": null }), json!(true)] {
        add(&format!("alg {alg}"), forge.with_header(|header| header["alg"] = alg));
    }
    add("no alg", forge.with_header(|header| drop(header.as_object_mut().unwrap().remove("alg"))));
    let twice = format!(r#"{{"alg":"none","alg":"EdDSA","kid":"{}"}}"#, forge.kid);
    add("alg twice", forge.token(&twice, &payload));
    all
}

/// Row 30 as well: the signature.
pub(super) fn signatures(forge: &Forge) -> Corpus {
    let (header, payload) = (forge.header().to_string(), claims().to_string());
    let by = |change: fn(&mut Vec<u8>)| {
        forge.token_by(&header, &payload, |message| {
            let mut signature = forge.sign(message);
            change(&mut signature);
            signature
        })
    };
    let good = forge.token(&header, &payload);
    let (head, tail) = good.rsplit_once('.').unwrap();
    let mut other = claims();
    other["tenant"] = json!("victim");
    let mut all: Corpus = [
        ("empty", by(Vec::clear)),
        ("a byte short", by(|s| s.truncate(63))),
        ("a byte long", by(|s| s.push(0))),
        ("zeros", by(|s| s.fill(0))),
        ("ones", by(|s| s.fill(0xff))),
        ("a bit of R", by(|s| s[0] ^= 1)),
        ("a bit of S", by(|s| s[32] ^= 1)),
        ("the top bit of S", by(|s| s[63] ^= 0x80)),
        ("S plus the group's order", by(add_order)),
        ("doubled", by(|s| s.extend(s.clone()))),
        ("another payload", format!("{}.{}.{tail}", encode(&header), encode(other.to_string()))),
        ("a header with a space", format!("{}.{}.{tail}", encode(format!("{header} ")), encode(&payload))),
        ("of the payload alone", forge.token_by(&header, &payload, |_| forge.sign(&encode(&payload)))),
        ("of the decoded text", forge.token_by(&header, &payload, |_| forge.sign(&format!("{header}.{payload}")))),
        ("in hex", format!("{head}.{}", "ab".repeat(64))),
        ("padded", format!("{good}==")),
        ("with a newline", format!("{good}\n")),
        ("with another last letter that decodes alike", format!("{}{}", &good[..good.len() - 1], alike(&good))),
    ]
    .map(|(name, token)| (format!("signature {name}"), token))
    .into();
    let pieces = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    for (i, part) in pieces(&good).iter().enumerate() {
        let mut parts = pieces(&good);
        parts[i] = String::new();
        all.push((format!("part {i} empty"), parts.join(".")));
        parts[i] = format!(" {part}");
        all.push((format!("a space before part {i}"), parts.join(".")));
        parts[i] = format!("{part}=");
        all.push((format!("padding behind part {i}"), parts.join(".")));
        parts[i] = format!("{}+/", &part[..part.len() - 2]);
        all.push((format!("the other base64 alphabet in part {i}"), parts.join(".")));
    }
    for (name, token) in [
        ("nothing", String::new()),
        ("a dot", ".".into()),
        ("two dots", "..".into()),
        ("three dots", "...".into()),
        ("many dots", ".".repeat(8000)),
        ("a word", "token".into()),
        ("two parts", head.into()),
        ("four parts", format!("{good}.{tail}")),
        ("a dot more", format!("{good}.")),
        ("a dot before", format!(".{good}")),
        ("five parts, as in encryption", format!("{good}.a.b")),
        ("its scheme before it", format!("Bearer {good}")),
        ("a space behind it", format!("{good} ")),
        ("a NUL behind it", format!("{good}\0")),
        ("not ASCII", format!("{good}é")),
        (
            "JSON serialisation",
            json!({ "payload": encode(&payload), "protected": encode(&header), "signature": tail }).to_string(),
        ),
        ("upper case", good.to_uppercase()),
        ("a megabyte", "a".repeat(1 << 20)),
    ] {
        all.push((name.to_owned(), token));
    }
    all
}

/// Row 31: which key, and fields that point elsewhere. `url` is an address that must never be called.
pub(super) fn headers(forge: &Forge, url: &str) -> Corpus {
    let mut all = Corpus::new();
    for kid in [
        "../../../../etc/passwd".into(),
        "/dev/zero".into(),
        "keys.json".into(),
        format!("{}.pk8", forge.kid),
        format!("./{}", forge.kid),
        format!("{}\0", forge.kid),
        format!(" {}", forge.kid),
        forge.kid.to_lowercase(),
        forge.kid[1..].into(),
        String::new(),
        encode([7; 32]),
        url.into(),
        "' OR 1=1 --".into(),
        "k".repeat(4 * 1024),
        "k".repeat(10 * 1024),
    ] {
        let name = format!("kid {:.40}", kid.escape_debug());
        all.push((name, forge.with_header(|header| header["kid"] = json!(kid))));
    }
    for kid in [Value::Null, json!(0), json!([forge.kid]), json!({ "kid": forge.kid })] {
        all.push((format!("kid {kid:.40}"), forge.with_header(|header| header["kid"] = kid.clone())));
    }
    all.push(("no kid".into(), forge.with_header(|header| drop(header.as_object_mut().unwrap().remove("kid")))));

    let attacker = Ed25519KeyPair::generate().unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(attacker.public_key().as_ref()), "kid": forge.kid });
    for (field, value) in [
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("jwk", jwk),
        ("x5c", json!([encode("certificate")])),
        ("x5t", json!("abc")),
        ("x5t#S256", json!("abc")),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("cty", json!("JWT")),
        ("url", json!(url)),
        ("of-the-future", json!(1)),
        ("typ", json!("at+jwt")),
        ("typ", json!(["JWT"])),
        ("typ", Value::Null),
    ] {
        let mut header = forge.header();
        header[field] = value;
        let (header, payload) = (header.to_string(), claims().to_string());
        all.push((format!("header {field}"), forge.token(&header, &payload)));
        let by_attacker = |message: &str| attacker.sign(message.as_bytes()).as_ref().to_vec();
        all.push((format!("header {field}, by another key"), forge.token_by(&header, &payload, by_attacker)));
    }
    let nested = format!(r#"{{"alg":"EdDSA","kid":"{}","x":{}"#, forge.kid, "[".repeat(3000));
    let payload = claims().to_string();
    for (name, header) in [
        ("an array", format!("[{}]", forge.header())),
        ("a string", json!(forge.header().to_string()).to_string()),
        ("not JSON", "alg: EdDSA".into()),
        ("nested deeply", nested),
        ("two objects", format!("{}{}", forge.header(), forge.header())),
        ("null", "null".into()),
    ] {
        all.push((format!("a header that is {name}"), forge.token(&header, &payload)));
    }
    all
}

/// Row 32: the times.
pub(super) fn times(forge: &Forge) -> Corpus {
    let mut all = Corpus::new();
    for claim in ["exp", "nbf", "iat"] {
        all.push((
            format!("no {claim}"),
            forge.with_claims(|claims| drop(claims.as_object_mut().unwrap().remove(claim))),
        ));
        for value in [
            "null",
            "true",
            "\"1800000100\"",
            "[1800000100]",
            "{}",
            "-1",
            "-0.0",
            "1e300",
            "1e9",
            "1.8e9",
            "1800000100.0",
            "1800000100.5",
            "18446744073709551616",
            "1e-1",
            "NaN",
            "01",
            "0x7fffffff",
            "\"\"",
        ] {
            all.push((format!("{claim}: {value}"), forge.with_text(claim, value)));
        }
        all.push((format!("{claim} twice"), forge.with_text(claim, &format!("1800000000,\"{claim}\":1800000000"))));
    }
    all.push(("exp: 0".into(), forge.with_text("exp", "0")));
    all.push(("nbf: the end of time".into(), forge.with_text("nbf", "18446744073709551615")));
    all
}

/// Row 33: who, for whom, and the rest of the payload.
pub(super) fn parties(forge: &Forge) -> Corpus {
    let mut all = Corpus::new();
    for (claim, right) in [("aud", AUDIENCE), ("iss", ISSUER), ("sub", "someone"), ("jti", "1")] {
        all.push((
            format!("no {claim}"),
            forge.with_claims(|claims| drop(claims.as_object_mut().unwrap().remove(claim))),
        ));
        for value in [
            Value::Null,
            json!([right]),
            json!([right, "another"]),
            json!([]),
            json!({ "0": right }),
            json!(1),
            json!(true),
            json!(""),
        ] {
            all.push((format!("{claim}: {value}"), forge.with_claims(|claims| claims[claim] = value.clone())));
        }
        all.push((format!("{claim} twice"), forge.with_text(claim, &format!("\"{right}\",\"{claim}\":\"{right}\""))));
    }
    for (claim, right) in [("aud", AUDIENCE), ("iss", ISSUER)] {
        for wrong in [
            "another".to_owned(),
            right.to_uppercase(),
            format!("{right}/"),
            format!(" {right}"),
            right[1..].to_owned(),
            format!("{right}\0"),
        ] {
            all.push((format!("{claim}: {wrong:?}"), forge.with_claims(|claims| claims[claim] = json!(wrong))));
        }
    }
    all.push(("jti: long".into(), forge.with_claims(|claims| claims["jti"] = json!("j".repeat(1000)))));
    for tenant in [Value::Null, json!(1), json!(["acme"]), json!(""), json!("../x"), json!("Acme"), json!("аcme")] {
        all.push((format!("tenant: {tenant}"), forge.with_claims(|claims| claims["tenant"] = tenant.clone())));
    }
    for scope in [Value::Null, json!(["operator"]), json!(1), json!({ "operator": true })] {
        all.push((format!("scope: {scope}"), forge.with_claims(|claims| claims["scope"] = scope.clone())));
    }
    let header = forge.header().to_string();
    for (name, payload) in [
        ("empty", String::new()),
        ("null", "null".into()),
        ("an array", format!("[{}]", claims())),
        ("a string", json!(claims().to_string()).to_string()),
        ("cut off", claims().to_string()[..40].to_owned()),
        ("followed by more", format!("{} {{}}", claims())),
        ("nested deeply", "[".repeat(4000)),
    ] {
        all.push((format!("a payload that is {name}"), forge.token(&header, &payload)));
    }
    let message = format!("{}.{}", encode(&header), encode(b"{\"sub\":\"\xff\xfe\"}"));
    all.push(("a payload that is not UTF-8".into(), format!("{message}.{}", encode(forge.sign(&message)))));
    // Right in everything but its length.
    all.push((
        "longer than the limit".into(),
        forge.with_claims(|claims| claims["note"] = json!("n".repeat(crate::MAX_TOKEN))),
    ));
    all
}

/// Adds the order of Ed25519's group (RFC 8032 §5.1) to S: the same equation holds, so a checker that does not
/// compare S with the order takes a second form of the same signature.
fn add_order(signature: &mut Vec<u8>) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

/// Another last letter for the signature, with the same 64 bytes to a decoder that ignores the unused bits.
fn alike(token: &str) -> char {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = ALPHABET.iter().position(|&letter| token.ends_with(letter as char)).unwrap();
    ALPHABET[last ^ 1] as char
}
