//! Who asks, who waits for the answer, and what is tried when there is none.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use fiber::{Event, FiberBuilder, Instant, Stopped};

use super::cache::{ANSWER_LIFETIME_DEFAULT, Cache, Found, Outcome};
use super::distinct;
use super::error::DnsError;
use super::memory::Memory;
use super::stub::Stub;
use crate::endpoint::Endpoint;
use crate::stats;

/// How long a look-up may go on, whoever waits for it.
pub const LOOK_UP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Names that a resolver looks up at once.
pub const LOOK_UPS_MAX: usize = 32;
/// A dial waits for a look-up for this part of its time, a half, where nothing else can be tried.
const LOOK_UP_SHARE: u32 = 2;
/// The same where the last good address can be tried: a third.
const LOOK_UP_SHARE_WITH_LAST_GOOD: u32 = 3;

/// Looks names up for dials, and remembers what it found and which address worked.
///
/// Clones share what is remembered, and so do the clones of the [`DialOptions`](crate::DialOptions)
/// that hold one. It belongs to the runtime that uses it first, as sockets do.
///
/// - An answer is used for [`ANSWER_LIFETIME_DEFAULT`] if it is the system's, which does not tell for
///   how long it may be; one of a name server for as long as that says, but at least
///   [`ANSWER_LIFETIME_MIN`](crate::ANSWER_LIFETIME_MIN) and at most
///   [`ANSWER_LIFETIME_MAX`](crate::ANSWER_LIFETIME_MAX). Time while the device was suspended counts.
/// - A dial of which no address worked makes the name be looked up anew for the next one.
/// - Addresses are tried in the order in which they were found, except that those that failed in the
///   last ten minutes come last. The last good one is not preferred, so that a broker of several
///   machines may spread its clients by the order of its answers.
/// - What fails behind a proxy that answered does not count against the proxy's address.
/// - When a look-up fails, or takes more than its share of the dial's time, the address to which the
///   last dial succeeded is tried instead, and what the look-up finds in the meantime after it. Over TLS,
///   where the peer shows who it is, that address is also tried when no address of an answer worked, which
///   may be a lie. That is logged as a warning, counted in
///   [`Stats::dials_last_good`](crate::Stats::dials_last_good), and, if the dial fails as well, told by
///   [`Error::look_up_error`](crate::Error::look_up_error). It has no age: a device whose name service
///   stays away keeps its connection.
///
/// # Examples
/// ```
/// use safe_rt::{DialOptions, Endpoint, Resolver};
///
/// let endpoint: Endpoint = "mqtt://localhost:1".parse()?;
/// fiber::run(move || {
///     let resolver = Resolver::new();
///     let found = resolver.look_up(&endpoint).expect("localhost has an address");
///     assert!(found.iter().all(|address| address.ip().is_loopback()));
///     let options = DialOptions::new().resolver(resolver);
///     safe_rt::dial(&endpoint, &options).expect_err("nobody listens on port 1");
/// })
/// .expect("the runtime ran");
/// # Ok::<(), safe_rt::EndpointError>(())
/// ```
#[derive(Clone, Default)]
pub struct Resolver(Rc<Shared>);

#[derive(Default)]
struct Shared {
    /// Name servers to ask; else the system's resolver is.
    servers: Option<Stub>,
    cache: RefCell<Cache>,
    memory: RefCell<Memory>,
    under_way: RefCell<Vec<Rc<LookUp>>>,
}

/// A look-up that a fiber is at.
struct LookUp {
    name: Box<str>,
    began: Instant,
    /// Set when what it finds is no longer to be remembered, nor joined: it began before that.
    is_stale: Cell<bool>,
    ended: Event,
    outcome: RefCell<Option<Outcome>>,
}

/// What a dial is to try.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// At least one.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The last good address, which is among them, if no look-up gave it.
    pub(crate) last_good: Option<SocketAddr>,
    /// Why it is the only one, if it is.
    pub(crate) look_up_error: Option<io::Error>,
}

impl Candidates {
    /// The only address there is.
    pub(crate) fn only(address: SocketAddr) -> Self {
        Self {
            addresses: vec![address],
            last_good: None,
            look_up_error: None,
        }
    }
}

/// What came of the addresses of a dial.
#[derive(Debug, Default)]
pub(crate) struct Came {
    /// Those that failed.
    pub(crate) failed: Vec<SocketAddr>,
    /// The one to which it succeeded.
    pub(crate) good: Option<SocketAddr>,
    /// Those where a proxy answered, and what failed lies behind it.
    pub(crate) answered: Vec<SocketAddr>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("servers", &self.0.servers)
            .finish_non_exhaustive()
    }
}

impl Resolver {
    /// Starts with the system's resolver and nothing remembered.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[cfg(feature = "dns")]
    pub(super) fn with_servers(servers: Stub) -> Self {
        Self(Rc::new(Shared {
            servers: Some(servers),
            ..Shared::default()
        }))
    }

