//! The fiber of a connection: it moves bytes between a socket and the core, and does to them what
//! the faults of its client say.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Instant, Source};
use safe_rt::Socket;

use super::cut::{CutPacket, CutReport};
use super::error::{End, Violation};
use super::faults::{Cut, Faults, allowed};
use super::handle::Allowed;
use super::options::BROKER_CONNECTIONS_MAX;
use super::outgoing::Outgoing;
use super::shared::{Entry, now};
use crate::packet::{self, Connect, ConnectReason, DecodeError, PacketRef, Version};
use crate::topic::check_topic_filter;

/// Bytes read at once.
const BROKER_READ_BYTES: usize = 16 * 1024;
/// Encoded bytes that wait for the socket, and one packet more; the rest waits in the session.
const BROKER_OUTPUT_BYTES: usize = 64 * 1024;
/// Answers that wait to be encoded, each return code of a SUBACK counted; beyond, nothing is read.
const BROKER_ANSWERS_MAX: usize = 1_024;
/// Time for the last bytes and the end of the transport.
const BROKER_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The body of the fiber; returns when the connection is over.
pub(super) fn serve(entry: Entry, socket: Socket) {
    let mut link = Link {
        entry,
        socket,
        client: None,
        input: Vec::new(),
        received: 0,
        output: VecDeque::new(),
        output_bytes: 0,
        front_written: 0,
        sent: 0,
    };
    let end = match link.run() {
        Ok(never) => match never {},
        Err(end) => end,
    };
    let client = link.client.as_deref().unwrap_or("a client");
    log::debug!("broker: connection of {client}: {end}");
    if let End::Cut = end {
        let max = link
            .entry
            .shared()
            .with(|core| core.limits.maximum_packet_size);
        let report = link.cut_report(max);
        link.entry.shared().hooks.cut(client, &report);
    }
    if let End::Violation(Violation::Refused(_)) = end {
        let limit = BROKER_CLOSE_TIMEOUT.saturating_add(link.faults().delay);
        // Whether the client learns why it is refused is up to its network.
        let _ = fiber::timeout(limit, || link.drain());
    }
    let Link { entry, socket, .. } = link;
    // First the state, so that who waits for the end of this connection need not wait for its bytes.
    drop(entry);
    let last = || match end {
        End::Cut => (&socket).flush(),
        _ => socket.shutdown_write(),
    };
    let _ = fiber::timeout(BROKER_CLOSE_TIMEOUT, last);
}

/// Encoded packets that may leave from `due` on.
struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
}

struct Link {
    entry: Entry,
    socket: Socket,
    /// The client identifier, known from CONNECT on.
    client: Option<Rc<str>>,
    /// Received and not handled.
    input: Vec<u8>,
    received: u64,
    output: VecDeque<Chunk>,
    output_bytes: usize,
    /// Bytes of the first chunk that the socket has taken.
    front_written: usize,
    sent: u64,
}

/// Bytes that came in, and how far the packets in them are handled.
struct Packets<'a> {
    bytes: &'a [u8],
    done: usize,
    /// What lies behind is as if it had never come.
    end: usize,
}

impl<'a> Packets<'a> {
    const fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            done: 0,
            end: bytes.len(),
        }
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.done..self.end]
    }
}

/// A connection runs until there is a reason to end.
enum Never {}

impl Link {
    fn run(&mut self) -> Result<Never, End> {
        loop {
            self.entry.wake.clear();
            let id = self.entry.id;
            if self.entry.shared().with(|core| core.is_closing(id)) {
                return Err(End::Closed);
            }
            if self.faults().half_open {
                fiber::select(&[&self.entry.wake], None)?;
                continue;
            }
            let full = self.pull();
            let blocked = self.write()?;
            let more = self.read()?;
            self.entry.shared().with(|core| core.tick(id, now()))?;
            if more || full && self.output_bytes < BROKER_OUTPUT_BYTES {
                // A client that always has data must not keep the others from running.
                fiber::yield_now().map_err(io::Error::from)?;
            } else {
                self.wait(blocked)?;
            }
        }
    }

