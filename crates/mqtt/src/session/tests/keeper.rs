//! A caller that keeps a record: it records late and in batches, and can crash and begin again from
//! what was recorded. It checks on the wire that nothing tells of what is not recorded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::world::{World, outgoing};
use super::*;

/// What is to be recorded, in order.
#[derive(Clone, Copy, Debug)]
enum Job {
    Publish { number: u32, packet_id: PacketId },
    Recorded { key: TicketKey, packet_id: PacketId },
    Received { token: AckToken },
    Released { packet_id: PacketId },
}

#[derive(Debug, Default)]
pub(super) struct Keeper {
    jobs: VecDeque<Job>,
    /// Recorded, and without room in the log.
    ready: VecDeque<(u32, PacketId)>,
    /// Messages that are not in the session.
    waiting: BTreeSet<u32>,
    /// Identifiers of messages at QoS 1.
    at_least_once: BTreeMap<u32, PacketId>,
    /// Recorded: identifiers at QoS 2, with whether PUBREC came.
    flight: BTreeMap<u32, (PacketId, bool)>,
    /// Recorded: identifiers of received messages.
    received: BTreeSet<PacketId>,
    /// The latest message that was delivered under each identifier.
    delivered: BTreeMap<PacketId, u32>,
    /// Received messages that were recorded: none is delivered again.
    handled: BTreeSet<u32>,
    restored: BTreeSet<u32>,
    pub(super) has_crashed: bool,
    pub(super) handed_back: usize,
}

impl Keeper {
    pub(super) fn recorded(&mut self, key: TicketKey, packet_id: PacketId) {
        self.jobs.push_back(Job::Recorded { key, packet_id });
    }

    pub(super) fn released(&mut self, packet_id: PacketId) {
        self.jobs.push_back(Job::Released { packet_id });
    }

    pub(super) fn finished(&mut self, token: AckToken) {
        self.jobs.push_back(Job::Received { token });
    }

    pub(super) fn delivered(&mut self, token: AckToken, number: u32) {
        if token.is_exactly_once() {
            assert!(!self.handled.contains(&number), "{number} again");
            self.delivered.insert(token.packet_id(), number);
        }
    }

    pub(super) fn settled(&mut self, key: TicketKey) {
        self.flight.remove(&key.0);
        self.at_least_once.remove(&key.0);
    }

    pub(super) fn is_restored(&self, number: u32) -> bool {
        self.restored.contains(&number)
    }

    /// Checks that all of which the packet tells is recorded.
    pub(super) fn check_packet(&self, packet: &[u8]) {
        let found = |packet_id: PacketId| self.flight.values().find(|entry| entry.0 == packet_id);
        match decode_whole(packet) {
            PacketRef::Publish(publish) if publish.qos() == QoS::ExactlyOnce => {
                let number = server::number(publish.payload());
                let expected = publish.packet_id().map(|packet_id| (packet_id, false));
                let entry = self.flight.get(&number).copied();
                // A message that is sent again may be released meanwhile.
                let entry =
                    entry.map(|(packet_id, released)| (packet_id, released && !publish.dup()));
                assert_eq!(entry, expected, "{number}");
            }
            PacketRef::PubRel(pubrel) => {
                let entry = found(pubrel.packet_id);
                assert!(entry.is_none_or(|(_, released)| *released), "{pubrel:?}");
            }
            PacketRef::PubRec(pubrec) => {
                let number = self.delivered[&pubrec.packet_id];
                assert!(self.handled.contains(&number), "{pubrec:?}");
            }
            PacketRef::PubComp(pubcomp) => {
                assert!(!self.received.contains(&pubcomp.packet_id), "{pubcomp:?}");
            }
            _ => {}
        }
    }

    pub(super) fn check_end(&self) {
        assert!(self.jobs.is_empty() && self.ready.is_empty() && self.waiting.is_empty());
        assert!(self.flight.is_empty() && self.received.is_empty());
    }
}

impl World {
    pub(super) fn recorded(policy: OnSessionLoss, late: bool, window: u16) -> Self {
        Self::with_keeper(policy, late, window, Some(Keeper::default()))
    }

    fn keep(&mut self) -> &mut Keeper {
        self.keeper.as_mut().unwrap()
    }

    /// Admits what waits, in order; `false` if something still does.
    pub(super) fn admit_waiting(&mut self) -> bool {
        while let Some(&number) = self.keep().waiting.first() {
            if !self.admit(number) {
                return false;
            }
            self.keep().waiting.remove(&number);
        }
        true
    }

    /// Admits a message behind those that wait; one that has to wait for a connection does.
    pub(super) fn admit_waiting_or_wait(&mut self, number: u32) -> bool {
        let is_up = matches!(self.phase(), Phase::Up { .. });
        if !is_up && self.messages[number as usize].qos == QoS::ExactlyOnce {
            return self.keep().waiting.insert(number);
        }
        self.admit_waiting() && self.admit(number)
    }

