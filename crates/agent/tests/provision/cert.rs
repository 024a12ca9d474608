//! The program `agent cert`.

#![allow(
    clippy::disallowed_methods,
    reason = "the program runs beside the fibers of the test"
)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use agent::identity;
use agent::local_cloud::{FleetOptions, Rejection};
use mqtt::BrokerOptions;
use safe_rt::Identity;

use crate::process::{Running, configure};
use crate::support::{Cloud, Folder, TEMPLATE, agent, provisioned, run};

fn cloud() -> Cloud {
    Cloud::start(BrokerOptions::new(), FleetOptions::new(TEMPLATE))
}

fn in_use(folder: &Folder) -> String {
    let (_, active) = identity::look(&folder.state()).expect("a state folder");
    let active = active.expect("an identity");
    active
        .about()
        .expect("what the cloud said")
        .certificate_id
        .clone()
}

#[test]
fn certificates_and_claim_are_shown_to_people_and_to_programs() {
    run(|| {
        let (folder, cloud) = (Folder::new(), cloud());
        configure(&cloud, &folder);
        let device = provisioned(&cloud, &folder);
        let shown = agent(&folder, &["cert", "show", "--json"]);
        assert_eq!(shown.code, 0, "{shown:?}");
        let json = shown.json();
        assert_eq!(json["schema"], 1);
        let (first, claim) = (&json["certificates"][0], &json["certificates"][1]);
        assert_eq!(first["kind"], "device");
        assert_eq!(first["state"], "in use");
        assert_eq!(first["slot"], "a");
        assert_eq!(first["client_id"], *device);
        assert_eq!(first["subject"], format!("\"CN={device}\""));
        let (_, active) = identity::look(&folder.state()).unwrap();
        let active = active.unwrap();
        assert_eq!(first["sha256"], active.facts().sha256());
        assert_eq!(first["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(claim["kind"], "claim");
        assert_eq!(claim["subject"], "\"CN=claim\"");
        assert_eq!(claim["days_left"], 0);
        assert_eq!(json["certificates"][2], serde_json::Value::Null);
        let text = agent(&folder, &["cert", "show"]);
        for part in [
            "device, slot a: in use\n",
            "  sha-256      ",
            " days left\n",
            "claim: named",
        ] {
            assert!(text.out.contains(part), "{part} in {text:?}");
        }
        let secret = std::fs::read_to_string(active.key_path()).unwrap();
        let secret = secret.lines().nth(1).unwrap();
        assert!(!text.out.contains(secret) && !shown.out.contains(secret));
    });
}

#[test]
fn whether_a_renewal_is_due_is_an_exit_code() {
    run(|| {
        let folder = Folder::new();
        // A minute of the past and an hour to come: 1 per cent of that is over at once.
        let rules = FleetOptions::new(TEMPLATE).life(Duration::from_secs(3_600));
        let cloud = Cloud::start(BrokerOptions::new(), rules);
        configure(&cloud, &folder);
        provisioned(&cloud, &folder);
        let not_yet = agent(&folder, &["cert", "needs-renewal"]);
        assert_eq!((not_yet.code, &*not_yet.out, &*not_yet.err), (1, "", ""));
        let set = [
            "--set",
            "provision.renew_from=1%",
            "--set",
            "provision.renew_until=1%",
        ];
        let due = agent(&folder, &[&["cert", "needs-renewal"][..], &set].concat());
        assert_eq!((due.code, &*due.out, &*due.err), (0, "", ""));
    });
}

#[test]
fn it_is_renewed_while_no_agent_runs_and_by_the_one_that_does() {
    run(|| {
        let (folder, cloud) = (Folder::new(), cloud());
        configure(&cloud, &folder);
        let device = provisioned(&cloud, &folder);
        let first = in_use(&folder);
        let renewed = agent(&folder, &["cert", "renew"]);
        assert_eq!(renewed.code, 0, "{renewed:?}");
        let second = in_use(&folder);
        assert_ne!(first, second);
        assert!(renewed.out.contains(&second), "{renewed:?}");
        assert!(renewed.err.contains("is proven and in use"), "{renewed:?}");

        let telemetry = cloud.broker.subscribe("meters/+/telemetry").unwrap();
        let running = Running::start(&folder);
        telemetry.recv().expect("a message");
        let renewed = agent(&folder, &["cert", "renew"]);
        assert_eq!(renewed.code, 0, "{renewed:?}");
        assert!(
            renewed.err.contains("the running agent renews"),
            "{renewed:?}"
        );
        let third = in_use(&folder);
        assert_ne!(second, third);
        // It goes on with the new one.
        while telemetry.try_recv().is_some() {}
        assert!(
            telemetry
                .recv()
                .expect("a message")
                .topic()
                .contains(&device)
        );
        running.stop();
        let stats = cloud.fleet.stats();
        assert_eq!((stats.certificates, stats.keys), (3, 3));
    });
}

#[test]
fn a_renewal_that_comes_to_nothing_says_why_and_changes_nothing() {
    run(|| {
        let folder = Folder::new();
        let is_refused = Rc::new(Cell::new(false));
        let refuse = Rc::clone(&is_refused);
        let rules = FleetOptions::new(TEMPLATE).allow(move |_| match refuse.get() {
            false => Ok(()),
            true => Err(Rejection {
                status: 403,
                code: "NotAgain".to_owned(),
                message: "this device has one".to_owned(),
            }),
        });
        let cloud = Cloud::start(BrokerOptions::new(), rules);
        configure(&cloud, &folder);
        provisioned(&cloud, &folder);
        let first = in_use(&folder);
        let telemetry = cloud.broker.subscribe("meters/+/telemetry").unwrap();
        let running = Running::start(&folder);
        telemetry.recv().expect("a message");
        is_refused.set(true);
        let by_agent = agent(&folder, &["cert", "renew"]);
        assert_eq!(by_agent.code, 75, "{by_agent:?}");
        assert!(by_agent.err.contains("P004"), "{by_agent:?}");
        assert!(by_agent.err.contains("NotAgain"), "{by_agent:?}");
        running.stop();
        let alone = agent(&folder, &["cert", "renew"]);
        assert_eq!(alone.code, 76, "{alone:?}");
        assert!(alone.err.contains("agent explain P004"), "{alone:?}");
        assert_eq!(in_use(&folder), first);
    });
}

#[test]
fn a_request_is_of_the_key_of_the_device_or_of_one_that_is_made_for_it_and_kept() {
    run(|| {
        let (folder, cloud) = (Folder::new(), cloud());
        configure(&cloud, &folder);
        let life = Duration::from_secs(60);
        let fits = |request: &str, key: &str| {
            let chain = cloud.authority.sign(request, None, life).expect("signed");
            let key = std::fs::read(folder.state().join("identity").join(key)).expect("a key");
            Identity::from_pem(chain.as_bytes(), &key).is_ok()
        };
        let fresh = agent(&folder, &["cert", "csr"]);
        assert_eq!(fresh.code, 0, "{fresh:?}");
        assert!(fits(&fresh.out, "a/key.pem"));
        assert_eq!(
            identity::look(&folder.state()).unwrap().0.phase(),
            "KeyReady"
        );
        let again = agent(&folder, &["cert", "csr"]);
        assert_eq!(again.out, fresh.out, "the same request of the same key");
        provisioned(&cloud, &folder);
        assert_eq!(cloud.fleet.stats().keys, 1);
        let of_device = agent(&folder, &["cert", "csr"]);
        assert_eq!(of_device.code, 0, "{of_device:?}");
        assert!(fits(&of_device.out, "a/key.pem"));
    });
}
