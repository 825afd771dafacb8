//! Whose signatures on plugins a tenant trusts, and what becomes of an upload that has none of theirs.

use aimass_auth::{PluginSignature, SignerKey};
use aimass_core::event::{Event, Kind, SignedBy};
use aimass_core::{Code, Digest, Fault, Name, Result, Tenant};
use aimass_store::SignerRow;
use schemars::JsonSchema;
use serde::Serialize;

use crate::objects::{PAGE, Page};
use crate::uploads::UploadRequest;
use crate::{Asked, Platform, Scope};

/// Signers of one tenant: each upload looks through them.
const MAX_SIGNERS: usize = 100;

/// Somebody whose signatures a tenant trusts.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SignerDocument {
    /// What the tenant calls the signer.
    pub name: Name,
    /// The public key (Ed25519), base64 of its 32 bytes.
    pub public_key: String,
    /// When it was added, milliseconds since the epoch.
    pub added_ms: u64,
    /// By whom.
    pub added_by: String,
}

impl From<SignerRow> for SignerDocument {
    fn from(row: SignerRow) -> Self {
        Self { name: row.name, public_key: row.key, added_ms: row.added_ms, added_by: row.added_by }
    }
}

impl Platform {
    /// Lists the signers whom the tenant trusts, by name.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn signers(
        &self,
        asked: Asked<'_>,
        after: Option<&Name>,
        limit: Option<usize>,
    ) -> Result<Page<SignerDocument>> {
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().signers(asked.tenant(Scope::PluginsRead)?, after, limit + 1)?;
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, |s: &SignerDocument| s.name.to_string()))
    }

    /// Trusts a signer from now on.
    ///
    /// # Errors
    /// `conflict` if the name or the key is there already, or there are a hundred.
    pub async fn add_signer(&self, asked: Asked<'_>, name: Name, key: SignerKey) -> Result<SignerDocument> {
        let tenant = asked.tenant(Scope::SignersWrite)?;
        let owner = tenant.clone();
        let signer = name.clone();
        self.store
            .write(asked.actor(), move |state| {
                if state.signers(&owner, None, MAX_SIGNERS)?.len() == MAX_SIGNERS {
                    return Err(Fault::new(Code::Conflict, format!("a tenant has at most {MAX_SIGNERS} signers")));
                }
                let tenant = owner.name().clone();
                Ok((Some(Event::SignerAdded { tenant, signer, key: key.to_string() }), ()))
            })
            .await?;
        let signers = self.store.state().signers(tenant, None, MAX_SIGNERS)?;
        signers.into_iter().find(|row| row.name == name).map(Into::into).ok_or_else(Fault::not_found)
    }

    /// Trusts a signer no longer. Versions that it signed stay.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn remove_signer(&self, asked: Asked<'_>, signer: Name) -> Result<()> {
        let tenant = asked.tenant(Scope::SignersWrite)?.name().clone();
        self.store.write(asked.actor(), move |_| Ok((Some(Event::SignerRemoved { tenant, signer }), ()))).await
    }

    /// Whether the tenant's plugins must be signed by somebody whom it trusts.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn signatures_required(&self, asked: Asked<'_>) -> Result<bool> {
        self.store.state().signatures_required(asked.tenant(Scope::PluginsRead)?)
    }

    /// Insists on signatures from now on, or no longer. Versions that stand are served either way.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub async fn require_signatures(&self, asked: Asked<'_>, required: bool) -> Result<()> {
        let tenant = asked.tenant(Scope::SignersWrite)?.name().clone();
        self.store.write(asked.actor(), move |_| Ok((Some(Event::SignaturesRequired { tenant, required }), ()))).await
    }

    /// Who vouches for these bytes. A refusal is recorded before it is told.
    ///
    /// # Errors
    /// `invalid_signature`; where the tenant insists on signatures, `signature_required` and `unknown_signer`.
    pub(crate) async fn vouched(
        &self,
        asked: Asked<'_>,
        tenant: &Tenant,
        request: &UploadRequest,
        digest: &Digest,
    ) -> Result<Option<SignedBy>> {
        if request.kind != Kind::Plugin {
            return Ok(None);
        }
        let refusal = match self.judge(tenant, request, digest)? {
            Ok(signed_by) => return Ok(signed_by),
            Err(refusal) => refusal,
        };
        let event = Event::UploadRefused {
            tenant: tenant.name().clone(),
            name: request.name.clone(),
            digest: *digest,
            code: refusal.code().to_string(),
            key: parsed(request).and_then(|signature| Some(signature.ok()?.key().to_string())),
        };
        self.store.write(asked.actor(), move |_| Ok((Some(event), ()))).await?;
        Err(refusal)
    }

    /// The inner result: who vouches, or why the upload is refused.
    fn judge(
        &self,
        tenant: &Tenant,
        request: &UploadRequest,
        digest: &Digest,
    ) -> Result<Result<Option<SignedBy>, Fault>> {
        let state = self.store.state();
        let required = state.signatures_required(tenant)?;
        let Some(signature) = parsed(request) else {
            let detail =
                "this tenant's plugins are signed by somebody whom it trusts; sign it with `aimass push --sign`";
            return Ok(if required { Err(Fault::new(Code::SignatureRequired, detail)) } else { Ok(None) });
        };
        let verified = signature.and_then(|signature| signature.verify(digest).map(|()| signature.key().to_string()));
        let key = match verified {
            Ok(key) => key,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let signer = state.signers(tenant, None, MAX_SIGNERS)?.into_iter().find(|row| row.key == key);
        if required && signer.is_none() {
            let detail = format!("the key {key} is none of a signer whom this tenant trusts");
            return Ok(Err(Fault::new(Code::UnknownSigner, detail)));
        }
        Ok(Ok(Some(SignedBy { key, signer: signer.map(|row| row.name) })))
    }
}

fn parsed(request: &UploadRequest) -> Option<Result<PluginSignature>> {
    request.signature.as_deref().map(str::parse)
}
