//! The program `agent` against Mosquitto: its `pub`, `sub` and `request` in the place of
//! `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr`.
//!
//! The program itself is run, not a function of its library: exit codes, what is printed where, the
//! standard input and a closed pipe are what scripts rely on, and only the program has them.

mod beside;
mod endings;
mod inputs;
mod requests;
mod secure;
mod will;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tests::mosquitto::{Listener, Mosquitto, Options};
use tests::process::{
    self, Finished, PROCESS_TIMEOUT, Running, mosquitto_pub, mosquitto_sub, workspace_program,
};
use tests::temp_dir::TempDir;

use crate::peers;

/// A payload longer than every buffer on its way.
const MEBIBYTE: usize = 1024 * 1024;

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| workspace_program("agent"))
}

/// `agent pub` or `agent sub` against a port of this machine.
fn agent(tool: &str, port: u16, args: &[&str]) -> Command {
    agent_at("127.0.0.1", tool, port, args)
}

fn agent_at(host: &str, tool: &str, port: u16, args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args([tool, "-h", host, "-p", &port.to_string()])
        .args(args);
    command
}

#[track_caller]
fn run(mut command: Command) -> Finished {
    process::run(&mut command, PROCESS_TIMEOUT).unwrap()
}

/// Runs the program in a shell script, where it is `"$@"`.
fn in_shell(script: &str, program: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", script, "sh"])
        .arg(program.get_program())
        .args(program.get_args());
    shell
}

/// Starts `agent sub` and waits until it is subscribed.
#[track_caller]
fn subscribed(broker: &Mosquitto, id: &str, args: &[&str]) -> Running {
    let args = [&["-i", id], args].concat();
    let port = broker.port(Listener::Plain);
    let running = Running::start(&mut agent("sub", port, &args)).unwrap();
    broker.wait_for_suback(id);
    running
}

#[track_caller]
fn expect_code(finished: &Finished, code: i32) {
    assert_eq!(
        finished.code(),
        Some(code),
        "it printed:\n{}\n{}",
        finished.stdout,
        finished.stderr
    );
}

/// A success that nothing was said about.
#[track_caller]
fn expect_success(finished: &Finished) {
    expect_code(finished, 0);
    assert_eq!(finished.stderr, "");
}

/// Bytes without a pattern, every value among them.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn three_messages_are_printed_with_their_topics() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let sub = subscribed(&broker, "sub", &["-t", "a/#", "-q", "1", "-C", "3", "-v"]);
    for (topic, message, qos) in [
        ("a/b", "one", "1"),
        ("a", "two words", "0"),
        ("a/b/c", "three", "1"),
    ] {
        let args = ["-t", topic, "-m", message, "-q", qos];
        expect_success(&mosquitto_pub(&peers, port, &args).unwrap());
    }
    let finished = sub.finish(PROCESS_TIMEOUT).unwrap();
    expect_success(&finished);
    assert_eq!(finished.stdout, "a/b one\na two words\na/b/c three\n");
}

#[test]
fn what_is_printed_of_an_empty_message_is_what_mosquitto_sub_prints() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    for (ours, theirs, more) in [
        ("ours", "theirs", &[][..]),
        ("ours-v", "theirs-v", &["-v"][..]),
    ] {
        let args = [&["-t", "a", "-C", "2"], more].concat();
        let ours_sub = subscribed(&broker, ours, &args);
        let theirs_sub =
            mosquitto_sub(&peers, port, &[&["-i", theirs], &args[..]].concat()).unwrap();
        broker.wait_for_suback(theirs);
        expect_success(&mosquitto_pub(&peers, port, &["-t", "a", "-n"]).unwrap());
        expect_success(&mosquitto_pub(&peers, port, &["-t", "a", "-m", "x"]).unwrap());
        let ours = ours_sub.finish(PROCESS_TIMEOUT).unwrap();
        let theirs = theirs_sub.finish(PROCESS_TIMEOUT).unwrap();
        expect_success(&ours);
        assert_eq!(ours.stdout, theirs.stdout, "{more:?}");
    }
}

