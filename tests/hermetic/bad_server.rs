//! Brokers that send what they must not: each ends its own connection, with the cause that says
//! what was expected and what was found, and nothing else.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mqtt::packet::PacketType;
use mqtt::session::PeerError;
use mqtt::{
    Broker, BrokerOptions, Client, ClientId, ClientOptions, DecodeError, EndCause, Error, Publish,
    QoS, Wait, WaitCause,
};
use tests::scripted::ScriptedBroker;

use crate::harness::{id, options};

type Script = ScriptedBroker<fiber::net::PipeStream>;

const LIMIT: Duration = Duration::from_secs(30);
const MAXIMUM: usize = 1_000;

/// Two clients of the embedded broker, in the same runtime as the connection that breaks.
struct Witnesses {
    writer: Client,
    received: Rc<Cell<u32>>,
    _reader: Client,
}

impl Witnesses {
    fn new() -> Self {
        let broker = Broker::new(BrokerOptions::new());
        let connect = |name| {
            let (ours, theirs) = fiber::net::pipe(4096);
            broker.attach(theirs).unwrap();
            let client = Client::over(ours, ClientOptions::new(ClientId::new(name).unwrap()));
            client.connect().unwrap();
            client
        };
        let (reader, writer) = (connect("reader"), connect("writer"));
        let received = Rc::new(Cell::new(0));
        let counter = Rc::clone(&received);
        let count = move |_: &_, _: &_| {
            counter.set(counter.get() + 1);
            Ok(())
        };
        reader.subscribe("t", QoS::ExactlyOnce, count).unwrap();
        Self {
            writer,
            received,
            _reader: reader,
        }
    }

    /// Exchanges a message at each QoS.
    #[track_caller]
    fn exchange(&self) {
        let before = self.received.get();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let publish = Publish::to("t", "still here").qos(qos);
            self.writer.publish(publish.wait(Wait::Ack)).unwrap();
        }
        fiber::sleep(Duration::from_millis(1)).unwrap();
        assert_eq!(self.received.get(), before + 3);
    }
}

/// What a broker sends, and the cause that must end the connection, with its text.
type Row = (&'static [u8], fn(&EndCause) -> bool, &'static str);

/// Makes a row's test of the cause.
macro_rules! is {
    ($pattern:pat) => {
        |cause| matches!(cause, $pattern)
    };
}

/// In place of CONNACK.
const INSTEAD_OF_CONNACK: &[Row] = &[
    (
        b"\x40\x02\x00\x01",
        is!(EndCause::Peer(PeerError::FirstPacket { .. })),
        "the broker broke the protocol: expected CONNACK as the first packet, found PUBACK",
    ),
    (
        b"\x30\x03\x00\x01t",
        is!(EndCause::Peer(PeerError::FirstPacket { .. })),
        "the broker broke the protocol: expected CONNACK as the first packet, found PUBLISH",
    ),
    (
        b"\xe0\x00",
        is!(EndCause::Peer(PeerError::FirstPacket { .. })),
        "the broker broke the protocol: expected CONNACK as the first packet, found DISCONNECT",
    ),
    (
        b"\x20\x02\x01\x00",
        is!(EndCause::Peer(PeerError::SessionPresentAfterCleanStart)),
        "the broker broke the protocol: expected session present 0 after a clean start, found 1",
    ),
    (
        b"\x20\x02\x00\x06",
        is!(EndCause::Malformed(DecodeError::ConnectReturnCode { .. })),
        "the broker sent a malformed packet: expected a connect return code from 0 to 5, found 6",
    ),
    (
        b"\x20\x03\x00\x00\x00",
        is!(EndCause::Malformed(DecodeError::TrailingBytes { .. })),
        "the broker sent a malformed packet: expected the end of CONNACK, found 1 more bytes",
    ),
    (
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        is!(EndCause::Malformed(DecodeError::ReservedFlags { .. })),
        "the broker sent a malformed packet: expected flags 0b0000 in PUBACK, found 0b1000",
    ),
    (
        // An alert of TLS.
        b"\x15\x03\x03\x00\x02\x02\x28",
        is!(EndCause::Malformed(DecodeError::ReservedFlags { .. })),
        "the broker sent a malformed packet: expected flags 0b0000 in CONNECT, found 0b0101",
    ),
];

