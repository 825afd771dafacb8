//! Minting and checking tokens.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimass_core::{Code, Fault, Name, Result, Tenant};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::Value;
use uuid::Uuid;

use crate::claims::{Claims, Header, expired};
use crate::foreign::{self, Identity, Jwks, KeyInfo, Providers, Trusted, UNKNOWN_KEY};
use crate::keys::{Key, KeyState, Keys, NodeKey};
use crate::revoked::Revoked;
use crate::{Caller, Checkpoint, Scopes, SealingKey, SignedCheckpoint};

/// The longest token, bytes; a longer one is refused unread. Ours are around 500.
pub const MAX_TOKEN: usize = 8 * 1024;

/// The largest tolerance for clocks that differ.
pub const MAX_LEEWAY: Duration = Duration::from_secs(5);

/// Bytes that cached tokens may take: about 20,000 of them.
pub(crate) const CACHE_BYTES: u64 = 16 << 20;

/// What a cached token takes beside its own bytes: its caller and the cache's own entry.
const CACHE_ENTRY: u64 = 320;

/// A provider that changes while a token of its is checked: how often that is done again.
const CHANGES_MEANWHILE: usize = 3;

/// How tokens are checked.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// The `iss` claim of our tokens: who we are.
    pub issuer: String,
    /// The `aud` claim of our tokens: whom they are for.
    pub audience: String,
    /// Tolerance for clocks that differ, [`MAX_LEEWAY`] at most.
    pub leeway: Duration,
    /// What the private halves of signing keys are sealed with, on the disk and in memory. Without it they lie there as
    /// they are.
    pub sealing: Option<SealingKey>,
}

impl AuthConfig {
    /// With the largest leeway.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), audience: audience.into(), leeway: MAX_LEEWAY, sealing: None }
    }
}

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who will hold it.
    pub subject: String,
    /// Whom it acts for; none for the operator.
    pub tenant: Option<Name>,
    /// What it may do.
    pub scopes: Scopes,
    /// How long it is valid; whole seconds count.
    pub ttl: Duration,
}

/// A token that was just signed.
#[derive(Clone)]
pub struct Minted {
    /// The token: a secret. It is kept nowhere.
    pub token: String,
    /// Its id.
    pub jti: String,
    /// When it ends, seconds since the epoch.
    pub expires: u64,
}

/// Why nobody is let in.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What the caller is told: always the same.
    pub fault: Fault,
    /// The tenant and the provider (by the tenant's name for it) whose keys may accept the token once they are fetched
    /// again: it names a key that is not among them. Nothing else in the token is checked.
    pub ask: Option<(Name, Name)>,
}

/// The keys, the cache of checked tokens, and what was revoked. Share it in an `Arc`.
pub struct Auth {
    config: AuthConfig,
    keys: Keys,
    revoked: Revoked,
    providers: Providers,
    /// Sharded: a hit takes one shard's read lock and allocates nothing.
    checked: Cache<Box<str>, Arc<Checked>, TokenBytes>,
}

/// A token that was found valid.
struct Checked {
    caller: Arc<Caller>,
    by: By,
}

/// What makes it valid, as long as that stands.
enum By {
    Node {
        key: Arc<Key>,
        /// [`Revoked::changes`] when it was last known not to be revoked.
        as_of: AtomicU64,
    },
    Provider(Arc<Trusted>),
}

#[derive(Clone)]
struct TokenBytes;

impl Weighter<Box<str>, Arc<Checked>> for TokenBytes {
    fn weight(&self, token: &Box<str>, _: &Arc<Checked>) -> u64 {
        token.len() as u64 + CACHE_ENTRY
    }
}

