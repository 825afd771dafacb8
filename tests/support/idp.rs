//! An identity provider of this machine: it signs tokens, and tells its keys to whoever asks.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

/// What it answers to whoever asks for its keys.
#[derive(Clone)]
enum Mood {
    Answers(String),
    Fails,
    Silent,
}

pub struct Idp {
    pub address: String,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
}

/// A key of a provider's.
pub struct Key {
    pub kid: String,
    pair: KeyPair,
}

impl Key {
    pub fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: KeyPair::generate_for(&PKCS_ED25519).unwrap() }
    }

    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.der_bytes());
        json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid, "x": x })
    }

    /// A token of `https://id.example` for `audience`, with these roles.
    pub fn sign(&self, audience: &str, subject: &str, roles: &[&str]) -> String {
        self.sign_as(&self.kid, audience, subject, roles)
    }

    /// The same under another key's id.
    pub fn sign_as(&self, kid: &str, audience: &str, subject: &str, roles: &[&str]) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "iss": "https://id.example", "aud": audience, "sub": subject, "iat": now, "exp": now + 600, "roles": roles,
        });
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.pair.sign(message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A document of keys.
pub fn jwks(keys: &[&Key]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}

impl Idp {
    pub fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mood = Arc::new(Mutex::new(Mood::Answers(jwks(keys).to_string())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (moods, count) = (mood.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let mood = moods.lock().unwrap().clone();
                std::thread::spawn(move || {
                    let _ = stream.read(&mut [0; 4096]);
                    let (status, body) = match mood {
                        Mood::Answers(body) => ("200 OK", body),
                        Mood::Fails => ("503 Service Unavailable", String::new()),
                        Mood::Silent => return std::thread::sleep(Duration::from_secs(60)),
                    };
                    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close", body.len());
                    let _ = write!(stream, "{head}\r\ncache-control: max-age=600\r\n\r\n{body}");
                });
            }
        });
        Self { address, mood, asked }
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub fn answer(&self, keys: &[&Key]) {
        *self.mood.lock().unwrap() = Mood::Answers(jwks(keys).to_string());
    }

    pub fn fail(&self) {
        *self.mood.lock().unwrap() = Mood::Fails;
    }

    pub fn be_silent(&self) {
        *self.mood.lock().unwrap() = Mood::Silent;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
