//! What a tenant lets its guests send out, where to, and across which regions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Fault, Name, Result};

/// Ports, and methods, of one rule.
const MAX_ENTRIES: usize = 16;

/// Bytes of a purpose: a sentence or two.
const MAX_PURPOSE: usize = 512;

/// A destination that guests may send to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EgressRule {
    /// A host (`api.example.com`, `192.0.2.1`), or every name below one (`*.example.com`).
    pub host: String,
    /// The ports.
    pub ports: Vec<u16>,
    /// The methods; every one if there are none.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Where the destination is.
    pub region: Name,
}

impl EgressRule {
    /// A rule in its one spelling.
    ///
    /// # Errors
    /// `invalid_request` with what is wrong.
    ///
    /// ```
    /// use aimass_core::policy::EgressRule;
    /// let rule = EgressRule::new("*.Example.com", vec![443], vec!["GET".to_owned()], "eu".parse()?)?;
    /// assert!(rule.allows("GET", "api.example.com", 443));
    /// assert!(!rule.allows("GET", "example.com", 443), "only what is below");
    /// assert!(!rule.allows("GET", "badexample.com", 443));
    /// assert!(!rule.allows("POST", "api.example.com", 443));
    /// assert!(!rule.allows("GET", "api.example.com", 80));
    /// assert!(EgressRule::new("*", vec![443], vec![], "eu".parse()?).is_err());
    /// # Ok::<(), aimass_core::Fault>(())
    /// ```
    pub fn new(host: &str, mut ports: Vec<u16>, mut methods: Vec<String>, region: Name) -> Result<Self> {
        let host = pattern(host)?;
        ports.sort_unstable();
        ports.dedup();
        methods.sort_unstable();
        methods.dedup();
        if ports.is_empty() || ports.len() > MAX_ENTRIES || ports[0] == 0 {
            return Err(Fault::invalid(format!("`ports` are 1 to {MAX_ENTRIES} numbers from 1 to 65535")));
        }
        let token = |m: &String| (1..=32).contains(&m.len()) && m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        if methods.len() > MAX_ENTRIES || !methods.iter().all(token) {
            return Err(Fault::invalid(format!("`methods` are at most {MAX_ENTRIES} in capitals: GET, POST")));
        }
        Ok(Self { host, ports, methods, region })
    }

    /// Whether it lets a request out. `host` is in lower case, an IPv6 address in brackets.
    pub fn allows(&self, method: &str, host: &str, port: u16) -> bool {
        let named = match self.host.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => self.host == host,
        };
        named && self.ports.contains(&port) && (self.methods.is_empty() || self.methods.iter().any(|m| m == method))
    }

    /// How well it fits: the longer pattern decides which region a host is in, and an exact one is the longest.
    pub fn specificity(&self) -> (bool, usize) {
        (!self.host.starts_with('*'), self.host.len())
    }
}

/// A rule's host in its one spelling.
///
/// # Errors
/// `invalid_request` if it is no host, or a pattern that is wider than a registered name.
pub fn pattern(text: &str) -> Result<String> {
    let host = text.to_ascii_lowercase();
    let below = host.strip_prefix("*.");
    let name = below.unwrap_or(&host);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
    let is_name = name.len() <= 253 && name.split('.').all(label);
    let is_v6 = host.len() <= 41 && host.starts_with('[') && host.ends_with(']');
    // `*.com` is no rule but the lack of one.
    let wide = below.is_some_and(|name| !name.contains('.'));
    if (is_name && !wide) || (below.is_none() && is_v6) {
        return Ok(host);
    }
    Err(Fault::invalid("a rule's host is a name, an address, or `*.` with a name of two parts at least"))
}

/// Data of one region may be sent to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransferRule {
    /// The region that the data is labelled with.
    pub from: Name,
    /// The region of the destination.
    pub to: Name,
    /// What for, in the tenant's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

impl TransferRule {
    /// A rule.
    ///
    /// # Errors
    /// `invalid_request` for a purpose that is too long or holds control characters, and for a region and itself.
    pub fn new(from: Name, to: Name, purpose: Option<String>) -> Result<Self> {
        if from == to {
            return Err(Fault::invalid("within a region nothing needs a transfer rule"));
        }
        if purpose.as_ref().is_some_and(|text| text.len() > MAX_PURPOSE || text.chars().any(char::is_control)) {
            return Err(Fault::invalid(format!(
                "a purpose is at most {MAX_PURPOSE} bytes, without control characters"
            )));
        }
        Ok(Self { from, to, purpose })
    }
}
