//! From one connection to the next: what a session takes with it.
//!
//! When a connection begins with the session still present, everything in flight is sent again in
//! its original order, and after it what never left (MQTT3-4.4.0-1, 4.6.0-1). When the server has
//! lost the session, what was in flight becomes new messages, as [`OnSessionLoss`] says. When the
//! server has kept a session that this process does not know, stale QoS 2 state of the server is
//! cleared before identifiers are used, other than those of messages that were restored.
//!
//! MQTT 3.1.1 leaves one gap: a server that has lost the session says so in one CONNACK. If that is
//! lost on its way, the next one speaks of a session that is present and empty, and nobody can tell.

use super::adopted::AdoptedIds;
use super::error::Rejected;
use super::handle::Output;
use super::phase::Phase;
use super::{Counters, Session};
use crate::outbound_log::OutboundLog;
use crate::packet::PacketId;
use crate::time::Time;

/// What becomes of QoS 2 messages that were in flight when the server lost the session.
///
/// Whether the server had them, nobody can know: it may have passed them on, or lost them with the
/// session. A message that cannot have come to the server whole is sent again in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnSessionLoss {
    /// They are sent as new messages: none is lost, some may double. A message stays in the log
    /// until PUBCOMP.
    #[default]
    Resend,
    /// They are given up: none doubles, some may be lost. A message stays in the log until PUBREC.
    Finish,
}

/// What became of a message that was in flight when the server lost the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It is sent as a new message; [`Effect::Completed`](super::Effect::Completed) follows and says
    /// whether the server may have had it before.
    SentAgain,
    /// It is given up, because [`OnSessionLoss::Finish`] says so: the server may or may not have
    /// had it. Its place in the window is free.
    GivenUp,
    /// With a record ([`SessionOptions::recorded`](super::SessionOptions::recorded)): it is neither in
    /// the session nor in the log any more, and its place in the window and its identifier are free.
    /// The caller publishes it again as a new message. That is so for messages that were not sent,
    /// too: they keep their order.
    HandedBack {
        /// The server may have had it. A message that was restored may have been sent.
        maybe_sent: bool,
    },
}

impl Session {
    /// Lays the last connection to rest and gets ready for the next: the phase is
    /// [`Phase::Idle`] again, publishes and requests are taken and wait.
    ///
    /// SUBSCRIBEs and UNSUBSCRIBEs that were sent and not answered are in flight no more; each is
    /// an [`Output::RequestLost`]. A packet that was half sent counts as unsent and will be sent
    /// again whole, QoS 0 too: the server cannot have taken a part of it for a message.
    ///
    /// # Errors
    /// [`Rejected::Started`] while the last connection is not over. In phase [`Phase::Idle`] there
    /// is nothing to do.
    pub fn attach(&mut self, log: &mut OutboundLog) -> Result<(), Rejected> {
        match self.connection.phase {
            Phase::Idle => return Ok(()),
            Phase::Closed => {}
            Phase::Connecting { .. }
            | Phase::Up { .. }
            | Phase::Draining { .. }
            | Phase::Leaving { .. }
            | Phase::Resting { .. } => return Err(Rejected::Started),
        }
        let sent = self.connection.sent();
        let cut = self.connection.unsent_packet(log);
        for key in self.in_flight.connection_over(log, sent, cut) {
            self.outputs.push_back(Output::RequestLost { key });
        }
        #[cfg(any(test, feature = "planted"))]
        {
            use super::Planted;
            if self.is_planted(Planted::ResendWithoutDup) {
                self.in_flight.forget_dup(log);
            } else if self.is_planted(Planted::ForgottenPubrel) {
                self.in_flight.forget_pubrels(cut);
            }
        }
        let inbound_window = self.options.inbound_window;
        self.connection = self.connection.successor(inbound_window, cut);
        self.urgent = log.tail();
        Ok(())
    }

    /// Says that the next connection is to a server that does not have this session, or that it is
    /// not: what such a server has kept is treated as a session that was lost, and its stale QoS 2
    /// state is cleared before identifiers are used. Means nothing before the session is known to
    /// any server, here or in an earlier process, and is over with the next connection that is
    /// accepted.
    pub const fn set_elsewhere(&mut self, is_elsewhere: bool) {
        self.is_elsewhere = is_elsewhere && (self.has_past || !self.is_fresh);
    }

