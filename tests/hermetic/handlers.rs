//! Handlers: fibers of their own, order, acknowledgements, errors, bounds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use mqtt::{INBOUND_BYTES_DEFAULT, Publish, QOS_0_QUEUE_MAX, QoS, Wait};

use crate::harness::{
    answer_subscribe, expect_disconnect, expect_qos_1, options, play_connected, play_with_fibers,
    puback, qos_0, qos_1,
};

#[test]
fn a_handler_may_wait_for_the_acknowledgement_of_its_own_publish() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("set", b"4", 7));
            let id = expect_qos_1(broker);
            broker.expect_silence(Duration::from_secs(1));
            broker.send(&puback(id));
            broker.expect(&puback(7));
            expect_disconnect(broker);
        },
        |client| {
            let done = fiber::Event::new();
            let say_done = done.clone();
            client
                .subscribe("set", QoS::AtLeastOnce, move |client, message| {
                    let answer = Publish::to("state", &*message.data).qos(QoS::AtLeastOnce);
                    client.publish(answer.wait(Wait::Ack))?;
                    say_done.set();
                    Ok(())
                })
                .unwrap();
            done.wait().unwrap();
        },
    );
}

#[test]
fn a_parked_handler_stops_neither_reading_nor_other_handlers() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            broker.send(&qos_0("slow", b""));
            for n in 0..10_000_u32 {
                broker.send(&qos_0("fast", &n.to_be_bytes()));
            }
            let id = expect_qos_1(broker);
            broker.send(&puback(id));
            expect_disconnect(broker);
        },
        |client| {
            let never = fiber::Event::new();
            client
                .subscribe("slow", QoS::AtMostOnce, move |_, _| Ok(never.wait()?))
                .unwrap();
            let next = Rc::new(Cell::new(0_u32));
            let counter = Rc::clone(&next);
            client
                .subscribe("fast", QoS::AtMostOnce, move |_, message| {
                    assert_eq!(message.data, counter.get().to_be_bytes()[..]);
                    counter.set(counter.get() + 1);
                    Ok(())
                })
                .unwrap();
            client
                .publish(Publish::to("m", "").qos(QoS::AtLeastOnce).wait(Wait::Ack))
                .unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert_eq!(next.get() + client.stats().dropped as u32, 10_000);
            assert_eq!(client.stats().dropped, 0);
        },
    );
}

#[test]
fn qos_0_beyond_the_queue_drops_the_oldest_and_counts_them() {
    const SENT: usize = QOS_0_QUEUE_MAX + 500;
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            for n in 0..SENT {
                broker.send(&qos_0("a", &(n as u32).to_be_bytes()));
            }
            let id = expect_qos_1(broker);
            broker.send(&puback(id));
            expect_disconnect(broker);
        },
        |client| {
            let (go, handled) = (fiber::Event::new(), Rc::new(RefCell::new(Vec::new())));
            let (gate, log) = (go.clone(), Rc::clone(&handled));
            client
                .subscribe("a", QoS::AtMostOnce, move |_, message| {
                    gate.wait()?;
                    log.borrow_mut()
                        .push(u32::from_be_bytes(message.data[..].try_into()?));
                    Ok(())
                })
                .unwrap();
            // Its acknowledgement comes behind all of them, so all were read.
            client
                .publish(Publish::to("m", "").qos(QoS::AtLeastOnce).wait(Wait::Ack))
                .unwrap();
            go.set();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let handled = handled.take();
            let dropped = client.stats().dropped as usize;
            assert_eq!(handled.len() + dropped, SENT);
            assert!((QOS_0_QUEUE_MAX..=QOS_0_QUEUE_MAX + 1).contains(&handled.len()));
            assert_eq!(
                *handled.last().unwrap() as usize,
                SENT - 1,
                "the newest are kept"
            );
            assert!(handled.is_sorted());
        },
    );
}

#[test]
fn acknowledgements_leave_in_order_of_arrival_though_handlers_finish_out_of_order() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("slow", b"", 1));
            broker.send(&qos_1("fast", b"", 2));
            broker.send(&qos_1("unwanted", b"", 3));
            broker.expect_silence(Duration::from_millis(900));
            for number in 1..=3 {
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            let sleep = |_: &_, _: &_| Ok(fiber::sleep(Duration::from_secs(1))?);
            client.subscribe("slow", QoS::AtLeastOnce, sleep).unwrap();
            client
                .subscribe("fast", QoS::AtLeastOnce, |_, _| Ok(()))
                .unwrap();
            fiber::sleep(Duration::from_secs(2)).unwrap();
        },
    );
}

