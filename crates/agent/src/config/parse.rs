//! From the text to settings: everything that can be judged without another file.

use std::path::PathBuf;
use std::time::Duration;

use mqtt::topic::{TopicFilter, TopicName};
use mqtt::{ClientId, KEEP_ALIVE_DEFAULT, QoS};
use safe_rt::{ALPN_PROTOCOLS_MAX, Endpoint, EndpointError};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::keys::{Key, Section, meant};
use super::reader::{Faults, Placed, Table, kind, shown};
use super::value::{self, INTERVAL, KEEP_ALIVE, TELEMETRY_INTERVAL_DEFAULT};
use super::{Subscription, Telemetry};
use crate::args::Password;

/// How many places are told where the text is no TOML.
pub(super) const SYNTAX_ERRORS_MAX: usize = 4;

/// What the text says, as far as it was understood.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) device_id: Option<ClientId>,
    pub(super) cloud: CloudDraft,
    pub(super) telemetry: Option<Telemetry>,
    pub(super) subscriptions: Vec<Subscription>,
}

/// What the text says of the connection.
#[derive(Default)]
pub(super) struct CloudDraft {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Placed<PasswordSource>>,
    pub(super) authority: Option<Placed<PathBuf>>,
    pub(super) identity: Option<(Placed<PathBuf>, Placed<PathBuf>)>,
    pub(super) alpn: Vec<String>,
    pub(super) keep_alive: Option<Duration>,
    pub(super) clean_start: bool,
}

/// Where the password is.
pub(super) enum PasswordSource {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
    /// In the configuration itself.
    Inline(Password),
}

/// Understands the text; what is wrong with it is noted in `faults`.
pub(super) fn parse(text: &str, faults: &mut Faults<'_>) -> Draft {
    let mut draft = Draft::default();
    let (root, errors) = DeTable::parse_recoverable(text);
    // One mistake makes many of the lines after it look wrong.
    for error in errors.iter().take(SYNTAX_ERRORS_MAX) {
        let at = error.span().map_or(text.len(), |span| span.start);
        faults.note_at(at, ConfigError::Syntax(error.message().to_owned()));
    }
    if !errors.is_empty() {
        // What is left of the text says nothing reliable.
        return draft;
    }
    let root = root.get_ref();
    for key in root.keys() {
        let found: &str = key.get_ref();
        let mut names = Section::ALL.iter().map(|section| section.name());
        if !names.any(|name| name == found) {
            let error = ConfigError::UnknownSection {
                found: found.to_owned(),
                meant: meant(found, Section::ALL.iter().map(|section| section.name())),
            };
            faults.note_at(key.span().start, error);
        }
    }
    if let Some(table) = required(root, Section::Device, faults) {
        draft.device_id = device_id(&table, faults);
    }
    if let Some(table) = required(root, Section::Cloud, faults) {
        draft.cloud = cloud(&table, faults);
    }
    if let Some(table) = section(root, Section::Telemetry, faults) {
        draft.telemetry = telemetry(&table, faults);
    }
    draft.subscriptions = subscriptions(root, faults);
    draft
}

fn required<'a, 't>(
    root: &'a DeTable<'t>,
    section: Section,
    faults: &mut Faults<'_>,
) -> Option<Table<'a, 't>> {
    if root.get(section.name()).is_none() {
        faults.note(ConfigError::MissingSection(section));
    }
    self::section(root, section, faults)
}

fn section<'a, 't>(
    root: &'a DeTable<'t>,
    section: Section,
    faults: &mut Faults<'_>,
) -> Option<Table<'a, 't>> {
    table(section, root.get(section.name())?, faults)
}

fn table<'a, 't>(
    section: Section,
    value: &'a Spanned<DeValue<'t>>,
    faults: &mut Faults<'_>,
) -> Option<Table<'a, 't>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(Table::new(section, table, value.span(), faults)),
        other => {
            let found = kind(other);
            faults.note_at(
                value.span().start,
                ConfigError::NotASection { section, found },
            );
            None
        }
    }
}

fn device_id(table: &Table<'_, '_>, faults: &mut Faults<'_>) -> Option<ClientId> {
    table.require("id", faults);
    let Placed { value: id, at } = table.text("id", faults)?;
    if id.is_empty() {
        faults.note_at(at, ConfigError::EmptyId);
        return None;
    }
    noted(ClientId::new(id).map_err(ConfigError::Id), at, faults)
}

