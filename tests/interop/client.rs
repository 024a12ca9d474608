//! Our client against Mosquitto, with Mosquitto's own clients at the other end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fiber::RunError;
use mqtt::{
    Client, ClientId, ClientOptions, ConnectReason, EndCause, Error, Outcome, Publish, QoS, Wait,
};
use safe_rt::{
    ClientTls, ClientTlsOptions, DialOptions, Endpoint, Identity, Phase, Scheme, Socket, TlsError,
    TlsErrorKind, Trust,
};
use tests::mosquitto::{Listener, Mosquitto, Options};
use tests::peers::Peers;
use tests::pki::{self, Pki};
use tests::process::{PROCESS_TIMEOUT, mosquitto_pub, mosquitto_sub};

use crate::peers;

const LIMIT: Duration = Duration::from_secs(30);

/// Every QoS, as mosquitto's clients name it.
const LEVELS: [(QoS, &str); 3] = [
    (QoS::AtMostOnce, "0"),
    (QoS::AtLeastOnce, "1"),
    (QoS::ExactlyOnce, "2"),
];

/// Sizes of payloads that pass every buffer's edge: none, one byte, a page, many reads.
const PAYLOADS: [usize; 4] = [0, 1, 4 * 1024, 1024 * 1024];

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

fn options(name: &str) -> ClientOptions {
    ClientOptions::new(ClientId::new(name).unwrap())
}

fn dial(port: u16, tls: Option<ClientTls>) -> Result<Socket, safe_rt::Error> {
    dial_host("127.0.0.1", port, tls)
}

fn dial_host(host: &str, port: u16, tls: Option<ClientTls>) -> Result<Socket, safe_rt::Error> {
    let scheme = if tls.is_some() {
        Scheme::Mqtts
    } else {
        Scheme::Mqtt
    };
    let endpoint = endpoint(scheme, host, port);
    let options = match tls {
        Some(tls) => DialOptions::new().tls(tls),
        None => DialOptions::new(),
    };
    safe_rt::dial(&endpoint, &options)
}

fn endpoint(scheme: Scheme, host: &str, port: u16) -> Endpoint {
    Endpoint::new(scheme, &format!("{host}:{port}")).unwrap()
}

fn trust(authority: &str) -> Trust {
    Trust::from_pem(authority.as_bytes()).unwrap()
}

fn connect(socket: Socket, options: ClientOptions) -> Client {
    let client = Client::over(socket, options);
    assert!(!client.connect().unwrap(), "the broker kept no session");
    client
}

/// Publishes with `mosquitto_pub` on another thread, so that the fibers here run on.
fn foreign_publish(peers: &Peers, port: u16, args: Vec<String>) {
    let peers = peers.clone();
    let finished = fiber::offload(move || {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        mosquitto_pub(&peers, port, &args).unwrap()
    })
    .unwrap();
    assert!(finished.status.success(), "{}", finished.stderr);
}

/// Sends every payload at every QoS to `mosquitto_sub` and compares what that printed.
fn publish_to_foreign(peers: &Peers, broker: &Mosquitto, client: &Client, sub: &[&str]) {
    let port = broker.port(if sub.contains(&"--cafile") {
        Listener::Tls
    } else {
        Listener::Plain
    });
    let count = (LEVELS.len() * PAYLOADS.len()).to_string();
    let mut args = vec![
        "-i", "foreign", "-t", "up/#", "-q", "2", "-C", &count, "-F", "%t %q %l",
    ];
    args.extend(sub);
    let sub = mosquitto_sub(peers, port, &args).unwrap();
    broker.wait_for_suback("foreign");
    let mut expected = Vec::new();
    for (qos, number) in LEVELS {
        for len in PAYLOADS {
            let topic = format!("up/{len}");
            let payload = vec![b'x'; len];
            let publish = Publish::to(&topic, &payload).qos(qos).wait(Wait::Ack);
            let outcome = client.publish(publish).unwrap().poll().unwrap();
            assert_eq!(
                outcome == Outcome::Sent,
                qos == QoS::AtMostOnce,
                "{outcome:?}"
            );
            expected.push(format!("up/{len} {number} {len}"));
        }
    }
    let finished = fiber::offload(move || sub.finish(PROCESS_TIMEOUT).unwrap()).unwrap();
    assert!(finished.status.success(), "{}", finished.stderr);
    let mut printed: Vec<_> = finished.stdout.lines().map(str::to_owned).collect();
    // The levels need not keep order among each other.
    printed.sort();
    expected.sort();
    assert_eq!(printed, expected);
}