#[test]
fn a_message_for_two_handlers_is_acknowledged_once_after_both() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a/b", b"", 5));
            broker.expect_silence(Duration::from_millis(900));
            broker.expect(&puback(5));
            broker.expect_silence(Duration::from_millis(900));
            expect_disconnect(broker);
        },
        |client| {
            client
                .subscribe("a/+", QoS::AtLeastOnce, |_, _| Ok(()))
                .unwrap();
            let sleep = |_: &_, _: &_| Ok(fiber::sleep(Duration::from_secs(1))?);
            client.subscribe("a/#", QoS::AtLeastOnce, sleep).unwrap();
            fiber::sleep(Duration::from_secs(3)).unwrap();
        },
    );
}

#[test]
fn an_error_or_a_panic_in_a_handler_is_counted_and_the_message_acknowledged() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            for (number, data) in [(1, "error"), (2, "panic"), (3, "fine")] {
                broker.send(&qos_1("a", data.as_bytes(), number));
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            client
                .subscribe("a", QoS::AtLeastOnce, |_, message| match &*message.data {
                    b"error" => Err(std::io::Error::other("no such valve").into()),
                    b"panic" => panic!("a handler's panic, as this test asks for"),
                    _ => Ok(()),
                })
                .unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let stats = client.stats();
            assert_eq!(
                (stats.handler_errors, stats.handler_panics, stats.received),
                (1, 1, 3)
            );
        },
    );
}

#[test]
fn an_idle_subscription_has_no_fiber_and_its_handler_keeps_its_state() {
    play_connected(
        options().keep_alive(Duration::ZERO),
        |broker| {
            answer_subscribe(broker, &[]);
            for _ in 0..3 {
                broker.send(&qos_0("a", b""));
                fiber::sleep(Duration::from_secs(3_600)).unwrap();
            }
            expect_disconnect(broker);
        },
        |client| {
            let mut calls = 0;
            let (sender, receiver) = fiber::channel(3);
            let spawns = fiber::stats().spawns;
            client
                .subscribe("a", QoS::AtMostOnce, move |_, _| {
                    calls += 1;
                    sender.try_send(calls).expect("there is room");
                    Ok(())
                })
                .unwrap();
            for call in 1..=3 {
                assert_eq!(receiver.recv().unwrap(), Some(call));
            }
            assert_eq!(
                fiber::stats().spawns - spawns,
                3,
                "a fiber for each message"
            );
        },
    );
}

#[test]
fn a_handler_may_subscribe_and_unsubscribe_itself() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("first", b"", 1));
            assert_eq!(crate::harness::answer_unsubscribe(broker), ["first"]);
            answer_subscribe(broker, &[]);
            broker.expect(&puback(1));
            broker.send(&qos_1("second", b"", 2));
            broker.expect(&puback(2));
            expect_disconnect(broker);
        },
        |client| {
            let done = fiber::Event::new();
            let say_done = done.clone();
            client
                .subscribe("first", QoS::AtLeastOnce, move |client, _| {
                    let say_done = say_done.clone();
                    client.unsubscribe("first")?;
                    client.subscribe("second", QoS::AtLeastOnce, move |_, _| {
                        say_done.set();
                        Ok(())
                    })?;
                    Ok(())
                })
                .unwrap();
            done.wait().unwrap();
            fiber::yield_now().unwrap();
        },
    );
}

#[test]
fn a_burst_in_one_read_is_no_more_than_a_handler_that_keeps_up_can_take() {
    const COUNT: u16 = 5_000;
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            let of_qos_0 = b"\x30\x03\x00\x01a".repeat(COUNT.into());
            broker.send_bytes(&of_qos_0);
            let of_qos_1: Vec<u8> = (1..=COUNT)
                .flat_map(|id| [&b"\x32\x05\x00\x01a"[..], &id.to_be_bytes()].concat())
                .collect();
            broker.send_bytes(&of_qos_1);
            for number in 1..=COUNT {
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            client
                .subscribe("a", QoS::AtLeastOnce, |_, _| Ok(()))
                .unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let stats = client.stats();
            assert_eq!((stats.received, stats.dropped), (2 * u64::from(COUNT), 0));
        },
    );
}

#[test]
fn a_message_larger_than_all_unhandled_ones_may_be_is_handled_alone() {
    let options = options().maximum_packet_size(2 * INBOUND_BYTES_DEFAULT);
    play_connected(
        options,
        |broker| {
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            let payload = vec![b'x'; INBOUND_BYTES_DEFAULT];
            broker.send(&qos_1("a", &payload, 1));
            broker.expect(&puback(1));
            expect_disconnect(broker);
        },
        |client| {
            let handled = Rc::new(Cell::new(0));
            for filter in ["a", "+"] {
                let handled = Rc::clone(&handled);
                let handler = move |_: &_, message: &mqtt::Message| {
                    handled.set(handled.get() + message.data.len());
                    Ok(())
                };
                client.subscribe(filter, QoS::AtLeastOnce, handler).unwrap();
            }
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert_eq!(handled.get(), 2 * INBOUND_BYTES_DEFAULT);
        },
    );
}

