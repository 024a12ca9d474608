//! The programs over TLS.

use fiber::FiberBuilder;
use safe_rt::{Identity, ServerTlsOptions};
use tests::pki::{self, Pki};

use super::*;

/// A message is published, and the time to receive in passes.
const WORKS: [(&str, &[&str], i32); 2] = [
    ("pub", &["-t", "a", "-m", "x", "-q", "1"], 0),
    ("sub", &["-t", "a", "-W", "1"], 27),
];

#[track_caller]
fn check(host: &str, port: u16, options: &[&str], failure: Option<(i32, &str)>) {
    for (tool, args, success) in WORKS {
        let finished = run(agent_at(host, tool, port, &[args, options].concat()));
        match failure {
            None => expect_code(&finished, success),
            Some((code, text)) => {
                expect_code(&finished, code);
                assert!(
                    finished.stderr.contains(text),
                    "{tool}: {}",
                    finished.stderr
                );
            }
        }
    }
}

#[test]
fn the_server_needs_the_right_authority_name_and_time() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let folder = TempDir::new("agent-tls");
    let right = folder.write("right.crt", pki.authority.certificate());
    let wrong = folder.write("wrong.crt", pki.wrong_authority.certificate());
    let authority = Some((69, "the peer's certificate"));
    let cases = [
        (&pki.server, &right, "127.0.0.1", None),
        (&pki.server, &right, "localhost", None),
        (&pki.server, &wrong, "127.0.0.1", authority),
        (&pki.wrong_authority_server, &right, "127.0.0.1", authority),
        (
            &pki.wrong_name_server,
            &right,
            "localhost",
            Some((69, "wrong.example")),
        ),
        (
            &pki.expired_server,
            &right,
            "127.0.0.1",
            Some((69, "expired")),
        ),
    ];
    for (server, cafile, host, failure) in cases {
        let broker = Options::new(&peers).tls(server).start().unwrap();
        let port = broker.port(Listener::Tls);
        check(host, port, &["--cafile", cafile.to_str().unwrap()], failure);
    }
}

#[test]
fn a_message_passes_over_tls() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let folder = TempDir::new("agent-tls");
    let cafile = folder.write("ca.crt", pki.authority.certificate());
    let broker = Options::new(&peers).tls(&pki.server).start().unwrap();
    let tls = ["--cafile", cafile.to_str().unwrap(), "-t", "a", "-q", "1"];
    let port = broker.port(Listener::Tls);
    let args = [&tls[..], &["-i", "sub", "-C", "1"]].concat();
    let sub = Running::start(&mut agent("sub", port, &args)).unwrap();
    broker.wait_for_suback("sub");
    let args = [&tls[..], &["-m", "secret"]].concat();
    expect_success(&run(agent("pub", port, &args)));
    let finished = sub.finish(PROCESS_TIMEOUT).unwrap();
    expect_success(&finished);
    assert_eq!(finished.stdout, "secret\n");
}

#[test]
fn tls_and_plain_text_do_not_mix() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let folder = TempDir::new("agent-tls");
    let cafile = folder.write("ca.crt", pki.authority.certificate());
    let broker = Options::new(&peers).tls(&pki.server).start().unwrap();
    let tls = ["--cafile", cafile.to_str().unwrap()];
    let plain_port = broker.port(Listener::Plain);
    check("127.0.0.1", plain_port, &tls, Some((69, "TLS handshake")));
    let lost = Some((69, "did not accept the connection"));
    check("127.0.0.1", broker.port(Listener::Tls), &[], lost);
}

#[test]
fn a_server_that_asks_for_a_certificate_gets_it() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let folder = TempDir::new("agent-mutual-tls");
    let cafile = folder.write("ca.crt", pki.authority.certificate());
    let broker = Options::new(&peers)
        .mutual_tls(&pki.server, pki.authority.certificate())
        .start()
        .unwrap();
    let port = broker.port(Listener::MutualTls);
    let check_with = |identity: Option<(&pki::Identity, &str)>, failure| {
        let paths = identity.map(|(identity, name)| identity.write(&folder, name));
        let mut options = vec!["--cafile", cafile.to_str().unwrap()];
        if let Some((certificate, key)) = &paths {
            let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
            options.extend(["--cert", certificate, "--key", key]);
        }
        check("127.0.0.1", port, &options, failure);
    };
    check_with(Some((&pki.client, "good")), None);
    check_with(None, Some((69, "has no certificate to show")));
    let stranger = Some((&pki.wrong_authority_client, "wrong"));
    check_with(
        stranger,
        Some((69, "refuses the certificate of this client")),
    );
}

#[test]
fn the_application_protocol_is_offered() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let folder = TempDir::new("agent-alpn");
    let cafile = folder.write("ca.crt", pki.authority.certificate());
    let broker = Options::new(&peers).tls(&pki.server).start().unwrap();
    let options = |protocol| ["--cafile", cafile.to_str().unwrap(), "--tls-alpn", protocol];
    let port = broker.port(Listener::Tls);
    check("127.0.0.1", port, &options("mqtt"), None);
    // What a server sees of it.
    let (port, server) = alpn_server(&pki);
    let args = [&["-t", "a", "-n"][..], &options("x-amzn-mqtt-ca")].concat();
    expect_code(&run(agent("pub", port, &args)), 69);
    assert_eq!(
        server.join().unwrap().as_deref(),
        Some(&b"x-amzn-mqtt-ca"[..])
    );
}

/// Accepts one TLS connection, closes it, and tells the protocol that was agreed on.
fn alpn_server(pki: &Pki) -> (u16, thread::JoinHandle<Option<Vec<u8>>>) {
    let pki::Identity {
        certificate, key, ..
    } = pki.server.clone();
    let (tell_port, port) = std::sync::mpsc::channel();
    let server = move || {
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let tls = ServerTlsOptions::new(identity)
            .alpn(["mqtt", "x-amzn-mqtt-ca"])
            .build()
            .unwrap();
        let listener = safe_rt::Listener::bind_tls(([127, 0, 0, 1], 0).into(), tls).unwrap();
        tell_port
            .send(listener.local_addr().unwrap().port())
            .unwrap();
        let mut serving = FiberBuilder::new()
            .spawn(move || {
                let socket = listener.accept().unwrap().handshake().unwrap();
                let alpn = socket.alpn().map(<[u8]>::to_vec);
                socket.close().unwrap();
                alpn
            })
            .unwrap();
        let served = fiber::timeout(PROCESS_TIMEOUT, || serving.join());
        served.unwrap().unwrap()
    };
    let thread = thread::spawn(move || fiber::run(server).unwrap());
    (port.recv_timeout(PROCESS_TIMEOUT).unwrap(), thread)
}
