//! How an agent is described and run: configuration, hooks, and its life from start to stop.
//!
//! ```text
//!   configuration ─► on_config ─► queue, connection, services ─► on_start ─► runs
//!                                                                             │ SIGTERM, SIGINT,
//!   exit ◄─ DISCONNECT, queue kept ◄─ services, last first ◄─ on_stop ◄───────┘ stop, limit
//! ```

use std::cell::RefCell;
use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use fiber::signal::{Signal, Signals};
use mqtt::QoS;

use crate::agent::Agent;
use crate::attach::Attached;
use crate::config::{self, Config};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::life::{attach, live, stop};
use crate::memory::Memory;
use crate::queue::{QUEUE_DISK_PART, QueueOptions};
use crate::reload::{Given, Loaded, OnConfig};
use crate::service::batch::BatchOptions;
use crate::service::command::{Command, CommandResult, Program};
use crate::service::schedule::ScheduleOptions;
use crate::service::{ReadingsSettings, ServiceSettings};
use crate::{asleep, control, logging, notify, out, reload};

/// The variable that names the configuration for [`AgentBuilder::main`].
const CONFIG_VARIABLE: &str = "AGENT_CONFIG";

pub(crate) type HookResult = Result<(), Box<dyn StdError>>;
pub(crate) type OnStart = Box<dyn FnOnce(&Agent) -> HookResult>;
pub(crate) type OnStop = Box<dyn FnOnce(&Agent)>;

/// What an agent is made with beside its configuration.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) queue: Option<QueueOptions>,
    pub(crate) services: ServiceSettings,
    /// Where the control socket is.
    pub(crate) control: Option<PathBuf>,
    /// Keeps the identity for this process alone.
    pub(crate) attached: Option<Rc<Attached>>,
    /// How much memory there is, if that is limited.
    pub(crate) memory: Option<Memory>,
}

/// Where the configuration comes from.
enum Source {
    Unknown,
    Value(Box<Config>),
    Layers(Box<config::Source>),
}

/// An agent that is to be run.
///
/// # Examples
///
/// A whole device program, but for its `main`, which `examples/hello_device.rs` shows:
///
/// ```
/// use agent::Agent;
/// # use agent::config::Config;
/// # fn config() -> Result<Config, Box<dyn std::error::Error>> {
/// #     let mut config = Config::new("mqtt://127.0.0.1:1".parse()?);
/// #     config.set_device_id(&mqtt::ClientId::new("meter-17")?)?;
/// #     Ok(config)
/// # }
///
/// fn device() -> Result<(), Box<dyn std::error::Error>> {
///     Agent::builder()
///         .config(config()?)
///         .on_start(|agent| {
///             assert_eq!(agent.device_id(), "meter-17");
///             agent.stop("there is nothing to do");
///             Ok(())
///         })
///         .run()?;
///     Ok(())
/// }
/// # fiber::run(|| device().map_err(|error| error.to_string())).unwrap().unwrap();
/// ```
pub struct AgentBuilder {
    source: Source,
    settings: Settings,
    limit: Option<Duration>,
    on_config: Vec<OnConfig>,
    on_start: Vec<OnStart>,
    on_stop: Vec<OnStop>,
}

