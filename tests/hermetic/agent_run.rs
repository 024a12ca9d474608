//! The program `agent run` against the embedded broker: what it publishes and prints, and how it
//! ends. The program is a process of its own, so that signals, outputs and exit codes are real.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use mqtt::{Broker, BrokerOptions, Client, ClientId, ClientOptions, ConnectReason, QoS};
use safe_rt::{DialOptions, Listener};
use tests::process::{self, Finished, PROCESS_TIMEOUT, Running, workspace_program};
use tests::temp_dir::TempDir;

/// Far longer than any of these takes, starting the program included.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn agent() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PROGRAM.get_or_init(|| workspace_program("agent")))
}

pub(crate) fn agent_run(config: &Path) -> Command {
    let mut command = agent();
    command.arg("run").arg("--config").arg(config);
    command
}

#[track_caller]
fn finish(mut command: Command) -> Finished {
    process::run(&mut command, PROCESS_TIMEOUT).unwrap()
}

/// Writes a configuration that nobody else may read.
pub(crate) fn configured(folder: &TempDir, endpoint: &str, rest: &str) -> PathBuf {
    let state = folder.path().join("state");
    let text = format!(
        "[device]\nid = \"meter-17\"\n[cloud]\nendpoint = \"{endpoint}\"\n{rest}\n\
         [state]\ndir = {state:?}\n"
    );
    let path = folder.write("agent.toml", text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Runs `body` with a broker on a port of this machine.
#[track_caller]
fn with_broker(options: BrokerOptions, body: impl FnOnce(&Broker, &str) + 'static) {
    agent();
    let serve = move || {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let endpoint = format!("mqtt://{}", listener.local_addr().unwrap());
        let broker = Broker::new(options);
        broker.serve(listener).unwrap();
        body(&broker, &endpoint);
        broker.stop();
    };
    let served = fiber::run(move || fiber::timeout(LIMIT, serve).map_err(|_| "it took too long"));
    served.unwrap().unwrap();
}

/// Connects another client, to a session that the broker has kept.
#[track_caller]
fn connect(endpoint: &str, client_id: &str) -> Client {
    let socket = safe_rt::dial(&endpoint.parse().unwrap(), &DialOptions::new()).unwrap();
    let options = ClientOptions::new(ClientId::new(client_id).unwrap()).clean_start(false);
    let client = Client::over(socket, options);
    assert!(client.connect().unwrap(), "the session was kept");
    client
}

/// Reads a line of the program while the broker goes on.
#[track_caller]
fn next_line(mut running: Running) -> (Running, String) {
    let read = move || {
        let line = running.next_line(PROCESS_TIMEOUT).unwrap();
        (running, line)
    };
    fiber::offload(read).unwrap()
}

/// Ends the program by a signal while the broker goes on.
#[track_caller]
fn stop(running: Running, signal: &'static str) -> Finished {
    let end = move || {
        running.signal(signal);
        running.finish(PROCESS_TIMEOUT).unwrap()
    };
    fiber::offload(end).unwrap()
}

/// The value of a number in a flat JSON object.
#[track_caller]
pub(crate) fn number(json: &str, name: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap();
    let end = rest.find([',', '}']).unwrap();
    rest[..end].parse().unwrap()
}

#[test]
fn it_publishes_telemetry_prints_what_arrives_and_leaves_in_order_on_sigterm() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-run");
        let rest = "[telemetry]\ntopic = \"up\"\ninterval = \"100ms\"\nqos = 2\n\
                    [[subscription]]\ntopic = \"down/#\"\nqos = 2\n\
                    [[subscription]]\ntopic = \"other\"\nqos = 0\n";
        let cloud = broker.subscribe("up").unwrap();
        // Retained, so that it does not matter who is first.
        for (topic, payload, qos) in [
            ("down/valve", "open", QoS::ExactlyOnce),
            ("other", "two words", QoS::AtMostOnce),
        ] {
            broker
                .publish(topic, payload.as_bytes(), qos, true)
                .unwrap();
        }
        let mut command = agent_run(&configured(&folder, endpoint, rest));
        let running = Running::start(&mut command).unwrap();
        for sequence in 1..=3 {
            let reading = cloud.recv().unwrap();
            let text = String::from_utf8(reading.payload().to_vec()).unwrap();
            assert!(
                text.starts_with("{\"schema\":1,\"device\":\"meter-17\",") && text.ends_with('}'),
                "{text}"
            );
            assert_eq!(number(&text, "sequence"), f64::from(sequence));
            assert!(number(&text, "uptime_secs") < LIMIT.as_secs_f64());
            assert!(number(&text, "received") <= 2.0, "{text}");
            if cfg!(target_os = "linux") {
                assert!(number(&text, "memory_available_bytes") > 0.0);
                assert!(number(&text, "load") >= 0.0);
            }
        }
        let (running, first) = next_line(running);
        let (running, second) = next_line(running);
        let mut lines = [first, second];
        lines.sort();
        assert_eq!(lines, ["down/valve open", "other two words"]);

        let finished = stop(running, "TERM");
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        assert_eq!(finished.stdout, "");
        for line in [
            format!("connected to {endpoint}; the session is a new one"),
            "stopping: SIGTERM".to_owned(),
            "left; the broker acknowledged everything".to_owned(),
        ] {
            assert!(finished.stderr.contains(&line), "{}", finished.stderr);
        }
        assert_eq!(finished.stderr.lines().count(), 3, "{}", finished.stderr);
    });
}

