//! The agent's own connection, for `pub`, `sub` and `request` where no option names a broker: its
//! endpoint, authorities, identity, credentials and proxy, as the configuration has them.
//!
//! The client identifier is not the device's: a second client with that one would end the connection
//! of the agent that runs, and a clean session of it would take what the broker keeps for it. It is
//! the device's with [`ID_INFIX`] and a random number behind, which one rule for `ID*` allows.

use std::path::{Path, PathBuf};

use mqtt::ClientId;
use safe_rt::Identity;

use crate::args::{ConnectionArgs, OwnArgs, TlsArgs};
use crate::config::{Config, ProxyChoice};
use crate::connect::{self, Way};
use crate::control::SOCKET_NAME;
use crate::failure::Failure;
use crate::identity;
use crate::out;
use crate::profile::Connection;

/// What stands between the device's identifier and the random number.
const ID_INFIX: &str = "-cli-";
/// The state directory of the service, which has its socket in a folder of its own.
const SERVICE_STATE: &str = "/var/lib/agent";
/// That folder.
const SERVICE_RUNTIME: &str = "/run/agent";

/// The configuration of the agent on this machine, for a program beside it.
#[derive(Debug)]
pub(crate) struct Own {
    config: Box<Config>,
    device_id: Option<ClientId>,
}

impl Own {
    /// Reads the configuration, if there is one, and who the device is. Nothing is locked, made or
    /// written. Yields.
    ///
    /// # Errors
    ///
    /// [`Failure::Config`], [`Failure::Identity`].
    pub(crate) fn find(args: &OwnArgs) -> Result<Option<Self>, Failure> {
        let Some(mut config) = configuration(args)? else {
            return Ok(None);
        };
        let kept = match identity::look(&config.state.dir) {
            Ok(kept) => Some(kept),
            // There is no other place that the identity could be in.
            Err(error) if config.provision.is_some() && config.cloud.identity.is_none() => {
                return Err(Failure::Identity(Box::new(error)));
            }
            Err(_) => None,
        };
        let (state, active) = kept.unzip();
        let active = active.flatten();
        let called = active.as_ref().and_then(|active| active.about());
        let called = called.map(|about| about.client_id.clone());
        let kept_id = called.or_else(|| state?.device_id);
        let device_id = config.device.id.clone();
        let device_id = device_id.or_else(|| ClientId::new(kept_id?).ok());
        if let (None, Some(active)) = (&config.cloud.identity, active) {
            config.cloud.identity = Some(active.identity().clone());
        }
        Ok(Some(Self { config, device_id }))
    }

    /// Where the control socket of the agent may be, in the order in which they are tried.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        sockets(&self.config)
    }

    /// Whether the agent that calls itself by this identifier is the one of this configuration.
    pub(crate) fn is_called(&self, id: &str) -> bool {
        self.device_id.as_ref().is_none_or(|own| own.as_str() == id)
    }

    /// From the configuration, and what the options say beside it, to the way to the broker. Yields.
    ///
    /// # Errors
    ///
    /// [`Failure::TlsConfig`], [`Failure::TlsForPlain`], [`Failure::Randomness`].
    pub(crate) fn way(self, args: &ConnectionArgs) -> Result<Way, Failure> {
        let client_id = match (connect::given_client_id(args)?, &self.device_id) {
            (Some(given), _) => given,
            (None, None) => connect::random_client_id()?,
            (None, Some(device)) => beside(device)?,
        };
        let mut config = self.config;
        let given = args.own.as_ref();
        if given.is_some_and(|own| own.keep_alive_is_given) {
            config.cloud.keep_alive = Some(args.keep_alive);
        }
        if let Some(proxy) = &args.proxy {
            config.cloud.proxy = ProxyChoice::Proxy(proxy.clone());
        }
        if let Some(tls) = &args.tls {
            let is_given = given.is_some_and(|own| own.trust_is_given);
            replace(&mut config, tls, is_given)?;
        }
        let connection = Connection::new(&config, None, None).map_err(Failure::TlsConfig)?;
        let mut dial = connect::from_here(connection.dial.clone(), args);
        if let Some(tls) = &args.tls {
            let alpn = connection
                .profile
                .alpn(&connection.endpoint, connection.identity.is_some());
            let options = config.cloud.tls_options(None, alpn.as_slice());
            let built = connect::restrict(options, tls).build();
            dial = dial.tls(built.map_err(Failure::TlsConfig)?);
        }
        Ok(Way {
            options: connection.client_options(&config, client_id).options,
            endpoint: connection.endpoint,
            dial,
        })
    }
}

