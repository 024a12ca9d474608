//! What was given about the connection, before it is known whether it fits together.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use mqtt::{ClientId, KEEP_ALIVE_DEFAULT};
use safe_rt::{Endpoint, Proxy, ProxyUrlError, Scheme, TlsVersion};

use super::flags::{ENGINES, MQTT_5, ONLY_3_1_1, Opt, SOCKS};
use super::given::qos;
use super::url::{self, GivenUrl};
use super::will::GivenWill;
use super::words::Value;
use super::{
    ClientIdArgs, ConnectionArgs, KEEP_ALIVE_SECS_MIN, LoginArgs, OwnArgs, Password,
    PasswordSource, SourceArgs, TlsArgs, UsageError,
};
use crate::connect::CONNECT_TIMEOUT_DEFAULT;

/// Ports that are those of TLS.
const TLS_PORTS: [u16; 3] = [8883, 8443, 443];
/// The largest number of a process that is counted with.
const PROCESS_DIGITS: &str = "4294967295";

/// What was given about the connection.
#[derive(Default)]
pub(super) struct GivenLink {
    source: SourceArgs,
    scheme: Option<Scheme>,
    unix: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    user_name: Option<String>,
    /// The last one counts, wherever it stood.
    password: Option<PasswordSource>,
    client_id: Option<ClientId>,
    id_prefix: Option<String>,
    keep_alive: Option<Duration>,
    keep_session: bool,
    will: GivenWill,
    tls: GivenTls,
    local_address: Option<IpAddr>,
    interface: Option<String>,
    proxy: Option<Proxy>,
    window: Option<NonZeroU16>,
    /// Seconds; zero stands for ever.
    timeout_secs: Option<u32>,
    debug: bool,
    quiet: bool,
    /// Something was given that a connection which is there already need not have.
    is_apart: bool,
}

/// What was given about TLS.
#[derive(Default)]
struct GivenTls {
    cafile: Option<PathBuf>,
    capath: Option<PathBuf>,
    system: bool,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    alpn: Option<String>,
    version: Option<TlsVersion>,
    insecure: bool,
}

impl GivenLink {
    /// Takes an option about the connection.
    pub(super) fn take(&mut self, opt: Opt, value: Value<'_>) -> Result<(), UsageError> {
        let Some(mut value) = self.source.take(opt, value)? else {
            return Ok(());
        };
        self.is_apart |= !matches!(
            opt,
            Opt::Protocol | Opt::NoDelay | Opt::Timeout | Opt::Debug | Opt::Quiet
        );
        match opt {
            Opt::Host => self.host = Some(value.text()?),
            Opt::Port => self.port = Some(value.number(UsageError::Port)?),
            Opt::Unix => self.unix = Some(value.text()?),
            Opt::UserName => self.user_name = Some(value.text()?),
            Opt::Password => {
                let password = Password(value.bytes()?);
                self.password = Some(PasswordSource::Given(password));
            }
            Opt::PasswordFile => self.password = Some(PasswordSource::File(value.path()?)),
            Opt::PasswordEnv => {
                self.password = Some(PasswordSource::Environment(value.text()?));
            }
            Opt::ClientId => self.client_id = Some(client_id(value.text()?)?),
            Opt::IdPrefix => self.id_prefix = Some(id_prefix(value.text()?)?),
            Opt::KeepAlive => self.keep_alive = Some(keep_alive(&mut value)?),
            Opt::KeepSession => self.keep_session = true,
            Opt::Protocol => protocol(value.text()?)?,
            Opt::Window => self.window = Some(value.number(UsageError::Window)?),
            Opt::BindAddress => {
                let text = value.text()?;
                let address = text.parse().map_err(|_| UsageError::BindAddress(text))?;
                self.local_address = Some(address);
            }
            Opt::Interface => self.interface = Some(value.text()?),
            Opt::Proxy => self.proxy = Some(proxy(&value.text()?)?),
            Opt::NoDelay => {}
            Opt::Timeout => self.timeout_secs = Some(value.number(UsageError::Timeout)?),
            Opt::Debug => self.debug = true,
            Opt::Quiet => self.quiet = true,
            Opt::Cafile => self.tls.cafile = Some(value.path()?),
            Opt::Capath => self.tls.capath = Some(value.path()?),
            Opt::OsCerts => self.tls.system = true,
            Opt::Cert => self.tls.cert = Some(value.path()?),
            Opt::Key => self.tls.key = Some(value.path()?),
            Opt::KeyForm => key_form(value.text()?)?,
            Opt::Alpn => self.tls.alpn = Some(alpn(value.text()?)?),
            Opt::TlsVersion => self.tls.version = Some(tls_version(value.text()?)?),
            Opt::Insecure => self.tls.insecure = true,
            Opt::WillTopic => self.will.topic(value.text()?)?,
            Opt::WillPayload => self.will.payload(value.bytes()?)?,
            Opt::WillQoS => self.will.qos(qos(&mut value, UsageError::WillQoS)?),
            Opt::WillRetain => self.will.retain(),
            _ => return Err(value.unexpected()),
        }
        Ok(())
    }

