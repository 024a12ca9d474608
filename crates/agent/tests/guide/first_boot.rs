//! The first boot of a device that has nothing but an endpoint and a claim, against a cloud on loopback
//! that speaks as AWS IoT Core does.

use std::cell::Cell;
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Mutex, Once};
use std::thread::{self, ThreadId};
use std::time::Duration;

use agent::args::{self, Command};
use agent::identity;
use agent::local_cloud::{Fleet, FleetOptions, LocalAuthority};
use agent::profile::Provider;
use fiber::Instant;
use mqtt::{Broker, BrokerOptions, PublishVerdict};
use safe_rt::{Listener, ServerTlsOptions};

use crate::page::TIMELINE;
use crate::support::{Folder, LOOPBACK};

/// How long the boot may take.
const LIMIT: Duration = Duration::from_secs(60);
const TEMPLATE: &str = "meters";
/// Topics of fleet provisioning.
const PROVISIONING: &str = "$aws/";
/// A claim connects as the identifier that the device has made, and this.
const CLAIM: &str = "-claim";

/// One event.
struct Said {
    at: Instant,
    who: &'static str,
    what: String,
}

/// What was said, by the thread that it happened on.
static SAID: Mutex<Vec<(ThreadId, Said)>> = Mutex::new(Vec::new());

fn say(who: &'static str, what: impl Into<String>) {
    let said = Said {
        at: Instant::now(),
        who,
        what: what.into(),
    };
    let mut all = SAID.lock().expect("nobody panics with it");
    all.push((thread::current().id(), said));
}

/// What was said on this thread.
fn said() -> Vec<Said> {
    let own = thread::current().id();
    let mut all = SAID.lock().expect("nobody panics with it");
    let (mine, others) = all.drain(..).partition(|(thread, _)| *thread == own);
    *all = others;
    let mine: Vec<(ThreadId, Said)> = mine;
    mine.into_iter().map(|(_, said)| said).collect()
}

