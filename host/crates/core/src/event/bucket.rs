//! Buckets that triggers watch: where they are, and whose rights they are read with.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Fault, Result};

/// Bytes of an object's name, as S3 has it.
const MAX_KEY: usize = 1_024;

/// Bytes of an endpoint.
const MAX_ENDPOINT: usize = 2_048;

/// Bytes of a key id, and of a secret key: those of today have 20 and 40.
const MAX_ACCESS_KEY: usize = 256;

/// Bytes of a session token; they are whole documents.
const MAX_SESSION_TOKEN: usize = 8 << 10;

/// Objects that arrive in a bucket of a storage that speaks S3; those that lie there already as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketSource {
    /// The bucket, and the folder in it: `s3://name/incoming`. Left out, the folder is all of it.
    pub url: String,
    /// Where the storage answers: `https://s3.example.com`. Left out, at Amazon in the region. The tenant's egress rules
    /// must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    #[serde(default = "us_east_1")]
    pub region: String,
    /// What an object's name ends with: `.csv`. Left out, whatever it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// How often the bucket is looked into, seconds.
    #[serde(default = "ten")]
    pub every_seconds: u64,
}

/// What storages that know no regions take.
fn us_east_1() -> String {
    "us-east-1".to_owned()
}

fn ten() -> u64 {
    10
}

impl BucketSource {
    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        self.parts().0
    }

    /// The folder in it, without a slash at its end; empty for all of it.
    pub fn prefix(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        let rest = self.url.strip_prefix("s3://").unwrap_or(&self.url);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        (bucket, prefix.strip_suffix('/').unwrap_or(prefix))
    }

    /// The bucket without a folder, as a URL.
    pub fn bucket_url(&self) -> String {
        format!("s3://{}", self.bucket())
    }

    /// Where the storage answers.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", self.region))
    }

    /// Whether credentials for that one are meant for this one.
    pub fn is_same_bucket(&self, other: &Self) -> bool {
        (self.endpoint(), self.bucket()) == (other.endpoint(), other.bucket())
    }

    /// Whether an object of this name is meant.
    pub fn wants(&self, key: &str) -> bool {
        self.suffix.as_ref().is_none_or(|suffix| key.ends_with(suffix))
    }

    /// Checks what stands in URLs and headers of requests. Whether the endpoint is one is for whoever sends to it.
    ///
    /// # Errors
    /// `invalid_request`.
    ///
    /// ```
    /// use aimass_core::event::BucketSource;
    /// let source = |url: &str| serde_json::from_value::<BucketSource>(serde_json::json!({ "url": url }));
    /// assert!(source("s3://incoming/2026/may/")?.check().is_ok());
    /// assert_eq!(source("s3://incoming/2026/may/")?.prefix(), "2026/may");
    /// for odd in ["incoming", "s3://", "s3://a", "s3://../etc", "s3://a b c", "s3://abc/x//y", "s3://abc/../d"] {
    ///     assert!(source(odd)?.check().is_err(), "{odd}");
    /// }
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn check(&self) -> Result<()> {
        let invalid = |why: &str| Err(Fault::invalid(format!("{why}: `url` is s3://BUCKET/FOLDER")));
        if !self.url.starts_with("s3://") {
            return invalid("it is no bucket");
        }
        let (bucket, prefix) = self.parts();
        // Wider than Amazon's rules, as some storages' are, but always one part of a path.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let begins_well = bucket.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if !(3..=63).contains(&bucket.len()) || !begins_well || !bucket.bytes().all(plain) {
            return invalid("a bucket's name has 3 to 63 letters, digits, `-`, `.` and `_`");
        }
        let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains(char::is_control);
        if prefix.len() > MAX_KEY || (!prefix.is_empty() && prefix.split('/').any(odd)) {
            return invalid("the folder has an empty or an odd part, or is too long");
        }
        let region = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if self.region.is_empty() || self.region.len() > 64 || !self.region.bytes().all(region) {
            return Err(Fault::invalid("a region has up to 64 letters, digits and `-`: us-east-1"));
        }
        if self.endpoint.as_ref().is_some_and(|endpoint| endpoint.len() > MAX_ENDPOINT) {
            return Err(Fault::invalid("the endpoint is too long"));
        }
        if self.suffix.as_ref().is_some_and(|suffix| suffix.len() > MAX_KEY) {
            return Err(Fault::invalid("the suffix is too long"));
        }
        Ok(())
    }
}

/// What requests to a bucket are signed with. It is kept sealed, and never shown again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketCredentials {
    /// The key's id.
    pub access_key_id: String,
    /// The secret key.
    pub secret_access_key: String,
    /// The token that comes with keys that end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
}

impl BucketCredentials {
    /// Checks what stands in headers of requests.
    ///
    /// # Errors
    /// `invalid_request`, which quotes nothing of them.
    pub fn check(&self) -> Result<()> {
        let is_word = |text: &str, most: usize| {
            !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_graphic())
        };
        let keys = [&self.access_key_id, &self.secret_access_key];
        // What is behind the id in a header is found by the comma and the slash.
        let whole = !self.access_key_id.contains([',', '/']);
        if !whole || !keys.iter().all(|key| is_word(key, MAX_ACCESS_KEY)) {
            let detail =
                format!("`access_key_id` and `secret_access_key` have 1 to {MAX_ACCESS_KEY} visible characters");
            return Err(Fault::invalid(detail));
        }
        if self.session_token.as_ref().is_some_and(|token| !is_word(token, MAX_SESSION_TOKEN)) {
            return Err(Fault::invalid(format!("`session_token` has 1 to {MAX_SESSION_TOKEN} visible characters")));
        }
        Ok(())
    }
}

impl fmt::Debug for BucketCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketCredentials").finish_non_exhaustive()
    }
}
