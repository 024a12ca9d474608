//! The broker without fibers, sockets and clocks: who is connected, whose sessions are kept, who
//! gets a message.
//!
//! A connection calls in with what it received and takes out what it has to send; messages it
//! causes for others are queued in their sessions, and [`Core::take_woken`] names who has to look.
//! Every collection is ordered, so that the same calls have the same outcome.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::error::{BrokerError, Violation};
use super::message::BrokerMessage;
use super::options::{BROKER_CONNECT_TIMEOUT, LOCAL_QUEUE_MAX, LOCAL_SUBSCRIPTIONS_MAX, Limits};
use super::outgoing::{Answers, Outgoing};
use super::policy::{Connects, Policy};
use super::queue::Queue;
use super::retained::Retained;
use super::session::Session;
use crate::packet::{Connect, ConnectReason, PacketId, QoS};
use crate::session::Pace;
use crate::time::Time;
use crate::topic::{RouteId, Router, TopicFilter};

/// Names a connection; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionId(u64);

/// Names a local subscription; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LocalId(u64);

/// Who has to look for news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Woken {
    Connection(ConnectionId),
    Local(LocalId),
}

/// Where a message goes that matches a filter.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Session { client: Rc<str>, granted: QoS },
    Local(LocalId),
}

/// What dies with a connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stage: Stage,
    /// Answers, which go before messages.
    pub(super) control: Answers,
    /// When the last packet came, or the connection began.
    pub(super) last_packet: Time,
    /// Bytes of the packets that were handled.
    pub(super) handled_bytes: u64,
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Stage {
    /// No CONNECT came yet.
    Fresh,
    Open(Open),
    /// It has to end: DISCONNECT came, it was refused or taken over, or the broker stops.
    Closing,
}

/// The state of an accepted connection.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) client: Rc<str>,
    clean: bool,
    will: Option<BrokerMessage>,
    keep_alive_secs: u16,
    /// What rations its messages.
    pub(super) pace: Option<Pace>,
    /// What is to be sent once more before anything new.
    pub(super) resend: VecDeque<PacketId>,
}

/// A session with what the broker notes beside it.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) session: Session,
    pub(super) connection: Option<ConnectionId>,
}

#[derive(Debug)]
struct Local {
    queue: Queue,
    route: RouteId,
}

/// The whole state of a broker.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) limits: Limits,
    pub(super) policy: Policy,
    connects: Connects,
    pub(super) clients: BTreeMap<Rc<str>, Client>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) router: Router<Target>,
    pub(super) retained: Retained,
    locals: BTreeMap<LocalId, Local>,
    pub(super) woken: BTreeSet<Woken>,
    next_id: u64,
    /// Messages dropped at the bound of a queue.
    pub(super) dropped: u64,
    /// Messages not retained for want of room.
    pub(super) not_retained: u64,
    /// Messages beyond a quota that were discarded.
    pub(super) discarded: u64,
    /// Sessions ended because their client was away and too much was queued.
    pub(super) sessions_ended: u64,
}

impl Core {
    pub(super) fn new(limits: Limits, policy: Policy) -> Self {
        Self {
            retained: Retained::new(limits.retained_max, limits.retained_bytes_max),
            limits,
            policy,
            connects: Connects::default(),
            clients: BTreeMap::new(),
            connections: BTreeMap::new(),
            router: Router::new(),
            locals: BTreeMap::new(),
            woken: BTreeSet::new(),
            next_id: 0,
            dropped: 0,
            not_retained: 0,
            discarded: 0,
            sessions_ended: 0,
        }
    }

    /// Adds a connection that has sent nothing yet.
    pub(super) fn open(&mut self, now: Time) -> ConnectionId {
        let id = ConnectionId(self.new_id());
        let connection = Connection {
            stage: Stage::Fresh,
            control: Answers::default(),
            last_packet: now,
            handled_bytes: 0,
        };
        self.connections.insert(id, connection);
        id
    }

