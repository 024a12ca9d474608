//! A claim that the cloud does not take any more: it is said, and tried again, once a day in the end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use agent::identity::Store;
use agent::local_cloud::{Fleet, FleetOptions, Issued, LocalAuthority};
use agent::provision::{ClaimFiles, KeyOrigin, Method, Options, ensure_identity};
use fiber::fs::{self, File};
use fiber::sim::{SimBuilder, World};
use mqtt::{Broker, BrokerOptions};
use safe_rt::{Listener, ServerTlsOptions};

use crate::machines::HOME;
use crate::support::TEMPLATE;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn pause(length: Duration) {
    fiber::sleep(length).expect("no scope is over");
}

/// Waits for the end of the world.
fn rest() {
    let _ = fiber::sleep(1_000 * DAY);
}

/// A cloud that believes the certificates of `devices`, and shows one of `servers`.
pub(crate) fn start_cloud(
    world: &World,
    servers: &Rc<LocalAuthority>,
    devices: &Rc<LocalAuthority>,
) {
    let (servers, devices) = (Rc::clone(servers), Rc::clone(devices));
    let serve = move || {
        let tls = ServerTlsOptions::new(servers.server("cloud").expect("a server"))
            .require_client_certificate(devices.trust().expect("trust"))
            .build()
            .expect("TLS");
        let listener = Listener::bind_tls(([0, 0, 0, 0], 8883).into(), tls).expect("a port");
        let broker = Broker::new(BrokerOptions::new());
        let fleet = Fleet::serve(&broker, devices, FleetOptions::new(TEMPLATE));
        let _fleet = fleet.expect("a cloud");
        broker.serve(listener).expect("a fiber");
        rest();
    };
    drop(world.host("cloud").start(serve).expect("a fiber"));
}

fn put(name: &str, text: &str) {
    let file = File::create(format!("{HOME}/{name}")).expect("a file");
    file.set_size(0).expect("written");
    file.write_at(0, text).expect("written");
}

pub(crate) fn put_claim(claim: &Issued) {
    put("claim.pem", &claim.chain);
    put("claim.key", &claim.key);
}

/// How a device gets its identity, with the claim of [`put_claim`].
pub(crate) fn options(servers: &LocalAuthority) -> Options {
    let template = TEMPLATE.to_owned();
    let key = KeyOrigin::Device;
    let method = Method::Aws { template, key };
    let endpoint = "mqtts://cloud".parse().expect("an endpoint");
    let mut options = Options::new(endpoint, method);
    options.trust = servers.trust().expect("trust");
    options.claim = Some(ClaimFiles {
        certificate: format!("{HOME}/claim.pem").into(),
        key: format!("{HOME}/claim.key").into(),
    });
    options
}

/// What a device told, and how long after its start.
type Told = Rc<RefCell<Vec<(Duration, String)>>>;

/// A device with this claim, which gets another one after two weeks.
fn start_device(
    world: &World,
    servers: &Rc<LocalAuthority>,
    claim: Issued,
    next: Rc<RefCell<Option<Issued>>>,
) -> Told {
    let told = Told::default();
    let tell = Rc::clone(&told);
    let servers = Rc::clone(servers);
    let live = move || {
        fs::create_dir_all(HOME).expect("a folder");
        put_claim(&claim);
        let options = options(&servers);
        let (began, got) = (fiber::Instant::now(), Rc::clone(&tell));
        let options = options.told_to(move |progress| {
            let line = (began.elapsed(), progress.to_string());
            tell.borrow_mut().push(line);
        });
        let replace = fiber::spawn(move || {
            pause(14 * DAY);
            if let Some(claim) = next.take() {
                put_claim(&claim);
            }
        });
        drop(replace.expect("a fiber"));
        let store = Store::open(HOME).expect("the disk is well");
        ensure_identity(&store, &options).expect("in the end");
        got.borrow_mut().push((began.elapsed(), "there".to_owned()));
        rest();
    };
    drop(world.host("device").start(live).expect("a fiber"));
    told
}

/// A claim that is refused for two weeks, and then another one.
fn refused_claim(world: &World, is_revoked: bool) -> Vec<(Duration, String)> {
    let new = |name: &str| Rc::new(LocalAuthority::new(name).expect("an authority"));
    let (servers, devices) = (new("servers"), new("devices"));
    start_cloud(world, &servers, &devices);
    // One that the cloud does not know any more, or one that has expired.
    let old = match is_revoked {
        true => new("others").issue("claim", 100 * DAY),
        false => devices.issue("claim", HOUR),
    };
    let fresh = devices.issue("claim", 100 * DAY).expect("a claim");
    pause(2 * HOUR);
    let next = Rc::new(RefCell::new(Some(fresh)));
    let told = start_device(world, &servers, old.expect("a claim"), next);
    pause(16 * DAY);
    told.take()
}

#[test]
fn a_claim_that_is_revoked_or_has_expired_is_said_and_tried_daily_until_there_is_another() {
    for (seed, is_revoked) in [(1, true), (2, false)] {
        let run = SimBuilder::new(seed).time_max(1_000 * DAY);
        let run = run.run(move |world| refused_claim(world, is_revoked));
        let told = run.unwrap_or_else(|failure| panic!("{failure}")).value;
        let failed = |from: Duration, to: Duration| {
            let said = told.iter().filter(|(at, _)| (from..to).contains(at));
            said.filter(|(_, text)| text.contains("next attempt"))
                .count()
        };
        assert!(failed(Duration::ZERO, DAY) >= 4, "{told:?}");
        // Once a day, give or take the jitter.
        let daily = failed(7 * DAY, 14 * DAY);
        assert!((4..=28).contains(&daily), "{daily}: {told:?}");
        let expired = told.iter().any(|(_, text)| text.contains("has expired"));
        assert_eq!(expired, !is_revoked, "{told:?}");
        assert_eq!(told.last().expect("something").1, "there", "{told:?}");
    }
}
