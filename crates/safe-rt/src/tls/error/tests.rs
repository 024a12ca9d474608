use super::*;
use crate::clock::ClockFloor;
use crate::tls::evidence::{FirstBytes, Own, Side};

#[test]
fn causes_are_sorted_by_whose_fault_they_are() {
    let alert = Cause::AlertReceived;
    let table = [
        (
            Cause::InvalidCertificate(CertificateError::UnknownIssuer),
            TlsErrorKind::UnknownIssuer,
        ),
        (
            Cause::InvalidCertificate(CertificateError::Expired),
            TlsErrorKind::Expired,
        ),
        (
            Cause::InvalidCertificate(CertificateError::NotValidYet),
            TlsErrorKind::NotValidYet,
        ),
        (
            Cause::InvalidCertificate(CertificateError::Revoked),
            TlsErrorKind::Revoked,
        ),
        (Cause::NoCertificatesPresented, TlsErrorKind::NoCertificate),
        (
            alert(AlertDescription::CertificateRequired),
            TlsErrorKind::CertificateRefused,
        ),
        (
            alert(AlertDescription::UnknownCA),
            TlsErrorKind::CertificateRefused,
        ),
        (
            alert(AlertDescription::NoApplicationProtocol),
            TlsErrorKind::AlpnNotAgreed,
        ),
        (
            alert(AlertDescription::ProtocolVersion),
            TlsErrorKind::Incompatible,
        ),
        (alert(AlertDescription::InternalError), TlsErrorKind::Alert),
        (
            Cause::InvalidMessage(InvalidMessage::InvalidContentType),
            TlsErrorKind::NotTls,
        ),
        (Cause::DecryptError, TlsErrorKind::Protocol),
        (Cause::FailedToGetRandomBytes, TlsErrorKind::Internal),
    ];
    for (cause, kind) in table {
        assert_eq!(TlsError::from(cause.clone()).kind(), kind, "{cause:?}");
    }
}

#[test]
fn it_is_found_again_behind_other_errors() {
    let io = io::Error::from(TlsError::new(TlsErrorKind::Truncated));
    assert_eq!(io.kind(), io::ErrorKind::UnexpectedEof);
    let outer = crate::Error::new(crate::Phase::Tls, "broker:8883", io);
    let wrapped = io::Error::other(outer);
    let found = TlsError::of(&wrapped).expect("a TLS error two layers down");
    assert_eq!(found.kind(), TlsErrorKind::Truncated);
    assert!(wrapped.to_string().contains("without close_notify"));
    assert!(TlsError::of(&io::Error::other("another")).is_none());
}

#[test]
fn the_text_of_an_alert_names_it_once_and_says_what_it_means() {
    let error = TlsError::from(Cause::AlertReceived(AlertDescription::CertificateRequired));
    assert_eq!(
        error.to_string(),
        "the peer refuses the certificate of this side, or its lack: \
         alert CertificateRequired (116), a certificate is demanded"
    );
}

/// Every kind there is: a new one does not compile here before it is added.
fn kinds() -> Vec<TlsErrorKind> {
    use TlsErrorKind as Kind;
    let mut kinds = vec![Kind::UnknownIssuer];
    while let Some(last) = kinds.last() {
        kinds.push(match last {
            Kind::UnknownIssuer => Kind::NameMismatch,
            Kind::NameMismatch => Kind::Expired,
            Kind::Expired => Kind::NotValidYet,
            Kind::NotValidYet => Kind::Revoked,
            Kind::Revoked => Kind::RevocationUnknown,
            Kind::RevocationUnknown => Kind::PinMismatch,
            Kind::PinMismatch => Kind::BadCertificate,
            Kind::BadCertificate => Kind::NoCertificate,
            Kind::NoCertificate => Kind::CertificateRefused,
            Kind::CertificateRefused => Kind::AlpnNotAgreed,
            Kind::AlpnNotAgreed => Kind::Alert,
            Kind::Alert => Kind::Incompatible,
            Kind::Incompatible => Kind::NotTls,
            Kind::NotTls => Kind::Protocol,
            Kind::Protocol => Kind::ClosedInHandshake,
            Kind::ClosedInHandshake => Kind::Truncated,
            Kind::Truncated => Kind::KeysUsedUp,
            Kind::KeysUsedUp => Kind::SignerFailed,
            Kind::SignerFailed => Kind::Internal,
            Kind::Internal => break,
        });
    }
    kinds
}

fn is_one_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(|each: char| each.is_control()) && !text.contains("  ")
}

#[test]
fn every_kind_says_what_is_wrong_and_what_to_do_in_one_line_each() {
    let causes = [
        AlertDescription::CertificateRequired,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateRevoked,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
        AlertDescription::HandshakeFailure,
        AlertDescription::UnrecognisedName,
        AlertDescription::Unknown(200),
    ];
    let causes = causes.map(|alert| Some(Cause::AlertReceived(alert)));
    for kind in kinds() {
        for cause in causes.iter().chain(&[None]) {
            for side in [None, Some(Side::Client), Some(Side::Server)] {
                let mut error = TlsError::new(kind);
                error.cause.clone_from(cause);
                if let Some(side) = side {
                    let own = Own {
                        side,
                        alpn: vec![b"mqtt".to_vec()],
                        identity: None,
                        floor: ClockFloor::new(),
                    };
                    error = own.explain(error, FirstBytes::default());
                }
                let (text, remedy) = (error.to_string(), error.remedy());
                assert!(is_one_line(&text), "{kind:?}: {text:?}");
                assert!(is_one_line(&remedy) && remedy.ends_with('.'), "{remedy:?}");
                let peer = match side {
                    Some(Side::Client) => "the client ",
                    Some(Side::Server) => "the server ",
                    None => continue,
                };
                assert!(
                    !text.contains(peer),
                    "{text:?} takes one side for the other"
                );
            }
        }
    }
}

#[test]
fn names_that_a_peer_sent_are_shown_as_they_are_bounded_and_in_one_line() {
    let mut presented: Vec<String> = (0..20)
        .map(|n| format!("DnsName(\"host-{n}.test\")"))
        .collect();
    presented[1] = "DnsName(\"x\r\nERROR forged \u{202e}\")".to_owned();
    presented[2] = format!("IpAddress({})", "f".repeat(70_000));
    let mismatch = |presented: &[String]| {
        let expected = "broker.test".try_into().expect("a name");
        let presented = presented.to_vec();
        let found = CertificateError::NotValidForNameContext {
            expected,
            presented,
        };
        TlsError::from(Cause::InvalidCertificate(found)).to_string()
    };
    let text = mismatch(&presented);
    assert!(is_one_line(&text) && text.len() < 1_000, "{text:?}");
    assert!(
        text.contains("asked for \"broker.test\", found \"host-0.test\""),
        "{text:?}"
    );
    assert!(
        text.contains(r#""x\r\nERROR forged \u{202e}", "fff"#),
        "{text:?}"
    );
    assert!(text.ends_with("\"host-7.test\" and 12 more"), "{text:?}");
    assert!(mismatch(&presented[..8]).ends_with("\"host-7.test\""));
    assert!(mismatch(&[]).ends_with("found no name at all (subjectAltName)"));
}
