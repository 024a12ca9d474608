//! A thousand handshakes at once in one process, both sides of each: all of them succeed within
//! their deadline, others are not held up, and memory stays within bounds.

use std::cell::Cell;
use std::io::Write as _;
use std::process::Command;
use std::rc::Rc;

use fiber::net::TcpStream;
use safe_rt::{Listener, Socket, TlsVersion};

use crate::bystanders::among_bystanders_in_real_time;
use crate::pki::SERVER_NAME;
use crate::support::{configurations, read_text, shake};

const CROWD: usize = 1_000;
/// So many there are at least where the system lets nobody have more descriptors.
const CROWD_MIN: usize = 400;
/// Descriptors of a process besides those of the crowd.
const OTHER_DESCRIPTORS: usize = 50;
/// Descriptors for all of it: both sides of a connection have one.
const WANTED_DESCRIPTORS: usize = 2 * CROWD + OTHER_DESCRIPTORS;
/// Memory of the whole process that one handshake adds to it, both sides together, in KiB.
const KIB_EACH_MAX: usize = 128;
/// Tells a process of the test binary how many descriptors it may have, and could have at most.
const DESCRIPTORS: &str = "CROWD_TEST_DESCRIPTORS";
/// What it says before how many handshakes there were.
const WERE: &str = "handshakes at once: ";

#[test]
fn a_thousand_handshakes_over_pipes_all_succeed_and_hold_up_nobody() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        among_bystanders_in_real_time(move || {
            let (client, server) = configurations(version);
            let running: Vec<_> = (0..CROWD)
                .map(|_| {
                    let (client, server) = (client.clone(), server.clone());
                    fiber::spawn(move || {
                        // A pipe that fits no flight as a whole.
                        let (client, server) = shake(&client, &server, 500);
                        (client.expect("a client"), server.expect("a server"))
                    })
                    .expect("a fiber")
                })
                .collect();
            let met = running.into_iter().map(|mut running| running.join());
            let sockets: Vec<_> = met.map(|both| both.expect("no panic")).collect();
            assert_eq!(sockets.len(), CROWD);
        });
    }
}

/// Connects `crowd` clients to one listener at once, and lets each of them hear a word.
fn connect_all(crowd: usize, version: TlsVersion) {
    let (client, server) = configurations(version);
    let listener = Listener::bind_tls(([127, 0, 0, 1], 0).into(), server).expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = Rc::new(Cell::new(0));
    let counted = Rc::clone(&served);
    let mut listening = fiber::spawn(move || {
        while let Ok(incoming) = listener.accept() {
            let counted = Rc::clone(&counted);
            fiber::spawn(move || {
                let socket = incoming.handshake().expect("a handshake");
                (&socket).write_all(b"hello").expect("room");
                counted.set(counted.get() + 1);
                // Until the client ends it.
                drop(read_text(&socket));
            })
            .expect("a fiber");
        }
    })
    .expect("a fiber");
    // The kernel has no room for more that were not accepted, and would have them ask again later.
    let connecting = fiber::Semaphore::new(100);
    let running: Vec<_> = (0..crowd)
        .map(|_| {
            let (client, connecting) = (client.clone(), connecting.clone());
            fiber::spawn(move || {
                let turn = connecting.acquire().expect("no scope is over");
                let stream = TcpStream::connect(address).expect("a connection");
                drop(turn);
                let socket = Socket::tls_client(stream, &client, SERVER_NAME).expect("a client");
                assert_eq!(read_text(&socket).expect("a word"), "hello");
                socket
            })
            .expect("a fiber")
        })
        .collect();
    let met = running.into_iter().map(|mut running| running.join());
    let sockets: Vec<_> = met.map(|socket| socket.expect("no panic")).collect();
    // All of them are open at the same time.
    assert_eq!((sockets.len(), served.get()), (crowd, crowd));
    listening.cancel();
    listening.join().expect("no panic");
}

/// What the system says of this process under `name`, in KiB.
fn memory_kib(name: &str) -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_thousand_handshakes_over_tcp_all_succeed_in_bounded_memory_and_hold_up_nobody() {
    if let Ok(descriptors) = std::env::var(DESCRIPTORS) {
        let number = |word: &str| word.parse().unwrap_or(usize::MAX);
        let (soft, hard) = descriptors.split_once(' ').expect("two numbers");
        let (soft, hard) = (number(soft), number(hard));
        let crowd = CROWD.min((soft - OTHER_DESCRIPTORS) / 2);
        assert!(crowd >= CROWD_MIN, "{soft} descriptors are too few");
        let may_be_fewer = hard < WANTED_DESCRIPTORS;
        assert!(crowd == CROWD || may_be_fewer, "{soft} of {hard}");
        tell(&format!("{WERE}{crowd}\n"));
        let before = memory_kib("VmRSS");
        for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
            among_bystanders_in_real_time(move || connect_all(crowd, version));
        }
        if let (Some(before), Some(most)) = (before, memory_kib("VmHWM")) {
            let each = (most - before) / crowd;
            assert!(each <= KIB_EACH_MAX, "{each} KiB for each of {crowd}");
        }
        return;
    }
    // A process of its own, with as many descriptors as it can have.
    let test =
        "crowd::a_thousand_handshakes_over_tcp_all_succeed_in_bounded_memory_and_hold_up_nobody";
    let script = format!(
        "hard=$(ulimit -H -n)
         ulimit -S -n {WANTED_DESCRIPTORS} 2>/dev/null || ulimit -S -n \"$hard\"
         export {DESCRIPTORS}=\"$(ulimit -S -n) $hard\"
         exec \"$0\" --exact {test} --nocapture --test-threads=1"
    );
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().expect("this program"))
        .output()
        .expect("a child");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    let (_, crowd) = text.split_once(WERE).expect("how many there were");
    let crowd = crowd.lines().next().unwrap_or_default();
    if crowd != CROWD.to_string() {
        tell(&format!(
            "{crowd} handshakes instead of {CROWD}: descriptors are short\n"
        ));
    }
}

/// Writes a line for whoever runs the tests.
fn tell(line: &str) {
    std::io::stderr()
        .write_all(line.as_bytes())
        .expect("standard error");
}

#[test]
fn a_crowd_of_silent_clients_holds_up_nobody_and_ends_on_time() {
    crate::bystanders::among_bystanders(|| {
        let (_, server) = configurations(TlsVersion::Tls13);
        let began = fiber::Instant::now();
        let running: Vec<_> = (0..CROWD)
            .map(|_| {
                let (ours, theirs) = fiber::net::pipe(64);
                let server = server.clone();
                let serving = fiber::spawn(move || Socket::tls_server(theirs, &server));
                (ours, serving.expect("a fiber"))
            })
            .collect();
        for (_ours, mut serving) in running {
            let error = serving.join().expect("no panic").expect_err("silence");
            assert!(error.is_timeout(), "{error}");
        }
        assert_eq!(began.elapsed(), safe_rt::HANDSHAKE_TIMEOUT_DEFAULT);
    });
}
