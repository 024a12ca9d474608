//! How the programs end: exit codes, the same as Mosquitto's where those are certain, and else those of
//! `sysexits.h`.

use super::*;

/// Says what the program said at its end.
#[track_caller]
fn expect_error(finished: &Finished, code: i32, text: &str) {
    expect_code(finished, code);
    assert!(finished.stderr.contains(text), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");
}

#[test]
fn what_goes_wrong_before_a_connection_has_a_code_where_mosquittos_programs_say_1() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let nobody = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let cases = [
        (nobody, &["-t", "a", "-m", "x"][..], 69, "refused"),
        (port, &["-t", "a", "-f", "/nonexistent"], 66, "/nonexistent"),
        (
            port,
            &["-t", "a", "-m", "x", "--cafile", "/nonexistent"],
            66,
            "/nonexistent",
        ),
        (port, &["-t", "a"], 64, "no message"),
        (port, &["-t", "a/#", "-m", "x"], 64, "topic"),
        (port, &["-t", "a", "-m", "x", "-n"], 64, "only one"),
        (port, &["-t", "a", "-m", "x", "-q", "3"], 64, "QoS"),
        (port, &["-t", "a", "-m", "x", "-v"], 64, "'-v'"),
        (port, &["-t", "a", "-m", "x", "-P", "x"], 64, "-u"),
        (port, &["-t", "a", "-m", "x", "-c"], 64, "-i"),
    ];
    for (port, args, code, text) in cases {
        let theirs = mosquitto_pub(&peers, port, args).unwrap();
        let ours = run(agent("pub", port, args));
        assert_eq!(theirs.code(), Some(1), "{args:?}: {}", theirs.stderr);
        expect_error(&ours, code, text);
    }
    let refused = run(agent("sub", nobody, &["-t", "a"]));
    expect_error(&refused, 69, "refused");
    let lines: Vec<_> = refused.stderr.lines().collect();
    let help = "Help: Nobody listens at this port";
    assert!(
        matches!(lines[..], [_, second] if second.starts_with(help)),
        "{}",
        refused.stderr
    );
    let qos_3 = run(agent("sub", port, &["-t", "a", "-q", "3"]));
    expect_error(&qos_3, 64, "expected 0, 1 or 2");
    assert!(qos_3.stderr.contains("Use 'agent sub --help'"));
}

#[test]
fn help_and_version_are_printed_and_are_a_success() {
    let Some(_peers) = peers() else { return };
    for (args, text) in [
        (&["--help"][..], "agent pub ..."),
        (&["pub", "--help"], "--stdin-line"),
        (&["sub", "--help"], "-C COUNT"),
        (&["sub", "--version"], "agent 0."),
    ] {
        let mut command = Command::new(program());
        command.args(args);
        let finished = run(command);
        expect_success(&finished);
        assert!(finished.stdout.contains(text), "{}", finished.stdout);
    }
}

#[test]
fn a_refused_connection_ends_with_the_brokers_code() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers)
        .password("meter", "secret")
        .start()
        .unwrap();
    let port = broker.port(Listener::Plain);
    let attempt = |tool, credentials: &[&str]| {
        let what = match tool {
            "pub" => &["-t", "a", "-q", "1", "-m", "x"][..],
            _ => &["-t", "a", "-W", "1"],
        };
        run(agent(tool, port, &[what, credentials].concat()))
    };
    let good = ["-u", "meter", "-P", "secret"];
    expect_success(&attempt("pub", &good));
    expect_code(&attempt("sub", &good), 27);
    for credentials in [&["-u", "meter", "-P", "wrong"][..], &["-u", "meter"], &[]] {
        for tool in ["pub", "sub"] {
            expect_error(&attempt(tool, credentials), 5, "not authorized");
        }
    }
}

