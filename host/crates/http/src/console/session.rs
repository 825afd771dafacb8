//! Who is signed in. In memory: a restart signs everybody out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aimass_core::{Name, Result};

/// A session that nobody uses for so long ends.
const IDLE: Duration = Duration::from_secs(60 * 60);

/// Sessions of one tenant, or of the operator: the one that was not used for the longest makes room. So a tenant that
/// signs in without end signs out nobody but itself.
const PER_TENANT: usize = 256;

/// Sessions of all together: some MiB of tokens.
const ALL: usize = 8_192;

/// Somebody who signed in with a token. It holds the token, and each request asks anew whether that is valid: what ends
/// the token (time, revocation, its key's or its provider's end) ends the session.
pub(crate) struct Session {
    /// The token.
    pub(super) token: String,
    /// What a form must hold to be this session's.
    pub(super) form_key: String,
    tenant: Option<Name>,
    used: Mutex<Instant>,
    /// What the next page says at its top.
    notice: Mutex<Option<String>>,
}

impl Session {
    /// Says something on the next page.
    pub(super) fn tell(&self, notice: impl Into<String>) {
        *self.notice.lock().unwrap_or_else(PoisonError::into_inner) = Some(notice.into());
    }

    /// What is to be said, once.
    pub(super) fn told(&self) -> Option<String> {
        self.notice.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used()) >= IDLE
    }
}

/// The sessions by their secret ids.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

impl Sessions {
    /// Begins a session of a token that was found valid, and returns its id.
    ///
    /// # Errors
    /// `internal` where the system gives no random numbers.
    pub(super) fn begin(&self, token: String, tenant: Option<Name>, now: Instant) -> Result<String> {
        let id = secret()?;
        let form_key = secret()?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, session| !session.idle(now));
        if all.values().filter(|session| session.tenant == tenant).count() >= PER_TENANT {
            end_oldest(&mut all, |session| session.tenant == tenant);
        }
        if all.len() >= ALL {
            end_oldest(&mut all, |_| true);
        }
        let session = Session { token, form_key, tenant, used: Mutex::new(now), notice: Mutex::default() };
        all.insert(id.clone(), Arc::new(session));
        Ok(id)
    }

    /// The session of that id, unless it was idle for too long. With `used` it is used now; a page that only looks
    /// again by itself does not keep a session.
    pub(super) fn find(&self, id: &str, used: bool, now: Instant) -> Option<Arc<Session>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = all.get(id)?.clone();
        if session.idle(now) {
            all.remove(id);
            return None;
        }
        if used {
            *session.used.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        Some(session)
    }

    /// Ends a session.
    pub(super) fn end(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

fn end_oldest(all: &mut HashMap<String, Arc<Session>>, among: impl Fn(&Session) -> bool) {
    let oldest = all.iter().filter(|(_, session)| among(session)).min_by_key(|(_, session)| session.used());
    if let Some(id) = oldest.map(|(id, _)| id.clone()) {
        all.remove(&id);
    }
}

/// 256 random bits.
fn secret() -> Result<String> {
    aimass_auth::random_key().map(hex::encode)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn begin(sessions: &Sessions, tenant: &str, now: Instant) -> String {
        sessions.begin("token".to_owned(), Some(tenant.parse().unwrap()), now).unwrap()
    }

    #[test]
    fn a_session_ends_when_nobody_uses_it() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let id = begin(&sessions, "acme", start);
        let later = start + IDLE - Duration::from_secs(1);
        assert!(sessions.find(&id, false, later).is_some(), "looking does not keep it");
        assert!(sessions.find(&id, false, start + IDLE).is_none());
        let id = begin(&sessions, "acme", start);
        assert!(sessions.find(&id, true, later).is_some());
        assert!(sessions.find(&id, true, later + IDLE - Duration::from_secs(1)).is_some());
        assert!(sessions.find("another", true, later).is_none());
        sessions.end(&id);
        assert!(sessions.find(&id, true, later).is_none());
    }

    #[test]
    fn one_tenant_signs_out_only_itself() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let theirs = begin(&sessions, "other", start);
        let first = begin(&sessions, "acme", start);
        for n in 1..=PER_TENANT {
            begin(&sessions, "acme", start + Duration::from_secs(n as u64));
        }
        let now = start + Duration::from_secs(1_000);
        assert!(sessions.find(&theirs, false, now).is_some());
        assert!(sessions.find(&first, false, now).is_none(), "the oldest made room");
        assert_eq!(sessions.0.lock().unwrap().len(), PER_TENANT + 1);
    }

    #[test]
    fn what_is_told_is_told_once() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let session = sessions.find(&begin(&sessions, "acme", start), true, start).unwrap();
        session.tell("saved");
        assert_eq!((session.told().as_deref(), session.told()), (Some("saved"), None));
    }
}
