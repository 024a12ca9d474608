//! Dialling through a real tinyproxy: what it refuses, and MQTT over TLS through it to a real Mosquitto.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, RunError};
use mqtt::{Client, ClientId, ClientOptions, Outcome, Publish, QoS, Ticket, Wait};
use safe_rt::{
    BackoffOptions, ClientTlsOptions, DialOptions, Endpoint, Phase, Proxy, ProxyError, Scheme,
    Socket, Trust,
};
use tests::mosquitto::{Listener, Options};
use tests::pki::Pki;
use tests::tinyproxy;

use crate::peers;

const LIMIT: Duration = Duration::from_secs(60);
const PAYLOADS: [usize; 4] = [0, 1, 70_000, 1024 * 1024];

/// Runs `body` on fibers, with a limit on all its waits.
#[track_caller]
fn run(body: impl FnOnce() + 'static) {
    match fiber::run(|| fiber::timeout(LIMIT, body)) {
        Ok(Ok(())) => {}
        Ok(Err(_)) => panic!("the test took more than {LIMIT:?}"),
        Err(RunError::Panicked(payload)) => std::panic::resume_unwind(payload),
        Err(error) => panic!("{error}"),
    }
}

fn endpoint(scheme: Scheme, port: u16) -> Endpoint {
    Endpoint::new(scheme, &format!("127.0.0.1:{port}")).unwrap()
}

/// Options that go through the proxy at this port; `credentials` end with `@` if there are any.
fn through(credentials: &str, port: u16) -> DialOptions {
    let proxy: Proxy = format!("http://{credentials}127.0.0.1:{port}")
        .parse()
        .unwrap();
    DialOptions::new().proxy(proxy)
}

/// A port where connections are taken, and what holds it open.
fn target() -> (TcpListener, u16) {
    let held = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    (held, port)
}

/// What the proxy answers instead of connecting on.
#[track_caller]
fn refusal(outcome: Result<Socket, safe_rt::Error>) -> ProxyError {
    let error = outcome.unwrap_err();
    assert_eq!(error.phase(), Phase::Proxy, "{error}");
    assert!(error.remedy().is_some(), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    ProxyError::of(&error).unwrap().clone()
}

#[test]
fn a_real_proxy_connects_on_only_who_knows_its_password() {
    let Some(peers) = peers() else { return };
    let proxy = tinyproxy::Options::new(&peers).password("meter", "secret");
    let proxy = proxy.start().unwrap();
    run(move || {
        let (held, port) = target();
        let dial = |credentials| {
            let options = through(credentials, proxy.port());
            safe_rt::dial(&endpoint(Scheme::Mqtt, port), &options)
        };
        dial("meter:secret@").unwrap();
        assert_eq!(refusal(dial("")), ProxyError::CredentialsWanted);
        for wrong in ["meter:secretly@", "other:secret@", "meter:@"] {
            assert_eq!(refusal(dial(wrong)), ProxyError::CredentialsRefused);
        }
        drop(held);
    });
}

#[test]
fn what_a_real_proxy_does_not_connect_to_is_told_from_what_it_cannot() {
    let Some(peers) = peers() else { return };
    run(move || {
        let (allowed, port) = target();
        let (other, other_port) = target();
        let nobody = 1;
        let proxy = tinyproxy::Options::new(&peers);
        let proxy = proxy.allow_port(port).allow_port(nobody).start().unwrap();
        let dial = |to| {
            let options = through("", proxy.port());
            safe_rt::dial(&endpoint(Scheme::Mqtt, to), &options)
        };
        dial(port).unwrap();
        assert_eq!(refusal(dial(other_port)), ProxyError::Forbidden);
        // Versions of tinyproxy differ in the status.
        let failed = refusal(dial(nobody));
        assert!(
            matches!(
                failed,
                ProxyError::BadGateway | ProxyError::Status { code: 500, .. }
            ),
            "{failed}"
        );
        drop((allowed, other));
    });
}

#[test]
fn messages_pass_both_ways_over_tls_through_a_real_proxy_that_is_killed_and_started_again() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let broker = Options::new(&peers).tls(&pki.server).start().unwrap();
    let mut proxy = tinyproxy::Options::new(&peers)
        .password("meter", "secret")
        .allow_port(broker.port(Listener::Tls))
        .start()
        .unwrap();
    run(move || {
        let trust = Trust::from_pem(pki.authority.certificate().as_bytes()).unwrap();
        let tls = ClientTlsOptions::new(trust).build().unwrap();
        let dialling = through("meter:secret@", proxy.port()).tls(tls);
        let endpoint = endpoint(Scheme::Mqtts, broker.port(Listener::Tls));
        let short = Duration::from_millis(200);
        let backoff = BackoffOptions::new()
            .base(short)
            .long_base(short)
            .floor(Duration::ZERO);
        let options = ClientOptions::new(ClientId::new("ours").unwrap())
            .clean_start(false)
            .backoff(backoff);
        let client = Client::open(&endpoint, options.dial(dialling.clone())).unwrap();
        let arrived = Arrived::default();
        let log = arrived.clone();
        client
            .subscribe("self/#", QoS::AtLeastOnce, move |_, message| {
                assert!(message.data.iter().all(|byte| *byte == b'x'));
                log.add(&message.topic, message.data.len());
                Ok(())
            })
            .unwrap();
        let publish = |topic: &str, len: usize| {
            let payload = vec![b'x'; len];
            let publish = Publish::to(topic, &payload).qos(QoS::AtLeastOnce);
            client.publish(publish.wait(Wait::None)).unwrap()
        };
        let expect_acked = |mut ticket: Ticket| {
            let outcome = ticket.outcome();
            assert!(matches!(outcome, Ok(Outcome::Acked { .. })), "{outcome:?}");
        };
        let before = PAYLOADS.map(|len| publish("self/before", len));
        before.into_iter().for_each(expect_acked);
        arrived.wait_for_all_of("self/before");

        proxy.kill();
        let error = safe_rt::dial(&endpoint, &dialling).unwrap_err();
        assert_eq!(error.phase(), Phase::Connect, "{error}");
        let after = PAYLOADS.map(|len| publish("self/after", len));
        proxy.start_again().unwrap();
        after.into_iter().for_each(expect_acked);
        arrived.wait_for_all_of("self/after");
        assert_eq!(client.close(LIMIT).unwrap(), mqtt::Remaining::default());
        assert_eq!(broker.log().matches("New client connected").count(), 2);
    });
}

/// The messages that arrived, by topic and length: at QoS 1 one may come twice.
#[derive(Clone, Default)]
struct Arrived {
    messages: Rc<RefCell<BTreeSet<(String, usize)>>>,
    news: Event,
}

impl Arrived {
    fn add(&self, topic: &str, len: usize) {
        self.messages.borrow_mut().insert((topic.to_owned(), len));
        self.news.set();
    }

    fn has_all_of(&self, topic: &str) -> bool {
        let messages = self.messages.borrow();
        PAYLOADS
            .iter()
            .all(|len| messages.contains(&(topic.to_owned(), *len)))
    }

    fn wait_for_all_of(&self, topic: &str) {
        while !self.has_all_of(topic) {
            self.news.wait().unwrap();
            self.news.clear();
        }
    }
}
