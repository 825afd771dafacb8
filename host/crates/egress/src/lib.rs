//! Outgoing connections: a name is resolved once, every address is checked, and the checked one is connected to.
//!
//! What a server fetches on somebody else's word reaches everything that the server reaches: services of the same
//! machine, the company's network, a cloud's metadata. So nothing is sent to an address that is not public, however
//! the host is spelled and whatever the name stands for a moment later; redirects are answers, never followed. Only
//! the operator lets named internal destinations in ([`EgressConfig::private`]).
//!
//! ```
//! use aimass_core::outgoing::OutgoingError;
//! use aimass_egress::{Connector, EgressConfig};
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let connector = Connector::new(EgressConfig::default())?;
//! for url in ["http://169.254.169.254/latest/meta-data", "http://[::ffff:127.0.0.1]/", "http://localhost:1/"] {
//!     let refused = connector.get(url, 64 << 10, Duration::from_secs(1)).await.err();
//!     assert!(matches!(refused, Some(OutgoingError::ForbiddenAddress { .. })), "{url}: {refused:?}");
//! }
//! # Ok(())
//! # }
//! ```

mod address;
mod body;
mod connector;
mod destination;
mod resolve;
#[cfg(test)]
mod tests;
mod tls;

pub use address::{Forbidden, forbidden};
pub use connector::{Connector, EgressConfig};
pub use destination::{Destination, Host, PrivateDestination};
pub use resolve::{Resolve, System};
