//! A connection: everything that dies with the transport.
//!
//! Its main work is to say which bytes go next. Control packets go first, but only between two
//! packets of the log: where a packet of the log is half sent, its rest goes first. Positions in
//! the log are bytes, so the begin of the packet that `sent` lies in is found by walking over fixed
//! headers from the last known begin, and only when somebody needs to know:
//!
//! ```text
//!   log        | packet | packet | packet | packet |
//!              ▲               ▲           ▲
//!           boundary          sent        goes before any control byte
//! ```
//! After a reconnect, the log may hold packets that must not be sent: `sent` jumps over them.

#[cfg(test)]
mod describe;
mod paced;
mod pubrels;
mod rare;

use std::collections::VecDeque;

use super::Rejected;
use super::ahead::AHEAD_BYTES_MAX;
use super::inbound::{AckRing, AckToken, Ready};
use super::keep_alive::KeepAlive;
use super::phase::Phase;
use crate::control_buffer::ControlBuffer;
use crate::outbound_log::{LogOffset, OutboundLog};
use crate::packet::{
    self, Connect, Disconnect, MAX_PACKET_LEN, PacketId, PingReq, PubAck, PubComp, PubRec, PubRel,
    Version,
};
use crate::seldom::Seldom;
use crate::time::Time;
use rare::Rare;

/// The least bound on bytes of acknowledgements that wait to be sent.
const ACK_BYTES_MIN: usize = 4 * 1024;

/// How many PUBCOMPs may wait for room in the control buffer: one for each identifier. Beyond that
/// they are not sent, and the server asks again on the next connection.
const PUBCOMPS_MAX: usize = 65_535;

/// The state of one connection.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Connection {
    pub(super) phase: Phase,
    pub(super) keep_alive: KeepAlive,
    pub(super) acks: AckRing,
    version: Version,
    control: ControlBuffer,
    /// Everything before it in the log was handed to the transport.
    sent: LogOffset,
    /// Nothing behind it in the log may be handed to the transport now: the end of a packet.
    allowed: LogOffset,
    /// The end of the last packet before `allowed` that is no message.
    passed: LogOffset,
    /// Nothing between `allowed` and this goes ahead of messages that are held back.
    looked: LogOffset,
    /// The begin of a packet in the log, not behind `sent`.
    boundary: LogOffset,
    /// What the last chunk was, so that `advance` means the same bytes.
    chunk: Chunk,
    /// No acknowledgement is encoded that would lengthen the control buffer beyond this; far enough
    /// below its bound for PINGREQ and DISCONNECT.
    ack_bytes_max: usize,
    /// PUBCOMPs that wait for room.
    pubcomps: VecDeque<PacketId>,
    pub(super) rare: Seldom<Rare>,
    number: u32,
}

/// Where a chunk lies, and how long it is.
#[derive(Clone, Copy, Debug)]
enum Chunk {
    Control(usize),
    Log(usize),
}

impl Connection {
    /// Makes the connection with this number, in phase `Idle`; the log is sent from `sent`, the
    /// begin of a packet.
    pub(super) fn new(number: u32, version: Version, inbound_window: u16, sent: LogOffset) -> Self {
        Self {
            phase: Phase::Idle,
            keep_alive: KeepAlive::new(0, None, Time::ZERO),
            acks: AckRing::new(number, inbound_window.into()),
            version,
            control: ControlBuffer::new(),
            sent,
            allowed: sent,
            passed: sent,
            looked: sent,
            boundary: sent,
            chunk: Chunk::Control(0),
            ack_bytes_max: ACK_BYTES_MIN
                .max(usize::from(inbound_window) * PubAck::new(PacketId::MIN).encoded_len(version)),
            pubcomps: VecDeque::new(),
            rare: Seldom::new(),
            number,
        }
    }

