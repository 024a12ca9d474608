//! Dialling through a proxy of our own on loopback, which does what proxies should and should not.

use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use fiber::net::{TcpListener, TcpStream};
use safe_rt::{
    DialOptions, Endpoint, Error, PROXY_HEAD_BYTES_MAX, Phase, Proxy, ProxyEnvironment, ProxyError,
    Socket, TlsVersion, dial_traced,
};

use crate::support::{configurations, read_text};

/// A name that nothing on this machine looks up.
const TARGET: &str = "mqtt://broker.invalid:1883";

/// Starts a proxy that reads one request and goes on with the stream as `serve` says.
fn proxy(serve: impl FnOnce(TcpStream, String) -> io::Result<()> + 'static) -> SocketAddr {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = fiber::spawn(move || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            request.push(byte[0]);
        }
        serve(stream, String::from_utf8_lossy(&request).into_owned())
    });
    drop(serving.expect("a fiber"));
    address
}

fn through(proxy: SocketAddr, credentials: &str) -> DialOptions {
    let proxy: Proxy = format!("http://{credentials}{proxy}")
        .parse()
        .expect("a proxy");
    DialOptions::new().proxy(proxy)
}

fn endpoint(text: &str) -> Endpoint {
    text.parse().expect("an endpoint")
}

/// What a dial fails with through a proxy that gives these bytes for an answer, then closes.
#[track_caller]
fn refusal(credentials: &'static str, answer: impl Into<Vec<u8>>) -> Error {
    let answer = answer.into();
    fiber::run(move || {
        let proxy = proxy(move |mut stream, _| stream.write_all(&answer));
        let outcome = safe_rt::dial(&endpoint(TARGET), &through(proxy, credentials));
        outcome.expect_err("refused")
    })
    .expect("the runtime ran")
}

#[test]
fn the_proxy_is_told_the_name_and_what_follows_its_answer_is_not_lost() {
    for target in [TARGET, "mqtt://[2001:db8::1]:1883", "mqtt://192.0.2.1"] {
        fiber::run(move || {
            let asked = Rc::new(RefCell::new(String::new()));
            let noted = Rc::clone(&asked);
            let proxy = proxy(move |mut stream, request| {
                *noted.borrow_mut() = request;
                // In one write with the answer: both are there before the answer is read.
                stream.write_all(b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\nearly")?;
                let mut text = [0; 4];
                stream.read_exact(&mut text)?;
                stream.write_all(&text)
            });
            let target = endpoint(target);
            let mut phases = Vec::new();
            let options = through(proxy, "");
            let socket = dial_traced(&target, &options, |step| {
                phases.push((step.phase(), step.address().to_owned()));
            })
            .expect("a connection");
            let authority = target.authority();
            let expected = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
            assert_eq!(*asked.borrow(), expected);
            assert_eq!(socket.peer(), Some(proxy));
            (&socket).write_all(b"late").expect("room");
            let mut text = String::new();
            (&socket).read_to_string(&mut text).expect("the rest");
            assert_eq!(text, "earlylate");
            let proxy = proxy.to_string();
            let expected = [
                (Phase::Resolve, proxy.clone()),
                (Phase::Connect, proxy.clone()),
                (Phase::Proxy, format!("{authority} (through {proxy})")),
            ];
            assert_eq!(phases, expected);
        })
        .expect("the runtime ran");
    }
}

#[test]
fn tls_goes_through_a_proxy_and_checks_the_name_behind_it() {
    fiber::run(|| {
        let (client, server) = configurations(TlsVersion::Tls13);
        let proxy = proxy(move |mut stream, _| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")?;
            let socket = Socket::tls_server(stream, &server).map_err(io::Error::other)?;
            (&socket).write_all(b"hello")?;
            (&socket).flush()
        });
        let options = through(proxy, "").tls(client);
        let target = format!("mqtts://{}", crate::pki::SERVER_NAME);
        let socket = safe_rt::dial(&endpoint(&target), &options).expect("a connection");
        assert!(socket.is_tls());
        assert_eq!(read_text(&socket).expect("text"), "hello");
    })
    .expect("the runtime ran");
}

#[test]
fn a_proxy_that_answers_a_byte_at_a_time_is_understood() {
    fiber::run(|| {
        let proxy = proxy(|mut stream, _| {
            stream.set_nodelay(true)?;
            for byte in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Yes\r\na: b\r\n\r\nx" {
                stream.write_all(&[*byte])?;
                fiber::yield_now()?;
            }
            Ok(())
        });
        let socket = safe_rt::dial(&endpoint(TARGET), &through(proxy, "")).expect("a connection");
        assert_eq!(read_text(&socket).expect("text"), "x");
    })
    .expect("the runtime ran");
}

