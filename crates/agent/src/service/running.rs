//! The services of one agent: opened with its client, started with the agent.

use std::cell::{Cell, OnceCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::session::PublishRate;
use mqtt::{Client, QoS, RequestOptions};
use safe_rt::ClockFloor;

use super::away::{Away, Reason};
use super::batch::BatchOptions;
use super::command::{self, COMMAND_TIMEOUT_MAX, Command, Commands, Desk, HandlerRefused, Program};
use super::readings::{Readings, Sending};
use super::schedule::{Schedule, ScheduleError, ScheduleOptions, share_of};
use super::state_file::StateFile;
use super::store::DeviceStore;
use super::throttle::Throttle;
use super::{Demand, Windows};
use crate::agent::Agent;
use crate::builder::Settings;
use crate::config::{Config, Telemetry};
use crate::failure::Failure;
use crate::live::Live;
use crate::profile::Profile;
use crate::status::Status;
use crate::telemetry;

/// The longest that a command may have the device keep away: meanwhile it hears of nothing, also not that
/// it may come back.
pub const BLOCK_BY_COMMAND_MAX: Duration = Duration::from_secs(3_600);

/// How long putting an agent together may hold back its first connection.
const HOLD_MAX: Duration = Duration::from_secs(60);

/// What the services of an agent are set to.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceSettings {
    /// What the device says about itself, which the configuration alone decides.
    pub(crate) telemetry: Option<Telemetry>,
    /// When to be connected; always, unless set.
    pub(crate) schedule: Option<ScheduleOptions>,
    /// That comes from the configuration.
    is_configured: bool,
    /// Where commands come, and what is allowed.
    pub(crate) commands_topic: Option<String>,
    pub(crate) commands: Commands,
    /// Which of the agent's own are allowed; all unless set.
    pub(crate) own: Option<Vec<String>>,
    /// The first handler that was not taken.
    pub(crate) refused: Option<HandlerRefused>,
    /// Where readings go.
    pub(crate) readings: Option<ReadingsSettings>,
    /// What the device says about itself goes with them.
    is_one: bool,
    /// Where the cloud keeps values.
    pub(crate) store_topic: Option<String>,
    /// Where answers come; `devices/ID/answers` unless set.
    pub(crate) answers_topic: Option<String>,
    /// Where figures about the agent go, and how often.
    pub(crate) metrics: Option<(String, Duration)>,
}

impl ServiceSettings {
    /// Adds what the configuration says, as far as the program says nothing of it.
    ///
    /// # Errors
    ///
    /// A handler that the program has twice. One of the configuration that is not taken is left out.
    pub(crate) fn complete(&mut self, config: &Config) -> Result<(), HandlerRefused> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        self.complete_live(config);
        if let Some(commands) = &config.commands {
            let topic = commands.topic.as_str().to_owned();
            self.commands_topic.get_or_insert(topic);
            for handler in &commands.handlers {
                let mut program = Program::new(&handler.program).args(handler.args.clone());
                program.timeout = handler.timeout.min(COMMAND_TIMEOUT_MAX);
                if program.timeout < handler.timeout {
                    let most = COMMAND_TIMEOUT_MAX.as_secs();
                    log::warn!(
                        "[[command]] {}: its timeout is {most} s, the most",
                        handler.name
                    );
                }
                program.output_max = handler.max_output;
                // The device is worth more than one command.
                if let Err(refused) = self.commands.allow_program(&handler.name, program) {
                    log::error!("[[command]] {} is left out: {refused}", handler.name);
                }
            }
        }
        Ok(())
    }

    /// As [`complete`](Self::complete), of what may change while they run.
    pub(crate) fn complete_live(&mut self, config: &Config) {
        self.telemetry.clone_from(&config.telemetry);
        if let (None, Some(schedule)) = (&self.schedule, &config.schedule) {
            self.schedule = Some(ScheduleOptions {
                windows: schedule.windows.clone(),
                duration: schedule.duration,
                jitter: schedule.jitter,
                delay: schedule.delay,
                on_demand: schedule.on_demand,
            });
            self.is_configured = true;
        }
        if let (None, Some(telemetry)) = (&self.readings, &config.telemetry) {
            self.readings = Some(ReadingsSettings::of(telemetry));
            self.is_one = true;
        }
        // What the broker takes, if that is less.
        let profile = Profile::of_config(config);
        if let Some(readings) = &mut self.readings
            && let Some(bytes) = profile.payload_max(&readings.topic)
        {
            readings.batch.bytes_max = readings.batch.bytes_max.min(bytes);
        }
        if let Some(telemetry) = &mut self.telemetry
            && let Some(bytes) = profile.payload_max(telemetry.topic.as_str())
        {
            telemetry.max_bytes = telemetry.max_bytes.min(bytes);
        }
        if let (None, Some(metrics)) = (&self.metrics, &config.metrics) {
            let topic = metrics.topic.as_str().to_owned();
            self.metrics = Some((topic, metrics.interval));
        }
    }

    /// Returns the schedule, checked. `share` as in [`Schedule::new`].
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn schedule(&self, share: f64) -> Result<Schedule, ScheduleError> {
        let options = self.schedule.clone().unwrap_or_default();
        Schedule::new(&options, share)
    }
}

