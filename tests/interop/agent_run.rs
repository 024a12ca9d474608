//! The program `agent run` against Mosquitto: TLS with a client certificate, a broker that goes
//! away and comes back, a broker that refuses.

use std::process::Command;

use tests::mosquitto::{Listener, Options};
use tests::pki::{Identity, Pki};
use tests::process::{PROCESS_TIMEOUT, Running, mosquitto_pub, run, workspace_program};
use tests::temp_dir::TempDir;

use crate::peers;

/// `agent run` with TLS, as `identity`, against a port of this machine.
fn agent_run(folder: &TempDir, pki: &Pki, identity: &Identity, port: u16) -> Command {
    folder.write("ca.pem", pki.authority.certificate());
    folder.write("device.pem", &identity.certificate);
    folder.write("device.key", &identity.key);
    let state = folder.path().join("state");
    let config = format!(
        r#"
        [device]
        id = "meter-17"
        [cloud]
        endpoint = "mqtts://127.0.0.1:{port}"
        authority = "ca.pem"
        certificate = "device.pem"
        key = "device.key"
        keep_alive = "5s"
        [telemetry]
        topic = "up"
        interval = "100ms"
        [[subscription]]
        topic = "down/#"
        [state]
        dir = {state:?}
        "#
    );
    let mut command = Command::new(workspace_program("agent"));
    command
        .args(["run", "--config"])
        .arg(folder.write("agent.toml", config));
    command
}

#[test]
fn it_stays_connected_over_mutual_tls_through_a_restart_of_the_broker() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let folder = TempDir::new("agent-run");
    let mut broker = Options::new(&peers)
        .mutual_tls(&pki.server, pki.authority.certificate())
        .start()
        .unwrap();
    let port = broker.port(Listener::MutualTls);
    let plain = broker.port(Listener::Plain);
    let command = &mut agent_run(&folder, &pki, &pki.client, port);
    let mut agent = Running::start(command).unwrap();
    for message in ["one", "two"] {
        broker.wait_for_suback("meter-17");
        broker.wait_for_log("Received PUBLISH from meter-17 (d0, q1, r0");
        let args = ["-t", "down/a", "-m", message, "-q", "1"];
        let published = mosquitto_pub(&peers, plain, &args).unwrap();
        assert_eq!(published.code(), Some(0), "{}", published.stderr);
        let line = agent.next_line(PROCESS_TIMEOUT).unwrap();
        assert_eq!(line, format!("down/a {message}"));
        if message == "one" {
            broker.stop();
            broker.start_again().unwrap();
        }
    }
    agent.signal("TERM");
    let finished = agent.finish(PROCESS_TIMEOUT).unwrap();
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    broker.wait_for_log("Received DISCONNECT from meter-17");
    let told = finished.stderr;
    let connected = format!("connected to mqtts://127.0.0.1:{port}; the session is a new one");
    assert_eq!(told.matches(&connected).count(), 2, "{told}");
    assert!(told.contains("disconnected: "), "{told}");
    assert!(
        told.ends_with("left; the broker acknowledged everything\n"),
        "{told}"
    );
}

#[test]
fn a_broker_that_refuses_its_certificate_is_told_and_tried_again_later() {
    let Some(peers) = peers() else { return };
    let pki = Pki::new();
    let folder = TempDir::new("agent-run");
    let broker = Options::new(&peers)
        .mutual_tls(&pki.server, pki.authority.certificate())
        .start()
        .unwrap();
    let port = broker.port(Listener::MutualTls);
    let mut command = agent_run(&folder, &pki, &pki.wrong_authority_client, port);
    command.args(["--for", "3s"]);
    let finished = run(&mut command, PROCESS_TIMEOUT).unwrap();
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    let told = finished.stderr;
    let refused = told
        .lines()
        .find(|line| line.contains("the server refuses the certificate of this client"));
    assert!(
        refused.is_some_and(|line| line.contains("; next attempt in ")),
        "{told}"
    );
    assert!(!told.contains("connected to"), "{told}");
    assert!(told.contains(" kept for the next start"), "{told}");
}