    /// Makes the connection that follows this one.
    pub(super) fn successor(&self, inbound_window: u16, sent: LogOffset) -> Self {
        let number = self.number.wrapping_add(1);
        Self::new(number, self.version, inbound_window, sent)
    }

    /// Sends the log from `from` on, the begin of a packet, without these ranges of whole packets;
    /// `is_paced` says that no more leaves than [`Connection::let_leave`] allows.
    pub(super) fn resume(
        &mut self,
        from: LogOffset,
        left_out: Vec<(LogOffset, LogOffset)>,
        is_paced: bool,
        log: &OutboundLog,
    ) {
        self.allowed = if is_paced { from } else { EVERYTHING };
        self.passed = from;
        self.looked = from;
        self.sent = from;
        self.boundary = from;
        if !left_out.is_empty() {
            self.rare.left_out = left_out.into();
        }
        self.jump(log);
    }

    /// Lets no more leave than [`Connection::let_leave`] allows from now on, or everything.
    pub(super) fn set_paced(&mut self, is_paced: bool, log: &OutboundLog) {
        match (is_paced, self.allowed == EVERYTHING) {
            (true, true) => self.allowed = self.half_sent(log).unwrap_or(self.sent),
            (false, _) if self.is_up() => self.allowed = EVERYTHING,
            (true | false, _) => {}
        }
    }

    /// Tells whether no packet is sent in part.
    pub(super) fn is_between_packets(&mut self, log: &OutboundLog) -> bool {
        self.half_sent(log).is_none()
    }

    /// Tells whether it is the first of the session.
    pub(super) const fn is_first(&self) -> bool {
        self.number == 0
    }

    /// Tells that neither buffer holds anything that was not sent, so that the next chunk is empty.
    #[inline]
    pub(super) fn is_all_sent(&self, log: &OutboundLog) -> bool {
        self.sent == log.tail() && self.control.is_empty()
    }

    /// Returns the bytes to be sent next; empty when there are none.
    #[inline]
    pub(super) fn next_chunk<'a>(&'a mut self, log: &'a OutboundLog) -> &'a [u8] {
        if self.is_all_sent(log) {
            self.chunk = Chunk::Log(0);
            return &[];
        }
        self.next_unsent(log)
    }

    fn next_unsent<'a>(&'a mut self, log: &'a OutboundLog) -> &'a [u8] {
        if let Some(end) = self.log_end(log) {
            let bytes = log.slice(self.sent, end);
            self.chunk = Chunk::Log(bytes.len());
            return bytes;
        }
        let bytes = if self.phase == Phase::Closed {
            &[]
        } else {
            self.control.unsent()
        };
        self.chunk = Chunk::Control(bytes.len());
        bytes
    }

    /// Returns how far the log goes next; `None` where it is the turn of the control buffer.
    #[inline]
    fn log_end(&mut self, log: &OutboundLog) -> Option<LogOffset> {
        if !self.is_up() {
            None
        } else if self.control.is_empty() {
            let end = self.next_left_out().unwrap_or_else(|| log.tail());
            // What is sent already is not taken back.
            Some(end.min(self.allowed).max(self.sent))
        } else {
            self.half_sent(log)
        }
    }

    /// Notes that the first `n` bytes of the last chunk were taken.
    ///
    /// # Panics
    /// If the chunk is shorter.
    #[inline]
    pub(super) fn advance(&mut self, n: usize, now: Time, log: &OutboundLog) {
        match &mut self.chunk {
            Chunk::Log(len) => {
                assert!(n <= *len, "more bytes taken than given");
                *len -= n;
                self.sent = self.sent.plus(n);
                if self.next_left_out().is_some() {
                    self.jump(log);
                }
                if self.sent == log.tail() {
                    self.boundary = self.sent;
                }
            }
            Chunk::Control(len) => {
                assert!(n <= *len, "more bytes taken than given");
                *len -= n;
                self.control.advance(n);
            }
        }
        if n > 0 {
            self.keep_alive.sent(now);
        }
        if self.keep_alive.is_queued() {
            self.note_ping_progress(now, log);
        }
    }

