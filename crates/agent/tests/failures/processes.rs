//! What is done to a process: it sleeps, it is short of memory, it is killed and its files are damaged.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use agent::Agent;
use agent::config::Config;
use mqtt::{BrokerOptions, ClientId, ConnectReason, Faults, LocalSubscription, QoS};

use crate::support::{Running, configured, on_fibers, with_broker};
use crate::temp_dir::TempDir;

/// Nobody listens there.
const NOWHERE: &str = "mqtt://127.0.0.1:1";
const TELEMETRY: &str = "[telemetry]\ntopic = \"up\"\ninterval = \"100ms\"\n";
/// The memory that a process may have for its data, in KiB.
const DATA_KIB: usize = 32 * 1024;
/// Tells a test that it is the process with little memory: the folder for its state, if there is one.
const CHILD: &str = "FAILURES_CHILD";

fn agent_run(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.args(["run", "--config"]).arg(config);
    command.env_remove("NOTIFY_SOCKET");
    command
}

/// The same in a process of [`DATA_KIB`].
fn with_little_memory(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    let limit = format!("ulimit -d {DATA_KIB} && exec \"$0\" \"$@\"");
    limited.arg("-c").arg(limit);
    limited.arg(command.get_program()).args(command.get_args());
    limited
}

/// The number of a reading.
fn sequence(payload: &[u8]) -> u64 {
    let reading: serde_json::Value = serde_json::from_slice(payload).unwrap();
    reading["sequence"].as_u64().unwrap()
}

/// Waits for the reading with this number or a later one; returns all numbers that came.
fn up_to(readings: &LocalSubscription, last: u64) -> BTreeSet<u64> {
    let mut came = BTreeSet::new();
    while came.last().is_none_or(|number| *number < last) {
        came.insert(sequence(readings.recv().unwrap().payload()));
    }
    came
}

#[test]
fn a_machine_that_slept_asks_at_once_and_leaves_a_link_that_died_meanwhile() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-asleep");
        // By its keep-alive alone it would notice in some minutes.
        let rest = format!("keep_alive = \"10m\"\n{TELEMETRY}");
        let readings = broker.subscribe("up").unwrap();
        let config = configured(folder.path(), "meter-17", endpoint, &rest);
        let mut running = Running::start(agent_run(&config));
        let mut came = up_to(&readings, 3);
        running.signal("STOP");
        let is_dead = Faults {
            half_open: true,
            ..Faults::default()
        };
        broker.set_faults("meter-17", is_dead).unwrap();
        fiber::sleep(Duration::from_secs(11)).unwrap();
        running.signal("CONT");
        let began = Instant::now();
        running.wait_for("is the broker still there?");
        assert!(began.elapsed() < Duration::from_secs(3));
        running.wait_for("disconnected: ");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(12), "{took:?}");
        broker.set_faults("meter-17", Faults::default()).unwrap();
        running.wait_for("connected to ");
        let last = *came.last().unwrap();
        came.extend(up_to(&readings, last + 20));
        let last = *came.last().unwrap();
        assert_eq!(came, (1..=last).collect(), "readings are lost");
    });
}

/// Publishes twice as much as there is memory, without a broker.
fn fill(state: &Path) {
    let mut config = Config::new(NOWHERE.parse().unwrap());
    config
        .set_device_id(&ClientId::new("meter-17").unwrap())
        .unwrap();
    let mut builder = Agent::builder().config(config);
    if state.as_os_str() != "" {
        builder = builder.state_dir(state);
    }
    on_fibers(move || {
        let publish_all = |agent: &Agent| {
            let payload = vec![b'x'; 64 * 1024];
            for _ in 0..2 * DATA_KIB / 64 {
                agent.publish("up", &payload)?;
            }
            let stats = agent.mqtt().stats();
            assert!(stats.dropped_oldest > 500, "{stats:?}");
            assert!(agent.mqtt().unacknowledged() > 10);
            agent.stop("enough");
            Ok(())
        };
        builder.on_start(publish_all).run().unwrap();
    });
}

