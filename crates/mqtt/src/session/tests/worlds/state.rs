//! A small world: the session with its client and store, a server, and the link between them.

use super::*;

/// What is the same in all states of a world.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// The QoS of what the program publishes.
    pub(super) outbound: Vec<u8>,
    /// And of what the server does.
    pub(super) inbound: Vec<u8>,
    pub(super) policy: OnSessionLoss,
    /// The server passes a QoS 2 message on at PUBREL, instead of at PUBLISH.
    pub(super) late: bool,
    /// There is a store, and the program may end at any time.
    pub(super) recorded: bool,
    /// How many sessions the server makes at most.
    pub(super) sessions: u8,
    pub(super) window: u16,
    pub(super) planted: Option<Planted>,
    /// What can be done at once is: everything is published when that is possible, and leaves.
    pub(super) prompt: bool,
    /// How many faults happen at most; `None` is no bound.
    pub(super) faults: Option<u8>,
}

impl Setting {
    pub(super) fn options(&self) -> SessionOptions {
        SessionOptions {
            window: self.window,
            on_session_loss: self.policy,
            recorded: self.recorded,
            planted: self.planted,
            ..Default::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Completed { maybe_twice: bool },
    GivenUp,
}

/// A message of the program. What is seen of it on the wire is of this session of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Message {
    /// How often the server passed it on, up to 2.
    pub(super) delivered: u8,
    pub(super) outcome: Option<Outcome>,
    /// PUBLISH has left whole in this session of the server.
    pub(super) told: bool,
    /// And in one that the server has lost.
    pub(super) lossy: bool,
    /// It was handed back when the server may have had it.
    pub(super) maybe_sent: bool,
    /// It was in flight when this life of the program began.
    pub(super) restored: bool,
    /// PUBLISH has left whole in this life, under this identifier, and is not answered to the end.
    pub(super) seen: Option<u16>,
    /// A part of PUBLISH has left in this life.
    pub(super) begun: bool,
    /// PUBREL has left.
    pub(super) released: bool,
}

/// A message of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Inbound {
    /// How often its handler was started in this life, up to 2.
    pub(super) handled: u8,
    /// It was started in some life.
    pub(super) was_handled: bool,
    /// PUBREC has left for it.
    pub(super) acknowledged: bool,
    /// The server has lost it.
    pub(super) lost: bool,
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) setting: Rc<Setting>,
    pub(super) session: Session,
    pub(super) log: OutboundLog,
    pub(super) server: Server,
    /// Packets on their way to the server, and from it.
    pub(super) up: VecDeque<Vec<u8>>,
    pub(super) down: VecDeque<Vec<u8>>,
    pub(super) book: Book,
    pub(super) pending: VecDeque<(Record, Gate)>,
    /// Messages without an identifier, of QoS 1 and 2.
    pub(super) queues: [VecDeque<u8>; 2],
    /// What the program has published in this life, or found in its store.
    pub(super) published: u8,
    pub(super) at_most_once_until: u8,
    pub(super) handlers: Vec<(AckToken, u8)>,
    pub(super) offered: u8,
    /// The program will know in all its lives that the session of the server is the one it uses. The
    /// server keeps no other: MQTT 3.1.1 has no way of telling.
    pub(super) is_sure_of_session: bool,
    /// Sessions that the server may still make.
    pub(super) sessions_left: u8,
    pub(super) faults: u8,
    pub(super) messages: Vec<Message>,
    pub(super) inbound: Vec<Inbound>,
    /// By QoS, the latest message that came for the first time to the server, and to a handler.
    pub(super) latest: [[Option<u8>; 3]; 2],
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The program publishes its next message, the server its next.
    Publish,
    Offer,
    Connect,
    /// A packet leaves, comes to the server, comes to the client.
    Write,
    Arrive,
    Receive,
    /// A handler ends.
    Finish(u8),
    /// A record becomes durable.
    Commit,
    /// The link is cut, also in the middle of a packet.
    Cut {
        partial: bool,
    },
    /// The program ends, with so many of the records that were not durable.
    Crash {
        kept: u8,
    },
    /// The server loses its session.
    Lose,
}

impl Step {
    pub(super) const fn is_fault(self) -> bool {
        matches!(self, Self::Cut { .. } | Self::Crash { .. } | Self::Lose)
    }
}

pub(super) fn new_log() -> OutboundLog {
    OutboundLog::sized(64, 4096)
}

pub(super) fn content(number: u8) -> [u8; 4] {
    u32::from(number).to_be_bytes()
}

impl World {
    pub(super) fn new(setting: &Rc<Setting>) -> Self {
        let server = Server {
            late: setting.late,
            ..Default::default()
        };
        let mut world = Self {
            session: Session::new(setting.options()),
            log: new_log(),
            server,
            up: VecDeque::new(),
            down: VecDeque::new(),
            book: Book::default(),
            pending: VecDeque::new(),
            queues: Default::default(),
            published: 0,
            at_most_once_until: 0,
            handlers: Vec::new(),
            offered: 0,
            is_sure_of_session: false,
            sessions_left: setting.sessions,
            faults: 0,
            messages: vec![Message::default(); setting.outbound.len()],
            inbound: vec![Inbound::default(); setting.inbound.len()],
            latest: Default::default(),
            setting: Rc::clone(setting),
        };
        world.go_on();
        world
    }