/// Reads the configuration, if there is one: as the agent does that runs, the last good one where the
/// present one is faulty.
fn configuration(args: &OwnArgs) -> Result<Option<Box<Config>>, Failure> {
    let source = args.source.source();
    if !args.is_needed && !source.is_there() {
        return Ok(None);
    }
    let started = Box::new(source.start().map_err(Failure::config)?);
    if let Some(rejected) = &started.rejected {
        out::warning(rejected);
    }
    Ok(Some(Box::new(started.effective.into_config())))
}

/// Where the control socket of an agent with this configuration may be. The service manager makes a
/// folder for that of the service, which programs beside it are not told of.
pub(crate) fn sockets(config: &Config) -> Vec<PathBuf> {
    let Some(configured) = config.control.socket.clone() else {
        return Vec::new();
    };
    let state = &config.state.dir;
    let of_service = Path::new(SERVICE_RUNTIME).join(SOCKET_NAME);
    let is_usual = configured == state.join(SOCKET_NAME) && state == Path::new(SERVICE_STATE);
    let second = (is_usual && configured != of_service).then_some(of_service);
    std::iter::once(configured).chain(second).collect()
}

/// Has the options for TLS take the place of the configuration's.
fn replace(config: &mut Config, tls: &TlsArgs, trust_is_given: bool) -> Result<(), Failure> {
    if !config.cloud.endpoint.scheme().is_tls() {
        return Err(Failure::TlsForPlain);
    }
    if trust_is_given {
        config.cloud.trust = Some(connect::trust(tls).map_err(Failure::TlsConfig)?);
    }
    if let Some((certificate, key)) = &tls.identity {
        let identity = Identity::from_files(certificate, key).map_err(Failure::TlsConfig)?;
        config.cloud.identity = Some(identity);
    }
    if let Some(protocol) = &tls.alpn {
        config.cloud.alpn = Some(vec![protocol.clone()]);
    }
    Ok(())
}

/// An identifier of a client beside the agent's.
fn beside(device: &ClientId) -> Result<ClientId, Failure> {
    let mut random = [0; 4];
    fiber::random::fill(&mut random).map_err(Failure::Randomness)?;
    let number = u32::from_le_bytes(random);
    let id = ClientId::new(format!("{}{ID_INFIX}{number:08x}", device.as_str()));
    id.map_err(|error| Failure::Connect(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(state: &str, socket: Option<&str>) -> Config {
        let mut config = Config::new("mqtt://broker.test".parse().unwrap());
        config.state.dir = PathBuf::from(state);
        config.control.socket = socket.map(PathBuf::from);
        config
    }

    #[test]
    fn a_client_beside_the_agent_has_another_identifier_that_one_rule_allows() {
        let device = ClientId::new("meter-17").unwrap();
        let (one, two) = (beside(&device).unwrap(), beside(&device).unwrap());
        assert_ne!(one, two);
        assert!(one.as_str().starts_with("meter-17-cli-"), "{one}");
        let longest = ClientId::new("x".repeat(65_535)).unwrap();
        assert!(matches!(beside(&longest), Err(Failure::Connect(_))));
    }

    #[test]
    fn without_a_configuration_there_is_no_broker_of_ones_own() {
        let mut args = OwnArgs::default();
        args.source.root = Some(PathBuf::from("/nonexistent"));
        let found = fiber::run(move || Own::find(&args).map(|found| found.is_some()));
        assert!(matches!(found, Ok(Ok(false))), "{found:?}");
    }

    #[test]
    fn only_the_service_has_its_socket_in_two_places() {
        let places = |state, socket| sockets(&config(state, socket));
        let own = PathBuf::from("/tmp/x/control.sock");
        assert_eq!(places("/tmp/x", Some("/tmp/x/control.sock")), [own]);
        let usual = PathBuf::from("/var/lib/agent/control.sock");
        let runtime = PathBuf::from("/run/agent/control.sock");
        let found = places("/var/lib/agent", Some("/var/lib/agent/control.sock"));
        assert_eq!(found, [usual, runtime.clone()]);
        let found = places("/var/lib/agent", Some("/run/agent/control.sock"));
        assert_eq!(found, [runtime]);
        assert!(places("/var/lib/agent", None).is_empty());
    }
}
