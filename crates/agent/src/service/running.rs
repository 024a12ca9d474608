//! The services of one agent: opened with its client, started with the agent.

use std::time::Duration;

use fiber::Instant;
use mqtt::{Client, QoS, RequestOptions};

use super::away::{Away, Reason};
use super::batch::BatchOptions;
use super::command::{self, Command, Commands, HandlerRefused, Program};
use super::schedule::{Schedule, ScheduleOptions, share_of};
use super::store::DeviceStore;
use super::throttle::Throttle;
use super::{Demand, Readings, Windows};
use crate::agent::Agent;
use crate::builder::Settings;
use crate::config::Config;
use crate::failure::Failure;
use crate::status::Status;

/// How long putting an agent together may hold back its first connection.
const HOLD_MAX: Duration = Duration::from_secs(60);

/// What the services of an agent are set to.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceSettings {
    /// When to be connected; always, unless set.
    pub(crate) schedule: Option<ScheduleOptions>,
    /// Where commands come, and what is allowed.
    pub(crate) commands_topic: Option<String>,
    pub(crate) commands: Commands,
    /// The first handler that was not taken.
    pub(crate) refused: Option<HandlerRefused>,
    /// Where readings go.
    pub(crate) readings: Option<ReadingsSettings>,
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
    /// A handler that the configuration and the program both have.
    pub(crate) fn complete(&mut self, config: &Config) -> Result<(), HandlerRefused> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        if let (None, Some(schedule)) = (&self.schedule, &config.schedule) {
            self.schedule = Some(ScheduleOptions {
                windows: schedule.windows.clone(),
                duration: schedule.duration,
                jitter: schedule.jitter,
                delay: schedule.delay,
                on_demand: schedule.on_demand,
            });
        }
        if let (None, Some(telemetry)) = (&self.readings, &config.telemetry) {
            self.readings = Some(ReadingsSettings {
                topic: telemetry.topic.as_str().to_owned(),
                qos: telemetry.qos,
                batch: BatchOptions {
                    count_max: telemetry.max_count,
                    bytes_max: telemetry.max_bytes,
                    delay_max: telemetry.max_delay,
                },
            });
        }
        if let Some(commands) = &config.commands {
            let topic = commands.topic.as_str().to_owned();
            self.commands_topic.get_or_insert(topic);
            for handler in &commands.handlers {
                let mut program = Program::new(&handler.program).args(handler.args.clone());
                program.timeout = handler.timeout;
                program.output_max = handler.max_output;
                self.commands.allow_program(&handler.name, program)?;
            }
        }
        if let (None, Some(metrics)) = (&self.metrics, &config.metrics) {
            let topic = metrics.topic.as_str().to_owned();
            self.metrics = Some((topic, metrics.interval));
        }
        Ok(())
    }
}

/// Where readings go, and how.
#[derive(Clone, Debug)]
pub(crate) struct ReadingsSettings {
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) batch: BatchOptions,
}

/// The services of an agent.
pub(crate) struct Services {
    pub(crate) throttle: Throttle,
    pub(crate) readings: Option<Readings>,
    pub(crate) store: Option<DeviceStore>,
    pub(crate) commands: Commands,
    pub(crate) demand: Demand,
    pub(crate) requests: RequestOptions,
    schedule: Schedule,
    away: Away,
}

impl Services {
    /// Opens them. Yields while what they kept is read.
    pub(crate) fn open(
        client: &Client,
        device_id: &str,
        usual_rate: Option<(u32, u32)>,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let away = Away::new(client.clone());
        // Nothing is received before somebody listens.
        away.set(Reason::Start, Some(Instant::now() + HOLD_MAX));
        let services = &settings.services;
        let schedule = services.schedule.clone().unwrap_or_default();
        let schedule = Schedule::new(&schedule, share_of(device_id));
        let schedule = schedule.map_err(Failure::Schedule)?;
        let state_dir = settings.state_dir.as_deref();
        let answers = services.answers_topic.clone();
        let answers = answers.unwrap_or_else(|| format!("devices/{device_id}/answers"));
        let readings = services.readings.clone().map(|readings| {
            let ReadingsSettings { topic, qos, batch } = readings;
            Readings::new(client.clone(), device_id, topic, qos, batch)
        });
        let store = services
            .store_topic
            .clone()
            .map(|topic| DeviceStore::open(client.clone(), topic, answers.clone(), state_dir));
        Ok(Self {
            throttle: Throttle::open(client.clone(), away.clone(), usual_rate, state_dir),
            readings,
            store,
            commands: services.commands.clone(),
            demand: Demand::default(),
            requests: RequestOptions::reply_to(answers),
            schedule,
            away,
        })
    }

