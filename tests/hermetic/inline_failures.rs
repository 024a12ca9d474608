//! Inline handlers that fail: counted, called again, given up, never in the way of the driver.

use std::cell::Cell;
use std::time::Duration;

use mqtt::{Ack, Client, HandlerError, MessageRef, OnError, QoS};

use crate::harness::{
    answer_subscribe, expect_disconnect, options, play_connected, puback, qos_0, qos_1,
};
use crate::inline_handlers::{Given, at_once, sleep};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_error_and_a_panic_are_counted_and_the_message_is_acknowledged() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            for number in 1..=3 {
                broker.send(&qos_1("a", &[b'0' + number], number.into()));
            }
            for number in 1..=3 {
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            /// Panics when it is dropped, as code of the program may.
            #[derive(Debug)]
            struct Bad;
            impl std::fmt::Display for Bad {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("bad")
                }
            }
            impl std::error::Error for Bad {}
            impl Drop for Bad {
                fn drop(&mut self) {
                    assert_eq!(fiber::yield_now(), Err(fiber::Stopped::WouldWait));
                    panic!("a panic of an error's drop, as this test asks for");
                }
            }
            let handler = |client: &Client, message: MessageRef<'_>| match message.data {
                b"1" => Err(HandlerError::new("no such valve")),
                b"2" => Err(Bad.into()),
                _ => {
                    assert_eq!(client.stats().handler_errors, 2);
                    panic!("a handler's panic, as this test asks for")
                }
            };
            client
                .subscribe_inline("a", QoS::AtLeastOnce, handler)
                .unwrap();
            sleep(1);
            let stats = client.stats();
            assert_eq!((stats.handler_errors, stats.handler_panics), (2, 2));
        },
    );
}

/// Has a handler fail as often as `failures` says with a message at QoS 1 that may be given to it once
/// more for each of `limit`; another message comes behind it, and one later. Returns what the handler
/// was given, and that of dead letters.
fn fail(failures: usize, limit: u32, ack: Ack) -> Vec<String> {
    let given = Given::default();
    let noted = given.clone();
    play_connected(
        options(),
        move |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            broker.send(&qos_1("a", b"2", 2));
            if limit > 0 && ack != Ack::OnReceipt {
                // The first pause before it is called again.
                broker.expect_silence(Duration::from_millis(99));
            }
            broker.expect(&puback(1));
            broker.expect(&puback(2));
            fiber::sleep(SECOND).unwrap();
            broker.send(&qos_0("a", b"3"));
            expect_disconnect(broker);
        },
        move |client| {
            let letters = noted.clone();
            client.on_dead_letter(move |_, message| {
                letters.note("dead ", &message.data);
                Ok(())
            });
            let calls = Cell::new(0);
            let handler = move |_: &Client, message: MessageRef<'_>| {
                noted.note("", message.data);
                assert_eq!(fiber::yield_now(), Err(fiber::Stopped::WouldWait));
                calls.set(calls.get() + 1);
                if calls.get() <= failures {
                    return Err(HandlerError::new("not now"));
                }
                message.acknowledge();
                Ok(())
            };
            let subscribe = at_once("a").ack(ack).on_error(OnError::Redeliver { limit });
            client.subscribe_inline_as(subscribe, handler).unwrap();
            sleep(5);
            let stats = client.stats();
            assert_eq!(stats.handler_errors, failures as u64);
            let redelivered = failures.min(limit as usize);
            assert_eq!(stats.redelivered, redelivered as u64);
            assert_eq!(stats.handler_panics, 0);
        },
    );
    given.take()
}

#[test]
fn one_that_fails_is_called_again_and_later_messages_wait_for_that() {
    for ack in [Ack::AfterHandler, Ack::OnReceipt, Ack::Manual] {
        assert_eq!(fail(2, 2, ack), ["1", "1", "1", "2", "3"], "{ack:?}");
    }
}

#[test]
fn what_it_failed_to_handle_for_good_goes_to_the_handler_of_dead_letters() {
    for ack in [Ack::AfterHandler, Ack::OnReceipt, Ack::Manual] {
        let given = fail(2, 1, ack);
        let (dead, given): (Vec<_>, Vec<_>) =
            given.into_iter().partition(|note| note.starts_with("dead"));
        assert_eq!(
            (dead, given.join("")),
            (vec!["dead 1".to_owned()], "1123".to_owned())
        );
        let given = fail(1, 0, ack);
        let (dead, given): (Vec<_>, Vec<_>) =
            given.into_iter().partition(|note| note.starts_with("dead"));
        assert_eq!(
            (dead, given.join("")),
            (vec!["dead 1".to_owned()], "123".to_owned())
        );
    }
}