#[test]
fn one_message_of_each_kind_arrives() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let folder = TempDir::new("agent-pub");
    let file = folder.write("file", "from a file");
    for qos in ["0", "1", "2"] {
        let id = format!("sub-{qos}");
        let args = ["-i", &id, "-t", "a", "-q", qos, "-C", "4", "-F", "%q %x"];
        let sub = mosquitto_sub(&peers, port, &args).unwrap();
        broker.wait_for_suback(&id);
        for kind in [
            &["-m", "text"][..],
            &["-m", ""],
            &["-n"],
            &["-f", file.to_str().unwrap()],
        ] {
            let args = [&["-t", "a", "-q", qos], kind].concat();
            expect_success(&run(agent("pub", port, &args)));
        }
        let expected: String = [&b"text"[..], b"", b"", b"from a file"]
            .map(|payload| format!("{qos} {}\n", hexadecimal(payload)))
            .concat();
        let finished = sub.finish(PROCESS_TIMEOUT).unwrap();
        assert_eq!(finished.stdout, expected);
    }
}

#[test]
fn a_file_of_a_mebibyte_arrives_byte_for_byte() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let folder = TempDir::new("agent-file");
    let bytes = noise(MEBIBYTE);
    // What their program prints is read as a line of text here.
    let text: String = bytes
        .iter()
        .map(|byte| char::from(b'!' + byte % 90))
        .collect();
    let files = [
        ("bytes", folder.write("bytes", &bytes)),
        ("text", folder.write("text", &text)),
    ];
    for qos in ["0", "1", "2"] {
        let id = format!("theirs-{qos}");
        let args = ["-i", &id, "-t", "text", "-q", qos, "-C", "1"];
        let mut theirs = mosquitto_sub(&peers, port, &args).unwrap();
        broker.wait_for_suback(&id);
        let id = format!("ours-{qos}");
        let printed = folder.path().join(&id);
        let args = ["-i", &id, "-t", "bytes", "-q", qos, "-C", "1"];
        let mut shell = in_shell("exec \"$@\" >\"$PRINTED\"", &agent("sub", port, &args));
        let ours = Running::start(shell.env("PRINTED", &printed)).unwrap();
        broker.wait_for_suback(&id);
        for (topic, file) in &files {
            let args = ["-t", topic, "-q", qos, "-f", file.to_str().unwrap()];
            expect_success(&run(agent("pub", port, &args)));
        }
        assert!(theirs.next_line(PROCESS_TIMEOUT).unwrap() == text);
        expect_success(&ours.finish(PROCESS_TIMEOUT).unwrap());
        let printed = std::fs::read(printed).unwrap();
        assert!(printed.strip_suffix(b"\n") == Some(&bytes[..]));
    }
}

#[test]
fn every_line_of_the_standard_input_is_a_message() {
    let Some(peers) = peers() else { return };
    // As it comes, it drops what a slow subscriber has not taken beyond a thousand messages.
    let broker = Options::new(&peers)
        .line("max_queued_messages 0")
        .start()
        .unwrap();
    let port = broker.port(Listener::Plain);
    for qos in ["0", "1", "2"] {
        let id = format!("sub-{qos}");
        let args = ["-i", &id, "-t", "a", "-q", qos, "-C", "2004", "-v"];
        let sub = mosquitto_sub(&peers, port, &args).unwrap();
        broker.wait_for_suback(&id);
        let lines = "printf 'one\\ntwo\\n\\n'; seq 2000; printf three";
        let program = agent("pub", port, &["-t", "a", "-q", qos, "-l"]);
        let script = format!("{{ {lines}; }} | \"$@\"");
        expect_success(&run(in_shell(&script, &program)));
        let numbers = (1..=2000).map(|n| format!("a {n}\n"));
        let expected: String = ["a one\n", "a two\n", "a (null)\n"]
            .map(str::to_owned)
            .into_iter()
            .chain(numbers)
            .chain(["a three\n".to_owned()])
            .collect();
        let finished = sub.finish(PROCESS_TIMEOUT).unwrap();
        assert_eq!(finished.stdout, expected);
    }
    // No line, no message, no error.
    let program = agent("pub", port, &["-t", "a", "-l"]);
    expect_success(&run(program));
}

#[test]
fn a_retained_message_is_seen_by_whoever_comes_later() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let retain = |args: &[&str]| {
        let args = [&["-t", "a/kept", "-r", "-q", "1"], args].concat();
        expect_success(&run(agent("pub", port, &args)));
    };
    retain(&["-m", "for later"]);
    let args = ["-t", "a/#", "-C", "1", "-F", "%r %t %p"];
    let theirs = mosquitto_sub(&peers, port, &args).unwrap();
    let theirs = theirs.finish(PROCESS_TIMEOUT).unwrap();
    assert_eq!(theirs.stdout, "1 a/kept for later\n");
    let ours = run(agent("sub", port, &["-t", "a/#", "-C", "1", "-v"]));
    expect_success(&ours);
    assert_eq!(ours.stdout, "a/kept for later\n");
    // An empty one takes it away.
    retain(&["-n"]);
    let ours = run(agent("sub", port, &["-t", "a/#", "-C", "1", "-W", "1"]));
    expect_code(&ours, 27);
    assert_eq!(ours.stdout, "");
}

