//! Fleet provisioning by a claim certificate, over TLS on the loopback interface.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt as _;
use std::rc::Rc;
use std::time::Duration;

use agent::identity::Store;
use agent::local_cloud::{Fleet, FleetOptions, LocalAuthority, Rejection};
use agent::provision::{KeyOrigin, Method, ensure_identity};
use mqtt::{Broker, BrokerOptions, Client, ClientId, ClientOptions, Publish, QoS, Wait};

use crate::support::{Cloud, Folder, TEMPLATE, run};

#[test]
fn a_device_with_nothing_but_an_endpoint_and_a_claim_gets_an_identity_whose_key_it_made() {
    run(|| {
        let (folder, cloud) = (
            Folder::new(),
            Cloud::start(BrokerOptions::new(), FleetOptions::new(TEMPLATE)),
        );
        let options = cloud.options(&folder);
        let store = Store::open(folder.state()).unwrap();
        let device = store.device_id().unwrap();
        let active = ensure_identity(&store, &options).unwrap();
        assert_eq!(active.about().unwrap().client_id, device);
        let life = active.facts().not_after().unwrap();
        assert!(life > fiber::wall_time() + Duration::from_secs(360 * 86_400));
        let mode = std::fs::metadata(active.key_path()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let stats = cloud.fleet.stats();
        assert_eq!((stats.certificates, stats.keys, stats.rejected), (1, 1, 0));
        assert_eq!(stats.things.get(&device), Some(&1));
        assert!(store.claim().is_some(), "the claim is kept");
    });
}

#[test]
fn with_an_identity_a_device_starts_without_a_cloud() {
    run(|| {
        let folder = Folder::new();
        let cloud = Cloud::start(BrokerOptions::new(), FleetOptions::new(TEMPLATE));
        let options = cloud.options(&folder);
        let store = Store::open(folder.state()).unwrap();
        let first = ensure_identity(&store, &options).unwrap();
        drop(store);
        cloud.broker.stop();
        std::fs::remove_file(folder.path().join("claim.pem")).unwrap();
        let store = Store::open(folder.state()).unwrap();
        let again = fiber::no_park(|| ensure_identity(&store, &options));
        let again = again.unwrap();
        assert_eq!(again.facts(), first.facts());
        assert_eq!(cloud.fleet.stats().certificates, 1);
    });
}

#[test]
fn a_key_made_by_the_cloud_is_an_option() {
    run(|| {
        let folder = Folder::new();
        let cloud = Cloud::start(BrokerOptions::new(), FleetOptions::new(TEMPLATE));
        let mut options = cloud.options(&folder);
        options.method = Method::Aws {
            template: TEMPLATE.to_owned(),
            key: KeyOrigin::Cloud,
        };
        let store = Store::open(folder.state()).unwrap();
        let active = ensure_identity(&store, &options).unwrap();
        assert_eq!(active.about().unwrap().certificate_id.len(), 64);
    });
}

#[test]
fn a_template_that_refuses_is_asked_again_with_the_same_key_and_the_same_certificate() {
    run(|| {
        let folder = Folder::new();
        let asked = Rc::new(Cell::new(0));
        let count = Rc::clone(&asked);
        let rules = FleetOptions::new(TEMPLATE).allow(move |parameters| {
            assert_eq!(parameters["SerialNumber"], "meter-17");
            assert_eq!(parameters["Line"], "4");
            count.set(count.get() + 1);
            if count.get() < 4 {
                return Err(Rejection {
                    status: 400,
                    code: "InvalidParameters".to_owned(),
                    message: "not in the list yet".to_owned(),
                });
            }
            Ok(())
        });
        let cloud = Cloud::start(BrokerOptions::new(), rules);
        let mut options = cloud.options(&folder);
        options.device_id = Some(ClientId::new("meter-17").unwrap());
        options.parameters = [("SerialNumber", "{id}"), ("Line", "4")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let store = Store::open(folder.state()).unwrap();
        let watched = store.clone();
        let seen = Rc::new(Cell::new(false));
        let note = Rc::clone(&seen);
        let watch = fiber::spawn(move || {
            while watched.active().is_none() {
                let state = watched.state();
                if let Some(failure) = state.last_failure {
                    assert_eq!(
                        failure,
                        "registering the device: refused with status 400 InvalidParameters not in \
                         the list yet (sent: Line=4, SerialNumber=meter-17)"
                    );
                    note.set(true);
                }
                fiber::sleep(Duration::from_millis(1)).unwrap();
            }
        });
        ensure_identity(&store, &options).unwrap();
        watch.unwrap().join().unwrap();
        assert!(seen.get(), "why it was refused is kept for status");
        let stats = cloud.fleet.stats();
        assert_eq!((stats.certificates, stats.keys, stats.rejected), (1, 1, 3));
        assert_eq!(store.state().attempts, 0);
    });
}

#[test]
fn an_identity_that_the_broker_does_not_let_work_is_not_taken_into_use() {
    run(|| {
        let folder = Folder::new();
        let allowed = Rc::new(Cell::new(false));
        let is_allowed = Rc::clone(&allowed);
        let broker = BrokerOptions::new().authorize_subscribe(move |_client, filter, _qos| {
            filter.starts_with("$aws/") || is_allowed.get()
        });
        let cloud = Cloud::start(broker, FleetOptions::new(TEMPLATE));
        let options = cloud.options(&folder);
        let store = Store::open(folder.state()).unwrap();
        let tried = fiber::timeout(Duration::from_millis(500), || {
            ensure_identity(&store, &options)
        });
        assert!(tried.is_err() && store.active().is_none());
        let state = store.state();
        assert!(state.attempts > 0, "{state:?}");
        let failure = state.last_failure.unwrap();
        assert!(failure.contains("/proof: the broker refused"), "{failure}");
        allowed.set(true);
        ensure_identity(&store, &options).unwrap();
        let stats = cloud.fleet.stats();
        assert_eq!(
            (stats.certificates, stats.keys),
            (1, 1),
            "the same candidate"
        );
    });
}

#[test]
fn without_its_files_the_claim_that_was_kept_is_used_and_without_any_it_is_said() {
    run(|| {
        let folder = Folder::new();
        let cloud = Cloud::start(BrokerOptions::new(), FleetOptions::new(TEMPLATE));
        let options = cloud.options(&folder);
        let store = Store::open(folder.state()).unwrap();
        ensure_identity(&store, &options).unwrap();
        std::fs::remove_file(folder.path().join("claim.key")).unwrap();
        store.give_up().unwrap();
        // Not before somebody says so.
        let again = fiber::timeout(Duration::from_millis(100), || {
            ensure_identity(&store, &options)
        });
        assert!(again.is_err() && store.state().given_up);
        store.take_up().unwrap();
        ensure_identity(&store, &options).unwrap();
        assert_eq!(cloud.fleet.stats().keys, 2);

        let other = Folder::new();
        let store = Store::open(other.state()).unwrap();
        while store.state().phase() != "CsrSent" {
            let tried = fiber::timeout(Duration::from_millis(100), || {
                ensure_identity(&store, &options)
            });
            assert!(tried.is_err());
        }
    });
}

#[test]
fn a_certificate_for_another_key_is_not_believed() {
    run(|| {
        let folder = Folder::new();
        let cloud = Cloud::start(BrokerOptions::new(), FleetOptions::new("another"));
        // A cloud that answers before the true one does, with the certificate of somebody else.
        let (stranger, broker) = (Rc::clone(&cloud.authority), cloud.broker.clone());
        let asked = broker
            .subscribe("$aws/certificates/create-from-csr/json")
            .unwrap();
        let told = fiber::spawn(move || {
            let message = asked.recv().unwrap();
            let issued = stranger.issue("other", Duration::from_secs(60)).unwrap();
            let answer = format!(
                r#"{{"certificateId":"1","certificateOwnershipToken":"2","certificatePem":{:?}}}"#,
                issued.chain
            );
            let topic = format!("{}/accepted", message.topic());
            let qos = QoS::AtLeastOnce;
            broker.publish(&topic, answer, qos, false).unwrap();
        });
        drop(told.unwrap());
        let mut options = cloud.options(&folder);
        let Method::Aws { key, .. } = options.method else {
            unreachable!()
        };
        options.method = Method::Aws {
            template: "another".to_owned(),
            key,
        };
        let store = Store::open(folder.state()).unwrap();
        let active = ensure_identity(&store, &options).unwrap();
        assert_ne!(active.about().unwrap().certificate_id, "1");
    });
}

#[test]
fn an_answer_with_a_key_in_it_goes_to_the_device_that_asked_and_to_no_other() {
    run(|| {
        let authority = Rc::new(LocalAuthority::new("test authority").unwrap());
        let broker = Broker::new(BrokerOptions::new());
        let _fleet = Fleet::serve(&broker, authority, FleetOptions::new(TEMPLATE)).unwrap();
        let asks = "$aws/certificates/create/json";
        let connect = |name: &str| {
            let (ours, theirs) = fiber::net::pipe(64 * 1024);
            broker.attach(theirs).unwrap();
            let id = ClientId::new(name).unwrap();
            let client = Client::over(ours, ClientOptions::new(id));
            client.connect().unwrap();
            let heard = Rc::new(Cell::new(0));
            let count = Rc::clone(&heard);
            let answers = format!("{asks}/accepted");
            let subscribed = client.subscribe(&answers, QoS::AtLeastOnce, move |_, message| {
                assert!(message.data.windows(10).any(|part| part == b"privateKey"));
                count.set(count.get() + 1);
                Ok(())
            });
            subscribed.unwrap();
            (client, heard)
        };
        let (asker, answered) = connect("asker");
        let (_other, overheard) = connect("other");
        let ask = Publish::to(asks, "{}")
            .qos(QoS::AtLeastOnce)
            .wait(Wait::Ack);
        asker.publish(ask).unwrap();
        while answered.get() == 0 {
            fiber::sleep(Duration::from_millis(5)).unwrap();
        }
        fiber::sleep(Duration::from_millis(50)).unwrap();
        assert_eq!((answered.get(), overheard.get()), (1, 0));
    });
}