/// Receives every payload at every QoS from `mosquitto_pub`.
fn receive_from_foreign(peers: &Peers, port: u16, client: &Client, arguments: &[&str]) {
    let received = Rc::new(RefCell::new(Vec::new()));
    let (log, all) = (Rc::clone(&received), fiber::Event::new());
    let say_all = all.clone();
    client
        .subscribe("down/#", QoS::ExactlyOnce, move |_, message| {
            assert!(message.data.iter().all(|byte| *byte == b'y'));
            let mut log = log.borrow_mut();
            log.push((message.topic.to_string(), message.qos, message.data.len()));
            if log.len() == LEVELS.len() * PAYLOADS.len() {
                say_all.set();
            }
            Ok(())
        })
        .unwrap();
    let folder = tests::temp_dir::TempDir::new("payloads");
    let mut expected = Vec::new();
    for (qos, number) in LEVELS {
        for len in PAYLOADS {
            let file = folder.write(&len.to_string(), vec![b'y'; len]);
            let topic = format!("down/{len}");
            let mut args = vec!["-t", &topic, "-q", number];
            let file = file.display().to_string();
            if len == 0 {
                args.push("-n");
            } else {
                args.extend(["-f", &file]);
            }
            args.extend(arguments);
            foreign_publish(peers, port, args.into_iter().map(str::to_owned).collect());
            expected.push((topic, qos, len));
        }
    }
    all.wait().unwrap();
    assert_eq!(*received.borrow(), expected);
    client.unsubscribe("down/#").unwrap();
}

#[test]
fn messages_pass_both_ways_over_tcp() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    run(move || {
        let port = broker.port(Listener::Plain);
        let client = connect(dial(port, None).unwrap(), options("ours"));
        publish_to_foreign(&peers, &broker, &client, &[]);
        receive_from_foreign(&peers, port, &client, &[]);
        assert_eq!(client.close(LIMIT).unwrap(), mqtt::Remaining::default());
        broker.wait_for_log("Client ours disconnected");
    });
}

#[test]
fn messages_pass_both_ways_over_tls() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let broker = Options::new(&peers).tls(&pki.server).start().unwrap();
    run(move || {
        let folder = tests::temp_dir::TempDir::new("authority");
        let authority = folder.write("authority.crt", pki.authority.certificate());
        let foreign = ["--cafile", authority.to_str().unwrap()];
        let port = broker.port(Listener::Tls);
        let tls = ClientTlsOptions::new(trust(pki.authority.certificate()))
            .build()
            .unwrap();
        let socket = dial(port, Some(tls)).unwrap();
        assert!(socket.is_tls());
        let client = connect(socket, options("ours"));
        publish_to_foreign(&peers, &broker, &client, &foreign);
        receive_from_foreign(&peers, port, &client, &foreign);
        assert_eq!(client.close(LIMIT).unwrap(), mqtt::Remaining::default());
        broker.wait_for_log("Client ours disconnected");
    });
}

/// Connects over mutual TLS; an error may come from the dial or only at the first read.
fn connect_mutual(
    port: u16,
    pki: &Pki,
    identity: Option<&pki::Identity>,
) -> Result<Client, Box<dyn std::error::Error>> {
    let mut tls = ClientTlsOptions::new(trust(pki.authority.certificate()));
    if let Some(identity) = identity {
        let (certificate, key) = (&identity.certificate, &identity.key);
        tls = tls.identity(Identity::from_pem(certificate.as_bytes(), key.as_bytes())?);
    }
    let client = Client::over(dial(port, Some(tls.build()?))?, options("ours"));
    client.connect()?;
    Ok(client)
}

