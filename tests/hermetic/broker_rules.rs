//! What the standard says of a server, found by the client of this project: the same list that
//! `tests/interop/broker/` goes through with clients that are not ours.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use mqtt::{
    Ack, Broker, BrokerOptions, Client, ClientId, ClientOptions, ConnectReason, Error, Message,
    Messages, Publish, QoS, Subscribe, Wait, Will,
};

use crate::broker_harness::{PIPE_BYTES, run, run_with};

const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const SECOND: Duration = Duration::from_secs(1);

fn options(client_id: &str) -> ClientOptions {
    ClientOptions::new(ClientId::new(client_id).unwrap())
}

fn over(broker: &Broker, options: ClientOptions) -> Client {
    let (ours, theirs) = fiber::net::pipe(PIPE_BYTES);
    broker.attach(theirs).unwrap();
    Client::over(ours, options)
}

/// A connected client; the broker kept nothing of it.
#[track_caller]
fn connect(broker: &Broker, client_id: &str) -> Client {
    let client = over(broker, options(client_id));
    assert!(!client.connect().unwrap());
    client
}

fn shown(message: &Message) -> String {
    let payload = String::from_utf8_lossy(&message.data);
    let dup = if message.dup { " dup" } else { "" };
    let retain = if message.retain { " retain" } else { "" };
    let (topic, qos) = (&*message.topic, message.qos.bits());
    format!("{topic}={payload} q{qos}{dup}{retain}")
}

#[track_caller]
fn expect(messages: &mut Messages, expected: &[&str]) {
    let take = || {
        let found = messages.take(expected.len());
        let found = found.map(|message| shown(&message.unwrap()));
        found.collect::<Vec<_>>()
    };
    let found = fiber::timeout(60 * SECOND, take);
    assert_eq!(found.expect("the messages come in time"), expected);
}

/// Nothing more comes.
#[track_caller]
fn expect_nothing(messages: &mut Messages) {
    let next = fiber::timeout(SECOND, || messages.next());
    assert!(next.is_err(), "{next:?}");
}

#[track_caller]
fn publish(client: &Client, topic: &str, payload: &str, qos: QoS, retain: bool) {
    let publish = Publish::to(topic, payload).qos(qos).retain(retain);
    client.publish(publish.wait(Wait::Ack)).unwrap();
}

#[test]
fn a_message_comes_at_the_lower_qos_of_both_ends() {
    run(|broker| {
        let writer = connect(broker, "writer");
        for granted in LEVELS {
            let reader = connect(broker, "reader");
            let mut messages = reader.subscribe_iter("a/+", granted).unwrap();
            for qos in LEVELS {
                publish(&writer, "a/b", "x", qos, false);
                let expected = format!("a/b=x q{}", qos.min(granted).bits());
                expect(&mut messages, &[&expected]);
            }
            expect_nothing(&mut messages);
            drop(messages);
            reader.close(SECOND).unwrap();
        }
    });
}

#[test]
fn retained_messages_are_set_replaced_and_removed() {
    run(|broker| {
        let writer = connect(broker, "writer");
        let reader = connect(broker, "reader");
        let mut early = reader.subscribe_iter("#", QoS::ExactlyOnce).unwrap();
        for (topic, payload, retain) in [
            ("a/1", "old", true),
            ("a/1", "new", true),
            ("a/2", "old", true),
            ("a/2", "", true),
            ("a/3", "old", true),
            ("a/3", "", false),
        ] {
            publish(&writer, topic, payload, QoS::AtLeastOnce, retain);
            expect(&mut early, &[&format!("{topic}={payload} q1")]);
        }
        let late = connect(broker, "late");
        let mut messages = late.subscribe_iter("a/+", QoS::ExactlyOnce).unwrap();
        expect(&mut messages, &["a/1=new q1 retain", "a/3=old q1 retain"]);
        expect_nothing(&mut messages);
        expect_nothing(&mut early);
    });
}

#[test]
fn overlapping_filters_bring_one_copy_at_the_highest_qos() {
    run(|broker| {
        let writer = connect(broker, "writer");
        let reader = connect(broker, "reader");
        let (at_most, at_least, exactly) = (LEVELS[0], LEVELS[1], LEVELS[2]);
        let seen = Rc::new(RefCell::new(Vec::new()));
        let noted = Rc::clone(&seen);
        let filters = [("a/#", at_most), ("a/+/c", exactly), ("a/b/c", at_least)];
        let handler = move |_: &Client, message: &Message| {
            noted.borrow_mut().push(shown(message));
            Ok(())
        };
        reader.subscribe_all(&filters, handler).unwrap();
        publish(&writer, "a/b/c", "x", exactly, false);
        publish(&writer, "a/b", "y", exactly, false);
        fiber::sleep(SECOND).unwrap();
        assert_eq!(seen.take(), ["a/b/c=x q2", "a/b=y q0"]);
        assert_eq!(reader.stats().unrouted, 0);
    });
}