/// After CONNACK and SUBACK.
const ONCE_CONNECTED: &[Row] = &[
    (
        b"\x20\x02\x00\x00",
        is!(EndCause::Peer(PeerError::SecondConnAck)),
        "the broker broke the protocol: expected one CONNACK, found a second",
    ),
    (
        // Behind its own DISCONNECT a broker has nothing to say, and in 3.1.1 it sends none.
        b"\xe0\x00\x30\x03\x00\x01t",
        is!(EndCause::Peer(PeerError::ClientPacket { .. })),
        "the broker broke the protocol: expected a packet that servers send, found DISCONNECT",
    ),
    (
        b"\x82\x06\x00\x01\x00\x01t\x00",
        is!(EndCause::Peer(PeerError::ClientPacket { .. })),
        "the broker broke the protocol: expected a packet that servers send, found SUBSCRIBE",
    ),
    (
        b"\x00\x00",
        is!(EndCause::Malformed(DecodeError::UnknownPacketType { .. })),
        "the broker sent a malformed packet: expected a packet type from 1 to 14, found 0",
    ),
    (
        b"\x36\x05\x00\x01t\x00\x01",
        is!(EndCause::Malformed(DecodeError::PublishQoS)),
        "the broker sent a malformed packet: expected QoS 0, 1 or 2 in PUBLISH, found 3",
    ),
    (
        b"\x30\x04\x00\x02t\xff",
        is!(EndCause::Malformed(DecodeError::Utf8 { .. })),
        "the broker sent a malformed packet: expected UTF-8 in the topic name, \
         found another byte at index 1",
    ),
    (
        b"\x30\x05\x00\x03t/#",
        is!(EndCause::Malformed(DecodeError::TopicWildcard { .. })),
        "the broker sent a malformed packet: expected no wildcard in the topic name, \
         found `#` at index 2",
    ),
    (
        b"\x32\x05\x00\x01t\x00\x00",
        is!(EndCause::Malformed(DecodeError::PacketIdZero { .. })),
        "the broker sent a malformed packet: expected a packet identifier from 1 in PUBLISH, \
         found 0",
    ),
    (
        b"\x40\x01\x00",
        is!(EndCause::Malformed(DecodeError::FieldBeyondEnd { .. })),
        "the broker sent a malformed packet: expected 2 bytes for the packet identifier, found 1",
    ),
    (
        // Three bytes of header are enough to know it.
        b"\x90\xe6\x07",
        is!(EndCause::Malformed(DecodeError::PacketTooLarge { .. })),
        "the broker sent a malformed packet: expected SUBACK of at most 1000 bytes, found 1001",
    ),
    (
        b"\x30\xff\xff\xff\xff",
        is!(EndCause::Malformed(
            DecodeError::RemainingLengthTooLong { .. }
        )),
        "the broker sent a malformed packet: expected a remaining length of at most 4 bytes, \
         found 0xff as fourth byte",
    ),
];

/// Checks why a client's connection ended.
#[track_caller]
fn expect_cause(client: &Client, is_expected: impl Fn(&EndCause) -> bool, text: &str) {
    let cause = fiber::timeout(LIMIT, || client.ended()).unwrap().unwrap();
    assert!(is_expected(&cause), "{cause:?}");
    assert_eq!(cause.to_string(), text);
    assert!(!client.is_connected());
}

/// Starts a broker and a client over one pipe.
fn begin(script: impl FnOnce(&mut Script) + 'static) -> (Client, fiber::JoinHandle<()>) {
    let (ours, theirs) = fiber::net::pipe(4096);
    let script = fiber::spawn(move || script(&mut Script::new(theirs))).unwrap();
    let client = Client::over(ours, options().maximum_packet_size(MAXIMUM));
    (client, script)
}

