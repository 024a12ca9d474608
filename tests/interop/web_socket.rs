//! MQTT over WebSocket: our client against aedes behind `ws`, and Paho's client for Python against our
//! broker.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, RunError};
use mqtt::{Broker, BrokerOptions, Client, ClientId, ClientOptions, Outcome, Publish, QoS, Wait};
use safe_rt::{
    BackoffOptions, ClientTlsOptions, DialOptions, Endpoint, Phase, Scheme, Trust, WsError,
    WsErrorKind, WsServerOptions,
};
use tests::aedes::Aedes;
use tests::paho;
use tests::pki::Pki;
use tests::process::PROCESS_TIMEOUT;
use tests::temp_dir::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
/// Sizes beyond the edges of frames and of what either side reads at once.
const PAYLOADS: [usize; 5] = [0, 1, 126, 70_000, 1024 * 1024];

/// The gate before every test with aedes: it, or `None` where it may be missing.
#[track_caller]
fn peers() -> Option<Aedes> {
    Aedes::gate()
}

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

fn endpoint(scheme: Scheme, port: u16, path: &str) -> Endpoint {
    Endpoint::new(scheme, &format!("127.0.0.1:{port}{path}")).unwrap()
}

fn open(endpoint: &Endpoint, dialling: &DialOptions) -> Client {
    let short = Duration::from_millis(200);
    let backoff = BackoffOptions::new()
        .base(short)
        .long_base(short)
        .floor(Duration::ZERO);
    let options = ClientOptions::new(ClientId::new("ours").unwrap()).backoff(backoff);
    Client::open(endpoint, options.dial(dialling.clone())).unwrap()
}

/// Sends every payload at every QoS to itself, by way of the broker.
fn exchange(client: &Client) {
    let arrived: Rc<RefCell<BTreeMap<String, usize>>> = Rc::default();
    let (log, news) = (Rc::clone(&arrived), Event::new());
    let told = news.clone();
    client
        .subscribe("self/#", QoS::ExactlyOnce, move |_, message| {
            assert!(message.data.iter().all(|byte| *byte == b'x'));
            let name = format!("{} {:?} {}", message.topic, message.qos, message.data.len());
            *log.borrow_mut().entry(name).or_default() += 1;
            told.set();
            Ok(())
        })
        .unwrap();
    let mut expected = BTreeMap::new();
    for qos in LEVELS {
        for len in PAYLOADS {
            let topic = format!("self/{len}");
            let payload = vec![b'x'; len];
            let publish = Publish::to(&topic, &payload).qos(qos).wait(Wait::Ack);
            client.publish(publish).unwrap();
            expected.insert(format!("{topic} {qos:?} {len}"), 1);
            // One after the other: aedes reads all that comes at once.
            while arrived.borrow().values().sum::<usize>() < expected.len() {
                news.wait().unwrap();
                news.clear();
            }
        }
    }
    assert_eq!(*arrived.borrow(), expected);
    client.unsubscribe("self/#").unwrap();
}

#[test]
fn messages_pass_both_ways_over_a_web_socket_in_fragments_and_between_pings() {
    let Some(aedes) = peers() else { return };
    let mut broker = aedes.start(&["fragment=1000", "ping=5"]);
    let port = broker.port;
    run(move || {
        let client = open(&endpoint(Scheme::Ws, port, "/mqtt"), &DialOptions::new());
        exchange(&client);
        assert_eq!(client.close(LIMIT).unwrap(), mqtt::Remaining::default());
    });
    let mut line = broker.running.next_line(PROCESS_TIMEOUT).unwrap();
    while !line.starts_with("closed ") {
        line = broker.running.next_line(PROCESS_TIMEOUT).unwrap();
    }
    assert!(line.ends_with(" answered"), "no ping was answered: {line}");
}

#[test]
fn messages_pass_both_ways_over_a_web_socket_over_tls() {
    let Some(aedes) = peers() else { return };
    let pki = Pki::new();
    let folder = TempDir::new("aedes");
    let (certificate, key) = pki.server.write(&folder, "server");
    let broker = aedes.start(&[
        &format!("key={}", key.display()),
        &format!("certificate={}", certificate.display()),
    ]);
    let port = broker.port;
    run(move || {
        let trust = Trust::from_pem(pki.authority.certificate().as_bytes()).unwrap();
        let tls = ClientTlsOptions::new(trust).build().unwrap();
        let dialling = DialOptions::new().tls(tls);
        let client = open(&endpoint(Scheme::Wss, port, "/mqtt"), &dialling);
        exchange(&client);
        assert_eq!(client.close(LIMIT).unwrap(), mqtt::Remaining::default());
    });
    drop(broker);
}

#[test]
fn a_client_comes_back_when_its_web_socket_server_was_killed() {
    let Some(aedes) = peers() else { return };
    let mut broker = aedes.start(&[]);
    let port = broker.port;
    run(move || {
        let client = open(&endpoint(Scheme::Ws, port, "/mqtt"), &DialOptions::new());
        let publish = |qos| {
            let publish = Publish::to("a", "x").qos(qos).wait(Wait::None);
            client.publish(publish).unwrap()
        };
        assert!(matches!(
            publish(QoS::AtLeastOnce).outcome(),
            Ok(Outcome::Acked { .. })
        ));
        broker.running.kill();
        let mut waiting = [publish(QoS::AtLeastOnce), publish(QoS::ExactlyOnce)];
        let again = aedes.start(&[&format!("port={port}")]);
        for ticket in &mut waiting {
            let outcome = ticket.outcome();
            assert!(matches!(outcome, Ok(Outcome::Acked { .. })), "{outcome:?}");
        }
        assert_eq!(client.close(LIMIT).unwrap(), mqtt::Remaining::default());
        drop(again);
    });
}

#[test]
fn a_server_that_has_no_mqtt_at_this_path_is_named_with_its_answer() {
    let Some(aedes) = peers() else { return };
    let broker = aedes.start(&[]);
    let port = broker.port;
    run(move || {
        let endpoint = endpoint(Scheme::Ws, port, "/elsewhere?key=secret");
        let error = safe_rt::dial(&endpoint, &DialOptions::new()).unwrap_err();
        assert_eq!(error.phase(), Phase::WebSocket);
        let found = WsError::of(&error).unwrap();
        assert_eq!(
            (found.kind(), found.status()),
            (WsErrorKind::Refused, Some(400))
        );
        assert!(!error.to_string().contains("secret"), "{error}");
    });
    drop(broker);
}

#[test]
fn a_client_of_others_is_served_over_a_web_socket() {
    let Some(peers) = crate::peers() else { return };
    run(move || {
        let broker = Broker::new(BrokerOptions::new());
        let listener = safe_rt::Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        // What Paho says of itself, as a web page would.
        let origin = format!("https://127.0.0.1:{port}");
        let allowed = WsServerOptions::new().allow_origin(origin);
        broker.serve(listener.ws_with(allowed)).unwrap();
        let running = paho::scenario(&peers, "web_socket.py", "exchange", port).unwrap();
        let finished = fiber::offload(move || running.finish(PROCESS_TIMEOUT * 2).unwrap());
        let finished = finished.unwrap();
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        broker.stop();
    });
}
