//! From settings to the structs: what must be there, what fits together, and the defaults.

mod provision;

use std::path::{Path, PathBuf};
use std::time::Duration;

use mqtt::topic::{TopicFilter, TopicName};
use mqtt::{QoS, QueuePolicy};

use super::effective::default;
use super::error::ConfigError;
use super::faults::Faults;
use super::raw::Placed;
use super::secret::{self, Wanted};
use super::sections::{
    CommandHandler, Commands, Control, Device, Limits, Log, Metrics, ProxyChoice, Queue, Schedule,
    State, Subscription, Telemetry,
};
use super::settings::{Setting, Settings, Table};
use super::table::{Key, Section};
use super::value::Value;
use super::value::units::Rate;
use crate::profile::Setting as Limit;

pub(super) use self::provision::{MethodDraft, ProvisionDraft};

/// What the settings say, before any other file is read.
pub(super) struct Draft {
    pub(super) device: Device,
    pub(super) cloud: Option<CloudDraft>,
    pub(super) state: State,
    pub(super) provision: Option<ProvisionDraft>,
    pub(super) queue: Queue,
    pub(super) telemetry: Option<Telemetry>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) commands: Option<Commands>,
    pub(super) schedule: Option<Schedule>,
    pub(super) limits: Limits,
    pub(super) metrics: Option<Metrics>,
    pub(super) control: Control,
    pub(super) log: Log,
}

/// What the settings say of the connection.
pub(super) struct CloudDraft {
    pub(super) endpoint: Option<(safe_rt::Endpoint, bool)>,
    pub(super) profile: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Wanted>,
    pub(super) authority: Option<Placed<PathBuf>>,
    pub(super) identity: Option<(Placed<PathBuf>, Placed<PathBuf>)>,
    pub(super) alpn: Option<Vec<String>>,
    pub(super) keep_alive: Option<Duration>,
    pub(super) clean_start: bool,
    pub(super) proxy: ProxyChoice,
}

/// The name of the control socket, in the folder that it is in.
pub(super) const SOCKET: &str = "control.sock";

/// What the environment says beside settings.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// `STATE_DIRECTORY`.
    pub(super) state: Option<PathBuf>,
    /// `RUNTIME_DIRECTORY`.
    pub(super) runtime: Option<PathBuf>,
}

/// Puts the structs together; what does not fit is noted. `main` is the file that is named where
/// something is missing.
pub(super) fn build(
    settings: &Settings,
    around: &Surroundings,
    main: Option<&Path>,
    faults: &mut Faults,
) -> Draft {
    let state = state(settings, around);
    let mut reader = Reader { faults };
    let cloud = match settings.table(Section::Cloud) {
        Some(table) => Some(cloud(&table, &mut reader)),
        None => {
            let missing = ConfigError::MissingSection(Section::Cloud);
            reader.faults.note_whole(main, missing);
            None
        }
    };
    let device = settings
        .table(Section::Device)
        .and_then(|table| table.get("id"));
    let handlers: Vec<_> = settings
        .tables(Section::Command)
        .filter_map(|table| handler(&table, &mut reader))
        .collect();
    Draft {
        device: Device {
            id: device.and_then(|setting| match setting.value {
                Value::Id(id) => Some(id.clone()),
                _ => None,
            }),
        },
        cloud,
        control: control(settings, around, &state),
        state,
        provision: settings
            .table(Section::Provision)
            .and_then(|table| provision::provision(&table, &mut reader)),
        queue: queue(settings),
        telemetry: settings
            .table(Section::Telemetry)
            .and_then(|table| telemetry(&table, &mut reader)),
        subscriptions: settings
            .tables(Section::Subscription)
            .filter_map(|table| subscription(&table, &mut reader))
            .collect(),
        commands: commands(settings, handlers, main, &mut reader),
        schedule: settings
            .table(Section::Schedule)
            .and_then(|table| schedule(&table, &mut reader)),
        limits: limits(settings),
        metrics: settings
            .table(Section::Metrics)
            .and_then(|table| metrics(&table, &mut reader)),
        log: log(settings),
    }
}

