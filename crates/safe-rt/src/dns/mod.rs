//! From a name to the addresses to try.
//!
//! An address in the endpoint is taken as it is. A name is looked up by the system's resolver, off the
//! thread ([`fiber::resolve`]), or by name servers that are asked directly, over sockets like any
//! others. Either way a look-up is a fiber of its own: who asks waits for it under the ambient
//! deadline, several who ask for the same name wait for the same one, and who stops waiting takes
//! nothing from the others.
//!
//! What was found is used again for a while ([`cache`]), unless no address of it worked: then the next
//! dial looks the name up anew. The last address that worked is remembered for when no look-up does
//! ([`memory`]).

mod cache;
mod error;
mod memory;
mod resolver;

#[cfg(feature = "dns")]
mod stub;
#[cfg(not(feature = "dns"))]
#[path = "no_stub.rs"]
mod stub;

use core::net::SocketAddr;
use std::io;

pub use self::cache::{
    ANSWER_LIFETIME_DEFAULT, ANSWER_LIFETIME_MAX, ANSWER_LIFETIME_MIN, NAMES_MAX,
    NEGATIVE_LIFETIME_MAX,
};
pub use self::error::DnsError;
pub use self::memory::{FAILED_WINDOW, LAST_GOOD_MAX};
pub(crate) use self::resolver::{Came, Candidates};
pub use self::resolver::{LOOK_UP_TIMEOUT_DEFAULT, LOOK_UPS_MAX, Resolver};
#[cfg(feature = "dns")]
pub use self::stub::{
    ALIASES_MAX, ASK_ROUNDS_MAX, ASK_TIMEOUT_DEFAULT, OTHER_FAMILY_GRACE, RECORDS_MAX,
    RESPONSE_BYTES_MAX, SERVERS_MAX, ServersError, UDP_RESPONSE_BYTES_MAX,
};

use crate::endpoint::Endpoint;

/// Most addresses of one name that are tried; the resolver's first ones.
pub const ADDRESSES_MAX: usize = 16;

/// Returns the addresses of `endpoint`, at least one; waits unless it holds one itself.
///
/// The system's resolver is asked each time; a [`Resolver`] remembers.
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
        return Err(DnsError::NoAddress.into());
    }
    Ok(found)
}

/// Drops repetitions, which some resolvers give once per socket type, and what is beyond the
/// bound.
fn distinct(found: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
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
        let found = [2, 1, 2, 3, 1].map(address);
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
