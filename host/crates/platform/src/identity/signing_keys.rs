//! The keys that the node signs tokens with: the operator's.

use aimass_auth::{KeyState, NodeKey};
use aimass_core::event::Event;
use aimass_core::{Code, Fault, Result};

use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

impl Platform {
    /// Lists the node's signing keys, newest first.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn signing_keys(&self, asked: Asked<'_>, after: Option<&str>, limit: Option<usize>) -> Result<Page<NodeKey>> {
        asked.by.require(Scope::Operator)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let keys = self.auth.signing_keys();
        let start = match after {
            Some(kid) => keys.iter().position(|key| key.kid == kid).map_or(keys.len(), |at| at + 1),
            None => 0,
        };
        Ok(Page::cut(keys.into_iter().skip(start), limit, |key: &NodeKey| key.kid.clone()))
    }

    /// Signs tokens with a new key from now on. Those of the old one stay valid.
    ///
    /// # Errors
    /// What writing the key says; then the old one signs on.
    pub async fn rotate_signing_key(&self, asked: Asked<'_>) -> Result<NodeKey> {
        asked.by.require(Scope::Operator)?;
        let auth = self.auth.clone();
        let kid = tokio::task::spawn_blocking(move || auth.rotate()).await.map_err(Fault::internal)??;
        let event = Event::SigningKeyRotated { kid: kid.clone() };
        self.store.write(asked.actor(), move |_| Ok((Some(event), ()))).await?;
        let key = self.auth.signing_keys().into_iter().find(|key| key.kid == kid);
        key.ok_or_else(|| Fault::internal("a new signing key is not there"))
    }

    /// Refuses every token that a key signed: when this returns it is so. If it is the key that signs now, a new one
    /// takes its place.
    ///
    /// # Errors
    /// `not_found`; `conflict` for the key that signed the caller's own token: it would lock the operator out.
    pub async fn revoke_signing_key(&self, asked: Asked<'_>, kid: String) -> Result<()> {
        asked.by.require(Scope::Operator)?;
        let known = self.auth.signing_keys().into_iter().find(|key| key.kid == kid).ok_or_else(Fault::not_found)?;
        if known.state == KeyState::Revoked {
            return Ok(());
        }
        if asked.by.kid.as_deref() == Some(kid.as_str()) {
            let detail =
                "this key signed the token that you ask with: rotate, create an operator's token, and use that";
            return Err(Fault::new(Code::Conflict, detail));
        }
        let (auth, revoked) = (self.auth.clone(), kid.clone());
        // First the refusal, then its record: a key that is known to others must not wait for the disk.
        tokio::task::spawn_blocking(move || auth.revoke_key(&revoked)).await.map_err(Fault::internal)??;
        let event = Event::SigningKeyRevoked { kid };
        self.store.write(asked.actor(), move |_| Ok((Some(event), ()))).await
    }
}
