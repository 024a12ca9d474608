//! The record that a session's caller keeps, and what another program makes of it.

use super::{Open, Side, content, outgoing};
use crate::outbound_log::OutboundLog;
use crate::packet::{PacketId, QoS};
use crate::session::{AckToken, NoRoom, Rejected, Session, TicketKey};

/// What is to be recorded, in order.
pub(super) enum Job {
    Publish { key: u32, packet_id: PacketId },
    Release { key: u32, packet_id: PacketId },
    Received(AckToken),
    Complete(PacketId),
}

/// A message as it is recorded.
#[derive(Clone, Copy)]
pub(super) struct Flying {
    pub(super) packet_id: PacketId,
    pub(super) qos: QoS,
    pub(super) is_released: bool,
}

impl Side {
    /// The server has lost the session: nothing that was to be recorded means anything any more.
    pub(super) fn start_over(&mut self) {
        for job in std::mem::take(&mut self.jobs) {
            if let Job::Publish { key, packet_id } = job {
                self.session.unreserve(packet_id);
                self.open.remove(&key);
                self.flying.remove(&key);
            }
        }
        self.received.clear();
    }

    /// The next `count` jobs are done; returns whether there were some.
    pub(super) fn record(&mut self, count: usize) -> bool {
        let mut moved = false;
        for _ in 0..count {
            let Some(job) = self.jobs.pop_front() else {
                break;
            };
            match job {
                Job::Publish { key, packet_id } => {
                    if !self.flying.contains_key(&key) {
                        self.fly(key, packet_id, QoS::ExactlyOnce);
                    }
                    let payload = content(key, 20);
                    let message = outgoing(QoS::ExactlyOnce, &payload);
                    let ticket = TicketKey(key);
                    let (session, log) = (&mut self.session, &mut self.log);
                    match session.publish_reserved(message, packet_id, ticket, log) {
                        Ok(_) => {
                            self.open.insert(key, Open::Publish(QoS::ExactlyOnce));
                        }
                        Err(Rejected::NoRoom(NoRoom::Log(_)) | Rejected::Ended) => {
                            self.jobs.push_front(Job::Publish { key, packet_id });
                            return moved;
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
                Job::Release { key, packet_id } => {
                    if let Some(flying) = self.flying.get_mut(&key) {
                        flying.is_released = true;
                    }
                    let ticket = TicketKey(key);
                    self.session
                        .release(packet_id, ticket, self.now, &mut self.log);
                    let again = self
                        .session
                        .release(packet_id, ticket, self.now, &mut self.log);
                    assert!(!again);
                }
                Job::Received(token) => {
                    if self.session.awaits_record(token) {
                        self.received.insert(token.packet_id());
                        assert!(self.session.acknowledge(token));
                    }
                }
                Job::Complete(packet_id) => {
                    self.received.remove(&packet_id);
                    self.session.complete(packet_id);
                }
            }
            moved = true;
        }
        moved
    }

    /// The program ends, and another begins with what is recorded.
    pub(super) fn crash(&mut self) {
        self.reconnect();
        self.jobs.clear();
        self.tokens.clear();
        self.session = Session::new(self.options.clone());
        self.log = OutboundLog::new(self.log_bytes);
        for packet_id in &self.received {
            self.session.restore_received(*packet_id);
        }
        let open = std::mem::take(&mut self.open);
        for (key, flying) in std::mem::take(&mut self.flying) {
            assert!(open.contains_key(&key));
            let Flying { packet_id, qos, .. } = flying;
            let payload = content(key, 20);
            let (session, log) = (&mut self.session, &mut self.log);
            let restored = if flying.is_released {
                session.restore_release(packet_id, TicketKey(key), log)
            } else {
                session.restore_publish(outgoing(qos, &payload), packet_id, TicketKey(key), log)
            };
            match restored {
                Ok(admitted) => {
                    assert_eq!(admitted.packet_id, Some(packet_id));
                    self.open.insert(key, Open::Publish(qos));
                    self.flying.insert(key, flying);
                }
                Err(Rejected::NoRoom(NoRoom::Log(_))) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
}
