//! What most tests begin with: a runtime with a paused clock, and both sides of a TLS connection.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Once;

use fiber::net::PipeStream;
use safe_rt::{
    ClientTls, ClientTlsOptions, Error, ServerTls, ServerTlsOptions, Socket, TlsVersion,
};

use crate::pki::{SERVER_NAME, authority_and_server};

/// Room in a pipe that fits whole flights of a handshake.
pub(crate) const ROOMY: usize = 64 * 1024;

/// Runs a test under the paused clock: nothing waits in real time, and a deadlock is a failure.
#[track_caller]
pub(crate) fn paused<T: 'static>(body: impl FnOnce() -> T + 'static) -> T {
    fiber::Runtime::builder()
        .paused_clock(true)
        .run(body)
        .expect("the runtime ran")
}

/// Options of both sides that fit together.
pub(crate) fn options() -> (ClientTlsOptions, ServerTlsOptions) {
    let (authority, server) = authority_and_server();
    (
        ClientTlsOptions::new(authority.trust()),
        ServerTlsOptions::new(server.identity()),
    )
}

/// Configurations of both sides that fit together and speak one version.
pub(crate) fn configurations(version: TlsVersion) -> (ClientTls, ServerTls) {
    let (client, server) = options();
    (
        client.version(version).build().expect("client options"),
        server.version(version).build().expect("server options"),
    )
}

/// Runs both sides of a handshake over a pipe, each on its own fiber.
pub(crate) fn shake(
    client: &ClientTls,
    server: &ServerTls,
    capacity: usize,
) -> (Result<Socket, Error>, Result<Socket, Error>) {
    let (ours, theirs) = fiber::net::pipe(capacity);
    shake_over(client, server, ours, theirs, SERVER_NAME)
}

/// As [`shake`], over the two ends given and asking for `name`.
pub(crate) fn shake_over(
    client: &ClientTls,
    server: &ServerTls,
    ours: PipeStream,
    theirs: PipeStream,
    name: &str,
) -> (Result<Socket, Error>, Result<Socket, Error>) {
    let server = server.clone();
    let mut serving = fiber::spawn(move || Socket::tls_server(theirs, &server)).expect("a fiber");
    let client = Socket::tls_client(ours, client, name);
    (client, serving.join().expect("the server's outcome"))
}

/// Both ends of a connection whose handshake succeeds.
#[track_caller]
pub(crate) fn connected(version: TlsVersion, capacity: usize) -> (Socket, Socket) {
    let (client, server) = configurations(version);
    let (client, server) = shake(&client, &server, capacity);
    (client.expect("a client"), server.expect("a server"))
}

/// Reads exactly one chunk and returns it as text.
pub(crate) fn read_text(mut socket: &Socket) -> io::Result<String> {
    use io::Read as _;
    let mut buf = [0; 1024];
    let len = socket.read(&mut buf)?;
    Ok(String::from_utf8_lossy(&buf[..len]).into_owned())
}

/// Set in a process with few descriptors, which runs the one test that asks for it.
const FEW_DESCRIPTORS: &str = "SAFE_RT_TEST_WITH_FEW_DESCRIPTORS";

/// Runs `body`, of the test with this whole name, in a process that may have 40 descriptors: the
/// limit is one of the whole process and would hurt the other tests.
#[track_caller]
pub(crate) fn with_few_descriptors(test: &str, body: impl FnOnce()) {
    if std::env::var_os(FEW_DESCRIPTORS).is_some() {
        return body();
    }
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -n 40 && exec \"$0\" --exact --test-threads=1 \"$1\"",
        ])
        .arg(std::env::current_exe().expect("this program"))
        .arg(test)
        .env(FEW_DESCRIPTORS, "1")
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // rustls logs in a build with the feature `keylog` alone.
        ["safe_rt", "rustls"]
            .iter()
            .any(|ours| metadata.target().starts_with(ours))
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}", record.level(), record.args());
            let _ = LOGGED.try_with(|lines| lines.borrow_mut().push(line));
        }
    }

    fn flush(&self) {}
}

/// What this crate logs on this thread, and rustls, while `body` runs, from the level of information up.
pub(crate) fn logged<T>(body: impl FnOnce() -> T) -> (T, Vec<String>) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Capture).expect("the only logger");
        log::set_max_level(log::LevelFilter::Info);
    });
    LOGGED.take();
    (body(), LOGGED.take())
}

/// Counts how often another fiber ran while a test waited.
#[derive(Clone, Default)]
pub(crate) struct Ticks(Rc<RefCell<u64>>);

impl Ticks {
    /// Starts a fiber that ticks every 100 ms until it is cancelled.
    pub(crate) fn start() -> Self {
        let ticks = Self::default();
        let counted = ticks.clone();
        fiber::spawn(move || {
            while fiber::sleep(std::time::Duration::from_millis(100)).is_ok() {
                *counted.0.borrow_mut() += 1;
            }
        })
        .expect("a fiber");
        ticks
    }

    pub(crate) fn count(&self) -> u64 {
        *self.0.borrow()
    }
}

/// Makes both ends of a connection the two sides of a WebSocket.
#[cfg(feature = "ws")]
#[track_caller]
pub(crate) fn over_ws(ours: impl Into<Socket>, theirs: impl Into<Socket>) -> (Socket, Socket) {
    let theirs = theirs.into();
    let mut serving = fiber::spawn(move || Socket::ws_server(theirs)).expect("a fiber");
    let options = safe_rt::WsOptions::new();
    let client = Socket::ws_client(ours, &options, "broker", "/mqtt").expect("a client");
    let server = serving.join().expect("no panic").expect("a server");
    (client, server)
}

/// No test asks for it in a build without WebSocket.
#[cfg(not(feature = "ws"))]
pub(crate) fn over_ws(_ours: impl Into<Socket>, _theirs: impl Into<Socket>) -> (Socket, Socket) {
    unreachable!("a build without WebSocket")
}
