//! The configuration as values, a struct for each table, ready for use.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mqtt::topic::{TopicFilter, TopicName};
use mqtt::{ClientId, QoS, QueuePolicy};
use safe_rt::{ClientTls, ClientTlsOptions, Endpoint, Identity, Proxy, TlsConfigError, Trust};

use super::value::units::Rate;
use crate::args::{Credentials, Password};
use crate::profile::Setting;

/// `[device]`: who the device is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// Its client identifier, if the configuration says it.
    pub id: Option<ClientId>,
}

/// `[cloud]`: how to connect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cloud {
    /// Where the broker is.
    pub endpoint: Endpoint,
    /// Whether the text of the endpoint says the port, so that no profile may choose it.
    pub port_is_set: bool,
    /// The name of the provider profile; none to see it by the endpoint.
    pub profile: Option<String>,
    /// Who is connecting, beside the certificate.
    pub credentials: Option<Credentials>,
    /// Whom to believe, if the configuration says it; else the authorities of the system.
    pub trust: Option<Trust>,
    /// Certificate and key that the configuration names; they come before those of provisioning.
    pub identity: Option<Identity>,
    /// The application protocols to offer, if the configuration says it; else those of the profile.
    pub alpn: Option<Vec<String>>,
    /// How long the link may be silent, if the configuration says it.
    pub keep_alive: Option<Duration>,
    /// Whether the broker drops what it kept for this device.
    pub clean_start: bool,
    /// The proxy to go through.
    pub proxy: ProxyChoice,
}

impl Cloud {
    /// The defaults for an endpoint.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            port_is_set: true,
            profile: None,
            credentials: None,
            trust: None,
            identity: None,
            alpn: None,
            keep_alive: None,
            clean_start: false,
            proxy: ProxyChoice::None,
        }
    }

    /// Returns the options of TLS: whom to believe, `identity` where the configuration names none,
    /// and `alpn` where it says nothing of that.
    #[must_use]
    pub fn tls_options(&self, identity: Option<Identity>, alpn: &[&str]) -> ClientTlsOptions {
        let trust = self.trust.clone().unwrap_or_else(Trust::system);
        let mut options = ClientTlsOptions::new(trust);
        if let Some(identity) = self.identity.clone().or(identity) {
            options = options.identity(identity);
        }
        match &self.alpn {
            Some(protocols) => options.alpn(protocols),
            None if alpn.is_empty() => options,
            None => options.alpn(alpn),
        }
    }

    /// Builds TLS where the endpoint asks for it, see [`tls_options`](Self::tls_options).
    ///
    /// # Errors
    ///
    /// What [`ClientTlsOptions::build`] finds; nothing for what a configuration was loaded with.
    pub fn tls(
        &self,
        identity: Option<Identity>,
        alpn: &[&str],
    ) -> Result<Option<ClientTls>, TlsConfigError> {
        match self.endpoint.scheme().is_tls() {
            true => self.tls_options(identity, alpn).build().map(Some),
            false => Ok(None),
        }
    }
}

/// Which proxy to go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyChoice {
    /// None.
    #[default]
    None,
    /// What `https_proxy` and `no_proxy` of the environment say.
    Environment,
    /// This one.
    Proxy(Proxy),
}

/// `[state]`: where the agent keeps what it must not forget.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// The folder.
    pub dir: PathBuf,
}

/// `[provision]`: how the device gets its identity.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Provision {
    /// By which contract, and what that needs.
    pub method: ProvisionMethod,
    /// What is sent with the request.
    pub parameters: BTreeMap<String, String>,
    /// Under what a new identity is tried out, with `{id}` for the client identifier; none for the
    /// default.
    pub proof_topic: Option<TopicName>,
    /// From which part of its life on a certificate is renewed, in per cent.
    pub renew_from: u8,
    /// By which part of its life a certificate is renewed, in per cent; not less than `renew_from`.
    pub renew_until: u8,
}