impl fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBuilder")
            .field("state_dir", &self.settings.state_dir)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl AgentBuilder {
    pub(crate) fn new() -> Self {
        Self {
            source: Source::Unknown,
            settings: Settings::default(),
            limit: None,
            on_config: Vec::new(),
            on_start: Vec::new(),
            on_stop: Vec::new(),
        }
    }

    /// Uses this configuration.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.source = Source::Value(Box::new(config));
        self
    }

    /// Reads the configuration from this file at the start, with the layers below and above it, see
    /// [`config::Source`]. Its `[state]` says where the queue is, unless [`AgentBuilder::state_dir`] does.
    #[must_use]
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = Source::Layers(Box::new(config::Source::system().file(path)));
        self
    }

    /// Reads the configuration from these layers at the start.
    #[must_use]
    pub fn config_source(mut self, source: config::Source) -> Self {
        self.source = Source::Layers(Box::new(source));
        self
    }

    /// Keeps what waits for a connection in this directory, which is made if it is not there; one
    /// process at a time. Without it, and without a file that was read, the queue is in memory.
    #[must_use]
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.state_dir = Some(path.into());
        self
    }

    /// Sets what the durable queue may hold.
    #[must_use]
    pub fn queue(mut self, options: QueueOptions) -> Self {
        self.settings.queue = Some(options);
        self
    }

    /// Lets programs of the same user ask at a socket at this path; see [`crate::control`].
    #[must_use]
    pub fn control(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.control = Some(path.into());
        self
    }

    /// Publishes figures about the agent on this topic.
    #[must_use]
    pub fn metrics(mut self, topic: impl Into<String>, interval: Duration) -> Self {
        self.settings.services.metrics = Some((topic.into(), interval));
        self
    }

    /// Connects in the windows of a schedule alone.
    #[must_use]
    pub fn schedule(mut self, options: ScheduleOptions) -> Self {
        self.settings.services.schedule = Some(options);
        self
    }

    /// Gathers the readings of [`Agent::record`] into messages on this topic.
    #[must_use]
    pub fn readings(mut self, topic: impl Into<String>, qos: QoS, batch: BatchOptions) -> Self {
        let topic = topic.into();
        self.settings.services.readings = Some(ReadingsSettings { topic, qos, batch });
        self
    }

    /// Takes commands on this topic, and answers below it; see [`crate::service::command`].
    #[must_use]
    pub fn commands(mut self, topic: impl Into<String>) -> Self {
        self.settings.services.commands_topic = Some(topic.into());
        self
    }

    /// Allows a command that a function does. It may wait, for `timeout` at most.
    #[must_use]
    pub fn command(
        mut self,
        name: impl Into<String>,
        timeout: Duration,
        handler: impl Fn(&Command) -> CommandResult + 'static,
    ) -> Self {
        let services = &mut self.settings.services;
        if let Err(refused) = services.commands.allow(name, timeout, handler) {
            services.refused.get_or_insert(refused);
        }
        self
    }

    /// Allows a command that another program does.
    #[must_use]
    pub fn command_program(mut self, name: impl Into<String>, program: Program) -> Self {
        let services = &mut self.settings.services;
        if let Err(refused) = services.commands.allow_program(name, program) {
            services.refused.get_or_insert(refused);
        }
        self
    }

    /// Allows of the agent's own commands those with these names, `block`, `throttle` and `resume`, and
    /// no others; all unless set.
    #[must_use]
    pub fn own_commands(mut self, names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.settings.services.own = Some(names);
        self
    }

    /// Has the cloud keep values at this topic; see [`crate::service::store`].
    #[must_use]
    pub fn store(mut self, topic: impl Into<String>) -> Self {
        self.settings.services.store_topic = Some(topic.into());
        self
    }

    /// Takes answers to requests below this topic; `devices/ID/answers` unless set.
    #[must_use]
    pub fn answers(mut self, topic: impl Into<String>) -> Self {
        self.settings.services.answers_topic = Some(topic.into());
        self
    }

    /// Ends by itself after that time.
    #[must_use]
    pub fn limit(mut self, limit: Option<Duration>) -> Self {
        self.limit = limit;
        self
    }

    /// Changes the configuration before anything is started with it, and each time that it is read
    /// again. Hooks are called in the order in which they were given.
    #[must_use]
    pub fn on_config(mut self, hook: impl FnMut(&mut Config) + 'static) -> Self {
        self.on_config.push(Box::new(hook));
        self
    }

    /// Calls the function once everything is started, before the connection is there: what is
    /// published and subscribed to goes out when it is. It may wait: it is on a fiber of its own, the
    /// agent is ready after a moment all the same, and a stop ends its waits. Hooks are called in the order
    /// in which they were given; an error of one stops the agent.
    #[must_use]
    pub fn on_start(
        mut self,
        hook: impl FnOnce(&Agent) -> Result<(), Box<dyn StdError>> + 'static,
    ) -> Self {
        self.on_start.push(Box::new(hook));
        self
    }

    /// Calls the function before the connection is left, with whatever it may still publish. It may
    /// wait, for [`LEAVE_TIMEOUT`](crate::connect::LEAVE_TIMEOUT) at most. Hooks are called in the opposite order.
    #[must_use]
    pub fn on_stop(mut self, hook: impl FnOnce(&Agent) + 'static) -> Self {
        self.on_stop.push(Box::new(hook));
        self
    }

    /// Runs the agent until SIGTERM, SIGINT, [`Agent::stop`] or its limit, on the calling fiber.
    /// Yields until then. No failure of the network ends it. SIGHUP reads the configuration again, SIGUSR1 prints what the fibers do to the
    /// standard error output; a second SIGTERM or SIGINT ends the stop that is under way.
    ///
    /// # Errors
    ///
    /// [`Failure`]: what kept the agent from starting, the error of a hook, or
    /// [`Failure::StoppedTwice`].
    pub fn run(self) -> Result<(), Failure> {
        // First of all, so that a stop that comes early is not lost.
        let listened = [
            Signal::Terminate,
            Signal::Interrupt,
            Signal::Hangup,
            Signal::User1,
        ];
        let signals = Signals::listen(&listened).map_err(Failure::Signals)?;
        let deadline = self.limit.map(|limit| Instant::now() + limit);
        let Self {
            source,
            mut settings,
            on_config,
            on_start,
            on_stop,
            ..
        } = self;
        let alive = notify::Alive::start().map_err(Failure::Spawn)?;
        let program = Given {
            on_config: Rc::new(RefCell::new(on_config)),
            services: settings.services.clone(),
        };
        let (mut config, loaded) = load(source, &program, &mut settings)?;
        for hook in program.on_config.borrow_mut().iter_mut() {
            hook(&mut config);
        }
        logging::set_filter(&config.log.filter);
        let Some(config) = settle(config, &mut settings, &signals, deadline)? else {
            return Ok(());
        };
        let agent = Agent::start_with(&config, &settings)?;
        serve(&agent, loaded, &settings)?;
        drop(alive);
        let waited = live(&agent, on_start, &signals, deadline);
        if let Ok(why) = &waited {
            log::info!("stopping: {why}");
        }
        notify::stopping();
        stop(&agent, on_stop, &signals)?;
        waited.map(drop)
    }

    /// The whole of a program's `main`: starts the log, reads the configuration that `--config FILE`
    /// or the variable `AGENT_CONFIG` names unless one was given, runs the agent on a runtime of its
    /// own, prints what went wrong, and returns the exit code of [`Exit`].
    #[must_use]
    pub fn main(mut self) -> ExitCode {
        // A program may have started a log of its own.
        logging::start(false, "warn,agent=info");
        if let Source::Unknown = self.source
            && let Some(path) = named_config()
        {
            self.source = Source::Layers(Box::new(config::Source::system().file(path)));
        }
        let ran = fiber::run(move || self.run()).map_err(Failure::Runtime);
        match ran.and_then(|ran| ran) {
            Ok(()) => Exit::Done,
            Err(failure) => {
                out::failure(&failure);
                failure.exit()
            }
        }
        .into()
    }
}