#[test]
fn several_topics_are_one_subscription() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let args = ["-t", "a/#", "-t", "b", "-t", "+/x", "-C", "3", "-v"];
    let sub = subscribed(&broker, "sub", &args);
    for topic in ["c", "b", "a/x", "d/x"] {
        let args = ["-t", topic, "-m", "m", "-q", "1"];
        expect_success(&mosquitto_pub(&peers, port, &args).unwrap());
    }
    let finished = sub.finish(PROCESS_TIMEOUT).unwrap();
    expect_success(&finished);
    // Mosquitto sends one copy of a message that two filters match.
    assert_eq!(finished.stdout, "b m\na/x m\nd/x m\n");
}

#[test]
fn a_kept_session_loses_nothing_that_was_not_printed() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let session = ["-i", "kept", "-c", "-t", "a", "-q", "1"];
    let receive = |more: &[&str]| run(agent("sub", port, &[&session, more].concat()));
    expect_code(&receive(&["-W", "1"]), 27);
    for n in ["1", "2", "3", "4", "5"] {
        expect_success(&run(agent("pub", port, &["-t", "a", "-q", "1", "-m", n])));
    }
    // What cannot be printed is not acknowledged either.
    if cfg!(target_os = "linux") {
        let full = run(in_shell(
            "exec \"$@\" >/dev/full",
            &agent("sub", port, &session),
        ));
        expect_code(&full, 74);
        assert!(full.stderr.contains("standard output"), "{}", full.stderr);
    }
    let first = receive(&["-C", "3"]);
    expect_success(&first);
    assert_eq!(first.stdout, "1\n2\n3\n");
    let second = receive(&["-C", "2"]);
    expect_success(&second);
    assert_eq!(second.stdout, "4\n5\n");
    let third = receive(&["-W", "1"]);
    expect_code(&third, 27);
    assert_eq!(third.stdout, "");
}

/// Plays the broker for one connection: accepts it, takes a message of QoS 1 to the topic `a`, and
/// answers that by `answer`, which is given the packet identifier.
fn play_broker<T: Send + 'static>(
    answer: impl FnOnce(TcpStream, [u8; 2]) -> T + Send + 'static,
) -> (u16, thread::JoinHandle<T>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PROCESS_TIMEOUT)).unwrap();
        assert_eq!(read_packet(&mut stream).0, 0x10, "CONNECT");
        stream.write_all(&[0x20, 2, 0, 0]).unwrap();
        let (first, rest) = read_packet(&mut stream);
        assert_eq!((first, &rest[..3]), (0x32, &b"\0\x01a"[..]), "PUBLISH");
        answer(stream, [rest[3], rest[4]])
    });
    (port, thread)
}

/// Reads a packet of less than 128 bytes: its first byte, and what follows its length.
fn read_packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let mut rest = vec![0; head[1].into()];
    stream.read_exact(&mut rest).unwrap();
    (head[0], rest)
}

#[test]
fn pub_ends_only_after_its_message_is_acknowledged() {
    let Some(_peers) = peers() else { return };
    let (port, broker) = play_broker(|mut stream, id| {
        thread::sleep(Duration::from_millis(500));
        let acknowledged = Instant::now();
        stream.write_all(&[0x40, 2, id[0], id[1]]).unwrap();
        acknowledged
    });
    let finished = run(agent("pub", port, &["-t", "a", "-q", "1", "-m", "x"]));
    let ended = Instant::now();
    expect_success(&finished);
    assert!(broker.join().unwrap() < ended);
    // Without it there is no success.
    let (port, broker) = play_broker(|stream, _| drop(stream));
    let finished = run(agent("pub", port, &["-t", "a", "-q", "1", "-m", "x"]));
    // As brokers do that forbid it.
    expect_code(&finished, 76);
    assert!(finished.stderr.contains("closed"), "{}", finished.stderr);
    broker.join().unwrap();
}
