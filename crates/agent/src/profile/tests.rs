use std::time::Duration;

use mqtt::session::Limit;
use mqtt::{ClientId, ClientOptions, QoS};
use safe_rt::EndpointError;

use super::*;
use crate::config::{Config, Rate};

const AWS_HOST: &str = "a1b2-ats.iot.eu-west-1.amazonaws.com";

fn resolved(text: &str) -> (String, Provider) {
    let mut cloud = crate::config::Cloud::new(endpoint(text).expect(text));
    let authority = text.rsplit("://").next().expect("the last part");
    cloud.port_is_set = authority
        .rsplit(']')
        .next()
        .expect("the last part")
        .contains(':');
    let profile = Profile::of(&cloud.endpoint, None, Overrides::default());
    (profile.endpoint_of(&cloud).to_string(), profile.provider())
}

#[test]
fn the_host_name_decides_whose_profile_it_is() {
    for (host, provider) in [
        (AWS_HOST, Provider::Aws),
        ("A1B2-ATS.IOT.EU-WEST-1.AMAZONAWS.COM", Provider::Aws),
        ("a1.iot.cn-north-1.amazonaws.com.cn", Provider::Aws),
        ("bucket.s3.eu-west-1.amazonaws.com", Provider::Plain),
        (
            "ns.westeurope-1.ts.eventgrid.azure.net",
            Provider::AzureEventGrid,
        ),
        ("ns.westeurope-1.eventgrid.azure.net", Provider::Plain),
        ("0123.s1.eu.hivemq.cloud", Provider::HiveMq),
        ("hivemq.cloud", Provider::Plain),
        ("nothivemq.cloud.example", Provider::Plain),
        ("x.ala.us-east-1.emqxsl.com", Provider::Emqx),
        // A dedicated deployment has other limits than the serverless tier.
        ("x.emqx.cloud", Provider::Plain),
        ("x.emqxcloud.com", Provider::Plain),
        ("broker.example", Provider::Plain),
        ("127.0.0.1", Provider::Plain),
        ("", Provider::Plain),
    ] {
        assert_eq!(Provider::of_host(host), provider, "{host}");
    }
}

#[test]
fn one_endpoint_decides_scheme_and_port() {
    for (text, endpoint, provider) in [
        (
            AWS_HOST.to_owned(),
            format!("mqtts://{AWS_HOST}:8883"),
            Provider::Aws,
        ),
        (
            format!("{AWS_HOST}:443"),
            format!("mqtts://{AWS_HOST}:443"),
            Provider::Aws,
        ),
        (
            format!("mqtts://{AWS_HOST}/"),
            format!("mqtts://{AWS_HOST}:8883"),
            Provider::Aws,
        ),
        (
            "wss://x.s1.eu.hivemq.cloud/mqtt".to_owned(),
            "wss://x.s1.eu.hivemq.cloud:8884/mqtt".to_owned(),
            Provider::HiveMq,
        ),
        (
            "wss://x.s1.eu.hivemq.cloud:443/mqtt".to_owned(),
            "wss://x.s1.eu.hivemq.cloud:443/mqtt".to_owned(),
            Provider::HiveMq,
        ),
        (
            "mqtt://broker.example".to_owned(),
            "mqtt://broker.example:1883".to_owned(),
            Provider::Plain,
        ),
        (
            "mqtts://[::1]".to_owned(),
            "mqtts://[::1]:8883".to_owned(),
            Provider::Plain,
        ),
        (
            "unix:/run/b.sock".to_owned(),
            "unix:/run/b.sock".to_owned(),
            Provider::Plain,
        ),
    ] {
        assert_eq!(resolved(&text), (endpoint, provider), "{text}");
    }
    assert_eq!(endpoint("broker.example"), Err(EndpointError::NoScheme));
    assert_eq!(endpoint(""), Err(EndpointError::NoScheme));
}

#[test]
fn alpn_goes_by_port_and_by_who_the_device_is() {
    let on_443 = endpoint(&format!("{AWS_HOST}:443")).unwrap();
    let profile = Profile::of(&on_443, None, Overrides::default());
    assert_eq!(profile.alpn(&on_443, true), Some("x-amzn-mqtt-ca"));
    assert_eq!(profile.alpn(&on_443, false), Some("mqtt"));
    let on_8883 = endpoint(AWS_HOST).unwrap();
    assert_eq!(profile.alpn(&on_8883, true), None);
    let plain = Profile::new(Provider::Plain, Overrides::default());
    assert_eq!(plain.alpn(&on_443, true), None);
}

