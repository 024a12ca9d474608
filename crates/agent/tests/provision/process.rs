//! The program `agent run`: with an endpoint and a claim it gets an identity, connects, and stays
//! connected; with an identity it starts without a cloud that could give it one.

#![allow(
    clippy::disallowed_methods,
    reason = "the program runs beside the fibers of the test"
)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agent::identity;
use agent::local_cloud::FleetOptions;
use mqtt::{BrokerOptions, LocalSubscription};

use crate::support::{Cloud, Folder, TEMPLATE, run};

pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(folder: &Folder) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        command.arg("run").arg("--config");
        command.arg(folder.path().join("agent.toml"));
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().expect("it starts"))
    }

    /// Stops it as a service manager does, and waits for its end. Yields.
    pub(crate) fn stop(mut self) {
        let id = self.0.id().to_string();
        let told = Command::new("kill").arg("-TERM").arg(id).status();
        assert!(told.expect("kill").success());
        while self.0.try_wait().expect("a child").is_none() {
            fiber::sleep(Duration::from_millis(10)).expect("no scope is over");
        }
        let ended = self.0.wait().expect("a child");
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a test that failed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `agent wait --for provisioned` for so many seconds; returns its exit code.
fn wait_provisioned(folder: &Folder, secs: &str) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.args(["wait", "--for", "provisioned", "--timeout", secs]);
    command.arg("--state-dir").arg(folder.state());
    let ended = fiber::offload(move || command.status().expect("it starts"));
    ended.expect("a thread").code()
}

pub(crate) fn configure(cloud: &Cloud, folder: &Folder) {
    // Writes the claim as well.
    drop(cloud.options(folder));
    folder.write("ca.pem", cloud.authority.certificate());
    let text = format!(
        "[cloud]\nendpoint = \"{}\"\nauthority = \"ca.pem\"\n[state]\ndir = \"{}\"\n\
         [provision]\nmethod = \"aws\"\ntemplate = \"{TEMPLATE}\"\n\
         claim_certificate = \"claim.pem\"\nclaim_key = \"claim.key\"\n\
         [telemetry]\ntopic = \"meters/{{id}}/telemetry\"\ninterval = \"100ms\"\n",
        cloud.endpoint,
        folder.state().display(),
    );
    folder.write("agent.toml", &text);
}

fn next_device(telemetry: &LocalSubscription) -> String {
    let message = telemetry.recv().expect("a message");
    let topic = message.topic().to_owned();
    topic.split('/').nth(1).expect("the device").to_owned()
}

#[test]
fn agent_run_with_an_endpoint_and_a_claim_gets_an_identity_and_connects_and_keeps_both() {
    run(|| {
        let folder = Folder::new();
        let cloud = Cloud::start(BrokerOptions::new(), FleetOptions::new(TEMPLATE));
        configure(&cloud, &folder);
        let telemetry = cloud.broker.subscribe("meters/+/telemetry").unwrap();
        let running = Running::start(&folder);
        // A new identity is proven for some seconds first.
        assert_eq!(wait_provisioned(&folder, "1"), Some(75));
        assert_eq!(wait_provisioned(&folder, "50"), Some(0));
        let device = next_device(&telemetry);
        let stats = cloud.fleet.stats();
        assert_eq!(stats.things.keys().collect::<Vec<_>>(), [&device]);
        running.stop();
        let (state, active) = identity::look(&folder.state()).unwrap();
        assert_eq!(state.phase(), "Active");
        assert_eq!(active.unwrap().about().unwrap().client_id, device);

        // The claim is gone from where it was, and nothing is asked for again.
        std::fs::remove_file(folder.path().join("claim.pem")).unwrap();
        while telemetry.try_recv().is_some() {}
        let running = Running::start(&folder);
        assert_eq!(next_device(&telemetry), device);
        running.stop();
        assert_eq!(cloud.fleet.stats(), stats);
    });
}

/// Damages a state record, as a failing disk does.
fn damage(folder: &Folder, record: &str) {
    let path = folder.state().join(record);
    let mut bytes = std::fs::read(&path).expect("a record");
    bytes[20] ^= 0xFF;
    std::fs::write(path, bytes).expect("a record");
}

#[test]
fn a_killed_device_keeps_its_identity_through_damaged_records_and_gets_another_one_if_all_is_lost()
{
    run(|| {
        let folder = Folder::new();
        let cloud = Cloud::start(BrokerOptions::new(), FleetOptions::new(TEMPLATE));
        configure(&cloud, &folder);
        let telemetry = cloud.broker.subscribe("meters/+/telemetry").unwrap();
        // Each is killed by SIGKILL.
        let live = || {
            // What the one before had sent is there by then.
            fiber::sleep(Duration::from_millis(200)).unwrap();
            while telemetry.try_recv().is_some() {}
            let _running = Running::start(&folder);
            next_device(&telemetry)
        };
        let device = live();
        let stats = cloud.fleet.stats();
        assert_eq!(stats.certificates, 1);
        // One record, the other one beside what was written anew, and both.
        for damaged in [&["state.0"][..], &["state.1"], &["state.0", "state.1"]] {
            for record in damaged {
                damage(&folder, record);
            }
            assert_eq!(live(), device, "{damaged:?}");
        }
        assert_eq!(cloud.fleet.stats(), stats, "nothing was asked for");

        std::fs::remove_dir_all(folder.state()).unwrap();
        let another = live();
        assert_ne!(another, device, "who it was is lost");
        let stats = cloud.fleet.stats();
        assert_eq!(
            (stats.certificates, stats.things.get(&another)),
            (2, Some(&1))
        );
    });
}
