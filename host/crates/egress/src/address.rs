//! Which addresses are public. What is not is forbidden.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// What kind of address it is.
    pub why: &'static str,
    /// It is one that a company's own services have, so the operator may let a destination there in by name. The
    /// others (link-local, where clouds keep their metadata; multicast; reserved ones) only by the address itself.
    pub internal: bool,
}

const fn internal(why: &'static str) -> Forbidden {
    Forbidden { why, internal: true }
}

const fn never(why: &'static str) -> Forbidden {
    Forbidden { why, internal: false }
}

/// Networks that are not public, as the IANA's special-purpose registry has them (RFC 6890 and its updates), and the
/// one public address that belongs to a cloud's inside.
const V4: &[([u8; 4], u32, Forbidden)] = &[
    ([0, 0, 0, 0], 8, never("an unspecified address")),
    ([10, 0, 0, 0], 8, internal("a private address")),
    ([100, 64, 0, 0], 10, internal("a shared address (carrier NAT)")),
    ([127, 0, 0, 0], 8, internal("a loopback address")),
    // Also the metadata of AWS, Azure, Google Cloud, DigitalOcean, OpenStack and others.
    ([169, 254, 0, 0], 16, never("a link-local address")),
    ([172, 16, 0, 0], 12, internal("a private address")),
    // Also the metadata of Oracle's cloud.
    ([192, 0, 0, 0], 24, never("an address of a protocol")),
    ([192, 0, 2, 0], 24, never("an address for documentation")),
    ([192, 88, 99, 0], 24, never("an address of a relay")),
    ([192, 168, 0, 0], 16, internal("a private address")),
    ([198, 18, 0, 0], 15, never("an address for benchmarks")),
    ([198, 51, 100, 0], 24, never("an address for documentation")),
    ([203, 0, 113, 0], 24, never("an address for documentation")),
    // Azure's machine agent and name server.
    ([168, 63, 129, 16], 32, never("an address of a cloud's inside")),
    ([224, 0, 0, 0], 4, never("a multicast address")),
    ([240, 0, 0, 0], 4, never("a reserved address")),
];

/// Networks inside of 2000::/3 that are not public.
const V6: &[(Ipv6Addr, u32, Forbidden)] = &[
    // Teredo, benchmarks, ORCHID and what else protocols have.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, never("an address of a protocol")),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, never("an address for documentation")),
    // Holds an IPv4 address that a relay would go to.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, never("a 6to4 address")),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, never("an address for documentation")),
];

/// Why nothing is sent to `address`; none if it is public.
///
/// ```
/// use aimass_egress::forbidden;
/// assert!(forbidden("93.184.215.14".parse()?).is_none());
/// assert_eq!(forbidden("::ffff:127.0.0.1".parse()?), forbidden("127.0.0.1".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn forbidden(address: IpAddr) -> Option<Forbidden> {
    match address {
        IpAddr::V4(v4) => of_v4(v4),
        IpAddr::V6(v6) => of_v6(v6),
    }
}

fn of_v4(address: Ipv4Addr) -> Option<Forbidden> {
    let bits = address.to_bits();
    let within = |net: &[u8; 4], prefix: u32| (bits ^ u32::from_be_bytes(*net)).leading_zeros() >= prefix;
    V4.iter().find(|(net, prefix, _)| within(net, *prefix)).map(|(_, _, why)| *why)
}

fn of_v6(address: Ipv6Addr) -> Option<Forbidden> {
    // An IPv4 address in another form (RFC 4291 2.5.5.2, RFC 6052 2.1) goes where that one goes.
    if let Some(v4) = address.to_ipv4_mapped() {
        return of_v4(v4);
    }
    let segments = address.segments();
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return of_v4(Ipv4Addr::from_bits(u32::from(segments[6]) << 16 | u32::from(segments[7])));
    }
    if segments[0] & 0xe000 != 0x2000 {
        return Some(match segments {
            [0, 0, 0, 0, 0, 0, 0, 0] => never("an unspecified address"),
            [0, 0, 0, 0, 0, 0, 0, 1] => internal("a loopback address"),
            [0, 0, 0, 0, 0, 0, ..] => never("an IPv4-compatible address"),
            // Also the metadata of AWS, which the operator can only name by its address.
            [0xfd00, 0xec2, ..] => never("an address of a cloud's inside"),
            [first, ..] if first & 0xfe00 == 0xfc00 => internal("a unique local address"),
            [first, ..] if first & 0xff80 == 0xfe80 => never("a link-local or site-local address"),
            [first, ..] if first & 0xff00 == 0xff00 => never("a multicast address"),
            _ => never("no global unicast address"),
        });
    }
    let bits = address.to_bits();
    let within = |net: &Ipv6Addr, prefix: u32| (bits ^ net.to_bits()).leading_zeros() >= prefix;
    V6.iter().find(|(net, prefix, _)| within(net, *prefix)).map(|(_, _, why)| *why)
}
