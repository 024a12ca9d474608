//! From a configuration to how the agent connects, with what its profile adds.

use mqtt::{ClientId, ClientOptions, KEEP_ALIVE_DEFAULT};
use safe_rt::{ClientTls, ClockFloor, DialOptions, Endpoint, Identity, Scheme, TlsConfigError};

use super::{Applied, Overrides, Profile, Provider};
use crate::config::{Cloud, Config, Limits, ProxyChoice};

/// How the agent connects.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connection {
    /// What is assumed of the broker.
    pub profile: Profile,
    /// Where it is, with the port of the profile where none is set.
    pub endpoint: Endpoint,
    /// How it is dialled: authorities, identity, ALPN and proxy.
    pub dial: DialOptions,
    /// The TLS in that, for whoever changes the identity later.
    pub tls: Option<ClientTls>,
    /// What the device shows of itself, if it has a certificate.
    pub identity: Option<Identity>,
}

impl Connection {
    /// Takes what a configuration says, `identity` where it names none, and the earliest time that
    /// it can be if that is known. Does not yield.
    ///
    /// # Errors
    /// [`TlsConfigError`]: what there is for TLS makes no configuration.
    pub fn new(
        config: &Config,
        identity: Option<Identity>,
        clock_floor: Option<ClockFloor>,
    ) -> Result<Self, TlsConfigError> {
        let cloud = &config.cloud;
        let profile = Profile::of_config(config);
        let endpoint = profile.endpoint_of(cloud);
        let identity = cloud.identity.clone().or(identity);
        let alpn = profile.alpn(&endpoint, identity.is_some());
        let mut dial = match &cloud.proxy {
            ProxyChoice::None => DialOptions::new(),
            ProxyChoice::Environment => DialOptions::new().proxy_from_env(),
            ProxyChoice::Proxy(proxy) => DialOptions::new().proxy(proxy.clone()),
        };
        let mut tls = None;
        if endpoint.scheme().is_tls() {
            let mut options = cloud.tls_options(identity.clone(), alpn.as_slice());
            if let Some(floor) = clock_floor {
                options = options.clock_floor(floor);
            }
            let built = options.build()?;
            dial = dial.tls(built.clone());
            tls = Some(built);
        }
        Ok(Self {
            profile,
            endpoint,
            dial,
            tls,
            identity,
        })
    }

    /// Returns the options of a client for a device, and what the profile changed of what was asked
    /// for.
    #[must_use]
    pub fn client_options(&self, config: &Config, device_id: ClientId) -> Applied {
        let cloud = &config.cloud;
        let mut options = ClientOptions::new(device_id)
            .dial(self.dial.clone())
            .clean_start(cloud.clean_start);
        if let Some(credentials) = &cloud.credentials {
            let password = credentials.password.as_ref();
            let password = password.map(|password| password.0.clone());
            options = options.credentials(credentials.user_name.clone(), password);
        }
        let keep_alive = cloud.keep_alive.unwrap_or(KEEP_ALIVE_DEFAULT);
        self.profile.apply(options, keep_alive)
    }
}

impl Profile {
    /// Makes the profile for a configuration: the one that it names, or that of the endpoint's host
    /// name, with the limits that it sets.
    #[must_use]
    pub fn of_config(config: &Config) -> Self {
        let named = config.cloud.profile.as_deref();
        // What is no name of one was refused when the configuration was read.
        let chosen = named.and_then(|name| name.parse::<Provider>().ok());
        Self::of(
            &config.cloud.endpoint,
            chosen,
            Overrides::of(&config.limits),
        )
    }

    /// Returns the endpoint of a configuration, with the port of the profile where it says none.
    #[must_use]
    pub fn endpoint_of(&self, cloud: &Cloud) -> Endpoint {
        let endpoint = &cloud.endpoint;
        let port = match endpoint.scheme() {
            _ if cloud.port_is_set => None,
            Scheme::Mqtts => self.facts().port,
            Scheme::Wss => self.facts().web_socket_port,
            _ => None,
        };
        let Some(port) = port
            .map(|port| port.value)
            .filter(|port| *port != endpoint.port())
        else {
            return endpoint.clone();
        };
        let rest = format!("{}:{port}{}", endpoint.host(), endpoint.path());
        Endpoint::new(endpoint.scheme(), &rest).unwrap_or_else(|_| endpoint.clone())
    }
}

impl Overrides {
    /// Takes what a configuration says of limits.
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        Self {
            publish_rate: limits.publish_rate,
            publish_bytes: limits.publish_bytes,
            subscriptions: limits.subscriptions,
            filters_per_subscribe: limits.filters_per_subscribe,
            packet_bytes: limits.packet_bytes,
            topic_levels: limits.topic_levels,
            qos: limits.qos,
            ..Self::default()
        }
    }
}
