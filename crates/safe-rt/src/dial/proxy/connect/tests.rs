//! What is sent to a proxy, and how the heads of answers are read.

use super::*;

fn proxy(text: &str) -> Proxy {
    text.parse().expect("a proxy")
}

#[test]
fn the_request_names_the_target_twice_and_the_user_once() {
    let plain = request(&proxy("http://p:1"), "broker.example:8883");
    let expected = "CONNECT broker.example:8883 HTTP/1.1\r\nHost: broker.example:8883\r\n\r\n";
    assert_eq!(plain.as_str(), expected);
    let named = request(&proxy("http://Aladdin:open%20sesame@p:1"), "[::1]:1");
    let expected = "CONNECT [::1]:1 HTTP/1.1\r\nHost: [::1]:1\r\n\
                    Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
    assert_eq!(named.as_str(), expected);
    assert_eq!(named.capacity(), named.len(), "it was never moved");
}

#[test]
fn heads_are_read_up_to_their_end() {
    let table = [
        ("HTTP/1.1 200 OK\r\n\r\nrest", 19, 200, "OK"),
        (
            "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
            55,
            200,
            "Connection established",
        ),
        ("HTTP/1.1 204\r\n\r\n", 16, 204, ""),
        (
            "HTTP/1.1 502 Bad Gateway\nContent-Length: 7\n\nno good",
            44,
            502,
            "Bad Gateway",
        ),
    ];
    for (text, end, code, reason) in table {
        let (answer, found) = parse(text.as_bytes()).expect("HTTP").expect("whole");
        assert_eq!(
            (found, answer.code, answer.reason.as_str()),
            (end, code, reason),
            "{text}"
        );
        for cut in 0..end {
            let part = parse(&text.as_bytes()[..cut]).expect("the beginning of HTTP");
            assert!(part.is_none(), "{cut} bytes of {text:?}");
        }
    }
}

#[test]
fn what_is_not_http_is_found_out() {
    for text in [
        "SSH-2.0-x\r\n",
        "HTTP/2 200\r\n\r\n",
        "\x16\x03\x01",
        "HTTP/1.1 2x0 OK\r\n\r\n",
    ] {
        assert_eq!(
            parse(text.as_bytes()).err(),
            Some(ProxyError::NotHttp),
            "{text:?}"
        );
    }
    let many = "a: b\r\n".repeat(PROXY_HEADERS_MAX + 1);
    let head = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
    assert_eq!(parse(head.as_bytes()).err(), Some(ProxyError::HeadTooLong));
}

#[test]
fn a_407_is_told_by_what_it_offers() {
    let table = [
        ("", true),
        ("Proxy-Authenticate: Basic realm=\"x\"\r\n", true),
        ("PROXY-AUTHENTICATE: basic\r\n", true),
        (
            "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: Basic realm=a\r\n",
            true,
        ),
        ("Proxy-Authenticate: NTLM, Basic realm=a\r\n", true),
        ("Proxy-Authenticate: Digest realm=\"basically\"\r\n", false),
    ];
    for (fields, offered) in table {
        let head = format!("HTTP/1.1 407 no\r\n{fields}\r\n");
        let (answer, _) = parse(head.as_bytes()).expect("HTTP").expect("whole");
        assert_eq!(answer.basic_offered, offered, "{fields}");
    }
}

#[test]
fn the_reason_of_a_status_is_bounded_text() {
    let long = format!("a\x07b{}", "\u{e4}".repeat(200));
    let ProxyError::Status { code, reason } = ProxyError::status(500, &long) else {
        panic!("another error");
    };
    assert_eq!((code, reason.len()), (500, 128));
    assert!(reason.starts_with("ab\u{e4}"));
}
