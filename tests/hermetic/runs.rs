//! Messages that come one behind the other for one subscription: what happens in the middle of such a
//! run happens between two messages.

use std::time::Duration;

use mqtt::packet::{Delivery, PacketRef};
use mqtt::{
    Ack, Client, HandlerError, Message, MessageRef, OnError, QoS, Subscribe, Version, Wait,
};

use crate::harness::{
    answer_subscribe, answer_unsubscribe, expect_disconnect, id, options, play_connected, puback,
    pubcomp, publish, pubrec, pubrel, qos_0, qos_1,
};
use crate::inline_handlers::{Given, at_once, sleep};

/// The packets in one piece.
fn bytes(packets: &[PacketRef<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        let at = bytes.len();
        bytes.resize(at + packet.encoded_len(Version::V311), 0);
        packet.encode(Version::V311, &mut bytes[at..]);
    }
    bytes
}

fn on_fiber(
    given: &Given,
    name: &'static str,
) -> impl FnMut(&Client, &Message) -> Result<(), HandlerError> + use<> {
    let given = given.clone();
    move |_, message| {
        given.note(name, &message.data);
        Ok(())
    }
}

/// Messages of which no two in a row have the same length and flags.
fn mixed() -> Vec<u8> {
    let packet_id = id(3);
    let twice = Delivery::ExactlyOnce {
        packet_id,
        dup: false,
    };
    bytes(&[
        qos_0("a", b"1"),
        qos_1("a", b"2", 1),
        qos_1("a", b"22", 2),
        publish("a", b"222", twice),
        qos_0("b", b"3"),
        qos_0("a", &[b'x'; 200]),
        qos_0("b", b"4"),
        qos_1("a", b"", 4),
    ])
}

fn mixed_run_is_handled_in_order(subscribe: fn(&Client, &'static str, &Given)) {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            // Both topics are known from here on.
            broker.send_bytes(&bytes(&[qos_0("a", b"0"), qos_0("b", b"0")]));
            sleep(1);
            broker.send_bytes(&mixed());
            broker.expect(&puback(1));
            broker.expect(&puback(2));
            broker.expect(&pubrec(3));
            broker.expect(&puback(4));
            broker.send(&pubrel(3));
            broker.expect(&pubcomp(3));
            expect_disconnect(broker);
        },
        move |client| {
            let given = Given::default();
            subscribe(client, "a", &given);
            subscribe(client, "b", &given);
            sleep(3);
            let mut order = given.take();
            let long = format!("a{}", "x".repeat(200));
            let of_a = ["a0", "a1", "a2", "a22", "a222", &*long, "a"];
            let of_b = ["b0", "b3", "b4"];
            let (on_a, on_b): (Vec<_>, Vec<_>) =
                order.drain(..).partition(|text| text.starts_with('a'));
            assert_eq!(
                (on_a, on_b),
                (of_a.map(String::from).into(), of_b.map(String::from).into())
            );
            assert_eq!(client.stats().received, 10);
        },
    );
}

#[test]
fn a_run_of_unlike_messages_is_handled_in_order_and_acknowledged_in_order() {
    mixed_run_is_handled_in_order(|client, filter, given| {
        client
            .subscribe_inline(filter, QoS::ExactlyOnce, given.inline(filter))
            .unwrap();
    });
    mixed_run_is_handled_in_order(|client, filter, given| {
        client
            .subscribe(filter, QoS::ExactlyOnce, on_fiber(given, filter))
            .unwrap();
    });
}