    /// Gives a message to the session, or an identifier to it on a connection.
    pub(super) fn admit(&mut self, number: u32) -> bool {
        if self.messages[number as usize].qos != QoS::ExactlyOnce {
            let Some(packet_id) = self.publish_now(number) else {
                return false;
            };
            if let Some(packet_id) = PacketId::new(packet_id) {
                self.keep().at_least_once.insert(number, packet_id);
            }
            return true;
        }
        if !matches!(self.phase(), Phase::Up { .. }) {
            return false;
        }
        match self.rig.session.reserve(TicketKey(number)) {
            Ok(packet_id) => {
                self.keep()
                    .jobs
                    .push_back(Job::Publish { number, packet_id });
                true
            }
            Err(Rejected::NoRoom(NoRoom::Window { .. } | NoRoom::Stale)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// The record takes in the next `count` jobs; `false` if nothing happened.
    pub(super) fn record(&mut self, count: usize) -> bool {
        let mut moved = false;
        for _ in 0..count {
            let Some(job) = self.keep().jobs.pop_front() else {
                break;
            };
            moved = true;
            let keeper = self.keeper.as_mut().unwrap();
            let (session, log) = (&mut self.rig.session, &mut self.rig.log);
            match job {
                Job::Publish { number, packet_id } => {
                    keeper.flight.insert(number, (packet_id, false));
                    keeper.ready.push_back((number, packet_id));
                }
                Job::Recorded { key, packet_id } => {
                    keeper.flight.get_mut(&key.0).unwrap().1 = true;
                    assert!(session.release(packet_id, key, self.rig.now, log));
                    assert!(!session.release(packet_id, key, self.rig.now, log));
                }
                Job::Received { token } => {
                    keeper.received.insert(token.packet_id());
                    let number = keeper.delivered[&token.packet_id()];
                    keeper.handled.insert(number);
                    assert!(session.acknowledge(token) && !session.acknowledge(token));
                }
                Job::Released { packet_id } => {
                    keeper.received.remove(&packet_id);
                    session.complete(packet_id);
                    session.complete(packet_id);
                }
            }
        }
        moved |= self.publish_ready();
        let before = self.keep().waiting.len();
        self.admit_waiting();
        moved || before != self.keep().waiting.len()
    }

    /// Publishes what is recorded and has room.
    fn publish_ready(&mut self) -> bool {
        let mut moved = false;
        while let Some(&(number, packet_id)) = self.keep().ready.front() {
            let (qos, payload) = self.content(number);
            let (session, log) = (&mut self.rig.session, &mut self.rig.log);
            let message = outgoing(qos, &payload);
            match session.publish_reserved(message, packet_id, TicketKey(number), log) {
                Ok(admitted) => assert_eq!(admitted.packet_id, Some(packet_id)),
                Err(Rejected::NoRoom(NoRoom::Log(_))) => break,
                Err(other) => panic!("{other}"),
            }
            self.keep().ready.pop_front();
            moved = true;
        }
        moved
    }

    /// A message is out of the session, and waits again.
    pub(super) fn handed_back(&mut self, key: TicketKey, maybe_sent: bool) {
        let is_restored = self.keep().is_restored(key.0);
        let message = &mut self.messages[key.0 as usize];
        // What is restored may not have been sent, and nobody can tell.
        message.lossy |= is_restored;
        assert!(message.lossy || !maybe_sent, "{key:?} was not seen");
        message.twice |= maybe_sent;
        let keeper = self.keep();
        let later = keeper.waiting.range(key.0..);
        assert!(later.clone().all(|n| *n > key.0), "{key:?} twice");
        keeper.settled(key);
        keeper.waiting.insert(key.0);
        keeper.handed_back += 1;
    }

    /// The server has lost the session: what is not published yet waits behind what is handed back.
    pub(super) fn start_over(&mut self) {
        self.take_back(true);
        self.keep().received.clear();
        self.handlers.retain(|token| !token.is_exactly_once());
    }

    /// Takes back what is not published yet, and forgets all that was to be recorded.
    fn take_back(&mut self, unreserve: bool) {
        let keeper = self.keeper.as_mut().unwrap();
        let unrecorded = keeper.jobs.drain(..).filter_map(|job| match job {
            Job::Publish { number, packet_id } => Some((number, packet_id)),
            _ => None,
        });
        let ready = std::mem::take(&mut keeper.ready);
        for (number, packet_id) in unrecorded.chain(ready) {
            if unreserve {
                self.rig.session.unreserve(packet_id);
            }
            keeper.flight.remove(&number);
            keeper.waiting.insert(number);
        }
    }

    /// The program ends, and a new process begins with what is recorded.
    pub(super) fn crash(&mut self) {
        self.cut_link(0, true);
        self.handlers.clear();
        self.requests.clear();
        self.outputs_of_the_past();
        self.keep().has_crashed = true;
        // Ready messages are recorded: they count as in flight.
        self.keep().ready.clear();
        self.take_back(false);
        self.rig.session = Session::new(self.rig.options.clone());
        self.rig.log = OutboundLog::default();
        let keeper = self.keeper.as_mut().unwrap();
        let once = keeper
            .at_least_once
            .iter()
            .map(|(n, id)| (*n, (*id, false)));
        let mut flight: BTreeMap<_, _> = once.collect();
        flight.extend(keeper.flight.iter().map(|(n, entry)| (*n, *entry)));
        keeper.restored.extend(flight.keys());
        for packet_id in &keeper.received {
            self.rig.session.restore_received(*packet_id);
        }
        for (number, (packet_id, released)) in flight {
            let (qos, payload) = self.content(number);
            let (session, log) = (&mut self.rig.session, &mut self.rig.log);
            let key = TicketKey(number);
            let admitted = if released {
                session.restore_release(packet_id, key, log)
            } else {
                session.restore_publish(outgoing(qos, &payload), packet_id, key, log)
            };
            assert_eq!(admitted.unwrap().packet_id, Some(packet_id));
        }
    }

    fn outputs_of_the_past(&mut self) {
        while self.rig.session.next_output().is_some() {}
    }
}
