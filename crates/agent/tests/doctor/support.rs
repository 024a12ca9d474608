//! A configuration, servers that behave badly, and certificates.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use agent::config::Source;
use agent::doctor::{self, Options, Outcome, Report, Subject};
use fiber::net::{TcpListener, TcpStream};
use mqtt::{Broker, BrokerOptions};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use safe_rt::{Identity, Listener, ServerTls, ServerTlsOptions, Trust};
use socket2::{Domain, Socket, Type};

static NEXT: AtomicU32 = AtomicU32::new(0);

pub(crate) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A folder that is removed with everything in it when the value is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("agent-doctor-{}-{number}", process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder of its own");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    #[allow(clippy::disallowed_methods, reason = "before there are fibers to stop")]
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("it can be written");
        path
    }

    /// Writes a configuration whose state is kept here.
    pub(crate) fn configure(&self, endpoint: &str, cloud: &str, rest: &str) -> PathBuf {
        let state = self.0.join("state");
        fs::create_dir_all(&state).expect("a folder");
        let text = format!(
            "[device]\nid = \"meter-17\"\n[state]\ndir = {state:?}\n\
             [cloud]\nendpoint = \"{endpoint}\"\n{cloud}\n{rest}\n"
        );
        self.write("agent.toml", &text)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Examines what a configuration file says, and nothing of this machine's.
pub(crate) fn options(config: &Path) -> Options {
    let layers = Source::system().root("/nonexistent").variables([]);
    Options::new(Subject::Layers(Box::new(layers.file(config))))
}

pub(crate) fn examine(config: &Path) -> Report {
    doctor::examine(options(config))
}

/// Runs a body on fibers.
#[track_caller]
pub(crate) fn run(body: impl FnOnce() + 'static) {
    fiber::run(body).expect("the test body does not panic");
}

/// A broker on a port of this machine.
pub(crate) fn serve(options: BrokerOptions) -> (Broker, String) {
    let broker = Broker::new(options);
    let listener = Listener::bind(LOOPBACK).expect("a port");
    let endpoint = format!("mqtt://{}", listener.local_addr().expect("an address"));
    broker.serve(listener).expect("a fiber");
    (broker, endpoint)
}

/// As [`serve`], over TLS; returns the port.
pub(crate) fn serve_tls(tls: ServerTls) -> (Broker, u16) {
    let broker = Broker::new(BrokerOptions::new());
    let listener = Listener::bind_tls(LOOPBACK, tls).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    broker.serve(listener).expect("a fiber");
    (broker, port)
}

/// A server that answers the first bytes of each connection with these, and closes it.
pub(crate) fn answer(bytes: &'static [u8]) -> u16 {
    each(move |stream| {
        let mut buf = [0; 4096];
        if let Ok(1..) = (&stream).read(&mut buf) {
            drop((&stream).write_all(bytes));
            drop(stream.shutdown(std::net::Shutdown::Write));
            // Until the other end has read it: a reset would take it away.
            drop((&stream).read(&mut buf));
        }
    })
}

/// A server that does this with each connection.
pub(crate) fn each(act: impl Fn(TcpStream) + Clone + 'static) -> u16 {
    let listener = TcpListener::bind(LOOPBACK).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    fiber::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let act = act.clone();
            fiber::spawn(move || act(stream)).expect("a fiber");
        }
    })
    .expect("a fiber");
    port
}

/// A port whose queue of connections is full: what comes is dropped, as a firewall does it.
pub(crate) fn full_port() -> (Socket, Vec<Socket>, SocketAddr) {
    let new = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let listener = new();
    listener.bind(&LOOPBACK.into()).expect("a socket");
    listener.listen(0).expect("a socket");
    let address = listener
        .local_addr()
        .expect("a socket")
        .as_socket()
        .expect("a socket");
    let fill = (0..3).map(|_| {
        let socket = new();
        socket.set_nonblocking(true).expect("a socket");
        // It is under way, or it is there.
        drop(socket.connect(&address.into()));
        socket
    });
    let fill: Vec<Socket> = fill.collect();
    (listener, fill, address)
}

/// An authority, and what it has signed.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("A test's authority {number}"))
    }

    pub(crate) fn named(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).expect("it signs itself").pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate and its key, both in PEM.
    pub(crate) fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let made = params.signed_by(&key, &self.issuer).expect("it signs");
        (made.pem(), key.serialize_pem())
    }

    /// A server with a certificate for this name.
    pub(crate) fn server(&self, name: &str) -> ServerTlsOptions {
        let (chain, key) = self.sign(name);
        let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).expect("they fit");
        ServerTlsOptions::new(identity)
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::from_pem(self.pem.as_bytes()).expect("a certificate")
    }
}

/// What a check found: its outcome and its code.
#[track_caller]
pub(crate) fn found<'a>(report: &'a Report, id: &str) -> (Outcome, Option<&'a str>) {
    let finding = report
        .finding(id)
        .unwrap_or_else(|| panic!("{id} was not made"));
    (finding.outcome, finding.code)
}

/// The check fails with this code, is the first thing to fix, and what follows it is left out.
#[track_caller]
pub(crate) fn expect_first(report: &Report, id: &str, code: &str) {
    let text = report.text();
    let first = report
        .first()
        .unwrap_or_else(|| panic!("nothing is wrong:\n{text}"));
    assert_eq!((first.id, first.code), (id, Some(code)), "\n{text}");
    let last = text.lines().last().unwrap_or_default();
    let verdict = report.verdict();
    assert!(verdict.contains(&format!("is {id}: ")), "{verdict}");
    assert!(last.ends_with(&format!("[{code}]")), "\n{text}");
    assert!(first.explanation().is_some(), "{code} is not explained");
    assert!(first.fix().is_some_and(|fix| !fix.is_empty()), "\n{text}");
}

/// Some line of the evidence of a check, or what helps, has this in it.
#[track_caller]
pub(crate) fn expect_told(report: &Report, id: &str, words: &str) {
    let finding = report.finding(id).expect("it was made");
    let fix = finding.fix().unwrap_or_default();
    let told = finding.evidence.iter().any(|line| line.contains(words)) || fix.contains(words);
    assert!(told, "{words:?} in\n{}", report.text());
}
