//! Providers' keys that are fetched: again when they are due, and when a token names one that is not among them.
//!
//! A provider is asked once at a time and at most once in [`PAUSE`], however many tokens wait for it. What it answers
//! stands until the next answer; when it does not answer, the keys of before stand for [`KEPT`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aimass_auth::{Auth, Jwks, MAX_JWKS};
use aimass_core::identity::KeySource;
use aimass_core::{Fault, Name, Result};
use aimass_egress::Connector;
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// A provider is not asked again sooner: what strangers send must not make this node a nuisance.
const PAUSE: Duration = Duration::from_secs(10);

/// How long one fetch may take.
const FETCH: Duration = Duration::from_secs(5);

/// How long a request waits for keys at most; browsers' users notice a second, and a fetch takes a tenth.
const WAIT: Duration = Duration::from_secs(3);

/// Bounds of what a provider says of its keys' age (`max-age`), and what holds if it says nothing.
const FRESH: std::ops::RangeInclusive<Duration> = Duration::from_secs(5 * 60)..=Duration::from_secs(24 * 3600);
const FRESH_DEFAULT: Duration = Duration::from_secs(3600);

/// After a failure the next attempt comes so much later, doubled with each further one up to the least freshness.
const RETRY: Duration = Duration::from_secs(15);

/// How long keys are used after the last answer.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Fetches of the background at once.
const AT_ONCE: usize = 8;

/// How often what is due is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// How fetching a provider's keys stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetched {
    /// When the keys came, milliseconds since the epoch.
    pub(crate) fetched_ms: Option<u64>,
    /// Why the last attempt failed.
    pub(crate) error: Option<String>,
    answered: Option<Instant>,
    tried: Option<Instant>,
    due: Option<Instant>,
    failures: u32,
}

/// A provider's address, and what came of it.
struct Source {
    tenant: Name,
    issuer: Name,
    url: String,
    fetched: Mutex<Fetched>,
    /// Who fetches holds it; who waits for the same waits here.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Source {
    fn fetched(&self) -> std::sync::MutexGuard<'_, Fetched> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_be_asked(&self) -> bool {
        self.fetched().tried.is_none_or(|tried| tried.elapsed() >= PAUSE)
    }

    /// Asks the provider, and takes what it says.
    async fn ask(&self, auth: &Auth, connector: &Connector) {
        self.fetched().tried = Some(Instant::now());
        let outcome = fetch(connector, &self.url).await;
        self.take(auth, outcome, KEPT);
    }

    /// Takes what came; of before, what came longer than `kept` ago is given up.
    fn take(&self, auth: &Auth, outcome: Result<(Jwks, Duration)>, kept: Duration) {
        let mut fetched = self.fetched();
        let now = Instant::now();
        fetched.tried = Some(now);
        match outcome {
            Ok((keys, fresh)) => {
                auth.set_provider_keys(&self.tenant, &self.issuer, &self.url, keys);
                let due = now.checked_add(fresh);
                *fetched = Fetched {
                    fetched_ms: Some(now_ms()),
                    answered: Some(now),
                    tried: Some(now),
                    due,
                    ..Fetched::default()
                };
            }
            Err(fault) => {
                let (tenant, issuer, why) = (&self.tenant, &self.issuer, fault.detail());
                tracing::warn!(%tenant, %issuer, why, "the keys of an issuer could not be fetched");
                let later = RETRY.saturating_mul(1 << fetched.failures.min(10)).min(*FRESH.start());
                fetched.failures += 1;
                fetched.due = now.checked_add(later);
                fetched.error = Some(why.to_owned());
                if fetched.answered.is_some_and(|answered| answered.elapsed() > kept) {
                    auth.set_provider_keys(&self.tenant, &self.issuer, &self.url, Jwks::default());
                }
            }
        }
    }
}

/// The providers whose keys are fetched.
pub(crate) struct ProviderKeys {
    connector: Arc<Connector>,
    sources: Mutex<HashMap<(Name, Name), Arc<Source>>>,
}

