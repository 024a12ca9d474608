//! What is in flight when a connection ends, and when the next one begins with or without the
//! session.
//!
//! Everything is done in place: packets that were sent are moved together, so that sending them
//! again is sending from the front of the log, and a message that goes into a new session has its
//! DUP flag and its identifier overwritten. What lies between and must not be sent is a list of
//! ranges to be left out:
//!
//! ```text
//!                  front                           cut                       tail
//!   with session   | A (DUP) | kept B | PUBREL B |  | C | D                  |
//!                                 ╰ left out
//!   without        | A (new) | B (new) | PUBREL B | | C | PUBREL E | D       |
//!                                          ╰ left out     ╰ left out
//! ```
//! Clauses: MQTT3-4.4.0-1, 4.6.0-1, 4.6.0-4, 3.3.1-1, 2.3.1-3.

use super::{Entry, Exchange, InFlight, RELEASE_LEN};
use crate::outbound_log::{LogOffset, OutboundLog};
use crate::packet::PacketId;
use crate::session::{Fate, OnSessionLoss, TicketKey};
use crate::sorted::sorted;

/// The DUP flag in the first byte of PUBLISH.
pub(super) const DUP: u8 = 1 << 3;

impl InFlight {
    /// Notes the end of a connection that took everything before `sent`, and all packets before
    /// `cut` whole. Whatever is kept before `cut` is moved together there. Returns the keys of the
    /// requests that were sent and not answered, in order; they are in flight no more.
    pub(in crate::session) fn connection_over(
        &mut self,
        log: &mut OutboundLog,
        sent: LogOffset,
        cut: LogOffset,
    ) -> Vec<TicketKey> {
        let mut requests = Vec::new();
        for slot in &mut self.slots {
            let Some(entry) = slot else { continue };
            match entry.exchange {
                Exchange::AtLeastOnce | Exchange::ExactlyOnce | Exchange::Recording => {
                    if entry.start < sent {
                        *log.first_byte_mut(entry.start) |= DUP;
                    }
                    entry.arrived |= entry.end() <= sent;
                }
                Exchange::Reserved | Exchange::Release { .. } => {}
                Exchange::Subscribe { .. } | Exchange::Unsubscribe => {
                    if entry.end() <= cut {
                        // Requests that went ahead of the log lie at the same place. Their
                        // identifiers were given one after the other, in a circle.
                        let age = entry.packet_id.get().wrapping_sub(self.next.get());
                        requests.push((entry.start, age, entry.key));
                        *slot = None;
                    }
                }
            }
        }
        self.requests -= requests.len();
        self.compact(log, cut);
        let requests = sorted(requests).into_iter();
        requests.map(|(_, _, key)| key).collect()
    }

    /// Returns the ranges of the log from `head` on that a connection with the same session leaves
    /// out, in order.
    pub(in crate::session) fn left_out(&self, head: LogOffset) -> Vec<(LogOffset, LogOffset)> {
        let kept = self.slots.iter().flatten().filter(|entry| entry.is_kept());
        let kept = kept.map(|entry| (entry.start, entry.end()));
        let dead = self.dead.iter().copied();
        sorted(
            kept.chain(dead.filter(|(start, _)| *start >= head))
                .collect(),
        )
    }

    /// Returns the identifiers of messages that await PUBREC, in their order, with whether the
    /// message may have come to the server before.
    pub(in crate::session) fn unrecorded(&self) -> impl Iterator<Item = (PacketId, bool)> {
        self.order.iter().filter_map(|&(start, packet_id)| {
            let entry = self.any_entry(packet_id)?;
            (entry.exchange == Exchange::ExactlyOnce && entry.start == start)
                .then_some((packet_id, entry.arrived))
        })
    }

    /// Notes that the server may take this message for a second one.
    pub(in crate::session) fn may_be_doubled(&mut self, packet_id: PacketId) {
        let slot = self.slot(packet_id);
        if let Some(entry) = &mut self.slots[slot] {
            entry.twice = true;
        }
    }

    /// Turns what was sent to a server that has lost the session into new messages, or gives it up
    /// where the policy says so, and tells what became of each, in order.
    pub(in crate::session) fn session_lost(
        &mut self,
        log: &mut OutboundLog,
        policy: OnSessionLoss,
        mut tell: impl FnMut(TicketKey, Fate),
    ) {
        self.drop_dead();
        let order = std::mem::take(&mut self.order);
        let mut entries = Vec::with_capacity(self.publishes);
        for (start, packet_id) in order {
            let slot = self.slot(packet_id);
            let entry = self.slots[slot].expect("only live packets are left in the order");
            if entry.release_start() == Some(start) {
                self.dead.push((start, start.plus(RELEASE_LEN)));
                if !entry.is_kept() {
                    tell(entry.key, Fate::GivenUp);
                }
                continue;
            }
            let first_byte = log.first_byte_mut(start);
            let released = matches!(entry.exchange, Exchange::Release { .. });
            if !released && *first_byte & DUP == 0 {
                entries.push((entry, false));
                continue;
            }
            let arrived = entry.arrived || released;
            if arrived && entry.exchange != Exchange::AtLeastOnce && policy == OnSessionLoss::Finish
            {
                self.dead.push((start, entry.end()));
                tell(entry.key, Fate::GivenUp);
                continue;
            }
            *first_byte &= !DUP;
            tell(entry.key, Fate::SentAgain);
            entries.push((entry.renewed(arrived), true));
        }
        self.reenter(entries, log);
    }

    /// Puts back the publishes that are left, in order, those that are new with new identifiers.
    fn reenter(&mut self, entries: Vec<(Entry, bool)>, log: &mut OutboundLog) {
        for slot in &mut self.slots {
            slot.take_if(|entry| {
                !entry.exchange.is_request() && entry.exchange != Exchange::Reserved
            });
        }
        self.publishes = self.reserved;
        self.recording = 0;
        self.publish_bytes = 0;
        self.unreleased = 0;
        // Those that keep their identifier first, so that no other gets it; the order follows.
        for (entry, _) in entries.iter().filter(|(_, is_new)| !is_new) {
            self.enter(*entry);
        }
        self.order.clear();
        for (mut entry, is_new) in entries {
            if is_new {
                entry.packet_id = self.free_id();
                self.next = super::successor(entry.packet_id);
                set_packet_id(log.slice_mut(entry.start, entry.end()), entry.packet_id);
                self.enter(entry);
            } else {
                self.push_order(entry.start, entry.packet_id);
            }
        }
    }
}

impl Entry {
    /// Returns the entry of the same message in a new session.
    const fn renewed(self, arrived: bool) -> Self {
        let exchange = match self.exchange {
            Exchange::Release { .. } => Exchange::ExactlyOnce,
            other => other,
        };
        Self {
            exchange,
            release: self.start,
            arrived: false,
            twice: self.twice | arrived,
            ..self
        }
    }
}

/// Overwrites the identifier in a PUBLISH of ours that has one.
fn set_packet_id(packet: &mut [u8], packet_id: PacketId) {
    const CONTINUED: u8 = 1 << 7;
    let length = packet[1..].iter().take_while(|byte| **byte >= CONTINUED);
    let topic_at = 2 + length.count();
    let topic_len = u16::from_be_bytes([packet[topic_at], packet[topic_at + 1]]);
    let id_at = topic_at + 2 + usize::from(topic_len);
    packet[id_at..id_at + 2].copy_from_slice(&packet_id.get().to_be_bytes());
}
