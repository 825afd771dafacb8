//! The keys that sign tokens: one active, older ones in grace until they are revoked, revoked ones.
//!
//! On the disk: `keys.json` says which is which and holds the public halves; `<kid>.pk8` (PKCS#8) is the private
//! half of the active one alone, since a key in grace only checks. Each change is one atomic write of `keys.json`: a
//! private half is written before it and removed after it, so a crash in between leaves an unused file at most. It is
//! sealed ([`crate::sealed`]), there and in memory, and open only while something is signed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aimass_core::{Code, Fault, Result};
use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{AuthConfig, SealingKey, files, sealed};

const STATE: &str = "keys.json";

/// The layout of `keys.json`.
const FORMAT: u32 = 1;

/// What a signing key of the node's is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It signs new tokens.
    Active,
    /// Its tokens are still accepted; it signs no more.
    Grace,
    /// Its tokens are refused.
    Revoked,
}

/// A signing key of the node's, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeKey {
    /// Its id.
    pub kid: String,
    /// When it was made, seconds since the epoch.
    pub created: u64,
    /// What it is used for.
    pub state: KeyState,
}

/// A key that checks tokens.
pub(crate) struct Key {
    pub(crate) kid: Box<str>,
    public: String,
    /// The one algorithm of this key: a token's header has no say in it.
    algorithm: Algorithm,
    /// That algorithm as a header names it.
    pub(crate) algorithm_name: &'static str,
    pub(crate) decoding: DecodingKey,
    pub(crate) validation: Validation,
    revoked: AtomicBool,
}

impl Key {
    /// Whether it was revoked since the token at hand was checked with it.
    pub(crate) fn revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }
}

/// The keys as they stand between two changes.
pub(crate) struct KeySet {
    /// The active key's private half, sealed if there is something to seal it with.
    private: Arc<Vec<u8>>,
    sealing: Option<SealingKey>,
    active: Arc<Key>,
    /// Active and in grace.
    known: HashMap<Box<str>, Arc<Key>>,
    rows: Vec<Row>,
}

impl KeySet {
    /// The active key's id.
    pub(crate) fn kid(&self) -> &str {
        &self.active.kid
    }

    /// The active key's private half, for as long as something is signed.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub(crate) fn signing(&self) -> Result<EncodingKey> {
        let opened = open(self.sealing.as_ref(), self.kid(), &self.private)?;
        Ok(EncodingKey::from_ed_der(&opened.ok_or_else(|| Fault::internal("the signing key does not open"))?))
    }

    /// The active key's public half, base64url.
    pub(crate) fn public(&self) -> &str {
        &self.active.public
    }

    /// The active key's algorithm.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.active.algorithm
    }

    /// The key of that id, unless it is revoked. A look-up in memory: an id is no path and no address.
    pub(crate) fn find(&self, kid: &str) -> Option<&Arc<Key>> {
        self.known.get(kid)
    }
}

/// The public half of a key, as `keys.json` holds it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kid: String,
    /// The public key, base64url (RFC 8037's `x`).
    x: String,
    /// When it was made, seconds since the epoch.
    created: u64,
    revoked: bool,
}

#[derive(Serialize, Deserialize)]
struct State {
    format: u32,
    active: String,
    keys: Vec<Row>,
}

/// All keys of this node, and their folder.
pub(crate) struct Keys {
    dir: PathBuf,
    issuer: String,
    audience: String,
    sealing: Option<SealingKey>,
    set: ArcSwap<KeySet>,
    /// One change at a time; readers do not take it.
    change: Mutex<()>,
}