impl fmt::Debug for Provision {
    /// Of the parameters it shows the names alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provision")
            .field("method", &self.method)
            .field("parameters", &self.parameters.keys())
            .field("renew_from", &self.renew_from)
            .field("renew_until", &self.renew_until)
            .finish()
    }
}

/// How a device gets its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProvisionMethod {
    /// Fleet provisioning of AWS IoT by a claim certificate.
    Aws {
        /// The provisioning template.
        template: String,
        /// Where the private key is made.
        key: KeyOrigin,
        /// The PEM file with the claim certificate.
        claim_certificate: PathBuf,
        /// The PEM file with its private key.
        claim_key: PathBuf,
    },
    /// The HTTPS contract.
    Https {
        /// Where the service is.
        url: String,
        /// The bearer token.
        token: Option<Password>,
        /// The PEM files with the claim certificate and its private key.
        claim: Option<(PathBuf, PathBuf)>,
        /// The PEM file with the authorities of the service; none for those of the system.
        authority: Option<PathBuf>,
    },
}

/// Where a private key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyOrigin {
    /// On the device, which it never leaves.
    Device,
    /// In the cloud, which sends it.
    Cloud,
}

/// `[queue]`: what waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// How many messages may wait.
    pub max_messages: usize,
    /// How many bytes of them may wait.
    pub max_bytes: u64,
    /// How many bytes of the disk they may take.
    pub max_disk: u64,
    /// How long one may wait; none for ever.
    pub max_age: Option<Duration>,
    /// What happens to one for which there is no room.
    pub when_full: QueuePolicy,
}

/// `[telemetry]`: what to publish at an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Telemetry {
    /// Where to publish.
    pub topic: TopicName,
    /// How often to measure.
    pub interval: Duration,
    /// With which quality of service.
    pub qos: QoS,
    /// How many readings go into one message at most.
    pub max_count: usize,
    /// How many bytes such a message has at most.
    pub max_bytes: usize,
    /// How long a reading may wait for others.
    pub max_delay: Duration,
}

/// `[[subscription]]`: one thing to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscription {
    /// Which topics.
    pub topic: TopicFilter,
    /// With which quality of service at most.
    pub qos: QoS,
}

/// `[[command]]`: a program that a command may start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandHandler {
    /// What the command is called.
    pub name: String,
    /// The program, by its full path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// How many bytes of the end of its output are sent back.
    pub max_output: usize,
}

/// `[commands]` and `[[command]]`: what may be started from afar.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commands {
    /// Where commands arrive.
    pub topic: TopicName,
    /// What they may start; at least one.
    pub handlers: Vec<CommandHandler>,
}

/// `[schedule]`: when to be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schedule {
    /// When windows open: cron expressions of five fields; at least one.
    pub windows: Vec<String>,
    /// How long a window stays open.
    pub duration: Duration,
    /// By how much each opens later at most.
    pub jitter: Duration,
    /// How long the first connection waits after the start.
    pub delay: Duration,
    /// Whether what is urgent may connect outside the windows.
    pub on_demand: bool,
}

/// `[limits]`: what the broker allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many messages may be published in a time.
    pub publish_rate: Setting<Rate>,
    /// How many bytes may be published in a time.
    pub publish_bytes: Setting<Rate>,
    /// How many topic filters may be subscribed to.
    pub subscriptions: Setting<usize>,
    /// How many topic filters one SUBSCRIBE may have.
    pub filters_per_subscribe: Setting<usize>,
    /// How many bytes a packet may have.
    pub packet_bytes: Setting<usize>,
    /// How many levels a topic may have.
    pub topic_levels: Setting<usize>,
    /// The highest quality of service.
    pub qos: Setting<QoS>,
}

/// `[metrics]`: figures about the agent itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Where to publish them.
    pub topic: TopicName,
    /// How often.
    pub interval: Duration,
}

/// `[control]`: how the tools reach the running agent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Control {
    /// The socket; none for no such access.
    pub socket: Option<PathBuf>,
}

/// `[log]`: what is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// The filter, in the form of `RUST_LOG`.
    pub filter: String,
}
