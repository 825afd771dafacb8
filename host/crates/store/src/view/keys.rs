//! The keys of the view's rows.
//!
//! A key is a tag byte and fields. A [`Name`] cannot hold NUL, so a NUL ends it; what can hold anything (a token's
//! id, an idempotency key) comes last. So no two rows share a key, and rows of a tenant stand together.

use aimass_core::Name;
use aimass_core::data::FileName;

pub(super) const APPLIED: &[u8] = b"\0applied";

pub(super) fn tenants() -> Vec<u8> {
    vec![b'T']
}

pub(super) fn tenant(name: &Name) -> Vec<u8> {
    [b"T", name.as_str().as_bytes()].concat()
}

pub(super) fn objects(tenant: &Name) -> Vec<u8> {
    [b"O", tenant.as_str().as_bytes(), b"\0"].concat()
}

pub(super) fn object(tenant: &Name, name: &Name) -> Vec<u8> {
    joined(objects(tenant), name.as_str().as_bytes())
}

pub(super) fn all_versions() -> Vec<u8> {
    vec![b'V']
}

pub(super) fn versions(tenant: &Name, name: &Name) -> Vec<u8> {
    [b"V", tenant.as_str().as_bytes(), b"\0", name.as_str().as_bytes(), b"\0"].concat()
}

pub(super) fn version(tenant: &Name, name: &Name, number: u64) -> Vec<u8> {
    joined(versions(tenant, name), &number.to_be_bytes())
}

pub(super) fn settings(tenant: &Name, name: &Name) -> Vec<u8> {
    [b"S", tenant.as_str().as_bytes(), b"\0", name.as_str().as_bytes()].concat()
}

pub(super) fn token(jti: &str) -> Vec<u8> {
    [b"K", jti.as_bytes()].concat()
}

/// The tokens of a tenant; of the operator (whose name is empty, and no tenant's) for `None`.
pub(super) fn tokens_of(tenant: Option<&Name>) -> Vec<u8> {
    [b"L", tenant.map_or("", Name::as_str).as_bytes(), b"\0"].concat()
}

pub(super) fn token_of(tenant: Option<&Name>, jti: &str) -> Vec<u8> {
    joined(tokens_of(tenant), jti.as_bytes())
}

pub(super) fn all_revoked() -> Vec<u8> {
    vec![b'R']
}

pub(super) fn revoked(jti: &str) -> Vec<u8> {
    [b"R", jti.as_bytes()].concat()
}

pub(super) fn idempotent(tenant: &Name, key: &str) -> Vec<u8> {
    [b"I", tenant.as_str().as_bytes(), b"\0", key.as_bytes()].concat()
}

/// Rows of kinds that came later have a word for a tag, so that two that are added at once do not share one. The tenant
/// comes next, so that all of its rows can be found.
pub(super) fn tagged(tag: &str, tenant: &Name) -> Vec<u8> {
    worded(tag, &[tenant.as_str().as_bytes(), b""])
}

/// The key of a row with a word for a tag, of these parts. All but the last hold no NUL.
pub(super) fn worded(tag: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = [b"\x01", tag.as_bytes()].concat();
    for part in parts {
        key.push(0);
        key.extend_from_slice(part);
    }
    key
}

/// What the keys of a tenant's rows begin with, but for the rows with a word for a tag, that of the tenant itself and
/// those of its tokens, which stand under their ids.
pub(super) fn lettered(tenant: &Name) -> [Vec<u8>; 5] {
    [b'O', b'V', b'S', b'L', b'I'].map(|tag| [&[tag], tenant.as_str().as_bytes(), b"\0"].concat())
}

/// What every row with a word for a tag begins with.
pub(super) fn all_tagged() -> Vec<u8> {
    vec![1]
}

/// Whether this is the key of a tenant's row that has a word for a tag.
pub(super) fn is_tagged(key: &[u8], tenant: &Name) -> bool {
    let mut fields = key.split(|&b| b == 0);
    // These stand under an issuer and an audience, which may be called anything.
    fields.next() != Some(b"\x01issuer-pair") && fields.next() == Some(tenant.as_str().as_bytes())
}

pub(super) fn all_data_keys() -> Vec<u8> {
    b"\x01data-key\0".to_vec()
}

pub(super) fn data_key(tenant: &Name) -> Vec<u8> {
    tagged("data-key", tenant)
}

pub(super) fn all_uploads() -> Vec<u8> {
    b"\x01upload\0".to_vec()
}

pub(super) fn uploads(tenant: &Name) -> Vec<u8> {
    tagged("upload", tenant)
}

pub(super) fn upload(tenant: &Name, id: &str) -> Vec<u8> {
    joined(uploads(tenant), id.as_bytes())
}

pub(super) fn signers(tenant: &Name) -> Vec<u8> {
    tagged("signer", tenant)
}

pub(super) fn signer(tenant: &Name, name: &Name) -> Vec<u8> {
    joined(signers(tenant), name.as_str().as_bytes())
}

pub(super) fn signatures_required(tenant: &Name) -> Vec<u8> {
    tagged("signatures-required", tenant)
}

pub(super) fn all_files() -> Vec<u8> {
    b"\x01file\0".to_vec()
}

pub(super) fn files(tenant: &Name) -> Vec<u8> {
    tagged("file", tenant)
}

pub(super) fn file(tenant: &Name, name: &FileName) -> Vec<u8> {
    joined(files(tenant), name.as_str().as_bytes())
}

pub(super) fn all_jobs() -> Vec<u8> {
    b"\x01job\0".to_vec()
}

pub(super) fn jobs(tenant: &Name) -> Vec<u8> {
    tagged("job", tenant)
}

pub(super) fn job(tenant: &Name, id: &str) -> Vec<u8> {
    joined(jobs(tenant), id.as_bytes())
}

/// The pieces of a job. An id is of hex digits, and holds no NUL.
pub(super) fn job_parts(tenant: &Name, id: &str) -> Vec<u8> {
    joined(joined(tagged("job-part", tenant), id.as_bytes()), b"\0")
}

pub(super) fn job_part(tenant: &Name, id: &str, number: u64) -> Vec<u8> {
    joined(job_parts(tenant, id), &number.to_be_bytes())
}

fn joined(mut prefix: Vec<u8>, rest: &[u8]) -> Vec<u8> {
    prefix.extend_from_slice(rest);
    prefix
}
