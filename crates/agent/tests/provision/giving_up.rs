//! The program `agent deprovision`: what was given up stays so until somebody says otherwise.

#![allow(
    clippy::disallowed_methods,
    reason = "the program runs beside the fibers of the test"
)]

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use agent::identity::{self, Found, Store};
use agent::local_cloud::FleetOptions;
use mqtt::BrokerOptions;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::process::{Running, configure};
use crate::support::{Cloud, Folder, TEMPLATE, agent, provisioned, run};

fn cloud() -> Cloud {
    Cloud::start(BrokerOptions::new(), FleetOptions::new(TEMPLATE))
}

/// Names in the trash.
fn trash(folder: &Folder) -> usize {
    let trash = folder.state().join("identity/trash");
    std::fs::read_dir(trash).map_or(0, Iterator::count)
}

#[test]
fn an_identity_that_is_given_up_goes_to_the_trash_and_no_start_gets_another_one() {
    run(|| {
        let (folder, cloud) = (Folder::new(), cloud());
        configure(&cloud, &folder);
        provisioned(&cloud, &folder);
        let stats = cloud.fleet.stats();

        // Nobody can be asked here.
        let asked = agent(&folder, &["deprovision"]);
        assert_eq!(asked.code, 64, "{asked:?}");
        assert!(asked.err.contains("--yes"), "{asked:?}");
        assert!(identity::look(&folder.state()).unwrap().1.is_some());

        let given_up = agent(&folder, &["deprovision", "--yes"]);
        assert_eq!(given_up.code, 0, "{given_up:?}");
        assert!(given_up.err.contains("slot a: agent-"), "{given_up:?}");
        assert!(given_up.err.contains("after 7 days"), "{given_up:?}");
        let (state, active) = identity::look(&folder.state()).unwrap();
        assert_eq!((state.phase(), active.is_none()), ("GivenUp", true));
        assert_eq!(trash(&folder), 1);

        let running = Running::start(&folder);
        fiber::sleep(Duration::from_secs(1)).unwrap();
        running.stop();
        assert_eq!(cloud.fleet.stats(), stats, "no start asks for another one");
        let status = agent(&folder, &["provision", "--status"]);
        assert!(
            status.out.contains("`agent provision` gets another one"),
            "{status:?}"
        );

        // This is the order that does.
        let got = agent(&folder, &["provision"]);
        assert_eq!(got.code, 0, "{got:?}");
        assert!(
            got.err.contains("given up; this order gets another one"),
            "{got:?}"
        );
        assert_eq!(cloud.fleet.stats().certificates, stats.certificates + 1);
        let (state, active) = identity::look(&folder.state()).unwrap();
        assert!(active.is_some() && !state.given_up);
    });
}

#[test]
fn at_once_means_that_no_key_is_left() {
    run(|| {
        let (folder, cloud) = (Folder::new(), cloud());
        configure(&cloud, &folder);
        provisioned(&cloud, &folder);
        let given_up = agent(&folder, &["deprovision", "--yes", "--now"]);
        assert_eq!(given_up.code, 0, "{given_up:?}");
        assert!(
            given_up.err.contains("wiped from the trash: 1"),
            "{given_up:?}"
        );
        assert_eq!(trash(&folder), 0);
        let store = Store::open(folder.state()).unwrap();
        assert!(store.active().is_none() && store.state().given_up);
        assert_eq!(store.found(), Found::Known);
        assert!(store.claim().is_some(), "the claim stays");
        drop(store);
        // Once more is no fault.
        let again = agent(&folder, &["deprovision", "--yes", "--now"]);
        assert_eq!(again.code, 0, "{again:?}");
        assert!(again.err.contains("given up before"), "{again:?}");
    });
}

/// Calls `agent deprovision` at a terminal, types these lines, and returns how it ended and what was
/// seen. Yields.
fn at_terminal(folder: &Folder, lines: &[&str]) -> (Option<i32>, String) {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&near).expect("a terminal");
    unlockpt(&near).expect("a terminal");
    let name = ptsname(&near, Vec::new()).expect("its name");
    let name = name.to_str().expect("text").to_owned();
    let far = || {
        let mut options = std::fs::OpenOptions::new();
        options
            .read(true)
            .write(true)
            .open(&name)
            .expect("a terminal")
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.arg("deprovision").arg("-c");
    command.arg(folder.path().join("agent.toml"));
    command.stdin(far()).stderr(far()).stdout(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    drop(command);
    let mut near = std::fs::File::from(near);
    for line in lines {
        near.write_all(format!("{line}\n").as_bytes())
            .expect("typed");
    }
    let status = loop {
        match child.try_wait().expect("a child") {
            Some(status) => break status,
            None => fiber::sleep(Duration::from_millis(10)).expect("no scope is over"),
        }
    };
    // Nobody has the other end any more: what is there is read, and then an error.
    let mut seen = Vec::new();
    drop(near.read_to_end(&mut seen));
    (status.code(), String::from_utf8_lossy(&seen).into_owned())
}

#[test]
fn at_a_terminal_it_asks_twice_and_the_second_time_for_the_name() {
    run(|| {
        let (folder, cloud) = (Folder::new(), cloud());
        configure(&cloud, &folder);
        let device = provisioned(&cloud, &folder);
        for lines in [&["n"][..], &["y", "y"], &["y", "agent-0000000000000000"]] {
            let (code, seen) = at_terminal(&folder, lines);
            assert_eq!(code, Some(1), "{seen}");
            assert!(seen.contains("Give it up? [y/N]"), "{seen}");
            assert!(seen.contains("nothing was changed"), "{seen}");
            assert!(identity::look(&folder.state()).unwrap().1.is_some());
        }
        let (code, seen) = at_terminal(&folder, &["y", &device]);
        assert_eq!(code, Some(0), "{seen}");
        assert!(
            seen.contains(&format!("Type {device} to be sure")),
            "{seen}"
        );
        assert!(identity::look(&folder.state()).unwrap().1.is_none());
    });
}
