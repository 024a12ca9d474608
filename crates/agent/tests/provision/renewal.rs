//! Renewals on the connection that a device has.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use agent::identity::Store;
use agent::local_cloud::FleetOptions;
use agent::provision::{Options, Renewals, ensure_identity, keep_renewed};
use fiber::{JoinHandle, Stopped, sleep};
use mqtt::{BrokerOptions, Client, ClientId, ClientOptions, Publish, QoS, Subscribe, Wait};
use safe_rt::{BackoffOptions, ClientTls, ClientTlsOptions, DialOptions};

use crate::support::{Cloud, Folder, TEMPLATE, run};

/// A device that is connected, with a certificate whose renewal is due at once.
struct Device {
    store: Store,
    client: Client,
    first: String,
    renewing: JoinHandle<Result<std::convert::Infallible, Stopped>>,
}

fn in_use(store: &Store) -> String {
    let active = store.active().expect("an identity");
    let about = active.about().expect("what the cloud said");
    about.certificate_id.clone()
}

fn tls(cloud: &Cloud, store: &Store) -> ClientTls {
    let active = store.active().expect("an identity");
    ClientTlsOptions::new(cloud.authority.trust().expect("trust"))
        .identity(active.identity().clone())
        .build()
        .expect("TLS")
}

impl Device {
    fn start(cloud: &Cloud, folder: &Folder) -> Self {
        let mut options: Options = cloud.options(folder);
        options.device_id = Some(ClientId::new("meter-17").expect("an id"));
        // A minute of the past and an hour to come: due a second after the beginning.
        (options.renew_from, options.renew_until) = (1, 1);
        let store = Store::open(folder.state()).expect("a store");
        ensure_identity(&store, &options).expect("an identity");
        let tls = tls(cloud, &store);
        let pause = Duration::from_millis(20);
        let backoff = BackoffOptions::new().base(pause).cap(pause).floor(pause);
        let client = ClientOptions::new(ClientId::new("meter-17").expect("an id"))
            .dial(DialOptions::new().tls(tls.clone()))
            .backoff(backoff.long_base(pause).long_cap(pause));
        let client = Client::open(&cloud.endpoint, client).expect("a client");
        client.wait_connected().expect("a connection");
        let (keep, line) = (store.clone(), client.clone());
        let orders = Renewals::default();
        let renewing = fiber::spawn(move || keep_renewed(&keep, &options, &line, &tls, &orders));
        Self {
            first: in_use(&store),
            store,
            client,
            renewing: renewing.expect("a fiber"),
        }
    }

    fn stop(mut self) {
        self.renewing.cancel();
        assert!(self.renewing.join().expect("it ran").is_err());
        self.client.close(Duration::from_secs(1)).expect("closed");
    }
}

fn rules() -> FleetOptions {
    FleetOptions::new(TEMPLATE).life(Duration::from_secs(3_600))
}

#[test]
fn a_renewal_has_a_new_key_and_takes_over_without_losing_session_or_messages() {
    run(|| {
        let (folder, cloud) = (Folder::new(), Cloud::start(BrokerOptions::new(), rules()));
        let arrived = cloud.broker.subscribe("site/#").unwrap();
        let device = Device::start(&cloud, &folder);
        let heard = Rc::new(Cell::new(0));
        let hear = Rc::clone(&heard);
        let subscribe = Subscribe::to("valve", QoS::AtLeastOnce).wait(Wait::Ack);
        let subscribed = device
            .client
            .subscribe_as(subscribe, move |_client, _message| {
                hear.set(hear.get() + 1);
                Ok(())
            });
        subscribed.unwrap();
        let mut sent = 0_u32;
        while in_use(&device.store) == device.first {
            sent += 1;
            let payload = sent.to_string();
            let publish = Publish::to("site/meter", &payload).qos(QoS::AtLeastOnce);
            device.client.publish(publish).unwrap();
            cloud
                .broker
                .publish("valve", "open", QoS::AtLeastOnce, false)
                .unwrap();
            sleep(Duration::from_millis(15)).unwrap();
        }
        device.client.wait_connected().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < sent as usize {
            seen.insert(String::from_utf8(arrived.recv().unwrap().payload().to_vec()).unwrap());
        }
        while heard.get() < sent {
            sleep(Duration::from_millis(5)).unwrap();
        }
        let stats = cloud.fleet.stats();
        assert_eq!((stats.certificates, stats.keys), (2, 2));
        assert!(device.store.state().last_good.is_some());
        device.stop();
        let kept = folder.state().join("identity/a/key.pem");
        assert!(kept.exists(), "the identity before is kept");
    });
}

#[test]
fn a_new_identity_that_does_not_work_gives_way_to_the_one_before_at_once() {
    run(|| {
        let folder = Folder::new();
        let proofs = Rc::new(Cell::new(0));
        let count = Rc::clone(&proofs);
        // The first identity may do everything, the next one has no policy yet.
        let broker = BrokerOptions::new().authorize_subscribe(move |_client, filter, _qos| {
            if filter.ends_with("/proof") {
                count.set(count.get() + 1);
            }
            !filter.ends_with("/proof") || count.get() == 1
        });
        let cloud = Cloud::start(broker, rules());
        let device = Device::start(&cloud, &folder);
        while device.store.state().attempts == 0 {
            sleep(Duration::from_millis(5)).unwrap();
        }
        device.client.wait_connected().unwrap();
        let payload = "still here";
        let publish = Publish::to("site/meter", payload).qos(QoS::AtLeastOnce);
        device.client.publish(publish.wait(Wait::Ack)).unwrap();
        assert_eq!(in_use(&device.store), device.first);
        let state = device.store.state();
        assert_eq!(
            state.phase(),
            "Registered",
            "the candidate is tried again later"
        );
        assert!(state.last_failure.unwrap().contains("/proof"));
        device.stop();
    });
}
