//! The value of `-L`: everything about a connection in one text.

use safe_rt::Scheme;

use super::words::digits;
use super::{Password, UsageError};

/// What stands in it.
pub(super) struct GivenUrl {
    pub(super) scheme: Scheme,
    pub(super) unix: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user_name: Option<String>,
    pub(super) password: Option<Password>,
    pub(super) topic: Option<String>,
}

/// Takes it apart. As with Mosquitto's programs nothing in it is percent-encoded, and everything
/// after the first slash is the topic.
///
/// No error repeats it: there may be a password in it.
pub(super) fn parse(text: &str) -> Result<GivenUrl, UsageError> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(GivenUrl {
            scheme: Scheme::Unix,
            unix: Some(path.to_owned()),
            host: None,
            port: None,
            user_name: None,
            password: None,
            topic: None,
        });
    }
    let (scheme, rest) = text.split_once("://").ok_or(UsageError::UrlScheme)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "mqtt" => Scheme::Mqtt,
        "mqtts" => Scheme::Mqtts,
        "ws" => Scheme::Ws,
        "wss" => Scheme::Wss,
        _ => return Err(UsageError::UrlScheme),
    };
    let (place, topic) = rest.split_once('/').ok_or(UsageError::UrlTopic)?;
    let (user, authority) = match place.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, place),
    };
    let (user_name, password) = match user.map(|user| user.split_once(':').ok_or(user)) {
        None => (None, None),
        Some(Err(name)) => (Some(name.to_owned()), None),
        Some(Ok((name, password))) => (
            Some(name.to_owned()),
            Some(Password(password.as_bytes().to_vec())),
        ),
    };
    // The colons of an IPv6 address stand in brackets.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        None => None,
        Some(port) => Some(digits(port).ok_or_else(|| UsageError::Port(port.to_owned()))?),
    };
    Ok(GivenUrl {
        scheme,
        unix: None,
        host: Some(host.to_owned()),
        port,
        user_name,
        password,
        topic: Some(topic.to_owned()),
    })
}
