//! The client around the session, and its store: what was appended is durable one record after the
//! other, and a gate opens with the record that it waits for.

use super::*;

/// A record of the store, of a message by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Record {
    Publish(u8),
    Assigned(u8, PacketId),
    Recorded(u8),
    Done(u8),
    Received(PacketId),
    Released(PacketId),
    /// By the number of the session that begins.
    SessionLost(u8),
}

/// What leaves when a record is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    None,
    Publish(u8, PacketId),
    Release(u8, PacketId),
    Acknowledge(AckToken),
    Complete(PacketId),
}

/// What durable records say of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Kept {
    #[default]
    Absent,
    Queued,
    InFlight(PacketId),
    Released(PacketId),
    Done,
}

/// What durable records say of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Book {
    pub(super) messages: [Kept; MESSAGES_MAX],
    pub(super) maybe_sent: [bool; MESSAGES_MAX],
    /// In the order of the PUBRECs.
    pub(super) released: Vec<u8>,
    pub(super) received: BTreeSet<PacketId>,
}

impl Book {
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Publish(number) => self.messages[usize::from(number)] = Kept::Queued,
            Record::Assigned(number, packet_id) => {
                self.messages[usize::from(number)] = Kept::InFlight(packet_id);
            }
            Record::Recorded(number) => {
                let message = &mut self.messages[usize::from(number)];
                if let Kept::InFlight(packet_id) = *message {
                    *message = Kept::Released(packet_id);
                    self.released.push(number);
                }
            }
            Record::Done(number) => {
                self.messages[usize::from(number)] = Kept::Done;
                self.released.retain(|other| *other != number);
            }
            Record::Received(packet_id) => drop(self.received.insert(packet_id)),
            Record::Released(packet_id) => drop(self.received.remove(&packet_id)),
            Record::SessionLost(_) => {
                for (number, message) in self.messages.iter_mut().enumerate() {
                    if let Kept::InFlight(_) | Kept::Released(_) = message {
                        *message = Kept::Queued;
                        self.maybe_sent[number] = true;
                    }
                }
                self.released.clear();
                self.received.clear();
            }
        }
    }
}

impl World {
    pub(super) fn append(&mut self, record: Record, gate: Gate) {
        if !self.setting.recorded {
            return;
        }
        let opens_early = match gate {
            Gate::None => false,
            Gate::Publish(..) => self.is_planted(Planted::PublishBeforeRecord),
            Gate::Release(..) => self.is_planted(Planted::ReleaseBeforeRecord),
            Gate::Acknowledge(_) => self.is_planted(Planted::AckBeforeRecord),
            Gate::Complete(_) => self.is_planted(Planted::CompleteBeforeRecord),
        };
        if opens_early {
            self.pending.push_back((record, Gate::None));
            self.open(gate);
        } else {
            self.pending.push_back((record, gate));
        }
    }

    /// The next record is durable.
    pub(super) fn commit(&mut self) {
        let (record, gate) = self.pending.pop_front().expect("a record waits");
        self.apply(record);
        self.open(gate);
        self.feed();
    }

    fn apply(&mut self, record: Record) {
        self.book.apply(record);
        self.is_sure_of_session |= record == Record::SessionLost(self.sessions_left);
    }

    fn open(&mut self, gate: Gate) {
        match gate {
            Gate::None => {}
            Gate::Publish(number, packet_id) => {
                let payload = content(number);
                let message = outgoing(QoS::ExactlyOnce, &payload);
                let (session, log) = (&mut self.session, &mut self.log);
                let key = TicketKey(number.into());
                let admitted = session.publish_reserved(message, packet_id, key, log);
                assert_eq!(admitted.unwrap().packet_id, Some(packet_id));
            }
            Gate::Release(number, packet_id) => {
                let key = TicketKey(number.into());
                self.session.release(packet_id, key, at(0), &mut self.log);
            }
            Gate::Acknowledge(token) => drop(self.session.acknowledge(token)),
            Gate::Complete(packet_id) => self.session.complete(packet_id),
        }
    }

    /// The program publishes its next message.
    pub(super) fn publish(&mut self) {
        let number = self.published;
        self.published += 1;
        let qos = self.qos(number);
        if qos == QoS::AtMostOnce || !self.setting.recorded {
            self.send(number);
        } else {
            self.append(Record::Publish(number), Gate::None);
            self.queue(number);
            self.feed();
        }
        if qos == QoS::AtMostOnce {
            self.skip_at_most_once();
        }
    }

    /// A message at QoS 0 is published in one life alone.
    fn skip_at_most_once(&mut self) {
        self.at_most_once_until = self.at_most_once_until.max(self.published);
    }

    fn queue(&mut self, number: u8) {
        let queue = &mut self.queues[usize::from(self.setting.outbound[usize::from(number)] - 1)];
        let at = queue.partition_point(|other| *other < number);
        queue.insert(at, number);
    }

    fn has_turn(&self) -> bool {
        matches!(self.session.phase(), Phase::Up { .. }) && self.session.window_room() > 0
    }

    /// Gives those that wait their turn, in order of publishing within each QoS.
    pub(super) fn feed(&mut self) {
        let mut waits = [false; 2];
        while self.has_turn() {
            let first = [0, 1].map(|place| self.queues[place].front().copied());
            let there = [0, 1].into_iter().filter(|place| !waits[*place]);
            let Some((number, place)) =
                there.filter_map(|place| Some((first[place]?, place))).min()
            else {
                return;
            };
            let taken = if place == 0 {
                let packet_id = self.send(number).expect("there is room");
                self.append(Record::Assigned(number, packet_id), Gate::None);
                true
            } else {
                self.reserve(number)
            };
            if taken {
                self.queues[place].pop_front();
            }
            waits[place] = !taken;
        }
    }