/// Asks for what must be there.
struct Reader<'a> {
    faults: &'a mut Faults,
}

impl Reader<'_> {
    /// A setting that must be there.
    fn require<'s>(&mut self, table: &Table<'s>, name: &str) -> Option<Setting<'s>> {
        if table.name_at(name).is_none() {
            let key = Key::known(table.section(), name);
            self.faults.note(table.at(), ConfigError::MissingKey(key));
        }
        table.get(name)
    }

    /// Whether a setting comes of a lower layer than another one of its table.
    fn is_below(&self, table: &Table<'_>, name: &str, other: &str) -> bool {
        let layer = |name| table.value_at(name).map(|at| self.faults.layer(at));
        layer(name) < layer(other)
    }

    fn topic(&mut self, table: &Table<'_>) -> Option<TopicName> {
        match self.require(table, "topic")?.value {
            Value::Topic(topic) => Some(topic.clone()),
            _ => None,
        }
    }

    fn filter(&mut self, table: &Table<'_>) -> Option<TopicFilter> {
        match self.require(table, "topic")?.value {
            Value::Filter(filter) => Some(filter.clone()),
            _ => None,
        }
    }
}

/// What a setting is set to, or its default.
fn value(table: Option<&Table<'_>>, section: Section, name: &str) -> Option<Value> {
    if let Some(setting) = table.and_then(|table| table.get(name)) {
        return Some(setting.value.clone());
    }
    default(Key::known(section, name))
}

/// Makes a reader of one type, for settings that have it by the table.
macro_rules! typed {
    ($($name:ident: $type:ty = $pattern:pat => $taken:expr;)*) => {$(
        fn $name(table: Option<&Table<'_>>, section: Section, name: &str) -> Option<$type> {
            match value(table, section, name)? {
                $pattern => $taken,
                _ => None,
            }
        }
    )*};
}

typed! {
    text: String = Value::Text(text) | Value::User(text) => Some(text);
    path: PathBuf = Value::Path(path) => Some(path);
    duration: Duration = Value::Duration(duration) => duration;
    bytes: u64 = Value::Bytes(bytes) => Some(bytes);
    count: u64 = Value::Count(count) => Some(count);
    rate: Rate = Value::Rate(rate) | Value::ByteRate(rate) => Some(rate);
    percent: u8 = Value::Percent(percent) => Some(percent);
    qos: QoS = Value::QoS(qos) => Some(qos);
    truth: bool = Value::Bool(truth) => Some(truth);
    texts: Vec<String> = Value::Texts(texts) => Some(texts);
}