/// Where readings go, and how.
#[derive(Clone, Debug)]
pub(crate) struct ReadingsSettings {
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) batch: BatchOptions,
}

impl ReadingsSettings {
    /// Those of `[telemetry]`.
    fn of(telemetry: &Telemetry) -> Self {
        Self {
            topic: telemetry.topic.as_str().to_owned(),
            qos: telemetry.qos,
            batch: BatchOptions {
                count_max: telemetry.max_count,
                bytes_max: telemetry.max_bytes,
                delay_max: telemetry.max_delay,
            },
        }
    }
}

/// The services of an agent.
pub(crate) struct Services {
    pub(crate) throttle: Throttle,
    pub(crate) store: Option<DeviceStore>,
    pub(crate) commands: Commands,
    pub(crate) demand: Demand,
    pub(crate) requests: RequestOptions,
    away: Away,
    state_dir: Option<PathBuf>,
    /// Each of these is made, with its fiber, when it is set for the first time.
    windows: OnceCell<Rc<Windows>>,
    readings: OnceCell<Readings>,
    /// Whether readings are taken.
    takes_readings: Cell<bool>,
    /// Those about the device itself, where they go elsewhere.
    figures: OnceCell<Readings>,
    /// This start of the agent.
    boot: String,
    floor: ClockFloor,
    telemetry: OnceCell<Live<Option<Telemetry>>>,
    metrics: OnceCell<Live<Option<(String, Duration)>>>,
}

impl Services {
    /// Opens them. Yields while what they kept is read.
    pub(crate) fn open(
        client: &Client,
        device_id: &str,
        usual_rate: Option<PublishRate>,
        floor: &ClockFloor,
        settings: &Settings,
    ) -> Self {
        let mut boot = [0; 8];
        if let Err(error) = fiber::random::fill(&mut boot) {
            log::warn!("this start has no name of its own: {error}");
        }
        let away = Away::new(client.clone());
        // Nothing is received before somebody listens.
        away.set(Reason::Start, Some(Instant::now() + HOLD_MAX));
        let services = &settings.services;
        let state_dir = settings.state_dir.as_deref();
        let answers = services.answers_topic.clone();
        let answers = answers.unwrap_or_else(|| format!("devices/{device_id}/answers"));
        let store = services
            .store_topic
            .clone()
            .map(|topic| DeviceStore::open(client.clone(), topic, answers.clone(), state_dir));
        Self {
            throttle: Throttle::open(
                client.clone(),
                away.clone(),
                usual_rate,
                share_of(device_id),
                floor.clone(),
                state_dir,
            ),
            state_dir: settings.state_dir.clone(),
            store,
            commands: services.commands.clone(),
            demand: Demand::default(),
            requests: RequestOptions::reply_to(answers),
            away,
            windows: OnceCell::new(),
            readings: OnceCell::new(),
            takes_readings: Cell::new(false),
            figures: OnceCell::new(),
            boot: format!("{:016x}", u64::from_le_bytes(boot)),
            floor: floor.clone(),
            telemetry: OnceCell::new(),
            metrics: OnceCell::new(),
        }
    }