    /// Returns the addresses of `endpoint`, at least one. Yields until they are found, unless they are
    /// remembered or the endpoint is an address itself.
    ///
    /// # Errors
    /// A [`DnsError`] as the payload, [`NotFound`](io::ErrorKind::NotFound) where it is an answer, or
    /// for a Unix socket, which has no address; or
    /// the wait ended early, see [`fiber::cause`]. A look-up that nobody waits for goes on, for
    /// [`LOOK_UP_TIMEOUT_DEFAULT`] at most, and what it finds is remembered.
    pub fn look_up(&self, endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
        match endpoint.literal() {
            Some(address) => Ok(vec![address]),
            None if endpoint.host().is_empty() => Err(DnsError::NoAddress.into()),
            None => self.addresses(endpoint.host(), endpoint.port()),
        }
    }

    /// Forgets what look-ups found, as a program may want when the network is another one. One that is
    /// under way goes on for those who wait for it, but what it finds is not remembered. The last good
    /// addresses stay. Does not yield.
    pub fn clear(&self) {
        self.0.cache.borrow_mut().clear();
        for look_up in &*self.0.under_way.borrow() {
            look_up.is_stale.set(true);
        }
    }

    /// Returns what a dial is to try, having waited for no more than its share of the time. Where the
    /// peer shows who it is, an answer need not be believed: the last good address comes behind it.
    pub(crate) fn candidates(
        &self,
        host: &str,
        port: u16,
        is_authentic: bool,
    ) -> io::Result<Candidates> {
        let good = self.0.memory.borrow().good(host, port);
        let parts = match good {
            Some(_) => LOOK_UP_SHARE_WITH_LAST_GOOD,
            None => LOOK_UP_SHARE,
        };
        let looked_up = match fiber::ambient_deadline() {
            Some(deadline) => {
                let share = (deadline - Instant::now()) / parts;
                fiber::timeout(share, || self.addresses(host, port))
            }
            None => Ok(self.addresses(host, port)),
        };
        let error = match looked_up {
            Ok(Ok(mut addresses)) | Err(fiber::Elapsed(Ok(mut addresses))) => {
                let memory = self.0.memory.borrow();
                memory.order(host, port, &mut addresses, Instant::now());
                let last_good = good.filter(|good| is_authentic && !addresses.contains(good));
                addresses.extend(last_good);
                return Ok(Candidates {
                    addresses,
                    last_good,
                    look_up_error: None,
                });
            }
            // Not its share, but a scope around the dial is over: nothing else helps.
            Ok(Err(error)) if fiber::cause(&error).is_some() => return Err(error),
            Ok(Err(error)) | Err(fiber::Elapsed(Err(error))) => error,
        };
        let Some(good) = good else { return Err(error) };
        Ok(Candidates {
            addresses: vec![good],
            last_good: Some(good),
            look_up_error: Some(error),
        })
    }

    /// Returns what is found in the end by the look-up that a dial did not wait for, but for what that
    /// dial tried since. Begins none.
    pub(crate) fn found_since(&self, host: &str, port: u16, came: &Came) -> io::Result<Candidates> {
        let name = key(host);
        let is_known = self
            .0
            .cache
            .borrow_mut()
            .get(&name, Instant::now())
            .is_some();
        if !is_known && self.0.under_way(&name).is_none() {
            return Err(DnsError::NoAnswer.into());
        }
        let mut addresses = self.addresses(host, port)?;
        let tried =
            |address: &SocketAddr| came.failed.contains(address) || came.answered.contains(address);
        addresses.retain(|address| !tried(address));
        if addresses.is_empty() {
            return Err(DnsError::NoAddress.into());
        }
        Ok(Candidates {
            addresses,
            last_good: None,
            look_up_error: None,
        })
    }

    /// Notes that the last good address is tried, which no look-up gave.
    pub(crate) fn note_last_good(host: &str, good: SocketAddr, error: Option<&io::Error>) {
        match error {
            Some(error) => log::warn!(
                "the name {host} cannot be looked up ({error}): trying {good}, the last good address"
            ),
            None => log::warn!(
                "no address that was found of the name {host} works: trying {good}, the last good \
                 address"
            ),
        }
        stats::count(|counters| &counters.dials_last_good);
    }

    /// Notes how a dial went. When no address that a look-up found worked, the next dial looks the name
    /// up anew; an answer that came too late to be tried is kept for it.
    pub(crate) fn note(&self, host: &str, port: u16, came: &Came, was_looked_up: bool) {
        let mut cache = self.0.cache.borrow_mut();
        if came.good.is_none() && came.answered.is_empty() && was_looked_up {
            cache.forget(&key(host));
        } else {
            cache.forget_failed(&key(host), &came.failed);
        }
        drop(cache);
        let mut memory = self.0.memory.borrow_mut();
        memory.note(host, port, &came.failed, came.good, Instant::now());
    }

    fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut found = self.look_up_name(&key(host))?;
        for address in &mut found {
            address.set_port(port);
        }
        Ok(found)
    }

    fn look_up_name(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let known = self.0.cache.borrow_mut().get(name, Instant::now());
        if let Some(outcome) = known {
            stats::count(|counters| &counters.look_ups_remembered);
            return Ok(outcome?);
        }
        let look_up = self.join_or_begin(name)?;
        look_up.ended.wait()?;
        let outcome = look_up.outcome.borrow().clone();
        Ok(outcome.expect("a look-up that ended has an outcome")?)
    }

    /// Returns the look-up of this name that is under way, or begins one.
    fn join_or_begin(&self, name: &str) -> Result<Rc<LookUp>, DnsError> {
        let now = Instant::now();
        let mut under_way = self.0.under_way.borrow_mut();
        // One that is not over by now never will be: its runtime ended.
        under_way.retain(|look_up| now < look_up.began + LOOK_UP_TIMEOUT_DEFAULT * 2);
        let count = under_way.len();
        drop(under_way);
        if let Some(look_up) = self.0.under_way(name) {
            stats::count(|counters| &counters.look_ups_joined);
            return Ok(look_up);
        }
        if count >= LOOK_UPS_MAX {
            return Err(DnsError::TooMany);
        }
        let look_up = self.0.begin(name, now);
        let ending = Ending {
            shared: Rc::clone(&self.0),
            look_up: Rc::clone(&look_up),
        };
        let begun = FiberBuilder::new().name("look-up").spawn(move || {
            ending
                .shared
                .run(&ending.look_up, |name| ending.shared.ask(name))
        });
        begun.map_err(|error| DnsError::System(Arc::new(io::Error::other(error))))?;
        stats::count(|counters| &counters.look_ups);
        Ok(look_up)
    }
}

/// Ends a look-up when its fiber does, however that comes about.
struct Ending {
    shared: Rc<Shared>,
    look_up: Rc<LookUp>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.look_up.outcome.borrow_mut().get_or_insert_with(|| {
            let ended = io::Error::other("the look-up was ended");
            Err(DnsError::System(Arc::new(ended)))
        });
        let is_other = |at: &Rc<LookUp>| !Rc::ptr_eq(at, &self.look_up);
        self.shared.under_way.borrow_mut().retain(is_other);
        self.look_up.ended.set();
    }
}

impl Shared {
    /// Returns the look-up of this name that may be joined.
    fn under_way(&self, name: &str) -> Option<Rc<LookUp>> {
        let under_way = self.under_way.borrow();
        let joinable = |at: &&Rc<LookUp>| *at.name == *name && !at.is_stale.get();
        under_way.iter().find(joinable).cloned()
    }

    fn begin(&self, name: &str, now: Instant) -> Rc<LookUp> {
        let look_up = Rc::new(LookUp {
            name: name.into(),
            began: now,
            is_stale: Cell::new(false),
            ended: Event::new(),
            outcome: RefCell::new(None),
        });
        self.under_way.borrow_mut().push(Rc::clone(&look_up));
        look_up
    }

    /// What the fiber of a look-up does.
    fn run(&self, look_up: &LookUp, ask: impl FnOnce(&str) -> Result<Found, DnsError>) {
        let name = &look_up.name;
        let asked = fiber::timeout(LOOK_UP_TIMEOUT_DEFAULT, || ask(name));
        let ended = asked.unwrap_or_else(|fiber::Elapsed(late)| late);
        if let Err(error) = &ended {
            log::debug!("the name {name} is not found: {error}");
            stats::count(|counters| &counters.look_ups_failed);
        }
        if !look_up.is_stale.get() {
            self.cache.borrow_mut().put(name, &ended, Instant::now());
        }
        *look_up.outcome.borrow_mut() = Some(ended.map(|found| found.addresses));
    }

    fn ask(&self, name: &str) -> Result<Found, DnsError> {
        if let Some(servers) = &self.servers {
            return servers.ask(name);
        }
        let addresses = match fiber::resolve(name, 0) {
            Ok(addresses) => distinct(addresses),
            // The stop is this fiber's, and not one of those who wait.
            Err(error) if fiber::cause(&error) == Some(Stopped::TimedOut) => {
                return Err(DnsError::NoAnswer);
            }
            Err(error) if fiber::cause(&error).is_some() => {
                let ended = io::Error::other("the look-up was ended");
                return Err(DnsError::System(Arc::new(ended)));
            }
            Err(error) => return Err(DnsError::System(Arc::new(error))),
        };
        if addresses.is_empty() {
            return Err(DnsError::NoAddress);
        }
        Ok(Found {
            addresses,
            lifetime: ANSWER_LIFETIME_DEFAULT,
        })
    }
}

/// A name as it is remembered: case does not matter (RFC 4343).
fn key(host: &str) -> String {
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