impl Auth {
    /// Opens the folder of keys, for the owner alone; at the first start makes it, and a key.
    ///
    /// # Errors
    /// [`Code::Integrity`] if a file is damaged or open to others, [`Code::StorageFull`], [`Code::Internal`] for
    /// other failures of the disk, [`Code::InvalidRequest`] for a leeway above [`MAX_LEEWAY`].
    pub fn open(dir: &Path, config: AuthConfig) -> Result<Self> {
        if config.leeway > MAX_LEEWAY {
            return Err(Fault::invalid(format!("the leeway is {} seconds at most", MAX_LEEWAY.as_secs())));
        }
        let keys = Keys::open(dir, &config, now())?;
        let checked = Cache::with_weighter((CACHE_BYTES / 800) as usize, CACHE_BYTES, TokenBytes);
        Ok(Self { config, keys, revoked: Revoked::default(), providers: Providers::default(), checked })
    }

    /// Signs a token with the active key, valid from now on.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] if the subject is empty, the time to live is under a second or without end, or the
    /// token would be longer than [`MAX_TOKEN`].
    pub fn mint(&self, grant: Grant) -> Result<Minted> {
        self.mint_at(grant, now())
    }

    /// Who holds the token: the bare one, without `Bearer` before it.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`], always with the same detail; the reason is in the log at level `debug`.
    pub fn verify(&self, bearer: &str) -> Result<Arc<Caller>> {
        self.verify_at(bearer, now())
    }

    /// Refuses a token from now on, also where it is cached. `expires` says when it can be forgotten.
    pub fn revoke(&self, jti: &str, expires: u64) {
        self.load_revoked(std::iter::once((jti.to_owned(), expires)));
    }

    /// Refuses these tokens (id, expiry in seconds since the epoch): what the store knows at the start.
    pub fn load_revoked(&self, tokens: impl Iterator<Item = (String, u64)>) {
        // Forgotten only when the leeway has passed as well.
        let forget = now().saturating_sub(self.config.leeway.as_secs());
        self.revoked.add(tokens, forget);
    }

    /// The public keys that tokens can be checked with (RFC 7517), newest first.
    pub fn jwks(&self) -> Value {
        self.keys.jwks()
    }

