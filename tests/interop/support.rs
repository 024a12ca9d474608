//! The support library against the real Mosquitto: what the other tests stand on.
//!
//! Mosquitto's own client talks to Mosquitto here. When one of these fails, the fault is in
//! `tests/src` or in the installation, not in this project's client.

use tests::mosquitto::{Listener, Options, StartError};
use tests::pki::Pki;
use tests::process::{Finished, PROCESS_TIMEOUT, mosquitto_pub, mosquitto_sub};
use tests::temp_dir::TempDir;

use crate::peers;

/// `mosquitto_pub`'s exit code for CONNACK return code 5.
const NOT_AUTHORIZED: i32 = 5;

#[track_caller]
fn expect_success(finished: &Finished) {
    assert!(
        finished.status.success(),
        "{:?}: {}",
        finished.status,
        finished.stderr
    );
}

#[test]
fn a_message_passes_over_plain_tcp() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let mut sub = mosquitto_sub(
        &peers,
        port,
        &["-i", "sub", "-t", "a/#", "-q", "1", "-C", "2", "-v"],
    )
    .unwrap();
    broker.wait_for_suback("sub");
    expect_success(&mosquitto_pub(&peers, port, &["-t", "a/b", "-m", "one", "-q", "1"]).unwrap());
    assert_eq!(sub.next_line(PROCESS_TIMEOUT).unwrap(), "a/b one");
    expect_success(&mosquitto_pub(&peers, port, &["-t", "a/c", "-m", "two", "-q", "0"]).unwrap());
    let finished = sub.finish(PROCESS_TIMEOUT).unwrap();
    expect_success(&finished);
    assert_eq!(finished.stdout, "a/c two\n");
}

#[test]
fn tls_is_accepted_only_with_the_right_authority_name_and_time() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let folder = TempDir::new("tls");
    let right = folder.write("right.crt", pki.authority.certificate());
    let wrong = folder.write("wrong.crt", pki.wrong_authority.certificate());
    let cases = [
        ("good", &pki.server, &right, true),
        ("wrong authority", &pki.server, &wrong, false),
        ("wrong name", &pki.wrong_name_server, &right, false),
        ("expired", &pki.expired_server, &right, false),
        (
            "server of the wrong authority",
            &pki.wrong_authority_server,
            &right,
            false,
        ),
    ];
    for (name, server, authority, accepted) in cases {
        let broker = Options::new(&peers).tls(server).start().unwrap();
        let authority = authority.to_str().unwrap();
        let port = broker.port(Listener::Tls);
        let args = ["--cafile", authority, "-t", "a", "-m", "x", "-q", "1"];
        let finished = mosquitto_pub(&peers, port, &args).unwrap();
        assert_eq!(
            finished.status.success(),
            accepted,
            "{name}: {}",
            finished.stderr
        );
    }
}

#[test]
fn mutual_tls_lets_in_only_clients_of_the_right_authority() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let folder = TempDir::new("mutual-tls");
    let authority = folder.write("authority.crt", pki.authority.certificate());
    let broker = Options::new(&peers)
        .mutual_tls(&pki.server, pki.authority.certificate())
        .start()
        .unwrap();
    let port = broker.port(Listener::MutualTls);
    let attempt = |identity: Option<(&str, &str)>| {
        let mut args = vec!["--cafile", authority.to_str().unwrap()];
        if let Some((certificate, key)) = identity {
            args.extend(["--cert", certificate, "--key", key]);
        }
        args.extend(["-t", "a", "-m", "x", "-q", "1"]);
        mosquitto_pub(&peers, port, &args).unwrap()
    };
    let paths = |identity: &tests::pki::Identity, name| {
        let (certificate, key) = identity.write(&folder, name);
        (certificate.display().to_string(), key.display().to_string())
    };
    let good = paths(&pki.client, "good");
    expect_success(&attempt(Some((&good.0, &good.1))));
    let wrong = paths(&pki.wrong_authority_client, "wrong");
    assert!(!attempt(Some((&wrong.0, &wrong.1))).status.success());
    assert!(!attempt(None).status.success());
}

#[test]
fn a_wrong_password_is_refused_with_its_return_code() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers)
        .password("meter", "secret")
        .start()
        .unwrap();
    let port = broker.port(Listener::Plain);
    let attempt = |credentials: &[&str]| {
        let args = [credentials, &["-t", "a", "-m", "x", "-q", "1"]].concat();
        mosquitto_pub(&peers, port, &args).unwrap().code()
    };
    assert_eq!(attempt(&["-u", "meter", "-P", "secret"]), Some(0));
    assert_eq!(
        attempt(&["-u", "meter", "-P", "wrong"]),
        Some(NOT_AUTHORIZED)
    );
    assert_eq!(attempt(&[]), Some(NOT_AUTHORIZED));
}

#[test]
fn one_filter_is_denied_and_the_others_are_granted() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers)
        .deny_subscription("forbidden/#")
        .start()
        .unwrap();
    let port = broker.port(Listener::Plain);
    let subscribe = |id, filter| {
        // `-E`: end after the SUBACK.
        let args = ["-i", id, "-t", filter, "-q", "1", "-E", "-d"];
        let sub = mosquitto_sub(&peers, port, &args).unwrap();
        sub.finish(PROCESS_TIMEOUT).unwrap().stdout
    };
    let denied = subscribe("denied", "forbidden/#");
    assert!(denied.contains("Subscribed (mid: 1): 128"), "{denied}");
    let granted = subscribe("granted", "allowed/#");
    assert!(granted.contains("Subscribed (mid: 1): 1"), "{granted}");
    assert!(!granted.contains("128"), "{granted}");
}

#[test]
fn two_servers_at_once_have_ports_of_their_own() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let options = Options::new(&peers)
        .tls(&pki.server)
        .mutual_tls(&pki.server, pki.authority.certificate());
    let brokers = [options.start().unwrap(), options.start().unwrap()];
    let listeners = [Listener::Plain, Listener::Tls, Listener::MutualTls];
    let mut ports: Vec<u16> = brokers
        .iter()
        .flat_map(|broker| listeners.map(|l| broker.port(l)))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 6);
}

#[test]
fn a_bad_configuration_is_an_error_that_shows_the_log() {
    let Some(peers) = peers() else { return };
    let error = Options::new(&peers)
        .line("no_such_setting 1")
        .start()
        .unwrap_err();
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn a_taken_port_is_noticed_and_the_tries_are_bounded() {
    let Some(peers) = peers() else { return };
    let held = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = format!("listener {} 127.0.0.1", held.local_addr().unwrap().port());
    let error = Options::new(&peers).line(&taken).start().unwrap_err();
    assert!(matches!(error, StartError::PortsTaken(_)), "{error}");
}