#[test]
fn leading_wildcards_bring_no_dollar_topic() {
    run(|broker| {
        let writer = connect(broker, "writer");
        let reader = connect(broker, "reader");
        let mut all = reader.subscribe_iter("#", LEVELS[1]).unwrap();
        let mut level = reader.subscribe_iter("+/x", LEVELS[1]).unwrap();
        let mut named = reader.subscribe_iter("$own/#", LEVELS[1]).unwrap();
        publish(&writer, "$own/x", "1", LEVELS[1], true);
        expect(&mut named, &["$own/x=1 q1"]);
        expect_nothing(&mut all);
        expect_nothing(&mut level);
        assert_eq!(reader.stats().unrouted, 0);
    });
}

#[test]
fn a_kept_session_has_what_came_meanwhile_and_again_what_was_not_acknowledged() {
    run(|broker| {
        let writer = connect(broker, "writer");
        let reader = over(broker, options("reader").clean_start(false));
        assert!(!reader.connect().unwrap());
        let seen = Rc::new(RefCell::new(Vec::new()));
        let noted = Rc::clone(&seen);
        let handler = move |_: &Client, message: &Message| {
            noted.borrow_mut().push(shown(message));
            Ok(())
        };
        // The program acknowledges nothing of this.
        let manual = Subscribe::to("a", LEVELS[2]).ack(Ack::Manual);
        reader.subscribe_as(manual, handler).unwrap();
        publish(&writer, "a", "1", LEVELS[1], false);
        publish(&writer, "a", "2", LEVELS[2], false);
        fiber::sleep(SECOND).unwrap();
        assert_eq!(seen.take(), ["a=1 q1", "a=2 q2"]);
        drop(reader);
        fiber::sleep(5 * SECOND).unwrap();
        for qos in LEVELS {
            publish(&writer, "a", "away", qos, false);
        }
        let again = over(broker, options("reader").clean_start(false));
        let noted = Rc::clone(&seen);
        let handler = move |_: &Client, message: &Message| {
            noted.borrow_mut().push(shown(message));
            Ok(())
        };
        let connecting = again.clone();
        let mut connecting = fiber::spawn(move || connecting.connect()).unwrap();
        let subscribe = Subscribe::to("a", LEVELS[2]).wait(Wait::None);
        again.subscribe_as(subscribe, handler).unwrap();
        assert!(connecting.join().unwrap().unwrap(), "there is a session");
        fiber::sleep(SECOND).unwrap();
        let expected = ["a=1 q1 dup", "a=2 q2 dup", "a=away q1", "a=away q2"];
        assert_eq!(seen.take(), expected);
    });
}

#[test]
fn a_retained_message_does_not_come_again_on_a_resumed_session() {
    run(|broker| {
        let writer = connect(broker, "writer");
        publish(&writer, "a", "kept", LEVELS[1], true);
        let reader = over(broker, options("reader").clean_start(false));
        assert!(!reader.connect().unwrap());
        let mut messages = reader.subscribe_iter("a", LEVELS[1]).unwrap();
        expect(&mut messages, &["a=kept q1 retain"]);
        // The next one acknowledges it.
        publish(&writer, "a", "new", LEVELS[1], true);
        expect(&mut messages, &["a=new q1"]);
        expect_nothing(&mut messages);
        broker.stop();
        reader.ended().unwrap();
        let (ours, theirs) = fiber::net::pipe(PIPE_BYTES);
        broker.attach(theirs).unwrap();
        reader.attach(ours).unwrap();
        assert!(reader.connect().unwrap(), "there is a session");
        expect_nothing(&mut messages);
        let writer = connect(broker, "writer");
        publish(&writer, "a", "last", LEVELS[1], true);
        expect(&mut messages, &["a=last q1"]);
    });
}

#[test]
fn a_will_has_its_qos_and_is_retained_and_that_of_a_client_that_closes_is_not_published() {
    run(|broker| {
        let watcher = connect(broker, "watcher");
        let mut wills = watcher.subscribe_iter("will/#", LEVELS[2]).unwrap();
        let will = |topic: &str, qos, retain| Will {
            topic: topic.to_owned(),
            payload: b"gone".to_vec(),
            qos,
            retain,
        };
        for (qos, retain) in LEVELS.into_iter().zip([true, false, true]) {
            let topic = format!("will/{}", qos.bits());
            let lost = over(broker, options("meter").will(will(&topic, qos, retain)));
            lost.connect().unwrap();
            // Another connection of this client ends its own.
            connect(broker, "meter").close(SECOND).unwrap();
            expect(&mut wills, &[&format!("{topic}=gone q{}", qos.bits())]);
        }
        let leaving = over(
            broker,
            options("meter").will(will("will/left", LEVELS[1], true)),
        );
        leaving.connect().unwrap();
        leaving.close(SECOND).unwrap();
        expect_nothing(&mut wills);
        let late = connect(broker, "late");
        let mut wills = late.subscribe_iter("will/#", LEVELS[2]).unwrap();
        expect(
            &mut wills,
            &["will/0=gone q0 retain", "will/2=gone q2 retain"],
        );
        expect_nothing(&mut wills);
    });
}

