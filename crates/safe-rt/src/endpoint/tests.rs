//! Tables of endpoints: what is accepted and how it reads back, what is refused and why.

use super::*;

#[track_caller]
fn accepts(text: &str, host: &str, port: u16, shown: &str) {
    let endpoint: Endpoint = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(endpoint.host(), host, "{text}");
    assert_eq!(endpoint.port(), port, "{text}");
    assert_eq!(endpoint.to_string(), shown, "{text}");
    assert_eq!(shown.parse::<Endpoint>().as_ref(), Ok(&endpoint), "{text}");
}

#[track_caller]
fn refuses(text: &str, expected: &EndpointError) {
    assert_eq!(text.parse::<Endpoint>().as_ref(), Err(expected), "{text}");
}

#[test]
fn endpoints_are_accepted() {
    accepts("mqtt://broker", "broker", 1883, "mqtt://broker:1883");
    accepts("mqtts://broker", "broker", 8883, "mqtts://broker:8883");
    accepts(
        "MQTTS://Broker.Example/",
        "Broker.Example",
        8883,
        "mqtts://Broker.Example:8883",
    );
    accepts("mqtt://a-b.c_d.e:1", "a-b.c_d.e", 1, "mqtt://a-b.c_d.e:1");
    accepts(
        "mqtt://broker.example.:65535",
        "broker.example.",
        65535,
        "mqtt://broker.example.:65535",
    );
    accepts(
        "mqtt://192.0.2.7:1884",
        "192.0.2.7",
        1884,
        "mqtt://192.0.2.7:1884",
    );
    accepts(
        "mqtts://[2001:db8::1]",
        "2001:db8::1",
        8883,
        "mqtts://[2001:db8::1]:8883",
    );
    accepts("mqtt://[0:0:0:0:0:0:0:1]:99", "::1", 99, "mqtt://[::1]:99");
    accepts(
        "mqtt://[::ffff:192.0.2.1]",
        "::ffff:192.0.2.1",
        1883,
        "mqtt://[::ffff:192.0.2.1]:1883",
    );
    accepts("mqtt://4x", "4x", 1883, "mqtt://4x:1883");
}

#[test]
fn only_literals_have_an_address_of_their_own() {
    let address = |text: &str| {
        text.parse::<Endpoint>()
            .expect("a valid endpoint")
            .literal()
    };
    assert_eq!(
        address("mqtt://192.0.2.7"),
        Some(([192, 0, 2, 7], 1883).into())
    );
    assert_eq!(
        address("mqtts://[::1]:5"),
        Some((Ipv6Addr::LOCALHOST, 5).into())
    );
    assert_eq!(address("mqtt://localhost"), None);
}

#[test]
fn schemes_are_refused() {
    refuses("broker:1883", &EndpointError::NoScheme);
    refuses("", &EndpointError::NoScheme);
    refuses("://broker", &EndpointError::NoScheme);
    refuses(
        "http://broker",
        &EndpointError::UnknownScheme("http".into()),
    );
    refuses(
        "mqtt ://broker",
        &EndpointError::UnknownScheme("mqtt ".into()),
    );
    refuses(
        "ws://broker/mqtt",
        &EndpointError::NotSupportedYet(PlannedScheme::Ws),
    );
    refuses(
        "WSS://broker",
        &EndpointError::NotSupportedYet(PlannedScheme::Wss),
    );
    refuses(
        "unix:/run/broker",
        &EndpointError::NotSupportedYet(PlannedScheme::Unix),
    );
    refuses(
        "unix:///run/broker",
        &EndpointError::NotSupportedYet(PlannedScheme::Unix),
    );
}

