//! A tap on the device's end of its connections: it sees which packets leave, and which came, before
//! the network can lose them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};

use fiber::net::{PipeStream, Shutdown, pipe};
use mqtt::store::{Recovered, Stored};
use safe_rt::Socket;

use crate::faults::draw;

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;

type Id = [u8; 2];

/// Where a device can stand; one that nobody commands never at the last.
pub(crate) const STAGES: [&str; 6] = [
    "not connected",
    "nothing in flight",
    "PUBACK awaited",
    "PUBREC awaited",
    "PUBCOMP awaited",
    "PUBREL awaited",
];

/// A message of the device that left, and is not answered to the end.
#[derive(Clone, Copy, Debug)]
struct Sent {
    qos: u8,
    /// The first byte of its payload.
    number: u8,
    /// PUBREL left.
    released: bool,
}

/// What was seen in all lives. Of a message only what came to its end within one session of the
/// broker is known; bytes of a connection that was given up are not looked at.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Of all connections, the last.
    connection: u32,
    is_connected: bool,
    sent: BTreeMap<Id, Sent>,
    /// The first byte of the payload of the QoS 2 message that came last under this identifier.
    came: BTreeMap<Id, u8>,
    /// Those for which PUBREC left.
    pub(crate) acknowledged: Vec<u8>,
    /// Identifiers for which PUBREC left and PUBREL did not come.
    recorded: BTreeSet<Id>,
    /// Those for which PUBCOMP left.
    completed: BTreeSet<Id>,
    /// What should not have left.
    pub(crate) wrong: Vec<String>,
    /// The last connection.
    device_end: Weak<PipeStream>,
}

/// Packets of a stream of bytes.
#[derive(Default)]
struct Packets(Vec<u8>);

impl Packets {
    /// Takes bytes in; calls `see` with the first byte of each packet that is whole, and what follows
    /// its length.
    fn take(&mut self, bytes: &[u8], mut see: impl FnMut(u8, &[u8])) {
        self.0.extend_from_slice(bytes);
        while let Some((head, len)) = frame(&self.0) {
            let Some(body) = self.0.get(head..head + len) else {
                return;
            };
            see(self.0[0], body);
            self.0.drain(..head + len);
        }
    }
}

/// How long the fixed header and the rest of a packet are.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut len = 0;
    for (place, byte) in bytes.iter().skip(1).take(4).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((place + 2, len));
        }
    }
    None
}

impl Log {
    /// Looks at a packet of this connection, if that is the last.
    fn see(&mut self, connection: u32, first: u8, body: &[u8], look: fn(&mut Self, u8, &[u8])) {
        if connection == self.connection {
            look(self, first, body);
        }
    }

    fn see_coming(&mut self, first: u8, body: &[u8]) {
        match first >> 4 {
            CONNACK => {
                self.is_connected = body[1] == 0;
                if body == [0, 0] {
                    self.sent.clear();
                    self.came.clear();
                    self.recorded.clear();
                    self.completed.clear();
                }
            }
            PUBLISH if first >> 1 & 3 == 2 => {
                let (id, number) = message(body);
                self.came.insert(id, number);
                self.completed.remove(&id);
            }
            PUBREL => drop(self.recorded.remove(&id_of(body))),
            kind @ (PUBACK | PUBCOMP) => {
                let qos = if kind == PUBACK { 1 } else { 2 };
                let id = id_of(body);
                if self.sent.get(&id).is_some_and(|sent| sent.qos == qos) {
                    self.sent.remove(&id);
                }
            }
            _ => {}
        }
    }

    fn see_leaving(&mut self, first: u8, body: &[u8]) {
        match first >> 4 {
            PUBLISH if first & 6 != 0 => self.see_message(first, body),
            PUBREL => {
                if let Some(sent) = self.sent.get_mut(&id_of(body)) {
                    sent.released |= sent.qos == 2;
                }
            }
            PUBREC => {
                let id = id_of(body);
                self.recorded.insert(id);
                self.acknowledged.extend(self.came.get(&id));
            }
            PUBCOMP => drop(self.completed.insert(id_of(body))),
            _ => {}
        }
    }

    fn see_message(&mut self, first: u8, body: &[u8]) {
        let (id, number) = message(body);
        let (qos, dup) = (first >> 1 & 3, first & 8 != 0);
        if let Some(sent) = self.sent.get(&id) {
            assert!(
                sent.number == number,
                "{number} leaves under the identifier of {}",
                sent.number
            );
            assert!(dup, "{number} leaves again without DUP");
            assert!(!sent.released, "PUBLISH of {number} after PUBREL");
        }
        let is_other = |(other, sent): (&Id, &Sent)| sent.number == number && *other != id;
        let is_twice = qos == 2 && self.sent.iter().any(is_other);
        assert!(!is_twice, "{number} leaves under two identifiers");
        let released = false;
        let sent = Sent {
            qos,
            number,
            released,
        };
        self.sent.insert(id, sent);
    }

