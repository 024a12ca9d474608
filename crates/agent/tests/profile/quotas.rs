//! Rates, and how often a client may come.

use std::time::Duration;

use agent::profile::Provider;
use fiber::Instant;
use mqtt::{BrokerOptions, Client, Event, Publish, QoS, Wait};

use crate::harness::{
    attach, connect, expect_hang_up, expect_lost, open, plain, play, run, with_profile,
};

fn at_least_once(payload: &[u8]) -> Publish<'_> {
    Publish::to("a", payload).qos(QoS::AtLeastOnce)
}

/// Publishes so many messages as fast as the client takes them, and waits for the last.
#[track_caller]
fn publish_all(client: &Client, count: usize, payload: &[u8]) -> Duration {
    let began = Instant::now();
    for _ in 1..count {
        client.publish(at_least_once(payload)).expect("taken");
    }
    let last = client.publish(at_least_once(payload).wait(Wait::Ack));
    last.expect("acknowledged");
    began.elapsed()
}

#[test]
fn messages_keep_within_the_rate_of_the_provider() {
    for (provider, rate) in [(Provider::Aws, 100), (Provider::Emqx, 10)] {
        play(provider, move |broker| {
            let (client, _) = connect(broker, with_profile(provider, "meter-17"));
            let count = 5 * rate;
            let took = publish_all(&client, count, b"x");
            assert!(took >= Duration::from_secs(4), "{took:?}");
            assert!(took < Duration::from_secs(7), "{took:?}");
            assert_eq!(broker.stats().discarded, 0);
            assert!(client.is_connected());
        });
    }
}

#[test]
fn a_client_that_does_not_know_the_rate_is_hung_up_on() {
    play(Provider::Emqx, |broker| {
        let (client, _) = connect(broker, plain("meter-17"));
        for _ in 0..11 {
            client.publish(Publish::to("a", "x")).expect("taken");
        }
        expect_hang_up(&client);
    });
}

#[test]
fn bytes_keep_within_the_rate_of_the_provider() {
    play(Provider::Aws, |broker| {
        let payload = vec![0; 64 * 1024];
        let (client, _) = connect(broker, with_profile(Provider::Aws, "meter-17"));
        // Three megabytes at half a megabyte a second.
        let took = publish_all(&client, 48, &payload);
        assert!(took >= Duration::from_secs(5), "{took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        let (other, _) = connect(broker, plain("meter-18"));
        for _ in 0..12 {
            other.publish(at_least_once(&payload)).expect("taken");
        }
        expect_hang_up(&other);
    });
}

#[test]
fn holding_back_is_told_and_stops_nobody_else() {
    play(Provider::Emqx, |broker| {
        let (client, _) = connect(broker, with_profile(Provider::Emqx, "meter-17"));
        let (events, told) = (fiber::Event::new(), fiber::Event::new());
        let seen = told.clone();
        client.on_event(move |_, event| {
            if matches!(event, Event::Throttled) {
                seen.set();
            }
        });
        let done = events.clone();
        let mut fiber = fiber::spawn(move || {
            publish_all(&client, 30, b"x");
            done.set();
        })
        .expect("a fiber");
        told.wait().expect("it is told");
        assert!(!events.is_set(), "this fiber goes on meanwhile");
        fiber.join().expect("all are acknowledged");
    });
}

#[test]
fn beyond_a_quota_that_discards_nothing_is_acknowledged_and_the_connection_goes_on() {
    let rate = mqtt::session::PublishRate {
        per_second: 5,
        burst: 5,
    };
    let options = BrokerOptions::new().publish_quota(Some(rate), None, mqtt::Beyond::Discard);
    run(options, |broker| {
        let (client, _) = connect(broker, plain("meter-17"));
        let tickets: Vec<_> = (0..8)
            .map(|_| client.publish(at_least_once(b"x")).expect("taken"))
            .collect();
        fiber::sleep(Duration::from_millis(100)).expect("not stopped");
        client.ping().expect("an open connection");
        let acked = tickets.iter().filter(|ticket| ticket.poll().is_some());
        assert_eq!(acked.count(), 5);
        assert_eq!(broker.stats().discarded, 3);
    });
}

#[test]
fn a_client_that_comes_again_at_once_is_hung_up_on_and_one_with_pauses_is_not() {
    play(Provider::Aws, |broker| {
        let (first, _) = connect(broker, plain("meter-17"));
        let second = Client::over(attach(broker), plain("meter-17"));
        expect_lost(second.connect());
        assert!(
            first.is_connected(),
            "what was refused takes nobody's place"
        );

        let client = open(broker, with_profile(Provider::Aws, "meter-18"));
        for _ in 0..5 {
            client.wait_connected().expect("connected");
            broker.stop();
            let failed = fiber::Event::new();
            let noted = failed.clone();
            client.on_event(move |_, event| {
                if matches!(event, Event::ConnectFailed { .. }) {
                    noted.set();
                }
            });
            client.wait_connected().expect("connected again");
            assert!(!failed.is_set(), "it was refused");
        }
    });
}