impl ProviderKeys {
    pub(crate) fn new(connector: Arc<Connector>) -> Self {
        Self { connector, sources: Mutex::default() }
    }

    /// Follows a provider from now on, if its keys are to be fetched.
    pub(crate) fn add(&self, tenant: &Name, issuer: &Name, keys: &KeySource) {
        let KeySource::JwksUrl(url) = keys else { return };
        let due = Fetched { due: Some(Instant::now()), ..Fetched::default() };
        self.insert(tenant, issuer, url, due);
    }

    /// The same for one whose keys were just fetched: what came is taken.
    pub(crate) fn add_fetched(&self, auth: &Auth, tenant: &Name, issuer: &Name, url: &str, came: (Jwks, Duration)) {
        self.insert(tenant, issuer, url, Fetched::default()).take(auth, Ok(came), KEPT);
    }

    /// Follows a provider no longer.
    pub(crate) fn remove(&self, tenant: &Name, issuer: &Name) {
        self.sources().remove(&(tenant.clone(), issuer.clone()));
    }

    /// Fetches the keys that an address has.
    ///
    /// # Errors
    /// `invalid_request` with the reason.
    pub(crate) async fn fetch(&self, url: &str) -> Result<(Jwks, Duration)> {
        fetch(&self.connector, url).await
    }

    /// How fetching a provider's keys stands; none if they are not fetched.
    pub(crate) fn fetched(&self, tenant: &Name, issuer: &Name) -> Option<Fetched> {
        self.source(tenant, issuer).map(|source| source.fetched().clone())
    }

    /// Waits until the provider's keys were fetched, by whomever, if it may be asked now; not longer
    /// than [`WAIT`].
    pub(crate) async fn look_again(&self, auth: &Arc<Auth>, tenant: &Name, issuer: &Name) {
        let Some(source) = self.source(tenant, issuer) else { return };
        let (auth, connector) = (auth.clone(), self.connector.clone());
        let attempt = async move {
            let turn = source.turn.clone().lock_owned().await;
            if source.may_be_asked() {
                // A task of its own: when the one who waits is gone, the others still want the answer.
                let task = tokio::spawn(async move {
                    let _turn = turn;
                    source.ask(&auth, &connector).await;
                });
                let _ = task.await;
            }
        };
        let _ = timeout(WAIT, attempt).await;
    }