#[test]
fn a_keep_alive_without_the_range_is_the_nearest_one_and_told() {
    let profile = Profile::new(Provider::Aws, Overrides::default());
    let used = |secs| {
        let (used, note) = profile.keep_alive(Duration::from_secs(secs));
        (used.as_secs(), note.map(|note| note.to_string()))
    };
    assert_eq!(used(60), (60, None));
    let (secs, note) = used(5);
    assert_eq!(secs, 30);
    let note = note.unwrap();
    // It is not known for certain, so it is no fact about the provider.
    assert_eq!(
        note,
        "the keep-alive is 30 s instead of 5 s: the profile aws assumes no shorter one"
    );
    assert_eq!(used(0).0, 1_200);
    assert_eq!(used(5_000).0, 1_200);
    let plain = Profile::new(Provider::Plain, Overrides::default());
    assert_eq!(plain.keep_alive(Duration::ZERO), (Duration::ZERO, None));
}

#[test]
fn what_is_beyond_a_limit_names_the_limit_and_the_profile() {
    let profile = Profile::new(Provider::Aws, Overrides::default());
    let topic = "a/b/c/d/e/f/g/h/i";
    let limited = profile
        .check_publish(topic, 0, QoS::AtLeastOnce)
        .unwrap_err();
    assert_eq!(limited.limit, Limit::TopicLevels);
    assert_eq!(
        limited.to_string(),
        "expected at most 8 levels of a topic, as the profile aws says, found 9"
    );
    let basic_ingest = format!("$aws/rules/store/{topic}");
    let limited =
        profile.check_publish(&basic_ingest[..basic_ingest.len() - 2], 0, QoS::AtLeastOnce);
    assert_eq!(limited, Ok(()));
    let emqx = Profile::new(Provider::Emqx, Overrides::default());
    let filters = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    let limited = emqx.check_filters(filters.iter().copied()).unwrap_err();
    assert_eq!((limited.limit, limited.bound), (Limit::Subscriptions, 10));
    assert_eq!(profile.check_filters(filters.iter().copied()), Ok(()));
    let parts: Vec<usize> = profile.parts(&filters).map(<[_]>::len).collect();
    assert_eq!(parts, [8, 3]);
    assert_eq!(emqx.parts(&filters).count(), 1);
    let deep = ["a", topic, "b"].map(|filter| (filter, QoS::AtMostOnce));
    let (allowed, beyond) = profile.allowed(&deep);
    assert_eq!(allowed, [deep[0], deep[2]]);
    assert_eq!(
        (beyond[0].0, beyond[0].1.limit),
        (topic, Limit::TopicLevels)
    );
    let many = filters.map(|filter| (filter, QoS::AtMostOnce));
    let (allowed, beyond) = emqx.allowed(&many);
    assert_eq!((allowed.len(), beyond.len()), (10, 1));
    assert_eq!(
        (beyond[0].0, beyond[0].1.limit),
        ("k", Limit::Subscriptions)
    );
}

#[test]
fn each_value_can_be_set_otherwise() {
    let overrides = Overrides {
        publish_rate: Setting::To(Rate::per_second(7)),
        publish_bytes: Setting::Unlimited,
        subscriptions: Setting::To(3),
        filters_per_subscribe: Setting::To(2),
        packet_bytes: Setting::To(1_000),
        topic_levels: Setting::Unlimited,
        qos: Setting::To(QoS::ExactlyOnce),
        topic_bytes: Setting::To(1_000),
        client_id_bytes: Setting::To(4),
        window: Setting::To(7),
        connect_interval: Setting::To(Duration::from_secs(90)),
        keep_alive: Setting::Unlimited,
    };
    let profile = Profile::new(Provider::Aws, overrides);
    let limits = profile.limits();
    assert_eq!(limits.publish_rate, Some(Rate::per_second(7)));
    assert_eq!(limits.publish_bytes, None);
    assert_eq!(limits.subscriptions, Some(3));
    assert_eq!(limits.packet_bytes, Some(1_000));
    assert_eq!(limits.message_bytes, None);
    assert_eq!(limits.topic_levels, None);
    assert_eq!(limits.window, Some(7));
    assert_eq!(limits.connect_interval, Some(Duration::from_secs(90)));
    let limited = profile.check_client_id("meter").unwrap_err();
    assert_eq!(limited.set_by, "[limits]");
    // What a person wants comes before what is assumed.
    let short = Duration::from_secs(5);
    assert_eq!(profile.keep_alive(short), (short, None));
    let topic = "a/".repeat(150);
    assert_eq!(
        profile.check_publish(&topic, 500_000, QoS::ExactlyOnce),
        Ok(())
    );
    assert_eq!(profile.parts(&[0; 5]).count(), 3);
}

