//! TLS against Mosquitto, in both versions: who is let in, who is not, and what is said then.

use std::time::Duration;

use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Wait};
use safe_rt::{
    ClientTls, ClientTlsOptions, DialOptions, Endpoint, Error, Phase, Pin, Scheme, Socket,
    TlsError, TlsErrorKind, TlsVersion, Trust, stats,
};
use tests::mosquitto::{Listener, Mosquitto, Options};
use tests::peers::Peers;
use tests::pki::{Identity, Pki};
use tests::process::PROCESS_TIMEOUT;

use crate::peers;

/// Versions, and what Mosquitto calls each as the lowest that it accepts. Our client insists on its one.
const VERSIONS: [(TlsVersion, &str); 2] = [
    (TlsVersion::Tls12, "tlsv1.2"),
    (TlsVersion::Tls13, "tlsv1.3"),
];
const LIMIT: Duration = Duration::from_secs(10);

/// Runs a test in each version, on a fiber, and for no longer than a foreign program may take.
#[track_caller]
fn in_both(peers: &Peers, test: fn(TlsVersion, Options)) {
    for (version, name) in VERSIONS {
        let options = Options::new(peers).tls_version(name);
        fiber::run(move || {
            let in_time = fiber::timeout(PROCESS_TIMEOUT, || test(version, options));
            assert!(in_time.is_ok(), "it took longer than {PROCESS_TIMEOUT:?}");
        })
        .unwrap();
    }
}

fn trust(pki: &Pki) -> Trust {
    Trust::from_pem(pki.authority.certificate().as_bytes()).unwrap()
}

fn believing(version: TlsVersion, trust: Trust) -> ClientTls {
    let options = ClientTlsOptions::new(trust).version(version);
    options.build().unwrap()
}

/// A client that has this identity, if any.
fn showing(version: TlsVersion, pki: &Pki, own: Option<&Identity>) -> ClientTls {
    let options = ClientTlsOptions::new(trust(pki)).version(version);
    let options = match own {
        Some(own) => {
            let (certificate, key) = (own.certificate.as_bytes(), own.key.as_bytes());
            options.identity(safe_rt::Identity::from_pem(certificate, key).unwrap())
        }
        None => options,
    };
    options.build().unwrap()
}

fn dial(broker: &Mosquitto, listener: Listener, tls: &ClientTls) -> Result<Socket, Error> {
    safe_rt::dial(
        &endpoint(broker, listener),
        &DialOptions::new().tls(tls.clone()),
    )
}

fn endpoint(broker: &Mosquitto, listener: Listener) -> Endpoint {
    let authority = format!("localhost:{}", broker.port(listener));
    Endpoint::new(Scheme::Mqtts, &authority).unwrap()
}

/// Connects, sends a message at QoS 1, gets it back, and leaves.
#[track_caller]
fn exchange(socket: Socket) {
    let options = ClientOptions::new(ClientId::new("ours").unwrap());
    let client = Client::over(socket, options);
    client.connect().unwrap();
    let mut messages = client.subscribe_iter("a/#", QoS::AtLeastOnce).unwrap();
    let publish = Publish::to("a/b", "there and back").qos(QoS::AtLeastOnce);
    client.publish(publish.wait(Wait::Ack)).unwrap();
    let message = messages.next().unwrap().unwrap();
    assert_eq!(message.data, b"there and back");
    assert_eq!(message.qos, QoS::AtLeastOnce);
    drop(messages);
    client.close(LIMIT).unwrap();
}

/// Checks what kind of failure it is, and that its text says `words`.
#[track_caller]
fn expect(error: &(impl std::error::Error + 'static), kind: TlsErrorKind, words: &[&str]) {
    let found = TlsError::of(error).map(TlsError::kind);
    assert_eq!(found, Some(kind), "{error}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text:?}");
    }
}

#[test]
fn messages_pass_at_qos_1_in_both_versions() {
    let Some(peers) = peers() else { return };
    in_both(&peers, |version, options| {
        let pki = Pki::new();
        let broker = options.tls(&pki.server).start().unwrap();
        let socket = dial(&broker, Listener::Tls, &showing(version, &pki, None)).unwrap();
        assert_eq!(socket.tls_version(), Some(version));
        exchange(socket);
        broker.wait_for_log("Client ours disconnected");
    });
}