impl Keys {
    /// Opens the folder; at the first start makes a key.
    pub(crate) fn open(dir: &Path, config: &AuthConfig, now: u64) -> Result<Self> {
        files::create_folder(dir)?;
        let AuthConfig { issuer, audience, sealing, .. } = config;
        let sealing = sealing.as_ref();
        let make = |rows, signing| assemble(rows, signing, issuer, audience, sealing);
        let set = match files::read(dir, STATE)? {
            Some(state) => {
                let state: State = serde_json::from_slice(&state).map_err(|error| broken(STATE).caused_by(error))?;
                if state.format != FORMAT {
                    return Err(Fault::new(Code::Integrity, format!("`{STATE}` was written by a newer release")));
                }
                let file = match state.keys.iter().find(|row| row.kid == state.active && !row.revoked) {
                    Some(active) => files::read(dir, &private_file(&active.kid))?.ok_or_else(|| broken("key file"))?,
                    None => return Err(broken(STATE)),
                };
                let pkcs8 = open(sealing, &state.active, &file)?.ok_or_else(|| {
                    let detail = "the signing key was sealed with another key file: name that one, or remove the folder \
                                  of signing keys, and every token has to be made anew";
                    Fault::new(Code::Integrity, detail)
                })?;
                let pair = Pair::read(&pkcs8).filter(|pair| pair.kid == state.active);
                let pair = pair.ok_or_else(|| broken("key file"))?;
                if sealing.is_some() && !sealed::is_sealed(&file) {
                    write_private(dir, &pair, sealing)?;
                }
                make(state.keys, pair)?
            }
            None => {
                let pair = Pair::generate()?;
                let rows = vec![pair.row(now)];
                write(dir, &pair, &rows, sealing)?;
                tracing::info!(kid = %pair.kid, "made a signing key");
                make(rows, pair)?
            }
        };
        let (issuer, audience, sealing) = (issuer.clone(), audience.clone(), sealing.cloned());
        Ok(Self {
            dir: dir.to_owned(),
            issuer,
            audience,
            sealing,
            set: ArcSwap::from_pointee(set),
            change: Mutex::new(()),
        })
    }

    /// The keys of now.
    pub(crate) fn current(&self) -> arc_swap::Guard<Arc<KeySet>> {
        self.set.load()
    }

    /// Makes a new active key; the old one checks on until it is revoked.
    pub(crate) fn rotate(&self, now: u64) -> Result<String> {
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace_active(now, |_| ())
    }

    /// Refuses every token of a key, from now on. If it is the active one, a new one takes its place first.
    pub(crate) fn revoke(&self, kid: &str, now: u64) -> Result<()> {
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.set.load_full();
        if !old.rows.iter().any(|row| row.kid == kid) {
            return Err(Fault::new(Code::NotFound, "there is no such key"));
        }
        let Some(key) = old.find(kid) else { return Ok(()) };
        let mark =
            |rows: &mut Vec<Row>| rows.iter_mut().filter(|row| row.kid == kid).for_each(|row| row.revoked = true);
        if old.kid() == kid {
            self.replace_active(now, mark)?;
        } else {
            let mut rows = old.rows.clone();
            mark(&mut rows);
            write_state(&self.dir, old.kid(), &rows)?;
            let mut known = old.known.clone();
            known.remove(kid);
            let (private, sealing, active) = (old.private.clone(), old.sealing.clone(), old.active.clone());
            self.set.store(Arc::new(KeySet { private, sealing, active, known, rows }));
        }
        // Behind the change of the set: a token that is being checked meanwhile is refused by one or the other.
        key.revoked.store(true, Ordering::Release);
        tracing::warn!(kid, "revoked a signing key");
        Ok(())
    }

    /// The public halves (RFC 7517) of the active key and of those in grace, newest first.
    pub(crate) fn jwks(&self) -> Value {
        let set = self.set.load();
        let keys: Vec<_> = set
            .rows
            .iter()
            .rev()
            .filter_map(|row| set.find(&row.kid))
            .map(|key| {
                json!({
                    "kty": "OKP", "crv": "Ed25519", "x": key.public, "kid": key.kid,
                    "use": "sig", "alg": key.algorithm_name,
                })
            })
            .collect();
        json!({ "keys": keys })
    }

    /// All keys that were ever made, newest first.
    pub(crate) fn list(&self) -> Vec<NodeKey> {
        let set = self.set.load();
        let state = |row: &Row| match (row.revoked, row.kid == set.kid()) {
            (true, _) => KeyState::Revoked,
            (false, true) => KeyState::Active,
            (false, false) => KeyState::Grace,
        };
        let shown = |row: &Row| NodeKey { kid: row.kid.clone(), created: row.created, state: state(row) };
        set.rows.iter().rev().map(shown).collect()
    }

