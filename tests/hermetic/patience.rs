//! Which failures of a dial are tried again soon, and which after the long pauses: those that no
//! further attempt changes by itself.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use fiber::net::PipeStream;
use mqtt::Client;
use safe_rt::{
    BackoffOptions, ClientTls, ClientTlsOptions, DialOptions, Endpoint, Error, Identity, Phase,
    ProxyError, ServerTls, ServerTlsOptions, SignatureScheme, Signer, Socket, Trust, WsOptions,
};
use tests::pki::Pki;

use crate::harness::options;

const SECOND: Duration = Duration::from_secs(1);
const ROOMY: usize = 64 * 1024;

/// Whether a client whose dial fails in this way takes its time.
#[track_caller]
fn is_patient(dial: impl Fn() -> Result<Socket, Error> + 'static) -> bool {
    const SHORT: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_secs(10_000);
    let backoff = BackoffOptions::new().floor(Duration::ZERO).base(SHORT);
    let backoff = backoff.cap(SHORT).long_base(LONG).long_cap(LONG);
    let main = move || {
        let attempts = Rc::new(Cell::new(0));
        let counted = Rc::clone(&attempts);
        let dial = move || {
            counted.set(counted.get() + 1);
            dial()
        };
        let began = Instant::now();
        let client = Client::open_by(dial, options().backoff(backoff)).unwrap();
        while attempts.get() < 6 {
            fiber::sleep(SECOND).unwrap();
        }
        drop(client);
        // Five pauses at random: the long ones are not all this short.
        began.elapsed() > 60 * SECOND
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap()
}

fn read_head(mut pipe: &PipeStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        pipe.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// Asks for a WebSocket a server whose answer is changed on its way.
fn web_socket(
    change: impl Fn(&str) -> String + Clone + 'static,
) -> impl Fn() -> Result<Socket, Error> {
    move || {
        let change = change.clone();
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        fiber::spawn(move || {
            let request = read_head(&theirs);
            let (inside, outside) = fiber::net::pipe(ROOMY);
            drop(fiber::spawn(move || Socket::ws_server(inside)).unwrap());
            (&outside).write_all(request.as_bytes()).unwrap();
            let answer = change(&read_head(&outside));
            (&theirs).write_all(answer.as_bytes()).unwrap();
        })
        .unwrap();
        Socket::ws_client(ours, &WsOptions::new(), "broker", "/mqtt")
    }
}

#[test]
fn a_web_socket_that_is_refused_for_good_is_not_asked_for_all_the_time() {
    let lasting = [200, 301, 302, 400, 401, 403, 404, 410];
    let passing = [408, 429, 500, 502, 503, 504];
    for status in lasting.into_iter().chain(passing) {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        let patient = is_patient(web_socket(move |_| answer.clone()));
        assert_eq!(patient, lasting.contains(&status), "status {status}");
    }
    let agreed = "Sec-WebSocket-Protocol: mqtt\r\n";
    let without = move |answer: &str| {
        let lower = answer.to_ascii_lowercase();
        let at = lower.find(&agreed.to_ascii_lowercase()).unwrap();
        format!("{}{}", &answer[..at], &answer[at + agreed.len()..])
    };
    assert!(is_patient(web_socket(without)), "another sub-protocol");
    assert!(is_patient(web_socket(|_| "SSH-2.0-OpenSSH_9.2\r\n".into())));
    assert!(!is_patient(web_socket(|_| String::new())), "it was cut off");
}

#[test]
fn what_a_program_chose_wrong_and_what_a_proxy_refuses_is_not_tried_all_the_time() {
    let ws = DialOptions::new().ws(WsOptions::new());
    for (endpoint, options) in [
        ("mqtts://broker", DialOptions::new()),
        ("mqtt://broker", ws),
    ] {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        assert!(is_patient(move || safe_rt::dial(&endpoint, &options)));
    }
    let status = |code| ProxyError::Status {
        code,
        reason: String::new(),
    };
    for (error, is_lasting) in [
        (ProxyError::CredentialsWanted, true),
        (ProxyError::CredentialsRefused, true),
        (ProxyError::BasicNotOffered, true),
        (ProxyError::Forbidden, true),
        (ProxyError::NotHttp, true),
        (status(302), true),
        (status(405), true),
        (status(429), false),
        (status(503), false),
        (ProxyError::BadGateway, false),
        (ProxyError::GatewayTimeout, false),
        (ProxyError::Closed, false),
    ] {
        let text = error.to_string();
        let dial = move || Err(Error::new(Phase::Proxy, "proxy", error.clone().into()));
        assert_eq!(is_patient(dial), is_lasting, "{text}");
    }
}

/// A key that lives where this function asks for it.
struct Elsewhere(fn() -> io::Error);

impl Signer for Elsewhere {
    fn schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::EcdsaP256Sha256]
    }

    fn sign(&self, _: SignatureScheme, _: &[u8]) -> io::Result<Vec<u8>> {
        Err((self.0)())
    }
}

fn slow() -> io::Error {
    match fiber::timeout(SECOND, || fiber::sleep(60 * SECOND)) {
        Err(elapsed) => elapsed.0.unwrap_err().into(),
        Ok(_) => unreachable!("a minute is longer than a second"),
    }
}

fn forbidden() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

#[test]
fn a_key_that_was_slow_is_asked_again_soon_and_one_that_is_forbidden_later() {
    for (answer, is_lasting) in [(slow as fn() -> io::Error, false), (forbidden, true)] {
        let pki = Pki::new();
        let trust = Trust::from_pem(pki.authority.certificate().as_bytes()).unwrap();
        let (chain, key) = (&pki.server.certificate, &pki.server.key);
        let server: ServerTls =
            ServerTlsOptions::new(Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap())
                .require_client_certificate(trust.clone())
                .build()
                .unwrap();
        let chain = pki.client.certificate.as_bytes();
        let client: ClientTls = ClientTlsOptions::new(trust)
            .identity(Identity::with_signer(chain, Elsewhere(answer)).unwrap())
            .build()
            .unwrap();
        let patient = is_patient(move || {
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let server = server.clone();
            drop(fiber::spawn(move || Socket::tls_server(theirs, &server)).unwrap());
            Socket::tls_client(ours, &client, "localhost")
        });
        assert_eq!(patient, is_lasting);
    }
}
