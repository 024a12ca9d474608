//! From what was written to what it means, one value at a time.

mod shown;
pub(super) mod units;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mqtt::topic::{TopicFilter, TopicName};
use mqtt::{ClientId, QoS};
use safe_rt::{ALPN_PROTOCOLS_MAX, EndpointError};
use zeroize::Zeroizing;

use super::error::ConfigError;
use super::raw::{At, Placed, Raw, RawItem};
use super::sections::ProxyChoice;
use super::table::{Key, Kind};
use crate::args::Password;
use crate::profile;
use crate::service::schedule::{SCHEDULE_WINDOWS_MAX, check_expression};
pub(super) use shown::{UNLIMITED, Value};
use units::NoMeasure;

/// The shortest interval of telemetry.
pub const TELEMETRY_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The longest interval of telemetry.
pub const TELEMETRY_INTERVAL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest name of a command, in bytes.
pub const COMMAND_NAME_BYTES_MAX: usize = 64;

/// Understands a value; what is wrong with it is noted where it stands. `beside` is the folder that
/// a path without one is looked for in.
pub(super) fn understand(
    key: &'static Key,
    written: &Placed<Raw>,
    beside: &Path,
    faults: &mut Vec<(At, ConfigError)>,
) -> Option<Value> {
    let at = &written.at;
    let is_number = matches!(written.value, Raw::Integer(..) | Raw::Float(_));
    if is_number && key.kind.has_unit() {
        let (Raw::Integer(found, _) | Raw::Float(found)) = &written.value else {
            return None;
        };
        let error = ConfigError::NoUnit {
            key,
            found: found.clone(),
            number: found.split('.').next().unwrap_or_default().to_owned(),
        };
        faults.push((at.clone(), error));
        return None;
    }
    let understood = match (key.kind, &written.value) {
        (_, Raw::Text(text)) if key.may_be_unlimited() && text.as_str() == UNLIMITED => {
            Ok(Value::Unlimited)
        }
        (Kind::Count { min, max }, Raw::Integer(digits, true)) => count(key, digits, min, max),
        (Kind::QoS, Raw::Integer(digits, true)) => qos(key, digits),
        (Kind::Bool, Raw::Bool(truth)) => Ok(Value::Bool(*truth)),
        (Kind::Texts | Kind::Alpn | Kind::Crons, Raw::List(list)) => {
            return texts(key, list, at, faults);
        }
        (Kind::Map, Raw::Table(entries)) => {
            let mut map = BTreeMap::new();
            for entry in entries {
                match &entry.item.raw {
                    Raw::Text(text) => drop(map.insert(entry.name.clone(), text.to_string())),
                    other => {
                        let found = format!("{} in it", other.shown(false));
                        let error = wrong_type(key, found);
                        faults.push((entry.at_value(at.source), error));
                    }
                }
            }
            Ok(Value::Map(map))
        }
        (kind, Raw::Text(text)) if kind.type_expected() == "a text in quotes" => {
            of_text(key, text, beside)
        }
        (kind, other) => Err(wrong_type(key, other.shown(kind.is_secret()))),
    };
    understood
        .map_err(|error| faults.push((at.clone(), error)))
        .ok()
}

fn wrong_type(key: &'static Key, found: String) -> ConfigError {
    ConfigError::WrongType {
        key,
        expected: key.kind.type_expected(),
        found,
    }
}