    /// Fetches what is due, for ever.
    pub(crate) async fn follow(&self, auth: &Arc<Auth>) {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            tokio::time::sleep(LOOK).await;
            let now = Instant::now();
            let due = |source: &Arc<Source>| source.fetched().due.is_some_and(|due| due <= now);
            let sources: Vec<_> = self.sources().values().filter(|source| due(source)).cloned().collect();
            for source in sources {
                // Somebody asks it just now.
                let Ok(turn) = source.turn.clone().try_lock_owned() else { continue };
                let Ok(place) = at_once.clone().acquire_owned().await else { return };
                let (auth, connector) = (auth.clone(), self.connector.clone());
                tokio::spawn(async move {
                    let _held = (turn, place);
                    source.ask(&auth, &connector).await;
                });
            }
        }
    }

    fn insert(&self, tenant: &Name, issuer: &Name, url: &str, fetched: Fetched) -> Arc<Source> {
        let source = Arc::new(Source {
            tenant: tenant.clone(),
            issuer: issuer.clone(),
            url: url.to_owned(),
            fetched: Mutex::new(fetched),
            turn: Arc::default(),
        });
        self.sources().insert((tenant.clone(), issuer.clone()), source.clone());
        source
    }

    fn source(&self, tenant: &Name, issuer: &Name) -> Option<Arc<Source>> {
        self.sources().get(&(tenant.clone(), issuer.clone())).cloned()
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, HashMap<(Name, Name), Arc<Source>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys, and how long they are fresh.
async fn fetch(connector: &Connector, url: &str) -> Result<(Jwks, Duration)> {
    let answer = connector.get(url, MAX_JWKS, FETCH).await;
    let answer = answer.map_err(|why| Fault::invalid(format!("the keys could not be fetched: {why}")))?;
    let status = answer.status().as_u16();
    if status != 200 {
        return Err(Fault::invalid(format!("the keys could not be fetched: the address answers with status {status}")));
    }
    let keys = Jwks::parse(answer.body()).map_err(|why| Fault::invalid(format!("the address has no keys: {why}")))?;
    Ok((keys, freshness(answer.headers())))
}

/// RFC 9111 §5.2.2.1, within bounds.
fn freshness(headers: &HeaderMap) -> Duration {
    let said = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut directives = said.split(',').map(|directive| directive.trim().to_ascii_lowercase());
    let seconds = directives.find_map(|directive| match directive.as_str() {
        "no-store" | "no-cache" => Some(0),
        other => other.strip_prefix("max-age=")?.trim_matches('"').parse().ok(),
    });
    seconds.map_or(FRESH_DEFAULT, Duration::from_secs).clamp(*FRESH.start(), *FRESH.end())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use aimass_auth::{AuthConfig, Identity, Provider};
    use aimass_core::identity::Issuer;
    use aimass_egress::EgressConfig;
    use http::HeaderValue;

    #[test]
    fn freshness_is_the_providers_within_bounds() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(text));
            freshness(&headers).as_secs()
        };
        assert_eq!(of("public, max-age=900, must-revalidate"), 900);
        assert_eq!(of("Max-Age=\"900\""), 900);
        assert_eq!(of("max-age=1"), 300);
        assert_eq!(of("max-age=99999999"), 24 * 3600);
        assert_eq!(of("no-store"), 300);
        assert_eq!(of("max-age=-1"), 3600);
        assert_eq!(of("private"), 3600);
        assert_eq!(freshness(&HeaderMap::new()).as_secs(), 3600);
    }

    #[test]
    fn f34_keys_are_kept_for_a_bounded_time_while_the_provider_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let auth = Auth::open(folder.path(), AuthConfig::new("node", "node")).unwrap();
        let (tenant, name, url) =
            ("acme".parse::<Name>().unwrap(), "id".parse::<Name>().unwrap(), "https://id.example/k");
        let issuer = Issuer {
            issuer: "https://id.example".to_owned(),
            audience: "a".to_owned(),
            keys: KeySource::JwksUrl(url.to_owned()),
            roles_claim: "roles".to_owned(),
        };
        let provider = Provider { name: name.clone(), issuer, revoked: vec![] };
        auth.set_identity(&tenant, || Ok(Identity { providers: vec![provider], ..Identity::default() })).unwrap();
        let key = r#"{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let came = || Ok((Jwks::parse(format!(r#"{{"keys":[{key}]}}"#).as_bytes()).unwrap(), FRESH_DEFAULT));
        let away = || Err(Fault::invalid("away"));
        let keys = ProviderKeys::new(Arc::new(Connector::new(EgressConfig::default()).unwrap()));
        let source = keys.insert(&tenant, &name, url, Fetched::default());
        let known = || auth.provider_keys(&tenant, &name).len();
        source.take(&auth, away(), KEPT);
        assert_eq!(known(), 0);
        source.take(&auth, came(), KEPT);
        source.take(&auth, away(), KEPT);
        let fetched = keys.fetched(&tenant, &name).unwrap();
        assert_eq!((known(), fetched.error.as_deref(), fetched.fetched_ms.is_some()), (1, Some("away"), true));
        source.take(&auth, away(), Duration::ZERO);
        assert_eq!(known(), 0, "given up");
        source.take(&auth, came(), KEPT);
        assert_eq!((known(), keys.fetched(&tenant, &name).unwrap().error), (1, None));
        // After a failure it is not asked at once, and the next time is known.
        source.take(&auth, away(), KEPT);
        assert!(!source.may_be_asked() && source.fetched().due.is_some_and(|due| due > Instant::now()));
        keys.remove(&tenant, &name);
        assert!(keys.fetched(&tenant, &name).is_none());
    }
}
