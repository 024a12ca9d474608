//! A broker with more unacknowledged messages under way than the client holds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use mqtt::{Client, EndCause, QoS};

use crate::harness::{
    answer_subscribe, expect_disconnect, options, play_connected, play_open, puback, qos_1,
};

/// What the client holds of messages that await their acknowledgement.
const INBOUND_WINDOW: u16 = mqtt::INBOUND_WINDOW_DEFAULT;

#[test]
fn a_broker_with_a_larger_window_waits_until_handlers_make_room() {
    const COUNT: u16 = 3 * INBOUND_WINDOW;
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            for number in 1..=COUNT {
                broker.send(&qos_1("a", b"", number));
            }
            for number in 1..=COUNT {
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            let handled = Rc::new(Cell::new(0));
            let counter = Rc::clone(&handled);
            client
                .subscribe("a", QoS::AtLeastOnce, move |_, _| {
                    counter.set(counter.get() + 1);
                    Ok(fiber::sleep(Duration::from_millis(5))?)
                })
                .unwrap();
            fiber::sleep(Duration::from_secs(60)).unwrap();
            assert_eq!(handled.get(), COUNT);
            assert!(client.is_connected());
        },
    );
}

#[test]
fn handlers_that_never_make_room_end_the_connection_after_the_grace() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            for number in 1..=INBOUND_WINDOW + 1 {
                broker.send(&qos_1("a", b"", number));
            }
            broker.expect_end();
        },
        |client| {
            let never = fiber::Event::new();
            client
                .subscribe("a", QoS::AtLeastOnce, move |_, _| Ok(never.wait()?))
                .unwrap();
            let (began, resumes) = (fiber::Instant::now(), fiber::stats().resumes);
            let cause = client.ended().unwrap();
            let EndCause::Overrun { messages, .. } = *cause else {
                panic!("{cause}");
            };
            assert_eq!(messages, usize::from(INBOUND_WINDOW));
            assert_eq!(began.elapsed(), Duration::from_secs(10));
            assert!(fiber::stats().resumes - resumes < 100, "it does not spin");
        },
    );
}

#[test]
fn early_messages_keep_their_place_though_they_need_more_room_than_there_is() {
    // Each takes more than half of it.
    let payload = [b'x'; 600];
    play_open(
        options().inbound_bytes(1_000),
        move |links| {
            let mut broker = links.accept(true);
            for number in 1..=3 {
                broker.send(&qos_1("late", &payload, number));
            }
            assert_eq!(answer_subscribe(&mut broker, &[]), ["late"]);
            broker.send(&qos_1("late", b"last", 4));
            for number in 1..=4 {
                broker.expect(&puback(number));
            }
            expect_disconnect(&mut broker);
        },
        |client| {
            let seen = Rc::new(RefCell::new(Vec::new()));
            let lengths = Rc::clone(&seen);
            client.wait_connected().unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let slow = move |_: &Client, message: &mqtt::Message| {
                lengths.borrow_mut().push(message.data.len());
                fiber::sleep(Duration::from_secs(1)).unwrap();
                Ok(())
            };
            client.subscribe("late", QoS::AtLeastOnce, slow).unwrap();
            fiber::sleep(Duration::from_secs(10)).unwrap();
            assert_eq!(*seen.borrow(), [600, 600, 600, 4]);
            assert_eq!(client.stats().unrouted, 0);
        },
    );
}