/// Reads the configuration, if it is in a file, and notes what it says of the agent itself.
fn load(
    source: Source,
    program: &Given,
    settings: &mut Settings,
) -> Result<(Box<Config>, Option<Box<Loaded>>), Failure> {
    let source = match source {
        Source::Value(config) => return Ok((config, None)),
        Source::Layers(source) => source,
        Source::Unknown => return Err(Failure::NoConfig),
    };
    // The last good one, where the present one is faulty.
    let config::Started {
        effective,
        rejected,
        ..
    } = source.start().map_err(Failure::config)?;
    for warning in effective.warnings() {
        log::warn!("{warning}");
    }
    let config = Box::new(effective.config().clone());
    settings
        .state_dir
        .get_or_insert_with(|| config.state.dir.clone());
    if settings.control.is_none() {
        settings.control.clone_from(&config.control.socket);
    }
    let loaded = Loaded::new(*source, program.clone(), effective, rejected);
    Ok((config, Some(Box::new(loaded))))
}

/// Finds out who the device is, and completes the settings by the configuration; none if it is to end
/// before.
fn settle(
    mut config: Box<Config>,
    settings: &mut Settings,
    signals: &Signals,
    deadline: Option<Instant>,
) -> Result<Option<Box<Config>>, Failure> {
    if let Some(state_dir) = &settings.state_dir {
        config.state.dir.clone_from(state_dir);
        match attach(config, signals, deadline)? {
            Some(found) => {
                let (found, attached) = *found;
                config = Box::new(found);
                settings.attached = attached.map(Rc::new);
            }
            None => return Ok(None),
        }
    }
    // Also what the program has put into the configuration.
    let id = config.device.id.clone().ok_or(Failure::NoDeviceId)?;
    if let Err(error) = config.set_device_id(&id) {
        return Err(Failure::DeviceTopic { id, error });
    }
    let services = &mut settings.services;
    services.complete(&config).map_err(Failure::Command)?;
    settings.queue.get_or_insert_with(|| QueueOptions {
        messages_max: config.queue.max_messages,
        bytes_max: within_disk(config.queue.max_bytes, config.queue.max_disk),
        age_max: config.queue.max_age,
        when_full: config.queue.when_full,
        ..QueueOptions::default()
    });
    settings.memory = Memory::find();
    if let (Some(memory), Some(queue)) = (&settings.memory, &mut settings.queue) {
        let (asked, fits) = (queue.messages_max, memory.messages(queue.messages_max));
        if fits < asked {
            let limit = memory.limit() / 1024 / 1024;
            log::warn!(
                "{fits} messages may wait and not {asked}: memory is limited to {limit} MiB"
            );
        }
        queue.messages_max = fits;
    }
    Ok(Some(config))
}

