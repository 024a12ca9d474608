//! From an endpoint to the addresses to try.
//!
//! An address in the endpoint is taken as it is. A name goes to the system's resolver, off the
//! thread ([`fiber::resolve`]), under the ambient deadline, while other fibers run. The resolver's
//! order is kept: it already prefers what the host can reach (RFC 6724).

use core::net::SocketAddr;
use std::io;

use crate::endpoint::Endpoint;

/// Most addresses of one name that are tried; the resolver's first ones.
pub const ADDRESSES_MAX: usize = 16;

/// Returns the addresses of `endpoint`, at least one; waits unless it holds one itself.
///
/// # Errors
/// Those of the resolver, [`NotFound`](io::ErrorKind::NotFound) if it knows the name but no
/// address, and the ambient deadline.
pub fn resolve(endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = endpoint.literal() {
        return Ok(vec![address]);
    }
    let found = distinct(fiber::resolve(endpoint.host(), endpoint.port())?);
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(found)
}

/// Drops repetitions, which some resolvers give once per socket type, and what is beyond the
/// bound.
fn distinct(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut kept: Vec<SocketAddr> = Vec::new();
    for address in found {
        if kept.len() == ADDRESSES_MAX {
            break;
        }
        if !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 1883).into()
    }

    #[test]
    fn repetitions_are_dropped_and_the_order_is_kept() {
        let found = [2, 1, 2, 3, 1].map(address).to_vec();
        assert_eq!(distinct(found), [2, 1, 3].map(address));
    }

    #[test]
    fn no_more_than_the_bound_are_kept() {
        let found: Vec<_> = (0..=u8::MAX).map(address).collect();
        assert_eq!(distinct(found.clone()), found[..ADDRESSES_MAX]);
    }

    #[test]
    fn a_literal_is_not_looked_up() {
        let endpoint: Endpoint = "mqtts://[::1]:7".parse().expect("a valid endpoint");
        let found = resolve(&endpoint).expect("no look-up to fail");
        assert_eq!(found, ["[::1]:7".parse().expect("a valid address")]);
    }
}
