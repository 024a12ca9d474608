//! Tables of proxies: what is accepted, what is refused, and that no text repeats a password.

use super::*;

fn parse(text: &str) -> Result<Proxy, ProxyUrlError> {
    text.parse()
}

#[test]
fn base64_is_that_of_the_standard() {
    // RFC 4648 section 10, and RFC 7617 section 2.
    let table = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
        ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("\u{fb}\u{ff}?>", "w7vDvz8+"),
    ];
    for (text, expected) in table {
        assert_eq!(base64(text.as_bytes()).as_str(), expected);
    }
}

#[test]
fn proxies_are_accepted() {
    let table = [
        (
            "http://proxy.example:3128",
            "http://proxy.example:3128",
            None,
        ),
        (
            "HTTP://proxy.example:3128/",
            "http://proxy.example:3128",
            None,
        ),
        ("proxy:80", "http://proxy:80", None),
        ("http://[::1]:8888", "http://[::1]:8888", None),
        ("http://192.0.2.1:1", "http://192.0.2.1:1", None),
        ("http://u:p@h:1", "http://...@h:1", Some("u:p")),
        ("u:p@h:1", "http://...@h:1", Some("u:p")),
        ("http://u@h:1", "http://...@h:1", Some("u:")),
        ("http://:p@h:1", "http://...@h:1", Some(":p")),
        ("http://u:a:b@h:1", "http://...@h:1", Some("u:a:b")),
        ("http://u:a@b@h:1", "http://...@h:1", Some("u:a@b")),
        (
            "http://a%20b:%3a%40%2F@h:1",
            "http://...@h:1",
            Some("a b::@/"),
        ),
        ("http://u:\u{e4}@h:1", "http://...@h:1", Some("u:\u{e4}")),
    ];
    for (text, shown, credentials) in table {
        let proxy = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(proxy.to_string(), shown);
        assert_eq!(format!("{proxy:?}"), format!("Proxy({shown})"));
        let encoded = credentials.map(|plain| base64(plain.as_bytes()));
        assert_eq!(proxy.credentials, encoded, "{text}");
    }
}

#[test]
fn proxies_are_refused() {
    let long = "p".repeat(PROXY_CREDENTIAL_BYTES_MAX + 1);
    let table = [
        ("https://h:1", ProxyUrlError::Scheme("https")),
        ("SOCKS5://h:1", ProxyUrlError::Scheme("socks5")),
        ("ftp://h:1", ProxyUrlError::UnknownScheme),
        ("http://h", ProxyUrlError::NoPort),
        ("http://[::1]", ProxyUrlError::NoPort),
        ("http://h:1/path", ProxyUrlError::Path),
        ("http://h:1?q", ProxyUrlError::Path),
        ("", ProxyUrlError::Host),
        ("http://h..h:1", ProxyUrlError::Host),
        ("http://h:0", ProxyUrlError::Port),
        ("http://user:secret", ProxyUrlError::Port),
        ("http://u:%4@h:1", ProxyUrlError::BadPercentEncoding),
        ("http://u:%zz@h:1", ProxyUrlError::BadPercentEncoding),
        ("http://a%3Ab:p@h:1", ProxyUrlError::ColonInUser),
        (
            "http://u:a%0d%0aHost: x@h:1",
            ProxyUrlError::ControlCharacter,
        ),
        ("http://u:\0@h:1", ProxyUrlError::ControlCharacter),
        (
            &format!("http://u:{long}@h:1"),
            ProxyUrlError::CredentialTooLong,
        ),
    ];
    for (text, expected) in table {
        assert_eq!(parse(text), Err(expected), "{text}");
    }
    assert!(parse(&format!("{}:{}@h:1", &long[1..], &long[1..])).is_ok());
}

#[test]
fn no_text_repeats_a_password() {
    let texts = [
        "http://user:secret@h:1",
        "secret://user:secret@h:1",
        "http://user:secret%@h:1",
        "http://user:secret\n@h:1",
        "http://user:secret@h",
        "http://user:secret@h:1/secret",
        "user:secret@h:x",
        // Somebody forgot the host.
        "http://user:secret",
        "http://user:80secret",
        "http://secret..secret:1",
        "http://secret.1:1",
        "http://[secret]:1",
        "http://[::1]secret",
    ];
    for text in texts {
        let parsed = parse(text);
        let shown = match &parsed {
            Ok(proxy) => format!("{proxy} {proxy:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(
            !shown.contains("secret") && !shown.contains("c2VjcmV0"),
            "{shown}"
        );
    }
}
