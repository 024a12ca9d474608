//! What was replaced is wiped after a week, by a device that has a connection, and so a clock that can be
//! believed.

use std::rc::Rc;
use std::time::Duration;

use agent::identity::{Store, Survey, TRASH_AGE_MIN};
use agent::local_cloud::LocalAuthority;
use agent::provision::{Renewals, ensure_identity, keep_renewed};
use fiber::fs;
use fiber::sim::{SimBuilder, World};
use mqtt::{Client, ClientId, ClientOptions};
use safe_rt::{ClientTlsOptions, DialOptions};

use crate::claims::{options, put_claim, start_cloud};
use crate::machines::HOME;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn pause(length: Duration) {
    fiber::sleep(length).expect("no scope is over");
}

fn in_trash() -> usize {
    Survey::of(HOME.as_ref()).expect("a state folder").trash
}

/// A device that renews its identity three times, and what is in its trash then.
fn live(servers: &LocalAuthority, devices: &LocalAuthority) {
    fs::create_dir_all(HOME).expect("a folder");
    put_claim(&devices.issue("claim", 100 * DAY).expect("a claim"));
    let mut options = options(servers);
    options.device_id = Some(ClientId::new("meter-17").expect("an id"));
    let store = Store::open(HOME).expect("the disk is well");
    let active = ensure_identity(&store, &options).expect("an identity");
    let tls = ClientTlsOptions::new(options.trust.clone())
        .identity(active.identity().clone())
        .build()
        .expect("TLS");
    let client = ClientOptions::new(ClientId::new("meter-17").expect("an id"))
        .dial(DialOptions::new().tls(tls.clone()));
    let client = Client::open(&options.endpoint, client).expect("a client");
    client.wait_connected().expect("a connection");
    let (orders, keep, line) = (Renewals::default(), store.clone(), client.clone());
    let ours = orders.clone();
    let kept = fiber::spawn(move || keep_renewed(&keep, &options, &line, &tls, &ours));
    let _kept = kept.expect("a fiber");
    for _ in 0..3 {
        let order = orders.order();
        while orders.report().ended < order {
            pause(Duration::from_secs(1));
        }
        assert_eq!(orders.report().failure, None);
    }
    // One is in use, and the one before in its slot.
    assert_eq!(in_trash(), 2);
    pause(TRASH_AGE_MIN - DAY);
    assert_eq!(in_trash(), 2, "not before a week is over");
    pause(3 * DAY);
    assert_eq!(in_trash(), 1, "the newest that was proven stays");
    assert!(store.active().is_some());
    client.close(HOUR).expect("closed");
}

fn run(world: &World) {
    let new = |name: &str| Rc::new(LocalAuthority::new(name).expect("an authority"));
    let (servers, devices) = (new("servers"), new("devices"));
    start_cloud(world, &servers, &devices);
    let device = world.host("device").start(move || live(&servers, &devices));
    device.expect("a fiber").join().expect("it lived");
}

#[test]
fn what_was_replaced_is_wiped_after_a_week_but_for_the_last_that_was_proven() {
    let ran = SimBuilder::new(1).time_max(1_000 * DAY).run(run);
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}