    /// Takes `-L`, and returns the topic in it.
    pub(super) fn url(&mut self, text: &str) -> Result<Option<String>, UsageError> {
        let GivenUrl {
            scheme,
            unix,
            host,
            port,
            user_name,
            password,
            topic,
        } = url::parse(text)?;
        self.scheme = Some(scheme);
        self.unix = unix;
        self.host = host;
        self.port = port;
        self.user_name = user_name.or_else(|| self.user_name.take());
        if let Some(password) = password {
            self.password = Some(PasswordSource::Given(password));
        }
        Ok(topic)
    }

    /// Makes the connection's arguments of it.
    pub(super) fn into_connection(self) -> Result<ConnectionArgs, UsageError> {
        let own = self.own()?;
        let asks_tls = match self.scheme {
            Some(scheme) => scheme.is_tls(),
            None => self.port.is_some_and(|port| TLS_PORTS.contains(&port)),
        };
        let plain = match self.scheme {
            _ if self.unix.is_some() => Some(Scheme::Unix),
            Some(scheme) if !scheme.is_tls() => Some(scheme),
            _ => None,
        };
        let web_socket = self.scheme.is_some_and(Scheme::is_web_socket);
        let tls = self.tls.into_tls(asks_tls)?;
        let scheme = match (&tls, web_socket) {
            // Never plain text where TLS was meant.
            (Some(_), _) if plain.is_some() => return Err(UsageError::TlsForPlain),
            (Some(_), true) => Scheme::Wss,
            (Some(_), false) => Scheme::Mqtts,
            (None, _) => plain.unwrap_or(Scheme::Mqtt),
        };
        if !scheme.is_available() {
            return Err(UsageError::NoWebSocket);
        }
        let credentials = match (self.user_name, self.password) {
            (Some(user_name), password) => Some(LoginArgs {
                user_name,
                password,
            }),
            (None, None) => None,
            (None, Some(_)) => return Err(UsageError::PasswordWithoutUserName),
        };
        if self.keep_session && self.client_id.is_none() {
            return Err(UsageError::KeptSessionWithoutId);
        }
        let client_id = match (self.client_id, self.id_prefix) {
            (Some(_), Some(_)) => return Err(UsageError::IdAndPrefix),
            (Some(id), None) => ClientIdArgs::Given(id),
            (None, Some(prefix)) => ClientIdArgs::Prefix(prefix),
            (None, None) => ClientIdArgs::Random,
        };
        let timeout = match self.timeout_secs {
            None => Some(CONNECT_TIMEOUT_DEFAULT),
            Some(0) => None,
            Some(secs) => Some(Duration::from_secs(secs.into())),
        };
        Ok(ConnectionArgs {
            own,
            endpoint: match self.unix {
                Some(path) => unix_endpoint(&path)?,
                None => endpoint(scheme, self.host, self.port)?,
            },
            tls,
            client_id,
            credentials,
            will: self.will.into_will()?,
            keep_alive: self.keep_alive.unwrap_or(KEEP_ALIVE_DEFAULT),
            clean_start: !self.keep_session,
            local_address: self.local_address,
            interface: self.interface,
            proxy: self.proxy,
            window: self.window,
            timeout,
            debug: self.debug,
            quiet: self.quiet,
        })
    }
}