#[test]
fn names_are_understood_and_others_are_answered_with_all_of_them() {
    for provider in Provider::ALL {
        assert_eq!(provider.as_str().parse(), Ok(provider));
        assert!(provider.set_by().contains(provider.as_str()) || provider == Provider::Plain);
    }
    let error = "azure".parse::<Provider>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected one of aws, azure-eventgrid, hivemq, emqx, plain"
    );
}

#[test]
fn applying_tells_what_it_changed() {
    let options = || ClientOptions::new(ClientId::new("meter-17").unwrap());
    let profile = Profile::new(Provider::Aws, Overrides::default());
    let applied = profile.apply(options(), Duration::from_secs(60));
    assert_eq!(applied.notes, []);
    let applied = profile.apply(options(), Duration::from_secs(10));
    assert_eq!(applied.notes.len(), 1);
}

#[test]
fn a_configuration_decides_profile_port_and_limits() {
    let mut config = Config::new(format!("mqtts://{AWS_HOST}").parse().unwrap());
    config.cloud.port_is_set = false;
    let slow = Rate::new(10, Duration::from_secs(3_600));
    config.limits.publish_rate = Setting::To(slow);
    config.limits.subscriptions = Setting::Unlimited;
    let profile = Profile::of_config(&config);
    assert_eq!(profile.provider(), Provider::Aws);
    assert_eq!(profile.limits().publish_rate, Some(slow));
    assert_eq!(profile.limits().subscriptions, None);
    assert_eq!(profile.endpoint_of(&config.cloud).port(), 8883);

    let host = "x.s1.eu.hivemq.cloud";
    config.cloud = crate::config::Cloud::new(format!("wss://{host}/mqtt").parse().unwrap());
    config.cloud.port_is_set = false;
    let profile = Profile::of_config(&config);
    let endpoint = profile.endpoint_of(&config.cloud);
    assert_eq!(endpoint.to_string(), format!("wss://{host}:8884/mqtt"));
    config.cloud.port_is_set = true;
    assert_eq!(profile.endpoint_of(&config.cloud).port(), 443);

    config.cloud.profile = Some("emqx".to_owned());
    assert_eq!(Profile::of_config(&config).provider(), Provider::Emqx);
}

#[test]
fn a_limit_names_who_says_it_and_what_is_not_known_for_certain_is_assumed() {
    for provider in Provider::ALL {
        let profile = Profile::new(provider, Overrides::default());
        let (facts, set_by) = (&profile.facts().limits, provider.set_by());
        let deep = "a/".repeat(40);
        let many: Vec<String> = (0..60).map(|number| number.to_string()).collect();
        let filters = profile.check_filters(many.iter().map(String::as_str));
        let id = profile.check_client_id(&"x".repeat(2_000));
        let publish = |topic: &str, bytes, qos| profile.check_publish(topic, bytes, qos);
        let large = publish("a", 2 << 20, QoS::AtMostOnce);
        let all = [
            (id, facts.client_id_bytes.map(|it| it.evidence)),
            (
                publish(&deep, 0, QoS::AtMostOnce),
                facts.topic_levels.map(|it| it.evidence),
            ),
            (large, facts.message_bytes.map(|it| it.evidence)),
            (filters, facts.subscriptions.map(|it| it.evidence)),
        ];
        for (checked, evidence) in all {
            assert_eq!(checked.is_err(), evidence.is_some(), "{provider}");
            let (Err(limited), Some(evidence)) = (checked, evidence) else {
                continue;
            };
            let text = limited.to_string();
            let says = if evidence == Evidence::Unverified {
                format!("as {set_by} assumes")
            } else {
                format!("as {set_by} says")
            };
            assert!(text.contains(&says), "{provider}: {text}");
        }
    }
    let overrides = Overrides {
        topic_levels: Setting::To(2),
        ..Overrides::default()
    };
    let own = Profile::new(Provider::Aws, overrides);
    let limited = own.check_publish("a/b/c", 0, QoS::AtMostOnce).unwrap_err();
    assert_eq!(
        limited.to_string(),
        "expected at most 2 levels of a topic, as [limits] says, found 3"
    );
}
