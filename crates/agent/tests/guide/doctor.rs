//! What `agent doctor` says of faults that are made on purpose.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use agent::doctor;
use agent::profile::Provider;
use mqtt::{Broker, BrokerOptions};
use safe_rt::Listener;

use crate::support::{Authority, Folder, LOOPBACK, full_port, options, run};

/// What the clock of the device shows where it is right.
const NOON: Duration = Duration::from_secs(1_795_953_600);
/// The rest of the configuration.
const REST: &str = "[telemetry]\ntopic = \"devices/{id}/telemetry\"\n\
                    [[subscription]]\ntopic = \"devices/{id}/set\"\n\
                    [[subscription]]\ntopic = \"fleet/+/news\"\n";

/// One fault.
struct Fault<'a> {
    title: &'a str,
    text: &'a str,
    /// What `[cloud]` says.
    cloud: &'a str,
    folder: &'a Folder,
    /// The ports of the system, each with the one that it stands for.
    ports: &'a [(u16, u16)],
    clock: Duration,
}

/// Makes the page.
pub(crate) fn page() -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    run(move || sender.send(examined()).expect("somebody waits"));
    receiver.recv().expect("it was made")
}

fn examined() -> String {
    let mut page = String::from(
        "# What the doctor says

`cargo run -p agent --example guide -- doctor` made this page, and a test keeps it so. It plants faults on the
loopback interface, one after the other, and asks the doctor each time as `agent doctor --skip state-dir` does.
Ports and folders of the run are replaced by usual ones.

The checks are made in this order. What fails is told with what was found, why, and what helps; what cannot be
looked at because of it is left out. The last line is what to do first, and the exit code is 69, or 76 where
rights are missing. What all codes mean is in [troubleshooting](troubleshooting.md).
",
    );
    let folder = Folder::new();
    let authority = Authority::named("a local cloud");
    let (chain, key) = authority.sign("meter-17");
    folder.write("ca.pem", &authority.pem);
    folder.write("device.pem", &chain);
    folder.write("device.key", &key);
    let own = "certificate = \"device.pem\"\nkey = \"device.key\"\n";
    let cloud = format!("authority = \"ca.pem\"\n{own}profile = \"aws\"");

    let port = serve(&authority, Provider::Aws.broker_options());
    folder.write("old.pem", &Authority::named("an old authority").pem);
    show(
        &mut page,
        &Fault {
            title: "The wrong authority",
            text: "The device believes another authority than the one that certified the broker: an old file, or a proxy
that inspects the traffic.",
            cloud: &format!("authority = \"old.pem\"\n{own}profile = \"aws\""),
            folder: &folder,
            ports: &[(port, 8883)],
            clock: NOON,
        },
    );

    let rights = Provider::Aws
        .broker_options()
        .authorize_subscribe(|client, filter, _| filter.starts_with(&format!("devices/{client}/")));
    let port = serve(&authority, rights);
    show(
        &mut page,
        &Fault {
            title: "A right that is missing",
            text: "The policy does not allow one of the filters, and the broker says so by hanging up, as AWS IoT Core does.
Each filter is tried by itself, on a fresh connection after such an end, so that the culprit is named. The
statement that allows it is there to be pasted.",
            cloud: &cloud,
            folder: &folder,
            ports: &[(port, 8883)],
            clock: NOON,
        },
    );

    let (_listener, _fill, dropped) = full_port();
    let open = serve(&authority, Provider::Aws.broker_options());
    show(
        &mut page,
        &Fault {
            title: "A firewall",
            text: "Port 8883 is dropped on the way, and 443 answers.",
            cloud: &cloud,
            folder: &folder,
            ports: &[(dropped.port(), 8883), (open, 443)],
            clock: NOON,
        },
    );

    let port = serve(&authority, Provider::Aws.broker_options());
    show(
        &mut page,
        &Fault {
            title: "A clock of 1970",
            text: "The device has no battery for its clock, and the network has not told it the time yet. It connects all
the same: certificates are judged as of the time at which it is at the least.",
            cloud: &cloud,
            folder: &folder,
            ports: &[(port, 8883)],
            clock: Duration::from_secs(90),
        },
    );
    page
}

/// A broker that wants certificates; returns its port.
fn serve(authority: &Authority, options: BrokerOptions) -> u16 {
    let tls = authority
        .server("127.0.0.1")
        .require_client_certificate(authority.trust())
        .build();
    let listener = Listener::bind_tls(LOOPBACK, tls.expect("TLS")).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    Broker::new(options).serve(listener).expect("a fiber");
    port
}

fn show(page: &mut String, fault: &Fault<'_>) {
    let Fault { title, text, .. } = fault;
    let endpoint = format!("mqtts://127.0.0.1:{}", fault.ports[0].0);
    let config = fault.folder.configure(&endpoint, fault.cloud, REST);
    let mut asked = options(&config);
    asked.skip = vec!["state-dir"];
    asked.wall = Some(UNIX_EPOCH + fault.clock);
    asked.ports = Some(fault.ports.iter().map(|(port, _)| *port).collect());
    let report = doctor::examine(asked);
    let told = normal(&report.text(), fault);
    let exit = report.exit(false).code();
    write!(
        page,
        "\n## {title}\n\n{text}\n\n```text\n{told}```\n\nThe exit code is {exit}.\n"
    )
    .expect("memory");
}

/// What is the same in every run.
fn normal(text: &str, fault: &Fault<'_>) -> String {
    let mut text = text.replace(", set by the network", "");
    let folder: &Path = fault.folder.path();
    text = text.replace(&*folder.to_string_lossy(), "/etc/agent");
    for (port, stands_for) in fault.ports {
        for (before, after) in [(":", ""), ("port ", ""), ("Port ", "")] {
            let (from, to) = (
                format!("{before}{port}{after}"),
                format!("{before}{stands_for}"),
            );
            text = text.replace(&from, &to);
        }
    }
    // Addresses are told in the order of their ports, which is another one each time.
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_address = |line: &&str| line.trim_start().starts_with("found: 127.0.0.1:");
    for addresses in lines.chunk_by_mut(|one, other| is_address(one) && is_address(other)) {
        addresses.sort_unstable();
    }
    lines.concat()
}