#[test]
fn hosts_are_refused() {
    refuses("mqtt://", &EndpointError::NoHost);
    refuses("mqtt://:1883", &EndpointError::NoHost);
    refuses("mqtt://a b", &EndpointError::BadHostCharacter(' '));
    refuses(
        "mqtt://br\u{f6}ker",
        &EndpointError::BadHostCharacter('\u{f6}'),
    );
    refuses("mqtt://a..b", &EndpointError::BadLabel(String::new()));
    refuses("mqtt://.a", &EndpointError::BadLabel(String::new()));
    refuses("mqtt://.", &EndpointError::BadLabel(String::new()));
    let long = "l".repeat(LABEL_LEN_MAX + 1);
    refuses(
        &format!("mqtt://{long}.example"),
        &EndpointError::BadLabel(long),
    );
    let host = vec!["l".repeat(LABEL_LEN_MAX); 4].join(".");
    refuses(&format!("mqtt://{host}"), &EndpointError::HostTooLong(255));
    refuses(
        "mqtt://256.1.1.1",
        &EndpointError::BadIpv4("256.1.1.1".into()),
    );
    refuses("mqtt://1.2.3", &EndpointError::BadIpv4("1.2.3".into()));
    refuses("mqtt://::1", &EndpointError::UnbracketedIpv6);
    refuses("mqtt://2001:db8::1:1883", &EndpointError::UnbracketedIpv6);
    refuses("mqtt://[::1", &EndpointError::UnclosedBracket);
    refuses("mqtt://[]", &EndpointError::BadIpv6(String::new()));
    refuses("mqtt://[broker]", &EndpointError::BadIpv6("broker".into()));
    refuses(
        "mqtt://[fe80::1%eth0]",
        &EndpointError::BadIpv6("fe80::1%eth0".into()),
    );
    refuses(
        "mqtt://[::1]1883",
        &EndpointError::AfterBracket("1883".into()),
    );
}

#[test]
fn the_longest_host_is_accepted() {
    let label = "l".repeat(LABEL_LEN_MAX);
    let host = format!("{label}.{label}.{label}.{}", "l".repeat(61));
    assert_eq!(host.len(), HOST_LEN_MAX);
    accepts(
        &format!("mqtt://{host}"),
        &host,
        1883,
        &format!("mqtt://{host}:1883"),
    );
}

#[test]
fn ports_are_refused() {
    for port in [
        "",
        "0",
        "65536",
        "-1",
        "+1",
        " 1",
        "1883x",
        "99999999999999999999",
    ] {
        refuses(
            &format!("mqtt://broker:{port}"),
            &EndpointError::BadPort(port.into()),
        );
        refuses(
            &format!("mqtt://[::1]:{port}"),
            &EndpointError::BadPort(port.into()),
        );
    }
}

#[test]
fn what_belongs_elsewhere_is_refused() {
    refuses("mqtt://user:secret@broker", &EndpointError::UserInfo);
    refuses("mqtt://broker/topic", &EndpointError::Path("/topic".into()));
    refuses("mqtt://broker//", &EndpointError::Path("/".into()));
    refuses("mqtt://broker?qos=1", &EndpointError::Path("?qos=1".into()));
    refuses("mqtt://broker#x", &EndpointError::Path("#x".into()));
}

#[test]
fn an_authority_alone_needs_no_scheme() {
    let endpoint = Endpoint::new(Scheme::Mqtts, "broker").expect("a valid authority");
    assert_eq!(endpoint.to_string(), "mqtts://broker:8883");
    let endpoint = Endpoint::new(Scheme::Mqtt, "broker:5").expect("a valid authority");
    assert_eq!(endpoint.to_string(), "mqtt://broker:5");
    assert_eq!(
        Endpoint::new(Scheme::Mqtt, "mqtt://broker"),
        Err(EndpointError::Path("//broker".into()))
    );
}

#[test]
fn no_text_repeats_a_secret() {
    let error = "mqtt://user:secret@broker"
        .parse::<Endpoint>()
        .expect_err("user information");
    assert!(!error.to_string().contains("secret") && !format!("{error:?}").contains("secret"));
}