fn cloud(table: &Table<'_, '_>, faults: &mut Faults<'_>) -> CloudDraft {
    table.require("endpoint", faults);
    let endpoint = table
        .text("endpoint", faults)
        .and_then(|Placed { value, at }| noted(parse_endpoint(value), at, faults));
    let path = |name, faults: &mut Faults<'_>| {
        let text = table.text(name, faults)?;
        Some(text.map(PathBuf::from))
    };
    let authority = path("authority", faults);
    let certificate = path("certificate", faults);
    let key = path("key", faults);
    for (given, missing) in [("certificate", "key"), ("key", "certificate")] {
        if let (Some(at), None) = (table.place_of(given), table.place_of(missing)) {
            let (given, missing) = (table.key(given), table.key(missing));
            faults.note_at(at, ConfigError::HalfIdentity { given, missing });
        }
    }
    let alpn = alpn(table, faults);
    match endpoint.as_ref().map(|endpoint| endpoint.scheme().is_tls()) {
        Some(false) => {
            for name in ["authority", "certificate", "key", "alpn"] {
                if let Some(at) = table.place_of(name) {
                    faults.note_at(at, ConfigError::TlsForPlain(table.key(name)));
                }
            }
        }
        Some(true) if table.place_of("authority").is_none() => {
            let at = table.place_of("endpoint").unwrap_or_default();
            faults.note_at(at, ConfigError::NoAuthority);
        }
        _ => {}
    }
    CloudDraft {
        endpoint,
        user: table.text("user", faults).map(|user| user.value.to_owned()),
        password: password(table, faults),
        authority,
        identity: certificate.zip(key),
        alpn,
        keep_alive: duration(table, "keep_alive", KEEP_ALIVE, faults),
        clean_start: session(table, faults),
    }
}

/// What stands before the last `@` may be a password, in whichever way it breaks the rest.
fn parse_endpoint(text: &str) -> Result<Endpoint, ConfigError> {
    if let Some((_, address)) = text.rsplit_once('@') {
        let (found, error) = (format!("...@{address}"), EndpointError::UserInfo);
        return Err(ConfigError::Endpoint { found, error });
    }
    let endpoint: Endpoint = text.parse().map_err(|error| {
        // Neither is a query, which may be a signature, repeated.
        let found = match text.split_once('?') {
            Some((place, _)) => format!("{place}?..."),
            None => text.to_owned(),
        };
        ConfigError::Endpoint { found, error }
    })?;
    let scheme = endpoint.scheme();
    if scheme.is_web_socket() && !scheme.is_available() {
        return Err(ConfigError::NoWebSocket(scheme));
    }
    Ok(endpoint)
}

fn password(table: &Table<'_, '_>, faults: &mut Faults<'_>) -> Option<Placed<PasswordSource>> {
    type Source = fn(&str) -> PasswordSource;
    const SOURCES: [(&str, Source); 3] = [
        ("password_file", |path| PasswordSource::File(path.into())),
        ("password_env", |name| {
            PasswordSource::Variable(name.to_owned())
        }),
        ("password", |password| {
            PasswordSource::Inline(Password(password.into()))
        }),
    ];
    let given: Vec<_> = SOURCES
        .iter()
        .filter_map(|(name, source)| Some((*name, source, table.place_of(name)?)))
        .collect();
    let &(name, source, at) = given.first()?;
    if given.len() > 1 {
        let keys: Vec<Key> = given.iter().map(|(name, ..)| table.key(name)).collect();
        let last = given.iter().map(|(.., at)| *at).max().unwrap_or(at);
        faults.note_at(last, ConfigError::SeveralPasswords(keys));
    }
    if table.place_of("user").is_none() {
        faults.note_at(at, ConfigError::PasswordWithoutUser(table.key(name)));
    }
    let mut texts: Vec<_> = given
        .iter()
        .map(|(name, ..)| table.text(name, faults))
        .collect();
    texts.swap_remove(0).map(|text| text.map(source))
}

fn alpn(table: &Table<'_, '_>, faults: &mut Faults<'_>) -> Vec<String> {
    let Some(Placed { value: list, at }) = table.list("alpn", faults) else {
        return Vec::new();
    };
    if list.len() > ALPN_PROTOCOLS_MAX {
        faults.note_at(at, ConfigError::AlpnCount(list.len()));
        return Vec::new();
    }
    let mut protocols = Vec::new();
    for item in list.iter() {
        let at = item.span().start;
        match item.get_ref() {
            DeValue::String(name) if (1..=255).contains(&name.len()) => {
                protocols.push(name.clone().into_owned());
            }
            DeValue::String(name) => faults.note_at(at, ConfigError::AlpnLength(name.len())),
            other => {
                let key = table.key("alpn");
                let error = ConfigError::WrongType {
                    key,
                    expected: "a list of texts",
                    found: format!("{} in it", shown(key, other)),
                };
                faults.note_at(at, error);
            }
        }
    }
    protocols
}

