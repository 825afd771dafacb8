//! How many connections an address may have, and open.
//!
//! An address is what the kernel says. A proxy's `X-Forwarded-For` is not read: who may write it is not known here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Addresses without a connection are forgotten when so many are known.
const SWEEP: usize = 4_096;

/// Who has how many connections.
pub(crate) struct Addresses {
    open: Option<NonZeroU32>,
    per_second: Option<NonZeroU32>,
    known: Mutex<HashMap<IpAddr, Entry>>,
}

struct Entry {
    open: u32,
    /// Connections that may be opened at once: a bucket of a second's worth that fills at the rate.
    allowance: f64,
    at: Instant,
}

/// A connection that is counted; dropping it counts it off.
pub(crate) struct Counted {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

/// Which limit an address is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Open,
    Rate,
}

impl Addresses {
    /// Nothing is limited where there is no number.
    pub(crate) fn new(open: Option<NonZeroU32>, per_second: Option<NonZeroU32>) -> Arc<Self> {
        Arc::new(Self { open, per_second, known: Mutex::default() })
    }

    /// Counts a connection, unless its address is over a limit.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Counted, Over> {
        let address = owner(address);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = self.per_second.map_or(f64::INFINITY, |rate| f64::from(rate.get()));
        if known.len() >= SWEEP && !known.contains_key(&address) {
            // Whoever is forgotten comes back with a full bucket, so it must be full again.
            known.retain(|_, entry| entry.open > 0 || now.duration_since(entry.at).as_secs() < 1);
        }
        let entry = known.entry(address).or_insert(Entry { open: 0, allowance: rate, at: now });
        if self.open.is_some_and(|limit| entry.open >= limit.get()) {
            return Err(Over::Open);
        }
        if rate.is_finite() {
            let passed = now.saturating_duration_since(entry.at).as_secs_f64();
            entry.allowance = (entry.allowance + passed * rate).min(rate);
            entry.at = now;
            if entry.allowance < 1.0 {
                return Err(Over::Rate);
            }
            entry.allowance -= 1.0;
        }
        entry.open += 1;
        Ok(Counted { addresses: self.clone(), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut known = self.addresses.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = known.get_mut(&self.address) else { return };
        entry.open = entry.open.saturating_sub(1);
        // Without a rate there is nothing to remember of an address that has left.
        if entry.open == 0 && self.addresses.per_second.is_none() {
            known.remove(&self.address);
        }
    }
}

/// The one who holds an address: with IPv6 a customer is given at least a /64 (RFC 6177), and could use all of it.
fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_at_once_are_counted_on_and_off() {
        let addresses = Addresses::new(NonZeroU32::new(2), None);
        let now = Instant::now();
        let first = addresses.enter(ip("10.0.0.1"), now).ok().unwrap();
        let _second = addresses.enter(ip("::ffff:10.0.0.1"), now).ok().unwrap();
        assert_eq!(addresses.enter(ip("10.0.0.1"), now).err(), Some(Over::Open));
        assert!(addresses.enter(ip("10.0.0.2"), now).is_ok());
        drop(first);
        assert!(addresses.enter(ip("10.0.0.1"), now).is_ok());
        assert_eq!(addresses.known.lock().unwrap().len(), 1, "an address without a connection is remembered");
    }

    #[test]
    fn a_second_brings_a_seconds_worth() {
        let addresses = Addresses::new(None, NonZeroU32::new(5));
        let start = Instant::now();
        let opened = |at| (0..20).filter(|_| addresses.enter(ip("10.0.0.1"), at).is_ok()).count();
        assert_eq!(opened(start), 5);
        assert_eq!(opened(start + Duration::from_millis(400)), 2);
        assert_eq!(opened(start + Duration::from_secs(60)), 5);
    }

    #[test]
    fn a_whole_subnet_of_ipv6_is_one_address() {
        let addresses = Addresses::new(NonZeroU32::new(1), None);
        let _held = addresses.enter(ip("2001:db8:1:2::1"), Instant::now()).ok().unwrap();
        assert!(addresses.enter(ip("2001:db8:1:2:ffff::9"), Instant::now()).is_err());
        assert!(addresses.enter(ip("2001:db8:1:3::1"), Instant::now()).is_ok());
    }

    #[test]
    fn many_addresses_are_forgotten() {
        let addresses = Addresses::new(None, NonZeroU32::new(5));
        let start = Instant::now();
        for n in 0..3 * SWEEP as u32 {
            let at = start + Duration::from_millis(u64::from(n));
            drop(addresses.enter(IpAddr::V4((n + 1).into()), at));
        }
        assert!(addresses.known.lock().unwrap().len() <= SWEEP);
    }
}
