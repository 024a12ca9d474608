//! The configuration of the agent: TOML, and the files that it names.
//!
//! Everything that is wrong is found before anything is started, and told at once: each fault with
//! its code, its place, what was expected, what was found and what to write instead. What comes out
//! is ready for use: the endpoint is parsed, the password is read, certificate and key fit together.
//! A password never shows, neither in a message nor in `Debug`.
//!
//! [`KEYS`] is the table of everything that can be set. Files that the configuration names are looked
//! for beside the file that names them.

mod build;
mod changes;
mod check;
pub mod commands;
pub mod document;
mod effective;
mod error;
mod faults;
mod keep;
mod layers;
mod load;
mod raw;
mod secret;
mod sections;
mod settings;
mod source;
mod table;
mod toml_text;
mod value;

use std::path::Path;

use mqtt::ClientId;
use mqtt::topic::{TopicError, TopicFilter, TopicName};
use safe_rt::Endpoint;

pub use changes::{Change, Changes};
pub use effective::{Effect, Effective};
pub use error::{ConfigError, ConfigErrors, Origin, Place, Problem};
pub use faults::CONFIG_FAULTS_MAX;
pub use keep::{GOOD_AFTER, Rejected, Started, keep};
pub use layers::{CONFIG_BYTES_MAX, CONFIG_FILES_MAX};
pub use secret::SECRET_BYTES_MAX;
pub use sections::{
    Cloud, CommandHandler, Commands, Control, Device, KeyOrigin, Limits, Log, Metrics, Provision,
    ProvisionMethod, ProxyChoice, Queue, Schedule, State, Subscription, Telemetry,
};
pub use settings::CONFIG_TABLES_MAX;
pub use source::{Assignment, Level, NoSetting, Source};
pub use table::{Applies, Fate, KEYS, Key, Kind, RETIRED, Retired, Section};
pub use value::units::Rate;
pub use value::{COMMAND_NAME_BYTES_MAX, TELEMETRY_INTERVAL_MAX, TELEMETRY_INTERVAL_MIN};

pub(crate) use value::parse_length;

/// What stands for the device's identifier in a topic.
pub const ID_PLACEHOLDER: &str = "{id}";

/// What the agent is to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Who the device is.
    pub device: Device,
    /// How to connect.
    pub cloud: Cloud,
    /// Where the agent keeps what it must not forget.
    pub state: State,
    /// How the device gets its identity, if it is to get one.
    pub provision: Option<Provision>,
    /// What waits to be sent.
    pub queue: Queue,
    /// What to publish at an interval, if anything.
    pub telemetry: Option<Telemetry>,
    /// What to subscribe to.
    pub subscriptions: Vec<Subscription>,
    /// What may be started from afar, if anything.
    pub commands: Option<Commands>,
    /// When to be connected; always, if nothing is said.
    pub schedule: Option<Schedule>,
    /// What the broker allows.
    pub limits: Limits,
    /// Figures about the agent itself, if they are to be published.
    pub metrics: Option<Metrics>,
    /// How the tools reach the running agent.
    pub control: Control,
    /// What is logged.
    pub log: Log,
}

impl Config {
    /// Everything as it is without a setting, for an endpoint.
    ///
    /// # Examples
    ///
    /// ```
    /// use agent::config::Config;
    ///
    /// let config = Config::new("mqtts://broker.example".parse()?);
    /// assert!(config.device.id.is_none() && config.cloud.keep_alive.is_none());
    /// # Ok::<(), safe_rt::EndpointError>(())
    /// ```
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        load::of_defaults(Cloud::new(endpoint))
    }

    /// Reads the file at `path` and every file that it names; no other layer. Yields.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in the order of the file. Where the text is no TOML, that alone.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        load::load(path)
    }

    /// Sets who the device is, and puts its identifier in the place of `{id}` in all topics.
    ///
    /// # Errors
    ///
    /// A topic that is none with this identifier in it; nothing is changed then.
    pub fn set_device_id(&mut self, id: &ClientId) -> Result<(), TopicError> {
        let name =
            |topic: &TopicName| TopicName::new(topic.as_str().replace(ID_PLACEHOLDER, id.as_str()));
        let filter = |topic: &TopicFilter| {
            TopicFilter::new(topic.as_str().replace(ID_PLACEHOLDER, id.as_str()))
        };
        let mut changed = self.clone();
        if let Some(telemetry) = &mut changed.telemetry {
            telemetry.topic = name(&telemetry.topic)?;
        }
        if let Some(commands) = &mut changed.commands {
            commands.topic = name(&commands.topic)?;
        }
        if let Some(metrics) = &mut changed.metrics {
            metrics.topic = name(&metrics.topic)?;
        }
        for subscription in &mut changed.subscriptions {
            subscription.topic = filter(&subscription.topic)?;
        }
        changed.device.id = Some(id.clone());
        *self = changed;
        Ok(())
    }
}
