//! The program `agent provision`: an identity, a rehearsal, and what there is.

use std::path::Path;

use agent::identity::{self, Store};
use agent::local_cloud::{FleetOptions, Rejection};
use mqtt::BrokerOptions;

use crate::process::configure;
use crate::support::{Cloud, Ended, Folder, TEMPLATE, agent, provisioned, run};

fn cloud() -> Cloud {
    Cloud::start(BrokerOptions::new(), FleetOptions::new(TEMPLATE))
}

/// How a check of a rehearsal stands: outcome, code, text.
fn check(ended: &Ended, id: &str) -> (String, String, String) {
    let report = ended.json();
    let checks = report["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["id"] == id);
    let check = check.unwrap_or_else(|| panic!("no {id} in {report}"));
    let text = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("code"), text("text"))
}

#[test]
fn it_gets_an_identity_and_tells_each_step_and_names_the_one_that_is_there() {
    run(|| {
        let (folder, cloud) = (Folder::new(), cloud());
        configure(&cloud, &folder);
        let got = agent(&folder, &["provision"]);
        assert_eq!(got.code, 0, "{got:?}");
        let (state, active) = identity::look(&folder.state()).unwrap();
        let active = active.expect("an identity");
        let about = active.about().unwrap();
        let named = format!(
            "{} certificate {} slot a",
            about.client_id, about.certificate_id
        );
        assert!(got.out.starts_with(&named), "{got:?}");
        let mut rest = &*got.err;
        for step in [
            "no identity yet, phase Fresh",
            "a key was made for agent-",
            "with the claim",
            "the cloud made certificate 0",
            "the cloud calls the device agent-",
            "is tried out by a connection",
            "is proven and in use",
        ] {
            let at = rest
                .find(step)
                .unwrap_or_else(|| panic!("{step} in {got:?}"));
            rest = &rest[at..];
        }
        assert_eq!(state.phase(), "Active");
        let stats = cloud.fleet.stats();

        let again = agent(&folder, &["provision", "--json"]);
        assert_eq!(again.code, 0, "{again:?}");
        let json = again.json();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["new"], false);
        assert_eq!(json["client_id"], *about.client_id);
        assert!(
            again.err.contains("there is an identity already"),
            "{again:?}"
        );
        assert_eq!(cloud.fleet.stats(), stats, "nothing was asked for");
    });
}

#[test]
fn a_refusal_is_told_with_its_code_and_the_time_that_is_given_ends_it() {
    run(|| {
        let folder = Folder::new();
        let rules = FleetOptions::new(TEMPLATE).allow(|_| {
            Err(Rejection {
                status: 403,
                code: "UnknownSerial".to_owned(),
                message: "not in the list".to_owned(),
            })
        });
        let cloud = Cloud::start(BrokerOptions::new(), rules);
        configure(&cloud, &folder);
        let ended = agent(&folder, &["provision", "--timeout", "2"]);
        assert_eq!(ended.code, 75, "{ended:?}");
        assert!(ended.err.contains("P004: "), "{ended:?}");
        assert!(ended.err.contains("--timeout); last: "), "{ended:?}");
        assert_eq!(ended.out, "");
        // What was reached is kept, and can be seen.
        let status = agent(&folder, &["provision", "--status"]);
        assert_eq!(status.code, 0, "{status:?}");
        for part in [
            "phase          CertHeld",
            "last failure",
            "UnknownSerial",
            "goes on at CertHeld",
        ] {
            assert!(status.out.contains(part), "{part} in {status:?}");
        }
    });
}

#[test]
fn beside_a_running_agent_nothing_is_changed_and_everything_can_be_seen() {
    run(|| {
        let (folder, cloud) = (Folder::new(), cloud());
        configure(&cloud, &folder);
        let device = provisioned(&cloud, &folder);
        let stats = cloud.fleet.stats();
        let store = Store::open(folder.state()).unwrap();
        for words in [
            &["provision"][..],
            &["deprovision", "--yes"],
            &["cert", "renew"],
        ] {
            let ended = agent(&folder, words);
            assert_eq!(ended.code, 75, "{ended:?}");
            assert!(ended.err.contains("the agent runs"), "{ended:?}");
            assert!(ended.err.contains("systemctl stop agent"), "{ended:?}");
        }
        let status = agent(&folder, &["provision", "--status", "--json"]);
        assert_eq!(status.code, 0, "{status:?}");
        let json = status.json();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["phase"], "Active");
        assert_eq!(json["active"], "a");
        assert_eq!(json["slots"][0]["client_id"], *device);
        assert_eq!(json["given_up"], false);
        assert!(json["next_renewal"].as_u64().is_some());
        let at_restart = json["at_restart"].as_str().unwrap();
        assert_eq!(at_restart, "slot a is used at once; no cloud is needed");
        let shown = agent(&folder, &["cert", "show"]);
        assert_eq!(shown.code, 0, "{shown:?}");
        assert!(store.active().is_some());
        assert_eq!(cloud.fleet.stats(), stats);
    });
}

