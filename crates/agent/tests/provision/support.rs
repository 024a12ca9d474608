//! A cloud for the tests, and folders of their own.

#![allow(
    clippy::disallowed_methods,
    reason = "the program runs beside the fibers of the test"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent::identity::Store;
use agent::local_cloud::{Fleet, FleetOptions, LocalAuthority};
use agent::provision::{ClaimFiles, KeyOrigin, Method, Options, ensure_identity};
use mqtt::{Broker, BrokerOptions};
use safe_rt::{BackoffOptions, Endpoint, Listener, Scheme, ServerTlsOptions};

pub(crate) const TEMPLATE: &str = "meters";

/// A folder of its own, removed in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("agent-provision-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

static CLOUDS: AtomicU32 = AtomicU32::new(0);

/// A cloud behind TLS with client certificates.
pub(crate) struct Cloud {
    pub(crate) authority: Rc<LocalAuthority>,
    pub(crate) broker: Broker,
    pub(crate) fleet: Fleet,
    pub(crate) endpoint: Endpoint,
}

impl Cloud {
    pub(crate) fn start(broker: BrokerOptions, fleet: FleetOptions) -> Self {
        // One of the same name would count as the same, with signatures that are wrong.
        let number = CLOUDS.fetch_add(1, Ordering::Relaxed);
        let authority = LocalAuthority::new(&format!("test authority {number}"));
        let authority = Rc::new(authority.expect("an authority"));
        let tls = ServerTlsOptions::new(authority.server("127.0.0.1").expect("a server"))
            .require_client_certificate(authority.trust().expect("trust"))
            .build()
            .expect("TLS");
        let listener = Listener::bind_tls(([127, 0, 0, 1], 0).into(), tls).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let broker = Broker::new(broker);
        let fleet = Fleet::serve(&broker, Rc::clone(&authority), fleet).expect("a cloud");
        broker.serve(listener).expect("a fiber");
        Self {
            authority,
            broker,
            fleet,
            endpoint: Endpoint::new(Scheme::Mqtts, &address).expect("an endpoint"),
        }
    }

    /// Options of a device that has a claim of this cloud.
    pub(crate) fn options(&self, folder: &Folder) -> Options {
        let life = Duration::from_secs(3_600);
        let claim = self.authority.issue("claim", life).expect("a claim");
        let mut options = options(self.endpoint.clone(), KeyOrigin::Device);
        options.trust = self.authority.trust().expect("trust");
        options.claim = Some(ClaimFiles {
            certificate: folder.write("claim.pem", &claim.chain),
            key: folder.write("claim.key", &claim.key),
        });
        // It is real time that passes here.
        options.proof.up_for = Duration::from_millis(50);
        options
    }
}

/// Options with short waits.
pub(crate) fn options(endpoint: Endpoint, key: KeyOrigin) -> Options {
    let template = TEMPLATE.to_owned();
    let mut options = Options::new(endpoint, Method::Aws { template, key });
    let pause = Duration::from_millis(20);
    options.backoff = BackoffOptions::new()
        .base(pause)
        .cap(pause)
        .long_base(pause)
        .long_cap(pause)
        .floor(pause);
    options
}

/// Runs on fibers, not for ever.
#[track_caller]
pub(crate) fn run(body: impl FnOnce() + 'static) {
    let limit = Duration::from_secs(60);
    let ran = fiber::run(move || fiber::timeout(limit, body).map_err(|_| "it took too long"));
    ran.expect("the runtime ran").expect("in time");
}

/// How a call of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// What was printed as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Calls the program with these words, and with the configuration in the folder, and waits for its end,
/// while fibers go on. Yields.
pub(crate) fn agent(folder: &Folder, words: &[&str]) -> Ended {
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let file = |path: &Path| std::fs::File::create(path).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.args(words).arg("-c");
    command.arg(folder.path().join("agent.toml"));
    command.env_remove("RUST_LOG");
    command.stdin(Stdio::null());
    command.stdout(file(&out)).stderr(file(&err));
    let mut child = command.spawn().expect("it starts");
    let status = loop {
        match child.try_wait().expect("a child") {
            Some(status) => break status,
            None => fiber::sleep(Duration::from_millis(10)).expect("no scope is over"),
        }
    };
    let read = |path: &Path| std::fs::read(path).expect("a file");
    Ended {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8(read(&out)).expect("text"),
        err: String::from_utf8(read(&err)).expect("text"),
    }
}

/// Gives the device in the folder an identity, without the program. Yields.
pub(crate) fn provisioned(cloud: &Cloud, folder: &Folder) -> String {
    let store = Store::open(folder.state()).expect("a store");
    let active = ensure_identity(&store, &cloud.options(folder)).expect("an identity");
    active
        .about()
        .expect("what the cloud said")
        .client_id
        .clone()
}
