//! The doctor against Mosquitto with access lists: what it can know of rights, and what it says.

use std::process::Command;

use tests::mosquitto::{Listener, Mosquitto, Options};
use tests::peers::Peers;
use tests::process::{self, Finished, PROCESS_TIMEOUT, workspace_program};
use tests::temp_dir::TempDir;

use crate::peers;

/// A broker with this access list, and a device that is configured for it.
fn start(peers: &Peers, folder: &TempDir, list: &str, cloud: &str) -> Mosquitto {
    let path = folder.write("acl", list);
    let broker = Options::new(peers)
        .line(&format!("acl_file {}", path.display()))
        .start()
        .unwrap();
    let port = broker.port(Listener::Plain);
    let config = format!(
        "[device]\nid = \"meter-17\"\n[state]\ndir = {:?}\n\
         [cloud]\nendpoint = \"mqtt://127.0.0.1:{port}\"\nsession = \"clean\"\n{cloud}\n\
         [telemetry]\ntopic = \"site/t\"\n[[subscription]]\ntopic = \"site/set\"\n",
        folder.path().join("state")
    );
    folder.write("agent.toml", config);
    broker
}

/// What `agent doctor` says of a check, and its exit code.
#[track_caller]
fn examine(folder: &TempDir, check: &str, words: &[&str]) -> (serde_json::Value, Option<i32>) {
    let mut doctor = Command::new(workspace_program("agent"));
    doctor
        .args(["doctor", "--json", "--only", check, "--config"])
        .arg(folder.path().join("agent.toml"))
        .args(words);
    let finished: Finished = process::run(&mut doctor, PROCESS_TIMEOUT).unwrap();
    let report: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|found| found["id"] == check);
    let found = found.unwrap_or_else(|| panic!("{check} was not made: {report}"));
    (found.clone(), finished.code())
}

const USER: &str = "user = \"meter\"";

#[test]
fn what_is_not_seen_back_is_no_proof_that_publishing_is_forbidden() {
    let Some(peers) = peers() else { return };
    for (list, touch, outcome, code) in [
        // The usual device: it publishes, and reads something else.
        ("user meter\ntopic write site/#\n", false, "warn", "T102"),
        ("user meter\ntopic write site/#\n", true, "warn", "T102"),
        ("user meter\ntopic read site/#\n", true, "warn", "T102"),
        ("user meter\ntopic readwrite site/#\n", false, "note", ""),
        ("user meter\ntopic readwrite site/#\n", true, "ok", ""),
    ] {
        let folder = TempDir::new("doctor-acl");
        let _broker = start(&peers, &folder, list, USER);
        let words: &[&str] = if touch { &["--touch"] } else { &[] };
        let (found, exit) = examine(&folder, "rights-publish", words);
        assert_eq!(found["outcome"], outcome, "{list}: {found}");
        assert_eq!(
            found["code"].as_str().unwrap_or(""),
            code,
            "{list}: {found}"
        );
        assert_eq!(exit, Some(0), "{list}: {found}");
        if outcome == "warn" {
            let paste = found["paste"].as_str().unwrap();
            assert_eq!(paste, "user meter\ntopic readwrite site/t", "{found}");
        }
        // Mosquitto grants a subscription to whoever may read nothing of it.
        let (found, _) = examine(&folder, "rights-subscribe", &[]);
        assert_eq!(found["outcome"], "ok", "{found}");
        let text = found["text"].as_str().unwrap();
        assert!(text.contains("not shown"), "{found}");
    }
}

#[test]
fn the_lines_that_are_to_be_pasted_give_the_right() {
    let Some(peers) = peers() else { return };
    for cloud in ["", USER] {
        let folder = TempDir::new("doctor-paste");
        let mut broker = start(&peers, &folder, "topic read nothing\n", cloud);
        let (found, _) = examine(&folder, "rights-publish", &["--touch"]);
        assert_eq!(found["code"], "T102", "{found}");
        let paste = found["paste"].as_str().unwrap();
        folder.write("acl", format!("{paste}\n"));
        broker.terminate();
        broker.start_again().unwrap();
        let (found, exit) = examine(&folder, "rights-publish", &["--touch"]);
        assert_eq!(found["outcome"], "ok", "{paste}: {found}");
        assert!(
            found["text"].as_str().unwrap().contains("comes back"),
            "{found}"
        );
        assert_eq!(exit, Some(0));
    }
}
