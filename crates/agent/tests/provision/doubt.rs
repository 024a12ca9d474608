//! A device that has lost its records: an identity that was found and is refused gives way to the other one,
//! and then to one by the claim. Nothing is deleted.

#![allow(
    clippy::disallowed_methods,
    reason = "what is damaged here is the real disk, beside the fibers"
)]

use std::time::Duration;

use agent::identity::{Found, Slot, Store, Unsure};
use agent::local_cloud::FleetOptions;
use agent::provision::{Refusals, ensure_identity, make_sure, renew_now};
use mqtt::{BrokerOptions, Client, ClientId, ClientOptions};
use safe_rt::{BackoffOptions, ClientTls, ClientTlsOptions, DialOptions};

use crate::support::{Cloud, Folder, TEMPLATE, run};

const NAME: &str = "meter-17";

fn cloud() -> Cloud {
    Cloud::start(BrokerOptions::new(), FleetOptions::new(TEMPLATE))
}

fn name() -> ClientId {
    ClientId::new(NAME).expect("an id")
}

/// Gives the device an identity of each cloud, the second one in use, and then its records are lost.
fn lose_records(folder: &Folder, first: &Cloud, second: &Cloud) -> Store {
    let store = Store::open(folder.state()).expect("a store");
    let mut options = first.options(folder);
    options.device_id = Some(name());
    ensure_identity(&store, &options).expect("an identity");
    let mut options = second.options(folder);
    options.device_id = Some(name());
    renew_now(&store, &options).expect("another one");
    drop(store);
    for record in ["state.0", "state.1"] {
        std::fs::write(folder.state().join(record), "lost").expect("written");
    }
    let store = Store::open(folder.state()).expect("a store");
    assert_eq!(store.found(), Found::Recovered);
    assert_eq!(store.active().map(|active| active.slot()), Some(Slot::B));
    assert_eq!(store.state().unsure, Unsure::Found);
    store
}

/// Connects to a cloud with the identity in use, again and again.
fn connect(cloud: &Cloud, store: &Store, refusals: &Refusals) -> (Client, ClientTls) {
    let active = store.active().expect("an identity");
    let tls = ClientTlsOptions::new(cloud.authority.trust().expect("trust"))
        .identity(active.identity().clone())
        .build()
        .expect("TLS");
    let pause = Duration::from_millis(20);
    let backoff = BackoffOptions::new().base(pause).cap(pause).floor(pause);
    let client = ClientOptions::new(name())
        .dial(DialOptions::new().tls(tls.clone()))
        .backoff(backoff.long_base(pause).long_cap(pause));
    let client = Client::open(&cloud.endpoint, client).expect("a client");
    let refusals = refusals.clone();
    client.on_event(move |_client, event| refusals.note(event));
    (client, tls)
}

fn keys(folder: &Folder) -> usize {
    let mut keys = 0;
    let mut folders = vec![folder.state().join("identity")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            keys += usize::from(path.ends_with("key.pem"));
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    keys
}

#[test]
fn the_other_identity_is_tried_where_the_one_that_was_found_is_refused() {
    run(|| {
        let folder = Folder::new();
        // The one before is what the cloud still knows.
        let (first, second) = (cloud(), cloud());
        let store = lose_records(&folder, &first, &second);
        let refusals = Refusals::default();
        let (client, tls) = connect(&first, &store, &refusals);
        make_sure(&store, None, &client, &tls, &refusals).unwrap();
        assert!(client.is_connected());
        assert_eq!(store.active().map(|active| active.slot()), Some(Slot::A));
        assert_eq!(store.state().unsure, Unsure::No);
        client.close(Duration::from_secs(1)).unwrap();
        drop(store);
        let store = Store::open(folder.state()).unwrap();
        assert_eq!(store.active().map(|active| active.slot()), Some(Slot::A));
        assert_eq!(keys(&folder), 2, "nothing is deleted");
    });
}

#[test]
fn one_that_is_accepted_is_sure_from_then_on() {
    run(|| {
        let folder = Folder::new();
        let (first, second) = (cloud(), cloud());
        let store = lose_records(&folder, &first, &second);
        let refusals = Refusals::default();
        let (client, tls) = connect(&second, &store, &refusals);
        make_sure(&store, None, &client, &tls, &refusals).unwrap();
        assert_eq!(store.active().map(|active| active.slot()), Some(Slot::B));
        assert_eq!(store.state().unsure, Unsure::No);
        assert!(
            store.try_other().unwrap().is_none(),
            "there is no doubt any more"
        );
        client.close(Duration::from_secs(1)).unwrap();
    });
}

#[test]
fn where_both_are_refused_the_claim_gets_another_one_and_nothing_is_deleted() {
    run(|| {
        let folder = Folder::new();
        let (first, second) = (cloud(), cloud());
        let store = lose_records(&folder, &first, &second);
        let third = cloud();
        let mut options = third.options(&folder);
        options.device_id = Some(name());
        let refusals = Refusals::default();
        let (client, tls) = connect(&third, &store, &refusals);
        make_sure(&store, Some(&options), &client, &tls, &refusals).unwrap();
        client.wait_connected().unwrap();
        assert_eq!(third.fleet.stats().certificates, 1);
        assert_eq!(store.state().unsure, Unsure::No);
        assert!(store.active().is_some_and(|active| active.is_proven()));
        client.close(Duration::from_secs(1)).unwrap();
        assert_eq!(keys(&folder), 3, "nothing is deleted");
    });
}
