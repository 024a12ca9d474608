//! What is beyond a limit: an error that names it, with a profile; a closed connection, without.

use agent::profile::{Overrides, Profile, Provider};
use mqtt::session::{ArgumentError, Limit, Limited};
use mqtt::{Broker, Client, Error, Publish, PublishError, QoS, Subscribe, Wait, Will};

use crate::harness::{attach, connect, expect_hang_up, expect_lost, plain, play, with_profile};

const ACKED: Wait = Wait::Ack;
const DEEP: &str = "1/2/3/4/5/6/7/8/9";

fn limit_of(error: &Error) -> Limited {
    match error {
        Error::Argument(ArgumentError::ServerLimit(limited)) => *limited,
        other => panic!("expected a limit, found {other}"),
    }
}

#[track_caller]
fn expect_limit(result: Result<impl std::fmt::Debug, impl Into<Error>>, limit: Limit) {
    let error = result.expect_err("it is beyond a limit").into();
    assert_eq!(limit_of(&error).limit, limit);
    // Which of the two is told by how the limit is known.
    let text = error.to_string();
    assert!(
        text.contains(" says") || text.contains(" assumes"),
        "{text}"
    );
    assert!(text.contains("the profile "), "{text}");
}

/// The connection is as it was.
#[track_caller]
fn expect_alive(client: &Client) {
    let publish = Publish::to("still/there", "x").qos(QoS::AtLeastOnce);
    client
        .publish(publish.wait(ACKED))
        .expect("an open connection");
}

#[test]
fn a_topic_with_too_many_levels_is_refused_here_and_hung_up_on_there() {
    play(Provider::Aws, |broker| {
        let (client, _) = connect(broker, with_profile(Provider::Aws, "meter-17"));
        expect_limit(client.publish(Publish::to(DEEP, "x")), Limit::TopicLevels);
        expect_limit(
            client.try_publish(Publish::to(DEEP, "x")),
            Limit::TopicLevels,
        );
        expect_limit(
            client.subscribe(DEEP, QoS::AtMostOnce, |_, _| Ok(())),
            Limit::TopicLevels,
        );
        let long = "a".repeat(257);
        expect_limit(client.publish(Publish::to(&long, "x")), Limit::TopicBytes);
        expect_alive(&client);
        // A rule's name does not count.
        let ingest = format!("$aws/rules/store/{}", &DEEP[..15]);
        let publish = Publish::to(&ingest, "x").qos(QoS::AtLeastOnce);
        client
            .publish(publish.wait(ACKED))
            .expect("within the limits");

        let (other, _) = connect(broker, plain("meter-18"));
        let publish = Publish::to(DEEP, "x").qos(QoS::AtLeastOnce).wait(ACKED);
        expect_lost(other.publish(publish));
    });
}

#[test]
fn a_message_of_qos_2_is_refused_here_and_hung_up_on_there() {
    play(Provider::Aws, |broker| {
        let exactly_once = || Publish::to("a", "x").qos(QoS::ExactlyOnce);
        let (client, _) = connect(broker, with_profile(Provider::Aws, "meter-17"));
        expect_limit(client.publish(exactly_once()), Limit::QoS);
        expect_alive(&client);
        let (other, _) = connect(broker, plain("meter-18"));
        expect_lost(other.publish(exactly_once().wait(ACKED)));
    });
}

#[test]
fn a_subscription_of_qos_2_is_granted_as_qos_1() {
    play(Provider::Aws, |broker| {
        let (client, _) = connect(broker, with_profile(Provider::Aws, "meter-17"));
        let mut messages = client.subscribe_iter("a", QoS::ExactlyOnce).unwrap();
        broker.publish("a", b"x", QoS::ExactlyOnce, false).unwrap();
        let message = messages.next().expect("one comes").expect("not stopped");
        assert_eq!(message.qos, QoS::AtLeastOnce);
    });
}

#[test]
fn too_many_filters_in_one_packet_are_refused_here_and_hung_up_on_there() {
    play(Provider::Aws, |broker| {
        let topics: Vec<String> = (0..9).map(|number| format!("a/{number}")).collect();
        let filters = || -> Vec<(&str, QoS)> {
            let filters = topics.iter();
            filters
                .map(|topic| (topic.as_str(), QoS::AtLeastOnce))
                .collect()
        };
        let (client, _) = connect(broker, with_profile(Provider::Aws, "meter-17"));
        expect_limit(
            client.subscribe_all(&filters(), |_, _| Ok(())),
            Limit::FiltersPerSubscribe,
        );
        // In parts they are all granted.
        let profile = Profile::new(Provider::Aws, Overrides::default());
        for part in profile.parts(&filters()) {
            client.subscribe_all(part, |_, _| Ok(())).expect("granted");
        }
        let (other, _) = connect(broker, plain("meter-18"));
        expect_lost(other.subscribe_all(&filters(), |_, _| Ok(())));
    });
}

#[test]
fn subscriptions_that_are_made_again_fit_the_packets_of_the_provider() {
    // A provider that takes three filters in a packet.
    let limits = mqtt::session::ServerLimits::new("the test").filters_per_subscribe(3);
    let options = mqtt::BrokerOptions::new().server_limits(limits.clone());
    crate::harness::run(options, move |broker| {
        let options = plain("meter-17").clean_start(true).server_limits(limits);
        let client = crate::harness::open(broker, options);
        for number in 0..8 {
            let topic = format!("a/{number}");
            client
                .subscribe(&topic, QoS::AtLeastOnce, |_, _| Ok(()))
                .unwrap();
        }
        broker.stop();
        client.wait_connected().expect("it comes back");
        expect_alive(&client);
        assert!(client.is_connected());
    });
}