/// The log of the agent, as `agent run` has it.
struct Log;

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("agent") && metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            say("device", record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Makes the page.
pub(crate) fn page() -> String {
    static LOGGING: Once = Once::new();
    LOGGING.call_once(|| {
        log::set_logger(&Log).expect("there is no other");
        log::set_max_level(log::LevelFilter::Info);
    });
    let ran = fiber::run(|| fiber::timeout(LIMIT, boot).map_err(|_| "it took too long"));
    ran.expect("the runtime ran").expect("in time")
}

/// What the cloud lets a device and a claim do, as the policies beside the guide say, and tells.
fn rules(is_up: &Rc<Cell<bool>>) -> BrokerOptions {
    let is_up = Rc::clone(is_up);
    let is_claim = |client: &str| client.ends_with(CLAIM);
    Provider::Aws
        .broker_options()
        .authenticate(|connect| {
            say("cloud", format!("{} connects", connect.fields().client_id));
            Ok(())
        })
        .authorize_subscribe(move |client, filter, _| {
            say("cloud", format!("{client} subscribes to {filter}"));
            is_claim(client) == filter.starts_with(PROVISIONING)
        })
        .authorize_publish(move |client, topic, _| {
            say("cloud", format!("{client} publishes to {topic}"));
            if is_claim(client) != topic.starts_with(PROVISIONING) {
                return PublishVerdict::HangUp;
            }
            if topic.ends_with("/telemetry") {
                is_up.set(true);
            }
            PublishVerdict::Allow
        })
}

fn boot() -> String {
    let folder = Folder::new();
    let authority = Rc::new(LocalAuthority::new("a local cloud").expect("an authority"));
    let tls = ServerTlsOptions::new(authority.server("127.0.0.1").expect("a server"))
        .require_client_certificate(authority.trust().expect("trust"));
    let tls = tls.build().expect("TLS");
    let listener = Listener::bind_tls(LOOPBACK, tls).expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let is_up = Rc::new(Cell::new(false));
    let broker = Broker::new(rules(&is_up));
    let fleet = FleetOptions::new(TEMPLATE).allow(|parameters| {
        let serial = &parameters["SerialNumber"];
        say(
            "cloud",
            format!("registers {serial} by the template {TEMPLATE}"),
        );
        Ok(())
    });
    let _fleet = Fleet::serve(&broker, Rc::clone(&authority), fleet).expect("a cloud");
    broker.serve(listener).expect("a fiber");
    let claim = authority.issue("claim", LIMIT).expect("a claim");
    folder.write("ca.pem", authority.certificate());
    folder.write("claim.pem", &claim.chain);
    folder.write("claim.key", &claim.key);
    let text = configuration(&address, &folder.path().join("state"));
    let config = folder.write("agent.toml", &text);

    let words = ["run", "--config"].map(std::ffi::OsString::from);
    let words = words.into_iter().chain([config.into_os_string()]);
    let Ok(Command::Run(args)) = args::parse(words) else {
        unreachable!("that is `agent run`")
    };
    let began = Instant::now();
    let mut running = fiber::spawn(move || agent::run::run(&args)).expect("a fiber");
    while !is_up.get() {
        assert!(!running.is_finished(), "it ended by itself");
        fiber::sleep(Duration::from_millis(10)).expect("in time");
    }
    // What comes of the first message.
    fiber::sleep(Duration::from_millis(300)).expect("in time");
    let events = said();
    running.cancel();
    drop(running.join());

    let state = folder.path().join("state");
    let (found, _) = identity::look(&state).expect("it can be read");
    let device = found.device_id.unwrap_or_default();
    let mut timeline = String::new();
    for Said { at, who, what } in events {
        let at = (at - began).as_secs_f64();
        writeln!(timeline, "{at:>7.3} s  {who:<6}  {what}").expect("memory");
    }
    let mut page = written(&text, &timeline, &listed(&state, &state));
    for (from, to) in [
        (&*state.to_string_lossy(), "/var/lib/agent"),
        (&*folder.path().to_string_lossy(), "/etc/agent"),
        (&*address, "127.0.0.1:8883"),
        (&*device, "agent-0123456789"),
        // As the cloud numbers its certificates.
        (&*format!("{:064x}", 1), "0001"),
    ] {
        page = page.replace(from, to);
    }
    page
}

fn configuration(address: &str, state: &Path) -> String {
    format!(
        "[cloud]\nendpoint = \"mqtts://{address}\"\nprofile = \"aws\"   # out there the \
         name of the host says so\nauthority = \"ca.pem\"\n\n[state]\ndir = {state:?}\n\n\
         [provision]\nmethod = \"aws\"\ntemplate = \"{TEMPLATE}\"\n\
         claim_certificate = \"claim.pem\"\nclaim_key = \"claim.key\"\n\
         parameters = {{ SerialNumber = \"meter-17\" }}\n\n\
         [telemetry]\ntopic = \"devices/{{id}}/telemetry\"\n\n\
         [[subscription]]\ntopic = \"devices/{{id}}/set\"\n"
    )
}

/// The files below a folder, each with its mode.
fn listed(root: &Path, folder: &Path) -> String {
    let mut text = String::new();
    let mut names = fiber::fs::list(folder).expect("it can be read");
    names.sort_unstable();
    for name in names {
        let path = folder.join(name);
        if path.is_dir() {
            text.push_str(&listed(root, &path));
        } else {
            let mode = fiber::fs::permissions(&path).expect("it is there") & 0o777;
            let shown = path.strip_prefix(root).expect("it is below").display();
            writeln!(text, "{mode:o}  {shown}").expect("memory");
        }
    }
    text
}

fn written(configuration: &str, timeline: &str, files: &str) -> String {
    let fence = TIMELINE;
    format!(
        "# A first boot

`cargo run -p agent --example guide -- first-boot` made this page, and a test keeps it so. It starts a cloud on
loopback that speaks as AWS IoT Core does (TLS with client certificates, fleet provisioning, its limits), and
`agent run` with a new state directory. Port, folders and the identifier that the device makes for itself are
replaced by usual ones.

The device has an endpoint, and the claim that all devices of its batch share:

```toml
{configuration}```

What happens, until its first message is with the cloud:

{fence}
{timeline}```

- The private key is made on the device and never leaves it: what is sent is a request to certify it.
- The identity counts once it is proven: a connection with it was accepted, a subscription granted, a message
  acknowledged, and it was up for 10 s. Only then the claim is needed no more. Where the power goes in between,
  the next boot goes on where this one was ([provisioning](../provisioning.md)).
- The next boot finds the identity and asks nobody.

What the state directory holds then, with the mode of each file:

```text
{files}```
"
    )
}