    /// Returns the end of the packet that is half sent; `None` if there is no such.
    fn half_sent(&mut self, log: &OutboundLog) -> Option<LogOffset> {
        while self.boundary < self.sent {
            let end = packet_end(log, self.boundary);
            if end > self.sent {
                return Some(end);
            }
            self.boundary = end;
        }
        None
    }

    /// Returns the begin of the first packet that was not sent whole.
    pub(super) fn unsent_packet(&mut self, log: &OutboundLog) -> LogOffset {
        self.half_sent(log);
        self.boundary
    }

    /// Returns the begin of a packet such that the log is still needed from there on.
    #[inline]
    pub(super) const fn boundary(&self) -> LogOffset {
        self.boundary
    }

    /// Returns the position up to which the log was sent.
    #[inline]
    pub(super) const fn sent(&self) -> LogOffset {
        self.sent
    }

    /// Returns the position up to which the control buffer was sent.
    #[inline]
    pub(super) const fn control_sent(&self) -> LogOffset {
        self.control.sent()
    }

    /// Gives the control buffer back while nothing is in it.
    pub(super) fn give_back(&mut self) {
        self.control.give_back();
    }

    /// Tells whether no control packet waits to be sent.
    #[inline]
    pub(super) const fn control_is_empty(&self) -> bool {
        self.control.is_empty()
    }

