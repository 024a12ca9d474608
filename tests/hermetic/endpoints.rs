//! Several endpoints, each a scripted broker on the loopback interface: whose turn it is, and which of
//! them has the session. Sockets of the system take real time, so the clock here is not paused.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fiber::net::{TcpListener, TcpStream};
use mqtt::packet::{ConnAck, Delivery, PacketRef, SubAck};
use mqtt::{
    Client, ClientOptions, ConnectReason, Event, Outcome, Publish, QoS, Subscribe, SubscribeReason,
    Version, Wait,
};
use safe_rt::{BackoffOptions, Endpoint};
use tests::scripted::ScriptedBroker;

use crate::harness::{id, options, puback, publish, pubrel};

const LIMIT: Duration = Duration::from_secs(20);

/// Where a scripted broker listens.
struct Place {
    listener: TcpListener,
    endpoint: Endpoint,
}

impl Place {
    fn new() -> Self {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = format!("mqtt://{address}").parse().unwrap();
        Self { listener, endpoint }
    }

    fn next(&self) -> ScriptedBroker<TcpStream> {
        ScriptedBroker::new(self.listener.accept().unwrap().0)
    }

    fn accept(&self, session_present: bool) -> ScriptedBroker<TcpStream> {
        let mut broker = self.next();
        broker.accept(session_present, |connect| {
            assert!(!connect.fields().clean_start)
        });
        broker
    }

    fn refuse(&self) {
        let mut broker = self.next();
        broker.receive(|packet| assert!(matches!(packet, PacketRef::Connect(_))));
        let refused = ConnAck::refused(ConnectReason::ServerUnavailable);
        broker.send(&PacketRef::ConnAck(refused));
        broker.expect_end();
    }
}

/// Attempts follow each other at once.
fn eager() -> ClientOptions {
    let none = Duration::ZERO;
    let backoff = BackoffOptions::new().base(none).floor(none);
    options().backoff(backoff.long_base(none).long_cap(none).cap(none))
}

#[track_caller]
fn run(body: impl FnOnce() + 'static) {
    let ran = fiber::run(move || fiber::timeout(LIMIT, body).map_err(|_| "it took too long"));
    ran.unwrap().unwrap();
}

#[test]
fn an_attempt_that_fails_passes_the_turn_and_the_end_of_a_connection_does_not() {
    run(|| {
        let places = [Place::new(), Place::new(), Place::new()];
        let options = eager()
            .fallback(places[1].endpoint.clone())
            .fallback(places[2].endpoint.clone());
        let client = Client::open(&places[0].endpoint, options).unwrap();
        places[0].refuse();
        places[1].refuse();
        drop(places[2].accept(false));
        // There the session is.
        places[2].refuse();
        places[0].refuse();
        drop(places[1].accept(false));
        let mut last = places[1].accept(true);
        client.publish(Publish::to("m", "")).unwrap();
        last.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
        client.close(Duration::ZERO).unwrap();
    });
}

#[test]
fn an_endpoint_that_lets_nobody_stay_loses_the_turn_at_the_third_time() {
    run(|| {
        let places = [Place::new(), Place::new()];
        let options = eager().fallback(places[1].endpoint.clone());
        let client = Client::open(&places[0].endpoint, options).unwrap();
        drop(places[0].accept(false));
        drop(places[0].accept(true));
        drop(places[0].accept(true));
        let last = places[1].accept(false);
        client.wait_connected().unwrap();
        client.close(Duration::ZERO).unwrap();
        drop(last);
    });
}

#[test]
fn a_session_that_is_kept_at_another_endpoint_is_a_lost_one() {
    run(|| {
        let places = [Place::new(), Place::new()];
        let options = eager().fallback(places[1].endpoint.clone());
        let client = Client::open(&places[0].endpoint, options).unwrap();
        let told = Rc::new(RefCell::new(Vec::new()));
        let noted = Rc::clone(&told);
        client.on_event(move |_, event| {
            if let Event::Connected { session_present } = event {
                noted.borrow_mut().push(*session_present);
            }
        });
        let subscribe = Subscribe::to("set", QoS::AtLeastOnce).wait(Wait::None);
        client.subscribe_as(subscribe, |_, _| Ok(())).unwrap();
        let mut tickets = [QoS::AtLeastOnce, QoS::ExactlyOnce].map(|qos| {
            let message = Publish::to("m", "1").qos(qos);
            client.publish(message).unwrap()
        });
        let mut first = places[0].accept(false);
        grant(&mut first);
        for _ in 0..2 {
            first.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
        }
        drop(first);
        places[0].refuse();

        // It has a session of the same client, of an earlier time.
        let mut second = places[1].accept(true);
        let mut acked = 0;
        second.expect(&pubrel(5));
        grant(&mut second);
        let dup = false;
        let packet_id = id(4);
        second.expect(&publish(
            "m",
            b"1",
            Delivery::AtLeastOnce { packet_id, dup },
        ));
        let packet_id = id(5);
        second.expect(&publish(
            "m",
            b"1",
            Delivery::ExactlyOnce { packet_id, dup },
        ));
        second.send(&puback(4));
        second.send(&PacketRef::PubComp(mqtt::packet::PubComp::new(id(5))));
        second.send(&PacketRef::PubRec(mqtt::packet::PubRec::new(id(5))));
        second.expect(&pubrel(5));
        second.send(&PacketRef::PubComp(mqtt::packet::PubComp::new(id(5))));
        for ticket in &mut tickets {
            let outcome = ticket.outcome().unwrap();
            assert_eq!(outcome, Outcome::Acked { maybe_twice: true });
            acked += 1;
        }
        assert_eq!(acked, 2);
        assert_eq!(*told.borrow(), [false, false]);
        client.close(Duration::ZERO).unwrap();
    });
}

/// Grants the one subscription.
fn grant(broker: &mut ScriptedBroker<TcpStream>) {
    let packet_id = broker.receive(|packet| match packet {
        PacketRef::Subscribe(subscribe) => subscribe.packet_id(),
        other => panic!("{other:?}"),
    });
    let granted = [SubscribeReason::Granted(QoS::AtLeastOnce)];
    let suback = SubAck::new(Version::V311, packet_id, &granted).unwrap();
    broker.send(&PacketRef::SubAck(suback));
}
