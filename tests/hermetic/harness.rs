//! A client and a scripted broker, joined by a pipe in virtual time.

use std::cell::RefCell;
use std::rc::Rc;

use fiber::RuntimeBuilder;
use fiber::net::PipeStream;
use mqtt::packet::{Delivery, PacketRef, PubComp, PubRec, PubRel, Publish, SubAck, UnsubAck};
use mqtt::{Client, ClientId, ClientOptions, Event, PacketId, QoS, SubscribeReason, Version};
use safe_rt::{ClientTlsOptions, Identity, ServerTlsOptions, Socket, Trust};
use tests::pki::Pki;
use tests::scripted::ScriptedBroker;

pub(crate) type Broker = ScriptedBroker<PipeStream>;

/// Room of the pipe: far more than any test has under way.
const PIPE_BYTES: usize = 4 * 1024 * 1024;

pub(crate) fn options() -> ClientOptions {
    ClientOptions::new(ClientId::new("meter-17").unwrap())
}

/// Plays `script` and `body` against each other; both must end well.
#[track_caller]
pub(crate) fn play(
    options: ClientOptions,
    script: impl FnOnce(&mut Broker) + 'static,
    body: impl FnOnce(&Client) + 'static,
) {
    play_over(PIPE_BYTES, options, script, body);
}

fn virtual_time() -> RuntimeBuilder {
    fiber::Runtime::builder().paused_clock(true)
}

/// As [`play`], over a pipe with little room.
#[track_caller]
pub(crate) fn play_over(
    pipe_bytes: usize,
    options: ClientOptions,
    script: impl FnOnce(&mut Broker) + 'static,
    body: impl FnOnce(&Client) + 'static,
) {
    play_in(virtual_time(), pipe_bytes, options, script, body);
}

/// As [`play_over`], where there are only so many fibers; two are the broker's and the client's.
#[track_caller]
pub(crate) fn play_with_fibers(
    fibers_max: usize,
    options: ClientOptions,
    script: impl FnOnce(&mut Broker) + 'static,
    body: impl FnOnce(&Client) + 'static,
) {
    let runtime = virtual_time().fibers_max(fibers_max);
    play_in(runtime, PIPE_BYTES, options, script, body);
}

#[track_caller]
fn play_in(
    runtime: RuntimeBuilder,
    pipe_bytes: usize,
    options: ClientOptions,
    script: impl FnOnce(&mut Broker) + 'static,
    body: impl FnOnce(&Client) + 'static,
) {
    let main = move || {
        let (ours, theirs) = fiber::net::pipe(pipe_bytes);
        let mut broker = fiber::spawn(move || script(&mut Broker::new(theirs))).unwrap();
        let client = Client::over(ours, options);
        body(&client);
        drop(client);
        broker.join().unwrap();
    };
    runtime.run(main).unwrap();
}

/// As [`play_over`], over TLS and beginning with an accepted connection.
#[track_caller]
pub(crate) fn play_tls(
    pipe_bytes: usize,
    options: ClientOptions,
    script: impl FnOnce(&mut ScriptedBroker<Socket>) + 'static,
    body: impl FnOnce(&Client) + 'static,
) {
    let pki = Pki::new();
    let identity = Identity::from_pem(pki.server.certificate.as_bytes(), pki.server.key.as_bytes());
    let trust = Trust::from_pem(pki.authority.certificate().as_bytes()).unwrap();
    let server = ServerTlsOptions::new(identity.unwrap()).build().unwrap();
    let tls = ClientTlsOptions::new(trust).build().unwrap();
    let main = move || {
        let (ours, theirs) = fiber::net::pipe(pipe_bytes);
        let serve = move || {
            let mut broker = ScriptedBroker::new(Socket::tls_server(theirs, &server).unwrap());
            broker.accept(false, |_| ());
            script(&mut broker);
        };
        let mut broker = fiber::spawn(serve).unwrap();
        let socket = Socket::tls_client(ours, &tls, "localhost").unwrap();
        let client = Client::over(socket, options);
        client.connect().unwrap();
        body(&client);
        drop(client);
        broker.join().unwrap();
    };
    virtual_time().run(main).unwrap();
}

/// As [`play`], beginning with an accepted connection.
#[track_caller]
pub(crate) fn play_connected(
    options: ClientOptions,
    script: impl FnOnce(&mut Broker) + 'static,
    body: impl FnOnce(&Client) + 'static,
) {
    let accept_and_play = |broker: &mut Broker| {
        broker.accept(false, |_| ());
        script(broker);
    };
    play(options, accept_and_play, |client| {
        assert!(!client.connect().unwrap());
        body(client);
    });
}

pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub(crate) fn qos_0<'a>(topic: &'a str, payload: &'a [u8]) -> PacketRef<'a> {
    publish(topic, payload, Delivery::AtMostOnce)
}

pub(crate) fn qos_1<'a>(topic: &'a str, payload: &'a [u8], number: u16) -> PacketRef<'a> {
    publish(
        topic,
        payload,
        Delivery::AtLeastOnce {
            packet_id: id(number),
            dup: false,
        },
    )
}

pub(crate) fn publish<'a>(topic: &'a str, payload: &'a [u8], delivery: Delivery) -> PacketRef<'a> {
    PacketRef::Publish(Publish::new(Version::V311, topic, payload, delivery, false).unwrap())
}

pub(crate) fn pubrec(number: u16) -> PacketRef<'static> {
    PacketRef::PubRec(PubRec::new(id(number)))
}

