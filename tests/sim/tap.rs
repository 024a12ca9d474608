//! A tap on the device's end of its connections: it sees which packets leave, and which came, before
//! the network can lose them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::rc::Rc;

use fiber::net::{PipeStream, Shutdown, pipe};
use safe_rt::Socket;

use crate::faults::draw;

const PUBLISH: u8 = 3;
const PUBREC: u8 = 5;

/// What was seen in all lives.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The first byte of the payload of the QoS 2 message that came last under this identifier.
    came: BTreeMap<[u8; 2], u8>,
    /// Those for which PUBREC left.
    pub(crate) acknowledged: Vec<u8>,
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
    fn see_coming(&mut self, first: u8, body: &[u8]) {
        if first >> 4 == PUBLISH && first >> 1 & 3 == 2 {
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let rest = &body[2 + topic..];
            self.came.insert([rest[0], rest[1]], rest[2]);
        }
    }

    fn see_leaving(&mut self, first: u8, body: &[u8]) {
        if first >> 4 == PUBREC
            && let Some(number) = self.came.get(body)
        {
            self.acknowledged.push(*number);
        }
    }
}

/// Puts a tap on a connection. The pipe behind it is short, so that writes are too.
pub(crate) fn tap(socket: Socket, log: &Rc<RefCell<Log>>) -> Socket {
    let (ours, theirs) = pipe(1 + draw(400) as usize);
    let (socket, ours) = (Rc::new(socket), Rc::new(ours));
    let (from, to, seen) = (Rc::clone(&ours), Rc::clone(&socket), Rc::clone(log));
    let up = move || {
        // An error is the end of the connection, which the other direction tells.
        let _ = carry_up(&from, &to, &seen);
        let _ = to.shutdown_write();
    };
    let seen = Rc::clone(log);
    let down = move || {
        let _ = carry_down(&socket, &ours, &seen);
        ours.shutdown(Shutdown::Both);
    };
    fiber::spawn(up).expect("a fiber");
    fiber::spawn(down).expect("a fiber");
    theirs.into()
}

fn carry_up(from: &PipeStream, to: &Socket, log: &RefCell<Log>) -> io::Result<()> {
    let mut packets = Packets::default();
    let mut buffer = [0; 512];
    loop {
        let read = (&*from).read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let mut bytes = &buffer[..read];
        let see = |first, body: &[u8]| log.borrow_mut().see_leaving(first, body);
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

fn carry_down(from: &Socket, to: &PipeStream, log: &RefCell<Log>) -> io::Result<()> {
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
        let see = |first, body: &[u8]| log.borrow_mut().see_coming(first, body);
        packets.take(&buffer[..read], see);
        (&*to).write_all(&buffer[..read])?;
    }
}