#[test]
fn a_refused_subscription_ends_with_its_own_code() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers)
        .deny_subscription("forbidden/#")
        .start()
        .unwrap();
    let port = broker.port(Listener::Plain);
    let refused = run(agent("sub", port, &["-t", "forbidden/#", "-q", "1"]));
    expect_error(&refused, 76, "forbidden/#");
    // With another one that is granted it goes on, and says so.
    let args = ["-t", "forbidden/#", "-t", "allowed", "-C", "1"];
    let sub = subscribed(&broker, "sub", &args);
    expect_success(&mosquitto_pub(&peers, port, &["-t", "allowed", "-m", "x"]).unwrap());
    let finished = sub.finish(PROCESS_TIMEOUT).unwrap();
    expect_code(&finished, 0);
    assert_eq!(finished.stdout, "x\n");
    let warning = "Warning: the broker refused to subscribe to forbidden/#\n";
    assert_eq!(finished.stderr, warning);
}

#[test]
fn time_is_over_even_if_messages_came() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let started = Instant::now();
    let mut sub = subscribed(&broker, "sub", &["-t", "a", "-W", "2"]);
    expect_success(&mosquitto_pub(&peers, port, &["-t", "a", "-m", "x"]).unwrap());
    assert_eq!(sub.next_line(PROCESS_TIMEOUT).unwrap(), "x");
    let finished = sub.finish(PROCESS_TIMEOUT).unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2));
    expect_error(&finished, 27, "Timed out");
    // It left in order.
    broker.wait_for_log("Received DISCONNECT from sub");
}

#[test]
fn sub_comes_back_after_a_restart_of_the_broker_as_theirs_does() {
    let Some(peers) = peers() else { return };
    let mut broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let words = ["-t", "a", "-q", "1", "-v", "-C", "2"];
    let mut ours = subscribed(&broker, "ours", &words);
    let theirs = [&["-i", "theirs"], &words[..]].concat();
    let mut theirs = mosquitto_sub(&peers, port, &theirs).unwrap();
    broker.wait_for_suback("theirs");
    let publish = |text| {
        expect_success(&mosquitto_pub(&peers, port, &["-t", "a", "-m", text]).unwrap());
    };
    publish("before");
    for running in [&mut ours, &mut theirs] {
        assert_eq!(running.next_line(PROCESS_TIMEOUT).unwrap(), "a before");
    }
    broker.terminate();
    broker.start_again().unwrap();
    for id in ["ours", "theirs"] {
        broker.wait_for_suback(id);
    }
    publish("after");
    let ours = ours.finish(PROCESS_TIMEOUT).unwrap();
    let theirs = theirs.finish(PROCESS_TIMEOUT).unwrap();
    expect_success(&theirs);
    assert_eq!((ours.code(), &*ours.stdout), (Some(0), "a after\n"));
    assert_eq!(ours.stdout, theirs.stdout);
    // Theirs says nothing; whoever reads a log wants to know where something may be missing.
    let warning = "Warning: connection lost: ";
    assert!(ours.stderr.starts_with(warning), "{}", ours.stderr);
    assert_eq!(ours.stderr.lines().count(), 1, "{}", ours.stderr);
}

#[test]
fn a_broker_that_refuses_sub_when_it_comes_back_ends_it_with_its_code() {
    let Some(_peers) = peers() else { return };
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let broker = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PROCESS_TIMEOUT)).unwrap();
        assert_eq!(read_packet(&mut stream).0, 0x10, "CONNECT");
        stream.write_all(&[0x20, 2, 0, 0]).unwrap();
        let (first, rest) = read_packet(&mut stream);
        assert_eq!(first, 0x82, "SUBSCRIBE");
        stream.write_all(&[0x90, 3, rest[0], rest[1], 0]).unwrap();
        // A message, and the end in the middle of the next one.
        stream.write_all(b"\x30\x04\0\x01ax\x30\x04").unwrap();
        drop(stream);
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PROCESS_TIMEOUT)).unwrap();
        assert_eq!(read_packet(&mut stream).0, 0x10, "CONNECT");
        stream.write_all(&[0x20, 2, 0, 5]).unwrap();
    });
    let finished = run(agent("sub", port, &["-t", "a"]));
    expect_code(&finished, 5);
    assert_eq!(finished.stdout, "x\n");
    assert!(
        finished.stderr.contains("not authorized"),
        "{}",
        finished.stderr
    );
    broker.join().unwrap();
}

