//! Name servers that are asked directly: a stub resolver (RFC 1034 section 5.3.1).
//!
//! Both kinds of address are asked for at once. A server is asked by a datagram from a port of its own
//! with a random id, and only an answer to that very question counts; whatever else comes in is passed
//! over until the server's time is up. A server that is silent gives the turn to the next one and is
//! asked again later; one that fails or refuses is not. Names are taken as they are: there is no search
//! list, no `/etc/hosts`, and no check of signatures (DNSSEC).

mod exchange;
mod message;
mod order;

use core::cell::RefCell;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use fiber::{Event, Instant};

pub use self::exchange::{RESPONSE_BYTES_MAX, UDP_RESPONSE_BYTES_MAX};
pub use self::message::{ALIASES_MAX, RECORDS_MAX};
use self::message::{Answer, Family};
use super::cache::{ANSWER_LIFETIME_MAX, ANSWER_LIFETIME_MIN, Found};
use super::distinct;
use super::error::DnsError;
use super::resolver::Resolver;

/// Name servers of one resolver.
pub const SERVERS_MAX: usize = 4;
/// How long a server may take in the first round; in each further one twice as long.
pub const ASK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
/// How often a server that is silent is asked.
pub const ASK_ROUNDS_MAX: u32 = 3;
/// How long the addresses of one family are waited for when those of the other are there.
pub const OTHER_FAMILY_GRACE: Duration = Duration::from_millis(250);

/// Why a resolver cannot have these name servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServersError {
    /// There is none.
    None,
    /// There are more than [`SERVERS_MAX`].
    TooMany(usize),
    /// This one has no address, or no port.
    Unspecified(SocketAddr),
}

impl fmt::Display for ServersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no name server: expected at least one"),
            Self::TooMany(found) => {
                write!(f, "{found} name servers: at most {SERVERS_MAX} are allowed")
            }
            Self::Unspecified(server) => {
                write!(f, "name server {server}: expected an address and a port")
            }
        }
    }
}

impl std::error::Error for ServersError {}

impl Resolver {
    /// Starts with name servers that are asked directly, in this order, and nothing remembered. Needs
    /// the feature `dns`.
    ///
    /// They must answer for any name (recursive servers, as a router or a provider has them). The port is
    /// 53 almost everywhere. A look-up takes 7 s per server at most: each is asked three times, and may
    /// take [`ASK_TIMEOUT_DEFAULT`], then twice and four times that. `localhost` is not asked for.
    ///
    /// # Errors
    /// [`ServersError`].
    ///
    /// # Examples
    /// ```
    /// use safe_rt::{DialOptions, Resolver};
    ///
    /// let resolver = Resolver::servers(&["192.0.2.53:53".parse()?, "[2001:db8::53]:53".parse()?])?;
    /// let options = DialOptions::new().resolver(resolver);
    /// # drop(options);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn servers(servers: &[SocketAddr]) -> Result<Self, ServersError> {
        if servers.is_empty() {
            return Err(ServersError::None);
        }
        if servers.len() > SERVERS_MAX {
            return Err(ServersError::TooMany(servers.len()));
        }
        let is_unspecified =
            |server: &&SocketAddr| server.ip().is_unspecified() || server.port() == 0;
        if let Some(&server) = servers.iter().find(is_unspecified) {
            return Err(ServersError::Unspecified(server));
        }
        Ok(Self::with_servers(Stub {
            servers: servers.into(),
        }))
    }
}

/// The servers to ask.
#[derive(Debug)]
pub(super) struct Stub {
    servers: Box<[SocketAddr]>,
}

/// What became of the question for one family.
type Answered = Result<(Vec<IpAddr>, Duration), DnsError>;

impl Stub {
    /// Looks up the addresses of a name. Yields until they are found.
    pub(super) fn ask(&self, name: &str) -> Result<Found, DnsError> {
        if is_localhost(name) {
            let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return Ok(found(loopback.to_vec(), ANSWER_LIFETIME_MAX));
        }
        let slots: [RefCell<Option<Answered>>; 2] = Default::default();
        let news = Event::new();
        let asked = fiber::scope(|scope| {
            for (slot, family) in slots.iter().zip([Family::V4, Family::V6]) {
                let news = &news;
                scope.spawn(move || {
                    let answered = self.ask_servers(name, family);
                    *slot.borrow_mut() = Some(answered);
                    news.set();
                    Ok(())
                })?;
            }
            wait_for_enough(&slots, &news)
        });
        let [v4, v6] = slots.map(RefCell::into_inner);
        outcome(v4, v6, asked)
    }

