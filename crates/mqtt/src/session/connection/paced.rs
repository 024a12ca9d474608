//! What of the log may leave where there is a rate, and what goes ahead of messages that it holds back.
//!
//! ```text
//!   log   | A | SUBSCRIBE | B | C | PUBREL | D | UNSUBSCRIBE |
//!                             ▲                               goes ahead: PUBREL, UNSUBSCRIBE
//!                          allowed
//! ```

use super::{Connection, packet_end};
use crate::outbound_log::{LogOffset, OutboundLog};
use crate::packet;
use crate::session::rate::Pace;
use crate::time::Time;

impl Connection {
    /// Lets as many more messages leave as there are tokens; requests and acknowledgements between
    /// them need none. Returns whether messages are held back.
    pub(in crate::session) fn let_leave(
        &mut self,
        pace: &mut Pace,
        now: Time,
        log: &OutboundLog,
    ) -> bool {
        let mut at = self.allowed.max(self.sent);
        let is_held = loop {
            if at >= log.tail() {
                break false;
            }
            if let Some(end) = self.end_of_left_out(at) {
                at = end;
                continue;
            }
            let is_publish = log
                .from(at)
                .first()
                .is_some_and(|first| packet::is_publish(*first));
            let end = packet_end(log, at);
            if !is_publish {
                self.passed = end;
            } else if !pace.take(now, end.since(at)) {
                break true;
            }
            at = end;
        };
        self.allowed = at;
        is_held
    }

    /// Finds the next packet that need not wait behind the messages that are held back, because it is
    /// none. What is no message keeps its order: there is none while one before it is still to be sent.
    pub(in crate::session) fn next_ahead(
        &mut self,
        log: &OutboundLog,
    ) -> Option<(LogOffset, LogOffset)> {
        if self.passed > self.sent {
            return None;
        }
        let mut at = self.looked.max(self.allowed);
        while at < log.tail() {
            if let Some(end) = self.end_of_left_out(at) {
                at = end;
                continue;
            }
            let end = packet_end(log, at);
            let first = log.from(at).first();
            if first.is_some_and(|first| !packet::is_publish(*first)) {
                self.looked = at;
                return Some((at, end));
            }
            at = end;
        }
        self.looked = at;
        None
    }

    /// Sends a packet of the log ahead of it, and not in its place. Returns `false`, and has done
    /// nothing, where there is no room for that.
    pub(in crate::session) fn send_ahead(
        &mut self,
        start: LogOffset,
        end: LogOffset,
        log: &OutboundLog,
    ) -> bool {
        let Some(out) = self.reserve_ahead(end.since(start)) else {
            return false;
        };
        out.copy_from_slice(log.slice(start, end));
        self.leave_out(start, end, log);
        true
    }
}
