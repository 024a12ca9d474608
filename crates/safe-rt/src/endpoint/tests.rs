//! Tables of endpoints: what is accepted and how it reads back, what is refused and why.

use super::*;
use core::net::Ipv6Addr;

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
    refuses("wsx://broker", &EndpointError::UnknownScheme("wsx".into()));
    refuses("mqtt:/broker", &EndpointError::NoScheme);
    refuses("ws:broker", &EndpointError::NoScheme);
}

#[test]
fn what_a_scheme_means_is_its_own() {
    type Row = (&'static str, Scheme, u16, bool, bool);
    let table: [Row; 5] = [
        ("mqtt://b", Scheme::Mqtt, 1883, false, false),
        ("mqtts://b", Scheme::Mqtts, 8883, true, false),
        ("WS://b", Scheme::Ws, 80, false, true),
        ("wss://b", Scheme::Wss, 443, true, true),
        ("Unix:/b", Scheme::Unix, 0, false, false),
    ];
    for (text, scheme, port, tls, web_socket) in table {
        let endpoint: Endpoint = text.parse().expect(text);
        assert_eq!((endpoint.scheme(), endpoint.port()), (scheme, port));
        assert_eq!(scheme.is_tls(), tls, "{text}");
        assert_eq!(scheme.is_web_socket(), web_socket, "{text}");
    }
}

#[test]
fn a_web_socket_has_a_path_and_may_have_a_query() {
    let table = [
        ("ws://b", "/mqtt", "ws://b:80/mqtt"),
        ("ws://b/", "/", "ws://b:80/"),
        ("ws://b:8080/a//b/", "/a//b/", "ws://b:8080/a//b/"),
        ("wss://[::1]/a%20b", "/a%20b", "wss://[::1]:443/a%20b"),
        ("wss://b?x=1", "/mqtt?x=1", "wss://b:443/mqtt?..."),
        (
            "wss://b.example:8443/mqtt?Signature=a/b?c%3D&d=me@x",
            "/mqtt?Signature=a/b?c%3D&d=me@x",
            "wss://b.example:8443/mqtt?...",
        ),
    ];
    for (text, path, shown) in table {
        let endpoint: Endpoint = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(endpoint.path(), path, "{text}");
        assert_eq!(endpoint.to_string(), shown, "{text}");
        assert_eq!(format!("{endpoint:?}"), format!("Endpoint({shown})"));
        let rest = text.split_once("://").expect("a scheme").1;
        assert_eq!(Endpoint::new(endpoint.scheme(), rest), Ok(endpoint));
    }
    let longest = format!("ws://b/{}", "p".repeat(TARGET_LEN_MAX - 1));
    assert!(longest.parse::<Endpoint>().is_ok());
}

#[test]
fn paths_of_web_sockets_are_refused() {
    let long = format!("ws://b/{}", "p".repeat(TARGET_LEN_MAX));
    refuses(&long, &EndpointError::TargetTooLong(TARGET_LEN_MAX + 1));
    for (text, found) in [
        ("ws://b/a b", ' '),
        ("ws://b/a\r\nHost: c", '\r'),
        ("ws://b/\u{e4}", '\u{e4}'),
        ("wss://b/\"", '"'),
        ("wss://b/a\\b", '\\'),
        ("wss://b?a|b", '|'),
    ] {
        refuses(text, &EndpointError::BadTargetCharacter(found));
    }
    for text in ["ws://b/%", "ws://b/%4", "ws://b/%4g", "ws://b/?a=%%41"] {
        refuses(text, &EndpointError::BadPercentEncoding);
    }
    refuses("ws://b/a#b", &EndpointError::Fragment);
    refuses("ws://b#", &EndpointError::Fragment);
    refuses("ws://b\\c", &EndpointError::Path("\\c".into()));
    refuses("ws:///mqtt", &EndpointError::NoHost);
    refuses("wss://b:0/mqtt", &EndpointError::BadPort("0".into()));
}

#[test]
fn a_unix_socket_is_a_path() {
    for (text, path) in [
        ("unix:/run/broker.sock", "/run/broker.sock"),
        ("unix:///run/broker.sock", "/run/broker.sock"),
        ("unix:/run/a b?c#d%20e@f:1", "/run/a b?c#d%20e@f:1"),
    ] {
        let endpoint: Endpoint = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(endpoint.unix_path(), Some(Path::new(path)));
        assert_eq!(endpoint.path(), path);
        assert_eq!(endpoint.authority(), path);
        assert_eq!((endpoint.host(), endpoint.port()), ("", 0));
        assert_eq!(endpoint.literal(), None);
        assert_eq!(endpoint.to_string(), format!("unix:{path}"));
        assert_eq!(endpoint.to_string().parse().as_ref(), Ok(&endpoint));
        assert_eq!(Endpoint::new(Scheme::Unix, path), Ok(endpoint));
    }
    let plain: Endpoint = "mqtt://broker".parse().expect("a valid endpoint");
    assert_eq!((plain.unix_path(), plain.path()), (None, ""));
}

#[test]
fn paths_of_unix_sockets_are_refused() {
    refuses("unix:", &EndpointError::NotAbsolute(String::new()));
    refuses("unix:run", &EndpointError::NotAbsolute("run".into()));
    refuses(
        "unix://host/run",
        &EndpointError::NotAbsolute("host/run".into()),
    );
    refuses("unix:/", &EndpointError::NoFile("/".into()));
    refuses("unix:/run/", &EndpointError::NoFile("/run/".into()));
    refuses("unix:/a\0b", &EndpointError::NulInPath);
    let long = format!("/{}", "p".repeat(UNIX_PATH_LEN_MAX));
    let expected = EndpointError::UnixPathTooLong(UNIX_PATH_LEN_MAX + 1);
    refuses(&format!("unix:{long}"), &expected);
    assert!(Endpoint::new(Scheme::Unix, &long[..UNIX_PATH_LEN_MAX]).is_ok());
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
        "s3cret",
    ] {
        // What is no number may be a password.
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let shown = if is_number { port } else { "" };
        for host in ["broker", "[::1]"] {
            let text = format!("mqtt://{host}:{port}");
            refuses(&text, &EndpointError::BadPort(shown.into()));
        }
    }
    let text = EndpointError::BadPort(String::new()).to_string();
    assert_eq!(
        text,
        "the port is not a number: expected one from 1 to 65535"
    );
}

#[test]
fn what_belongs_elsewhere_is_refused() {
    refuses("mqtt://user:secret@broker", &EndpointError::UserInfo);
    refuses("mqtt://broker/topic", &EndpointError::Path("/topic".into()));
    refuses("mqtt://broker//", &EndpointError::Path("/".into()));
    refuses("mqtt://broker?qos=1", &EndpointError::Path("?...".into()));
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
    for text in [
        "mqtt://user:secret@broker",
        "ws://user:secret@broker/mqtt",
        "ws://user:secret/secret@broker",
        "wss://user:1#secret?@broker",
        "mqtts://broker/mqtt?signature=secret",
    ] {
        let error = text.parse::<Endpoint>().expect_err(text);
        let texts = format!("{error} {error:?}");
        assert!(!texts.contains("secret"), "{texts}");
    }
    let signed: Endpoint = "wss://b/mqtt?signature=secret".parse().expect("a query");
    let texts = format!("{signed} {signed:?} {}", signed.authority());
    assert!(!texts.contains("secret"), "{texts}");
}
