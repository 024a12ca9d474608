//! The session: what the client and the server have promised each other, as a value.
//!
//! A [`Session`] neither waits nor reads a clock: its caller tells it what happened and what time it
//! is, writes the bytes it offers, and carries out the little it returns. Packets to be sent are
//! encoded straight into the [`OutboundLog`] that every call is given, so there is no queue of
//! packets; rare events come out of [`Session::next_output`].
//!
//! ```text
//!   publish, subscribe, ..  ──►┌─────────┐──► next_chunk, advance     bytes to the transport
//!   handle(packet | timer)  ──►│ Session │──► Effect, next_output     what the caller must do
//!   received, write_blocked ──►└─────────┘──► next_deadline           when to call with a timer
//! ```
//! Two kinds of state are kept apart. The packets in flight, their identifiers, the log and the
//! identifiers of received QoS 2 messages outlive a connection (MQTT3-4.1.0-1). The phase, the
//! control buffer, the position of sending, the clocks and the acknowledgements owed to the server
//! are those of one connection and die with it. After a connection, [`Session::attach`] and
//! [`Session::connect`] begin the next.
//!
//! Routing, handlers, tickets and waiting are not done here.
//!
//! Clauses: MQTT3-3.1 to 3.14 as far as they are about order and state, 4.1, 4.3, 4.4, 4.6.

mod adopted;
mod ahead;
mod answers;
mod command;
mod connection;
mod due;
mod error;
mod handle;
mod hold;
mod in_flight;
mod inbound;
mod keep_alive;
mod kept;
mod phase;
#[cfg(any(test, feature = "planted"))]
mod planted;
mod rate;
mod received;
mod recorded;
mod restore;
mod resume;
mod server_limits;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod tests;
mod unanswered;

use std::collections::VecDeque;
use std::time::Duration;

pub use ahead::AHEAD_BYTES_MAX;
pub use command::{Admitted, Outgoing, TicketKey};
pub use error::{ArgumentError, NoRoom, PeerError, Rejected};
pub use handle::{Effect, Input, Output};
pub use inbound::AckToken;
pub use phase::{CloseCause, Phase};
#[cfg(any(test, feature = "planted"))]
#[doc(hidden)]
pub use planted::Planted;
pub use rate::{PublishByteRate, PublishRate};
pub use resume::{Fate, OnSessionLoss};
pub use server_limits::{Limit, Limited, ServerLimits};
pub use unanswered::{Unanswered, UnansweredPacket};

use crate::outbound_log::{LogOffset, OutboundLog};
use crate::packet::{MAX_PACKET_LEN, PacketId, Version};
use crate::seldom::Seldom;
use crate::time::Time;
use adopted::AdoptedIds;
use connection::Connection;
use in_flight::InFlight;
use kept::Kept;
pub(crate) use rate::Pace;
use received::ReceivedIds;

/// The largest window of unacknowledged publishes: with all requests there are still fewer than
/// there are packet identifiers.
pub const WINDOW_MAX: u16 = u16::MAX - REQUESTS_AHEAD_MAX as u16;

/// How many SUBSCRIBEs and UNSUBSCRIBEs may be unacknowledged; more wait as
/// [`NoRoom::Requests`].
pub const REQUESTS_MAX: usize = 64;

/// How many may be unacknowledged when one goes ahead of the log, so that a log full of them does
/// not hold it back.
pub const REQUESTS_AHEAD_MAX: usize = 2 * REQUESTS_MAX;

/// How many topic filters one request may name; more are [`ArgumentError::TooManyFilters`].
pub const FILTERS_MAX: usize = 1_024;

/// How many bytes at most are held back so that acknowledgements clock the writes.
pub const HOLD_BYTES_MAX: usize = 16 * 1024;

/// How long nothing must have been sent or received before a grown, empty log is given back.
pub const TRIM_AFTER: Duration = Duration::from_secs(10);

