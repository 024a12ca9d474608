//! Rates, and how often a client may come.

use std::time::Duration;

use agent::profile::{Overrides, Profile, Provider, Setting};
use fiber::Instant;
use mqtt::{BrokerOptions, Client, ConnectReason, Event, Publish, QoS, Wait};

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
    for (provider, rate) in [
        (Provider::Aws, 100),
        (Provider::AzureEventGrid, 1_000),
        (Provider::Emqx, 10),
    ] {
        play(provider, move |broker| {
            let (client, _) = connect(broker, with_profile(provider, "meter-17"));
            let count = 5 * rate;
            let took = publish_all(&client, count, b"x");
            // A tenth of it at once, and nine tenths in a second.
            assert!(took >= Duration::from_millis(5_400), "{took:?}");
            assert!(took < Duration::from_millis(5_600), "{took:?}");
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
        // Three megabytes; of half a megabyte a second the largest message may leave at once, and the
        // rest comes evenly.
        let took = publish_all(&client, 48, &payload);
        assert!(took >= Duration::from_millis(7_700), "{took:?}");
        assert!(took < Duration::from_millis(8_300), "{took:?}");
        let (other, _) = connect(broker, plain("meter-18"));
        for _ in 0..12 {
            other.publish(at_least_once(&payload)).expect("taken");
        }
        expect_hang_up(&other);
    });
}

#[test]
fn a_rate_of_the_users_own_is_kept_as_it_is() {
    let mut overrides = Overrides::default();
    overrides.publish_rate = Setting::To(agent::config::Rate::per_second(10));
    play(Provider::Aws, move |broker| {
        let profile = Profile::new(Provider::Aws, overrides);
        let options = profile.apply(plain("meter-17"), Duration::from_secs(60));
        let (client, _) = connect(broker, options.options);
        let took = publish_all(&client, 31, b"x");
        assert!(took >= Duration::from_millis(2_999), "{took:?}");
        assert!(took < Duration::from_millis(3_050), "{took:?}");
    });
}

#[test]
fn a_rate_below_one_in_a_second_is_that_rate_exactly() {
    let mut overrides = Overrides::default();
    let hour = Duration::from_secs(3_600);
    overrides.publish_rate = Setting::To(agent::config::Rate::new(10, hour));
    play(Provider::Aws, move |broker| {
        let profile = Profile::new(Provider::Aws, overrides);
        let options = profile.apply(plain("meter-17"), Duration::from_secs(60));
        let (client, _) = connect(broker, options.options);
        let publish_all = |count, payload: &[u8]| {
            // Longer than a call may take by itself.
            let limit = Duration::from_secs(3_600);
            let took = fiber::timeout(limit, || publish_all(&client, count, payload));
            took.expect("it does not take that long")
        };
        // One at once, and two that wait for 6 minutes each.
        let took = publish_all(3, b"x");
        assert!(took >= Duration::from_secs(720), "{took:?}");
        assert!(took < Duration::from_secs(721), "{took:?}");
        // 360 bytes in an hour, of messages of 9 bytes beside their topic.
        let bytes = mqtt::session::PublishByteRate {
            count: 360,
            per: hour,
            burst: 1,
        };
        client.set_publish_rate(None);
        client.set_publish_byte_rate(Some(bytes));
        let took = publish_all(3, &[0; 50]);
        assert!(took >= Duration::from_secs(2 * 500), "{took:?}");
        assert!(took < Duration::from_secs(2 * 700), "{took:?}");
        client.set_publish_byte_rate(None);
        assert!(publish_all(50, b"x") < Duration::from_secs(1));
    });
}

#[test]
fn requests_and_what_is_under_way_do_not_wait_behind_messages_that_do() {
    play(Provider::Emqx, |broker| {
        let (client, _) = connect(broker, with_profile(Provider::Emqx, "meter-17"));
        let began = Instant::now();
        let publish = Publish::to("a", "x").qos(QoS::ExactlyOnce);
        let mut first = client.publish(publish).expect("taken");
        for _ in 0..500 {
            client.publish(at_least_once(b"x")).expect("taken");
        }
        client
            .subscribe("b", QoS::AtLeastOnce, |_, _| Ok(()))
            .expect("granted");
        client.unsubscribe("b").expect("answered");
        first.outcome().expect("it comes to its end");
        assert!(began.elapsed() < Duration::from_secs(1));
        assert!(client.is_connected());
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
    let rate = mqtt::session::PublishRate::per_second(5, 5);
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
        let (lost, failed) = (fiber::Event::new(), fiber::Event::new());
        let noted = (lost.clone(), failed.clone());
        client.on_event(move |_, event| match event {
            Event::Disconnected { .. } => noted.0.set(),
            Event::ConnectFailed { .. } => noted.1.set(),
            _ => {}
        });
        for _ in 0..5 {
            client.wait_connected().expect("connected");
            broker.stop();
            lost.wait().expect("the connection ends");
            lost.clear();
        }
        client.wait_connected().expect("connected again");
        assert!(!failed.is_set(), "it was refused");
    });
}

#[test]
fn who_is_not_let_in_keeps_no_client_out() {
    let options = Provider::Aws.broker_options().authenticate(|connect| {
        let is_known = connect.fields().password == Some(b"secret");
        is_known.then_some(()).ok_or(ConnectReason::NotAuthorized)
    });
    run(options, |broker| {
        let with = |password: &str| plain("meter-17").credentials("meter", Some(password));
        for _ in 0..3 {
            let stranger = Client::over(attach(broker), with("guess"));
            stranger
                .connect()
                .expect_err("it does not know the password");
        }
        let (client, _) = connect(broker, with("secret"));
        assert!(client.is_connected());
        // One that may come is held to the interval.
        let again = Client::over(attach(broker), with("secret"));
        expect_lost(again.connect());
    });
}