    pub(super) fn qos(&self, number: u8) -> QoS {
        QoS::from_bits(self.setting.outbound[usize::from(number)]).expect("a QoS")
    }

    pub(super) fn is_planted(&self, fault: Planted) -> bool {
        self.setting.planted == Some(fault)
    }

    /// All that can happen next.
    pub(super) fn steps(&self, steps: &mut Vec<Step>) {
        let mut step = |step, is_possible| {
            if is_possible {
                steps.push(step);
            }
        };
        let is_idle = self.session.phase() == Phase::Idle;
        let has_unsent = self.has_unsent();
        step(Step::Write, has_unsent);
        step(Step::Arrive, !self.up.is_empty());
        step(Step::Receive, !self.down.is_empty());
        step(Step::Commit, !self.pending.is_empty());
        for at in 0..self.handlers.len() {
            step(Step::Finish(at as u8), true);
        }
        let is_all_published = usize::from(self.published) == self.messages.len();
        step(Step::Publish, !is_all_published);
        step(Step::Offer, self.may_offer());
        step(Step::Connect, is_idle);
        if self.setting.faults.is_some_and(|most| self.faults >= most) {
            return;
        }
        // A session that the program is not sure of ends with its connection.
        let may_cut = self.survives_a_cut() || self.sessions_left > 0;
        step(Step::Cut { partial: false }, !is_idle && may_cut);
        let is_up = matches!(self.session.phase(), Phase::Up { .. });
        step(Step::Cut { partial: true }, is_up && has_unsent && may_cut);
        let is_kept = |session: &Self| session.server.has_session && session.is_sure_of_session;
        if self.setting.recorded {
            let sure = |kept: usize| {
                let mut records = self.pending.iter().take(kept);
                records.any(|(record, _)| *record == Record::SessionLost(self.sessions_left))
            };
            for kept in 0..=self.pending.len() {
                let may_crash = may_cut || sure(kept);
                step(Step::Crash { kept: kept as u8 }, may_crash);
            }
        }
        let may_lose = is_idle && is_kept(self) && self.sessions_left > 0;
        step(Step::Lose, may_lose);
    }

    fn survives_a_cut(&self) -> bool {
        !self.server.has_session || self.is_sure_of_session
    }

    fn has_unsent(&self) -> bool {
        self.session.has_unsent(&self.log)
    }

