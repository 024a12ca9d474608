//! What a provider does with a client that may not do what it does, or of whom there are too many.

use std::time::Duration;

use agent::profile::Provider;
use mqtt::{
    Broker, Client, ConnectReason, EndCause, Error, Event, Message, Publish, PublishVerdict, QoS,
    Wait,
};

use crate::harness::{connect, expect_lost, open, plain, play, run, with_profile};

/// The broker of a provider that lets clients publish and subscribe below `mine/` alone.
#[track_caller]
fn with_rights(provider: Provider, body: impl FnOnce(&Broker) + 'static) {
    let options = provider
        .broker_options()
        .authorize_publish(move |_, topic, _| {
            if topic.starts_with("mine/") {
                PublishVerdict::Allow
            } else {
                provider.refused_publish()
            }
        })
        .authorize_subscribe(|_, filter, _| filter.starts_with("mine/"));
    run(options, body);
}

fn at_least_once(topic: &str) -> Publish<'_> {
    Publish::to(topic, "x")
        .qos(QoS::AtLeastOnce)
        .wait(Wait::Ack)
}

#[test]
fn a_forbidden_topic_is_hung_up_on_where_the_provider_does_so() {
    with_rights(Provider::Aws, |broker| {
        let profile = |id| with_profile(Provider::Aws, id);
        let (client, _) = connect(broker, profile("meter-17"));
        client.publish(at_least_once("mine/a")).expect("allowed");
        expect_lost(client.publish(at_least_once("other/a")));
        let (client, _) = connect(broker, profile("meter-18"));
        let subscribed = client.subscribe("mine/#", QoS::AtLeastOnce, |_, _| Ok(()));
        subscribed.expect("allowed");
        expect_lost(client.subscribe("other/#", QoS::AtLeastOnce, |_, _| Ok(())));
    });
}

#[test]
fn a_forbidden_topic_is_acknowledged_and_dropped_where_the_broker_does_so() {
    with_rights(Provider::Plain, |broker| {
        let seen = broker.subscribe("#").unwrap();
        let (client, _) = connect(broker, plain("meter-17"));
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let publish = Publish::to("other/a", "x").qos(qos).wait(Wait::Ack);
            client.publish(publish).expect("acknowledged");
        }
        client.publish(at_least_once("mine/a")).expect("allowed");
        assert_eq!(seen.recv().unwrap().topic(), "mine/a");
        assert!(seen.try_recv().is_none());
        let refused = client.subscribe("other/#", QoS::AtLeastOnce, |_, _| Ok(()));
        let refused = refused.expect_err("forbidden");
        assert!(
            matches!(refused, Error::SubscribeRefused { .. }),
            "{refused}"
        );
    });
}

/// A client with a subscription, that goes away and keeps its session.
fn leave_a_session(broker: &Broker) {
    let options = with_profile(Provider::AzureEventGrid, "meter-17").clean_start(false);
    let (client, _) = connect(broker, options);
    let ignore = |_: &Client, _: &Message| Ok(());
    client
        .subscribe("a", QoS::AtLeastOnce, ignore)
        .expect("granted");
    client.close(Duration::from_secs(1)).expect("closed");
}

fn come_back(broker: &Broker) -> bool {
    let options = with_profile(Provider::AzureEventGrid, "meter-17").clean_start(false);
    connect(broker, options).1
}

#[test]
fn a_session_ends_where_more_waits_for_it_than_the_provider_keeps() {
    play(Provider::AzureEventGrid, |broker| {
        leave_a_session(broker);
        for _ in 0..100 {
            broker.publish("a", b"x", QoS::AtLeastOnce, false).unwrap();
        }
        assert_eq!(broker.stats().queued, 100);
        assert!(come_back(broker), "as much as it keeps");
        broker.stop();

        fiber::sleep(Duration::from_secs(1)).unwrap();
        assert_eq!(broker.stats().sessions, 1);
        // What is under way to the client is not what waits.
        for _ in 0..101 {
            broker.publish("a", b"x", QoS::AtLeastOnce, false).unwrap();
        }
        let stats = broker.stats();
        assert_eq!(
            (stats.sessions, stats.queued, stats.sessions_ended),
            (0, 0, 1)
        );
        assert!(!come_back(broker), "the session is gone");
    });
}

#[test]
fn messages_of_qos_0_do_not_end_a_session() {
    play(Provider::AzureEventGrid, |broker| {
        leave_a_session(broker);
        for _ in 0..1_000 {
            broker.publish("a", b"x", QoS::AtMostOnce, false).unwrap();
        }
        assert!(come_back(broker));
    });
}

#[test]
fn subscriptions_are_made_again_after_a_session_was_ended() {
    play(Provider::AzureEventGrid, |broker| {
        let options = with_profile(Provider::AzureEventGrid, "meter-17").clean_start(false);
        let client = open(broker, options);
        let mut messages = client.subscribe_iter("a", QoS::AtLeastOnce).unwrap();
        client.pause_for(Duration::from_secs(60));
        broker.stop();
        fiber::sleep(Duration::from_secs(10)).unwrap();
        assert!(!client.is_connected());
        for _ in 0..101 {
            broker
                .publish("a", b"old", QoS::AtLeastOnce, false)
                .unwrap();
        }
        assert_eq!(broker.stats().sessions, 0);
        client.wait_connected().expect("it comes back");
        // The SUBSCRIBE that it makes by itself is answered by then.
        fiber::sleep(Duration::from_secs(1)).unwrap();
        broker
            .publish("a", b"new", QoS::AtLeastOnce, false)
            .unwrap();
        let next = fiber::timeout(Duration::from_secs(60), || messages.next());
        let message = next.expect("in time").expect("one comes");
        assert_eq!(&*message.expect("not stopped").data, b"new");
    });
}

#[test]
fn one_client_too_many_is_not_authorized_and_gets_in_when_there_is_room() {
    play(Provider::HiveMq, |broker| {
        let mut clients: Vec<_> = (0..100)
            .map(|number| connect(broker, plain(&format!("other-{number}"))).0)
            .collect();
        let client = open(broker, with_profile(Provider::HiveMq, "meter-17"));
        let refused = fiber::Event::new();
        let noted = refused.clone();
        client.on_event(move |_, event| {
            if let Event::ConnectFailed { cause, .. } = event {
                let reason = ConnectReason::NotAuthorized;
                assert!(matches!(**cause, EndCause::Refused(found) if found == reason));
                noted.set();
            }
        });
        refused.wait().expect("it is refused");
        assert!(!client.is_connected());
        let other = clients.pop().expect("there are a hundred");
        other.close(Duration::from_secs(1)).expect("closed");
        // However long a refusal is waited out, it is no end.
        let connected = fiber::timeout(Duration::from_secs(3_600), || client.wait_connected());
        connected.expect("in time").expect("it gets in");
    });
}

#[test]
fn a_connection_that_takes_the_place_of_its_own_is_no_further_client() {
    play(Provider::HiveMq, |broker| {
        let clients: Vec<_> = (0..100)
            .map(|number| connect(broker, plain(&format!("other-{number}"))).0)
            .collect();
        let (again, _) = connect(broker, plain("other-7"));
        assert!(again.is_connected());
        drop(clients);
    });
}