    /// Lets the client connect, as far as nothing else keeps it away. Does not yield.
    pub(crate) fn release(&self) {
        self.away.set(Reason::Start, None);
    }

    /// Starts their fibers.
    pub(crate) fn start(&self, agent: &Agent, settings: &ServiceSettings) -> Result<(), Failure> {
        let client = agent.mqtt();
        let options = settings.schedule.clone().unwrap_or_default();
        if !options.windows.is_empty() {
            let (schedule, demand) = (self.schedule.clone(), self.demand.clone());
            let (client, away) = (client.clone(), self.away.clone());
            let windows = Windows::new(client, away, schedule, options.on_demand, demand);
            // Before the first attempt to connect is made.
            windows.step();
            agent.spawn("schedule", move || windows.serve())?;
        }
        if !options.delay.is_zero() {
            let (away, delay) = (self.away.clone(), options.delay);
            away.set(Reason::Delay, Some(Instant::now() + delay));
            agent.spawn("delay", move || {
                fiber::sleep(delay)?;
                away.set(Reason::Delay, None);
                Ok(())
            })?;
        }
        let throttle = self.throttle.clone();
        agent.spawn("throttle", move || throttle.serve())?;
        if let Some(readings) = self.readings.clone() {
            agent.spawn("readings", move || readings.serve())?;
        }
        if let Some((topic, interval)) = settings.metrics.clone() {
            let told = agent.clone();
            agent.spawn("metrics", move || tell_metrics(&told, &topic, interval))?;
        }
        if let Some(topic) = settings.commands_topic.clone() {
            own_commands(&self.commands, &self.throttle).map_err(Failure::Command)?;
            let (client, commands) = (client.clone(), self.commands.clone());
            let device_id = agent.device_id().to_owned();
            agent.spawn("commands", move || {
                command::serve(&client, &device_id, &topic, &commands)
            })?;
        }
        Ok(())
    }
}

/// Publishes figures about the agent at an interval, until it is stopped. Yields. They wait in the
/// queue like other messages, the first one first.
fn tell_metrics(agent: &Agent, topic: &str, interval: Duration) -> Result<(), fiber::Stopped> {
    let mut interval = fiber::interval(interval);
    loop {
        interval.tick()?;
        let json = Status::of(agent).to_metrics_json(fiber::wall_time());
        if let Err(error) = agent.publish(topic, &json) {
            log::warn!("figures about the agent are left out: {error}");
        }
    }
}

/// The commands that every agent has: to be left alone, to be sent less, and the end of both.
fn own_commands(commands: &Commands, throttle: &Throttle) -> Result<(), HandlerRefused> {
    let number = |command: &Command, name: &str| {
        let value = command.args.get(name).and_then(serde_json::Value::as_u64);
        value.ok_or_else(|| format!("expected an argument {name:?} that is a whole number"))
    };
    let seconds = move |command: &Command| number(command, "seconds").map(Duration::from_secs);
    let timeout = command::COMMAND_TIMEOUT_DEFAULT;
    let spared = throttle.clone();
    commands.allow("agent.block", timeout, move |command| {
        spared.block_for(seconds(command)?);
        Ok(String::new())
    })?;
    let spared = throttle.clone();
    commands.allow("agent.throttle", timeout, move |command| {
        let rate = u32::try_from(number(command, "rate")?).unwrap_or(u32::MAX);
        spared.slow_down(rate, seconds(command)?);
        Ok(String::new())
    })?;
    let spared = throttle.clone();
    commands.allow("agent.resume", timeout, move |_| {
        spared.resume();
        Ok(String::new())
    })
}