    /// Takes readings, where there is a topic for them.
    pub(crate) fn readings(&self) -> Option<&Readings> {
        self.readings.get().filter(|_| self.takes_readings.get())
    }

    /// All that readings are in.
    pub(crate) fn all_readings(&self) -> impl Iterator<Item = &Readings> {
        [&self.readings, &self.figures]
            .into_iter()
            .filter_map(OnceCell::get)
    }

    /// Lets the client connect, as far as nothing else keeps it away. Does not yield.
    pub(crate) fn release(&self) {
        self.away.set(Reason::Start, None);
    }

    /// Starts their fibers.
    pub(crate) fn start(&self, agent: &Agent, settings: &ServiceSettings) -> Result<(), Failure> {
        let client = agent.mqtt();
        let schedule = match settings.schedule(share_of(agent.device_id())) {
            // A device that is always there can be told of a better one.
            Err(error) if settings.is_configured => {
                log::error!("[schedule] is left out, and there always is a connection: {error}");
                Schedule::new(&ScheduleOptions::default(), 0.0).map_err(Failure::Schedule)?
            }
            schedule => schedule.map_err(Failure::Schedule)?,
        };
        self.set(agent, settings, schedule)?;
        let delay = settings.schedule.as_ref().map(|options| options.delay);
        if let Some(delay) = delay.filter(|delay| !delay.is_zero()) {
            let away = self.away.clone();
            away.set(Reason::Delay, Some(Instant::now() + delay));
            agent.spawn("delay", move || {
                fiber::sleep(delay)?;
                away.set(Reason::Delay, None);
                Ok(())
            })?;
        }
        let throttle = self.throttle.clone();
        agent.serve("throttle", move || throttle.serve())?;
        if let Some(topic) = settings.commands_topic.clone() {
            own_commands(&self.commands, &self.throttle, settings.own.as_deref());
            let profile = Profile::of_config(agent.config());
            let desk = Rc::new(Desk::open(
                self.commands.clone(),
                agent.device_id(),
                StateFile::new(self.state_dir.as_deref(), "commands.json"),
                profile.payload_max(&format!("{topic}/answer")),
                self.floor.clone(),
            ));
            let client = client.clone();
            agent.serve("commands", move || command::serve(&client, &topic, &desk))?;
        }
        Ok(())
    }

    /// Has those that may change while they run be as the settings say: at the start, and after a
    /// reload. Yields while readings that were gathered find no room in the queue.
    ///
    /// # Errors
    ///
    /// A fiber could not be started; what comes after it is as before.
    pub(crate) fn set(
        &self,
        agent: &Agent,
        settings: &ServiceSettings,
        schedule: Schedule,
    ) -> Result<(), Failure> {
        let client = agent.mqtt();
        let options = settings.schedule.clone().unwrap_or_default();
        match self.windows.get() {
            Some(windows) => windows.set(schedule, options.on_demand),
            None if options.windows.is_empty() => {}
            None => {
                let (client, away, demand) =
                    (client.clone(), self.away.clone(), self.demand.clone());
                let windows = Windows::new(client, away, schedule, options.on_demand, demand);
                let windows = self.windows.get_or_init(|| Rc::new(windows));
                // Before the first attempt to connect is made.
                windows.step();
                let windows = Rc::clone(windows);
                agent.serve("schedule", move || windows.serve())?;
            }
        }
        self.takes_readings.set(settings.readings.is_some());
        self.set_readings(agent, &self.readings, settings.readings.clone())?;
        let figures = if settings.is_one {
            &self.readings
        } else {
            let apart = settings.telemetry.as_ref().map(ReadingsSettings::of);
            self.set_readings(agent, &self.figures, apart)?;
            &self.figures
        };
        if let Some(live) = set_or_begin(&self.telemetry, settings.telemetry.clone())
            && let Some(readings) = figures.get().cloned()
        {
            let client = client.clone();
            agent.serve("telemetry", move || {
                telemetry::measure(&client, &readings, &live)
            })?;
        }
        if let Some(live) = set_or_begin(&self.metrics, settings.metrics.clone()) {
            let told = agent.clone();
            agent.serve("metrics", move || tell_metrics(&told, &live))?;
        }
        Ok(())
    }
}