    /// Asks one server after the other, and the silent ones again.
    fn ask_servers(&self, name: &str, family: Family) -> Answered {
        let mut silent: Vec<SocketAddr> = self.servers.to_vec();
        let mut failure = DnsError::NoAnswer;
        for round in 0..ASK_ROUNDS_MAX {
            let limit = ASK_TIMEOUT_DEFAULT * 2_u32.pow(round);
            for server in core::mem::take(&mut silent) {
                let asked = fiber::timeout(limit, || exchange::ask(server, name, family));
                match asked {
                    Ok(Ok(answer)) | Err(fiber::Elapsed(Ok(answer))) => match answer {
                        Answer::Addresses(addresses, ttl) => return Ok((addresses, ttl)),
                        Answer::NoSuchName => return Err(DnsError::NoSuchName),
                        Answer::NoAddress => return Err(DnsError::NoAddress),
                        Answer::TooManyAliases => failure = DnsError::TooManyAliases,
                        Answer::Failed(code) => failure = DnsError::ServerFailed { server, code },
                    },
                    Err(fiber::Elapsed(Err(_))) => silent.push(server),
                    // Not the server's time, but the look-up's.
                    Ok(Err(error)) if fiber::cause(&error).is_some() => return Err(failure),
                    Ok(Err(error)) => failure = DnsError::System(Arc::new(error)),
                }
            }
        }
        Err(failure)
    }
}

/// Waits until both families are answered, or one has addresses and the other had time enough.
fn wait_for_enough(slots: &[RefCell<Option<Answered>>; 2], news: &Event) -> io::Result<()> {
    let mut until = None;
    loop {
        news.clear();
        let is_answered = |slot: &RefCell<Option<Answered>>| slot.borrow().is_some();
        if slots.iter().all(is_answered) {
            return Ok(());
        }
        let has_addresses =
            |slot: &RefCell<Option<Answered>>| matches!(&*slot.borrow(), Some(Ok(_)));
        if slots.iter().any(has_addresses) {
            let until = *until.get_or_insert_with(|| Instant::now() + OTHER_FAMILY_GRACE);
            fiber::deadline(until, || news.wait()).unwrap_or_else(|late| late.0)?;
        } else {
            news.wait()?;
        }
    }
}

/// Returns what came of the two questions. Where the fiber of one of them could not be started, that is
/// why there is no answer, and not what the other one found when it was told to end.
fn outcome(
    v4: Option<Answered>,
    v6: Option<Answered>,
    asked: io::Result<()>,
) -> Result<Found, DnsError> {
    let is_there = |slot: &Option<Answered>| matches!(slot, Some(Ok(_)));
    match asked {
        Err(error) if fiber::cause(&error).is_none() && !is_there(&v4) && !is_there(&v6) => {
            Err(DnsError::System(Arc::new(error)))
        }
        // Or this fiber was told to end.
        Ok(()) | Err(_) => both(v4, v6),
    }
}

/// Puts together what the two questions gave. A name that is there for one of them is there.
fn both(v4: Option<Answered>, v6: Option<Answered>) -> Result<Found, DnsError> {
    match (v4, v6) {
        (Some(Ok((v4, ttl_4))), Some(Ok((v6, ttl_6)))) => {
            let v6_first = v6.first().is_some_and(|&to| order::has_way(to));
            Ok(found(order::merge(&v4, &v6, v6_first), ttl_4.min(ttl_6)))
        }
        (Some(Ok((only, ttl))), _) | (_, Some(Ok((only, ttl)))) => Ok(found(only, ttl)),
        (Some(Err(DnsError::NoSuchName)), _) | (_, Some(Err(DnsError::NoSuchName))) => {
            Err(DnsError::NoSuchName)
        }
        // That there is no address is known only when both say so.
        (Some(Err(DnsError::NoAddress)), Some(Err(error)))
        | (Some(Err(error)), Some(Err(_)) | None)
        | (None, Some(Err(error))) => Err(error),
        (None, None) => Err(DnsError::NoAnswer),
    }
}

fn found(addresses: Vec<IpAddr>, ttl: Duration) -> Found {
    Found {
        addresses: distinct(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0))),
        lifetime: ttl.clamp(ANSWER_LIFETIME_MIN, ANSWER_LIFETIME_MAX),
    }
}

/// Whether a name is this machine's own, which nobody is to be asked for (RFC 6761 section 6.3).
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests;
