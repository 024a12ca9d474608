//! What dials found out about the addresses of an endpoint. Pure: the time is given.

use core::net::SocketAddr;
use core::time::Duration;

use fiber::Instant;

use super::ADDRESSES_MAX;

/// Endpoints whose last good address is remembered.
pub const LAST_GOOD_MAX: usize = 64;
/// How long an address that failed is tried after those that did not.
pub const FAILED_WINDOW: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Known {
    host: Box<str>,
    port: u16,
    good: Option<SocketAddr>,
    /// Addresses that failed, and when.
    failed: Vec<(SocketAddr, Instant)>,
    /// The memory's count of dials when there was one last.
    used: u64,
}

/// Endpoints, and what is known of their addresses.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Each once, in no order: there are few, and a map would be five kilobytes of code.
    endpoints: Vec<Known>,
    dials: u64,
}

impl Memory {
    /// Returns the address that the last dial that succeeded used.
    pub(super) fn good(&self, host: &str, port: u16) -> Option<SocketAddr> {
        self.endpoints[self.find(host, port)?].good
    }

    fn find(&self, host: &str, port: u16) -> Option<usize> {
        let is_it = |known: &Known| *known.host == *host && known.port == port;
        self.endpoints.iter().position(is_it)
    }

    /// Puts the addresses that failed lately behind the others, whose order stays; the one whose failure
    /// is oldest is the first of them, so that each has its turn though a dial has no time for all.
    pub(super) fn order(&self, host: &str, port: u16, found: &mut [SocketAddr], now: Instant) {
        let Some(at) = self.find(host, port) else {
            return;
        };
        let known = &self.endpoints[at];
        let failed_at = |address: &SocketAddr| {
            let mut failed = known.failed.iter();
            let lately = failed.find(|&&(of, at)| of == *address && now < at + FAILED_WINDOW);
            lately.map(|&(_, at)| at)
        };
        // A handful: a sort of the standard library would be four kilobytes of code.
        for end in 1..found.len() {
            let mut at = end;
            while at > 0 && failed_at(&found[at - 1]) > failed_at(&found[at]) {
                found.swap(at - 1, at);
                at -= 1;
            }
        }
    }

    /// Notes how a dial went: which addresses failed, and which one succeeded.
    pub(super) fn note(
        &mut self,
        host: &str,
        port: u16,
        failed: &[SocketAddr],
        good: Option<SocketAddr>,
        now: Instant,
    ) {
        let at = self.find(host, port);
        if at.is_none() && self.endpoints.len() >= LAST_GOOD_MAX {
            self.make_room();
        }
        self.dials += 1;
        let at = at.unwrap_or_else(|| {
            self.endpoints.push(Known {
                host: host.into(),
                port,
                good: None,
                failed: Vec::new(),
                used: 0,
            });
            self.endpoints.len() - 1
        });
        let known = &mut self.endpoints[at];
        known.used = self.dials;
        known.good = good.or(known.good);
        known.failed.retain(|&(address, at)| {
            let is_over = now >= at + FAILED_WINDOW;
            !is_over && Some(address) != good && !failed.contains(&address)
        });
        let failed = failed.iter().map(|&address| (address, now));
        known.failed.extend(failed);
        let too_many = known.failed.len().saturating_sub(ADDRESSES_MAX);
        known.failed.drain(..too_many);
    }

    /// Forgets the endpoint that was not dialled for longest.
    fn make_room(&mut self) {
        let used = |at: &usize| self.endpoints[*at].used;
        if let Some(oldest) = (0..self.endpoints.len()).min_by_key(used) {
            self.endpoints.swap_remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 1883).into()
    }

    fn ordered<const N: usize>(memory: &Memory, found: [u8; N], now: Instant) -> [u8; N] {
        let mut found = found.map(address);
        memory.order("broker", 1883, &mut found, now);
        found.map(|address| match address {
            SocketAddr::V4(address) => address.ip().octets()[3],
            SocketAddr::V6(_) => unreachable!("none was given"),
        })
    }

    #[test]
    fn the_last_good_address_outlives_failures_and_belongs_to_its_endpoint() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        assert_eq!(memory.good("broker", 1883), None);
        memory.note("broker", 1883, &[], Some(address(1)), now);
        memory.note("broker", 1883, &[address(1), address(2)], None, now);
        assert_eq!(memory.good("broker", 1883), Some(address(1)));
        memory.note("broker", 1883, &[address(1)], Some(address(2)), now);
        assert_eq!(memory.good("broker", 1883), Some(address(2)));
        assert_eq!(memory.good("broker", 8883), None);
        assert_eq!(memory.good("other", 1883), None);
    }

    #[test]
    fn what_failed_lately_goes_last_and_the_order_of_the_others_stays() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        assert_eq!(ordered(&memory, [3, 1, 2], now), [3, 1, 2]);
        memory.note("broker", 1883, &[address(3)], Some(address(2)), now);
        // The good one is not preferred: which one of several is first is the resolver's choice.
        assert_eq!(ordered(&memory, [3, 1, 2], now), [1, 2, 3]);
        let later = now + FAILED_WINDOW;
        assert_eq!(ordered(&memory, [3, 1, 2], later), [3, 1, 2]);
        memory.note("broker", 1883, &[address(1)], None, now);
        assert_eq!(ordered(&memory, [3, 1, 2], now), [2, 3, 1]);
        memory.note("broker", 1883, &[], Some(address(3)), now);
        assert_eq!(ordered(&memory, [3, 1, 2], now), [3, 2, 1]);
    }

    #[test]
    fn of_those_that_failed_the_one_whose_failure_is_oldest_goes_first() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.note("broker", 1883, &[address(1), address(2)], None, now);
        let later = now + Duration::from_secs(30);
        memory.note("broker", 1883, &[address(3)], None, later);
        assert_eq!(ordered(&memory, [3, 1, 2], later), [1, 2, 3]);
        memory.note("broker", 1883, &[address(1)], None, later);
        assert_eq!(ordered(&memory, [3, 1, 2], later), [2, 3, 1]);
    }

    #[test]
    fn no_more_than_the_bounds_are_remembered() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        for n in 0..100 {
            memory.note("broker", 1883, &[address(n)], None, now);
        }
        let known = &memory.endpoints[memory.find("broker", 1883).unwrap()];
        assert_eq!(known.failed.len(), ADDRESSES_MAX);
        assert_eq!(known.failed.last(), Some(&(address(99), now)));
        memory.note("broker", 1883, &[], Some(address(1)), now);
        for n in 1..LAST_GOOD_MAX {
            memory.note(&format!("host-{n}"), 1883, &[], Some(address(2)), now);
        }
        memory.note("broker", 1883, &[], None, now);
        memory.note("one-more", 1883, &[], Some(address(3)), now);
        assert_eq!(memory.endpoints.len(), LAST_GOOD_MAX);
        assert_eq!(memory.good("host-1", 1883), None, "the oldest");
        assert_eq!(memory.good("broker", 1883), Some(address(1)));
    }
}
