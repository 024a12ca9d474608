//! More messages than there is room for: the client reads nothing for a while, then ends the connection,
//! and comes back when it has worked off half of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::packet::{Delivery, PacketRef};
use mqtt::{Client, EndCause, Publish, QUEUED_OVERHEAD, QoS, Subscribe, Wait};

use crate::harness::{
    Broker, answer_subscribe, expect_disconnect, expect_qos_1, id, note, options, play_connected,
    play_open, puback, publish, qos_1,
};

const GRACE: Duration = Duration::from_secs(10);

fn again<'a>(topic: &'a str, payload: &'a [u8], number: u16) -> PacketRef<'a> {
    let packet_id = id(number);
    publish(
        topic,
        payload,
        Delivery::AtLeastOnce {
            packet_id,
            dup: true,
        },
    )
}

/// Notes the identifiers of PUBACKs until the connection ends.
#[track_caller]
fn pubacks(broker: &mut Broker) -> Vec<u16> {
    let mut acked = Vec::new();
    while let Some(number) = broker.receive_or_end(|packet| match packet {
        PacketRef::PubAck(puback) => Some(puback.packet_id.get()),
        PacketRef::Disconnect(_) => None,
        other => panic!("expected PUBACK, found {other:?}"),
    }) {
        acked.extend(number);
    }
    acked
}

#[test]
fn each_connection_gets_further_though_the_handler_is_slower_than_the_grace() {
    const COUNT: u16 = 20;
    let handled = Rc::new(RefCell::new(Vec::new()));
    let calls = Rc::clone(&handled);
    let acked = Rc::new(RefCell::new(Vec::new()));
    let connections = Rc::clone(&acked);
    play_open(
        options().keep_alive(Duration::ZERO).inbound_window(4),
        move |links| {
            let mut left = Vec::from_iter(1..=COUNT);
            while !left.is_empty() {
                let is_first = connections.borrow().is_empty();
                let mut broker = links.accept(!is_first);
                if is_first {
                    answer_subscribe(&mut broker, &[]);
                }
                for number in &left {
                    let payload = &number.to_be_bytes();
                    broker.send(&if is_first {
                        qos_1("a", payload, *number)
                    } else {
                        again("a", payload, *number)
                    });
                }
                let acked = pubacks(&mut broker);
                left.retain(|number| !acked.contains(number));
                connections.borrow_mut().push(acked);
            }
        },
        move |client| {
            let log = Rc::clone(&calls);
            let slow = move |_: &Client, message: &mqtt::Message| {
                fiber::sleep(GRACE + Duration::from_secs(1))?;
                log.borrow_mut()
                    .push(u16::from_be_bytes(message.data[..].try_into()?));
                Ok(())
            };
            client.subscribe("a", QoS::AtLeastOnce, slow).unwrap();
            fiber::sleep(Duration::from_secs(11 * u64::from(COUNT) + 100)).unwrap();
            // Each once, and in order.
            assert!(handled.borrow().iter().copied().eq(1..=COUNT));
            // What was handled without a connection is acknowledged as it comes again.
            client.close(Duration::from_secs(1)).unwrap();
        },
    );
    let acked = acked.take();
    // The first one is only long enough for the head to come too late.
    assert!(acked[0].is_empty(), "{:?}", acked[0]);
    assert!(acked.len() > 3, "{acked:?}");
    assert!(
        acked[1..].iter().all(|acked| !acked.is_empty()),
        "{acked:?}"
    );
    assert!(acked.concat().into_iter().eq(1..=COUNT), "{acked:?}");
}

#[test]
fn an_overrun_is_told_and_the_next_connection_comes_when_half_is_handled() {
    let begun = Rc::new(Cell::new(None));
    let accepted = Rc::clone(&begun);
    play_open(
        options().keep_alive(Duration::ZERO).inbound_window(9),
        move |links| {
            let mut broker = links.accept(false);
            answer_subscribe(&mut broker, &[]);
            for number in 1..=10 {
                broker.send(&qos_1("a", b"", number));
            }
            broker.expect_end();
            let ended = Instant::now();
            let mut broker = links.accept(true);
            accepted.set(Some(ended.elapsed()));
            for number in 1..=10 {
                broker.send(&again("a", b"", number));
            }
            for number in 1..=10 {
                broker.expect(&puback(number));
            }
            expect_disconnect(&mut broker);
        },
        move |client| {
            let events = note(client);
            let slow = |_: &Client, _: &_| Ok(fiber::sleep(Duration::from_secs(30))?);
            client.subscribe("a", QoS::AtLeastOnce, slow).unwrap();
            fiber::sleep(Duration::from_secs(500)).unwrap();
            let cause = EndCause::Overrun {
                messages: 9,
                bytes: 9 * (1 + QUEUED_OVERHEAD),
            };
            let expected = [
                "connected, kept: false".to_owned(),
                format!("overrun, 9 of {} bytes", 9 * (1 + QUEUED_OVERHEAD)),
                format!("disconnected, {cause}, again: true"),
                "connected, kept: true".to_owned(),
            ];
            let events = events.borrow();
            let told = events.iter().filter(|event| *event != "stalled");
            assert_eq!(Vec::from_iter(told), Vec::from_iter(&expected));
        },
    );
    // Of nine messages five, of 30 s each, of which ten were over.
    assert_eq!(begun.get(), Some(Duration::from_secs(140)));
}

