//! TLS against OpenSSL: our client at its `s_server`, our server with its `s_client`.
//!
//! Both programs print what they receive and send what they are given to read, but for lines that begin
//! with a letter that is a command of theirs (`k`, `K`, `P`, `q`, `Q`, `r`, `R`). Our side runs on a fiber and must not
//! stop its thread, so what they print is looked for between short sleeps.

mod our_client;
mod our_server;

use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::Duration;

use safe_rt::{
    ClientTlsOptions, DialOptions, Endpoint, Error, Incoming, Listener, Phase, Scheme,
    ServerTlsOptions, Socket, TlsError, TlsErrorKind, TlsVersion, Trust,
};
use tests::peers::Peers;
use tests::pki::{Identity, Pki};
use tests::process::{PROCESS_TIMEOUT, Running};
use tests::temp_dir::TempDir;

const VERSIONS: [(TlsVersion, &str); 2] = [
    (TlsVersion::Tls12, "-tls1_2"),
    (TlsVersion::Tls13, "-tls1_3"),
];
/// How often the output of a program is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Runs a test on a fiber, and for no longer than a foreign program may take.
#[track_caller]
fn run(body: impl FnOnce() + 'static) {
    fiber::run(move || {
        let in_time = fiber::timeout(PROCESS_TIMEOUT, body);
        assert!(in_time.is_ok(), "it took longer than {PROCESS_TIMEOUT:?}");
    })
    .unwrap();
}

/// `s_server` or `s_client`, and the folder with its files.
struct Openssl {
    running: Running,
    heard: Vec<String>,
    /// Its files, for as long as it runs.
    _folder: TempDir,
}

impl Openssl {
    /// Starts it with the files of an identity, if there is one, and of the authority that is
    /// trusted, and with `args`.
    fn start(
        peers: &Peers,
        what: &str,
        (pki, own): (&Pki, Option<&Identity>),
        args: &[&str],
    ) -> Self {
        let folder = TempDir::new("openssl");
        let authority = folder.write("authority.crt", pki.authority.certificate());
        // Its outputs come in one order.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]);
        command.arg(peers.openssl()).arg(what);
        command.arg("-CAfile").arg(authority);
        if let Some(own) = own {
            let (certificate, key) = own.write(&folder, "own");
            command.arg("-cert").arg(certificate).arg("-key").arg(key);
        }
        let running = Running::start_interactive(command.args(args)).unwrap();
        let heard = Vec::new();
        Self {
            running,
            heard,
            _folder: folder,
        }
    }

    /// Waits for a line that contains `text`, and returns it.
    #[track_caller]
    fn hear(&mut self, text: &str) -> String {
        loop {
            while let Some(line) = self.running.try_line() {
                self.heard.push(line);
                if self.heard.last().unwrap().contains(text) {
                    return self.heard.last().unwrap().clone();
                }
            }
            let waited = fiber::sleep(POLL_INTERVAL);
            assert!(waited.is_ok(), "no {text:?} in:\n{}", self.heard.join("\n"));
        }
    }

    fn has_said(&self, text: &str) -> bool {
        self.heard.iter().any(|line| line.contains(text))
    }
}

/// An `s_server`, and where it listens.
struct OpensslServer {
    openssl: Openssl,
    port: u16,
}

impl OpensslServer {
    /// Starts it with an identity and waits until it listens.
    #[track_caller]
    fn start(peers: &Peers, pki: &Pki, own: &Identity, args: &[&str]) -> Self {
        let args = [&["-accept", "127.0.0.1:0"], args].concat();
        let mut openssl = Openssl::start(peers, "s_server", (pki, Some(own)), &args);
        let line = openssl.hear("ACCEPT ");
        let port = line.rsplit(':').next().unwrap().trim().parse().unwrap();
        Self { openssl, port }
    }

    fn way(&self, host: &str, tls: ClientTlsOptions) -> (Endpoint, DialOptions) {
        let endpoint = Endpoint::new(Scheme::Mqtts, &format!("{host}:{}", self.port)).unwrap();
        (endpoint, DialOptions::new().tls(tls.build().unwrap()))
    }

    fn dial(&self, host: &str, tls: ClientTlsOptions) -> Result<Socket, Error> {
        let (endpoint, options) = self.way(host, tls);
        safe_rt::dial(&endpoint, &options)
    }
}

fn trust(pki: &Pki) -> Trust {
    Trust::from_pem(pki.authority.certificate().as_bytes()).unwrap()
}

fn client(pki: &Pki) -> ClientTlsOptions {
    ClientTlsOptions::new(trust(pki))
}

fn identity(own: &Identity) -> safe_rt::Identity {
    safe_rt::Identity::from_pem(own.certificate.as_bytes(), own.key.as_bytes()).unwrap()
}

/// A listener of ours, and the name of its port for `s_client`.
fn listen(tls: ServerTlsOptions) -> (Listener, String) {
    let any = ([127, 0, 0, 1], 0).into();
    let listener = Listener::bind_tls(any, tls.build().unwrap()).unwrap();
    let connect = format!("localhost:{}", listener.local_addr().unwrap().port());
    (listener, connect)
}

/// Starts an `s_client` that comes to `connect` and checks what it finds there.
fn openssl_client(
    peers: &Peers,
    (pki, own): (&Pki, Option<&Identity>),
    connect: &str,
    args: &[&str],
) -> Openssl {
    let common = ["-4", "-connect", connect, "-verify_return_error"];
    let args = [&common, args].concat();
    Openssl::start(peers, "s_client", (pki, own), &args)
}

fn meet(listener: &Listener) -> Result<Socket, Error> {
    listener.accept().and_then(Incoming::handshake)
}

/// Sends a line each way, whose text both ends see.
#[track_caller]
fn talk(socket: &Socket, openssl: &mut Openssl, word: &str) {
    say(socket, &format!("{word} to you\n"));
    openssl.hear(&format!("{word} to you"));
    openssl.running.type_in(&format!("> {word} to us\n"));
    assert_eq!(read_line(socket), format!("> {word} to us"));
}

#[track_caller]
fn say(mut socket: &Socket, text: &str) {
    socket.write_all(text.as_bytes()).unwrap();
    socket.flush().unwrap();
}

#[track_caller]
fn read_line(mut socket: &Socket) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while socket.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Checks what kind of failure it is, and that its text says `words`.
#[track_caller]
fn expect(error: &Error, kind: TlsErrorKind, words: &[&str]) {
    assert_eq!(error.phase(), Phase::Tls, "{error}");
    expect_any(error, kind, words);
}

#[track_caller]
fn expect_any(error: &(impl std::error::Error + 'static), kind: TlsErrorKind, words: &[&str]) {
    assert_eq!(
        TlsError::of(error).map(TlsError::kind),
        Some(kind),
        "{error}"
    );
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text:?}");
    }
}
