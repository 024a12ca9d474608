//! From an error of the connection to its code.

use std::io;

use mqtt::session::CloseCause;
use mqtt::{ConnectReason, EndCause};
use safe_rt::{DialRefusal, DnsError, Phase, ProxyError, TlsError, TlsErrorKind};

/// Returns the code of an end of the connection; none if the program wanted it to end.
#[must_use]
pub fn code_of_end(end: &EndCause) -> Option<&'static str> {
    match end {
        EndCause::Dial(error) => Some(code_of_dial(error)),
        EndCause::Credentials(_) => Some("T097"),
        EndCause::Argument(_) => Some("T098"),
        EndCause::Refused(reason) => Some(code_of_refusal(*reason)),
        EndCause::ClosedByPeer => Some("T090"),
        EndCause::Transport(error) => Some(match TlsError::of(error) {
            Some(tls) => code_of_tls(tls.kind()),
            None => "T093",
        }),
        EndCause::Malformed(_) => Some("T094"),
        EndCause::Peer(_) => Some("T095"),
        EndCause::Dead(cause) => match cause {
            CloseCause::ConnAckTimeout => Some("T085"),
            CloseCause::PingTimeout => Some("T091"),
            CloseCause::WriteStall | CloseCause::DisconnectTimeout => Some("T092"),
            CloseCause::Refused(reason) => Some(code_of_refusal(*reason)),
            CloseCause::Disconnected | CloseCause::Rested => None,
            _ => Some("T093"),
        },
        EndCause::Overrun { .. } => Some("T096"),
        EndCause::Panicked => Some("T099"),
        EndCause::Closed | EndCause::Idle | EndCause::Paused => None,
        _ => Some("T093"),
    }
}

/// Returns the code of a connection that did not come about.
#[must_use]
pub fn code_of_dial(error: &safe_rt::Error) -> &'static str {
    if DialRefusal::of(error).is_some() {
        return "T001";
    }
    if let Some(proxy) = ProxyError::of(error) {
        return code_of_proxy(proxy);
    }
    if let Some(tls) = TlsError::of(error) {
        return code_of_tls(tls.kind());
    }
    match error.phase() {
        Phase::Resolve => code_of_look_up(error),
        Phase::Proxy if error.is_timeout() => "T042",
        Phase::Tls if error.is_timeout() => "T066",
        Phase::Tls => "T060",
        Phase::WebSocket => "T070",
        _ => code_of_connect(error.io(), error.is_timeout()),
    }
}

fn code_of_look_up(error: &safe_rt::Error) -> &'static str {
    let payload = error.io().get_ref();
    match payload.and_then(|payload| payload.downcast_ref()) {
        Some(DnsError::NoSuchName | DnsError::NoAddress | DnsError::TooManyAliases) => "T020",
        // The system's resolver does not tell the two apart.
        _ => "T021",
    }
}

fn code_of_connect(error: &io::Error, timed_out: bool) -> &'static str {
    match error.kind() {
        _ if timed_out => "T031",
        io::ErrorKind::TimedOut => "T031",
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => "T030",
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => "T010",
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => "T032",
        _ => "T033",
    }
}

const fn code_of_proxy(error: &ProxyError) -> &'static str {
    match error {
        ProxyError::CredentialsWanted
        | ProxyError::CredentialsRefused
        | ProxyError::BasicNotOffered => "T040",
        ProxyError::Forbidden => "T041",
        ProxyError::NotHttp | ProxyError::HeadTooLong | ProxyError::Closed => "T043",
        _ => "T042",
    }
}

/// Returns the code of a failure of TLS.
#[must_use]
pub const fn code_of_tls(kind: TlsErrorKind) -> &'static str {
    match kind {
        TlsErrorKind::UnknownIssuer => "T050",
        TlsErrorKind::NameMismatch => "T051",
        TlsErrorKind::Expired => "T052",
        TlsErrorKind::NotValidYet => "T053",
        TlsErrorKind::Revoked | TlsErrorKind::RevocationUnknown => "T054",
        TlsErrorKind::PinMismatch => "T055",
        TlsErrorKind::BadCertificate | TlsErrorKind::NoCertificate => "T056",
        TlsErrorKind::AlpnNotAgreed => "T057",
        TlsErrorKind::NotTls => "T058",
        TlsErrorKind::Incompatible => "T059",
        TlsErrorKind::ClosedInHandshake => "T060",
        TlsErrorKind::CertificateRefused => "T061",
        TlsErrorKind::Alert => "T062",
        TlsErrorKind::Protocol | TlsErrorKind::Truncated | TlsErrorKind::KeysUsedUp => "T063",
        TlsErrorKind::SignerFailed => "T064",
        _ => "T065",
    }
}