    /// Answers CONNECT (MQTT3-3.1.4): refuses it for `verdict`'s reason, or takes the session over
    /// from an older connection of the client (MQTT3-3.1.4-2) and goes on with it or begins anew.
    ///
    /// `client` is the client identifier, the one made up if the packet has none.
    pub(super) fn connect(
        &mut self,
        id: ConnectionId,
        client: &Rc<str>,
        connect: &Connect<'_>,
        verdict: Result<(), ConnectReason>,
        now: Time,
    ) -> Result<(), Violation> {
        // Of those alone that may be this client: others must not keep it out.
        if verdict.is_ok() {
            self.connects.note(&self.policy, client, now)?;
        }
        let fields = connect.fields();
        let full = self.clients.len() >= self.limits.sessions_max;
        let verdict = match verdict {
            Ok(()) if full && !self.clients.contains_key(client) => {
                Err(ConnectReason::ServerUnavailable)
            }
            Ok(()) => self.check_crowd(client),
            verdict @ Err(_) => verdict,
        };
        if let Err(reason) = verdict {
            return Err(self.refuse(id, reason));
        }
        if let Some(old) = self.connection_of(client) {
            self.end(old, false);
            self.woken.insert(Woken::Connection(old));
        }
        if fields.clean_start {
            self.forget(client);
        }
        let session_present = self.clients.contains_key(client);
        let entry = self.clients.entry(Rc::clone(client)).or_default();
        entry.connection = Some(id);
        let resend = entry.session.in_flight();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.last_packet = now;
            connection.stage = Stage::Open(Open {
                client: Rc::clone(client),
                clean: fields.clean_start,
                will: fields.will.as_ref().map(BrokerMessage::of_will),
                keep_alive_secs: self.policy.keep_alive_secs(fields.keep_alive_secs),
                pace: self.policy.pace(),
                resend,
            });
            let answer = Outgoing::Accepted { session_present };
            connection.control.push(answer);
        }
        Ok(())
    }

    /// Refuses a further client where the policy says how many there may be.
    fn check_crowd(&self, client: &Rc<str>) -> Result<(), ConnectReason> {
        let Some((max, reason)) = self.policy.crowd() else {
            return Ok(());
        };
        let others = self.clients.iter();
        let others = others.filter(|(id, other)| *id != client && other.connection.is_some());
        if others.count() < max {
            Ok(())
        } else {
            Err(reason)
        }
    }

    /// Answers a CONNECT with a refusal, after which the connection ends (MQTT3-3.2.2-5).
    pub(super) fn refuse(&mut self, id: ConnectionId, reason: ConnectReason) -> Violation {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stage = Stage::Closing;
            connection.control.push(Outgoing::Refused(reason));
        }
        Violation::Refused(reason)
    }

    /// Ends the part that a connection has in its session; the connection is left to close itself.
    /// In order (`orderly`), the will is forgotten (MQTT3-3.1.2-10, 3.14.4-3); else it is published
    /// (MQTT3-3.1.2-8).
    pub(super) fn end(&mut self, id: ConnectionId, orderly: bool) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Stage::Open(open) = std::mem::replace(&mut connection.stage, Stage::Closing) else {
            return;
        };
        if open.clean {
            self.forget(&open.client);
        } else if let Some(client) = self.clients.get_mut(&open.client) {
            client.connection = None;
            client.session.disconnected();
        }
        if let (Some(will), false) = (&open.will, orderly) {
            self.publish(will, None);
        }
    }

    /// Removes a connection, as lost if it did not end before.
    pub(super) fn close(&mut self, id: ConnectionId) {
        self.end(id, false);
        self.connections.remove(&id);
        self.woken.remove(&Woken::Connection(id));
    }

    /// Ends every connection.
    pub(super) fn end_all(&mut self) {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            self.end(id, false);
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.stage = Stage::Closing;
            }
            self.woken.insert(Woken::Connection(id));
        }
    }

    /// Takes the next packet to send: answers, then what is sent once more, then what is new.
    pub(super) fn next(&mut self, id: ConnectionId) -> Option<Outgoing> {
        let connection = self.connections.get_mut(&id)?;
        if let Some(answer) = connection.control.pop() {
            return Some(answer);
        }
        let Stage::Open(open) = &mut connection.stage else {
            return None;
        };
        let session = &mut self.clients.get_mut(&open.client)?.session;
        while let Some(packet_id) = open.resend.pop_front() {
            if let Some(packet) = session.again(packet_id) {
                return Some(packet);
            }
        }
        session.next(self.limits.window)
    }

    /// Queues retained messages for new subscriptions of the client, a bounded part of them.
    pub(super) fn greet(&mut self, id: ConnectionId) {
        if let Some(Stage::Open(open)) = self.connections.get(&id).map(|c| &c.stage)
            && let Some(client) = self.clients.get_mut(&open.client)
        {
            client.session.greet(&self.retained, &self.limits);
        }
    }

    /// Whether there are more of these, for which there is room.
    pub(super) fn may_greet(&self, id: ConnectionId) -> bool {
        let client = match self.connections.get(&id).map(|c| &c.stage) {
            Some(Stage::Open(open)) => self.clients.get(&open.client),
            Some(Stage::Fresh | Stage::Closing) | None => None,
        };
        client.is_some_and(|client| client.session.may_greet())
    }

    /// Returns how many answers wait to be sent, each return code of a SUBACK counted.
    pub(super) fn answers(&self, id: ConnectionId) -> usize {
        self.connections.get(&id).map_or(0, |c| c.control.count())
    }

    /// Notes that packets of so many bytes were handled.
    pub(super) fn handled(&mut self, id: ConnectionId, bytes: usize) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.handled_bytes += bytes as u64;
        }
    }

    /// Whether the connection has to end.
    pub(super) fn is_closing(&self, id: ConnectionId) -> bool {
        let stage = self.connections.get(&id).map(|c| &c.stage);
        matches!(stage, None | Some(Stage::Closing))
    }

    /// Returns when the connection is too late, if nothing comes before.
    pub(super) fn deadline(&self, id: ConnectionId) -> Option<Time> {
        let connection = self.connections.get(&id)?;
        match &connection.stage {
            Stage::Fresh => Some(connection.last_packet + BROKER_CONNECT_TIMEOUT),
            Stage::Open(open) if open.keep_alive_secs > 0 => {
                // One and a half times (MQTT3-3.1.2-24).
                let limit = Duration::from_millis(u64::from(open.keep_alive_secs) * 1_500);
                Some(connection.last_packet + limit)
            }
            Stage::Open(_) | Stage::Closing => None,
        }
    }

    /// Finds out whether the client is too late.
    pub(super) fn tick(&self, id: ConnectionId, now: Time) -> Result<(), Violation> {
        if self.deadline(id).is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        match self.connections.get(&id).map(|c| &c.stage) {
            Some(Stage::Fresh) => Err(Violation::ConnectLate),
            _ => Err(Violation::KeepAlive),
        }
    }

    /// Gives a message to all who subscribed to it, once each, at the highest QoS granted
    /// (MQTT3-3.3.5-1), and retains it if it says so. Subscriptions of the program learn which client it is
    /// from.
    pub(super) fn publish(&mut self, message: &BrokerMessage, from: Option<&str>) {
        if message.retain() && !self.retained.set(message) {
            self.not_retained += 1;
        }
        let mut sessions: BTreeMap<Rc<str>, QoS> = BTreeMap::new();
        let mut locals = Vec::new();
        let mut collect = |_, target: &Target| match target {
            Target::Session { client, granted } => {
                let highest = sessions.entry(Rc::clone(client)).or_default();
                *highest = (*highest).max(*granted);
            }
            Target::Local(id) => locals.push(*id),
        };
        self.router.route(message.topic(), &mut collect);
        for (client, granted) in sessions {
            self.enqueue(&client, message.delivered(granted, false));
        }
        for id in locals {
            let message = message.delivered(QoS::ExactlyOnce, false);
            self.enqueue_local(id, message.published_by(from));
        }
    }

    /// Gives a message to one client alone, if it subscribed to that.
    pub(super) fn publish_to(&mut self, client_id: &str, message: &BrokerMessage) {
        let mut highest = None;
        let mut collect = |_, target: &Target| match target {
            Target::Session { client, granted } if **client == *client_id => {
                highest = highest.max(Some(*granted));
            }
            Target::Session { .. } | Target::Local(_) => {}
        };
        self.router.route(message.topic(), &mut collect);
        if let Some(granted) = highest {
            self.enqueue(client_id, message.delivered(granted, false));
        }
    }

    /// Queues a message for a client; one of QoS 0 only while it is connected.
    pub(super) fn enqueue(&mut self, client_id: &str, message: BrokerMessage) {
        let Some(client) = self.clients.get_mut(client_id) else {
            return;
        };
        match client.connection {
            Some(id) => {
                self.woken.insert(Woken::Connection(id));
            }
            None if message.qos() == QoS::AtMostOnce => return,
            None => {
                let (messages, bytes) = client.session.queue.with_one_more(&message);
                if !self.policy.fits_offline(messages, bytes) {
                    self.dropped += messages as u64;
                    self.sessions_ended += 1;
                    return self.forget(client_id);
                }
            }
        }
        let Limits {
            queue_max,
            queue_bytes_max,
            ..
        } = self.limits;
        let queue = &mut client.session.queue;
        self.dropped += queue.push(message, queue_max, queue_bytes_max);
    }

    /// Forgets the session of a client.
    pub(super) fn forget(&mut self, client: &str) {
        if let Some(client) = self.clients.remove(client) {
            for route in client.session.subscriptions.into_values() {
                self.router.remove(route);
            }
        }
    }

    /// Returns the connection of a client.
    pub(super) fn connection_of(&self, client: &str) -> Option<ConnectionId> {
        self.clients.get(client)?.connection
    }

    /// Returns who has to look for news, and forgets it.
    pub(super) fn take_woken(&mut self) -> BTreeSet<Woken> {
        std::mem::take(&mut self.woken)
    }

    /// Adds a subscription of the program itself, beginning with the retained messages.
    pub(super) fn subscribe_local(&mut self, filter: TopicFilter) -> Result<LocalId, BrokerError> {
        if self.locals.len() >= LOCAL_SUBSCRIPTIONS_MAX {
            return Err(BrokerError::TooManySubscriptions);
        }
        let id = LocalId(self.new_id());
        let retained: Vec<_> = self.retained.matching(&filter).cloned().collect();
        let route = self.router.insert(filter, Target::Local(id));
        let queue = Queue::default();
        self.locals.insert(id, Local { queue, route });
        for message in retained {
            self.enqueue_local(id, message);
        }
        Ok(id)
    }

    /// Ends a subscription of the program itself.
    pub(super) fn unsubscribe_local(&mut self, id: LocalId) {
        if let Some(local) = self.locals.remove(&id) {
            self.router.remove(local.route);
        }
        self.woken.remove(&Woken::Local(id));
    }

    /// Takes the next message of such a subscription.
    pub(super) fn next_local(&mut self, id: LocalId) -> Option<BrokerMessage> {
        self.locals.get_mut(&id)?.queue.pop(true)
    }

    fn enqueue_local(&mut self, id: LocalId, message: BrokerMessage) {
        if let Some(local) = self.locals.get_mut(&id) {
            let bytes_max = self.limits.queue_bytes_max;
            self.dropped += local.queue.push(message, LOCAL_QUEUE_MAX, bytes_max);
            self.woken.insert(Woken::Local(id));
        }
    }

    const fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