#[test]
fn pub_does_not_wait_for_a_connection_that_was_lost() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    // It waits for a line that does not come: a pipe that it holds open itself.
    let folder = TempDir::new("agent-input");
    let lines = agent("pub", port, &["-i", "pub", "-t", "a", "-l"]);
    let script = "mkfifo \"$INPUT\" && exec \"$@\" <>\"$INPUT\"";
    let mut shell = in_shell(script, &lines);
    let publisher = Running::start(shell.env("INPUT", folder.path().join("input"))).unwrap();
    broker.wait_for_log("Sending CONNACK to pub");
    drop(broker);
    let finished = publisher.finish(PROCESS_TIMEOUT).unwrap();
    expect_error(&finished, 75, "connection lost");
}

#[test]
fn what_waits_for_a_slow_reader_when_a_signal_comes_is_printed_to_the_end() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let folder = TempDir::new("agent-slow");
    let pipe = folder.path().join("pipe");
    let sub = agent("sub", port, &["-i", "sub", "-t", "a"]);
    let script = "mkfifo \"$PRINTED\" && exec 3<>\"$PRINTED\" && exec \"$@\" >\"$PRINTED\"";
    let mut shell = in_shell(script, &sub);
    let running = Running::start(shell.env("PRINTED", &pipe)).unwrap();
    broker.wait_for_suback("sub");
    // More than the pipe has room for.
    let payload = noise(MEBIBYTE / 2);
    let file = folder.write("payload", &payload);
    let args = ["-t", "a", "-f", file.to_str().unwrap()];
    expect_success(&mosquitto_pub(&peers, port, &args).unwrap());
    let mut reader = std::fs::File::open(&pipe).unwrap();
    let mut printed = vec![0; payload.len() + 1];
    let (first, rest) = printed.split_at_mut(1_000);
    reader.read_exact(first).unwrap();
    running.signal("TERM");
    thread::sleep(Duration::from_millis(200));
    reader.read_exact(rest).unwrap();
    expect_success(&running.finish(PROCESS_TIMEOUT).unwrap());
    assert!(printed.strip_suffix(b"\n") == Some(&payload[..]));
}

#[test]
fn a_connection_that_takes_too_long_is_given_up() {
    let Some(_peers) = peers() else { return };
    // The system accepts for it, and nobody answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    for (tool, args) in [
        ("pub", &["-t", "a", "-n", "--timeout", "1"][..]),
        ("sub", &["-t", "a", "--timeout", "1"]),
    ] {
        let started = Instant::now();
        let finished = run(agent(tool, port, args));
        expect_error(&finished, 69, "no connection after 1 s");
        assert!(started.elapsed() >= Duration::from_secs(1));
    }
    // The time to receive in runs from when the transport is there, as with Mosquitto.
    let finished = run(agent("sub", port, &["-t", "a", "-W", "1"]));
    expect_error(&finished, 27, "Timed out");
}

#[test]
fn a_reader_that_closes_the_output_ends_it_without_an_error() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let sub = agent("sub", port, &["-i", "sub", "-t", "a", "-q", "1"]);
    let script = "{ \"$@\"; echo \"code $?\" >&2; } | head -n 1";
    let mut shell = Running::start(&mut in_shell(script, &sub)).unwrap();
    broker.wait_for_suback("sub");
    let publish = || {
        expect_success(&mosquitto_pub(&peers, port, &["-t", "a", "-m", "x", "-q", "1"]).unwrap());
    };
    publish();
    assert_eq!(shell.next_line(PROCESS_TIMEOUT).unwrap(), "x");
    // `head` may need a moment to go.
    let deadline = Instant::now() + PROCESS_TIMEOUT;
    while !broker.log().contains("Received DISCONNECT from sub") {
        assert!(Instant::now() < deadline, "it goes on:\n{}", broker.log());
        publish();
    }
    let finished = shell.finish(PROCESS_TIMEOUT).unwrap();
    assert_eq!(
        (finished.stdout.as_str(), finished.stderr.as_str()),
        ("", "code 0\n")
    );
}