#[test]
fn more_subscriptions_than_may_be_are_refused_here_and_in_suback_there() {
    play(Provider::Emqx, |broker| {
        let subscribe = |client: &Client, number: u32| {
            let topic = format!("a/{number}");
            client.subscribe(&topic, QoS::AtLeastOnce, |_, _| Ok(()))
        };
        let (client, _) = connect(broker, with_profile(Provider::Emqx, "meter-17"));
        let (other, _) = connect(broker, plain("meter-18"));
        for number in 0..10 {
            subscribe(&client, number).expect("within the limit");
            subscribe(&other, number).expect("within the limit");
        }
        expect_limit(subscribe(&client, 10), Limit::Subscriptions);
        // One that is there already is no further one, and one that ends makes room.
        subscribe(&client, 3).expect("it is there");
        client.unsubscribe("a/9").expect("answered");
        subscribe(&client, 10).expect("there is room");
        let refused = subscribe(&other, 10).expect_err("one too many");
        assert!(
            matches!(refused, Error::SubscribeRefused { .. }),
            "{refused}"
        );
    });
}

#[test]
fn a_message_that_is_too_large_is_refused_here_and_hung_up_on_there() {
    play(Provider::Emqx, |broker| {
        let large = vec![0; 1024 * 1024 + 1];
        let (client, _) = connect(broker, with_profile(Provider::Emqx, "meter-17"));
        expect_limit(
            client.publish(Publish::to("a", &large)),
            Limit::PayloadBytes,
        );
        let (other, _) = connect(broker, plain("meter-18"));
        let publish = Publish::to("a", &large).qos(QoS::AtLeastOnce);
        expect_lost(other.publish(publish.wait(ACKED)));
        let (fits, _) = connect(broker, plain("meter-19"));
        let publish = Publish::to("a", &large[1..]).qos(QoS::AtLeastOnce);
        fits.publish(publish.wait(ACKED))
            .expect("as large as may be");
    });
}

#[test]
fn of_a_plain_broker_nothing_is_assumed() {
    play(Provider::Plain, |broker: &Broker| {
        let (client, _) = connect(broker, with_profile(Provider::Plain, "meter-17"));
        let publish = Publish::to(DEEP, "x").qos(QoS::ExactlyOnce);
        client.publish(publish.wait(Wait::Ack)).expect("taken");
        let topics: Vec<String> = (0..60).map(|number| format!("a/{number}")).collect();
        let filters: Vec<(&str, QoS)> = topics
            .iter()
            .map(|topic| (topic.as_str(), QoS::AtMostOnce))
            .collect();
        client
            .subscribe_all(&filters, |_, _| Ok(()))
            .expect("granted");
    });
}

#[test]
fn a_message_without_wait_is_refused_as_well_and_costs_no_place() {
    play(Provider::Aws, |broker| {
        let options = with_profile(Provider::Aws, "meter-17").queue_max(1, 1_000);
        let client = crate::harness::open(broker, options);
        for _ in 0..10 {
            let error = client.publish(Publish::to(DEEP, "x")).unwrap_err();
            assert!(matches!(error, PublishError::Argument(_)), "{error}");
        }
        client
            .publish(Publish::to("a", "x"))
            .expect("there is room");
        let declared = Subscribe::to(DEEP, QoS::AtMostOnce).wait(Wait::None);
        let error = client.subscribe_as(declared, |_, _| Ok(())).unwrap_err();
        assert_eq!(limit_of(&error).limit, Limit::TopicLevels);
    });
}

#[test]
fn a_hang_up_is_told_as_one() {
    play(Provider::Aws, |broker| {
        let (client, _) = connect(broker, plain("meter-17"));
        client.publish(Publish::to(DEEP, "x")).expect("it is sent");
        expect_hang_up(&client);
    });
}

#[test]
fn what_would_make_each_connect_be_refused_is_an_error_before_the_first() {
    play(Provider::Aws, |broker| {
        let id = "x".repeat(129);
        let client = Client::over(attach(broker), with_profile(Provider::Aws, &id));
        expect_limit(client.connect(), Limit::ClientIdBytes);
        let will = |topic: &str, qos| Will {
            topic: topic.to_owned(),
            payload: b"gone".to_vec(),
            qos,
            retain: false,
        };
        for (topic, qos, limit) in [
            (DEEP, QoS::AtLeastOnce, Limit::TopicLevels),
            ("a", QoS::ExactlyOnce, Limit::QoS),
        ] {
            let options = with_profile(Provider::Aws, "meter-17").will(will(topic, qos));
            let opened = Client::open_by(|| unreachable!("nothing is dialled"), options);
            expect_limit(opened, limit);
        }
        let (client, _) = connect(broker, with_profile(Provider::Aws, "meter-18"));
        let refused = client.set_will(Some(will(DEEP, QoS::AtLeastOnce)));
        expect_limit(refused.map_err(Error::from), Limit::TopicLevels);
        let taken = client.set_will(Some(will("a", QoS::AtLeastOnce)));
        taken.expect("within the limits");
    });
}