#[test]
fn mutual_tls_lets_in_the_right_certificate_and_says_why_no_other() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let broker = Options::new(&peers)
        .mutual_tls(&pki.server, pki.authority.certificate())
        .start()
        .unwrap();
    run(move || {
        let port = broker.port(Listener::MutualTls);
        let client = connect_mutual(port, &pki, Some(&pki.client)).unwrap();
        let publish = Publish::to("a", "x").qos(QoS::AtLeastOnce).wait(Wait::Ack);
        client.publish(publish).unwrap();
        client.close(LIMIT).unwrap();
        for identity in [Some(&pki.wrong_authority_client), None] {
            let error = connect_mutual(port, &pki, identity).unwrap_err();
            let text = format!("{error}");
            assert!(
                text.contains("certificate") || text.contains("authority"),
                "expected the refusal of the certificate, found {text}"
            );
        }
    });
}

/// The kind of TLS error that a dial ended with.
fn tls_error(dialled: Result<Socket, safe_rt::Error>) -> (TlsErrorKind, String) {
    let error = dialled.map(|_| ()).unwrap_err();
    assert_eq!(error.phase(), Phase::Tls, "{error}");
    (
        TlsError::of(&error).expect("a TLS error").kind(),
        error.to_string(),
    )
}

#[test]
fn a_wrong_authority_and_a_wrong_host_name_are_refused_with_their_own_error() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let good = Options::new(&peers).tls(&pki.server).start().unwrap();
    let wrong_name = Options::new(&peers)
        .tls(&pki.wrong_name_server)
        .start()
        .unwrap();
    run(move || {
        let right = || {
            ClientTlsOptions::new(trust(pki.authority.certificate()))
                .build()
                .unwrap()
        };
        let port = good.port(Listener::Tls);
        // One authority has another name, the other the same name and another key.
        let other = pki::Authority::new("another authority");
        let wrong = [
            (other.certificate(), TlsErrorKind::UnknownIssuer),
            (
                pki.wrong_authority.certificate(),
                TlsErrorKind::BadCertificate,
            ),
        ];
        for (authority, expected) in wrong {
            let tls = ClientTlsOptions::new(trust(authority)).build().unwrap();
            let (kind, text) = tls_error(dial(port, Some(tls)));
            assert_eq!(kind, expected, "{text}");
        }
        let named = wrong_name.port(Listener::Tls);
        let (kind, text) = tls_error(dial_host("localhost", named, Some(right())));
        assert_eq!(kind, TlsErrorKind::NameMismatch, "{text}");
        assert!(text.contains("localhost"), "{text}");
        // The same certificate is good under the name it has.
        drop(dial_host("localhost", port, Some(right())).unwrap());
    });
}

#[test]
fn a_plain_client_at_a_tls_port_and_the_reverse_end_in_an_error() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let broker = Options::new(&peers).tls(&pki.server).start().unwrap();
    run(move || {
        let plain = Client::over(
            dial(broker.port(Listener::Tls), None).unwrap(),
            options("ours"),
        );
        assert!(matches!(plain.connect(), Err(Error::Wait(_))));
        let tls = ClientTlsOptions::new(trust(pki.authority.certificate()))
            .build()
            .unwrap();
        let error = dial(broker.port(Listener::Plain), Some(tls))
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.phase(), Phase::Tls, "{error}");
    });
}

#[test]
fn refused_credentials_are_refused_with_the_brokers_reason() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers)
        .password("meter", "secret")
        .start()
        .unwrap();
    run(move || {
        let port = broker.port(Listener::Plain);
        let attempt =
            |options: ClientOptions| Client::over(dial(port, None).unwrap(), options).connect();
        attempt(options("ours").credentials("meter", Some("secret"))).unwrap();
        for refused in [
            options("ours").credentials("meter", Some("wrong")),
            options("ours"),
        ] {
            let error = attempt(refused).unwrap_err();
            assert!(
                matches!(error, Error::Refused(ConnectReason::NotAuthorized)),
                "{error:?}"
            );
        }
    });
}