#[test]
fn at_the_edge_of_bytes_reading_goes_on_when_there_is_room() {
    const LEN: usize = 1_000;
    play_connected(
        options()
            .keep_alive(Duration::ZERO)
            .inbound_bytes(3 * (LEN + 1 + QUEUED_OVERHEAD)),
        |broker| {
            answer_subscribe(broker, &[]);
            for number in 1..=50 {
                broker.send(&qos_1("a", &[0; LEN], number));
            }
            for number in 1..=50 {
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            let most = Rc::new(Cell::new(0));
            let seen = Rc::clone(&most);
            let slow = move |client: &Client, _: &_| {
                // Far longer than the grace for all, and not for one.
                fiber::sleep(GRACE / 2)?;
                seen.set(client.stats().received.max(seen.get()));
                Ok(())
            };
            client.subscribe("a", QoS::AtLeastOnce, slow).unwrap();
            fiber::sleep(Duration::from_secs(6)).unwrap();
            // One is handled, one is being handled, three wait.
            assert_eq!(client.stats().received, 5);
            fiber::sleep(Duration::from_secs(300)).unwrap();
            assert_eq!(most.get(), 50);
            assert!(client.is_connected());
        },
    );
}

#[test]
fn a_link_that_is_not_read_for_want_of_room_is_not_taken_for_dead() {
    play_connected(
        options()
            .inbound_window(2)
            .keep_alive(Duration::from_secs(10))
            .overrun_grace(Duration::from_secs(40)),
        |broker| {
            answer_subscribe(broker, &[]);
            for number in 1..=3 {
                broker.send(&qos_1("a", b"", number));
            }
            // It answers all along, but that lies behind the message that finds no room.
            let mut pings = 0;
            while let Some(is_ping) =
                broker.receive_or_end(|packet| matches!(packet, PacketRef::PingReq))
            {
                assert!(is_ping);
                pings += 1;
                broker.send_bytes(&[0xd0, 0]);
            }
            assert!(pings >= 1);
        },
        |client| {
            let never = fiber::Event::new();
            let stuck = move |_: &Client, _: &_| Ok(never.wait()?);
            client.subscribe("a", QoS::AtLeastOnce, stuck).unwrap();
            let began = Instant::now();
            let cause = client.ended().unwrap();
            assert!(matches!(*cause, EndCause::Overrun { .. }), "{cause}");
            assert_eq!(began.elapsed(), Duration::from_secs(40));
        },
    );
}

#[test]
fn a_handler_that_waits_for_the_broker_gets_a_connection_before_half_is_handled() {
    play_open(
        options().inbound_window(2),
        |links| {
            let mut broker = links.accept(false);
            answer_subscribe(&mut broker, &[]);
            for number in 1..=3 {
                broker.send(&qos_1("a", b"", number));
            }
            // Its answer would lie behind the message that finds no room.
            assert!(expect_qos_1(&mut broker) > 0);
            broker.expect_end();
            let mut broker = links.accept(true);
            let number = expect_qos_1(&mut broker);
            broker.send(&puback(number));
            for number in 1..=3 {
                broker.send(&again("a", b"", number));
            }
            for number in 1..=3 {
                broker.receive(|packet| match packet {
                    PacketRef::PubAck(puback) => assert_eq!(puback.packet_id, id(number)),
                    other => panic!("{other:?}"),
                });
            }
            expect_disconnect(&mut broker);
        },
        |client| {
            let mut is_first = true;
            let asks = move |client: &Client, _: &_| {
                if std::mem::take(&mut is_first) {
                    let publish = Publish::to("b", "").qos(QoS::AtLeastOnce);
                    client.publish(publish.wait(Wait::Ack))?;
                }
                Ok(())
            };
            let subscribe = Subscribe::to("a", QoS::AtLeastOnce);
            client.subscribe_as(subscribe, asks).unwrap();
            fiber::sleep(Duration::from_secs(60)).unwrap();
            assert_eq!(client.unacknowledged(), 0);
        },
    );
}

#[test]
fn what_the_broker_lost_with_the_session_is_no_message_that_was_handled() {
    let handled = Rc::new(Cell::new(0));
    let counter = Rc::clone(&handled);
    play_open(
        options().keep_alive(Duration::ZERO),
        |links| {
            let mut broker = links.accept(false);
            answer_subscribe(&mut broker, &[]);
            broker.send(&qos_1("a", b"same", 1));
            drop(broker);
            // Handled meanwhile; but this is a new one, of a new session.
            fiber::sleep(Duration::from_secs(10)).unwrap();
            let mut broker = links.accept(false);
            answer_subscribe(&mut broker, &[]);
            broker.send(&again("a", b"same", 1));
            broker.expect(&puback(1));
            expect_disconnect(&mut broker);
        },
        move |client| {
            let slow = move |_: &Client, _: &_| {
                fiber::sleep(Duration::from_secs(5))?;
                counter.set(counter.get() + 1);
                Ok(())
            };
            client.subscribe("a", QoS::AtLeastOnce, slow).unwrap();
            fiber::sleep(Duration::from_secs(100)).unwrap();
        },
    );
    assert_eq!(handled.get(), 2);
}