/// Whether the session is to be a clean one; it is kept unless the text says otherwise.
fn session(table: &Table<'_, '_>, faults: &mut Faults<'_>) -> bool {
    match table.text("session", faults) {
        None => false,
        Some(Placed { value: "kept", .. }) => false,
        Some(Placed { value: "clean", .. }) => true,
        Some(Placed { value, at }) => {
            faults.note_at(at, ConfigError::Session(value.to_owned()));
            false
        }
    }
}

fn telemetry(table: &Table<'_, '_>, faults: &mut Faults<'_>) -> Option<Telemetry> {
    table.require("topic", faults);
    let topic = table.text("topic", faults);
    let topic = topic.and_then(|Placed { value, at }| {
        let topic = TopicName::new(value).map_err(|error| ConfigError::Topic {
            key: table.key("topic"),
            found: value.to_owned(),
            error,
        });
        noted(topic, at, faults)
    });
    let interval = duration(table, "interval", INTERVAL, faults);
    let qos = qos(table, faults);
    Some(Telemetry {
        topic: topic?,
        interval: interval.unwrap_or(TELEMETRY_INTERVAL_DEFAULT),
        qos,
    })
}

fn subscriptions(root: &DeTable<'_>, faults: &mut Faults<'_>) -> Vec<Subscription> {
    let Some(value) = root.get(Section::Subscription.name()) else {
        return Vec::new();
    };
    let Some(list) = value.get_ref().as_array() else {
        let error = ConfigError::NotASection {
            section: Section::Subscription,
            found: kind(value.get_ref()),
        };
        faults.note_at(value.span().start, error);
        return Vec::new();
    };
    list.iter()
        .filter_map(|item| subscription(&table(Section::Subscription, item, faults)?, faults))
        .collect()
}

fn subscription(table: &Table<'_, '_>, faults: &mut Faults<'_>) -> Option<Subscription> {
    table.require("topic", faults);
    let qos = qos(table, faults);
    let Placed { value, at } = table.text("topic", faults)?;
    let topic = TopicFilter::new(value).map_err(|error| ConfigError::Topic {
        key: table.key("topic"),
        found: value.to_owned(),
        error,
    });
    let topic = noted(topic, at, faults)?;
    Some(Subscription { topic, qos })
}

fn duration(
    table: &Table<'_, '_>,
    name: &'static str,
    range: value::Range,
    faults: &mut Faults<'_>,
) -> Option<Duration> {
    let Placed { value, at } = table.duration_text(name, faults)?;
    noted(value::duration(table.key(name), value, range), at, faults)
}

/// A quality of service; at least once unless the text says otherwise.
fn qos(table: &Table<'_, '_>, faults: &mut Faults<'_>) -> QoS {
    let Some(Placed { value, at }) = table.integer("qos", faults) else {
        return QoS::AtLeastOnce;
    };
    let qos = value::qos(value).ok_or_else(|| ConfigError::QoS {
        key: table.key("qos"),
        found: value.to_owned(),
    });
    noted(qos, at, faults).unwrap_or(QoS::AtLeastOnce)
}

fn noted<T>(result: Result<T, ConfigError>, at: usize, faults: &mut Faults<'_>) -> Option<T> {
    result.map_err(|error| faults.note_at(at, error)).ok()
}

impl CloudDraft {
    pub(super) fn keep_alive(&self) -> Duration {
        self.keep_alive.unwrap_or(KEEP_ALIVE_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safe_rt::Scheme;

    #[test]
    fn an_endpoint_that_the_build_cannot_dial_is_refused_with_what_to_do() {
        for (text, scheme) in [
            ("ws://h", Scheme::Ws),
            ("WSS://h/mqtt?key=secret", Scheme::Wss),
        ] {
            match parse_endpoint(text) {
                Ok(endpoint) => {
                    assert!(cfg!(feature = "ws") || scheme.is_available(), "{text}");
                    assert_eq!(endpoint.scheme(), scheme);
                }
                Err(ConfigError::NoWebSocket(found)) => {
                    assert!(!scheme.is_available());
                    assert_eq!(found, scheme);
                }
                Err(other) => panic!("{text}: {other}"),
            }
        }
        let told = ConfigError::NoWebSocket(Scheme::Wss);
        assert_eq!(told.code(), "C030");
        assert!(told.to_string().contains("built without"), "{told}");
        parse_endpoint("mqtts://h").expect("TLS is always there");
    }
}