impl Services {
    /// Has readings go there, with a fiber that sends them the first time.
    fn set_readings(
        &self,
        agent: &Agent,
        place: &OnceCell<Readings>,
        settings: Option<ReadingsSettings>,
    ) -> Result<(), Failure> {
        match (place.get(), settings) {
            (Some(readings), Some(ReadingsSettings { topic, qos, batch })) => {
                readings.set(topic, qos, batch);
            }
            (Some(readings), None) => {
                readings.flush();
            }
            (None, Some(ReadingsSettings { topic, qos, batch })) => {
                let by = Sending {
                    client: agent.mqtt().clone(),
                    device_id: agent.device_id(),
                    boot: &self.boot,
                    floor: self.floor.clone(),
                };
                let readings = Readings::new(by, topic, qos, batch);
                let readings = place.get_or_init(|| readings).clone();
                agent.serve("readings", move || readings.serve())?;
            }
            (None, None) => {}
        }
        Ok(())
    }
}

/// Changes a setting that a fiber works by. Returns it if it is something for the first time, so that
/// there is no such fiber yet.
fn set_or_begin<T: Clone + PartialEq>(
    place: &OnceCell<Live<Option<T>>>,
    value: Option<T>,
) -> Option<Live<Option<T>>> {
    if let Some(live) = place.get() {
        live.set(value);
        return None;
    }
    let value = Some(value?);
    Some(place.get_or_init(|| Live::new(value)).clone())
}

/// Publishes figures about the agent at an interval, until it is stopped. Yields. They wait in the
/// queue like other messages, the first one first.
fn tell_metrics(
    agent: &Agent,
    settings: &Live<Option<(String, Duration)>>,
) -> Result<(), fiber::Stopped> {
    let mut last: Option<Instant> = None;
    loop {
        let (topic, interval) = settings.some()?;
        let now = Instant::now();
        let due = last.map_or(now, |last| (last + interval).max(now));
        if settings.wait_until(due)? {
            continue;
        }
        last = Some(due);
        let json = Status::of(agent).to_metrics_json(fiber::wall_time());
        if let Err(error) = agent.publish(&topic, &json) {
            log::warn!("figures about the agent are left out: {error}");
        }
    }
}

/// The agent's own commands: to be left alone, to be sent less, and the end of both. All of them, or those
/// that are named.
fn own_commands(commands: &Commands, throttle: &Throttle, names: Option<&[String]>) {
    let is_allowed = |name: &str| names.is_none_or(|names| names.iter().any(|own| own == name));
    let number = |command: &Command, name: &str| {
        let value = command.args.get(name).and_then(serde_json::Value::as_u64);
        value.ok_or_else(|| format!("expected an argument {name:?} that is a whole number"))
    };
    let seconds = move |command: &Command| number(command, "seconds").map(Duration::from_secs);
    if is_allowed("block") {
        let spared = throttle.clone();
        commands.allow_own("block", move |command| {
            let length = seconds(command)?.min(BLOCK_BY_COMMAND_MAX);
            spared.block_for(length);
            Ok(format!("for {} s", length.as_secs()))
        });
    }
    if is_allowed("throttle") {
        let spared = throttle.clone();
        commands.allow_own("throttle", move |command| {
            let rate = u32::try_from(number(command, "rate")?).unwrap_or(u32::MAX);
            spared.slow_down(rate, seconds(command)?);
            Ok(String::new())
        });
    }
    if is_allowed("resume") {
        let spared = throttle.clone();
        commands.allow_own("resume", move |_| {
            spared.resume();
            Ok(String::new())
        });
    }
}

/// What a renewal of the certificate goes by.
#[cfg_attr(
    not(feature = "provision"),
    expect(dead_code, reason = "only provisioning renews")
)]
pub(crate) struct Beside {
    throttle: Throttle,
    away: Away,
}

impl Services {
    pub(crate) fn beside(&self) -> Beside {
        Beside {
            throttle: self.throttle.clone(),
            away: self.away.clone(),
        }
    }
}

#[cfg(feature = "provision")]
impl crate::provision::Others for Beside {
    fn wait(&self) -> Result<(), fiber::Stopped> {
        self.throttle.wait_unblocked()
    }

    fn go_on(&self) {
        self.away.again();
    }
}