    fn reserve(&mut self, number: u8) -> bool {
        match self.session.reserve(TicketKey(number.into())) {
            Ok(packet_id) => {
                let gate = Gate::Publish(number, packet_id);
                self.append(Record::Assigned(number, packet_id), gate);
                true
            }
            Err(Rejected::NoRoom(NoRoom::Stale)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn send(&mut self, number: u8) -> Option<PacketId> {
        let payload = content(number);
        let message = outgoing(self.qos(number), &payload);
        let (session, log) = (&mut self.session, &mut self.log);
        let admitted = session.publish(message, TicketKey(number.into()), log);
        admitted.expect("there is room").packet_id
    }

    pub(super) fn react(&mut self, effect: Effect, packet: &[u8]) {
        match effect {
            Effect::Nothing => {}
            Effect::Completed { key, maybe_twice } => {
                self.settle(key, Outcome::Completed { maybe_twice });
            }
            Effect::Deliver { ack } => self.deliver(ack, packet),
            Effect::Recorded { key, packet_id } => {
                let number = key.0 as u8;
                self.append(Record::Recorded(number), Gate::Release(number, packet_id));
            }
            Effect::Released { packet_id, known } => {
                let completes = |(_, gate): &(_, Gate)| *gate == Gate::Complete(packet_id);
                if self.pending.iter().any(completes) {
                    // It is being recorded.
                } else if known {
                    self.append(Record::Released(packet_id), Gate::Complete(packet_id));
                } else {
                    self.session.complete(packet_id);
                }
            }
            Effect::SubAcked { .. } | Effect::UnsubAcked { .. } => panic!("{effect:?}"),
        }
        self.outputs();
        self.feed();
    }

    pub(super) fn outputs(&mut self) {
        let mut is_lost = false;
        while let Some(output) = self.session.next_output() {
            match output {
                Output::Connected { session_present } => {
                    is_lost = !session_present;
                    if is_lost {
                        self.forget_gates();
                    }
                    // Without a store it knows as long as it lives.
                    self.is_sure_of_session |= !self.setting.recorded;
                }
                Output::SessionLost { key, fate } => self.session_lost(key, fate),
                Output::Closed(_) | Output::RequestLost { .. } | Output::Throttled => {
                    panic!("{output:?}")
                }
            }
        }
        if is_lost {
            let record = Record::SessionLost(self.sessions_left);
            self.append(record, Gate::None);
        }
    }

    /// What waits for a record was about a session that is over.
    fn forget_gates(&mut self) {
        for at in 0..self.pending.len() {
            let gate = std::mem::replace(&mut self.pending[at].1, Gate::None);
            if let Gate::Publish(number, packet_id) = gate {
                self.session.unreserve(packet_id);
                self.queue(number);
            }
        }
    }

    fn session_lost(&mut self, key: TicketKey, fate: Fate) {
        let number = key.0 as u8;
        match fate {
            Fate::GivenUp => self.settle(key, Outcome::GivenUp),
            Fate::SentAgain => assert!(!self.setting.recorded),
            Fate::HandedBack { maybe_sent } => {
                self.messages[usize::from(number)].maybe_sent |= maybe_sent;
                self.queue(number);
            }
        }
    }

    fn settle(&mut self, key: TicketKey, outcome: Outcome) {
        let number = key.0 as u8;
        self.settled(number, outcome);
        self.append(Record::Done(number), Gate::None);
    }

    /// A handler ends.
    pub(super) fn finish(&mut self, at: usize) {
        let (token, _) = self.handlers.remove(at);
        if self.setting.recorded && self.session.awaits_record(token) {
            let record = Record::Received(token.packet_id());
            self.append(record, Gate::Acknowledge(token));
        } else {
            self.session.acknowledge(token);
        }
    }

    /// The program ends, with the first `kept` of the records that were not durable, and begins anew.
    pub(super) fn crash(&mut self, kept: usize) {
        for (record, _) in std::mem::take(&mut self.pending).into_iter().take(kept) {
            self.apply(record);
        }
        self.cut_link();
        self.handlers.clear();
        self.queues = Default::default();
        self.session = Session::new(self.setting.options());
        self.log = new_log();
        self.new_life();
        for packet_id in &self.book.received {
            self.session.restore_received(*packet_id);
        }
        let book = self.book.clone();
        for number in book.released {
            let Kept::Released(packet_id) = book.messages[usize::from(number)] else {
                panic!("{number} is not released");
            };
            let (session, log) = (&mut self.session, &mut self.log);
            let restored = session.restore_release(packet_id, TicketKey(number.into()), log);
            restored.expect("there is room");
            self.messages[usize::from(number)].restored = true;
        }
        for (number, kept) in (0..).zip(book.messages) {
            match kept {
                Kept::InFlight(packet_id) => {
                    let payload = content(number);
                    let message = outgoing(self.qos(number), &payload);
                    let (session, log) = (&mut self.session, &mut self.log);
                    let key = TicketKey(number.into());
                    let restored = session.restore_publish(message, packet_id, key, log);
                    restored.expect("there is room");
                    self.messages[usize::from(number)].restored = true;
                }
                Kept::Queued => self.queue(number),
                Kept::Absent | Kept::Released(_) | Kept::Done => {}
            }
        }
    }
}