#[test]
fn a_signal_makes_it_print_its_fibers() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-run");
        let rest = "[[subscription]]\ntopic = \"down\"\n";
        broker
            .publish("down", b"before", QoS::AtLeastOnce, true)
            .unwrap();
        let mut command = agent_run(&configured(&folder, endpoint, rest));
        let (running, line) = next_line(Running::start(&mut command).unwrap());
        assert_eq!(line, "down before");
        // It listens to signals before it connects, and goes on after this one.
        running.signal("USR1");
        broker
            .publish("down", b"after", QoS::AtLeastOnce, false)
            .unwrap();
        let (running, line) = next_line(running);
        assert_eq!(line, "down after");
        let finished = stop(running, "TERM");
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        let told: Vec<_> = finished.stderr.lines().collect();
        let main = told
            .iter()
            .find(|line| line.starts_with("fiber 0 \"main\" runs, "));
        assert!(
            main.is_some_and(|line| line.contains("spawned at ")),
            "{told:?}"
        );
        let waiting = told.iter().filter(|line| {
            line.starts_with("fiber ") && line.contains(" waits for ") && line.contains(" turn")
        });
        assert!(waiting.count() >= 1, "{told:?}");
        assert!(finished.stderr.contains("stopping: SIGTERM"), "{told:?}");
    });
}

#[test]
fn it_connects_again_after_a_lost_connection_and_ends_on_sigint() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-run");
        let rest = "[telemetry]\ntopic = \"up\"\ninterval = \"100ms\"\n\
                    [[subscription]]\ntopic = \"down\"\n";
        let cloud = broker.subscribe("up").unwrap();
        broker
            .publish("down", b"before", QoS::AtLeastOnce, true)
            .unwrap();
        let mut command = agent_run(&configured(&folder, endpoint, rest));
        let (running, line) = next_line(Running::start(&mut command).unwrap());
        assert_eq!(line, "down before");

        // Another client with the same identifier: the broker ends the connection of the first.
        let intruder = connect(endpoint, "meter-17");
        while cloud.try_recv().is_some() {}
        intruder.ended().unwrap();

        // The agent is back, and has the session.
        cloud.recv().unwrap();
        broker
            .publish("down", b"after", QoS::AtLeastOnce, false)
            .unwrap();
        let (mut running, mut line) = next_line(running);
        if line == "down before" {
            // Its acknowledgement was on the way when the connection ended.
            (running, line) = next_line(running);
        }
        assert_eq!(line, "down after");
        let finished = stop(running, "INT");
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        let told = finished.stderr;
        for text in [
            "disconnected: the broker closed the connection, ",
            "; next attempt in ",
            "the session is a kept one",
            "stopping: SIGINT",
        ] {
            assert!(told.contains(text), "{told}");
        }
    });
}

#[test]
fn without_a_broker_it_goes_on_trying_and_ends_when_its_time_is_over() {
    let folder = TempDir::new("agent-run");
    let endpoint = format!("mqtt://127.0.0.1:{}", free_port());
    let mut command = agent_run(&configured(&folder, &endpoint, ""));
    command.args(["--for", "2s"]);
    let finished = finish(command);
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    let told = finished.stderr;
    let found = told.contains("no connection: connecting to 127.0.0.1:");
    assert!(found && told.contains("; next attempt in "), "{told}");
    assert_eq!(
        told.matches("Nobody listens at this port").count(),
        1,
        "{told}"
    );
    assert!(
        told.contains("stopping: the time of --for is over"),
        "{told}"
    );
}

#[test]
fn what_is_not_acknowledged_when_it_leaves_is_told() {
    let folder = TempDir::new("agent-run");
    let endpoint = format!("mqtt://127.0.0.1:{}", free_port());
    let rest = "[telemetry]\ntopic = \"up\"\ninterval = \"1h\"\n";
    let mut command = agent_run(&configured(&folder, &endpoint, rest));
    command.args(["--for", "1s"]);
    let finished = finish(command);
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    let told = finished.stderr;
    assert!(
        told.contains("left; 1 message kept for the next start"),
        "{told}"
    );
}

