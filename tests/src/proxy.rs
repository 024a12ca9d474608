//! A link that goes wrong: what connects to a proxy is connected to a server, until a fault is drawn.
//!
//! It carries bytes and knows nothing of what they mean. A fault is on one connection, in one
//! direction or in both, and those that lose bytes end with the connection, as TCP has it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use fiber::net::{TcpListener, TcpStream};
use fiber::{Event, Stopped};

use crate::random::Random;

/// How many bytes are carried at once.
const CHUNK: usize = 4096;

/// How long an accept that failed is waited after.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How many bytes pass before a cut, so that it comes inside a packet, unless none comes in time.
const BYTES_BEFORE_CUT: RangeInclusive<u64> = 0..=400;

/// How long bytes before a cut are waited for.
const CUT_WITHIN: Duration = Duration::from_millis(100);

/// Bytes that pass in each [`SLOW_PAUSE`] where the link is slow.
const SLOW: RangeInclusive<u64> = 5..=200;

const SLOW_PAUSE: Duration = Duration::from_millis(10);

/// When faults come.
#[derive(Clone, Debug)]
pub struct Times {
    /// How long a connection is sound before the next fault.
    pub sound: RangeInclusive<Duration>,
    /// How long a fault lasts.
    pub fault: RangeInclusive<Duration>,
}

/// How often what went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were made.
    pub connections: u64,
    /// Connections that were closed as soon as they were made.
    pub refused: u64,
    /// Connections that were closed, mostly inside a packet.
    pub cut: u64,
    /// Connections that carried nothing for a while, and then went on.
    pub stalled: u64,
    /// Connections that swallowed what was sent for a while, and were closed then.
    pub swallowed: u64,
    /// Connections that were slow for a while.
    pub throttled: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            refused,
            cut,
            stalled,
            swallowed,
            throttled,
        } = self;
        write!(
            f,
            "{connections} connections: {refused} refused, {cut} cut, {stalled} stalled, \
             {swallowed} swallowed, {throttled} throttled"
        )
    }
}

/// What becomes of the bytes in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    Stalled,
    Swallows,
    /// So many bytes pass in each [`SLOW_PAUSE`].
    Slow(usize),
    /// So many bytes pass, and then the connection is over.
    Cut(usize),
}

/// Makes what sees the bytes that come from the server on one connection, before the proxy loses any.
type Watches = Box<dyn Fn() -> Box<dyn FnMut(&[u8])>>;

struct Shared {
    server: SocketAddr,
    watches: Option<Watches>,
    times: Times,
    random: RefCell<Random>,
    counts: Cell<Counts>,
    /// Set while faults come.
    storm: Event,
    /// Set while none come.
    calm: Event,
}

impl Shared {
    fn count(&self, what: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        what(&mut counts);
        self.counts.set(counts);
    }

    fn draw(&self, range: &RangeInclusive<u64>) -> u64 {
        self.random.borrow_mut().within(range)
    }

    /// Draws a number of bytes.
    fn bytes(&self, range: &RangeInclusive<u64>) -> usize {
        usize::try_from(self.draw(range)).unwrap_or(usize::MAX)
    }

    /// Waits for so long, or until faults stop.
    fn pause(&self, range: &RangeInclusive<Duration>) -> Result<(), Stopped> {
        let time = self.random.borrow_mut().time(range);
        match fiber::timeout(time, || self.calm.wait()) {
            Ok(calm) => calm,
            Err(_elapsed) => Ok(()),
        }
    }
}

/// A port before a server.
pub struct Proxy {
    address: SocketAddr,
    shared: Rc<Shared>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Begins to carry connections to `server`, without faults as yet. Its fibers end with the
    /// runtime.
    ///
    /// # Errors
    /// When there is no port or no fiber to be had.
    pub fn start(server: SocketAddr, times: Times, random: Random) -> io::Result<Self> {
        Self::start_with(server, times, random, None)
    }

