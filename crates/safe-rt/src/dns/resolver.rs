//! Who asks, who waits for the answer, and what is tried when there is none.

use core::cell::RefCell;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
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
/// - When a look-up fails, or takes more than its share of the dial's time, the address to which the
///   last dial succeeded is tried instead. That is logged as a warning, counted in
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
    under_way: RefCell<BTreeMap<Box<str>, Rc<LookUp>>>,
}

/// A look-up that a fiber is at.
struct LookUp {
    began: Instant,
    ended: Event,
    outcome: RefCell<Option<Outcome>>,
}

/// What a dial is to try.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// At least one.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Why it is the last good address, if it is.
    pub(crate) look_up_error: Option<io::Error>,
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

    /// Forgets what look-ups found, as a program may want when the network is another one. The last
    /// good addresses stay. Does not yield.
    pub fn clear(&self) {
        self.0.cache.borrow_mut().clear();
    }

    /// Returns what a dial is to try, having waited for no more than its share of the time.
    pub(crate) fn candidates(&self, host: &str, port: u16) -> io::Result<Candidates> {
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
                return Ok(Candidates {
                    addresses,
                    look_up_error: None,
                });
            }
            // Not its share, but a scope around the dial is over: nothing else helps.
            Ok(Err(error)) if fiber::cause(&error).is_some() => return Err(error),
            Ok(Err(error)) | Err(fiber::Elapsed(Err(error))) => error,
        };
        let Some(good) = good else { return Err(error) };
        log::warn!(
            "the name {host} cannot be looked up ({error}): trying {good}, the last good address"
        );
        stats::count(|counters| &counters.dials_last_good);
        Ok(Candidates {
            addresses: vec![good],
            look_up_error: Some(error),
        })
    }

    /// Notes how a dial went. When no address worked, the next one looks the name up anew.
    pub(crate) fn note(
        &self,
        host: &str,
        port: u16,
        failed: &[SocketAddr],
        good: Option<SocketAddr>,
    ) {
        if good.is_none() {
            self.0.cache.borrow_mut().forget(&key(host));
        }
        let mut memory = self.0.memory.borrow_mut();
        memory.note(host, port, failed, good, Instant::now());
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
        let mut under_way = self.0.under_way.borrow_mut();
        let now = Instant::now();
        // One that is not over by now never will be: its runtime ended.
        under_way.retain(|_, look_up| now < look_up.began + LOOK_UP_TIMEOUT_DEFAULT * 2);
        if let Some(look_up) = under_way.get(name) {
            stats::count(|counters| &counters.look_ups_joined);
            return Ok(Rc::clone(look_up));
        }
        if under_way.len() >= LOOK_UPS_MAX {
            return Err(DnsError::TooMany);
        }
        let look_up = Rc::new(LookUp {
            began: now,
            ended: Event::new(),
            outcome: RefCell::new(None),
        });
        let (shared, at, of) = (Rc::clone(&self.0), Rc::clone(&look_up), Box::from(name));
        let begun = FiberBuilder::new()
            .name("look-up")
            .spawn(move || shared.run(&of, &at));
        begun.map_err(|error| DnsError::System(Arc::new(io::Error::other(error))))?;
        stats::count(|counters| &counters.look_ups);
        under_way.insert(name.into(), Rc::clone(&look_up));
        Ok(look_up)
    }
}

impl Shared {
    /// What the fiber of a look-up does.
    fn run(&self, name: &str, look_up: &Rc<LookUp>) {
        let asked = fiber::timeout(LOOK_UP_TIMEOUT_DEFAULT, || self.ask(name));
        let ended = asked.unwrap_or_else(|fiber::Elapsed(late)| late);
        if let Err(error) = &ended {
            log::debug!("the name {name} is not found: {error}");
            stats::count(|counters| &counters.look_ups_failed);
        }
        self.cache.borrow_mut().put(name, &ended, Instant::now());
        let mut under_way = self.under_way.borrow_mut();
        if under_way
            .get(name)
            .is_some_and(|at| Rc::ptr_eq(at, look_up))
        {
            under_way.remove(name);
        }
        drop(under_way);
        *look_up.outcome.borrow_mut() = Some(ended.map(|found| found.addresses));
        look_up.ended.set();
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