    fn replace_active(&self, now: u64, change: impl FnOnce(&mut Vec<Row>)) -> Result<String> {
        let old = self.set.load_full();
        let pair = Pair::generate()?;
        let kid = pair.kid.clone();
        let mut rows = old.rows.clone();
        change(&mut rows);
        rows.push(pair.row(now));
        write(&self.dir, &pair, &rows, self.sealing.as_ref())?;
        let mut set = assemble(rows, pair, &self.issuer, &self.audience, self.sealing.as_ref())?;
        // Cached tokens hold on to the keys that checked them: the same keys go on, so that revoking one tells them.
        for (kid, key) in &mut set.known {
            if let Some(same) = old.find(kid) {
                *key = same.clone();
            }
        }
        self.set.store(Arc::new(set));
        if let Err(fault) = files::remove(&self.dir, &private_file(old.kid())) {
            tracing::warn!(%fault, cause = fault.cause(), "the old signing key's file could not be removed");
        }
        tracing::info!(%kid, "rotated the signing key");
        Ok(kid)
    }
}

/// A fresh or just read key with its private half.
struct Pair {
    kid: String,
    x: String,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl Pair {
    fn generate() -> Result<Self> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let pkcs8 = pkcs8.map_err(|_| Fault::internal("no Ed25519 key could be generated"))?;
        Self::read(pkcs8.as_ref()).ok_or_else(|| Fault::internal("a generated Ed25519 key cannot be read"))
    }

    fn read(pkcs8: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Some(Self { kid: thumbprint(&x), x, pkcs8: Zeroizing::new(pkcs8.to_vec()) })
    }

    fn row(&self, created: u64) -> Row {
        Row { kid: self.kid.clone(), x: self.x.clone(), created, revoked: false }
    }
}

/// RFC 7638 with the members that RFC 8037 §2 requires, in their order.
pub(crate) fn thumbprint(x: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes()))
}

fn assemble(rows: Vec<Row>, pair: Pair, issuer: &str, audience: &str, sealing: Option<&SealingKey>) -> Result<KeySet> {
    let mut known = HashMap::new();
    for row in rows.iter().filter(|row| !row.revoked) {
        let public = URL_SAFE_NO_PAD.decode(&row.x).ok().filter(|public| public.len() == 32);
        if public.is_none() || thumbprint(&row.x) != row.kid {
            return Err(broken(STATE));
        }
        let key = Key {
            kid: row.kid.as_str().into(),
            public: row.x.clone(),
            algorithm: Algorithm::EdDSA,
            algorithm_name: "EdDSA",
            decoding: DecodingKey::from_ed_components(&row.x).map_err(Fault::internal)?,
            validation: validation(Algorithm::EdDSA, issuer, audience),
            revoked: AtomicBool::new(false),
        };
        known.insert(key.kid.clone(), Arc::new(key));
    }
    let active = known.get(pair.kid.as_str()).cloned().ok_or_else(|| broken(STATE))?;
    let (private, sealing) = (Arc::new(private(&pair, sealing)?), sealing.cloned());
    Ok(KeySet { private, sealing, active, known, rows })
}

/// What `jsonwebtoken` is to check. The times are left to [`crate::claims::Claims::check`], which takes `now` as an
/// argument and numbers only as integers; the rest is checked in both places.
fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

fn private_file(kid: &str) -> String {
    format!("{kid}.pk8")
}

/// A private half as it lies on the disk and in memory.
fn private(pair: &Pair, sealing: Option<&SealingKey>) -> Result<Vec<u8>> {
    sealing.map_or_else(|| Ok(pair.pkcs8.to_vec()), |key| key.seal(&pair.kid, &pair.pkcs8))
}

/// A private half out of that; none if it does not open.
fn open(sealing: Option<&SealingKey>, kid: &str, file: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
    match (sealed::is_sealed(file), sealing) {
        (false, _) => Ok(Some(Zeroizing::new(file.to_vec()))),
        (true, Some(key)) => key.open(kid, file),
        (true, None) => Ok(None),
    }
}

fn write_private(dir: &Path, pair: &Pair, sealing: Option<&SealingKey>) -> Result<()> {
    files::replace(dir, &private_file(&pair.kid), &private(pair, sealing)?)
}

fn write(dir: &Path, pair: &Pair, rows: &[Row], sealing: Option<&SealingKey>) -> Result<()> {
    write_private(dir, pair, sealing)?;
    write_state(dir, &pair.kid, rows)
}

fn write_state(dir: &Path, active: &str, rows: &[Row]) -> Result<()> {
    let state = State { format: FORMAT, active: active.to_owned(), keys: rows.to_vec() };
    files::replace(dir, STATE, &serde_json::to_vec_pretty(&state).map_err(Fault::internal)?)
}

fn broken(what: &str) -> Fault {
    Fault::new(Code::Integrity, format!("the {what} in the folder of signing keys is missing or damaged"))
}