#[track_caller]
fn run(body: impl FnOnce(&Witnesses) + 'static) {
    let main = || {
        let witnesses = Witnesses::new();
        witnesses.exchange();
        body(&witnesses);
        witnesses.exchange();
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn what_comes_instead_of_connack_ends_the_connection_with_its_cause() {
    run(|witnesses| {
        for &(bytes, is_expected, text) in INSTEAD_OF_CONNACK {
            let (client, mut script) = begin(move |broker| {
                broker.receive(|packet| assert_eq!(packet.packet_type(), PacketType::Connect));
                broker.send_bytes(bytes);
                broker.expect_end();
            });
            let error = client.connect().unwrap_err();
            let lost = matches!(error, Error::Wait(WaitCause::ConnectionLost(_)));
            assert!(lost && error.to_string() == text, "{error:?}");
            expect_cause(&client, is_expected, text);
            script.join().unwrap();
            witnesses.exchange();
        }
    });
}

#[test]
fn bad_packets_end_the_connection_with_their_cause_and_no_other() {
    run(|witnesses| {
        for &(bytes, is_expected, text) in ONCE_CONNECTED {
            let (client, mut script) = begin(move |broker| {
                broker.accept(false, |_| ());
                crate::harness::answer_subscribe(broker, &[]);
                broker.send_bytes(bytes);
                broker.expect_end();
            });
            client.connect().unwrap();
            client
                .subscribe("#", QoS::AtLeastOnce, |_, _| Ok(()))
                .unwrap();
            expect_cause(&client, is_expected, text);
            script.join().unwrap();
            assert_eq!(client.stats().received, 0);
            witnesses.exchange();
        }
    });
}

#[test]
fn a_suback_with_the_wrong_number_of_codes_ends_the_subscription_and_the_connection() {
    run(|witnesses| {
        for (suback, found) in [
            (&b"\x90\x03\x00\x01\x00"[..], 1),
            (b"\x90\x05\x00\x01\x00\x00\x00", 3),
        ] {
            let (client, mut script) = begin(move |broker| {
                broker.accept(false, |_| ());
                broker.receive(|packet| assert_eq!(packet.packet_type(), PacketType::Subscribe));
                broker.send_bytes(suback);
                broker.expect_end();
            });
            client.connect().unwrap();
            let text = format!(
                "the broker broke the protocol: expected 2 return codes in the SUBACK of packet 1, \
                 found {found}"
            );
            let filters = [("a", QoS::AtMostOnce), ("b", QoS::AtMostOnce)];
            let error = client.subscribe_all(&filters, |_, _| Ok(())).unwrap_err();
            let lost = matches!(error, Error::Wait(WaitCause::ConnectionLost(_)));
            assert!(lost && error.to_string() == text, "{error:?}");
            let expected = PeerError::SubAckCodes {
                packet_id: id(1),
                expected: 2,
                found,
            };
            let is_expected =
                |cause: &EndCause| matches!(cause, EndCause::Peer(found) if *found == expected);
            expect_cause(&client, is_expected, &text);
            script.join().unwrap();
            witnesses.exchange();
        }
    });
}

#[test]
fn publishes_behind_the_clients_own_disconnect_are_not_handled() {
    run(|witnesses| {
        let (client, mut script) = begin(|broker| {
            broker.accept(false, |_| ());
            crate::harness::answer_subscribe(broker, &[]);
            broker.receive(|packet| assert_eq!(packet.packet_type(), PacketType::Disconnect));
            // The client may be gone.
            let _ = std::io::Write::write(&mut broker.stream(), b"\x30\x03\x00\x01t\x36\x00");
            broker.expect_end();
        });
        client.connect().unwrap();
        client
            .subscribe("#", QoS::AtLeastOnce, |_, _| Ok(()))
            .unwrap();
        client.close(Duration::ZERO).unwrap();
        let text = "the connection was closed from this side";
        expect_cause(&client, is!(EndCause::Closed), text);
        script.join().unwrap();
        assert_eq!(client.stats().received, 0);
        witnesses.exchange();
    });
}
