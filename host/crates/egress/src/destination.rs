//! Where a request goes: scheme, host and port, in one spelling.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use aimass_core::outgoing::OutgoingError;
use http::Uri;

/// A host: an address, or a name that a resolver can only read as a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address.
    Address(IpAddr),
    /// A DNS name in lower case, without a dot at its end.
    Name(String),
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl Destination {
    /// The destination of an absolute `http` or `https` URI.
    ///
    /// # Errors
    /// `InvalidDestination` for every other one: with a user, with a port that is none, or with a host that is
    /// spelled as a number.
    ///
    /// ```
    /// use aimass_egress::Destination;
    /// assert_eq!(Destination::of(&"https://API.example.com./v1".parse()?)?.to_string(), "api.example.com:443");
    /// for odd in ["http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://me@example.com/"] {
    ///     assert!(Destination::of(&odd.parse()?).is_err(), "{odd}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(uri: &Uri) -> Result<Self, OutgoingError> {
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(OutgoingError::InvalidDestination("only http:// and https:// are sent")),
        };
        let none = || OutgoingError::InvalidDestination("the URL names no host");
        let authority = uri.authority().ok_or_else(none)?;
        if authority.as_str().contains('@') {
            return Err(OutgoingError::InvalidDestination("a URL with a user in it"));
        }
        let host = authority.host();
        let behind = authority.as_str().strip_prefix(host).ok_or_else(none)?;
        let port = match behind.strip_prefix(':') {
            Some(digits) => port(digits).ok_or(OutgoingError::InvalidDestination("the port is 1 to 65535"))?,
            None if behind.is_empty() => {
                if tls {
                    443
                } else {
                    80
                }
            }
            None => return Err(none()),
        };
        Ok(Self { tls, host: host.parse().map_err(OutgoingError::InvalidDestination)?, port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn port(digits: &str) -> Option<u16> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().filter(|&port| port != 0)
}

impl FromStr for Host {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(inner) = text.strip_prefix('[') {
            let v6 = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return v6.map(|v6| Self::Address(v6.into())).ok_or("the IPv6 address is none");
        }
        // Four decimal numbers without leading zeros, and nothing else.
        if let Ok(v4) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(v4.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
        if name.len() > 253 || !name.split('.').all(label) {
            return Err("the host is no DNS name (a name in another script is written as xn--…)");
        }
        // What ends in a number is an address to `inet_aton` and to browsers (WHATWG URL, "ends in a number").
        let last = name.rsplit('.').next().unwrap_or_default();
        let decimal = last.bytes().all(|b| b.is_ascii_digit());
        let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
        if decimal || hexadecimal {
            return Err("the host is an address in a spelling that is not taken: write four decimal numbers");
        }
        Ok(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            Self::Address(IpAddr::V4(v4)) => v4.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// An internal destination that the operator lets in: `HOST:PORT`, a name or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PrivateDestination {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl FromStr for PrivateDestination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, digits) = text.rsplit_once(':').ok_or_else(|| format!("`{text}` is not HOST:PORT"))?;
        let port = port(digits).ok_or_else(|| format!("`{text}`: the port is 1 to 65535"))?;
        Ok(Self { host: host.parse().map_err(|why| format!("`{text}`: {why}"))?, port })
    }
}

impl fmt::Display for PrivateDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