#[test]
fn what_a_proxy_refuses_has_a_name() {
    let offer = "HTTP/1.1 407 no\r\nProxy-Authenticate: Basic realm=x\r\n\r\nbody";
    let digest = "HTTP/1.1 407 no\r\nProxy-Authenticate: Digest realm=x\r\n\r\n";
    let server_digest = "HTTP/1.1 401 no\r\nWWW-Authenticate: Digest realm=x\r\n\r\n";
    let status = |code, reason: &str| ProxyError::Status {
        code,
        reason: reason.to_owned(),
    };
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(65));
    let table = [
        ("", offer, ProxyError::CredentialsWanted),
        ("u:secret@", offer, ProxyError::CredentialsRefused),
        ("u:secret@", digest, ProxyError::BasicNotOffered),
        ("", "HTTP/1.0 401 x\r\n\r\n", ProxyError::CredentialsWanted),
        (
            "u:secret@",
            "HTTP/1.0 401 x\r\n\r\n",
            ProxyError::CredentialsRefused,
        ),
        ("u:secret@", server_digest, ProxyError::BasicNotOffered),
        ("", "HTTP/1.1 403 Filtered\r\n\r\n", ProxyError::Forbidden),
        ("", "HTTP/1.1 502 x\r\n\r\n", ProxyError::BadGateway),
        ("", "HTTP/1.1 504 x\r\n\r\n", ProxyError::GatewayTimeout),
        ("", "HTTP/1.1 500 Oh no\r\n\r\n", status(500, "Oh no")),
        ("", "HTTP/1.1 101 Switch\r\n\r\n", status(101, "Switch")),
        ("", "HTTP/1.1 302 Found\r\n\r\n", status(302, "Found")),
        ("", "SSH-2.0-OpenSSH_9\r\n", ProxyError::NotHttp),
        ("", "\x15\x03\x03\x00\x02\x02\x46", ProxyError::NotHttp),
        ("", many.as_str(), ProxyError::HeadTooLong),
        ("", "", ProxyError::Closed),
        ("", "HTTP/1.1 200 OK\r\n", ProxyError::Closed),
    ];
    for (credentials, answer, expected) in table {
        let error = refusal(credentials, answer);
        assert_eq!(error.phase(), Phase::Proxy, "{error}");
        assert_eq!(ProxyError::of(&error), Some(&expected));
        assert!(
            error
                .to_string()
                .starts_with("asking a proxy for broker.invalid:1883 (through 127")
        );
        assert!(!error.to_string().contains("secret") && error.remedy().is_some());
    }
}

#[test]
fn a_proxy_that_wants_a_password_gets_it_once() {
    fiber::run(|| {
        let proxy = proxy(|mut stream, request| {
            let wanted = "\r\nProxy-Authorization: Basic bWV0ZXI6cEBzcw==\r\n";
            let answer = match request.matches(wanted).count() {
                1 => "HTTP/1.1 200 OK\r\n\r\n",
                _ => "HTTP/1.1 407 no\r\n\r\n",
            };
            stream.write_all(answer.as_bytes())
        });
        let options = through(proxy, "meter:p%40ss@");
        safe_rt::dial(&endpoint(TARGET), &options).expect("a connection");
        assert!(!format!("{options:?}").contains("p@ss"));
    })
    .expect("the runtime ran");
}

#[test]
fn an_answer_without_an_end_is_given_up_at_its_bound() {
    for (start, piece) in [
        ("HTTP/1.1 200 OK\r\na: ", "a"),
        ("HTTP/1.1 200 ", "a"),
        ("", "\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let endless = start.to_owned() + &piece.repeat(2 * PROXY_HEAD_BYTES_MAX / piece.len());
        let error = refusal("", endless);
        assert_eq!(
            ProxyError::of(&error),
            Some(&ProxyError::HeadTooLong),
            "{piece:?}"
        );
    }
}

#[test]
fn a_silent_proxy_costs_the_deadline_and_names_the_phase() {
    fiber::run(|| {
        let proxy = proxy(|stream, _| {
            fiber::sleep(Duration::from_secs(60))?;
            drop(stream);
            Ok(())
        });
        let limit = Duration::from_millis(100);
        let options = through(proxy, "");
        let outcome = fiber::timeout(limit, || safe_rt::dial(&endpoint(TARGET), &options));
        let error = outcome.expect_err("silence").0.expect_err("silence");
        assert_eq!(error.phase(), Phase::Proxy);
        assert!(error.is_timeout(), "{error}");
    })
    .expect("the runtime ran");
}

#[test]
fn a_proxy_of_the_environment_counts_only_when_asked_for() {
    fiber::run(|| {
        let proxy = proxy(|mut stream, _| stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
        let environment = ProxyEnvironment::read(|name| match name {
            "all_proxy" => Some(proxy.to_string()),
            "no_proxy" => Some("localhost,127.0.0.0/8".to_owned()),
            _ => None,
        });
        let options = DialOptions::new().proxy_from(environment);
        safe_rt::dial(&endpoint(TARGET), &options).expect("through the proxy");
        let direct = safe_rt::dial(&endpoint("mqtt://127.0.0.1:1"), &options);
        assert_eq!(direct.expect_err("nobody listens").phase(), Phase::Connect);
        let unasked = safe_rt::dial(&endpoint(TARGET), &DialOptions::new());
        assert_eq!(unasked.expect_err("no such name").phase(), Phase::Resolve);
    })
    .expect("the runtime ran");
}