impl GivenLink {
    /// Whether the agent's own connection is meant. A port alone is one of this machine, as with
    /// Mosquitto's programs.
    fn own(&self) -> Result<Option<OwnArgs>, UsageError> {
        let names_broker = self.host.is_some()
            || self.unix.is_some()
            || self.scheme.is_some()
            || self.port.is_some();
        let is_needed = self.source != SourceArgs::default();
        match (names_broker, is_needed) {
            (true, true) => Err(UsageError::ConfigAndBroker),
            (true, false) => Ok(None),
            (false, _) => Ok(Some(OwnArgs {
                source: self.source.clone(),
                is_needed,
                trust_is_given: self.tls.system
                    || self.tls.cafile.is_some()
                    || self.tls.capath.is_some(),
                keep_alive_is_given: self.keep_alive.is_some(),
                is_apart: self.is_apart,
            })),
        }
    }
}

impl GivenTls {
    /// Makes TLS of it if anything asks for it: `own` if the address does.
    fn into_tls(self, own: bool) -> Result<Option<TlsArgs>, UsageError> {
        let identity = match (self.cert, self.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(UsageError::CertWithoutKey),
        };
        let asked = own
            || self.system
            || self.insecure
            || self.cafile.is_some()
            || self.capath.is_some()
            || self.alpn.is_some()
            || self.version.is_some()
            || identity.is_some();
        Ok(asked.then(|| TlsArgs {
            system: self.system || (self.cafile.is_none() && self.capath.is_none()),
            cafile: self.cafile,
            capath: self.capath,
            identity,
            alpn: self.alpn,
            version: self.version,
            insecure: self.insecure,
        }))
    }
}

fn keep_alive(value: &mut Value<'_>) -> Result<Duration, UsageError> {
    match value.number(UsageError::KeepAlive)? {
        secs @ KEEP_ALIVE_SECS_MIN.. => Ok(Duration::from_secs(secs.into())),
        secs => Err(UsageError::KeepAlive(secs.to_string())),
    }
}

fn client_id(text: String) -> Result<ClientId, UsageError> {
    if text.is_empty() {
        return Err(UsageError::EmptyClientId);
    }
    ClientId::new(text).map_err(UsageError::ClientId)
}

/// Checked with the longest number that can follow it.
fn id_prefix(text: String) -> Result<String, UsageError> {
    client_id(format!("{text}{PROCESS_DIGITS}")).map(|_| text)
}

fn protocol(text: String) -> Result<(), UsageError> {
    let reason = match text.as_str() {
        "mqttv311" | "311" => return Ok(()),
        "mqttv5" | "5" => MQTT_5,
        "mqttv31" | "31" => ONLY_3_1_1,
        _ => return Err(UsageError::Protocol(text)),
    };
    let option = format!("-V {text}");
    Err(UsageError::NotOffered { option, reason })
}

fn key_form(text: String) -> Result<(), UsageError> {
    match text.as_str() {
        "pem" => Ok(()),
        _ => Err(UsageError::NotOffered {
            option: format!("--keyform {text}"),
            reason: ENGINES,
        }),
    }
}

fn proxy(text: &str) -> Result<Proxy, UsageError> {
    text.parse().map_err(|error| match error {
        ProxyUrlError::Scheme(scheme) if scheme.starts_with("socks") => UsageError::NotOffered {
            option: format!("--proxy {scheme}://"),
            reason: SOCKS,
        },
        error => UsageError::Proxy(error),
    })
}

fn alpn(text: String) -> Result<String, UsageError> {
    match text.len() {
        1..=255 => Ok(text),
        len => Err(UsageError::Alpn(len)),
    }
}

fn tls_version(text: String) -> Result<TlsVersion, UsageError> {
    match text.as_str() {
        "tlsv1.2" => Ok(TlsVersion::Tls12),
        "tlsv1.3" => Ok(TlsVersion::Tls13),
        _ => Err(UsageError::TlsVersion(text)),
    }
}

fn unix_endpoint(path: &str) -> Result<Endpoint, UsageError> {
    let endpoint = format!("unix:{path}").parse();
    endpoint.map_err(|error| UsageError::Host {
        text: path.to_owned(),
        error,
    })
}

fn endpoint(
    scheme: Scheme,
    host: Option<String>,
    port: Option<u16>,
) -> Result<Endpoint, UsageError> {
    if port == Some(0) {
        return Err(UsageError::Port("0".to_owned()));
    }
    let port = port.unwrap_or_else(|| scheme.default_port());
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    // A colon is not part of a name: with one it is an IPv6 address, which needs its brackets.
    let authority = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    Endpoint::new(scheme, &authority).map_err(|error| UsageError::Host { text: host, error })
}
