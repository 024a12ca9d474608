//! The grammar of an endpoint behind its scheme: host, port, the target of a WebSocket, the path
//! of a Unix socket.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    EndpointError, HOST_LEN_MAX, Host, LABEL_LEN_MAX, MQTT_TARGET, TARGET_LEN_MAX,
    UNIX_PATH_LEN_MAX,
};
use crate::address::ShownIpv6;

/// Splits a text at the first such byte of ASCII, which is in neither part. A search for a `char` takes
/// several times as long, and endpoints are short.
pub(super) fn split_at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|other| other == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Splits what follows the host and its port from them, if anything does.
pub(super) fn split_target(text: &str) -> (&str, &str) {
    let is_end = |byte| matches!(byte, b'/' | b'?' | b'#' | b'\\');
    let end = text.bytes().position(is_end).unwrap_or(text.len());
    text.split_at(end)
}

/// Splits `host[:port]` and checks the host; the port is still text.
pub(super) fn split_authority(authority: &str) -> Result<(Host, Option<&str>), EndpointError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (inside, after) = split_at_byte(rest, b']').ok_or(EndpointError::UnclosedBracket)?;
        let address: Ipv6Addr = inside
            .parse()
            .map_err(|_| EndpointError::BadIpv6(inside.to_owned()))?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err(EndpointError::AfterBracket(after.to_owned())),
        };
        let host = Host::Literal(IpAddr::V6(address), ShownIpv6(address).to_string().into());
        return Ok((host, port));
    }
    let (host, port) = match split_at_byte(authority, b':') {
        Some((_, port)) if port.as_bytes().contains(&b':') => {
            return Err(EndpointError::UnbracketedIpv6);
        }
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    Ok((parse_host(host)?, port))
}

/// Checks a host that stands without brackets.
fn parse_host(host: &str) -> Result<Host, EndpointError> {
    if host.is_empty() {
        return Err(EndpointError::NoHost);
    }
    if host.len() > HOST_LEN_MAX {
        return Err(EndpointError::HostTooLong(host.len()));
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if let Some(found) = first_not(host, is_allowed) {
        return Err(EndpointError::BadHostCharacter(found));
    }
    // One dot at the end is the root of the name tree, not an empty label.
    let labels = host.strip_suffix('.').unwrap_or(host);
    let mut last = labels;
    let mut rest = Some(labels);
    while let Some(text) = rest {
        let (label, others) = match split_at_byte(text, b'.') {
            Some((label, others)) => (label, Some(others)),
            None => (text, None),
        };
        if label.is_empty() || label.len() > LABEL_LEN_MAX {
            return Err(EndpointError::BadLabel(label.to_owned()));
        }
        last = label;
        rest = others;
    }
    // No top-level domain is a number, so `256.1.1.1` is a mistyped address and not a name.
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        let address: Ipv4Addr = host
            .parse()
            .map_err(|_| EndpointError::BadIpv4(host.to_owned()))?;
        return Ok(Host::Literal(IpAddr::V4(address), host.into()));
    }
    Ok(Host::Name(host.into()))
}

/// The first character that is not allowed, where only ASCII may be.
fn first_not(text: &str, is_allowed: impl Fn(u8) -> bool) -> Option<char> {
    let at = text.bytes().position(|byte| !is_allowed(byte))?;
    // All before it is ASCII, so that a character begins there.
    text[at..].chars().next()
}

/// Parses a port; a sign, a blank or zero is not one.
pub(super) fn parse_port(text: &str) -> Result<u16, EndpointError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Where somebody forgot what comes behind `user:password`.
        return Err(EndpointError::BadPort(String::new()));
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(EndpointError::BadPort(text.to_owned())),
        Ok(port) => Ok(port),
    }
}

/// Checks the path and query of a WebSocket (RFC 3986 sections 3.3 and 3.4) and makes them what a
/// request asks for: a path that is not written is [`MQTT_TARGET`].
pub(super) fn parse_target(text: &str) -> Result<Box<str>, EndpointError> {
    if text.as_bytes().contains(&b'#') {
        return Err(EndpointError::Fragment);
    }
    let target = match text.as_bytes().first() {
        Some(b'/') => text.to_owned(),
        None | Some(b'?') => format!("{MQTT_TARGET}{text}"),
        Some(_) => return Err(EndpointError::Path(without_query(text))),
    };
    if target.len() > TARGET_LEN_MAX {
        return Err(EndpointError::TargetTooLong(target.len()));
    }
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    if let Some(found) = first_not(&target, is_allowed) {
        return Err(EndpointError::BadTargetCharacter(found));
    }
    let encoded = |rest: &[u8]| {
        let digits = rest.get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let parts = target.as_bytes().split(|&byte| byte == b'%');
    if !parts.skip(1).all(encoded) {
        return Err(EndpointError::BadPercentEncoding);
    }
    Ok(target.into())
}

/// Checks the path of a Unix socket. It is taken as it stands: nothing in it is encoded.
pub(super) fn parse_unix_path(text: &str) -> Result<Box<str>, EndpointError> {
    if !text.starts_with('/') {
        return Err(EndpointError::NotAbsolute(text.to_owned()));
    }
    if text.ends_with('/') {
        return Err(EndpointError::NoFile(text.to_owned()));
    }
    if text.len() > UNIX_PATH_LEN_MAX {
        return Err(EndpointError::UnixPathTooLong(text.len()));
    }
    if text.as_bytes().contains(&0) {
        return Err(EndpointError::NulInPath);
    }
    Ok(text.into())
}

/// A path without what its query holds, which may be a signature.
pub(super) fn without_query(text: &str) -> String {
    match split_at_byte(text, b'?') {
        Some((path, _)) => format!("{path}?..."),
        None => text.to_owned(),
    }
}