/// What a session is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// The protocol version.
    pub version: Version,
    /// How many publishes may be unacknowledged, from 1 to [`WINDOW_MAX`]; a value outside counts
    /// as the nearest. More wait as [`NoRoom::Window`].
    pub window: u16,
    /// How many received messages may await their acknowledgement by us; more are
    /// [`PeerError::InboundWindow`].
    pub inbound_window: u16,
    /// How long nothing may be sent, or nothing received, before PINGREQ; at least a second.
    /// `None`: the keep-alive of CONNECT, and no PINGREQ where that is 0.
    pub ping_after: Option<Duration>,
    /// How long after CONNECT the server may take for CONNACK.
    pub connack_timeout: Duration,
    /// How long DISCONNECT may take to leave, with everything that was published before.
    pub disconnect_timeout: Duration,
    /// What becomes of QoS 2 messages in flight when the server loses the session.
    pub on_session_loss: OnSessionLoss,
    /// How many messages may leave in a time; any number, unless set. What came before goes on
    /// counting on a later connection.
    pub publish_rate: Option<PublishRate>,
    /// How many bytes of messages may leave in a time, beside their number; likewise.
    pub publish_byte_rate: Option<PublishByteRate>,
    /// The longest packet that the server takes, in bytes; a longer one is
    /// [`ArgumentError::TooLarge`].
    pub packet_bytes_max: usize,
    /// The caller keeps a record, and says what is in it before a packet leaves that reveals it: QoS 2
    /// messages are published with [`Session::reserve`] and [`Session::publish_reserved`], their
    /// PUBRELs leave with [`Session::release`], PUBCOMPs with [`Session::complete`]. When the server
    /// loses the session, what was in flight comes back as [`Fate::HandedBack`].
    pub recorded: bool,
    /// What the session does wrong, for a test that is to find it.
    #[cfg(any(test, feature = "planted"))]
    #[doc(hidden)]
    pub planted: Option<Planted>,
}

impl Default for SessionOptions {
    /// Window 1 000, inbound window 1 024, pings by keep-alive, 30 s for CONNACK, 2 s for DISCONNECT,
    /// QoS 2 messages sent again when the session is lost, no record.
    fn default() -> Self {
        Self {
            version: Version::default(),
            window: 1_000,
            inbound_window: 1_024,
            ping_after: None,
            connack_timeout: Duration::from_secs(30),
            disconnect_timeout: Duration::from_secs(2),
            on_session_loss: OnSessionLoss::default(),
            publish_rate: None,
            publish_byte_rate: None,
            packet_bytes_max: MAX_PACKET_LEN,
            recorded: false,
            #[cfg(any(test, feature = "planted"))]
            planted: None,
        }
    }
}

/// What happened that nobody had to act on. The counters only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// PUBACK, PUBREC, PUBCOMP, SUBACK and UNSUBACK for an identifier that awaits no such packet;
    /// they were ignored, a PUBREC answered unless the identifier is one that is yet to be used.
    pub unknown_acks: u64,
    /// PUBREL for an identifier that is not known; it was answered, or given to the caller that keeps
    /// a record.
    pub unknown_releases: u64,
    /// QoS 2 messages that came again; they were answered and not delivered.
    pub repeated_messages: u64,
}

/// The client's side of an MQTT session and of its connections, one after the other.
///
/// Every method that takes an [`OutboundLog`] must be given the same one, which was new when the
/// session was.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Session {
    options: Kept,
    in_flight: InFlight,
    received: ReceivedIds,
    /// No server has accepted a connection yet.
    is_fresh: bool,
    /// The next connection is to a server that does not have this session.
    is_elsewhere: bool,
    /// Something of an earlier process was put back: some server knew the session.
    has_past: bool,
    /// Only where the server kept a session that was not known here.
    adopted: Option<Box<AdoptedIds>>,
    connection: Connection,
    outputs: VecDeque<Output>,
    rare: Seldom<Rare>,
    /// What the rate leaves to be sent; without a rate there is none.
    pace: Option<Box<Pace>>,
    /// The rate holds messages back.
    is_throttled: bool,
    /// When to see whether the log can be given back; set when it is empty and had grown.
    trim_at: Option<Time>,
    /// The end of the last packet in the log that must not be held back.
    urgent: LogOffset,
}

/// What few sessions come to.
#[derive(Clone, Debug, Default)]
struct Rare {
    /// Identifiers of QoS 2 messages of an earlier process, until a server has accepted a connection.
    restored: Vec<PacketId>,
    counters: Counters,
}