/// A number of things in memory.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn cloud(table: &Table<'_>, reader: &mut Reader<'_>) -> CloudDraft {
    let section = Section::Cloud;
    let endpoint = reader
        .require(table, "endpoint")
        .and_then(|setting| match setting.value {
            Value::Endpoint {
                endpoint,
                port_is_set,
                ..
            } => Some(((**endpoint).clone(), *port_is_set)),
            _ => None,
        });
    let file = |name| {
        let setting = table.get(name)?;
        match setting.value {
            Value::Path(path) => Some(Placed {
                value: path.clone(),
                at: setting.at.clone(),
            }),
            _ => None,
        }
    };
    for (given, missing) in [("certificate", "key"), ("key", "certificate")] {
        if let (Some(at), None) = (table.name_at(given), table.name_at(missing)) {
            let (given, missing) = (Key::known(section, given), Key::known(section, missing));
            reader
                .faults
                .note(at, ConfigError::HalfIdentity { given, missing });
        }
    }
    let is_plain = endpoint
        .as_ref()
        .is_some_and(|(endpoint, _)| !endpoint.scheme().is_tls());
    if is_plain {
        for name in ["authority", "certificate", "key", "alpn"] {
            // What a layer below that of the endpoint says is not of this endpoint.
            if let Some(at) = table.name_at(name)
                && !reader.is_below(table, name, "endpoint")
            {
                let key = Key::known(section, name);
                reader.faults.note(at, ConfigError::TlsForPlain(key));
            }
        }
    }
    let password = secret::wanted(table, reader.faults);
    if let (Some(password), None) = (&password, table.name_at("user")) {
        let (key, at) = (password.key(), password.at());
        let at = table.name_at(key.name).unwrap_or(at);
        reader
            .faults
            .note(at, ConfigError::PasswordWithoutUser(key));
    }
    let given = Some(table);
    CloudDraft {
        endpoint,
        profile: text(given, section, "profile").filter(|profile| profile != "auto"),
        user: text(given, section, "user"),
        password,
        authority: file("authority").filter(|_| !is_plain),
        identity: file("certificate").zip(file("key")).filter(|_| !is_plain),
        alpn: texts(given, section, "alpn").filter(|_| !is_plain),
        keep_alive: table
            .get("keep_alive")
            .and_then(|_| duration(given, section, "keep_alive")),
        clean_start: text(given, section, "session").as_deref() == Some("clean"),
        proxy: match table.get("proxy").map(|setting| setting.value) {
            Some(Value::Proxy { proxy, .. }) => (**proxy).clone(),
            _ => ProxyChoice::None,
        },
    }
}

pub(super) fn state(settings: &Settings, around: &Surroundings) -> State {
    let table = settings.table(Section::State);
    let set = table
        .and_then(|table| table.get("dir"))
        .map(|setting| setting.value);
    let dir = match (set, &around.state) {
        (Some(Value::Path(dir)), _) | (None, Some(dir)) => dir.clone(),
        _ => path(None, Section::State, "dir").unwrap_or_default(),
    };
    State { dir }
}

fn control(settings: &Settings, around: &Surroundings, state: &State) -> Control {
    let table = settings.table(Section::Control);
    let set = table
        .and_then(|table| table.get("socket"))
        .map(|setting| setting.value);
    let socket = match set {
        Some(Value::Path(path)) => Some(path.clone()),
        // The word for none.
        Some(_) => None,
        None => Some(around.runtime.as_ref().unwrap_or(&state.dir).join(SOCKET)),
    };
    Control { socket }
}

fn queue(settings: &Settings) -> Queue {
    let section = Section::Queue;
    let table = settings.table(section);
    let given = table.as_ref();
    let when_full = text(given, section, "when_full");
    Queue {
        max_messages: count(given, section, "max_messages")
            .map(size)
            .unwrap_or_default(),
        max_bytes: bytes(given, section, "max_bytes").unwrap_or_default(),
        max_disk: bytes(given, section, "max_disk").unwrap_or_default(),
        max_age: duration(given, section, "max_age"),
        when_full: match when_full.as_deref() {
            Some("drop-newest") => QueuePolicy::DropNewest,
            Some("keep-last") => QueuePolicy::KeepLast,
            Some("reject") => QueuePolicy::Reject,
            Some("wait") => QueuePolicy::Wait,
            _ => QueuePolicy::DropOldest,
        },
    }
}

fn telemetry(table: &Table<'_>, reader: &mut Reader<'_>) -> Option<Telemetry> {
    let section = Section::Telemetry;
    let given = Some(table);
    Some(Telemetry {
        topic: reader.topic(table)?,
        interval: duration(given, section, "interval")?,
        qos: qos(given, section, "qos")?,
        max_count: count(given, section, "max_count").map(size)?,
        max_bytes: bytes(given, section, "max_bytes").map(size)?,
        max_delay: duration(given, section, "max_delay")?,
    })
}

fn subscription(table: &Table<'_>, reader: &mut Reader<'_>) -> Option<Subscription> {
    Some(Subscription {
        topic: reader.filter(table)?,
        qos: qos(Some(table), Section::Subscription, "qos")?,
    })
}

