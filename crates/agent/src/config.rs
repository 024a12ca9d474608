//! The configuration of `agent run`: one TOML file, and the files that it names.
//!
//! Everything that is wrong is found before anything is started, and told at once: each fault with
//! its code, its place, what was expected, what was found and what to write instead. What comes out
//! is ready for use: the endpoint is parsed, the password is read, certificate and key fit together.
//! A password never shows, neither in a message nor in `Debug`.
//!
//! Files that the configuration names are looked for beside it. There is one file; nothing is
//! merged into it, and it is not read again while the agent runs.

mod error;
mod keys;
mod load;
mod parse;
mod reader;
mod value;

use std::path::Path;
use std::time::Duration;

use mqtt::topic::{TopicFilter, TopicName};
use mqtt::{ClientId, QoS};
use safe_rt::{ClientTls, Endpoint};

pub use error::{ConfigError, ConfigErrors, Place, Problem};
pub use keys::{Key, Section};
pub use value::{TELEMETRY_INTERVAL_DEFAULT, TELEMETRY_INTERVAL_MAX, TELEMETRY_INTERVAL_MIN};

use crate::args::Credentials;

pub(crate) use value::parse_length;

/// What the agent is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who the device is: its client identifier.
    pub device_id: ClientId,
    /// How to connect.
    pub cloud: Cloud,
    /// What to publish at an interval, if anything.
    pub telemetry: Option<Telemetry>,
    /// What to subscribe to.
    pub subscriptions: Vec<Subscription>,
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// Where the broker is.
    pub endpoint: Endpoint,
    /// Who is connecting, beside the certificate.
    pub credentials: Option<Credentials>,
    /// TLS; there exactly when the endpoint asks for it.
    pub tls: Option<ClientTls>,
    /// How long the link may be silent.
    pub keep_alive: Duration,
    /// Whether the broker drops what it kept for this device.
    pub clean_start: bool,
}

/// What to publish at an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Where to publish.
    pub topic: TopicName,
    /// How often.
    pub interval: Duration,
    /// With which quality of service.
    pub qos: QoS,
}

/// One thing to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Which topics.
    pub topic: TopicFilter,
    /// With which quality of service at most.
    pub qos: QoS,
}

impl Config {
    /// Reads the file at `path` and every file that it names. Yields.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in the order of the file. Where the text is no TOML, that alone.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        load::load(path)
    }
}