    /// Signs where the journal stands, with the active key.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn sign_checkpoint(&self, records: u64, head: String, time_ms: u64) -> Result<SignedCheckpoint> {
        let issuer = self.config.issuer.clone();
        SignedCheckpoint::sign(&self.keys.current(), Checkpoint { issuer, records, head, time_ms })
    }

    /// Makes a new signing key and returns its id. Tokens of the old one stay valid until it is revoked.
    ///
    /// # Errors
    /// [`Code::StorageFull`], [`Code::Internal`]; the old key then stays active.
    pub fn rotate(&self) -> Result<String> {
        self.keys.rotate(now())
    }

    /// Refuses every token that this key signed, from now on. The active key is replaced by a new one first.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such key; as [`Self::rotate`].
    pub fn revoke_key(&self, kid: &str) -> Result<()> {
        self.keys.revoke(kid, now())
    }

    /// The node's keys that check tokens, newest first, and which of them signs.
    pub fn signing_keys(&self) -> Vec<NodeKey> {
        self.keys.list()
    }

    /// Whether a token names a key of this node's that was revoked, so that no answer but a new token helps.
    pub fn lost_its_key(&self, bearer: &str) -> bool {
        let header = bearer.split_once('.').and_then(|(header, _)| Header::read(header));
        let revoked =
            |kid: &str| self.signing_keys().iter().any(|key| key.kid == kid && key.state == KeyState::Revoked);
        header.is_some_and(|header| revoked(header.kid()))
    }

    /// The `iss` claim of the node's own tokens: no tenant may register it.
    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// Replaces a tenant's identity providers and roles by what `read` says, which sees no older state than another
    /// caller's before. Tokens of the providers that stood before are checked anew, also cached ones.
    ///
    /// # Errors
    /// What `read` says; then nothing has changed.
    pub fn set_identity(&self, tenant: &Name, read: impl FnOnce() -> Result<Identity>) -> Result<()> {
        self.providers.set(tenant, read)
    }

    /// Replaces the keys of a provider that were fetched from `url`; nothing happens if it has another source by now.
    pub fn set_provider_keys(&self, tenant: &Name, provider: &Name, url: &str, keys: Jwks) {
        self.providers.set_keys(tenant, provider, url, keys);
    }

    /// The keys that a provider's tokens are checked with now, also revoked ones.
    pub fn provider_keys(&self, tenant: &Name, provider: &Name) -> Vec<KeyInfo> {
        self.providers.keys(tenant, provider)
    }

    /// The same as [`Self::verify`]; a refusal says whose keys may change it.
    ///
    /// # Errors
    /// As there.
    pub fn verify_or_ask(&self, bearer: &str) -> Result<Arc<Caller>, Refused> {
        self.verify_or_ask_at(bearer, now())
    }

    /// The handle of a tenant whose plugin lets anybody in: its owner's policy vouches, not a token.
    pub fn public(&self, tenant: &Name) -> Tenant {
        Tenant::vouched_for(tenant.clone())
    }

    /// Bytes and number of the tokens in the cache.
    #[cfg(test)]
    pub(crate) fn cached(&self) -> (u64, usize) {
        (self.checked.weight(), self.checked.len())
    }

    pub(crate) fn mint_at(&self, grant: Grant, now: u64) -> Result<Minted> {
        let Grant { subject, tenant, scopes, ttl } = grant;
        let expires = now.checked_add(ttl.as_secs()).filter(|&expires| expires > now && !subject.is_empty());
        let expires = expires.ok_or_else(|| Fault::invalid("a token has a subject and lasts a second or more"))?;
        let jti = Uuid::now_v7().to_string();
        let claims = Claims {
            iss: self.config.issuer.clone(),
            aud: self.config.audience.clone(),
            sub: subject,
            exp: expires,
            nbf: now,
            iat: now,
            jti: jti.clone(),
            tenant,
            scope: scopes.to_string(),
        };
        let keys = self.keys.current();
        let mut header = jsonwebtoken::Header::new(keys.algorithm());
        header.kid = Some(keys.kid().to_owned());
        let token = jsonwebtoken::encode(&header, &claims, &keys.signing()?).map_err(Fault::internal)?;
        if token.len() > MAX_TOKEN {
            return Err(Fault::invalid("the subject is too long for a token"));
        }
        Ok(Minted { token, jti, expires })
    }

    /// [`Self::verify`] at a time that is given, seconds since the epoch.
    pub(crate) fn verify_at(&self, bearer: &str, now: u64) -> Result<Arc<Caller>> {
        self.examine(bearer, now).map_err(refuse)
    }

    pub(crate) fn verify_or_ask_at(&self, bearer: &str, now: u64) -> Result<Arc<Caller>, Refused> {
        self.examine(bearer, now).map_err(|reason| {
            let ask = if reason == UNKNOWN_KEY { self.provider_of(bearer) } else { None };
            Refused { fault: refuse(reason), ask }
        })
    }

    fn examine(&self, bearer: &str, now: u64) -> Result<Arc<Caller>, &'static str> {
        match self.checked.get(bearer) {
            Some(checked) => self.check_again(bearer, &checked, now),
            None => self.check(bearer, now),
        }
    }

    /// The provider that is said to have signed a token, if its keys are fetched. The key may have come meanwhile.
    fn provider_of(&self, bearer: &str) -> Option<(Name, Name)> {
        let header = bearer.split_once('.').and_then(|(header, _)| Header::read(header))?;
        let trusted = self.providers.find(&foreign::Parties::read(bearer)?)?;
        trusted.may_find(header.kid()).then(|| (trusted.tenant.name().clone(), trusted.name.clone()))
    }

    /// What may have changed since the token was checked: the time, its revocation, its key's.
    fn check_again(&self, bearer: &str, checked: &Checked, now: u64) -> Result<Arc<Caller>, &'static str> {
        if expired(checked.caller.expires, now, self.config.leeway.as_secs()) {
            self.checked.remove(bearer);
            return Err("expired");
        }
        match &checked.by {
            By::Node { key, as_of } => {
                if key.revoked() {
                    self.checked.remove(bearer);
                    return Err("its key is revoked");
                }
                let changes = self.revoked.changes();
                if as_of.load(Ordering::Relaxed) != changes {
                    if self.revoked.contains(&checked.caller.jti) {
                        self.checked.remove(bearer);
                        return Err("revoked");
                    }
                    as_of.store(changes, Ordering::Relaxed);
                }
            }
            By::Provider(trusted) => {
                if trusted.retired() {
                    self.checked.remove(bearer);
                    return self.check(bearer, now);
                }
            }
        }
        Ok(checked.caller.clone())
    }

    /// Everything, from the beginning; what holds is cached.
    fn check(&self, bearer: &str, now: u64) -> Result<Arc<Caller>, &'static str> {
        if bearer.len() > MAX_TOKEN {
            return Err("too long");
        }
        let header = bearer.split_once('.').and_then(|(header, _)| Header::read(header)).ok_or("a bad header")?;
        let Some(key) = self.keys.current().find(header.kid()).cloned() else {
            return self.check_foreign(bearer, &header, now);
        };
        if !header.is_ours() {
            return Err("a header that is not the node's");
        }
        if header.algorithm() != key.algorithm_name {
            return Err("an algorithm that is not the key's");
        }
        // The signature first, then the claims' types, then what they say.
        let token = jsonwebtoken::decode::<Claims>(bearer, &key.decoding, &key.validation);
        let claims = token.map_err(|_| "a bad signature or bad claims")?.claims;
        claims.check(&self.config.issuer, &self.config.audience, now, self.config.leeway.as_secs())?;
        let as_of = self.revoked.changes();
        if self.revoked.contains(&claims.jti) {
            return Err("revoked");
        }
        let caller = Arc::new(Caller {
            subject: claims.sub,
            jti: claims.jti,
            tenant: claims.tenant.map(Tenant::vouched_for),
            scopes: Scopes::from_claim(&claims.scope),
            expires: claims.exp,
            kid: Some(key.kid.clone()),
        });
        // Revoked between the look-up and here: as above, the first hit notices, and this answer is refused too.
        if key.revoked() {
            return Err("its key is revoked");
        }
        let by = By::Node { key, as_of: AtomicU64::new(as_of) };
        self.checked.insert(bearer.into(), Arc::new(Checked { caller: caller.clone(), by }));
        Ok(caller)
    }

    /// The same for a token of a tenant's identity provider.
    fn check_foreign(&self, bearer: &str, header: &Header, now: u64) -> Result<Arc<Caller>, &'static str> {
        if !header.is_providers() {
            return Err("a header that no provider writes");
        }
        let parties = foreign::Parties::read(bearer).ok_or("an unknown key, and no issuer and audience")?;
        for _ in 0..CHANGES_MEANWHILE {
            let trusted = self.providers.find(&parties).ok_or("an unknown key of an unknown issuer")?;
            let caller = Arc::new(trusted.check(bearer, header, now, self.config.leeway.as_secs())?);
            // Changed meanwhile: then what stands now decides. After the insertion the first hit notices.
            if !trusted.retired() {
                let by = By::Provider(trusted);
                self.checked.insert(bearer.into(), Arc::new(Checked { caller: caller.clone(), by }));
                return Ok(caller);
            }
        }
        Err("its issuer changes without a pause")
    }
}

/// The one refusal.
fn refuse(reason: &'static str) -> Fault {
    tracing::debug!(reason, "refused a token");
    Fault::new(Code::Unauthenticated, "send a valid token as `Authorization: Bearer …`")
}

/// Seconds since the epoch; 0 for a clock before it, at which no token is valid.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
