//! Handlers: fibers of their own, order, acknowledgements, errors, bounds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use mqtt::{Publish, QOS_0_QUEUE_MAX, QoS, Wait};

use crate::harness::{
    answer_subscribe, expect_disconnect, expect_qos_1, options, play_connected, puback, qos_0,
    qos_1,
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