    /// Tells whether the log may be sent and messages come in.
    #[inline]
    pub(super) const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up { .. } | Phase::Draining { .. })
    }

    /// Tells whether new publishes and requests are taken.
    #[inline]
    pub(super) const fn is_open(&self) -> bool {
        matches!(
            self.phase,
            Phase::Idle | Phase::Connecting { .. } | Phase::Up { .. } | Phase::Resting { .. }
        )
    }

    pub(super) fn push_connect(&mut self, connect: &Connect<'_>) {
        let out = self.control.reserve(connect.encoded_len(self.version));
        connect.encode(
            self.version,
            out.expect("the buffer is made for the longest CONNECT"),
        );
    }

    pub(super) fn push_pingreq(&mut self, now: Time, log: &OutboundLog) {
        let out = self.control.reserve(PingReq.encoded_len(self.version));
        PingReq.encode(
            self.version,
            out.expect("acknowledgements leave room for one PINGREQ"),
        );
        self.keep_alive.queued(self.control.end());
        self.note_ping_progress(now, log);
    }

    pub(super) fn push_disconnect(&mut self) {
        // What was finished before is acknowledged before.
        self.flush_acks();
        let disconnect = Disconnect::new();
        let out = self.control.reserve(disconnect.encoded_len(self.version));
        disconnect.encode(
            self.version,
            out.expect("acknowledgements leave room for DISCONNECT"),
        );
    }

    /// Answers a PUBREL (MQTT3-4.3.3-2), as soon as there is room.
    pub(super) fn push_pubcomp(&mut self, packet_id: PacketId) {
        if self.pubcomps.len() < PUBCOMPS_MAX {
            self.pubcomps.push_back(packet_id);
            self.flush_acks();
        }
    }

    /// Answers a PUBREC that came again, unless the server takes no answers: then it asks again on
    /// the next connection.
    pub(super) fn push_pubrel(&mut self, packet_id: PacketId) {
        let pubrel = PubRel::new(packet_id);
        let len = pubrel.encoded_len(self.version);
        if self.is_up()
            && self.control.len() + len <= self.ack_bytes_max
            && let Ok(out) = self.control.reserve(len)
        {
            pubrel.encode(self.version, out);
        }
    }

    /// Marks a message as handled and lets the acknowledgements go whose turn it is; `false` if the
    /// token stands for nothing any more.
    #[inline]
    pub(super) fn acknowledge(&mut self, token: AckToken) -> bool {
        let known = self.acks.finish(token);
        if known {
            self.flush_acks();
        }
        known
    }

    /// Encodes the acknowledgements whose turn it is, as far as there is room for them.
    #[inline]
    pub(super) fn flush_acks(&mut self) {
        if !self.is_up() {
            return;
        }
        if !self.pubcomps.is_empty() {
            self.flush_pubcomps();
        }
        if self.acks.ready().is_some() {
            self.encode_acks();
        }
    }

    /// Encodes the acknowledgements whose turn it is, as many as there is room for, into one piece.
    fn encode_acks(&mut self) {
        let version = self.version;
        // PUBACK and PUBREC are of one length.
        let len = PubAck::new(PacketId::MIN).encoded_len(version);
        let room = self.ack_bytes_max.saturating_sub(self.control.len());
        let count = self.acks.ready_count(room / len);
        let Ok(out) = self.control.reserve(count * len) else {
            return;
        };
        for out in out.chunks_exact_mut(len) {
            match self.acks.ready() {
                Some(Ready::PubAck(packet_id)) => PubAck::new(packet_id).encode(version, out),
                Some(Ready::PubRec(packet_id)) => PubRec::new(packet_id).encode(version, out),
                None => return,
            };
            self.acks.pop();
        }
    }

    fn flush_pubcomps(&mut self) {
        let version = self.version;
        while let Some(packet_id) = self.pubcomps.front() {
            let pubcomp = PubComp::new(*packet_id);
            let Some(out) = self.reserve_ack(pubcomp.encoded_len(version)) else {
                return;
            };
            pubcomp.encode(version, out);
            self.pubcomps.pop_front();
        }
    }

    /// Makes room for an acknowledgement, within their share of the buffer.
    #[inline]
    fn reserve_ack(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.control.len() + len > self.ack_bytes_max {
            return None;
        }
        self.control.reserve(len).ok()
    }

    /// Makes room for a request that goes ahead of the log, where little else waits.
    pub(super) fn reserve_ahead(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.control.len() + len > AHEAD_BYTES_MAX {
            return None;
        }
        self.control.reserve(len).ok()
    }

    /// Tells whether acknowledgements wait that may leave as soon as there is room.
    #[inline]
    pub(super) fn owes_acks(&self) -> bool {
        self.acks.ready().is_some() || !self.pubcomps.is_empty()
    }

    #[cold]
    fn note_ping_progress(&mut self, now: Time, log: &OutboundLog) {
        if !self.is_up() || self.half_sent(log).is_none() {
            self.keep_alive.control_is_next(self.control.sent(), now);
        }
    }

    /// Returns an error unless the phase is `Idle`.
    pub(super) fn check_idle(&self) -> Result<(), Rejected> {
        match self.phase {
            Phase::Idle => Ok(()),
            Phase::Connecting { .. } | Phase::Up { .. } | Phase::Resting { .. } => {
                Err(Rejected::Started)
            }
            Phase::Draining { .. } | Phase::Leaving { .. } | Phase::Closed => Err(Rejected::Ended),
        }
    }

    /// Returns an error unless the server has accepted the connection and it is open.
    pub(super) fn check_up(&self) -> Result<(), Rejected> {
        match self.phase {
            Phase::Up { .. } => Ok(()),
            Phase::Idle | Phase::Connecting { .. } | Phase::Resting { .. } => Err(Rejected::NotUp),
            Phase::Draining { .. } | Phase::Leaving { .. } | Phase::Closed => Err(Rejected::Ended),
        }
    }
}

/// The position that no log comes to.
const EVERYTHING: LogOffset = LogOffset(u64::MAX);

/// Returns the end of the packet that begins at `start`.
fn packet_end(log: &OutboundLog, start: LogOffset) -> LogOffset {
    let len = packet::peek_len(log.from(start), MAX_PACKET_LEN)
        .ok()
        .flatten();
    start.plus(len.expect("the log holds whole packets of ours"))
}
