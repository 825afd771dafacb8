//! From a name to its addresses.

use std::io;
use std::net::IpAddr;

use async_trait::async_trait;

/// Finds the addresses of a name. There are two: the system's, and the tests' that change their mind.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses of `name` (lower case, no address itself).
    ///
    /// # Errors
    /// If the name cannot be looked up.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver: `/etc/hosts`, then DNS, as this machine is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

#[async_trait]
impl Resolve for System {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        // The port is only there because the interface wants one.
        let found = tokio::net::lookup_host((name, 443)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}
