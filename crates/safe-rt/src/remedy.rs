//! What a person can do about a connection that did not come about.

use std::borrow::Cow;
use std::io;

use crate::dial::{DialRefusal, ProxyError};
use crate::error::{Error, Phase};

impl Error {
    /// Returns what a person can do about it, in one sentence, if there is something to say beyond
    /// the text of the error.
    ///
    /// # Examples
    /// ```
    /// let endpoint = "mqtts://broker.example".parse()?;
    /// let options = safe_rt::DialOptions::new();
    /// let error = safe_rt::dial(&endpoint, &options).expect_err("no TLS options");
    /// assert!(error.remedy().expect("one").contains("trusted"));
    /// # Ok::<(), safe_rt::EndpointError>(())
    /// ```
    #[must_use]
    pub fn remedy(&self) -> Option<Cow<'static, str>> {
        if let Some(refusal) = DialRefusal::of(self) {
            return Some(of_refusal(refusal).into());
        }
        if let Some(error) = ProxyError::of(self) {
            return Some(of_proxy(error).into());
        }
        #[cfg(feature = "tls")]
        if let Some(error) = crate::TlsError::of(self) {
            return Some(error.remedy());
        }
        #[cfg(feature = "ws")]
        if let Some(error) = crate::WsError::of(self) {
            return Some(error.remedy());
        }
        match fiber::cause(self) {
            Some(fiber::Stopped::TimedOut) => Some(of_timeout(self.phase()).into()),
            Some(_) => None,
            None => of_kind(self.phase(), self.io().kind()).map(Into::into),
        }
    }
}

const fn of_refusal(refusal: &DialRefusal) -> &'static str {
    match refusal {
        DialRefusal::TlsForPlain(_) => {
            "Write mqtts:// (or wss://) if the broker speaks TLS, else leave out the TLS options."
        }
        DialRefusal::TlsMissing(_) => {
            "Say which authorities are trusted, for example with a file of their certificates."
        }
        DialRefusal::NoWebSocket(_) => "Build the program with the feature ws.",
        DialRefusal::WsForOther(_) => {
            "Write ws:// or wss:// if the broker speaks WebSocket, else leave out its options."
        }
        DialRefusal::ProxyForUnix => "Leave out the proxy.",
        DialRefusal::ProxyUrl(_) => {
            "Correct the variable (for example https_proxy) to http://HOST:PORT, or unset it."
        }
        DialRefusal::NoInterfaces => {
            "Leave out the network interface, or give the local address of it instead."
        }
        DialRefusal::BadInterface(_) => {
            "Give the name of an interface as `ip link` shows it, for example wwan0."
        }
    }
}

const fn of_proxy(error: &ProxyError) -> &'static str {
    match error {
        ProxyError::CredentialsWanted => {
            "Give the user name and the password: http://USER:PASSWORD@HOST:PORT."
        }
        ProxyError::CredentialsRefused => {
            "Check the user name and the password of the proxy; special characters in them are \
             percent-encoded."
        }
        ProxyError::BasicNotOffered => {
            "Have the proxy allow Basic authentication, or let this device pass without one."
        }
        ProxyError::Forbidden => {
            "Have the proxy's administrator allow CONNECT to this host and port."
        }
        ProxyError::BadGateway | ProxyError::GatewayTimeout => {
            "Check the name and the port of the broker, and whether the proxy can reach it."
        }
        ProxyError::Status { .. } => "Look for this attempt in the log of the proxy.",
        ProxyError::NotHttp | ProxyError::HeadTooLong | ProxyError::Closed => {
            "Check the host and the port of the proxy: an HTTP proxy must listen there, without TLS."
        }
    }
}

const fn of_timeout(phase: Phase) -> &'static str {
    match phase {
        Phase::Resolve => {
            "Check the network and its name servers; give the name server's answer more time if the \
             link is slow."
        }
        Phase::Connect => {
            "Nothing answers at this address: check it, the route to it, and whether a firewall \
             drops this port."
        }
        Phase::Proxy => "The proxy accepts connections and does not answer: check the proxy.",
        Phase::Tls => {
            "The port is open but does not speak TLS in time: check the port, or whether a \
             middlebox drops large packets (path MTU)."
        }
        Phase::WebSocket => {
            "The server does not answer the request for a WebSocket: check the port and the path."
        }
        Phase::Accept | Phase::Bind => "Give it more time.",
    }
}

const fn of_kind(phase: Phase, kind: io::ErrorKind) -> Option<&'static str> {
    match (phase, kind) {
        (Phase::Resolve, _) => Some(
            "Check the spelling of the name, and whether the name servers of this network know it.",
        ),
        (Phase::Connect, io::ErrorKind::ConnectionRefused) => Some(
            "Nobody listens at this port, or a firewall refuses it: check the port and whether the \
             server runs.",
        ),
        (Phase::Connect, io::ErrorKind::NotFound) => Some(
            "There is no such socket or interface: check its name and whether the server runs.",
        ),
        (Phase::Connect, io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            Some("There is no route to this address: check that the link is up and has a gateway.")
        }
        (Phase::Connect | Phase::Bind, io::ErrorKind::AddrNotAvailable) => Some(
            "This machine does not have the local address, or none of the family of the other end.",
        ),
        (Phase::Connect | Phase::Bind, io::ErrorKind::PermissionDenied) => {
            Some("The system forbids it: check the rights of this program, and its own firewall.")
        }
        (Phase::Bind, io::ErrorKind::AddrInUse) => {
            Some("Another program listens there: end it, or choose another port.")
        }
        (
            Phase::Connect | Phase::Proxy,
            io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut,
        ) => Some(
            "The other end, or a firewall on the way, broke the connection off: check the address \
             and the port.",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedy(phase: Phase, source: impl Into<io::Error>) -> Option<Cow<'static, str>> {
        Error::new(phase, "broker:8883", source.into()).remedy()
    }

    #[test]
    fn a_remedy_fits_phase_and_cause() {
        use fiber::Stopped::{Cancelled, TimedOut};
        use io::ErrorKind::{AddrInUse, ConnectionRefused, NotFound, Other};
        let table = [
            (remedy(Phase::Connect, ConnectionRefused), "Nobody listens"),
            (remedy(Phase::Connect, TimedOut), "firewall drops"),
            (remedy(Phase::Resolve, Other), "spelling"),
            (remedy(Phase::Resolve, TimedOut), "name servers"),
            (remedy(Phase::Connect, NotFound), "no such socket"),
            (remedy(Phase::Bind, AddrInUse), "Another program"),
            (remedy(Phase::Proxy, TimedOut), "check the proxy"),
            (
                remedy(Phase::Proxy, ProxyError::CredentialsWanted),
                "USER:PASSWORD",
            ),
            (
                remedy(Phase::Proxy, ProxyError::BadGateway),
                "port of the broker",
            ),
            (remedy(Phase::Tls, TimedOut), "does not speak TLS"),
        ];
        for (found, expected) in table {
            let found = found.expect(expected);
            assert!(found.contains(expected), "{found}");
            assert!(found.ends_with('.') && !found.contains('\n'), "{found}");
        }
        assert_eq!(remedy(Phase::Connect, Cancelled), None);
        assert_eq!(remedy(Phase::WebSocket, Other), None);
    }
}
