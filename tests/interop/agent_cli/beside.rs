//! The programs beside Mosquitto's, on the same broker with the same words: what they print is the
//! same, byte for byte, and so are the exit codes.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A layout for both: every letter but those that tell the time.
const LAYOUT: &str = "%%|%t|%-12t|%12t|%.2t|%6.1t|%p|%-9p|%012p|%9p|%3p|%x|%X|%14x|%-14X|%010x|%l|\
                      %05l|%-5l|%5l|%m|%4m|%q|%r|%A|%4A|%04F|%E|%3S|%C|%6C|%D|%5P|%R|@@|\\\\\\t\\a\\e\\v";

/// Starts both, each with an identifier of its own, and waits until they are subscribed. What each
/// prints goes to a file, for it may be no text.
struct Beside {
    ours: Running,
    theirs: Running,
    folder: TempDir,
}

/// A name that nobody had before: what a log says of it is about it alone.
pub(super) fn fresh(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Beside {
    #[track_caller]
    fn start(broker: &Mosquitto, args: &[&str]) -> Self {
        Self::start_in("UTC", broker, args)
    }

    #[track_caller]
    fn start_in(zone: &str, broker: &Mosquitto, args: &[&str]) -> Self {
        let folder = TempDir::new("agent-beside");
        let port = broker.port(Listener::Plain).to_string();
        let start = |mut command: Command, name: &str| {
            let id = fresh(name);
            let at = ["-h", "127.0.0.1", "-p", &port, "-i", &id];
            command.args(at).args(args);
            let script = "exec \"$@\" >\"$PRINTED\"";
            let mut shell = in_shell(script, &command);
            shell
                .env("PRINTED", folder.path().join(name))
                .env("TZ", zone);
            let running = Running::start(&mut shell).unwrap();
            broker.wait_for_suback(&id);
            running
        };
        let mut agent = Command::new(program());
        agent.arg("sub");
        let ours = start(agent, "ours");
        let theirs = start(Command::new("mosquitto_sub"), "theirs");
        Self {
            ours,
            theirs,
            folder,
        }
    }

    /// Waits for the end of both, and returns what they printed: ours, then theirs.
    #[track_caller]
    fn printed(self) -> [Vec<u8>; 2] {
        let ours = self.ours.finish(PROCESS_TIMEOUT).unwrap();
        let theirs = self.theirs.finish(PROCESS_TIMEOUT).unwrap();
        assert_eq!(
            ours.code(),
            theirs.code(),
            "{}{}",
            ours.stderr,
            theirs.stderr
        );
        assert_eq!(ours.stderr, theirs.stderr);
        ["ours", "theirs"].map(|id| fs::read(self.folder.path().join(id)).unwrap())
    }

    #[track_caller]
    fn expect_same(self) -> Vec<u8> {
        let [ours, theirs] = self.printed();
        assert_eq!(
            String::from_utf8_lossy(&ours),
            String::from_utf8_lossy(&theirs)
        );
        assert!(ours == theirs, "{ours:?}\n{theirs:?}");
        ours
    }
}

/// Publishes bytes with Mosquitto's program.
#[track_caller]
pub(super) fn publish(
    peers: &tests::peers::Peers,
    port: u16,
    topic: &str,
    payload: &[u8],
    more: &[&str],
) {
    let folder = TempDir::new("agent-payload");
    let file = folder.write("payload", payload);
    let args = [&["-t", topic, "-f", file.to_str().unwrap()], more].concat();
    expect_success(&mosquitto_pub(peers, port, &args).unwrap());
}

/// What is sent in the tests of layouts.
const PAYLOADS: [&[u8]; 11] = [
    b"hello",
    b"",
    b"\x00\x01\xfe\xff",
    b"\xc3\xa9\xe2\x82\xac",
    b"{\"a\":1.50,\"b\":[true,null,\"x\\u00e9\\/\\\"\\u0001\"],\"c\":1e3,\"d\":-0.0,\"e\":{}}",
    b"  [ 0.1, 1e400, 123456789012345678901, 0.30000000000000004, 5e-324, 1e15, 1e-5 ] ",
    b"\"a\\ud83d\\ude00\\u0000b\"",
    b"{\"a\":1,\"a\":2,\"z\":[[],[{}]]}",
    b"01",
    b"\"tab\there\"",
    b"a\nb\"\\/\x08\x0c\r\x1f\x7f",
];

#[test]
fn every_layout_is_the_same_byte_for_byte() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let count = PAYLOADS.len().to_string();
    for (qos, more) in [("0", &[][..]), ("1", &["-N"]), ("2", &["-v"])] {
        let words = ["-t", "a/#", "-q", qos, "-C", &count, "-F", LAYOUT];
        let beside = Beside::start(&broker, &[&words, more].concat());
        for payload in PAYLOADS {
            publish(&peers, port, "a/b", payload, &["-q", qos]);
        }
        let printed = beside.expect_same();
        assert!(printed.len() > 1_000, "{qos}");
    }
}

