//! The fiber that opens and closes the windows of a schedule.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, Instant, Stopped};
use mqtt::Client;

use super::away::{Away, Reason};
use super::schedule::{Plan, Schedule};

/// How long a schedule is relied on before the wall clock is looked at again: a jump of that clock
/// counts after this time at the latest.
pub(crate) const CLOCK_LOOK_MAX: Duration = Duration::from_secs(30);
/// How long nothing may happen before a connection that was made on demand is left.
const ON_DEMAND_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long nothing is planned where no window ever comes.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// That somebody wants a connection whatever the schedule says. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demand(Rc<(Cell<Option<Instant>>, Event)>);

impl Demand {
    /// Wants one for that long; the later end counts.
    pub(crate) fn want_for(&self, length: Duration) {
        let until = Instant::now() + length;
        let later = self.0.0.get().map_or(until, |earlier| earlier.max(until));
        self.0.0.set(Some(later));
        self.0.1.set();
    }

    /// Wants none any more.
    pub(crate) fn take_back(&self) {
        self.0.0.set(None);
        self.0.1.set();
    }

    fn until(&self, now: Instant) -> Option<Instant> {
        self.0.0.get().filter(|until| *until > now)
    }
}

/// What the client was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Open,
    Closed { until: Instant },
    OnDemand,
}

/// The windows of one client.
pub(crate) struct Windows {
    client: Client,
    away: Away,
    schedule: RefCell<Schedule>,
    on_demand: Cell<bool>,
    demand: Demand,
    told: Cell<Option<Told>>,
}

impl Windows {
    pub(crate) fn new(
        client: Client,
        away: Away,
        schedule: Schedule,
        on_demand: bool,
        demand: Demand,
    ) -> Self {
        Self {
            client,
            away,
            schedule: RefCell::new(schedule),
            on_demand: Cell::new(on_demand),
            demand,
            told: Cell::new(None),
        }
    }

    /// Goes by another schedule from now on. Does not yield.
    pub(crate) fn set(&self, schedule: Schedule, on_demand: bool) {
        self.schedule.replace(schedule);
        self.on_demand.set(on_demand);
        self.step();
        // When to look again may be sooner.
        self.demand.0.1.set();
    }

    /// Does what the schedule says of this moment, and returns when to look again. Does not yield.
    pub(crate) fn step(&self) -> Instant {
        let (now, wall) = (Instant::now(), fiber::wall_time());
        let plan = self.schedule.borrow().at(wall);
        let after =
            |time: std::time::SystemTime| now + time.duration_since(wall).unwrap_or_default();
        let demanded = self.demand.until(now);
        let (told, next) = match (plan, demanded) {
            (_, Some(until)) => (Told::Open, until),
            (Plan::Always, None) => (Told::Open, now + NEVER),
            (Plan::Open { until }, None) => (Told::Open, after(until)),
            (Plan::Closed { until }, None) => {
                let until = until.map_or(now + NEVER, after);
                let told = if self.on_demand.get() {
                    Told::OnDemand
                } else {
                    Told::Closed { until }
                };
                (told, until)
            }
        };
        self.tell(told);
        next.min(now + CLOCK_LOOK_MAX)
    }

    fn tell(&self, told: Told) {
        let earlier = self.told.replace(Some(told));
        match told {
            Told::Open => {
                self.client.set_idle_timeout(None);
                self.away.set(Reason::Window, None);
                if earlier.is_some_and(|earlier| earlier != Told::Open) {
                    // After a rest there is an attempt when somebody wants one.
                    self.client.retry_now();
                }
            }
            Told::Closed { until } => {
                if !matches!(earlier, Some(Told::Closed { .. })) {
                    let left = (until - Instant::now()).as_secs();
                    log::info!("no window is open: no connection for {left} s");
                }
                self.away.set(Reason::Window, Some(until));
            }
            Told::OnDemand => {
                self.away.set(Reason::Window, None);
                self.client.set_idle_timeout(Some(ON_DEMAND_IDLE_TIMEOUT));
            }
        }
    }

