//! How much stack a handshake takes, and what is said when there is not enough.

use std::hint::black_box;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use fiber::{FiberBuilder, STACK_BYTES_MIN, stack_high_water};
use safe_rt::{Socket, TlsVersion};

use crate::pki::SERVER_NAME;
use crate::support::{ROOMY, configurations, paused};

/// Says to a process of the test binary that it is to die.
const CHILD: &str = "HANDSHAKE_TEST_CHILD";

/// What it says when the handshake begins.
const BEGINS: &str = "the handshake begins";

/// The marks of the client's and the server's fiber, each on a stack that nobody used before.
fn marks(version: TlsVersion) -> (usize, usize) {
    paused(move || {
        let (client, server) = configurations(version);
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        let mut serving = fiber::spawn(move || {
            Socket::tls_server(theirs, &server).map(|socket| (socket, stack_high_water()))
        })
        .expect("a fiber");
        let mut asking = fiber::spawn(move || {
            Socket::tls_client(ours, &client, SERVER_NAME)
                .map(|socket| (socket, stack_high_water()))
        })
        .expect("a fiber");
        let (_client, client) = asking.join().expect("its outcome").expect("a client");
        let (_server, server) = serving.join().expect("its outcome").expect("a server");
        (client.expect("a fiber"), server.expect("a fiber"))
    })
}

#[test]
fn a_handshake_of_either_side_fits_into_the_smallest_stack() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let (client, server) = marks(version);
        // In a build without any optimization it is twice what it is in an optimized one.
        let most = STACK_BYTES_MIN - 8 * 1024;
        assert!(client <= most && server <= most, "{client} and {server}");
    }
}

/// Uses `bytes` of stack and then calls `then` on what is left.
fn deep_down<T>(bytes: usize, then: &mut dyn FnMut() -> T) -> T {
    let frame = [bytes as u64; 128];
    let value = match bytes.checked_sub(size_of_val(&frame)) {
        Some(left) => deep_down(left, then),
        None => then(),
    };
    black_box(&frame);
    value
}

#[test]
fn an_overflow_inside_a_handshake_is_reported_by_the_fibers_name() {
    if std::env::var_os(CHILD).is_some() {
        paused(|| {
            let (client, _) = configurations(TlsVersion::Tls13);
            let (ours, _theirs) = fiber::net::pipe(ROOMY);
            let mut ours = Some(ours);
            let mut shake = move || {
                let ours = ours.take().expect("called once");
                std::io::stderr()
                    .write_all(BEGINS.as_bytes())
                    .expect("a line");
                Socket::tls_client(ours, &client, SERVER_NAME).is_ok()
            };
            let fiber = FiberBuilder::new().name("secure link");
            let fiber = fiber.stack_size(STACK_BYTES_MIN);
            let body = move || deep_down(STACK_BYTES_MIN - 12 * 1024, &mut shake);
            drop(fiber.spawn(body).expect("a fiber").join());
        });
        return;
    }
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "stack::an_overflow_inside_a_handshake_is_reported_by_the_fibers_name",
        ])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("a child");
    let text = String::from_utf8_lossy(&output.stderr);
    let signal = output.status.signal();
    // SIGSEGV everywhere but where it is SIGBUS.
    assert!(matches!(signal, Some(11 | 7 | 10)), "{signal:?}: {text}");
    let begins = text.find(BEGINS).expect("its first line");
    let report = text
        .find("fiber \"secure link\" (spawned at ")
        .expect("the report");
    assert!(begins < report, "{text}");
}