/// Returns the code of a refused CONNECT (MQTT3-3.2.2.3).
#[must_use]
pub const fn code_of_refusal(reason: ConnectReason) -> &'static str {
    match reason {
        ConnectReason::UnacceptableProtocolVersion => "T080",
        ConnectReason::IdentifierRejected => "T081",
        ConnectReason::ServerUnavailable => "T082",
        ConnectReason::BadUserNameOrPassword => "T083",
        _ => "T084",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::find;

    fn dial(phase: Phase, error: impl Into<io::Error>) -> EndCause {
        EndCause::Dial(safe_rt::Error::new(phase, "broker:8883", error.into()))
    }

    #[test]
    fn every_end_that_nobody_wanted_has_an_explanation() {
        let late = || io::Error::from(fiber::Stopped::TimedOut);
        let table = [
            (dial(Phase::Resolve, DnsError::NoSuchName), "T020"),
            (dial(Phase::Resolve, DnsError::NoAnswer), "T021"),
            (dial(Phase::Resolve, late()), "T021"),
            (
                dial(Phase::Connect, io::ErrorKind::ConnectionRefused),
                "T030",
            ),
            (dial(Phase::Connect, late()), "T031"),
            (dial(Phase::Connect, io::ErrorKind::ConnectionReset), "T032"),
            (dial(Phase::Connect, io::ErrorKind::HostUnreachable), "T010"),
            (
                dial(Phase::Connect, io::ErrorKind::AddrNotAvailable),
                "T033",
            ),
            (dial(Phase::Proxy, late()), "T042"),
            (dial(Phase::Tls, late()), "T066"),
            (dial(Phase::Tls, io::ErrorKind::ConnectionReset), "T060"),
            (dial(Phase::WebSocket, io::ErrorKind::InvalidData), "T070"),
            (EndCause::Refused(ConnectReason::NotAuthorized), "T084"),
            (EndCause::ClosedByPeer, "T090"),
            (
                EndCause::Transport(io::ErrorKind::ConnectionReset.into()),
                "T093",
            ),
            (EndCause::Dead(CloseCause::ConnAckTimeout), "T085"),
            (EndCause::Dead(CloseCause::PingTimeout), "T091"),
            (EndCause::Dead(CloseCause::WriteStall), "T092"),
            (EndCause::Panicked, "T099"),
        ];
        for (end, code) in table {
            assert_eq!(code_of_end(&end), Some(code), "{end}");
            assert!(find(code).is_some(), "{code}");
        }
        for end in [EndCause::Closed, EndCause::Idle, EndCause::Paused] {
            assert_eq!(code_of_end(&end), None, "{end}");
        }
    }

    #[test]
    fn a_dial_that_the_settings_forbid_and_what_a_proxy_says_have_codes_of_their_own() {
        let endpoint = "mqtts://broker".parse().unwrap();
        let refused = safe_rt::dial(&endpoint, &safe_rt::DialOptions::new()).unwrap_err();
        assert_eq!(code_of_dial(&refused), "T001");
        for (error, code) in [
            (ProxyError::CredentialsWanted, "T040"),
            (ProxyError::Forbidden, "T041"),
            (ProxyError::BadGateway, "T042"),
            (ProxyError::NotHttp, "T043"),
        ] {
            assert_eq!(code_of_proxy(&error), code);
            assert!(find(code).is_some(), "{code}");
        }
    }

    #[test]
    fn every_kind_of_failure_of_tls_and_every_refusal_is_explained() {
        let kinds = [
            TlsErrorKind::UnknownIssuer,
            TlsErrorKind::NameMismatch,
            TlsErrorKind::Expired,
            TlsErrorKind::NotValidYet,
            TlsErrorKind::Revoked,
            TlsErrorKind::RevocationUnknown,
            TlsErrorKind::PinMismatch,
            TlsErrorKind::BadCertificate,
            TlsErrorKind::NoCertificate,
            TlsErrorKind::CertificateRefused,
            TlsErrorKind::AlpnNotAgreed,
            TlsErrorKind::Alert,
            TlsErrorKind::Incompatible,
            TlsErrorKind::NotTls,
            TlsErrorKind::Protocol,
            TlsErrorKind::ClosedInHandshake,
            TlsErrorKind::Truncated,
            TlsErrorKind::KeysUsedUp,
            TlsErrorKind::SignerFailed,
            TlsErrorKind::Internal,
        ];
        for kind in kinds {
            assert!(find(code_of_tls(kind)).is_some(), "{kind:?}");
        }
        for code in 1..=5 {
            let reason = ConnectReason::from_code(code).expect("a refusal");
            assert!(find(code_of_refusal(reason)).is_some(), "{reason:?}");
        }
    }
}