fn of_text(key: &'static Key, text: &str, beside: &Path) -> Result<Value, ConfigError> {
    let malformed = || ConfigError::Malformed {
        key,
        found: text.to_owned(),
    };
    let topic = |error| ConfigError::Topic {
        key,
        found: text.to_owned(),
        error,
    };
    match key.kind {
        Kind::Id if text.is_empty() => Err(ConfigError::EmptyId),
        Kind::Id => ClientId::new(text).map(Value::Id).map_err(ConfigError::Id),
        Kind::Endpoint => endpoint(text),
        Kind::Url if is_url(text) => Ok(Value::Text(text.to_owned())),
        Kind::Url => Err(ConfigError::Url { key }),
        // What brokers check beside the name may stand in it.
        Kind::Text if key.name == "user" => Ok(Value::User(text.to_owned())),
        Kind::Proxy => match text {
            "none" => Ok(ProxyChoice::None),
            "environment" => Ok(ProxyChoice::Environment),
            address => address
                .parse()
                .map(ProxyChoice::Proxy)
                .map_err(|error: safe_rt::ProxyUrlError| ConfigError::Proxy(error.to_string())),
        }
        .map(|proxy| Value::Proxy {
            proxy: Box::new(proxy),
            text: Zeroizing::new(text.to_owned()),
        }),
        Kind::Path | Kind::Socket if text.is_empty() => Err(malformed()),
        Kind::Socket if text == "none" => Ok(Value::Text(text.to_owned())),
        Kind::Path | Kind::Socket => Ok(Value::Path(beside.join(text))),
        Kind::Program if !Path::new(text).is_absolute() => Err(malformed()),
        Kind::Program => Ok(Value::Path(PathBuf::from(text))),
        Kind::Credential if !is_file_name(text) => Err(ConfigError::CredentialName(key)),
        Kind::Secret => Ok(Value::Secret(Password(text.into()))),
        Kind::Duration {
            open: Some(word), ..
        } if text == word => Ok(Value::Duration(None)),
        Kind::Duration { min, max, .. } => duration(key, text, min, max),
        Kind::Bytes { min, max } => {
            let bytes = units::parse_bytes(text).map_err(|error| no_measure(key, text, error))?;
            match (min..=max).contains(&bytes) {
                true => Ok(Value::Bytes(bytes)),
                false => Err(out_of_range(key, text)),
            }
        }
        Kind::Rate => measured(key, text, units::parse_rate(text)).map(Value::Rate),
        Kind::ByteRate => measured(key, text, units::parse_byte_rate(text)).map(Value::ByteRate),
        Kind::Percent => measured(key, text, units::parse_percent(text)).map(Value::Percent),
        Kind::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
        Kind::Choice(_) if key.name == "session" => Err(ConfigError::Session(text.to_owned())),
        Kind::Choice(words) => Err(ConfigError::Choice {
            key,
            found: text.to_owned(),
            words,
        }),
        Kind::Topic => TopicName::new(text).map(Value::Topic).map_err(topic),
        Kind::Filter => TopicFilter::new(text).map(Value::Filter).map_err(topic),
        Kind::Name => {
            let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let fits = (1..=COMMAND_NAME_BYTES_MAX).contains(&text.len());
            match fits && text.bytes().all(is_good) {
                true => Ok(Value::Text(text.to_owned())),
                false => Err(malformed()),
            }
        }
        Kind::LogFilter if !is_log_filter(text) => Err(malformed()),
        _ => Ok(Value::Text(text.to_owned())),
    }
}

/// Whether a text is the address of a service: a host, and perhaps a port and a path. What may follow
/// them, or stand before the host, may be a secret.
fn is_url(text: &str) -> bool {
    let scheme = "https://";
    let is_https = text.get(..scheme.len());
    if !is_https.is_some_and(|start| start.eq_ignore_ascii_case(scheme)) {
        return false;
    }
    let rest = &text[scheme.len()..];
    let host = rest.split('/').next().unwrap_or_default();
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "@?#\"".contains(c);
    !host.is_empty() && !host.starts_with(':') && !rest.contains(is_odd)
}

/// Whether a text names a file of one folder.
fn is_file_name(text: &str) -> bool {
    !text.is_empty() && !matches!(text, "." | "..") && !text.contains(['/', '\0'])
}

/// Whether each part of the text is a level, or a part of the program with a level.
fn is_log_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    text.split(',').all(|part| {
        let (target, level) = part.rsplit_once('=').unwrap_or(("agent", part));
        let target_is_good = |c: char| c.is_ascii_alphanumeric() || "_-:".contains(c);
        !target.is_empty() && target.chars().all(target_is_good) && LEVELS.contains(&level)
    })
}

fn count(key: &'static Key, digits: &str, min: u64, max: u64) -> Result<Value, ConfigError> {
    let count = digits
        .parse()
        .ok()
        .filter(|count| (min..=max).contains(count));
    count
        .map(Value::Count)
        .ok_or_else(|| out_of_range(key, digits))
}

/// Understands a quality of service.
fn qos(key: &'static Key, digits: &str) -> Result<Value, ConfigError> {
    let qos = match digits {
        "0" => QoS::AtMostOnce,
        "1" => QoS::AtLeastOnce,
        "2" => QoS::ExactlyOnce,
        _ => {
            return Err(ConfigError::QoS {
                key,
                found: digits.to_owned(),
            });
        }
    };
    Ok(Value::QoS(qos))
}