#[test]
fn a_queue_that_is_to_be_larger_than_memory_drops_the_oldest_and_the_process_lives() {
    if let Some(state) = std::env::var_os(CHILD) {
        return fill(Path::new(&state));
    }
    let folder = TempDir::new("agent-memory");
    for state in [folder.path().join("state"), "".into()] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name =
            "a_queue_that_is_to_be_larger_than_memory_drops_the_oldest_and_the_process_lives";
        command.args(["--nocapture", "--exact"]);
        command.arg(format!("processes::{name}"));
        let mut command = with_little_memory(&command);
        let output = command.env(CHILD, state).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{errors}");
        assert!(text.contains("1 passed"), "{text}");
    }
}

#[test]
fn what_arrives_and_is_more_than_memory_waits_at_the_broker() {
    let is_asked = Rc::new(Cell::new(false));
    let asked = Rc::clone(&is_asked);
    let broker = BrokerOptions::new()
        .queue_max(1_000, 100 * 1024 * 1024)
        .authorize_subscribe(move |_, _, _| {
            asked.set(true);
            true
        });
    with_broker(broker, move |broker, endpoint| {
        let folder = TempDir::new("agent-inbound");
        let rest = "[[subscription]]\ntopic = \"down\"\n";
        let config = configured(folder.path(), "meter-17", endpoint, rest);
        let mut running = Running::start(with_little_memory(&agent_run(&config)));
        running.wait_for("connected to ");
        while !is_asked.get() {
            fiber::sleep(Duration::from_millis(10)).unwrap();
        }
        // Nobody reads what it prints.
        let payload = vec![b'x'; 1024 * 1024];
        for _ in 0..64 {
            broker
                .publish("down", &payload, QoS::AtLeastOnce, false)
                .unwrap();
        }
        fiber::sleep(Duration::from_secs(2)).unwrap();
        running.signal("TERM");
        let (code, printed) = running.finish();
        assert_eq!(
            code,
            Some(0),
            "{}",
            &printed[printed.len().saturating_sub(2_000)..]
        );
        assert!(printed.len() > payload.len(), "{}", printed.len());
    });
}

#[test]
fn a_process_that_is_killed_and_whose_queue_is_damaged_starts_and_sends_the_rest() {
    let is_open = Rc::new(Cell::new(false));
    let opened = Rc::clone(&is_open);
    let broker = BrokerOptions::new().authenticate(move |_| match opened.get() {
        true => Ok(()),
        false => Err(ConnectReason::ServerUnavailable),
    });
    with_broker(broker, move |broker, endpoint| {
        let folder = TempDir::new("agent-damaged");
        let readings = broker.subscribe("up").unwrap();
        let config = configured(folder.path(), "meter-17", endpoint, TELEMETRY);
        let running = Running::start(agent_run(&config));
        fiber::sleep(Duration::from_secs(2)).unwrap();
        // By SIGKILL.
        drop(running);
        let queue = folder.path().join("state/queue");
        let damaged = fs::read_dir(&queue)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let damaged = damaged.filter(|path| path.extension().is_some_and(|end| end == "log"));
        let path = damaged.max().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        // In the middle, and what was being written when it was killed.
        let text = bytes
            .windows(13)
            .rposition(|part| part == b"\"sequence\":7,")
            .unwrap();
        bytes[text] ^= 0x20;
        bytes.extend_from_slice(&[0x5A; 10]);
        fs::write(&path, bytes).unwrap();

        is_open.set(true);
        let again = configured(
            folder.path(),
            "meter-17",
            endpoint,
            "[telemetry]\ntopic = \"again\"\n",
        );
        let later = broker.subscribe("again").unwrap();
        let running = Running::start(agent_run(&again));
        assert_eq!(sequence(later.recv().unwrap().payload()), 1);
        let mut came = BTreeSet::new();
        while let Some(message) = readings.try_recv() {
            came.insert(sequence(message.payload()));
        }
        let last = *came.last().unwrap();
        let missing: Vec<u64> = (1..=last).filter(|number| !came.contains(number)).collect();
        assert!(last > 10 && missing == [7], "{missing:?} of {last}");
        running.signal("TERM");
        let (code, printed) = running.finish();
        assert_eq!(code, Some(0), "{printed}");
    });
}