    /// The same; what `watch` makes for a connection sees all bytes that come from the server on it,
    /// those as well that the proxy loses then.
    ///
    /// # Errors
    /// When there is no port or no fiber to be had.
    pub fn watched<W: FnMut(&[u8]) + 'static>(
        server: SocketAddr,
        times: Times,
        random: Random,
        watch: impl Fn() -> W + 'static,
    ) -> io::Result<Self> {
        let watches: Watches = Box::new(move || Box::new(watch()));
        Self::start_with(server, times, random, Some(watches))
    }

    fn start_with(
        server: SocketAddr,
        times: Times,
        random: Random,
        watches: Option<Watches>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let calm = Event::new();
        calm.set();
        let shared = Rc::new(Shared {
            server,
            watches,
            times,
            random: RefCell::new(random),
            counts: Cell::default(),
            storm: Event::new(),
            calm,
        });
        let accepting = Rc::clone(&shared);
        fiber::spawn(move || accept(&listener, &accepting))?;
        Ok(Self { address, shared })
    }

    /// Returns where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets faults come.
    pub fn begin_faults(&self) {
        self.shared.calm.clear();
        self.shared.storm.set();
    }

    /// Ends all faults: what stalls goes on, and what swallowed is closed.
    pub fn end_faults(&self) {
        self.shared.storm.clear();
        self.shared.calm.set();
    }

    /// Returns what went wrong until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts.get()
    }
}

fn accept(listener: &TcpListener, shared: &Rc<Shared>) {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if fiber::cause(&error).is_some() => return,
            // The system is short of something.
            Err(_) => match fiber::sleep(ACCEPT_PAUSE) {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        shared.count(|counts| counts.connections += 1);
        let shared = Rc::clone(shared);
        // Without a fiber the connection is refused, which is a fault like others.
        drop(fiber::spawn(move || {
            let refused = shared.storm.is_set() && shared.draw(&(1..=10)) == 1;
            if refused {
                shared.count(|counts| counts.refused += 1);
            } else {
                // A server that is not there, and the end of either side, end the connection.
                drop(carry(&client, &shared));
            }
        }));
    }
}

/// Carries a connection until it ends.
fn carry(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    let server = TcpStream::connect(shared.server)?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
    }
    let link = Link::default();
    let carried = fiber::scope(|scope| {
        scope.spawn(|| pump(client, &server, &link, 0, |_| ()))?;
        scope.spawn(|| {
            let mut watch = shared.watches.as_ref().map(|make| make());
            let see = |bytes: &[u8]| {
                if let Some(watch) = &mut watch {
                    watch(bytes);
                }
            };
            pump(&server, client, &link, 1, see)
        })?;
        break_things(&link, shared)
    });
    for stream in [client, &server] {
        // It fails where the other side was faster.
        drop(stream.shutdown(Shutdown::Both));
    }
    carried
}

/// Both directions of a connection.
struct Link {
    ways: [Cell<Way>; 2],
    /// Set when a way has changed.
    changed: [Event; 2],
}

impl Default for Link {
    fn default() -> Self {
        Self {
            ways: [Cell::new(Way::Open), Cell::new(Way::Open)],
            changed: [Event::new(), Event::new()],
        }
    }
}

impl Link {
    /// Makes one direction or both like this: 1 and 2 for one, 3 for both.
    fn set(&self, directions: u64, way: Way) {
        for at in 0..2 {
            if directions & (1 << at) != 0 {
                self.ways[at].set(way);
                self.changed[at].set();
            }
        }
    }
}

/// Carries bytes in one direction; returns only with an error, the end of the stream included. `see` is
/// shown what is read.
fn pump(
    from: &TcpStream,
    to: &TcpStream,
    link: &Link,
    at: usize,
    mut see: impl FnMut(&[u8]),
) -> io::Result<()> {
    let (mut from, mut to) = (from, to);
    let mut buffer = [0; CHUNK];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        see(&buffer[..read]);
        let mut left = &buffer[..read];
        while !left.is_empty() {
            link.changed[at].clear();
            let passes = match link.ways[at].get() {
                Way::Open => left.len(),
                Way::Stalled => {
                    link.changed[at].wait()?;
                    continue;
                }
                Way::Swallows => {
                    left = &[];
                    continue;
                }
                Way::Slow(bytes) => {
                    fiber::sleep(SLOW_PAUSE)?;
                    bytes.min(left.len())
                }
                Way::Cut(0) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Way::Cut(bytes) => {
                    let passes = bytes.min(left.len());
                    link.ways[at].set(Way::Cut(bytes - passes));
                    passes
                }
            };
            to.write_all(&left[..passes])?;
            left = &left[passes..];
        }
    }
}