fn handler(table: &Table<'_>, reader: &mut Reader<'_>) -> Option<CommandHandler> {
    let section = Section::Command;
    let given = Some(table);
    let (name, program) = (
        reader.require(table, "name"),
        reader.require(table, "program"),
    );
    name.zip(program)?;
    Some(CommandHandler {
        name: text(given, section, "name")?,
        program: path(given, section, "program")?,
        args: texts(given, section, "args")?,
        timeout: duration(given, section, "timeout")?,
        max_output: bytes(given, section, "max_output").map(size)?,
    })
}

fn commands(
    settings: &Settings,
    handlers: Vec<CommandHandler>,
    main: Option<&Path>,
    reader: &mut Reader<'_>,
) -> Option<Commands> {
    let table = settings.table(Section::Commands);
    let first = settings.table(Section::Command);
    let topic = match table {
        Some(table) => reader.topic(&table),
        None => {
            if first.is_some() {
                let missing = ConfigError::MissingSection(Section::Commands);
                reader.faults.note_whole(main, missing);
            }
            None
        }
    };
    if let (Some(table), None) = (table, first) {
        reader.faults.warn(table.at(), ConfigError::NoHandlers);
    }
    match handlers.is_empty() {
        true => None,
        false => Some(Commands {
            topic: topic?,
            handlers,
        }),
    }
}

fn schedule(table: &Table<'_>, reader: &mut Reader<'_>) -> Option<Schedule> {
    let section = Section::Schedule;
    let given = Some(table);
    let windows = reader.require(table, "windows")?;
    if matches!(windows.value, Value::Texts(texts) if texts.is_empty()) {
        reader
            .faults
            .note(windows.at, ConfigError::EmptyList(windows.key));
    }
    Some(Schedule {
        windows: texts(given, section, "windows")?,
        duration: duration(given, section, "duration")?,
        jitter: duration(given, section, "jitter")?,
        delay: duration(given, section, "delay")?,
        on_demand: truth(given, section, "on_demand")?,
    })
}

fn limits(settings: &Settings) -> Limits {
    let section = Section::Limits;
    let table = settings.table(section);
    let given = table.as_ref();
    Limits {
        publish_rate: limit(given, "publish_rate", rate),
        publish_bytes: limit(given, "publish_bytes", rate),
        subscriptions: limit(given, "subscriptions", counted),
        filters_per_subscribe: limit(given, "filters_per_subscribe", counted),
        packet_bytes: limit(given, "packet_bytes", sized),
        topic_levels: limit(given, "topic_levels", counted),
        qos: limit(given, "qos", qos),
    }
}

/// A limit: of the profile where nothing is set, none by the word for that, or the one that `read`
/// finds.
fn limit<T>(
    table: Option<&Table<'_>>,
    name: &str,
    read: impl Fn(Option<&Table<'_>>, Section, &str) -> Option<T>,
) -> Limit<T> {
    let set = table.and_then(|table| table.get(name));
    if set.is_some_and(|set| matches!(set.value, Value::Unlimited)) {
        return Limit::Unlimited;
    }
    read(table, Section::Limits, name).map_or(Limit::OfProfile, Limit::To)
}

fn counted(table: Option<&Table<'_>>, section: Section, name: &str) -> Option<usize> {
    count(table, section, name).map(size)
}

fn sized(table: Option<&Table<'_>>, section: Section, name: &str) -> Option<usize> {
    bytes(table, section, name).map(size)
}

fn metrics(table: &Table<'_>, reader: &mut Reader<'_>) -> Option<Metrics> {
    Some(Metrics {
        topic: reader.topic(table)?,
        interval: duration(Some(table), Section::Metrics, "interval")?,
    })
}

fn log(settings: &Settings) -> Log {
    let table = settings.table(Section::Log);
    let filter = text(table.as_ref(), Section::Log, "filter");
    Log {
        filter: filter.unwrap_or_default(),
    }
}