    /// Opens and closes windows until it is stopped: the body of a fiber. Yields.
    ///
    /// # Errors
    ///
    /// [`Stopped`], always.
    pub(crate) fn serve(&self) -> Result<(), Stopped> {
        loop {
            self.demand.0.1.clear();
            let again = self.step();
            match fiber::select(&[&self.demand.0.1], Some(again)) {
                Ok(_) => {}
                Err(error) => return Err(fiber::cause(&error).unwrap_or(Stopped::NoRuntime)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mqtt::{
        Broker, BrokerOptions, ClientId, ClientOptions, Event as ClientEvent, Publish, QoS,
    };

    use mqtt::session::PublishRate;

    use super::super::schedule::ScheduleOptions;
    use super::super::throttle::Throttle;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// When a client was connected, and when it was not any more.
    type Seen = Rc<RefCell<Vec<(Instant, bool)>>>;

    /// A client of a broker in memory, on a clock that stands still but for waits; and since when it is
    /// connected, or not.
    fn client(broker: &Broker) -> (Client, Seen) {
        let ours = broker.clone();
        let connect = move || {
            let (near, far) = fiber::net::pipe(64 * 1024);
            ours.attach(far).unwrap();
            Ok(near.into())
        };
        let options = ClientOptions::new(ClientId::new("meter-17").unwrap());
        let client = Client::open_by(connect, options).unwrap();
        let seen = Seen::default();
        let noted = Rc::clone(&seen);
        client.on_event(move |_, event| match event {
            ClientEvent::Connected { .. } => noted.borrow_mut().push((Instant::now(), true)),
            ClientEvent::Disconnected { .. } | ClientEvent::Idle => {
                noted.borrow_mut().push((Instant::now(), false));
            }
            _ => {}
        });
        (client, seen)
    }

    fn play(body: impl FnOnce(&Broker) + 'static) {
        let run = move || {
            let broker = Broker::new(BrokerOptions::new());
            body(&broker);
            broker.stop();
        };
        fiber::Runtime::builder()
            .paused_clock(true)
            .run(run)
            .unwrap();
    }

    /// A window of ten minutes at every full hour.
    fn schedule() -> Schedule {
        let options = ScheduleOptions {
            windows: vec!["0 * * * *".to_owned()],
            ..ScheduleOptions::default()
        };
        Schedule::new(&options, 0.0).unwrap()
    }

    /// Keeps the client to the schedule.
    fn serve(client: &Client, on_demand: bool) -> fiber::JoinHandle<Result<(), Stopped>> {
        let away = Away::new(client.clone());
        let demand = Demand::default();
        let windows = Windows::new(client.clone(), away, schedule(), on_demand, demand);
        fiber::spawn(move || windows.serve()).unwrap()
    }

    #[test]
    fn a_window_that_is_over_closes_the_connection_however_busy_it_is() {
        play(|broker| {
            let (client, seen) = client(broker);
            let heard = broker.subscribe("reading").unwrap();
            let mut service = serve(&client, false);
            let busy = client;
            let mut publisher = fiber::spawn(move || {
                loop {
                    fiber::sleep(Duration::from_secs(1))?;
                    let publish = Publish::to("reading", "1").qos(QoS::AtLeastOnce);
                    drop(busy.publish(publish));
                    while heard.try_recv().is_some() {}
                }
            })
            .unwrap();
            fiber::sleep(5 * HOUR).unwrap();
            service.cancel();
            publisher.cancel();
            let ended: Result<(), Stopped> = publisher.join().unwrap();
            assert_eq!(ended, Err(Stopped::Cancelled));
            drop(service.join());
            let seen = seen.borrow().clone();
            let lengths: Vec<u64> = seen
                .windows(2)
                .filter(|pair| pair[0].1 && !pair[1].1)
                .map(|pair| (pair[1].0 - pair[0].0).as_secs())
                .collect();
            assert!((4..=5).contains(&lengths.len()), "{seen:?}");
            for length in &lengths[1..] {
                assert!((590..=603).contains(length), "{lengths:?}");
            }
        });
    }

    #[test]
    fn on_demand_a_message_between_windows_has_a_connection_made_for_it() {
        play(|broker| {
            let (client, seen) = client(broker);
            let heard = broker.subscribe("alarm").unwrap();
            let mut service = serve(&client, true);
            // Well into the hour, whatever it began with.
            let wall = fiber::wall_time();
            let of_hour = wall
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs()
                % 3_600;
            fiber::sleep(Duration::from_secs(3_600 + 1_800 - of_hour)).unwrap();
            assert!(!client.is_connected(), "{seen:?}");
            let publish = Publish::to("alarm", "hot").qos(QoS::AtLeastOnce);
            client.publish(publish.wait(mqtt::Wait::Ack)).unwrap();
            assert_eq!(heard.recv().unwrap().payload(), b"hot");
            fiber::sleep(ON_DEMAND_IDLE_TIMEOUT + Duration::from_secs(5)).unwrap();
            assert!(!client.is_connected(), "{seen:?}");
            service.cancel();
            drop(service.join());
        });
    }

    #[test]
    fn who_wants_a_connection_has_one_for_that_time_whatever_the_schedule_says() {
        play(|broker| {
            let (client, _) = client(broker);
            let demand = Demand::default();
            let windows = Windows::new(
                client.clone(),
                Away::new(client.clone()),
                schedule(),
                false,
                demand.clone(),
            );
            let mut service = fiber::spawn(move || windows.serve()).unwrap();
            let wall = fiber::wall_time();
            let of_hour = wall
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs()
                % 3_600;
            fiber::sleep(Duration::from_secs(3_600 + 1_800 - of_hour)).unwrap();
            assert!(!client.is_connected());
            demand.want_for(Duration::from_secs(60));
            fiber::sleep(Duration::from_secs(50)).unwrap();
            assert!(client.is_connected());
            fiber::sleep(Duration::from_secs(15)).unwrap();
            assert!(!client.is_connected());
            service.cancel();
            drop(service.join());
        });
    }

    #[cfg(feature = "provision")]
    #[test]
    fn who_had_the_client_come_in_a_closed_window_gives_it_back() {
        play(|broker| {
            let (client, _) = client(broker);
            let away = Away::new(client.clone());
            away.set(Reason::Window, Some(Instant::now() + HOUR));
            fiber::sleep(Duration::from_secs(30)).unwrap();
            assert!(!client.is_connected());
            // As a renewal does for its proof.
            client.pause_until(Instant::now());
            client.retry_now();
            client.wait_connected().unwrap();
            away.again();
            fiber::sleep(Duration::from_secs(15)).unwrap();
            assert!(!client.is_connected());
            fiber::sleep(HOUR / 2).unwrap();
            assert!(!client.is_connected());
            away.set(Reason::Window, None);
            fiber::sleep(Duration::from_secs(15)).unwrap();
            assert!(client.is_connected());
        });
    }

    #[test]
    fn what_the_cloud_asked_to_be_spared_is_by_the_clock_that_never_steps() {
        play(|broker| {
            let (client, seen) = client(broker);
            let folder =
                std::env::temp_dir().join(format!("agent-throttle-{}", std::process::id()));
            fiber::fs::create_dir_all(&folder).unwrap();
            let open = || {
                let away = Away::new(client.clone());
                let floor = safe_rt::ClockFloor::new();
                Throttle::open(
                    client.clone(),
                    away,
                    Some(PublishRate::per_second(5, 5)),
                    0.5,
                    floor,
                    Some(&folder),
                )
            };
            let throttle = open();
            let serving = throttle.clone();
            let mut service = fiber::spawn(move || serving.serve()).unwrap();
            client.wait_connected().unwrap();
            throttle.block_for(HOUR);
            let began = Instant::now();
            throttle.wait_unblocked().unwrap();
            let waited = began.elapsed();
            assert!(
                (HOUR + HOUR / 20..HOUR + HOUR / 10).contains(&waited),
                "{waited:?}"
            );
            fiber::sleep(Duration::from_secs(60)).unwrap();
            assert!(client.is_connected());
            let ups = seen.borrow().iter().filter(|(_, is_up)| *is_up).count();
            assert_eq!(ups, 2, "{seen:?}");
            service.cancel();
            drop(service.join());
            // What is over does not come back with another start, whatever the clock shows then.
            let text = fiber::fs::read(folder.join("throttle.json")).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(!text.contains("left"), "{text}");
            assert_eq!(open().spared(), Default::default());
            fiber::fs::remove(folder.join("throttle.json")).unwrap();
            fiber::fs::remove_dir(&folder).unwrap();
        });
    }

    #[test]
    fn another_schedule_counts_at_once_and_none_is_always() {
        play(|broker| {
            let (client, _) = client(broker);
            let windows = Windows::new(
                client.clone(),
                Away::new(client.clone()),
                Schedule::new(&ScheduleOptions::default(), 0.0).unwrap(),
                false,
                Demand::default(),
            );
            let windows = Rc::new(windows);
            let serving = Rc::clone(&windows);
            let mut service = fiber::spawn(move || serving.serve()).unwrap();
            let minute = Duration::from_secs(60);
            fiber::sleep(30 * HOUR).unwrap();
            assert!(client.is_connected());
            let wall = fiber::wall_time();
            let since_1970 = wall.duration_since(std::time::UNIX_EPOCH).unwrap();
            let of_hour = Duration::from_secs(since_1970.as_secs() % 3_600);
            fiber::sleep(HOUR + HOUR / 2 - of_hour).unwrap();
            windows.set(schedule(), false);
            fiber::sleep(minute).unwrap();
            assert!(!client.is_connected());
            // On demand nobody is kept away.
            windows.set(schedule(), true);
            client
                .publish(
                    Publish::to("a", "b")
                        .wait(mqtt::Wait::Ack)
                        .qos(QoS::AtLeastOnce),
                )
                .unwrap();
            fiber::sleep(minute).unwrap();
            windows.set(schedule(), false);
            fiber::sleep(minute).unwrap();
            assert!(!client.is_connected());
            windows.set(
                Schedule::new(&ScheduleOptions::default(), 0.0).unwrap(),
                false,
            );
            fiber::sleep(minute).unwrap();
            assert!(client.is_connected());
            fiber::sleep(3 * HOUR).unwrap();
            assert!(client.is_connected());
            service.cancel();
            drop(service.join());
        });
    }
}