impl Session {
    /// Makes a session without any state, for a new log.
    #[must_use]
    pub fn new(mut options: SessionOptions) -> Self {
        options.window = options.window.clamp(1, WINDOW_MAX);
        let (version, inbound_window) = (options.version, options.inbound_window);
        #[cfg(any(test, feature = "planted"))]
        let in_flight =
            InFlight::giving_early(options.planted == Some(Planted::IdentifierReusedEarly));
        #[cfg(not(any(test, feature = "planted")))]
        let in_flight = InFlight::new();
        Self {
            in_flight,
            received: ReceivedIds::default(),
            is_fresh: true,
            is_elsewhere: false,
            has_past: false,
            adopted: None,
            connection: Connection::new(0, version, inbound_window, LogOffset::default()),
            outputs: VecDeque::new(),
            rare: Seldom::new(),
            pace: Pace::new(options.publish_rate, options.publish_byte_rate).map(Box::new),
            is_throttled: false,
            trim_at: None,
            urgent: LogOffset::default(),
            options: Kept::of(options),
        }
    }

    /// Lets as many messages leave as the rate allows by now, and what is no message ahead of those that
    /// it does not. To be called before [`Session::next_chunk`] where there is a rate, and again after
    /// everything was sent: without this nothing of the log leaves.
    #[inline]
    pub fn pace(&mut self, now: Time, log: &OutboundLog) {
        if self.pace.is_some() && self.connection.is_up() {
            self.let_leave(now, log);
        }
    }

    fn let_leave(&mut self, now: Time, log: &OutboundLog) {
        let Some(pace) = &mut self.pace else {
            return;
        };
        let is_held = self.connection.let_leave(pace, now, log);
        if is_held {
            self.send_ahead(log);
            if !self.is_throttled {
                self.outputs.push_back(Output::Throttled);
            }
        }
        self.is_throttled = is_held;
    }

    /// Whether the rate holds messages back.
    pub const fn is_throttled(&self) -> bool {
        self.is_throttled
    }

    /// Returns the bytes to be sent next, empty when there are none. A caller that could write them
    /// all asks again: control packets and the log come in chunks of their own.
    ///
    /// What was taken is told by [`Session::advance`] before anything else is asked for.
    #[inline]
    pub fn next_chunk<'a>(&'a mut self, log: &'a OutboundLog) -> &'a [u8] {
        self.connection.next_chunk(log)
    }

    /// Tells that neither the log nor the control packets have anything left that was not sent.
    #[inline]
    pub fn is_all_sent(&self, log: &OutboundLog) -> bool {
        self.connection.is_all_sent(log)
    }

    /// Notes that the transport took the first `n` bytes of the last chunk.
    ///
    /// # Panics
    /// If the chunk was shorter.
    #[inline]
    pub fn advance(&mut self, n: usize, now: Time, log: &mut OutboundLog) {
        self.connection.advance(n, now, log);
        if self.connection.owes_acks() {
            self.connection.flush_acks();
        }
        if matches!(
            self.connection.phase,
            Phase::Draining { .. } | Phase::Leaving { .. } | Phase::Resting { .. }
        ) {
            self.leave(log);
        }
        self.release_log(now, log);
    }

    /// Notes that the transport passed on bytes that it had taken before, as a TLS layer does with
    /// the rest of a record.
    #[inline]
    pub fn progressed(&mut self, now: Time) {
        self.connection.keep_alive.sent(now);
    }

    /// Notes that the transport takes no byte now though some wait. If that lasts, the connection is
    /// given up as [`CloseCause::WriteStall`].
    #[inline]
    pub fn write_blocked(&mut self, now: Time) {
        self.connection.keep_alive.blocked(now);
    }

    /// Tells whether PINGREQ is under way: the next bytes that come answer it, and change
    /// [`Session::next_deadline`].
    #[inline]
    #[must_use]
    pub fn is_pinging(&self) -> bool {
        let control_sent = self.connection.control_sent();
        self.connection.keep_alive.is_pinging(control_sent)
    }

    /// Notes that bytes were received, whatever they are.
    #[inline]
    pub fn received(&mut self, now: Time) {
        self.connection.keep_alive.received(now);
    }

    /// Gives back memory that only what is over has needed, for a caller that is about to wait for long.
    pub fn give_back(&mut self) {
        self.connection.give_back();
        if self.outputs.is_empty() {
            self.outputs = VecDeque::new();
        }
    }

    /// Notes that the transport has ended or failed. There is no output for it: the caller knows
    /// the cause. Publishes are taken again after [`Session::attach`].
    pub fn connection_lost(&mut self) {
        self.connection.phase = Phase::Closed;
    }