    /// Encodes what the core has to send, as far as there is room. Returns whether there may be more.
    fn pull(&mut self) -> bool {
        let id = self.entry.id;
        let due = Instant::now() + self.faults().delay;
        self.entry.shared().with(|core| core.greet(id));
        while self.output_bytes < BROKER_OUTPUT_BYTES {
            // What is published all the time must not put off what is retained.
            let next = self.entry.shared().with(|core| {
                core.next(id).or_else(|| {
                    core.greet(id);
                    core.next(id)
                })
            });
            let Some(packet) = next else {
                return self.entry.shared().with(|core| core.may_greet(id));
            };
            if packet.is_ack() && self.drops_ack() {
                continue;
            }
            self.encode(&packet, due);
        }
        true
    }

    fn encode(&mut self, packet: &Outgoing, due: Instant) {
        if self.output.back().is_none_or(|chunk| chunk.due != due) {
            let bytes = Vec::new();
            self.output.push_back(Chunk { due, bytes });
        }
        if let Some(chunk) = self.output.back_mut() {
            let before = chunk.bytes.len();
            packet.encode(&mut chunk.bytes);
            self.output_bytes += chunk.bytes.len() - before;
        }
    }

    /// Writes what is due, up to where the connection is to be cut. Returns whether the socket has
    /// no room for the rest.
    fn write(&mut self) -> Result<bool, End> {
        let at = self.faults().cut_after_sent;
        let now = Instant::now();
        loop {
            if at == Some(self.sent) {
                return Err(self.cut(Cut::Sent));
            }
            let Some(chunk) = self.output.front().filter(|chunk| chunk.due <= now) else {
                break;
            };
            let rest = &chunk.bytes[self.front_written..];
            let rest = &rest[..allowed(at, self.sent, rest.len())];
            let Some(n) = self.socket.try_write(rest)? else {
                return Ok(true);
            };
            self.sent += n as u64;
            self.output_bytes -= n;
            self.front_written += n;
            if self.front_written == chunk.bytes.len() {
                self.output.pop_front();
                self.front_written = 0;
            }
        }
        Ok(!self.socket.try_flush()?)
    }

    /// Reads once, if there is something, and handles every whole packet. Returns whether there may
    /// be more to read.
    fn read(&mut self) -> Result<bool, End> {
        if !self.handle_input()? {
            return Ok(false);
        }
        self.cut_if_received()?;
        if !self.socket.readable().is_ready() {
            return Ok(false);
        }
        let at = self.faults().cut_after_received;
        let wanted = allowed(at, self.received, BROKER_READ_BYTES);
        let mut space = self.entry.shared().space.take();
        space.resize(BROKER_READ_BYTES, 0);
        let read = self.socket.try_read(&mut space[..wanted]);
        let n = read.as_ref().map_or(0, |n| n.unwrap_or(0));
        let handled = self.take_in(&space[..n]);
        self.entry.shared().space.set(space);
        if read?.is_none() {
            return Ok(false);
        }
        if n == 0 {
            return Err(End::Left);
        }
        handled?;
        self.cut_if_received()?;
        Ok(n == wanted)
    }

    /// Handles the whole packets of what is left over and what was read, and keeps the rest.
    fn take_in(&mut self, read: &[u8]) -> Result<(), End> {
        self.received += read.len() as u64;
        if self.input.is_empty() {
            let mut packets = Packets::of(read);
            let handled = self.handle_packets(&mut packets);
            self.input.extend_from_slice(packets.rest());
            self.handled(packets.done);
            return handled.map(drop);
        }
        self.input.extend_from_slice(read);
        self.handle_input().map(drop)
    }

