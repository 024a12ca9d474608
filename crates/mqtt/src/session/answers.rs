//! Answers to published messages, one behind the other: a server that has got many sends many, and what is
//! the same for all of them is done once.

use super::command::TicketKey;
use super::{Effect, Session};
use crate::outbound_log::OutboundLog;
use crate::packet::{self, PacketType};
use crate::time::Time;

impl Session {
    /// Handles the PUBACK, PUBREC and PUBCOMP packets at the start of `bytes`, as [`Session::handle`] does with
    /// each. Calls `completed` with what it says of a message in
    /// [`Effect::Completed`], in their order.
    ///
    /// Returns how many bytes they were. What is behind them is to be decoded and handled: another packet, or
    /// an answer that is none of such as come without anything special.
    #[inline]
    pub fn handle_answers(
        &mut self,
        bytes: &[u8],
        now: Time,
        log: &mut OutboundLog,
        mut completed: impl FnMut(TicketKey, bool),
    ) -> usize {
        // PUBREC is recorded by the caller then.
        if self.options.recorded || !self.connection.is_up() {
            return 0;
        }
        let sent = self.connection.sent();
        let mut at = 0;
        while let Some((packet_type, packet_id)) = packet::split_answer(&bytes[at..]) {
            let effect = match packet_type {
                PacketType::PubAck => match self.in_flight.complete_publish(packet_id, sent) {
                    Some(ended) => ended.into(),
                    None => self.on_unknown_ack(),
                },
                PacketType::PubRec => self.on_pubrec(packet_id, now, log),
                _ => self.on_pubcomp(packet_id, now, log),
            };
            if let Effect::Completed { key, maybe_twice } = effect {
                completed(key, maybe_twice);
            }
            at += packet::ANSWER_LEN;
        }
        if at > 0 {
            self.release_log(now, log);
        }
        at
    }
}