/// Messages 1 to 5 of QoS 1 in one piece; the handler notes each, and does this with the third.
fn five(
    with_third: fn(&Client) -> Result<(), HandlerError>,
    is_inline: bool,
    policy: OnError,
) -> Vec<String> {
    let noted = Given::default();
    let given = noted.clone();
    play_connected(
        options(),
        move |broker| {
            answer_subscribe(broker, &[]);
            broker.send_bytes(&bytes(&[qos_0("a", b"0")]));
            sleep(1);
            let numbers = 1..=5_u16;
            let texts: Vec<String> = numbers.clone().map(|number| number.to_string()).collect();
            let packets: Vec<_> = numbers
                .clone()
                .zip(&texts)
                .map(|(number, text)| qos_1("a", text.as_bytes(), number))
                .collect();
            broker.send_bytes(&bytes(&packets));
            for number in numbers {
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        move |client| {
            let mut is_third = true;
            let mut handle = move |client: &Client, data: &[u8]| {
                given.note("", data);
                if data == b"3" && std::mem::take(&mut is_third) {
                    return with_third(client);
                }
                Ok(())
            };
            let declared: Subscribe<'_> = at_once("a").on_error(policy).ack(Ack::AfterHandler);
            if is_inline {
                let handler =
                    move |client: &Client, message: MessageRef<'_>| handle(client, message.data);
                client.subscribe_inline_as(declared, handler).unwrap();
            } else {
                let handler =
                    move |client: &Client, message: &Message| handle(client, &message.data);
                client.subscribe_as(declared, handler).unwrap();
            }
            sleep(4);
            let stats = client.stats();
            assert_eq!(stats.received, 6);
            assert_eq!(stats.handler_errors + stats.handler_panics, 1);
        },
    );
    noted.take()
}

#[test]
fn a_handler_that_fails_within_a_run_is_called_with_the_rest_of_it() {
    let panicking = |_: &Client| panic!("a fault of the program");
    for is_inline in [true, false] {
        let all = ["0", "1", "2", "3", "4", "5"];
        let failing = |_: &Client| Err(HandlerError::new("no"));
        assert_eq!(five(failing, is_inline, OnError::Acknowledge), all);
        assert_eq!(five(panicking, is_inline, OnError::Acknowledge), all);
        let again = ["0", "1", "2", "3", "3", "4", "5"];
        let policy = OnError::Redeliver { limit: 2 };
        assert_eq!(five(failing, is_inline, policy), again);
        assert_eq!(five(panicking, is_inline, policy), again);
    }
}

#[test]
fn a_subscription_that_its_handler_ends_within_a_run_gets_no_more_of_it() {
    let noted = Given::default();
    let given = noted.clone();
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_0("a", b"0"));
            sleep(1);
            let packets = [
                qos_1("a", b"1", 1),
                qos_1("a", b"2", 2),
                qos_1("a", b"3", 3),
            ];
            broker.send_bytes(&bytes(&packets));
            for number in 1..=3 {
                broker.expect(&puback(number));
            }
            assert_eq!(answer_unsubscribe(broker), ["a"]);
            expect_disconnect(broker);
        },
        move |client| {
            let handler = move |client: &Client, message: MessageRef<'_>| {
                given.note("", message.data);
                if message.data == b"2" {
                    client.unsubscribe_as("a", Wait::None)?;
                }
                Ok(())
            };
            client.subscribe_inline_as(at_once("a"), handler).unwrap();
            sleep(3);
            assert_eq!(client.stats().unrouted, 1);
        },
    );
    assert_eq!(noted.take(), ["0", "1", "2"]);
}

#[test]
fn more_messages_than_the_inbound_window_holds_come_in_one_run() {
    let noted = Given::default();
    let given = noted.clone();
    play_connected(
        options().inbound_window(4),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_0("a", b""));
            sleep(1);
            let packets: Vec<_> = (1..=20).map(|number| qos_1("a", b"", number)).collect();
            broker.send_bytes(&bytes(&packets));
            for number in 1..=20 {
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        move |client| {
            client
                .subscribe_inline_as(at_once("a"), given.inline(""))
                .unwrap();
            fiber::sleep(Duration::from_secs(3)).unwrap();
        },
    );
    assert_eq!(noted.take().len(), 21);
}