pub(crate) fn pubrel(number: u16) -> PacketRef<'static> {
    PacketRef::PubRel(PubRel::new(id(number)))
}

pub(crate) fn pubcomp(number: u16) -> PacketRef<'static> {
    PacketRef::PubComp(PubComp::new(id(number)))
}

pub(crate) fn puback(number: u16) -> PacketRef<'static> {
    PacketRef::PubAck(mqtt::packet::PubAck::new(id(number)))
}

/// Waits for a PUBLISH at QoS 1 and returns its identifier.
#[track_caller]
pub(crate) fn expect_qos_1(broker: &mut Broker) -> u16 {
    broker.receive(|packet| match packet {
        PacketRef::Publish(publish) => publish.packet_id().expect("QoS 1").get(),
        other => panic!("expected PUBLISH, found {other:?}"),
    })
}

/// Waits for a SUBSCRIBE and grants QoS 1 to each filter but those in `refused`.
#[track_caller]
pub(crate) fn answer_subscribe(broker: &mut Broker, refused: &[&str]) -> Vec<String> {
    let (packet_id, filters) = broker.receive(|packet| match packet {
        PacketRef::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe
                .filters()
                .iter()
                .map(|(filter, _)| filter.to_owned())
                .collect();
            (subscribe.packet_id(), filters)
        }
        other => panic!("expected SUBSCRIBE, found {other:?}"),
    });
    let reasons: Vec<_> = filters
        .iter()
        .map(|filter| {
            if refused.contains(&filter.as_str()) {
                SubscribeReason::Failure
            } else {
                SubscribeReason::Granted(QoS::AtLeastOnce)
            }
        })
        .collect();
    let suback = SubAck::new(Version::V311, packet_id, &reasons).unwrap();
    broker.send(&PacketRef::SubAck(suback));
    filters
}

/// Waits for an UNSUBSCRIBE, answers it and returns its filters.
#[track_caller]
pub(crate) fn answer_unsubscribe(broker: &mut Broker) -> Vec<String> {
    let (packet_id, filters) = broker.receive(|packet| match packet {
        PacketRef::Unsubscribe(unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters().iter().map(str::to_owned).collect();
            (unsubscribe.packet_id(), filters)
        }
        other => panic!("expected UNSUBSCRIBE, found {other:?}"),
    });
    broker.send(&PacketRef::UnsubAck(UnsubAck::new(packet_id)));
    filters
}

/// Waits for DISCONNECT and the end of the connection.
#[track_caller]
pub(crate) fn expect_disconnect(broker: &mut Broker) {
    broker.receive(|packet| assert!(matches!(packet, PacketRef::Disconnect(_)), "{packet:?}"));
    broker.expect_end();
}

/// The connections that a client makes, one after the other.
pub(crate) struct Links(fiber::Receiver<PipeStream>);

impl Links {
    /// Waits for the next one.
    #[track_caller]
    pub(crate) fn next(&self) -> Broker {
        Broker::new(self.0.recv().unwrap().expect("the client still dials"))
    }

    /// Waits for the next one and accepts it.
    #[track_caller]
    pub(crate) fn accept(&self, session_present: bool) -> Broker {
        let mut broker = self.next();
        broker.accept(session_present, |_| ());
        broker
    }
}

/// As [`play`], with a client that makes its connections itself.
#[track_caller]
pub(crate) fn play_open(
    options: ClientOptions,
    script: impl FnOnce(&Links) + 'static,
    body: impl FnOnce(&Client) + 'static,
) {
    let main = move || {
        let (sender, receiver) = fiber::channel(100);
        let links = Links(receiver);
        let mut broker = fiber::spawn(move || script(&links)).unwrap();
        let dial = move || {
            let (ours, theirs) = fiber::net::pipe(PIPE_BYTES);
            let sent = sender.send(theirs);
            sent.map(|()| ours.into()).map_err(|_| unreachable_broker())
        };
        let client = Client::open_by(dial, options).unwrap();
        body(&client);
        drop(client);
        broker.join().unwrap();
    };
    virtual_time().run(main).unwrap();
}

/// What a dial fails with where nobody listens.
pub(crate) fn unreachable_broker() -> safe_rt::Error {
    let refused = std::io::ErrorKind::ConnectionRefused;
    safe_rt::Error::new(safe_rt::Phase::Connect, "broker", refused.into())
}

/// Notes what the client tells of its connections.
pub(crate) fn note(client: &Client) -> Rc<RefCell<Vec<String>>> {
    let events = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&events);
    client.on_event(move |_, event| {
        noted.borrow_mut().push(match event {
            // Before each of the others that tell of a connection.
            Event::Attach => return,
            Event::Connected { session_present } => format!("connected, kept: {session_present}"),
            Event::Disconnected {
                cause, retry_in, ..
            } => {
                format!("disconnected, {cause}, again: {}", retry_in.is_some())
            }
            Event::ConnectFailed { cause, retry_in } => {
                format!("failed, {cause}, again: {}", retry_in.is_some())
            }
            Event::SubscribeRefused { filters } => format!("refused {filters:?}"),
            Event::Paused { .. } => "paused".to_owned(),
            Event::Idle => "idle".to_owned(),
            Event::Throttled => "throttled".to_owned(),
            Event::AckStalled { .. } => "stalled".to_owned(),
            Event::Overrun { messages, bytes } => format!("overrun, {messages} of {bytes} bytes"),
            Event::PoisonPacket { error } => format!("poison, {error}"),
            other => panic!("{other:?}"),
        });
    });
    events
}