#[test]
fn a_reader_that_leaves_ends_it_and_what_it_did_not_print_is_not_acknowledged() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-run");
        let rest = "[[subscription]]\ntopic = \"down\"\n";
        let config = configured(&folder, endpoint, rest);
        broker
            .publish("down", b"first", QoS::AtLeastOnce, true)
            .unwrap();
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "\"$@\" | head -n 1", "sh"])
            .arg(agent().get_program())
            .args(["run", "--config"])
            .arg(&config);
        let (running, line) = next_line(Running::start(&mut shell).unwrap());
        assert_eq!(line, "down first");
        // The reader is gone, or is about to be.
        while broker.stats().connections > 0 {
            broker
                .publish("down", b"more", QoS::AtLeastOnce, false)
                .unwrap();
            fiber::sleep(Duration::from_millis(20)).unwrap();
        }
        let finished = fiber::offload(move || running.finish(PROCESS_TIMEOUT).unwrap()).unwrap();
        let told = &finished.stderr;
        assert!(told.contains("what arrives cannot be printed"), "{told}");

        // The broker has kept what was sent and not printed, for whoever takes the session over.
        let heir = connect(endpoint, "meter-17");
        let first = heir
            .subscribe_iter("down", QoS::AtLeastOnce)
            .unwrap()
            .next();
        let first = first.unwrap().unwrap();
        assert!(first.dup && first.data == *b"more", "{first:?}");
    });
}

#[test]
fn a_reader_that_reads_nothing_does_not_keep_it_from_leaving_in_order() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-run");
        let rest = "[telemetry]\ntopic = \"up\"\ninterval = \"100ms\"\n\
                    [[subscription]]\ntopic = \"down\"\n";
        let cloud = broker.subscribe("up").unwrap();
        // More than a pipe takes.
        let payload = vec![b'x'; 512 * 1024];
        broker
            .publish("down", &payload, QoS::AtLeastOnce, true)
            .unwrap();
        let mut command = agent_run(&configured(&folder, endpoint, rest));
        // Should the test fail, it ends by itself.
        command.args(["--for", "1m"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let unread = child.stdout.take();
        while !String::from_utf8_lossy(cloud.recv().unwrap().payload()).contains("\"received\":1") {
        }
        let end = move || {
            process::send_signal(child.id(), "TERM");
            child.wait_with_output().unwrap()
        };
        let finished = fiber::offload(end).unwrap();
        drop(unread);
        let told = String::from_utf8(finished.stderr).unwrap();
        assert_eq!(finished.status.code(), Some(0), "{told}");
        assert!(told.contains("what arrived last was not printed"), "{told}");
    });
}

#[test]
fn a_faulty_configuration_is_told_whole_and_starts_nothing() {
    let folder = TempDir::new("agent-run");
    let rest = "keep_alive = 30\n[telemetri]\n";
    let config = configured(&folder, "mqtts://127.0.0.1", rest);
    let finished = finish(agent_run(&config));
    assert_eq!(finished.code(), Some(78), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");
    let told = finished.stderr;
    for code in ["error[C009]", "error[C004]"] {
        assert!(told.contains(code), "{told}");
    }
    assert!(told.ends_with("2 errors, nothing was started\n"), "{told}");

    let finished = finish(agent_run(&folder.path().join("missing.toml")));
    assert_eq!(finished.code(), Some(66));
    assert!(
        finished.stderr.starts_with("error[C001]"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_command_line_that_is_not_understood_has_the_code_of_services() {
    for args in [
        &["run", "--set", "user=a"][..],
        &["run", "--config", "a", "--for", "30"],
    ] {
        let mut command = agent();
        command.args(args);
        let finished = finish(command);
        assert_eq!(finished.code(), Some(64), "{}", finished.stderr);
        assert!(finished.stderr.contains("Use 'agent run --help'"));
    }
}

#[test]
fn the_password_may_come_from_the_environment_and_is_never_shown() {
    let options = BrokerOptions::new().authenticate(|connect| {
        match (connect.fields().user_name, connect.fields().password) {
            (Some("meter"), Some(b"hunter2")) => Ok(()),
            _ => Err(ConnectReason::BadUserNameOrPassword),
        }
    });
    with_broker(options, |broker, endpoint| {
        let folder = TempDir::new("agent-run");
        let rest = "user = \"meter\"\npassword_env = \"AGENT_TEST_PASSWORD\"\n\
                    [telemetry]\ntopic = \"up\"\n";
        let cloud = broker.subscribe("up").unwrap();
        let mut command = agent_run(&configured(&folder, endpoint, rest));
        command.arg("-d").env("AGENT_TEST_PASSWORD", "hunter2");
        let running = Running::start(&mut command).unwrap();
        cloud.recv().unwrap();
        let finished = stop(running, "TERM");
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
    });
}
