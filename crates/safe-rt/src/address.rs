//! Addresses as text.
//!
//! What the standard library does for them is 5 KB of a small program, because it pads them as well. The text
//! is the same (RFC 5952).

use core::fmt::{self, Write as _};
use core::net::{Ipv6Addr, SocketAddr};

/// An address with its port.
#[derive(Clone, Copy)]
pub(crate) struct Shown(pub(crate) SocketAddr);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SocketAddr::V4(address) => show_ipv4(f, address.ip().octets())?,
            SocketAddr::V6(address) => {
                write!(f, "[{}", ShownIpv6(*address.ip()))?;
                if address.scope_id() != 0 {
                    write!(f, "%{}", address.scope_id())?;
                }
                f.write_char(']')?;
            }
        }
        write!(f, ":{}", self.0.port())
    }
}

/// An IPv6 address.
pub(crate) struct ShownIpv6(pub(crate) Ipv6Addr);

impl fmt::Display for ShownIpv6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mapped) = self.0.to_ipv4_mapped() {
            f.write_str("::ffff:")?;
            return show_ipv4(f, mapped.octets());
        }
        let segments = self.0.segments();
        let (start, behind) = longest_zeros(&segments);
        let mut at = 0;
        while at < segments.len() {
            if at == start && behind > 0 {
                f.write_str("::")?;
                at = behind;
                continue;
            }
            if at > 0 && at != behind {
                f.write_char(':')?;
            }
            write!(f, "{:x}", segments[at])?;
            at += 1;
        }
        Ok(())
    }
}

fn show_ipv4(f: &mut fmt::Formatter<'_>, [a, b, c, d]: [u8; 4]) -> fmt::Result {
    write!(f, "{a}.{b}.{c}.{d}")
}

/// Where the longest run of zeros begins, the first of several, and what is behind it; one zero alone is no
/// run, and without a run both are 0.
fn longest_zeros(segments: &[u16; 8]) -> (usize, usize) {
    let (mut longest, mut start) = ((0, 0), 0);
    for (at, &segment) in segments.iter().enumerate() {
        if segment != 0 {
            start = at + 1;
        } else if at - start > 0 && at + 1 - start > longest.1 - longest.0 {
            longest = (start, at + 1);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

    use super::{Shown, ShownIpv6};

    /// Each segment zero, short or long: all runs of zeros there can be, in all places.
    #[test]
    fn ipv6_addresses_are_shown_as_the_standard_library_shows_them() {
        for pattern in 0..3_u32.pow(8) {
            let segment = |at| [0, 0x1, 0xabcd][(pattern / 3_u32.pow(at) % 3) as usize];
            let address = Ipv6Addr::from([0, 1, 2, 3, 4, 5, 6, 7].map(segment));
            assert_eq!(ShownIpv6(address).to_string(), address.to_string());
        }
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(ShownIpv6(mapped).to_string(), "::ffff:192.0.2.1");
    }

    #[test]
    fn ports_and_scopes_are_shown_as_the_standard_library_shows_them() {
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 1883, 0, 3);
        for address in [
            SocketAddr::new(IpAddr::from([192, 0, 2, 255]), 1883),
            SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0),
            SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 65_535),
            scoped.into(),
        ] {
            assert_eq!(Shown(address).to_string(), address.to_string());
        }
    }
}
