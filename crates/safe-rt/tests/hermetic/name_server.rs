//! A name server of the tests, over UDP and TCP, that answers in whatever manner it is told. Its
//! messages are made by hand (RFC 1035 section 4).

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use fiber::net::{TcpListener, UdpSocket};
use fiber::{sleep, spawn};

/// The name of the question, again.
const SAME: &[u8] = &[0xC0, 0x0C];
const HEADER_BYTES: usize = 12;
const A: u16 = 1;
const CNAME: u16 = 5;
/// Response codes.
pub(crate) const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

/// How a question is answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Manner {
    /// With these addresses and this lifetime.
    Good(Vec<Ipv4Addr>, u32),
    /// The same, after a while.
    Slow(Duration, Ipv4Addr),
    /// Not at all.
    Dead,
    /// Under another id, and rightly a little later.
    WrongId(Ipv4Addr),
    /// To another question, and rightly a little later.
    WrongQuestion(Ipv4Addr),
    /// From another port, and rightly a little later.
    WrongPort(Ipv4Addr),
    /// With bytes that are none of ours, again and again.
    Garbage,
    /// With garbage behind the right id, and rightly a little later.
    GarbageFirst(Ipv4Addr),
    /// That this does not fit, and by TCP with so many addresses, the first of which is this.
    Truncated(Ipv4Addr, usize),
    /// By TCP with nothing behind the length.
    TruncatedForNothing,
    NoSuchName,
    NoAddress,
    /// With this response code.
    Failing(u8),
    /// That the name is an alias of itself.
    Circle,
    /// Rightly for IPv4, and not at all for IPv6.
    DeafToV6(Ipv4Addr),
}

impl Manner {
    pub(crate) fn good(address: Ipv4Addr) -> Self {
        Self::Good(vec![address], 60)
    }
}

/// What lies come with, for the client to believe.
const LIE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);
/// How long after a lie the right answer comes.
const AFTER_A_LIE: Duration = Duration::from_millis(20);

/// A running name server.
#[derive(Clone)]
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    manner: Rc<RefCell<Manner>>,
    asked: Rc<Cell<usize>>,
}

impl NameServer {
    /// Starts one at `here`; port 0 lets the system choose.
    pub(crate) fn start(here: IpAddr, port: u16, manner: Manner) -> Self {
        let (datagrams, streams) = bind(here, port);
        let server = Self {
            address: datagrams.local_addr().expect("an address"),
            manner: Rc::new(RefCell::new(manner)),
            asked: Rc::default(),
        };
        let (by_datagram, by_stream) = (server.clone(), server.clone());
        drop(spawn(move || by_datagram.serve_datagrams(datagrams)).expect("a fiber"));
        drop(spawn(move || by_stream.serve_streams(&streams)).expect("a fiber"));
        server
    }

    pub(crate) fn set(&self, manner: Manner) {
        *self.manner.borrow_mut() = manner;
    }

    /// How many datagrams asked for IPv4 addresses: once for each look-up, unless it was not heard.
    pub(crate) fn asked(&self) -> usize {
        self.asked.get()
    }

    fn serve_datagrams(&self, socket: UdpSocket) {
        let socket = Rc::new(socket);
        let mut room = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut room) {
            let question = room[..len].to_vec();
            if kind(&question) == A {
                self.asked.set(self.asked.get() + 1);
            }
            let (manner, socket) = (self.manner.borrow().clone(), Rc::clone(&socket));
            // The one who asked may be gone.
            let answer = move || drop(answer_by_datagram(&socket, from, &question, &manner));
            drop(spawn(answer).expect("a fiber"));
        }
    }

    fn serve_streams(&self, listener: &TcpListener) {
        while let Ok((mut stream, _)) = listener.accept() {
            let manner = self.manner.borrow().clone();
            let mut answer = move || -> io::Result<()> {
                let mut len = [0; 2];
                stream.read_exact(&mut len)?;
                let mut question = vec![0; u16::from_be_bytes(len).into()];
                stream.read_exact(&mut question)?;
                let answer = match manner {
                    Manner::Truncated(first, count) => {
                        let others =
                            (1..count).map(|n| Ipv4Addr::from_bits(0x0A00_0000 + n as u32));
                        let all: Vec<_> = std::iter::once(first).chain(others).collect();
                        addresses(&question, &all, 60)
                    }
                    _ => return stream.write_all(&[1, 0]),
                };
                let len = u16::try_from(answer.len()).expect("it fits");
                stream.write_all(&len.to_be_bytes())?;
                stream.write_all(&answer)
            };
            drop(spawn(move || drop(answer())).expect("a fiber"));
        }
    }
}

