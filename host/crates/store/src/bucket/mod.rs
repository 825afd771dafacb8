//! Buckets that triggers watch: what lies in them, by `object_store`. It is only read.
//!
//! The library signs requests, reads pages and knows what answers mean. How a request gets there is ours ([`client`]):
//! it has no other client built in.

mod client;
mod credentials;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aimass_core::event::{BucketCredentials, BucketSource};
use aimass_core::outgoing::{Outgoing, OutgoingCall};
use aimass_core::{Code, Fault, Result};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult, ObjectMeta, ObjectStore as _, RetryConfig};
use url::Url;

pub use credentials::{open_credentials, seal_credentials};

use crate::FoundObject;
use client::{Client, Failure};

/// A request that failed is sent once more, soon; what fails longer is tried again at the next look.
const RETRY: RetryConfig = RetryConfig {
    backoff: object_store::BackoffConfig {
        init_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(1),
        base: 2.0,
    },
    max_retries: 1,
    retry_timeout: Duration::from_secs(10),
};

/// A bucket of somebody else's, for one look into it.
pub struct Bucket {
    s3: AmazonS3,
    prefix: Path,
    failure: Arc<Failure>,
}

/// What lies in a bucket, page by page, by name.
pub struct Listing {
    objects: BoxStream<'static, object_store::Result<ObjectMeta>>,
    failure: Arc<Failure>,
}

impl Bucket {
    /// A bucket whose requests `sender` sends on behalf of `call`; without credentials they are not signed. Nothing is
    /// sent yet.
    ///
    /// # Errors
    /// `invalid_request` for what is no bucket.
    pub fn open(
        source: &BucketSource,
        credentials: Option<BucketCredentials>,
        sender: Arc<dyn Outgoing>,
        call: OutgoingCall,
    ) -> Result<Self> {
        source.check()?;
        let failure = Arc::<Failure>::default();
        let prefix = Path::parse(source.prefix()).map_err(|e| Fault::invalid(format!("the folder: {e}")))?;
        let builder = AmazonS3Builder::new()
            .with_bucket_name(source.bucket())
            .with_region(&source.region)
            .with_endpoint(endpoint(source)?)
            // The bucket stands in the path: so one egress rule allows a storage, and every storage takes that.
            .with_virtual_hosted_style_request(false)
            .with_retry(RETRY)
            .with_http_connector(Client::new(sender, call, failure.clone()));
        let builder = match credentials {
            Some(BucketCredentials { access_key_id, secret_access_key, session_token }) => {
                let builder = builder.with_access_key_id(access_key_id).with_secret_access_key(secret_access_key);
                session_token.into_iter().fold(builder, AmazonS3Builder::with_token)
            }
            // Else it would look for the machine's own.
            None => builder.with_skip_signature(true),
        };
        let s3 = builder.build().map_err(|e| Fault::invalid("this is no bucket").caused_by(e))?;
        Ok(Self { s3, prefix, failure })
    }

    /// What lies in it behind the name `after`.
    ///
    /// # Errors
    /// `internal` if that is no name.
    pub fn list(&self, after: Option<&str>) -> Result<Listing> {
        let objects = match after {
            Some(after) => {
                let after = Path::parse(after).map_err(Fault::internal)?;
                self.s3.list_with_offset(Some(&self.prefix), &after)
            }
            None => self.s3.list(Some(&self.prefix)),
        };
        Ok(Listing { objects, failure: self.failure.clone() })
    }

    /// The object of this name as it is now; none if there is none.
    ///
    /// # Errors
    /// `unavailable` with what the storage said.
    pub async fn find(&self, key: &str) -> Result<Option<FoundObject>> {
        let got = self.get(key, GetOptions { head: true, ..GetOptions::default() }).await?;
        Ok(got.map(|got| found(got.meta)))
    }

    /// An object's bytes; none if it is not what was found any more.
    ///
    /// # Errors
    /// `conflict` if the storage does not give this one: it is archived, or somebody else's. `unavailable` with what the
    /// storage said, also for more than 17 MiB.
    pub async fn read(&self, object: &FoundObject) -> Result<Option<Bytes>> {
        let options = GetOptions { if_match: tag(&object.version), ..GetOptions::default() };
        let Some(got) = self.get(&object.path, options).await? else { return Ok(None) };
        // Not every storage looks at the condition.
        let same = found(got.meta.clone()).version == object.version;
        let bytes = got.bytes().await.map_err(|error| self.failure.fault(&error))?;
        Ok((same && bytes.len() as u64 == object.size).then_some(bytes))
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<Option<GetResult>> {
        let key = Path::parse(key).map_err(Fault::internal)?;
        match self.s3.get_opts(&key, options).await {
            Ok(got) => Ok(Some(got)),
            Err(Error::NotFound { .. } | Error::Precondition { .. }) => Ok(None),
            Err(error) => Err(self.failure.fault(&error)),
        }
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Listing {
    /// The next object; none behind the last one.
    ///
    /// # Errors
    /// `unavailable` with what the storage said.
    pub async fn next(&mut self) -> Result<Option<FoundObject>> {
        match self.objects.next().await {
            Some(Ok(meta)) => Ok(Some(found(meta))),
            Some(Err(error)) => Err(self.failure.fault(&error)),
            None => Ok(None),
        }
    }
}

/// Where the bucket's storage answers, in the one spelling that is signed and sent: a port that goes without saying
/// would be in one of the two.
fn endpoint(source: &BucketSource) -> Result<String> {
    let invalid = |why: &str| Fault::invalid(format!("`endpoint` is an http:// or https:// URL: {why}"));
    // The library takes what it is told for a URL, and ends the process's thread if it is none.
    let url = Url::parse(&source.endpoint()).map_err(|e| invalid(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid("it has another scheme, or no host"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("it has a user, a query or a fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn found(meta: ObjectMeta) -> FoundObject {
    let modified_ms = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or_default();
    let version = match &meta.e_tag {
        Some(tag) => strip(tag).to_owned(),
        None => format!("~{:x}-{modified_ms:x}", meta.size),
    };
    FoundObject { path: meta.location.to_string(), version, size: meta.size, modified_ms }
}

/// An `ETag` without its quotes; a weak one stays as it is.
fn strip(tag: &str) -> &str {
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag)
}

/// The `ETag` that a version was made of, if it can be compared with.
fn tag(version: &str) -> Option<String> {
    let plain = version.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain.then(|| format!("\"{version}\""))
}

/// What went wrong where the client knows nothing better.
fn odd(error: &Error) -> Fault {
    let detail = match error {
        Error::InvalidPath { source } => format!("an object's name cannot be told: {source}"),
        _ => "the answer is not what S3 answers".to_owned(),
    };
    Fault::new(Code::Unavailable, detail).caused_by(error)
}
