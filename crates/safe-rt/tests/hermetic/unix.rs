//! Dialling a Unix socket: a name in the file system instead of an address.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use fiber::net::UnixListener;
use safe_rt::{ClientTlsOptions, DialOptions, DialRefusal, Endpoint, Phase, Scheme, Socket};

use crate::pki::authority_and_server;

/// A folder of its own, removed with what is in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("safe-rt-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    /// The endpoint of a socket in it, and its path.
    fn endpoint(&self) -> (Endpoint, PathBuf) {
        let path = self.0.join("broker");
        let text = path.to_str().expect("a path of text");
        (Endpoint::new(Scheme::Unix, text).expect("a path"), path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_unix_socket_is_dialled_by_its_path() {
    let folder = Folder::new("dialled");
    let (endpoint, path) = folder.endpoint();
    fiber::run(move || {
        let listener = UnixListener::bind(&path).expect("a new file");
        let mut serving = fiber::spawn(move || -> io::Result<()> {
            let socket = Socket::from(listener.accept()?.0);
            let mut text = Vec::new();
            (&socket).read_to_end(&mut text)?;
            (&socket).write_all(&text)?;
            socket.close()
        })
        .expect("a fiber");
        let socket = safe_rt::dial(&endpoint, &DialOptions::new()).expect("a connection");
        assert_eq!((socket.peer(), socket.is_tls()), (None, false));
        assert_eq!(socket.user_timeout().expect("no option"), None);
        let text = vec![0x5a; 1_000_000];
        let mut echo = Vec::new();
        (&socket).write_all(&text).expect("room");
        socket.shutdown_write().expect("room");
        (&socket).read_to_end(&mut echo).expect("the echo");
        assert!(echo == text, "other bytes");
        let traffic = socket.traffic();
        assert_eq!((traffic.sent, traffic.received), (1_000_000, 1_000_000));
        serving.join().expect("no panic").expect("served");
    })
    .expect("the runtime ran");
}

#[test]
fn a_unix_socket_that_is_not_there_or_not_listened_at_is_named() {
    let folder = Folder::new("absent");
    let (endpoint, path) = folder.endpoint();
    fiber::run(move || {
        let dial = || safe_rt::dial(&endpoint, &DialOptions::new()).expect_err("nobody");
        let absent = dial();
        drop(UnixListener::bind(&path).expect("a new file"));
        let left = dial();
        for (error, kind) in [
            (absent, io::ErrorKind::NotFound),
            (left, io::ErrorKind::ConnectionRefused),
        ] {
            assert_eq!((error.phase(), error.io().kind()), (Phase::Connect, kind));
            let start = format!("connecting to {}: ", path.display());
            assert!(error.to_string().starts_with(&start), "{error}");
        }
    })
    .expect("the runtime ran");
}

#[test]
fn a_full_queue_at_a_unix_socket_costs_the_deadline_alone() {
    let folder = Folder::new("full");
    let (endpoint, path) = folder.endpoint();
    fiber::run(move || {
        let _listener = UnixListener::bind(&path).expect("a new file");
        let limit = std::time::Duration::from_millis(100);
        let mut waiting = Vec::new();
        let error = loop {
            // Nobody accepts: at some length the queue is full.
            match fiber::timeout(limit, || safe_rt::dial(&endpoint, &DialOptions::new())) {
                Ok(outcome) => waiting.push(outcome.expect("a place in the queue")),
                Err(elapsed) => break elapsed.0.expect_err("no place in the queue"),
            }
            assert!(waiting.len() < 10_000, "a queue without a bound");
        };
        assert_eq!(error.phase(), Phase::Connect);
        assert!(error.is_timeout(), "{error}");
    })
    .expect("the runtime ran");
}

#[test]
fn tls_options_for_a_unix_socket_are_refused() {
    let (authority, _) = authority_and_server();
    let tls = ClientTlsOptions::new(authority.trust()).build();
    let options = DialOptions::new().tls(tls.expect("options"));
    let endpoint: Endpoint = "unix:/run/broker".parse().expect("a path");
    let error = safe_rt::dial(&endpoint, &options).expect_err("they do not fit");
    let refusal = DialRefusal::of(&error);
    assert_eq!(refusal, Some(&DialRefusal::TlsForPlain(Scheme::Unix)));
}