/// Both sockets, at one port.
fn bind(here: IpAddr, port: u16) -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let datagrams = UdpSocket::bind(SocketAddr::new(here, port)).expect("a port");
        let address = datagrams.local_addr().expect("an address");
        if let Ok(streams) = TcpListener::bind(address) {
            return (datagrams, streams);
        }
    }
    panic!("no port is free for both");
}

fn answer_by_datagram(
    socket: &UdpSocket,
    from: SocketAddr,
    question: &[u8],
    manner: &Manner,
) -> io::Result<()> {
    let send = |bytes: &[u8]| socket.send_to(bytes, from).map(drop);
    let good = |address: Ipv4Addr| send(&addresses(question, &[address], 60));
    let good_later = |address: Ipv4Addr| {
        sleep(AFTER_A_LIE)?;
        good(address)
    };
    let lie = || addresses(question, &[LIE], 60);
    match manner {
        Manner::Dead => Ok(()),
        Manner::Good(all, ttl) => send(&addresses(question, all, *ttl)),
        Manner::Slow(pause, address) => {
            sleep(*pause)?;
            good(*address)
        }
        Manner::WrongId(address) => {
            let mut lie = lie();
            lie[1] ^= 1;
            send(&lie)?;
            good_later(*address)
        }
        Manner::WrongQuestion(address) => {
            let mut lie = lie();
            lie[HEADER_BYTES + 1] ^= 1;
            send(&lie)?;
            good_later(*address)
        }
        Manner::WrongPort(address) => {
            let here = SocketAddr::new(socket.local_addr()?.ip(), 0);
            UdpSocket::bind(here)?.send_to(&lie(), from)?;
            good_later(*address)
        }
        Manner::Garbage => {
            for n in 0..u8::MAX {
                send(&vec![n; usize::from(n) * 4])?;
                sleep(Duration::from_millis(1))?;
            }
            Ok(())
        }
        Manner::GarbageFirst(address) => {
            for n in 0..u8::MAX {
                let mut bytes = question[..2].to_vec();
                bytes.extend(vec![n; usize::from(n) * 4]);
                send(&bytes)?;
            }
            good_later(*address)
        }
        Manner::Truncated(..) | Manner::TruncatedForNothing => {
            let mut cut = message(question, 0, &[]);
            cut[2] |= 0x02;
            send(&cut)
        }
        Manner::NoSuchName => send(&message(question, NO_SUCH_NAME, &[])),
        Manner::NoAddress => send(&message(question, 0, &[])),
        Manner::Failing(code) => send(&message(question, *code, &[])),
        Manner::Circle => send(&message(question, 0, &[record(CNAME, 60, SAME)])),
        Manner::DeafToV6(address) if kind(question) == A => good(*address),
        Manner::DeafToV6(_) => Ok(()),
    }
}

/// What kind of record a question asks for.
fn kind(question: &[u8]) -> u16 {
    let (_, kind) = question.split_last_chunk::<4>().expect("a question");
    u16::from_be_bytes([kind[0], kind[1]])
}

/// The answer with these addresses; an empty one for other kinds.
fn addresses(question: &[u8], all: &[Ipv4Addr], ttl: u32) -> Vec<u8> {
    let records: Vec<_> = match kind(question) {
        A => all.iter().map(|a| record(A, ttl, &a.octets())).collect(),
        _ => Vec::new(),
    };
    message(question, 0, &records)
}

fn record(kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).expect("little data");
    [
        SAME,
        &kind.to_be_bytes(),
        &[0, 1],
        &ttl.to_be_bytes(),
        &len.to_be_bytes(),
        data,
    ]
    .concat()
}

fn message(question: &[u8], code: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = question.to_vec();
    out[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    let count = u16::try_from(records.len()).expect("few records");
    out[6..8].copy_from_slice(&count.to_be_bytes());
    out.extend(records.concat());
    out
}