#[test]
fn without_a_way_to_an_identity_it_says_so() {
    run(|| {
        let folder = Folder::new();
        let state = folder.state();
        let text = format!(
            "[cloud]\nendpoint = \"mqtts://127.0.0.1:1\"\n[state]\ndir = \"{}\"\n",
            state.display()
        );
        folder.write("agent.toml", &text);
        for words in [&["provision"][..], &["provision", "--dry-run"]] {
            let ended = agent(&folder, words);
            assert_eq!(ended.code, 78, "{ended:?}");
            assert!(ended.err.contains("expected [provision]"), "{ended:?}");
        }
        for words in [&["cert", "show"][..], &["cert", "needs-renewal"]] {
            let ended = agent(&folder, words);
            assert_eq!(ended.code, 66, "{ended:?}");
        }
        assert!(!state.exists(), "looking makes nothing");
    });
}

#[test]
fn a_rehearsal_goes_all_the_way_and_makes_nothing() {
    run(|| {
        let (folder, cloud) = (Folder::new(), cloud());
        configure(&cloud, &folder);
        let stats = cloud.fleet.stats();
        let rehearsed = agent(&folder, &["provision", "--dry-run", "--json"]);
        assert_eq!(rehearsed.code, 0, "{rehearsed:?}");
        assert_eq!(rehearsed.json()["ok"], true);
        for id in [
            "state",
            "disk",
            "clock",
            "claim",
            "parameters",
            "connection",
            "topics",
        ] {
            assert_eq!(check(&rehearsed, id).0, "ok", "{id} in {rehearsed:?}");
        }
        let topics = check(&rehearsed, "topics").2;
        for topic in [
            "$aws/certificates/create-from-csr/json/accepted",
            "$aws/provisioning-templates/meters/provision/json/rejected",
        ] {
            assert!(topics.contains(topic), "{topics}");
        }
        assert!(!folder.state().exists(), "nothing is made");
        assert_eq!(cloud.fleet.stats(), stats, "nothing is asked for");
        let text = agent(&folder, &["provision", "--dry-run"]);
        assert!(
            text.out.contains("ok    topics         subscribed to"),
            "{text:?}"
        );
    });
}

#[test]
fn a_rehearsal_finds_what_would_fail() {
    run(|| {
        let folder = Folder::new();
        let broker = BrokerOptions::new().authorize_subscribe(|_client, filter, _qos| {
            !filter.contains("provisioning-templates")
        });
        let cloud = Cloud::start(broker, FleetOptions::new(TEMPLATE));
        configure(&cloud, &folder);
        let refused = agent(&folder, &["provision", "--dry-run", "--json"]);
        assert_eq!(refused.code, 69, "{refused:?}");
        assert_eq!(check(&refused, "connection").0, "ok");
        let (outcome, code, text) = check(&refused, "topics");
        assert_eq!((&*outcome, &*code), ("fail", "P002"));
        assert!(text.contains("provisioning-templates"), "{text}");

        let other = cloud
            .authority
            .issue("claim", std::time::Duration::from_secs(60));
        folder.write("claim.key", &other.unwrap().key);
        let torn = agent(&folder, &["provision", "--dry-run", "--json"]);
        assert_eq!(torn.code, 69, "{torn:?}");
        assert_eq!(check(&torn, "claim").1, "P001", "{torn:?}");
        assert_eq!(check(&torn, "connection").0, "skip");

        std::fs::remove_file(folder.path().join("claim.pem")).unwrap();
        let gone = agent(&folder, &["provision", "--dry-run"]);
        assert_eq!(gone.code, 69, "{gone:?}");
        assert!(gone.out.contains("fail  claim          P001: "), "{gone:?}");
        assert!(gone.out.contains("claim.pem"), "{gone:?}");
        assert!(!Path::new(&folder.state()).exists(), "nothing is made");
    });
}