    /// Handles the whole packets of what is left over. Returns whether more may be read.
    fn handle_input(&mut self) -> Result<bool, End> {
        if self.input.is_empty() {
            return Ok(self.may_handle());
        }
        let mut input = mem::take(&mut self.input);
        let mut packets = Packets::of(&input);
        let result = self.handle_packets(&mut packets);
        let Packets { done, end, .. } = packets;
        input.truncate(end);
        input.drain(..done);
        // A connection that has nothing left over has no memory for it.
        if !input.is_empty() {
            self.input = input;
        }
        self.handled(done);
        result
    }

    /// Notes how many bytes were handled.
    fn handled(&self, bytes: usize) {
        if bytes > 0 {
            let id = self.entry.id;
            self.entry.shared().with(|core| core.handled(id, bytes));
            // For the answers.
            self.entry.wake.set();
        }
    }

    /// Whether packets may be handled now.
    fn may_handle(&self) -> bool {
        let id = self.entry.id;
        let answers = self.entry.shared().with(|core| core.answers(id));
        answers < BROKER_ANSWERS_MAX && !self.faults().half_open
    }

    fn handle_packets(&mut self, packets: &mut Packets<'_>) -> Result<bool, End> {
        let max = self
            .entry
            .shared()
            .with(|core| core.limits.maximum_packet_size);
        loop {
            if !self.may_handle() {
                return Ok(false);
            }
            let decoded = packet::decode(packets.rest(), Version::V311, max);
            let Some((packet, len)) = decoded.map_err(|error| self.malformed(error))? else {
                return Ok(true);
            };
            match &packet {
                PacketRef::Connect(connect) if self.client.is_none() => {
                    let kept = self.connect(connect, len)?;
                    packets.end = packets.end.min(kept);
                }
                _ => self.handle(&packet)?,
            }
            packets.done += len;
        }
    }

    fn handle(&self, packet: &PacketRef<'_>) -> Result<(), End> {
        let (id, shared) = (self.entry.id, self.entry.shared());
        let mut allowed = Allowed::default();
        match (packet, &self.client) {
            (PacketRef::Subscribe(subscribe), Some(client)) => {
                let filters = subscribe.filters();
                let ask = |(filter, qos)| {
                    check_topic_filter(filter).is_ok()
                        && shared.hooks.may_subscribe(client, filter, qos)
                };
                allowed.filters = filters.iter().map(ask).collect();
            }
            (PacketRef::Publish(publish), Some(client)) => {
                let (topic, qos) = (publish.topic(), publish.qos());
                allowed.publish = shared.hooks.may_publish(client, topic, qos);
            }
            _ => {}
        }
        shared.with(|core| core.handle(id, packet, &allowed, now()))?;
        if shared.with(|core| core.is_closing(id)) {
            return Err(End::Closed);
        }
        Ok(())
    }

    /// Handles CONNECT, of `len` bytes at the start of the input. Returns how many bytes of the
    /// input count: what lies behind the place of a cut was never received.
    fn connect(&mut self, connect: &Connect<'_>, len: usize) -> Result<usize, End> {
        let (id, shared) = (self.entry.id, self.entry.shared());
        let client: Rc<str> = match connect.fields().client_id {
            "" => match made_up_client_id() {
                Ok(client) => client.into(),
                Err(error) => {
                    log::warn!("broker: no randomness for a client identifier: {error}");
                    let reason = ConnectReason::ServerUnavailable;
                    return Err(shared.with(|core| core.refuse(id, reason)).into());
                }
            },
            given => given.into(),
        };
        let faults = shared.faults.borrow().get(&client);
        self.client = Some(Rc::clone(&client));
        if let Some(at) = faults.cut_after_received {
            self.received = self.received.min(at);
            if at < len as u64 {
                return Err(self.cut(Cut::Received));
            }
        }
        let shared = self.entry.shared();
        let verdict = match faults.refuse {
            Some(reason) => Err(reason),
            None => shared.hooks.may_connect(connect),
        };
        // Beyond the bound there is room for a client that ends a connection of its own, a dead one above
        // all (MQTT3-3.1.4-2).
        let crowded = shared.connections() > BROKER_CONNECTIONS_MAX;
        shared.with(|core| {
            let verdict = match verdict {
                Ok(()) if crowded && core.connection_of(&client).is_none() => {
                    Err(ConnectReason::ServerUnavailable)
                }
                verdict => verdict,
            };
            core.connect(id, &client, connect, verdict, now())
        })?;
        Ok(usize::try_from(self.received).unwrap_or(usize::MAX))
    }

