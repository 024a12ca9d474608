//! Tables: which variable counts, and who is excepted.

use super::*;

fn environment(variables: &[(&'static str, &'static str)]) -> ProxyEnvironment {
    let variables = variables.to_vec();
    ProxyEnvironment::read(move |name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn host_of(environment: &ProxyEnvironment, endpoint: &str) -> Option<String> {
    let endpoint: Endpoint = endpoint.parse().expect("an endpoint");
    let proxy = environment.proxy_for(&endpoint).expect("a valid proxy");
    proxy.map(|proxy| proxy.at().host().to_owned())
}

#[test]
fn the_first_variable_that_is_set_counts() {
    type Row = (
        &'static str,
        &'static [(&'static str, &'static str)],
        Option<&'static str>,
    );
    let table: &[Row] = &[
        ("mqtt://b", &[], None),
        (
            "mqtt://b",
            &[("mqtt_proxy", "own:1"), ("all_proxy", "all:1")],
            Some("own"),
        ),
        (
            "mqtt://b",
            &[("MQTT_PROXY", "own:1"), ("all_proxy", "all:1")],
            Some("own"),
        ),
        (
            "mqtt://b",
            &[("http_proxy", "web:1"), ("https_proxy", "web:1")],
            None,
        ),
        ("mqtt://b", &[("ALL_PROXY", "all:1")], Some("all")),
        (
            "mqtts://b",
            &[("https_proxy", "small:1"), ("HTTPS_PROXY", "big:1")],
            Some("small"),
        ),
        (
            "mqtts://b",
            &[("HTTPS_PROXY", "big:1"), ("all_proxy", "all:1")],
            Some("big"),
        ),
        (
            "mqtts://b",
            &[("mqtts_proxy", "own:1"), ("https_proxy", "web:1")],
            Some("own"),
        ),
        (
            "mqtts://b",
            &[("mqtt_proxy", "own:1"), ("http_proxy", "web:1")],
            None,
        ),
        (
            "ws://b",
            &[("http_proxy", "web:1"), ("HTTP_PROXY", "big:1")],
            Some("web"),
        ),
        // From a client of a web server: never.
        ("ws://b", &[("HTTP_PROXY", "big:1")], None),
        (
            "wss://b",
            &[("https_proxy", "web:1"), ("http_proxy", "plain:1")],
            Some("web"),
        ),
        // Empty is not set.
        (
            "wss://b",
            &[
                ("wss_proxy", ""),
                ("https_proxy", " "),
                ("all_proxy", "all:1"),
            ],
            Some("all"),
        ),
        (
            "unix:/run/b",
            &[("unix_proxy", "own:1"), ("all_proxy", "all:1")],
            None,
        ),
    ];
    for (endpoint, variables, expected) in table {
        let found = host_of(&environment(variables), endpoint);
        assert_eq!(found.as_deref(), *expected, "{endpoint} {variables:?}");
    }
}

#[test]
fn who_is_in_no_proxy_has_none() {
    let table = [
        ("*", "mqtts://b.example", true),
        ("example", "mqtts://b.example", true),
        (".example", "mqtts://b.example", true),
        ("b.example", "mqtts://B.Example.", true),
        ("B.EXAMPLE.", "mqtts://b.example", true),
        ("xample", "mqtts://b.example", false),
        ("a.b.example", "mqtts://b.example", false),
        ("*.example", "mqtts://b.example", true),
        ("*.EXAMPLE", "mqtts://a.b.example", true),
        ("*.example", "mqtts://b.xample", false),
        ("*.xample", "mqtts://b.example", false),
        ("a, b.example c", "mqtts://b.example", true),
        ("", "mqtts://b.example", false),
        (" , .", "mqtts://b.example", false),
        ("192.0.2.7", "mqtts://192.0.2.7", true),
        ("192.0.2.7", "mqtts://192.0.2.70", false),
        ("2.7", "mqtts://192.0.2.7", false),
        ("192.0.2.0/24", "mqtts://192.0.2.255", true),
        ("192.0.2.0/24", "mqtts://192.0.3.0", false),
        ("192.0.2.0/31", "mqtts://192.0.2.1", true),
        ("192.0.2.0/31", "mqtts://192.0.2.2", false),
        ("0.0.0.0/0", "mqtts://192.0.2.2", true),
        ("0.0.0.0/0", "mqtts://[::1]", false),
        ("0.0.0.0/33", "mqtts://192.0.2.2", false),
        ("192.0.2.0/x", "mqtts://192.0.2.0", false),
        ("2001:db8::/32", "mqtts://[2001:db8:1::1]", true),
        ("2001:db8::/32", "mqtts://[2001:db9::1]", false),
        ("[::1]", "mqtts://[::1]", true),
        ("::/0", "mqtts://[2001:db8::1]", true),
        ("::1", "mqtts://b.example", false),
    ];
    for (list, endpoint, excepted) in table {
        for name in ["no_proxy", "NO_PROXY"] {
            let environment = environment(&[("https_proxy", "proxy:1"), (name, list)]);
            let found = host_of(&environment, endpoint);
            assert_eq!(found.is_none(), excepted, "{list:?} {endpoint}");
        }
    }
}

#[test]
fn entries_of_no_proxy_that_name_nothing_are_told() {
    let (exceptions, odd) = exceptions_of("a/b, 192.0.2.0/33 ,192.0.2.0/x *.b.example, ., b*,*.");
    assert_eq!(exceptions, [Exception::Name("b.example".to_owned())]);
    assert_eq!(odd, ["a/b", "192.0.2.0/33", "192.0.2.0/x", ".", "b*", "*."]);
    assert_eq!(exceptions_of(" ,\t, "), (Vec::new(), Vec::new()));
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_no_proxy_and_not_unset() {
    use std::os::unix::ffi::OsStringExt;

    let environment = ProxyEnvironment::read_raw(|name| match name {
        "https_proxy" => Some(OsString::from_vec(b"http://u:\xe4@p:1".to_vec())),
        "all_proxy" => Some("all:1".into()),
        "no_proxy" => Some(OsString::from_vec(b"\xe4.example, b.example".to_vec())),
        _ => None,
    });
    let proxy = |text: &str| environment.proxy_for(&text.parse().expect("an endpoint"));
    assert_eq!(proxy("mqtts://broker"), Err(ProxyUrlError::NotUtf8));
    assert_eq!(proxy("mqtts://b.example"), Ok(None));
    assert!(proxy("mqtt://broker").expect("a proxy").is_some());
}

#[test]
fn a_variable_that_holds_no_proxy_is_an_error_only_where_it_counts() {
    let environment = environment(&[("https_proxy", "https://p:1"), ("mqtt_proxy", "p:1")]);
    let endpoint = |text: &str| text.parse::<Endpoint>().expect("an endpoint");
    let refused = environment.proxy_for(&endpoint("mqtts://b"));
    assert_eq!(refused, Err(ProxyUrlError::Scheme("https")));
    assert!(environment.proxy_for(&endpoint("mqtt://b")).is_ok());
    let secret = self::environment(&[("all_proxy", "http://user:secret@p:1")]);
    assert!(!format!("{secret:?}").contains("secret"));
}