    /// Goes on with what is in flight, now that the server has accepted the connection.
    ///
    /// `is_kept` says that the server has kept a session, be it this one or not.
    #[cold]
    pub(super) fn resume(
        &mut self,
        session_present: bool,
        is_kept: bool,
        now: Time,
        log: &mut OutboundLog,
    ) {
        if !session_present {
            let first = self.in_flight.opposite_id();
            self.adopted = is_kept.then(|| Box::new(AdoptedIds::all(first)));
            self.received.clear();
            let (outputs, policy) = (&mut self.outputs, self.options.on_session_loss);
            let tell = |key, fate| outputs.push_back(Output::SessionLost { key, fate });
            if self.options.recorded {
                self.in_flight.hand_back(policy, tell);
            } else {
                self.in_flight.session_lost(log, policy, tell);
            }
        } else if self.is_fresh {
            let mut adopted = AdoptedIds::all(self.in_flight.opposite_id());
            // Under these it holds what was restored, or nothing.
            for packet_id in self.rare.get().iter().flat_map(|rare| &rare.restored) {
                adopted.remove(*packet_id);
            }
            self.adopted = Some(Box::new(adopted));
        }
        self.is_fresh = false;
        if let Some(rare) = self.rare.get_mut() {
            rare.restored = Vec::new();
        }
        if let Some(adopted) = &mut self.adopted {
            // What was asked for on an earlier connection is asked for again.
            adopted.clear_from(self.in_flight.opposite_id());
        }
        let left_out = self.in_flight.left_out(log.head());
        let is_paced = self.pace.is_some();
        self.connection.resume(log.head(), left_out, is_paced, log);
        self.release_log(now, log);
        if self.adopted.is_some() {
            self.clear_stale();
        }
    }

    /// Sends PUBREL ahead of every QoS 2 message whose identifier may mean another to the server.
    fn clear_stale(&mut self) {
        let Some(adopted) = &self.adopted else { return };
        let stale: Vec<_> = self
            .in_flight
            .unrecorded()
            .filter(|(packet_id, _)| adopted.contains(*packet_id))
            .collect();
        for (packet_id, arrived) in stale {
            // The server may hold either message: one may be lost, or the other doubled.
            if arrived && self.options.on_session_loss == OnSessionLoss::Finish {
                continue;
            }
            if arrived {
                self.in_flight.may_be_doubled(packet_id);
            }
            self.connection.push_pubrel_ahead(packet_id);
        }
    }

    /// Sees to it that the server does not take a new QoS 2 message for one that it holds.
    #[inline]
    pub(super) fn before_exactly_once(&mut self, packet_id: PacketId) {
        if let Some(adopted) = &self.adopted
            && adopted.contains(packet_id)
            && matches!(self.connection.phase, Phase::Up { .. })
        {
            self.connection.push_pubrel_before(packet_id);
        }
    }

    /// Tells whether a received QoS 2 message with this identifier is remembered: one that comes with it
    /// is the same again, and is not delivered.
    #[must_use]
    pub fn remembers(&self, packet_id: PacketId) -> bool {
        self.received.has(packet_id)
    }

    /// Returns how many received QoS 2 messages are remembered until the server releases them: at
    /// most one for each identifier there is.
    #[must_use]
    pub fn inbound_remembered(&self) -> usize {
        self.received.len()
    }

    /// Tells whether QoS 2 messages in flight are given up with the session
    /// ([`OnSessionLoss::Finish`]).
    #[must_use]
    pub fn gives_up(&self) -> bool {
        self.options.on_session_loss == OnSessionLoss::Finish
    }

    /// The counters, to be changed, which is seldom.
    #[cold]
    #[inline(never)]
    pub(super) fn count(&mut self) -> &mut Counters {
        &mut self.rare.counters
    }

    /// Returns the counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let rare = self.rare.get();
        rare.map_or_else(Counters::default, |rare| rare.counters)
    }
}