    /// The program begins anew, with this in its store: it knows all that the broker was told.
    pub(crate) fn new_life(&mut self, recovered: &Recovered) {
        self.connection += 1;
        self.is_connected = false;
        // Identifiers of QoS 1 are recorded and not waited for: one may be forgotten.
        self.sent.retain(|_, sent| sent.qos == 2);
        let is_of = |id: Id| {
            move |stored: &Stored| {
                stored
                    .packet_id
                    .is_some_and(|of| of.get().to_be_bytes() == id)
            }
        };
        for (id, sent) in &self.sent {
            let is_released = recovered.released.iter().any(is_of(*id));
            let is_in_flight = recovered.in_flight.iter().any(is_of(*id));
            let Sent {
                number, released, ..
            } = sent;
            assert!(
                is_released || (is_in_flight && !released),
                "the store knows less than was told of {number}, released {released}"
            );
        }
        let received: BTreeSet<Id> = recovered
            .received
            .iter()
            .map(|id| id.get().to_be_bytes())
            .collect();
        assert!(
            self.recorded.is_subset(&received),
            "PUBREC left and the store does not know: {:?}, {received:?}",
            self.recorded
        );
        assert!(
            self.completed.is_disjoint(&received),
            "PUBCOMP left and the store does not know: {:?}, {received:?}",
            self.completed
        );
    }

    /// Ends the connection.
    pub(crate) fn cut(&self) {
        if let Some(pipe) = self.device_end.upgrade() {
            pipe.shutdown(Shutdown::Both);
        }
    }

    /// Where the device stands, in words.
    pub(crate) fn stages(&self) -> Vec<&'static str> {
        let any = |is_it: fn(&Sent) -> bool| self.sent.values().any(is_it);
        let are_so = [
            !self.is_connected,
            self.sent.is_empty(),
            any(|sent| sent.qos == 1),
            any(|sent| sent.qos == 2 && !sent.released),
            any(|sent| sent.released),
            !self.recorded.is_empty(),
        ];
        let stages = STAGES.into_iter().zip(are_so);
        let stages = stages.filter(|(_, is_so)| *is_so);
        stages.map(|(stage, _)| stage).collect()
    }
}

fn id_of(body: &[u8]) -> Id {
    [body[0], body[1]]
}

/// The identifier of a PUBLISH, and the first byte of its payload.
fn message(body: &[u8]) -> (Id, u8) {
    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let rest = &body[2 + topic..];
    (id_of(rest), rest[2])
}

/// Puts a tap on a connection. The pipe behind it is short, so that writes are too.
pub(crate) fn tap(socket: Socket, log: &Rc<RefCell<Log>>) -> Socket {
    let (ours, theirs) = pipe(1 + draw(400) as usize);
    let (socket, ours) = (Rc::new(socket), Rc::new(ours));
    let number = {
        let mut log = log.borrow_mut();
        log.connection += 1;
        log.is_connected = false;
        log.device_end = Rc::downgrade(&ours);
        log.connection
    };
    let (from, to, seen) = (Rc::clone(&ours), Rc::clone(&socket), Rc::clone(log));
    let up = move || {
        // An error is the end of the connection, which the other direction tells.
        watched(&seen, || drop(carry_up(&from, &to, number, &seen)));
        let _ = to.shutdown_write();
    };
    let seen = Rc::clone(log);
    let down = move || {
        watched(&seen, || drop(carry_down(&socket, &ours, number, &seen)));
        let mut log = seen.borrow_mut();
        log.is_connected &= log.connection != number;
        drop(log);
        ours.shutdown(Shutdown::Both);
    };
    fiber::spawn(up).expect("a fiber");
    fiber::spawn(down).expect("a fiber");
    theirs.into()
}

/// Runs what looks at packets, and notes that one was wrong.
fn watched(log: &RefCell<Log>, body: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.unwrap_or_else(|| "a wrong packet".to_owned());
        log.borrow_mut().wrong.push(text);
    }
}

fn carry_up(from: &PipeStream, to: &Socket, number: u32, log: &RefCell<Log>) -> io::Result<()> {
    let mut packets = Packets::default();
    let mut buffer = [0; 512];
    loop {
        let read = (&*from).read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let mut bytes = &buffer[..read];
        let see = |first, body: &[u8]| log.borrow_mut().see(number, first, body, Log::see_leaving);
        packets.take(bytes, see);
        while !bytes.is_empty() {
            match to.try_write(bytes)? {
                Some(0) => return Err(ErrorKind::WriteZero.into()),
                Some(written) => bytes = &bytes[written..],
                None => drop(fiber::select(&[&to.writable()], None)?),
            }
        }
    }
}

fn carry_down(from: &Socket, to: &PipeStream, number: u32, log: &RefCell<Log>) -> io::Result<()> {
    let mut packets = Packets::default();
    let mut buffer = [0; 512];
    loop {
        let Some(read) = from.try_read(&mut buffer)? else {
            fiber::select(&[&from.readable()], None)?;
            continue;
        };
        if read == 0 {
            return Ok(());
        }
        let see = |first, body: &[u8]| log.borrow_mut().see(number, first, body, Log::see_coming);
        packets.take(&buffer[..read], see);
        (&*to).write_all(&buffer[..read])?;
    }
}