#[test]
fn mosquitto_takes_our_certificate_and_says_of_each_other_one_what_is_wrong() {
    let Some(peers) = peers() else { return };
    in_both(&peers, |version, options| {
        let pki = Pki::new();
        let revoked = pki.authority.client("revoked client");
        let broker = options
            .mutual_tls(&pki.server, pki.authority.certificate())
            .revoked_clients(&pki.authority.revoke(&[&revoked]))
            .start()
            .unwrap();
        let attempt = |own: Option<&Identity>| {
            dial(&broker, Listener::MutualTls, &showing(version, &pki, own))
        };
        let socket = attempt(Some(&pki.client)).unwrap();
        assert_eq!(socket.tls_version(), Some(version));
        exchange(socket);

        let refused = |own: Option<&Identity>, kind, words: &[&str]| match attempt(own) {
            Err(error) => {
                assert_eq!(version, TlsVersion::Tls12, "{error}");
                assert_eq!(error.phase(), Phase::Tls, "{error}");
                expect(&error, kind, words);
            }
            // With TLS 1.3 the first read tells, which is the client's for the CONNACK.
            Ok(socket) => {
                assert_eq!(version, TlsVersion::Tls13);
                let options = ClientOptions::new(ClientId::new("ours").unwrap());
                let error = Client::over(socket, options).connect().unwrap_err();
                expect(&error, kind, words);
            }
        };
        let ours = "refuses the certificate of this client";
        let kind = TlsErrorKind::CertificateRefused;
        refused(
            Some(&revoked),
            kind,
            &[ours, "revoked client", "CertificateRevoked"],
        );
        refused(
            Some(&pki.wrong_authority_client),
            kind,
            &[ours, "test client"],
        );
        // TLS 1.2 has no alert of its own for the lack of one.
        match version {
            TlsVersion::Tls12 => refused(None, TlsErrorKind::Alert, &["HandshakeFailure"]),
            _ => refused(None, kind, &["has no certificate to show"]),
        }
        // None of it has harmed the others.
        exchange(attempt(Some(&pki.client)).unwrap());
    });
}

#[test]
fn what_is_wrong_with_the_certificate_of_mosquitto_is_said() {
    let Some(peers) = peers() else { return };
    in_both(&peers, |version, options| {
        let pki = Pki::new();
        let cases = [
            (
                &pki.wrong_name_server,
                TlsErrorKind::NameMismatch,
                "wrong.example",
            ),
            (&pki.expired_server, TlsErrorKind::Expired, "2000-01-02"),
            // The same name as the trusted authority, and another key.
            (
                &pki.wrong_authority_server,
                TlsErrorKind::BadCertificate,
                "",
            ),
        ];
        for (server, kind, word) in cases {
            let broker = options.clone().tls(server).start().unwrap();
            let error = dial(&broker, Listener::Tls, &showing(version, &pki, None)).unwrap_err();
            assert_eq!(error.phase(), Phase::Tls, "{error}");
            expect(&error, kind, &["localhost", word]);
            broker.wait_for_log("alert");
        }
    });
}

#[test]
fn a_revoked_mosquitto_is_refused_and_another_one_is_not() {
    let Some(peers) = peers() else { return };
    in_both(&peers, |version, options| {
        let pki = Pki::new();
        let broker = options.tls(&pki.server).start().unwrap();
        let with = |revoked: &Identity| {
            let list = pki.authority.revoke(&[revoked]);
            believing(version, trust(&pki).crl_pem(list.as_bytes()).unwrap())
        };
        exchange(dial(&broker, Listener::Tls, &with(&pki.expired_server)).unwrap());
        let error = dial(&broker, Listener::Tls, &with(&pki.server)).unwrap_err();
        let serial = pki.server.serial.to_be_bytes();
        let serial = serial.iter().skip_while(|byte| **byte == 0);
        let serial: Vec<_> = serial.map(|byte| format!("{byte:02X}")).collect();
        let words = ["the server's certificate is revoked", &serial.join(":")];
        expect(&error, TlsErrorKind::Revoked, &words);
        broker.wait_for_log("certificate revoked");
    });
}

#[test]
fn a_pinned_key_of_mosquitto_is_enough_and_another_one_is_told() {
    let Some(peers) = peers() else { return };
    in_both(&peers, |version, options| {
        let pki = Pki::new();
        // Nobody knows its authority, and its time is over.
        let server = pki.wrong_authority.expired_server(&["wrong.example"]);
        let broker = options.tls(&server).start().unwrap();
        let pin = |own: &Identity| Pin::of_certificate(own.certificate.as_bytes()).unwrap();
        let right = Trust::pins([pin(&server)]).unwrap();
        exchange(dial(&broker, Listener::Tls, &believing(version, right)).unwrap());

        let other = Trust::pins([pin(&pki.server)]).unwrap();
        let error = dial(&broker, Listener::Tls, &believing(version, other)).unwrap_err();
        let found = pin(&server).to_string();
        expect(&error, TlsErrorKind::PinMismatch, &[&found]);
    });
}

#[test]
fn a_session_with_mosquitto_is_resumed_and_counted() {
    let Some(peers) = peers() else { return };
    in_both(&peers, |version, options| {
        let pki = Pki::new();
        let broker = options
            .mutual_tls(&pki.server, pki.authority.certificate())
            .start()
            .unwrap();
        let tls = showing(version, &pki, Some(&pki.client));
        let before = stats();
        for resumed in [false, true, true] {
            let socket = dial(&broker, Listener::MutualTls, &tls).unwrap();
            assert_eq!(socket.is_resumed(), resumed);
            // It reads the ticket of TLS 1.3, too.
            exchange(socket);
        }
        let now = stats();
        assert_eq!(now.handshakes_full - before.handshakes_full, 1);
        assert_eq!(now.handshakes_resumed - before.handshakes_resumed, 2);
        // Who is believed from now on was not asked for the sessions.
        tls.set_trust(trust(&pki)).unwrap();
        let socket = dial(&broker, Listener::MutualTls, &tls).unwrap();
        assert!(!socket.is_resumed());
    });
}