    /// Returns the next rare event, in the order in which they happened; to be called until `None`
    /// after every other method that may cause one.
    #[inline]
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Tells whether [`Session::next_output`] has one.
    #[inline]
    #[must_use]
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Returns where the connection stands.
    #[inline]
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.connection.phase
    }

    /// Returns the position in the log before which everything was taken by the transport: a packet
    /// is sent when its [end](Admitted::end) is not behind it. It goes back when a reconnect sends
    /// packets again; none of those counts as unsent.
    #[inline]
    #[must_use]
    pub const fn sent(&self) -> LogOffset {
        self.connection.sent()
    }

    /// Returns how many publishes await their acknowledgement; identifiers that are reserved do not
    /// count.
    #[inline]
    #[must_use]
    pub const fn unacknowledged(&self) -> usize {
        self.in_flight.published()
    }

    /// Returns how many SUBSCRIBEs and UNSUBSCRIBEs await their answer.
    #[inline]
    #[must_use]
    pub const fn requests(&self) -> usize {
        self.in_flight.requests()
    }

    /// Returns how many more publishes the window takes.
    #[inline]
    #[must_use]
    pub fn window_room(&self) -> usize {
        usize::from(self.options.window).saturating_sub(self.in_flight.publishes())
    }

    /// Returns how many more received messages can be held until they are acknowledged: with none,
    /// no further packet may be handed to [`Session::handle`].
    #[inline]
    #[must_use]
    pub fn inbound_room(&self) -> usize {
        self.connection.acks.room()
    }

    /// Returns how many received messages await their acknowledgement by us.
    #[inline]
    #[must_use]
    pub fn inbound_held(&self) -> usize {
        self.connection.acks.len()
    }

    /// Returns the oldest received message of this connection if it is not acknowledged by
    /// [`Session::acknowledge`] yet: it holds back the acknowledgements of all later ones
    /// (MQTT3-4.6.0-2).
    #[inline]
    #[must_use]
    pub fn oldest_unhandled(&self) -> Option<AckToken> {
        self.connection.acks.oldest_unfinished()
    }

    /// Says all that matters later, for a comparison of sessions with the same options, at the same
    /// time, all of whose packets were sent whole or not at all.
    #[cfg(test)]
    fn describe(&self, log: &OutboundLog, canon: &mut tests::Canon) {
        let sent = self.connection.sent();
        self.connection.describe(canon);
        self.in_flight.describe(canon, log, sent);
        self.received.describe(canon);
        canon.number(self.is_fresh.into());
        for packet_id in &self.rare.restored {
            canon.number(packet_id.get().into());
        }
        canon.end();
        match &self.adopted {
            Some(adopted) => adopted.describe(canon),
            None => canon.end(),
        }
        canon.number(self.outputs.len() as u64);
        canon.place(log.tail());
        canon.bytes(log.slice(sent, log.tail()));
    }

    /// Tells whether there are bytes to be sent.
    #[cfg(test)]
    fn has_unsent(&self, log: &OutboundLog) -> bool {
        !self.connection.control_is_empty()
            || (self.connection.is_up() && self.connection.sent() < log.tail())
    }

    /// Gives up the part of the log that nobody needs any more.
    #[inline]
    fn release_log(&mut self, now: Time, log: &mut OutboundLog) {
        let boundary = self.connection.boundary();
        log.release(
            self.in_flight
                .oldest()
                .map_or(boundary, |oldest| oldest.min(boundary)),
        );
        if log.is_empty() && log.has_grown() {
            self.trim_at = Some(now + TRIM_AFTER);
        }
    }

    /// Goes on with leaving as far as what was sent allows.
    #[cold]
    fn leave(&mut self, log: &OutboundLog) {
        if let Phase::Draining { deadline } = self.connection.phase
            && self.connection.sent() == log.tail()
        {
            self.connection.push_disconnect();
            self.connection.phase = Phase::Leaving { deadline };
        } else if let Phase::Leaving { .. } = self.connection.phase
            && self.connection.control_is_empty()
        {
            self.close(CloseCause::Disconnected);
        } else if let Phase::Resting { .. } = self.connection.phase
            && self.connection.control_is_empty()
        {
            self.close(CloseCause::Rested);
        }
    }

    #[cold]
    fn close(&mut self, cause: CloseCause) {
        self.connection.phase = Phase::Closed;
        self.outputs.push_back(Output::Closed(cause));
    }
}