/// Removes the times of messages, which are not the same for both.
fn without_times(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed).into_owned();
    let mut parts = text.split("\"tst\":");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let time = "\"2026-11-29T17:15:12.638025Z+0000\"".len();
        let start = part.find('"').unwrap();
        kept.push_str("\"tst\":");
        kept.push_str(&part[start + time..]);
    }
    kept
}

#[test]
fn json_is_the_same_but_for_the_moment() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let count = PAYLOADS.len().to_string();
    for (layout, more) in [
        ("%j", &[][..]),
        ("%J", &[]),
        ("%t %J|", &["--pretty"]),
        ("%j", &["--pretty", "-N"]),
    ] {
        for qos in ["0", "1"] {
            let words = ["-t", "a/#", "-q", qos, "-C", &count, "-F", layout];
            let beside = Beside::start(&broker, &[&words, more].concat());
            for payload in PAYLOADS {
                publish(&peers, port, "a/b", payload, &["-q", qos]);
            }
            let [ours, theirs] = beside.printed();
            assert!(ours.len() > 300);
            assert_eq!(ours.len(), theirs.len(), "{layout} {more:?}");
            assert_eq!(without_times(&ours), without_times(&theirs));
        }
    }
}

#[test]
fn the_time_is_told_in_the_same_words_in_every_zone() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let letters = "aAbBcCdDeFgGhHIjklmMpPrRsSTuUVwWxXyYzZfiqvoEJKLOQ019%";
    let layout: String = letters
        .chars()
        .map(|letter| format!("@{letter}|"))
        .collect();
    let layout = format!("{layout}%I|%30I|%-30I|%.4I");
    for zone in [
        "UTC",
        "Asia/Kolkata",
        "America/St_Johns",
        "<+0545>-5:45",
        "CET-1CEST,M3.5.0,M10.5.0/3",
    ] {
        // The second may end between the two.
        let mut printed = String::new();
        let same = (0..5).any(|_| {
            let words = ["-t", "a", "-C", "1", "-F", &layout];
            let beside = Beside::start_in(zone, &broker, &words);
            publish(&peers, port, "a", b"x", &[]);
            let [ours, theirs] = beside.printed();
            let [ours, theirs] = [ours, theirs].map(|text| String::from_utf8(text).unwrap());
            printed = format!("{ours}{theirs}");
            ours == theirs
        });
        assert!(same, "{zone}:\n{printed}");
    }
}

#[test]
fn what_is_no_layout_is_refused_by_both() {
    let Some(peers) = peers() else { return };
    for layout in [
        "%", "%z", "%-", "%5", "%5.", "%5.2", "@", "a\\", "\\q", "%0-5t", "%--t", "%s",
    ] {
        let words = ["-t", "a", "-W", "1", "-F", layout];
        let theirs = mosquitto_sub(&peers, 1, &words).unwrap();
        let theirs = theirs.finish(PROCESS_TIMEOUT).unwrap();
        assert_eq!(theirs.code(), Some(1), "{layout}");
        assert!(
            theirs.stderr.contains("specifier"),
            "{layout}: {}",
            theirs.stderr
        );
        let ours = run(agent("sub", 1, &words));
        expect_code(&ours, 64);
        assert!(
            ours.stderr.contains("specifier"),
            "{layout}: {}",
            ours.stderr
        );
    }
}

