//! Machines of the simulated world: a cloud, and a device that is started again and again.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use agent::identity::Store;
use agent::local_cloud::{Fleet, FleetOptions, LocalAuthority};
use agent::provision::{KeyOrigin, Method, Options, ensure_identity};
use fiber::sim::{Host, World};
use mqtt::{Broker, BrokerOptions};
use safe_rt::Listener;

use crate::support::TEMPLATE;

pub(crate) const HOME: &str = "/var/lib/agent";

/// The cloud's machine; what it did is known outside.
pub(crate) struct CloudMachine {
    pub(crate) fleet: Rc<RefCell<Option<Fleet>>>,
}

impl CloudMachine {
    pub(crate) fn start(world: &World) -> Self {
        let fleet: Rc<RefCell<Option<Fleet>>> = Rc::default();
        let told = Rc::clone(&fleet);
        let serve = move || {
            let authority = Rc::new(LocalAuthority::new("authority").expect("an authority"));
            let broker = Broker::new(BrokerOptions::new());
            let listener = Listener::bind(([0, 0, 0, 0], 1883).into()).expect("a port");
            let fleet = Fleet::serve(&broker, authority, FleetOptions::new(TEMPLATE));
            told.replace(Some(fleet.expect("a cloud")));
            broker.serve(listener).expect("a fiber");
            let _ = fiber::sleep(Duration::from_secs(1_000 * 86_400));
        };
        drop(world.host("cloud").start(serve).expect("a fiber"));
        Self { fleet }
    }

    pub(crate) fn stats(&self) -> agent::local_cloud::FleetStats {
        self.fleet.borrow().as_ref().expect("it runs").stats()
    }
}

/// Without TLS: what is tested is what is kept, and certificates are checked all the same.
pub(crate) fn options() -> Options {
    let method = Method::Aws {
        template: TEMPLATE.to_owned(),
        key: KeyOrigin::Device,
    };
    Options::new("mqtt://cloud".parse().expect("an endpoint"), method)
}

/// What the device's program told last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) device_id: Option<String>,
    pub(crate) certificate: Option<String>,
    pub(crate) starts: u32,
}

/// Starts the device: it opens its store, and makes sure of its identity.
pub(crate) fn start(device: &Host, told: &Rc<RefCell<Told>>) {
    let told = Rc::clone(told);
    let live = move || {
        let store = Store::open(HOME).expect("the disk is well");
        let before = told.borrow().clone();
        if let Some(certificate) = before.certificate {
            // Whatever happened: what was in use is in use.
            let active = store.active().expect("an identity");
            let about = active.about().expect("what the cloud said");
            assert_eq!(about.certificate_id, certificate);
        }
        let id = store.device_id().expect("the disk is well");
        if let Some(before) = before.device_id {
            assert_eq!(id, before, "a device has one id");
        }
        told.borrow_mut().device_id = Some(id.clone());
        if let Ok(active) = ensure_identity(&store, &options()) {
            let about = active.about().expect("what the cloud said");
            assert_eq!(about.client_id, id);
            let mut told = told.borrow_mut();
            told.certificate = Some(about.certificate_id.clone());
            told.starts += 1;
        }
        let _ = fiber::sleep(Duration::from_secs(1_000 * 86_400));
    };
    drop(device.start(live).expect("a fiber"));
}

/// Waits until the device says that it has an identity.
pub(crate) fn wait_for_identity(told: &Rc<RefCell<Told>>, limit: Duration) {
    let began = fiber::Instant::now();
    let starts = told.borrow().starts;
    while told.borrow().starts == starts {
        assert!(began.elapsed() < limit, "no identity within {limit:?}");
        fiber::sleep(Duration::from_millis(100)).expect("no scope is over");
    }
}
