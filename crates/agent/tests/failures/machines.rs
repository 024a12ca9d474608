//! A broker and a device, each on a machine of its own; what they say is known outside.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use agent::config::Config;
use agent::failure::Failure;
use agent::{Agent, HealthCode};
use fiber::sim::{Host, SimBuilder, World};
use fiber::{JoinHandle, sleep};
use mqtt::{Broker, BrokerOptions, ClientId, Publish, QoS, Wait};
use safe_rt::Listener;

pub(crate) const STATE: &str = "/var/lib/agent";
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Seeds of each test.
const SEEDS: u64 = 5;

/// What the device said.
#[derive(Default)]
pub(crate) struct Said {
    /// Readings that the agent took: from then on they are its business.
    pub(crate) taken: RefCell<BTreeSet<u64>>,
    /// Everything that was ever wrong.
    pub(crate) ailments: RefCell<BTreeSet<&'static str>>,
    /// Whether something is wrong now.
    pub(crate) is_ill: Cell<bool>,
    pub(crate) is_online: Cell<bool>,
    pub(crate) is_durable: Cell<bool>,
    pub(crate) starts: Cell<u32>,
    /// Connections so far.
    pub(crate) connects: Cell<u64>,
    next: Cell<u64>,
}

/// A day: a broker, a device, and what becomes of them.
pub(crate) struct Day<'a> {
    pub(crate) world: &'a World,
    pub(crate) device: Host,
    pub(crate) said: Rc<Said>,
    /// Readings that came, each as often as it came.
    pub(crate) came: Rc<RefCell<Vec<u64>>>,
    pace: Duration,
}

/// Lives a day under several seeds. The device takes a reading every `pace`.
#[track_caller]
pub(crate) fn live(pace: Duration, day: impl Fn(&Day<'_>) + Clone + 'static) {
    for seed in 0..SEEDS {
        let day = day.clone();
        let run = SimBuilder::new(seed).time_max(60 * DAY).run(move |world| {
            let came = start_broker(world);
            let today = Day {
                world,
                device: world.host("device"),
                said: Rc::default(),
                came,
                pace,
            };
            day(&today);
        });
        if let Err(failure) = run {
            panic!("seed {seed}: {failure:?}");
        }
    }
}

fn start_broker(world: &World) -> Rc<RefCell<Vec<u64>>> {
    let came: Rc<RefCell<Vec<u64>>> = Rc::default();
    let note = Rc::clone(&came);
    let serve = move || {
        let broker = Broker::new(BrokerOptions::new());
        let readings = broker.subscribe("readings").expect("a subscription");
        let listener = Listener::bind(([0, 0, 0, 0], 1883).into()).expect("a port");
        broker.serve(listener).expect("a fiber");
        while let Ok(message) = readings.recv() {
            let text = std::str::from_utf8(message.payload()).expect("a text");
            note.borrow_mut().push(text.parse().expect("a number"));
        }
    };
    drop(world.host("broker").start(serve).expect("a fiber"));
    came
}

impl Day<'_> {
    /// Starts the device, as when power comes.
    pub(crate) fn boot(&self) -> JoinHandle<()> {
        let (said, pace) = (Rc::clone(&self.said), self.pace);
        let started = self.device.start(move || run_device(&said, pace));
        started.expect("a fiber")
    }

    /// Starts another device with the same image on its disk.
    pub(crate) fn boot_clone(&self, said: &Rc<Said>) -> JoinHandle<()> {
        let (said, pace) = (Rc::clone(said), self.pace);
        let started = self
            .world
            .host("clone")
            .start(move || run_device(&said, pace));
        started.expect("a fiber")
    }

    /// Waits until everything that the device took has come and it is well, for an hour at most.
    #[track_caller]
    pub(crate) fn all_is_well(&self) {
        let taken = self.said.taken.borrow().clone();
        for _ in 0..3_600 {
            sleep(SECOND).expect("no scope is over");
            let came: BTreeSet<u64> = self.came.borrow().iter().copied().collect();
            if taken.is_subset(&came) && self.said.is_online.get() && !self.said.is_ill.get() {
                return;
            }
        }
        let came: BTreeSet<u64> = self.came.borrow().iter().copied().collect();
        let missing: Vec<_> = taken.difference(&came).collect();
        let ailments = self.said.ailments.borrow();
        panic!(
            "online {}, ill {}, missing {missing:?} of {}, ailments {ailments:?}",
            self.said.is_online.get(),
            self.said.is_ill.get(),
            taken.len(),
        );
    }

    /// Writes a file on the disk of the device.
    pub(crate) fn put(&self, path: &'static str, text: &'static str) {
        let write = move || {
            let folder = std::path::Path::new(path).parent().expect("a folder");
            fiber::fs::create_dir_all(folder).expect("room");
            drop(fiber::fs::remove(path));
            let file = fiber::fs::File::create(path).expect("room");
            file.write_at(0, text.as_bytes().to_vec()).expect("room");
        };
        let mut written = self.device.start(write).expect("a fiber");
        written.join().expect("it was written");
    }

    pub(crate) fn pass(&self, time: Duration) {
        sleep(time).expect("no scope is over");
    }

    #[track_caller]
    pub(crate) fn had(&self, code: HealthCode) {
        let ailments = self.said.ailments.borrow();
        assert!(ailments.contains(code.name()), "{ailments:?}");
    }
}

/// The device's program.
fn run_device(said: &Rc<Said>, pace: Duration) {
    said.starts.set(said.starts.get() + 1);
    let mut config = Config::new("mqtt://broker".parse().expect("an endpoint"));
    let id = ClientId::new("meter-17").expect("a client identifier");
    config.set_device_id(&id).expect("no topics");
    let (watched, measured) = (Rc::clone(said), Rc::clone(said));
    let ran = Agent::builder()
        .config(config)
        .state_dir(STATE)
        .on_start(move |agent| {
            let ours = agent.clone();
            agent.spawn("watch", move || {
                loop {
                    watch(&watched, &ours);
                    sleep(SECOND)?;
                }
            })?;
            let ours = agent.clone();
            agent.spawn("measure", move || {
                loop {
                    let number = measured.next.get() + 1;
                    let text = number.to_string();
                    let publish = Publish::to("readings", &text).qos(QoS::AtLeastOnce);
                    // From then on it is the agent's business.
                    if ours.mqtt().publish(publish.wait(Wait::Stored)).is_ok() {
                        measured.taken.borrow_mut().insert(number);
                        measured.next.set(number);
                    }
                    sleep(pace)?;
                }
            })?;
            Ok(())
        })
        .run();
    // The end of the run ends it, and nothing else does.
    match ran {
        Err(Failure::Signals(error)) if fiber::cause(&error).is_some() => {}
        other => panic!("the agent ended by itself: {other:?}"),
    }
}

fn watch(said: &Said, agent: &Agent) {
    said.is_online.set(agent.is_online());
    said.is_durable.set(agent.is_durable());
    let supervisor = agent.supervisor();
    said.is_ill.set(!supervisor.health().is_empty());
    let stats = supervisor.stats(fiber::Instant::now());
    said.connects.set(stats.connects);
    let names = supervisor.health().keys().map(|code| code.name());
    said.ailments.borrow_mut().extend(names);
    assert_eq!(supervisor.stuck(fiber::Instant::now()), None);
}