/// Draws faults for a connection; returns only with an error.
fn break_things(link: &Link, shared: &Shared) -> io::Result<()> {
    loop {
        shared.storm.wait()?;
        shared.pause(&shared.times.sound)?;
        if !shared.storm.is_set() {
            continue;
        }
        let directions = shared.draw(&(1..=3));
        match shared.draw(&(1..=4)) {
            1 => {
                shared.count(|counts| counts.cut += 1);
                link.set(directions, Way::Cut(shared.bytes(&BYTES_BEFORE_CUT)));
                fiber::sleep(CUT_WITHIN)?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            2 => {
                shared.count(|counts| counts.swallowed += 1);
                link.set(directions, Way::Swallows);
                shared.pause(&shared.times.fault)?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            3 => {
                shared.count(|counts| counts.stalled += 1);
                link.set(directions, Way::Stalled);
                shared.pause(&shared.times.fault)?;
            }
            _ => {
                shared.count(|counts| counts.throttled += 1);
                link.set(directions, Way::Slow(shared.bytes(&SLOW)));
                shared.pause(&shared.times.fault)?;
            }
        }
        link.set(3, Way::Open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Sends back what comes.
    fn echo() -> SocketAddr {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(here).unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || {
            while let Ok((stream, _)) = listener.accept() {
                let copy = move || io::copy(&mut &stream, &mut &stream);
                drop(fiber::spawn(copy).unwrap());
            }
        };
        drop(fiber::spawn(serve).unwrap());
        address
    }

    /// Sends bytes and takes them back, piece by piece.
    fn there_and_back(proxy: &Proxy, bytes: &[u8]) -> io::Result<()> {
        let stream = TcpStream::connect(proxy.address())?;
        for piece in bytes.chunks(1000) {
            let mut back = vec![0; piece.len()];
            (&stream).write_all(piece)?;
            (&stream).read_exact(&mut back)?;
            assert_eq!(back, piece);
        }
        Ok(())
    }

    fn with_proxy(body: impl FnOnce(&Proxy) + 'static) {
        let run = move || {
            let times = Times {
                sound: Duration::ZERO..=Duration::from_millis(5),
                fault: Duration::from_millis(1)..=Duration::from_millis(20),
            };
            let proxy = Proxy::start(echo(), times, Random::new(5)).unwrap();
            body(&proxy);
        };
        let in_time = fiber::run(|| fiber::timeout(LIMIT, run).is_ok()).unwrap();
        assert!(in_time);
    }

    #[test]
    fn without_faults_all_bytes_pass() {
        with_proxy(|proxy| {
            let bytes: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
            there_and_back(proxy, &bytes).unwrap();
            let connections = 1;
            let counts = Counts {
                connections,
                ..Counts::default()
            };
            assert_eq!(proxy.counts(), counts);
        });
    }

    #[test]
    fn every_fault_comes_and_when_they_end_all_bytes_pass_again() {
        with_proxy(|proxy| {
            proxy.begin_faults();
            let mut ended = 0;
            let all = |counts: Counts| {
                let lasting = counts.stalled.min(counts.throttled);
                counts
                    .refused
                    .min(counts.cut)
                    .min(counts.swallowed)
                    .min(lasting)
                    >= 2
            };
            while !all(proxy.counts()) {
                ended += u64::from(there_and_back(proxy, &[7; 100_000]).is_err());
            }
            let counts = proxy.counts();
            assert!(ended >= counts.refused, "{counts}");
            proxy.end_faults();
            there_and_back(proxy, &[8; 100_000]).unwrap();
        });
    }
}