fn texts(
    key: &'static Key,
    list: &[RawItem],
    at: &At,
    faults: &mut Vec<(At, ConfigError)>,
) -> Option<Value> {
    if key.kind == Kind::Alpn && list.len() > ALPN_PROTOCOLS_MAX {
        faults.push((at.clone(), ConfigError::AlpnCount(list.len())));
        return None;
    }
    if key.kind == Kind::Crons && list.len() > SCHEDULE_WINDOWS_MAX {
        let (found, most) = (list.len(), SCHEDULE_WINDOWS_MAX);
        let what = "windows of the schedule".to_owned();
        faults.push((at.clone(), ConfigError::TooMany { what, found, most }));
        return None;
    }
    let mut texts = Vec::new();
    for item in list {
        let error = match &item.raw {
            Raw::Text(text) if key.kind == Kind::Crons => match check_expression(text) {
                Ok(()) => {
                    texts.push(text.to_string());
                    continue;
                }
                Err(reason) => ConfigError::Cron {
                    key,
                    found: text.to_string(),
                    reason,
                },
            },
            Raw::Text(name) if key.kind == Kind::Alpn && !(1..=255).contains(&name.len()) => {
                ConfigError::AlpnLength(name.len())
            }
            Raw::Text(text) => {
                texts.push(text.to_string());
                continue;
            }
            other => wrong_type(key, format!("{} in it", other.shown(false))),
        };
        let point = item.span.clone();
        faults.push((
            At {
                point,
                ..at.clone()
            },
            error,
        ));
    }
    // Of one whose texts are all faulty nothing is known, not even that it is empty.
    (list.is_empty() || !texts.is_empty()).then_some(Value::Texts(texts))
}

/// What stands before the last `@` may be a password, in whichever way it breaks the rest.
fn endpoint(text: &str) -> Result<Value, ConfigError> {
    if let Some((_, address)) = text.rsplit_once('@') {
        let (found, error) = (format!("...@{address}"), EndpointError::UserInfo);
        return Err(ConfigError::Endpoint { found, error });
    }
    let endpoint = profile::endpoint(text).map_err(|error| {
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
    let place = text.split_once("://").map_or(text, |(_, place)| place);
    let authority = place.split(['/', '?']).next().unwrap_or_default();
    let after_host = authority.rsplit(']').next().unwrap_or_default();
    Ok(Value::Endpoint {
        endpoint: Box::new(endpoint),
        port_is_set: after_host.contains(':'),
        text: Zeroizing::new(text.to_owned()),
    })
}

fn measured<T>(
    key: &'static Key,
    text: &str,
    measured: Result<T, NoMeasure>,
) -> Result<T, ConfigError> {
    measured.map_err(|error| no_measure(key, text, error))
}

fn no_measure(key: &'static Key, text: &str, error: NoMeasure) -> ConfigError {
    match error {
        NoMeasure::NoUnit => ConfigError::NoUnit {
            key,
            found: format!("{text:?}"),
            number: text.to_owned(),
        },
        NoMeasure::Malformed => ConfigError::Malformed {
            key,
            found: text.to_owned(),
        },
        NoMeasure::OutOfRange => out_of_range(key, text),
    }
}

fn out_of_range(key: &'static Key, found: &str) -> ConfigError {
    ConfigError::OutOfRange {
        key,
        found: found.to_owned(),
    }
}

/// Understands a length of time with its unit: `250ms`, `30s`, `5m`, `12h`, `7d`.
fn duration(
    key: &'static Key,
    text: &str,
    min: Duration,
    max: Duration,
) -> Result<Value, ConfigError> {
    let duration = parse_length(text).map_err(|error| {
        let error = match error {
            NoLength::NoUnit => NoMeasure::NoUnit,
            NoLength::Malformed => NoMeasure::Malformed,
        };
        no_measure(key, text, error)
    })?;
    match (min..=max).contains(&duration) {
        true => Ok(Value::Duration(Some(duration))),
        false => Err(out_of_range(key, text)),
    }
}

/// Why a text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoLength {
    /// It is a bare number.
    NoUnit,
    /// It is something else.
    Malformed,
}

/// Understands a whole number and its unit; one that is too large counts as the largest.
pub(crate) fn parse_length(text: &str) -> Result<Duration, NoLength> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "" if digits > 0 => return Err(NoLength::NoUnit),
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(NoLength::Malformed),
    };
    if digits == 0 {
        return Err(NoLength::Malformed);
    }
    let number = number.parse().unwrap_or(u64::MAX);
    Ok(Duration::from_millis(number.saturating_mul(millis)))
}

/// Writes a length of time in the largest unit that it is a whole number of.
pub(super) fn spell(duration: Duration) -> String {
    let millis = duration.as_millis();
    let (unit, name) = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ]
    .into_iter()
    .find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit))
    .unwrap_or((1, if millis == 0 { "s" } else { "ms" }));
    format!("{}{name}", millis / unit)
}

#[cfg(test)]
mod tests;