#[test]
fn a_refused_subscription_is_an_error_value_and_the_connection_goes_on() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers)
        .deny_subscription("secret/#")
        .start()
        .unwrap();
    run(move || {
        let client = connect(
            dial(broker.port(Listener::Plain), None).unwrap(),
            options("ours"),
        );
        let error = client
            .subscribe("secret/#", QoS::AtLeastOnce, |_, _| Ok(()))
            .unwrap_err();
        let Error::SubscribeRefused { filters } = error else {
            panic!("{error:?}")
        };
        assert_eq!(filters, ["secret/#"]);
        assert!(client.is_connected());
        let mut messages = client.subscribe_iter("open/#", QoS::AtLeastOnce).unwrap();
        client
            .publish(Publish::to("open/a", "still here").qos(QoS::AtLeastOnce))
            .unwrap();
        assert_eq!(messages.next().unwrap().unwrap().data, b"still here");
    });
}

#[test]
fn retained_messages_come_marked_and_an_empty_one_removes_them() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    run(move || {
        let client = connect(
            dial(broker.port(Listener::Plain), None).unwrap(),
            options("ours"),
        );
        let publish = |payload: &str| {
            let publish = Publish::to("state", payload)
                .qos(QoS::AtLeastOnce)
                .retain(true);
            client.publish(publish.wait(Wait::Ack)).unwrap();
        };
        publish("on");
        let mut messages = client.subscribe_iter("state", QoS::AtLeastOnce).unwrap();
        let message = messages.next().unwrap().unwrap();
        assert!(message.retain && message.data == b"on");
        drop(messages);
        publish("");
        let mut messages = client.subscribe_iter("state", QoS::AtLeastOnce).unwrap();
        let nothing = fiber::timeout(Duration::from_millis(300), || messages.next());
        assert!(matches!(nothing, Err(fiber::Elapsed(_))), "{nothing:?}");
    });
}

#[test]
fn a_killed_broker_ends_the_connection_with_a_cause_and_settles_every_ticket() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    run(move || {
        let client = connect(
            dial(broker.port(Listener::Plain), None).unwrap(),
            options("ours"),
        );
        client
            .publish(Publish::to("a", "x").qos(QoS::AtLeastOnce).wait(Wait::Ack))
            .unwrap();
        drop(broker);
        let cause = client.ended().unwrap();
        assert!(
            matches!(*cause, EndCause::ClosedByPeer | EndCause::Transport(_)),
            "{cause}"
        );
        assert!(client.publish(Publish::to("a", "x")).is_err());
    });
}

#[test]
fn thousands_of_messages_from_many_fibers_all_arrive_in_order_of_their_fiber() {
    const FIBERS: usize = 100;
    const EACH: usize = 50;
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers)
        .line("max_queued_messages 0")
        .start()
        .unwrap();
    run(move || {
        let port = broker.port(Listener::Plain);
        let client = connect(dial(port, None).unwrap(), options("ours"));
        let other = connect(dial(port, None).unwrap(), options("other"));
        let (sender, receiver) = fiber::channel(FIBERS * EACH);
        other
            .subscribe("load/+", QoS::AtLeastOnce, move |_, message| {
                let fiber: usize = message.topic["load/".len()..].parse()?;
                let number: usize = std::str::from_utf8(&message.data)?.parse()?;
                sender
                    .try_send((fiber, number))
                    .expect("there is room for all");
                Ok(())
            })
            .unwrap();
        fiber::scope(|s| {
            for n in 0..FIBERS {
                let client = &client;
                s.spawn(move || {
                    let topic = format!("load/{n}");
                    for number in 0..EACH {
                        let payload = number.to_string();
                        let publish = Publish::to(&topic, &payload).qos(QoS::AtLeastOnce);
                        client.publish(publish.wait(Wait::Ack))?;
                    }
                    Ok(())
                })
                .unwrap();
            }
            Ok::<_, mqtt::PublishError>(())
        })
        .unwrap();
        let mut next = [0; FIBERS];
        for _ in 0..FIBERS * EACH {
            let (fiber, number) = receiver.recv().unwrap().unwrap();
            assert_eq!(number, next[fiber]);
            next[fiber] += 1;
        }
    });
}
