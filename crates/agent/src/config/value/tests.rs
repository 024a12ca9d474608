use super::super::table::Section;
use super::*;

fn interval() -> &'static Key {
    Key::known(Section::Telemetry, "interval")
}

fn duration_of(text: &str) -> Result<Value, ConfigError> {
    of_text(interval(), text, Path::new(""))
}

#[test]
fn lengths_of_time_are_understood_with_their_unit() {
    for (text, millis) in [
        ("250ms", 250),
        ("1s", 1_000),
        ("90s", 90_000),
        ("5m", 300_000),
        ("12h", 43_200_000),
        ("7d", 604_800_000),
        ("007s", 7_000),
    ] {
        let expected = Value::Duration(Some(Duration::from_millis(millis)));
        assert_eq!(duration_of(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn lengths_of_time_that_are_none_are_refused() {
    for text in [
        "", "s", "-5s", "+5s", "5 s", "5S", "1.5s", "5min", "5s ", "5sm",
    ] {
        let refused = duration_of(text).unwrap_err();
        assert!(matches!(refused, ConfigError::Malformed { .. }), "{text}");
    }
    for text in ["5", "0"] {
        let refused = duration_of(text).unwrap_err();
        assert!(matches!(refused, ConfigError::NoUnit { .. }), "{text}");
    }
    for text in ["99ms", "0s", "8d", "604801s", "99999999999999999999d"] {
        let refused = duration_of(text).unwrap_err();
        assert!(matches!(refused, ConfigError::OutOfRange { .. }), "{text}");
    }
}

#[test]
fn lengths_of_time_are_spelled_in_the_largest_unit() {
    for (millis, text) in [
        (0, "0s"),
        (100, "100ms"),
        (1_500, "1500ms"),
        (60_000, "1m"),
        (65_535_000, "65535s"),
        (86_400_000, "1d"),
    ] {
        assert_eq!(spell(Duration::from_millis(millis)), text);
    }
}

#[test]
fn an_endpoint_that_the_build_cannot_dial_is_refused_with_what_to_do() {
    use safe_rt::Scheme;

    for (text, scheme) in [
        ("ws://h", Scheme::Ws),
        ("WSS://h/mqtt?key=secret", Scheme::Wss),
    ] {
        match endpoint(text) {
            Ok(Value::Endpoint { endpoint, .. }) => {
                assert!(cfg!(feature = "ws") || scheme.is_available(), "{text}");
                assert_eq!(endpoint.scheme(), scheme);
            }
            Err(ConfigError::NoWebSocket(found)) => {
                assert!(!scheme.is_available());
                assert_eq!(found, scheme);
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let told = ConfigError::NoWebSocket(Scheme::Wss);
    assert_eq!(told.code(), "C030");
    assert!(told.to_string().contains("built without"), "{told}");
    endpoint("mqtts://h").expect("TLS is always there");
}

#[test]
fn whether_an_endpoint_says_its_port_is_seen() {
    for (text, expected) in [
        ("mqtts://h", false),
        ("mqtts://h/", false),
        ("mqtts://h:8883", true),
        ("mqtt://[::1]", false),
        ("mqtt://[::1]:1883", true),
    ] {
        match endpoint(text) {
            Ok(Value::Endpoint { port_is_set, .. }) => assert_eq!(port_is_set, expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn filters_of_the_log_are_told_from_what_is_none() {
    for (text, expected) in [
        ("info", true),
        ("warn,agent=info", true),
        ("agent::config=trace", true),
        ("", false),
        ("loud", false),
        ("agent=", false),
        ("=info", false),
        ("agent=info,", false),
    ] {
        assert_eq!(is_log_filter(text), expected, "{text}");
    }
}

/// Every default and every example of the table is a value that the table takes.
#[test]
fn defaults_and_examples_are_understood() {
    for key in super::super::table::KEYS {
        for text in key.default.into_iter().chain([key.value]) {
            let raw = super::super::raw::parse_value(text);
            let raw = raw.unwrap_or_else(|| panic!("{key}: {text}"));
            let at = At {
                source: 0,
                all: 0..0,
                point: 0..0,
            };
            let mut faults = Vec::new();
            let value = understand(key, &Placed { value: raw, at }, Path::new(""), &mut faults);
            assert!(value.is_some() && faults.is_empty(), "{key}: {faults:?}");
        }
    }
}