#[test]
fn without_a_layout_the_same_is_printed_too() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    for more in [&[][..], &["-v"], &["-N"], &["-v", "-N"]] {
        let words = ["-t", "a/#", "-C", "4", "-T", "a/hidden/#", "-T", "a/+/too"];
        let beside = Beside::start(&broker, &[&words, more].concat());
        for (topic, payload) in [
            ("a/b", &b"one"[..]),
            ("a/hidden/x", b"no"),
            ("a/x/too", b"no"),
            ("a/b", b""),
            ("a/c", b"\xff\x00\xfe"),
            ("a", b"last"),
        ] {
            publish(&peers, port, topic, payload, &[]);
        }
        assert!(!beside.expect_same().is_empty());
    }
}

#[test]
fn kept_messages_are_shown_hidden_and_forgotten_as_theirs_are() {
    let Some(peers) = peers() else { return };
    for (kept, live, words) in [
        (3, 0, &["-W", "1"][..]),
        (3, 0, &["-R", "-W", "1"]),
        (3, 1, &["--retained-only"]),
        (3, 1, &["-R", "-C", "1"]),
        (3, 1, &["--retain-as-published", "-C", "4"]),
    ] {
        let broker = Options::new(&peers).start().unwrap();
        let port = broker.port(Listener::Plain);
        for n in 0..kept {
            publish(&peers, port, &format!("a/{n}"), b"kept", &["-r"]);
        }
        let words = [&["-t", "a/#", "-F", "%t %r %p"], words].concat();
        let beside = Beside::start(&broker, &words);
        for _ in 0..live {
            publish(&peers, port, "a/live", b"live", &["-r"]);
        }
        beside.expect_same();
    }
    // One after the other here: what one removes the other does not see.
    let removed = |remove: &dyn Fn(u16, &[&str]) -> Finished| {
        let broker = Options::new(&peers).start().unwrap();
        let port = broker.port(Listener::Plain);
        for topic in ["a/1", "a/2", "a/stays"] {
            publish(&peers, port, topic, b"kept", &["-r"]);
        }
        let words = [
            "-t",
            "a/#",
            "-T",
            "a/stays",
            "--remove-retained",
            "-W",
            "1",
            "-v",
        ];
        let finished = remove(port, &words);
        let left = mosquitto_sub(&peers, port, &["-t", "#", "-W", "1", "-v"]).unwrap();
        let left = left.finish(PROCESS_TIMEOUT).unwrap().stdout;
        (finished.code(), sorted(&finished.stdout), left)
    };
    let ours = removed(&|port, words| run(agent("sub", port, words)));
    let theirs = removed(&|port, words| {
        let running = mosquitto_sub(&peers, port, words).unwrap();
        running.finish(PROCESS_TIMEOUT).unwrap()
    });
    assert_eq!(ours, theirs);
    assert_eq!(ours.2, "a/stays kept\n");
}

/// The lines in order: which of a kept message and its removal comes first is not said.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_is_published_arrives_as_theirs_does() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let url = format!("mqtt://127.0.0.1:{port}/a/url");
    let folder = TempDir::new("agent-published");
    let file = folder.write("file", "from a file\n");
    let file = file.to_str().unwrap();
    let cases: [(&[&str], usize); 7] = [
        (&["-t", "a/b", "-m", "text", "-q", "1"], 1),
        (&["-t", "a/b", "-n", "-q", "2"], 1),
        (&["-t", "a/b", "-f", file], 1),
        (&["-t", "a/b", "-s"], 1),
        (&["-t", "a/b", "-l", "-q", "1", "-M", "1"], 3),
        (
            &[
                "-t",
                "a/b",
                "-m",
                "again",
                "--repeat",
                "3",
                "--repeat-delay",
                "0.05",
            ],
            3,
        ),
        (
            &[
                "-L",
                &url,
                "-m",
                "by url",
                "-I",
                "prefix-",
                "-k",
                "7",
                "-V",
                "mqttv311",
                "--nodelay",
            ],
            1,
        ),
    ];
    for (words, count) in cases {
        let all = (count * 2).to_string();
        let id = fresh("watch");
        let watch = [
            "-i",
            &id,
            "-t",
            "a/#",
            "-q",
            "2",
            "-C",
            &all,
            "-F",
            "%t %q %r %p",
        ];
        let watcher = mosquitto_sub(&peers, port, &watch).unwrap();
        broker.wait_for_suback(&id);
        let mut ours = Command::new(program());
        ours.arg("pub");
        for mut publisher in [ours, Command::new("mosquitto_pub")] {
            if words[0] != "-L" {
                publisher.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
            }
            publisher.args(words);
            let script = "printf 'one\\n\\nthree' | \"$@\"";
            expect_success(&run(in_shell(script, &publisher)));
        }
        let printed = watcher.finish(PROCESS_TIMEOUT).unwrap().stdout;
        let (ours, theirs) = printed.split_at(printed.len() / 2);
        assert_eq!(ours, theirs, "{words:?}");
    }
}