    /// Answers what can be answered of bytes that are no packet.
    fn malformed(&self, error: DecodeError) -> End {
        let violation = match error.connect_reason() {
            Some(reason) if self.client.is_none() => {
                let id = self.entry.id;
                self.entry.shared().with(|core| core.refuse(id, reason))
            }
            _ => Violation::Malformed(error),
        };
        violation.into()
    }

    /// Waits for the socket, for news, or for the next thing that is due.
    fn wait(&self, blocked: bool) -> io::Result<()> {
        let id = self.entry.id;
        let shared = self.entry.shared();
        let (answers, late) = shared.with(|core| (core.answers(id), core.deadline(id)));
        let (readable, writable) = (self.socket.readable(), self.socket.writable());
        let mut sources: Vec<&dyn Source> = vec![&self.entry.wake];
        if answers < BROKER_ANSWERS_MAX {
            sources.push(&readable);
        }
        if blocked {
            sources.push(&writable);
        }
        let late = late.map(|time| Instant::from_nanos(time.0));
        let due = self.output.front().map(|chunk| chunk.due);
        let due = due.filter(|_| !blocked);
        let deadline = late.into_iter().chain(due).min();
        fiber::select(&sources, deadline).map(drop)
    }

    /// Sends what is left.
    fn drain(&mut self) -> Result<(), End> {
        self.pull();
        loop {
            let blocked = self.write()?;
            let Some(chunk) = self.output.front() else {
                return Ok((&self.socket).flush()?);
            };
            if blocked {
                fiber::select(&[&self.socket.writable()], None)?;
            } else {
                fiber::sleep_until(chunk.due).map_err(io::Error::from)?;
            }
        }
    }

    fn cut_if_received(&self) -> Result<(), End> {
        if self.faults().cut_after_received == Some(self.received) {
            return Err(self.cut(Cut::Received));
        }
        Ok(())
    }

    fn cut(&self, cut: Cut) -> End {
        if let Some(client) = &self.client {
            self.entry
                .shared()
                .faults
                .borrow_mut()
                .used_cut(client, cut);
        }
        End::Cut
    }

    /// Where the connection was cut. Of a CONNECT that was cut all was read, and what lies behind the
    /// cut was never received.
    fn cut_report(&self, maximum_packet_size: usize) -> CutReport {
        let received = usize::try_from(self.received).unwrap_or(usize::MAX);
        let input = &self.input[..self.input.len().min(received)];
        CutReport {
            received: self.received,
            sent: self.sent,
            inside: CutPacket::find(input, maximum_packet_size),
        }
    }

    fn drops_ack(&self) -> bool {
        let mut faults = self.entry.shared().faults.borrow_mut();
        let client = self.client.as_ref();
        client.is_some_and(|client| faults.takes_ack(client))
    }

    fn faults(&self) -> Faults {
        let faults = self.entry.shared().faults.borrow();
        self.client
            .as_ref()
            .map_or_else(Faults::default, |client| faults.get(client))
    }
}

/// Makes up a client identifier for a client that has none (MQTT3-3.1.3-6).
fn made_up_client_id() -> io::Result<String> {
    let mut random = [0; 16];
    fiber::random::fill(&mut random)?;
    Ok(format!("auto-{:032x}", u128::from_be_bytes(random)))
}