/// What the queue may hold, so that it takes no more of the disk than it may.
fn within_disk(bytes_max: u64, disk_max: u64) -> u64 {
    let most = disk_max / QUEUE_DISK_PART;
    if most < bytes_max {
        log::info!("[queue] max_disk lets the queue have {most} bytes, less than max_bytes");
    }
    bytes_max.min(most)
}

/// Starts what looks after the agent itself: its configuration, its control socket, its watchdog.
fn serve(agent: &Agent, loaded: Option<Box<Loaded>>, settings: &Settings) -> Result<(), Failure> {
    if let Some(loaded) = loaded {
        loaded.tell_rejected(agent);
        agent.loaded_from(*loaded);
        let kept = agent.clone();
        agent.serve("configuration", move || reload::keep_when_good(&kept))?;
    }
    if let Some(path) = settings.control.clone() {
        let asked = agent.clone();
        agent.serve("control", move || control::serve(&asked, &path))?;
    }
    let awake = agent.clone();
    agent.serve("awake", move || asleep::serve(&awake))?;
    let (watched, memory) = (agent.clone(), settings.memory.clone());
    agent.serve("watchdog", move || notify::serve(&watched, memory.as_ref()))
}

/// The configuration that the command line or the environment names.
fn named_config() -> Option<PathBuf> {
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = word
            .to_str()
            .and_then(|word| word.strip_prefix("--config="))
        {
            return Some(path.into());
        }
    }
    std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::within_disk;

    #[test]
    fn a_queue_takes_no_more_of_the_disk_than_it_may() {
        assert_eq!(within_disk(1 << 30, 48 << 20), 16 << 20);
        assert_eq!(within_disk(1 << 20, 48 << 20), 1 << 20);
    }
}