#[test]
fn handlers_that_find_no_fiber_run_once_there_is_one_even_after_the_end() {
    // The main fiber, the broker, the driver, and one more.
    play_with_fibers(
        4,
        options(),
        |broker| {
            broker.accept(false, |_| ());
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"", 1));
            broker.send(&qos_1("b", b"", 2));
            broker.expect(&puback(1));
            broker.expect(&puback(2));
            broker.send(&qos_0("a", b""));
            broker.send(&qos_0("b", b""));
            broker.stream().shutdown(fiber::net::Shutdown::Both);
            // Its fiber is not the one that becomes free.
            fiber::sleep(Duration::from_secs(10)).unwrap();
        },
        |client| {
            client.connect().unwrap();
            let handled = Rc::new(RefCell::new(Vec::new()));
            for filter in ["a", "b"] {
                let handled = Rc::clone(&handled);
                let handler = move |_: &_, message: &mqtt::Message| {
                    fiber::sleep(Duration::from_millis(300))?;
                    handled.borrow_mut().push(message.topic.to_string());
                    Ok(())
                };
                client.subscribe(filter, QoS::AtLeastOnce, handler).unwrap();
            }
            client.ended().unwrap();
            fiber::sleep(Duration::from_secs(5)).unwrap();
            let mut handled = handled.take();
            handled.sort();
            assert_eq!(handled, ["a", "a", "b", "b"]);
        },
    );
}

/// An error that cannot even say what it is.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("a panic in an error's text, as this test asks for")
    }
}

impl std::error::Error for Unspeakable {}

impl Drop for Unspeakable {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a panic in a drop, as this test asks for")
        }
    }
}

#[test]
fn nothing_that_a_handler_leaves_behind_ends_its_subscription() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            for number in 1..=3 {
                broker.send(&qos_1("a", &[number as u8], number));
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            client
                .subscribe("a", QoS::AtLeastOnce, |_, message| match message.data[0] {
                    1 => Err(Unspeakable.into()),
                    2 => std::panic::panic_any(Unspeakable),
                    _ => Ok(()),
                })
                .unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let stats = client.stats();
            // The error panics as well, when it is dropped.
            assert_eq!((stats.handler_errors, stats.handler_panics), (1, 2));
        },
    );
}

/// Calls the client when it is dropped.
struct Farewell(mqtt::Client, &'static str);

impl Drop for Farewell {
    fn drop(&mut self) {
        for wait in [Wait::None, Wait::Stored, Wait::Sent, Wait::Ack] {
            // During unwinding waits fail, and the message is accepted all the same.
            let publish = Publish::to(self.1, "").qos(QoS::AtLeastOnce);
            drop(self.0.publish(publish.wait(wait)));
        }
        let _ = (self.0.stats(), self.0.is_connected());
        drop(self.0.unsubscribe("nothing"));
    }
}

#[test]
fn what_a_handler_owns_may_call_the_client_as_it_is_dropped() {
    play_connected(
        options().window(1),
        |broker| {
            assert_eq!(answer_subscribe(broker, &["refused"]), ["refused"]);
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("own", b"", 1));
            let mut seen = Vec::new();
            loop {
                let next = broker.receive(|packet| match packet {
                    mqtt::packet::PacketRef::Publish(publish) => {
                        seen.push(publish.topic().to_owned());
                        Some(puback(publish.packet_id().unwrap().get()))
                    }
                    mqtt::packet::PacketRef::Unsubscribe(unsubscribe) => {
                        let answer = mqtt::packet::UnsubAck::new(unsubscribe.packet_id());
                        Some(mqtt::packet::PacketRef::UnsubAck(answer))
                    }
                    mqtt::packet::PacketRef::PubAck(_) | mqtt::packet::PacketRef::PingReq => {
                        Some(mqtt::packet::PacketRef::PingResp)
                    }
                    mqtt::packet::PacketRef::Disconnect(_) => None,
                    other => panic!("{other:?}"),
                });
                let Some(answer) = next else { break };
                broker.send(&answer);
            }
            for (topic, count) in [("refused", 4), ("own", 4), ("panic", 1)] {
                let found = seen.iter().filter(|other| *other == topic).count();
                assert!(found >= count, "{found} of {topic}: {seen:?}");
            }
            broker.expect_end();
        },
        |client| {
            let farewell = Farewell(client.clone(), "refused");
            let refused = client.subscribe("refused", QoS::AtLeastOnce, move |_, _| {
                let _ = &farewell;
                Ok(())
            });
            assert!(refused.is_err());
            let farewell = Farewell(client.clone(), "own");
            client
                .subscribe("own", QoS::AtLeastOnce, move |client, _| {
                    let _ = &farewell;
                    client.unsubscribe("own")?;
                    fiber::sleep(Duration::from_secs(50))?;
                    let _unwound = Farewell(client.clone(), "panic");
                    panic!("a handler's panic, as this test asks for")
                })
                .unwrap();
            fiber::sleep(Duration::from_secs(100)).unwrap();
            client.close(Duration::from_secs(100)).unwrap();
        },
    );
}