    fn may_offer(&self) -> bool {
        let Some(qos) = self.setting.inbound.get(usize::from(self.offered)) else {
            return false;
        };
        let Server { accepted, .. } = self.server;
        accepted || (*qos > 0 && self.server.has_session)
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Publish => self.publish(),
            Step::Offer => self.offer(),
            Step::Connect => {
                let connect = connect_packet(false, 60);
                self.session.connect(&connect, at(0)).expect("it is idle");
            }
            Step::Write => self.write(),
            Step::Arrive => self.arrive(),
            Step::Receive => self.receive(),
            Step::Finish(at) => self.finish(at.into()),
            Step::Commit => self.commit(),
            Step::Cut { partial } => self.cut(partial),
            Step::Crash { kept } => self.crash(kept.into()),
            Step::Lose => self.lose(),
        }
        self.faults += u8::from(step.is_fault() && self.setting.faults.is_some());
        self.skip_published();
        self.go_on();
    }

    /// Does what can be done at once, where the world is one that does.
    fn go_on(&mut self) {
        while self.setting.prompt {
            if usize::from(self.published) < self.messages.len() {
                self.publish();
                self.skip_published();
            } else if self.may_offer() {
                self.offer();
            } else if self.has_unsent() {
                self.write();
            } else {
                return;
            }
        }
    }

    /// The next packet leaves. What clears identifiers that no message here gets is left out.
    fn write(&mut self) {
        loop {
            let chunk = self.session.next_chunk(&self.log);
            let Some(len) = peek_len(chunk, MAX_PACKET_LEN).unwrap() else {
                return;
            };
            let packet = chunk[..len].to_vec();
            self.session.advance(len, at(0), &mut self.log);
            if let PacketRef::PubRel(pubrel) = decode_whole(&packet)
                && ids().all(|id| id != pubrel.packet_id)
            {
                continue;
            }
            self.check_packet(&packet);
            self.up.push_back(packet);
            return;
        }
    }

    fn arrive(&mut self) {
        let packet = self.up.pop_front().expect("a packet is on its way");
        let is_connect = matches!(decode_whole(&packet), PacketRef::Connect(_));
        self.server.serve(&packet, &mut self.down);
        if is_connect && !self.server.has_session {
            self.server.has_session = true;
            self.is_sure_of_session = false;
            self.sessions_left -= 1;
        }
        self.note_lost();
        for number in std::mem::take(&mut self.server.passed_on) {
            self.passed_on(number as u8);
        }
    }

    fn note_lost(&mut self) {
        for number in self.server.lost.drain(..) {
            self.inbound[number as usize].lost = true;
        }
    }

    fn receive(&mut self) {
        let packet = self.down.pop_front().expect("a packet is on its way");
        self.answered(&packet);
        self.session.received(at(0));
        let input = Input::Packet(decode_whole(&packet));
        let effect = self.session.handle(input, at(0), &mut self.log);
        self.react(effect.expect("the server keeps the rules"), &packet);
    }

    /// The server publishes its next message, under the lowest identifier that is free.
    fn offer(&mut self) {
        let number = u32::from(self.offered);
        let qos = self.setting.inbound[usize::from(self.offered)];
        self.offered += 1;
        let server = &mut self.server;
        let is_free = |id: &u16| server.flight.iter().all(|entry| entry.0 != *id);
        let packet_id = (1..).find(is_free).expect("there are more identifiers");
        if qos > 0 {
            server.flight.push_back((packet_id, number, qos, false));
        }
        if server.accepted {
            let packet = publish_bytes(packet_id, number, qos, false);
            self.down.push_back(packet);
        } else if qos == 0 {
            self.inbound[number as usize].lost = true;
        }
    }

    /// The link is over; nothing that is on its way arrives.
    pub(super) fn cut_link(&mut self) {
        self.up.clear();
        self.down.clear();
        self.server.accepted = false;
        if !self.survives_a_cut() {
            self.lose();
        }
    }

    fn cut(&mut self, partial: bool) {
        if partial {
            let chunk = self.session.next_chunk(&self.log).to_vec();
            self.begun(&chunk);
            self.session.advance(1, at(0), &mut self.log);
        }
        self.cut_link();
        self.session.connection_lost();
        let attached = self.session.attach(&mut self.log);
        attached.expect("the connection is over");
        self.outputs();
    }

    fn lose(&mut self) {
        self.server.has_session = false;
        self.server.held.clear();
        let flight = self.server.flight.drain(..);
        self.server
            .lost
            .extend(flight.map(|(_, number, ..)| number));
        self.note_lost();
        for message in &mut self.messages {
            message.lossy |= std::mem::take(&mut message.told);
            message.seen = None;
            message.begun = false;
            message.released = false;
        }
    }

    /// What distinguishes this state from others of its world.
    pub(super) fn hash(&self) -> u64 {
        let mut canon = Canon::default();
        self.session.describe(&self.log, &mut canon);
        for (token, number) in &self.handlers {
            canon.token(*token);
            canon.number((*number).into());
        }
        canon.end();
        for (_, gate) in &self.pending {
            match gate {
                Gate::None => canon.number(0),
                Gate::Publish(..) => canon.number(1),
                Gate::Release(..) => canon.number(2),
                Gate::Complete(_) => canon.number(3),
                Gate::Acknowledge(token) => canon.token(*token),
            }
        }
        let mut hasher = DefaultHasher::new();
        canon.hash().hash(&mut hasher);
        let records: Vec<_> = self.pending.iter().map(|(record, _)| record).collect();
        (records, &self.book, &self.queues).hash(&mut hasher);
        (&self.up, &self.down).hash(&mut hasher);
        let Server {
            has_session,
            accepted,
            held,
            flight,
            ..
        } = &self.server;
        (has_session, accepted, held, flight).hash(&mut hasher);
        (self.published, self.at_most_once_until, self.offered).hash(&mut hasher);
        (self.is_sure_of_session, self.sessions_left, self.faults).hash(&mut hasher);
        (&self.messages, &self.inbound, &self.latest).hash(&mut hasher);
        hasher.finish()
    }

    fn skip_published(&mut self) {
        let Self { setting, .. } = self;
        while let Some(0) = setting.outbound.get(usize::from(self.published))
            && self.published < self.at_most_once_until
        {
            self.published += 1;
        }
    }

    /// Finds out what is to be published again.
    pub(super) fn new_life(&mut self) {
        let is_there = |number: u8| {
            self.book.messages[usize::from(number)] != Kept::Absent
                || (self.setting.outbound[usize::from(number)] == 0
                    && number < self.at_most_once_until)
        };
        let count = self.messages.len() as u8;
        self.published = (0..count).find(|n| !is_there(*n)).unwrap_or(count);
        for (number, message) in self.messages.iter_mut().enumerate() {
            let kept = self.book.messages[number];
            let qos = self.setting.outbound[number];
            message.restored = false;
            message.begun = false;
            message.maybe_sent = self.book.maybe_sent[number];
            if kept != Kept::Done && qos > 0 {
                message.outcome = None;
            }
            // An identifier of QoS 1 that was not recorded is forgotten, and harms nobody.
            if qos == 1 {
                message.seen = None;
            }
        }
        for inbound in &mut self.inbound {
            inbound.handled = 0;
        }
    }
}