#[test]
fn subscribing_is_enough_where_that_is_wanted() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    for (id, is_ours) in [("ours", true), ("theirs", false)] {
        let words = ["-i", id, "-c", "-t", "a", "-t", "b/#", "-q", "1", "-E"];
        let finished = match is_ours {
            true => run(agent("sub", port, &words)),
            false => {
                let running = mosquitto_sub(&peers, port, &words).unwrap();
                running.finish(PROCESS_TIMEOUT).unwrap()
            }
        };
        expect_success(&finished);
    }
    // What came since, and not what was unsubscribed from in between.
    expect_success(&run(agent(
        "sub",
        port,
        &["-i", "ours", "-c", "-U", "b/#", "-E"],
    )));
    for topic in ["a", "b/x"] {
        publish(&peers, port, topic, b"since", &["-q", "1"]);
    }
    let receive = ["-c", "-t", "other", "-q", "1", "-v", "-W", "20", "-C"];
    let ours = [&["-i", "ours"], &receive[..], &["1"]].concat();
    let ours = run(agent("sub", port, &ours));
    expect_success(&ours);
    assert_eq!(ours.stdout, "a since\n");
    let theirs = [&["-i", "theirs"], &receive[..], &["2"]].concat();
    let theirs = mosquitto_sub(&peers, port, &theirs).unwrap();
    let theirs = theirs.finish(PROCESS_TIMEOUT).unwrap();
    expect_success(&theirs);
    assert_eq!(theirs.stdout, "a since\nb/x since\n");
}

#[test]
fn a_share_of_the_messages_is_printed_and_all_of_them_count() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let words = ["-t", "a", "-q", "1", "-C", "2000", "--random-filter", "25"];
    let sub = subscribed(&broker, "sub", &words);
    let lines = agent("pub", port, &["-t", "a", "-q", "1", "-l"]);
    expect_success(&run(in_shell("seq 2000 | \"$@\"", &lines)));
    let finished = sub.finish(PROCESS_TIMEOUT).unwrap();
    expect_success(&finished);
    // Outside of this once in more than ten to the power of ten runs.
    let printed = finished.stdout.lines().count();
    assert!((360..=640).contains(&printed), "{printed}");
}

#[test]
fn errors_are_told_or_not_and_a_password_comes_from_a_file() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers)
        .password("meter", "secret")
        .start()
        .unwrap();
    let port = broker.port(Listener::Plain);
    let folder = TempDir::new("agent-password");
    let file = folder.write("password", "secret\n");
    let words = ["-t", "a", "-n", "-q", "1", "-u", "meter"];
    let with = |more: &[&'static str]| [&words, more].concat();
    let given = [&words[..], &["--pw-file", file.to_str().unwrap()]].concat();
    expect_success(&run(agent("pub", port, &given)));
    let mut by_variable = agent("pub", port, &with(&["--pw-env", "METER_PASSWORD"]));
    by_variable.env("METER_PASSWORD", "secret");
    expect_success(&run(by_variable));
    for (more, code) in [
        (&["-P", "wrong"][..], 5),
        (&["--pw-env", "NOT_SET_ANYWHERE"], 66),
        (&["--pw-file", "/nonexistent"], 66),
    ] {
        let told = run(agent("pub", port, &with(more)));
        expect_code(&told, code);
        assert!(told.stderr.starts_with("Error: "), "{}", told.stderr);
        assert!(!told.stderr.contains("secret"), "{}", told.stderr);
        let quiet = run(agent(
            "pub",
            port,
            &[&with(more)[..], &["--quiet"]].concat(),
        ));
        expect_code(&quiet, code);
        assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    }
}
