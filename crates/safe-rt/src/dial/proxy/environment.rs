//! The proxy that the environment names, by the rules that curl documents. It is read only when it
//! is asked for.

use core::net::IpAddr;
use std::ffi::OsString;

use super::{Proxy, ProxyUrlError};
use crate::endpoint::{Endpoint, Scheme};

/// Proxies as environment variables name them, read at one moment.
///
/// For an endpoint the first of these that is set and not empty counts, the name in small letters
/// before that in capitals:
///
/// 1. the one of its scheme: `mqtt_proxy`, `mqtts_proxy`, `ws_proxy`, `wss_proxy`;
/// 2. where there is TLS `https_proxy`; for `ws` `http_proxy`, in small letters alone, because a web
///    server sets the other one for its programs from what a client says;
/// 3. `all_proxy`.
///
/// None of them counts for a host in `no_proxy`, a list with commas or blanks between its entries:
/// `*` for every host; a name, with or without a dot or `*.` in front, for that host and all below
/// it; an address; or a network as `192.0.2.0/24`. What is none of these is passed over with a line
/// in the log. A Unix socket has no proxy.
#[derive(Clone, Debug, Default)]
pub struct ProxyEnvironment {
    /// What the variables hold, by their names.
    variables: Vec<(String, Result<Proxy, ProxyUrlError>)>,
    exceptions: Vec<Exception>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    All,
    /// In small letters, without a dot at either end.
    Name(String),
    /// The first bits of an address.
    Network(IpAddr, u8),
}

impl ProxyEnvironment {
    /// Reads the environment of this process.
    #[must_use]
    pub fn from_env() -> Self {
        Self::read_raw(|name| std::env::var_os(name))
    }

    /// Reads what `lookup` answers for the names of variables.
    ///
    /// # Examples
    /// ```
    /// use safe_rt::{Endpoint, ProxyEnvironment};
    ///
    /// let environment = ProxyEnvironment::read(|name| match name {
    ///     "https_proxy" => Some("http://proxy.example:3128".to_owned()),
    ///     "no_proxy" => Some("plant.example".to_owned()),
    ///     _ => None,
    /// });
    /// let proxy_of = |text: &str| {
    ///     let endpoint: Endpoint = text.parse().expect("an endpoint");
    ///     environment.proxy_for(&endpoint).expect("a valid proxy").map(ToString::to_string)
    /// };
    /// assert_eq!(proxy_of("mqtts://broker.example").as_deref(), Some("http://proxy.example:3128"));
    /// assert_eq!(proxy_of("mqtts://broker.plant.example"), None);
    /// assert_eq!(proxy_of("mqtt://broker.example"), None);
    /// ```
    #[must_use]
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self::read_raw(|name| lookup(name).map(OsString::from))
    }

    fn read_raw(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| {
            let value = lookup(name).map(OsString::into_string);
            value.filter(|value| !value.as_ref().is_ok_and(|value| value.trim().is_empty()))
        };
        let schemes = [Scheme::Mqtt, Scheme::Mqtts, Scheme::Ws, Scheme::Wss];
        let mut variables = Vec::new();
        for name in schemes.into_iter().flat_map(names) {
            let is_new = variables.iter().all(|(known, _)| *known != name);
            if let Some(value) = set(&name).filter(|_| is_new) {
                let value = value.map_err(|_| ProxyUrlError::NotUtf8);
                variables.push((name, value.and_then(|value| value.trim().parse())));
            }
        }
        let exceptions = set("no_proxy").or_else(|| set("NO_PROXY")).map(|list| {
            // Of a list that is not UTF-8 the entries count that are.
            list.unwrap_or_else(|raw| raw.to_string_lossy().into_owned())
        });
        let (exceptions, odd) = exceptions_of(exceptions.as_deref().unwrap_or_default());
        if !odd.is_empty() {
            log::warn!("no_proxy: {odd:?} name no hosts and are passed over");
        }
        Self {
            variables,
            exceptions,
        }
    }

    /// Returns the proxy for `endpoint`, if it has one.
    ///
    /// # Errors
    /// The variable that counts for it does not hold a proxy.
    pub fn proxy_for(&self, endpoint: &Endpoint) -> Result<Option<&Proxy>, ProxyUrlError> {
        let Some(at) = endpoint.host_port() else {
            return Ok(None);
        };
        let address = at.literal().map(|address| address.ip());
        let excepted = |exception: &Exception| exception.covers(at.host(), address);
        if self.exceptions.iter().any(excepted) {
            return Ok(None);
        }
        let counts = names(endpoint.scheme())
            .into_iter()
            .find_map(|name| self.variables.iter().find(|(known, _)| *known == name));
        match counts {
            None => Ok(None),
            Some((_, Ok(proxy))) => Ok(Some(proxy)),
            Some((_, Err(error))) => Err(error.clone()),
        }
    }
}

/// The variables that count for a scheme, the first one that is set.
fn names(scheme: Scheme) -> Vec<String> {
    let own = format!("{}_proxy", scheme.as_str());
    let own_capitals = own.to_ascii_uppercase();
    let web: &[&str] = match scheme {
        Scheme::Mqtts | Scheme::Wss => &["https_proxy", "HTTPS_PROXY"],
        Scheme::Ws => &["http_proxy"],
        Scheme::Mqtt | Scheme::Unix => &[],
    };
    let others = web.iter().chain(&["all_proxy", "ALL_PROXY"]);
    let others = others.map(|&name| name.to_owned());
    [own, own_capitals].into_iter().chain(others).collect()
}

/// Returns who is excepted, and the entries that nobody can make something of.
fn exceptions_of(list: &str) -> (Vec<Exception>, Vec<&str>) {
    let words = list.split([',', ' ', '\t']).filter(|word| !word.is_empty());
    let (mut exceptions, mut odd) = (Vec::new(), Vec::new());
    for word in words {
        match Exception::parse(word) {
            Some(exception) => exceptions.push(exception),
            None => odd.push(word),
        }
    }
    (exceptions, odd)
}

impl Exception {
    /// What is neither an address nor a network is a name, if it can be one.
    fn parse(word: &str) -> Option<Self> {
        if word == "*" {
            return Some(Self::All);
        }
        let (address, bits) = match word.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (word, None),
        };
        let inside = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
        if let Ok(address) = inside.unwrap_or(address).parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), str::parse).ok()?;
            return (bits <= most).then_some(Self::Network(address, bits));
        }
        let below = word.strip_prefix("*.").unwrap_or(word);
        let name = below.trim_matches('.').to_ascii_lowercase();
        let is_name = !name.is_empty() && !name.contains(['/', '*', char::REPLACEMENT_CHARACTER]);
        is_name.then_some(Self::Name(name))
    }

    fn covers(&self, host: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::All, _) => true,
            (Self::Name(name), None) => {
                let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                match host.strip_suffix(name.as_str()) {
                    Some(above) => above.is_empty() || above.ends_with('.'),
                    None => false,
                }
            }
            (Self::Network(IpAddr::V4(network), bits), Some(IpAddr::V4(address))) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                (network.to_bits() ^ address.to_bits()) & mask == 0
            }
            (Self::Network(IpAddr::V6(network), bits), Some(IpAddr::V6(address))) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                (network.to_bits() ^ address.to_bits()) & mask == 0
            }
            (Self::Name(_) | Self::Network(..), _) => false,
        }
    }
}

#[cfg(test)]
mod tests;
