//! The will of `agent pub` and `agent sub`: published when the program is lost, and only then.

use super::*;

const WILL: [&str; 7] = [
    "--will-topic",
    "gone/meter",
    "--will-payload",
    "no farewell",
    "--will-qos",
    "2",
    "--will-retain",
];

/// Starts a foreign subscriber to the wills, which prints what it gets.
#[track_caller]
fn watch(peers: &tests::peers::Peers, broker: &Mosquitto, id: &str) -> Running {
    let args = ["-i", id, "-t", "gone/#", "-q", "2", "-F", "%t %q %r %p"];
    let watcher = mosquitto_sub(peers, broker.port(Listener::Plain), &args).unwrap();
    broker.wait_for_suback(id);
    watcher
}

#[test]
fn the_will_of_a_killed_program_is_published_as_it_was_told() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let mut watcher = watch(&peers, &broker, "watcher");
    let mut sub = subscribed(&broker, "meter", &[&["-t", "a"], &WILL[..]].concat());
    // SIGKILL: it cannot say a word.
    sub.kill();
    let line = watcher.next_line(PROCESS_TIMEOUT).unwrap();
    assert_eq!(line, "gone/meter 2 0 no farewell");
    // It is retained for whoever comes later.
    let line = watch(&peers, &broker, "late").next_line(PROCESS_TIMEOUT);
    assert_eq!(line.unwrap(), "gone/meter 2 1 no farewell");
    // What is not said has its default: QoS 0, not retained, empty.
    let args = ["-t", "a", "--will-topic", "gone/other"];
    subscribed(&broker, "other", &args).kill();
    let line = watcher.next_line(PROCESS_TIMEOUT).unwrap();
    assert_eq!(line, "gone/other 0 0 ");
}

#[test]
fn the_will_of_a_program_that_leaves_in_order_is_not_published() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let mut watcher = watch(&peers, &broker, "watcher");
    let published = ["-i", "pub", "-t", "a", "-q", "1", "-m", "x"];
    // `sub` ends after a message, after its time, and `pub` after its message.
    let sub = subscribed(
        &broker,
        "count",
        &[&["-t", "a", "-C", "1"], &WILL[..]].concat(),
    );
    expect_success(&run(agent("pub", port, &[&published, &WILL[..]].concat())));
    expect_success(&sub.finish(PROCESS_TIMEOUT).unwrap());
    let waits = ["-i", "time", "-t", "a", "-W", "1"];
    expect_code(&run(agent("sub", port, &[&waits, &WILL[..]].concat())), 27);
    for id in ["count", "pub", "time"] {
        broker.wait_for_log(&format!("Received DISCONNECT from {id}"));
        broker.wait_for_log(&format!("Client {id} disconnected"));
    }
    let marker = ["-t", "gone/marker", "-q", "2", "-m", "nobody is"];
    expect_success(&mosquitto_pub(&peers, port, &marker).unwrap());
    let line = watcher.next_line(PROCESS_TIMEOUT).unwrap();
    assert_eq!(line, "gone/marker 2 0 nobody is");
}

#[test]
fn a_signal_ends_sub_in_order_as_it_ends_theirs() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let mut watcher = watch(&peers, &broker, "watcher");
    for signal in ["INT", "TERM"] {
        for is_ours in [true, false] {
            let id = beside::fresh("signalled");
            let words = [&["-i", &id, "-t", "a"], &WILL[..]].concat();
            let mut running = match is_ours {
                true => Running::start(&mut agent("sub", port, &words)),
                false => mosquitto_sub(&peers, port, &words),
            }
            .unwrap();
            broker.wait_for_suback(&id);
            expect_success(&mosquitto_pub(&peers, port, &["-t", "a", "-m", "x"]).unwrap());
            assert_eq!(running.next_line(PROCESS_TIMEOUT).unwrap(), "x");
            running.signal(signal);
            let finished = running.finish(PROCESS_TIMEOUT).unwrap();
            expect_success(&finished);
            assert_eq!(finished.stdout, "");
            broker.wait_for_log(&format!("Received DISCONNECT from {id}"));
            broker.wait_for_log(&format!("Client {id} disconnected"));
        }
    }
    // No answer is none, whoever ended the wait for it; theirs is killed, and its will published.
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let id = beside::fresh("asks");
        let words = ["-i", &id, "-t", "a", "-e", "b", "-m", "x"];
        let words = [&words[..], &WILL[..]].concat();
        let running = Running::start(&mut agent("request", port, &words)).unwrap();
        broker.wait_for_suback(&id);
        running.signal(signal);
        let finished = running.finish(PROCESS_TIMEOUT).unwrap();
        expect_code(&finished, code);
        let told = format!("Error: SIG{signal} came before an answer\n");
        assert_eq!(finished.stderr, told);
        broker.wait_for_log(&format!("Received DISCONNECT from {id}"));
        broker.wait_for_log(&format!("Client {id} disconnected"));
    }
    let marker = ["-t", "gone/marker", "-q", "2", "-m", "nobody is"];
    expect_success(&mosquitto_pub(&peers, port, &marker).unwrap());
    let line = watcher.next_line(PROCESS_TIMEOUT).unwrap();
    assert_eq!(line, "gone/marker 2 0 nobody is");
}