#[test]
fn a_second_connection_of_a_client_ends_the_first_and_has_its_session() {
    run(|broker| {
        let first = over(broker, options("meter").clean_start(false));
        assert!(!first.connect().unwrap());
        let second = over(broker, options("meter").clean_start(false));
        assert!(second.connect().unwrap());
        first.ended().unwrap();
        assert!(!first.is_connected() && second.is_connected());
        assert_eq!(broker.stats().connections, 1);
    });
}

#[test]
fn without_an_identifier_a_session_cannot_be_kept() {
    run(|broker| {
        let clients = [connect(broker, ""), connect(broker, "")];
        assert_eq!(broker.stats().sessions, 2);
        drop(clients);
        let kept = over(broker, options("").clean_start(false));
        let error = kept.connect().unwrap_err();
        let refused = matches!(
            error,
            Error::Argument(_) | Error::Refused(ConnectReason::IdentifierRejected)
        );
        assert!(refused, "{error}");
    });
}

#[test]
fn what_is_refused_has_its_reason() {
    let options_of_broker = BrokerOptions::new()
        .authenticate(|connect| match connect.fields().user_name {
            Some("meter") => Ok(()),
            Some(_) => Err(ConnectReason::NotAuthorized),
            None => Err(ConnectReason::BadUserNameOrPassword),
        })
        .authorize_subscribe(|_, filter, _| filter != "secret/#");
    run_with(options_of_broker, |broker| {
        let attempt = |options: ClientOptions| {
            let client = over(broker, options);
            client.connect().map(|_| client)
        };
        let named = |user: &str| options("meter").credentials(user, Some("secret"));
        let error = attempt(options("meter")).unwrap_err();
        let bad = ConnectReason::BadUserNameOrPassword;
        assert!(
            matches!(error, Error::Refused(reason) if reason == bad),
            "{error}"
        );
        let error = attempt(named("stranger")).unwrap_err();
        let not = ConnectReason::NotAuthorized;
        assert!(
            matches!(error, Error::Refused(reason) if reason == not),
            "{error}"
        );
        let client = attempt(named("meter")).unwrap();
        let filters = [("a", LEVELS[1]), ("secret/#", LEVELS[2]), ("b", LEVELS[0])];
        let refused = client.subscribe_all(&filters, |_, _| Ok(())).unwrap_err();
        let Error::SubscribeRefused { filters } = refused else {
            panic!("{refused}")
        };
        assert_eq!(filters, ["secret/#"]);
        assert!(client.is_connected());
    });
}

#[test]
fn an_ended_subscription_brings_nothing_and_the_other_goes_on() {
    run(|broker| {
        let client = connect(broker, "meter");
        let mut first = client.subscribe_iter("a/#", LEVELS[1]).unwrap();
        let mut other = client.subscribe_iter("b", LEVELS[1]).unwrap();
        publish(&client, "a/x", "1", LEVELS[1], false);
        expect(&mut first, &["a/x=1 q1"]);
        client.unsubscribe("a/#").unwrap();
        publish(&client, "a/x", "2", LEVELS[1], false);
        publish(&client, "b", "3", LEVELS[1], false);
        expect(&mut other, &["b=3 q1"]);
        assert_eq!(client.stats().unrouted, 0, "the broker sends it no more");
    });
}

#[test]
fn a_mebibyte_and_thousands_of_messages_come_in_order_at_every_qos() {
    run(|broker| {
        const COUNT: usize = 2_000;
        let reader = connect(broker, "reader");
        let writer = connect(broker, "writer");
        for qos in LEVELS {
            let mut large = reader.subscribe_iter("large", LEVELS[2]).unwrap();
            let payload = vec![b'x'; 1024 * 1024];
            let publish = Publish::to("large", &payload).qos(qos).wait(Wait::Ack);
            writer.publish(publish).unwrap();
            let message = large.next().unwrap().unwrap();
            assert_eq!((message.data.len(), message.qos), (payload.len(), qos));
            // Its acknowledgement would hold back those of the others.
            drop((message, large));
            let mut small = reader.subscribe_iter("small", LEVELS[2]).unwrap();
            let writer = writer.clone();
            let write = move || {
                for number in 0..COUNT {
                    if number % 500 == 0 {
                        // Of QoS 0 a reader that does not keep up loses the oldest.
                        fiber::sleep(Duration::from_millis(10)).unwrap();
                    }
                    let text = number.to_string();
                    let publish = Publish::to("small", &text).qos(qos).wait(Wait::Sent);
                    writer.publish(publish).unwrap();
                }
            };
            let mut writing = fiber::spawn(write).unwrap();
            for number in 0..COUNT {
                expect(&mut small, &[&format!("small={number} q{}", qos.bits())]);
            }
            writing.join().unwrap();
        }
        assert_eq!(broker.stats().dropped, 0);
    });
}
