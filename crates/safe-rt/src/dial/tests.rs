//! What is refused before anything is sent.

use super::*;
use crate::endpoint::Scheme;

/// Dials where there is no runtime: a dial that went on would fail differently.
#[track_caller]
fn refused(endpoint: &str) -> (Error, DialRefusal) {
    let endpoint: Endpoint = endpoint.parse().expect("a valid endpoint");
    let error = dial(&endpoint, &DialOptions::new()).expect_err("refused");
    let refusal = DialRefusal::of(&error).expect("a refusal").clone();
    (error, refusal)
}

#[test]
fn tls_is_never_dropped_silently() {
    for (text, scheme) in [
        ("mqtts://192.0.2.1", Scheme::Mqtts),
        ("wss://192.0.2.1", Scheme::Wss),
    ] {
        let (error, refusal) = refused(text);
        assert_eq!(refusal, DialRefusal::TlsMissing(scheme));
        assert_eq!(error.phase(), Phase::Tls);
        assert_eq!(error.io().kind(), io::ErrorKind::InvalidInput);
        assert!(
            error.to_string().contains("plain text is refused"),
            "{error}"
        );
    }
}

#[cfg(not(feature = "ws"))]
#[test]
fn a_build_without_web_sockets_says_so() {
    let (error, refusal) = refused("ws://192.0.2.1/path?signature=secret");
    assert_eq!(refusal, DialRefusal::NoWebSocket(Scheme::Ws));
    assert_eq!(error.phase(), Phase::WebSocket);
    assert_eq!(error.io().kind(), io::ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "WebSocket handshake with 192.0.2.1:80: ws:// asks for a WebSocket: this program was built \
         without the feature ws"
    );
}

#[test]
fn the_usual_port_is_not_part_of_the_host() {
    for (text, host) in [
        ("ws://broker.example/mqtt", "broker.example"),
        ("ws://broker.example:443/mqtt", "broker.example:443"),
        ("wss://broker.example:443/mqtt?a=b", "broker.example"),
        ("wss://broker.example:8443", "broker.example:8443"),
        ("ws://[::1]", "[::1]"),
        ("ws://[::1]:9001", "[::1]:9001"),
        ("ws://127.0.0.1:80", "127.0.0.1"),
    ] {
        let endpoint: Endpoint = text.parse().expect("a valid endpoint");
        assert_eq!(host_header(&endpoint), host, "{text}");
    }
}
