//! Certificates that are refused: by whom, when it shows, and what both sides say.

use std::io::{self, Write};

use safe_rt::{
    ClientTlsOptions, Error, Phase, ServerTlsOptions, Socket, TlsError, TlsErrorKind, TlsVersion,
};

use crate::bystanders::among_bystanders;
use crate::pki::{Authority, Leaf, SERVER_NAME, Validity, authority_and_server};
use crate::support::{ROOMY, options, read_text, shake, shake_over};

pub(crate) const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

#[track_caller]
pub(crate) fn kind(error: &Error) -> TlsErrorKind {
    assert_eq!(error.phase(), Phase::Tls);
    TlsError::of(error)
        .unwrap_or_else(|| panic!("{error}"))
        .kind()
}

/// Lets a client that trusts `authority` meet a server with `leaf`, and returns both errors.
#[track_caller]
fn refused(version: TlsVersion, authority: &Authority, leaf: &Leaf) -> (Error, Error) {
    let client = ClientTlsOptions::new(authority.trust())
        .version(version)
        .build();
    let server = ServerTlsOptions::new(leaf.identity()).build();
    let (client, server) = (client.expect("options"), server.expect("options"));
    let (client, server) = shake(&client, &server, ROOMY);
    (client.expect_err("refused"), server.expect_err("refused"))
}

#[test]
fn an_unknown_authority_is_refused() {
    for version in VERSIONS {
        among_bystanders(move || {
            let (_, server) = authority_and_server();
            let (client, server) = refused(version, &Authority::new("another"), &server);
            assert_eq!(kind(&client), TlsErrorKind::UnknownIssuer);
            // The server learns why.
            assert_eq!(kind(&server), TlsErrorKind::CertificateRefused);
            assert!(server.to_string().contains("alert UnknownCA"), "{server}");
        });
    }
}

#[test]
fn an_authority_of_the_same_name_but_another_key_is_refused() {
    among_bystanders(|| {
        let (_, server) = authority_and_server();
        let (client, _) = refused(
            TlsVersion::Tls13,
            &Authority::new("test authority"),
            &server,
        );
        assert!(
            matches!(
                kind(&client),
                TlsErrorKind::BadCertificate | TlsErrorKind::UnknownIssuer
            ),
            "{client}"
        );
    });
}

#[test]
fn a_certificate_that_only_itself_vouches_for_is_refused() {
    for version in VERSIONS {
        among_bystanders(move || {
            let made = rcgen::generate_simple_self_signed(vec![SERVER_NAME.to_owned()]);
            let made = made.expect("a certificate");
            let leaf = Leaf {
                chain: made.cert.pem(),
                key: made.signing_key.serialize_pem(),
                // Of no interest: no list is asked.
                serial: rcgen::SerialNumber::from(0),
            };
            let (client, server) = refused(version, &Authority::new("another"), &leaf);
            assert_eq!(kind(&client), TlsErrorKind::UnknownIssuer, "{client}");
            assert_eq!(kind(&server), TlsErrorKind::CertificateRefused, "{server}");
        });
    }
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    for (version, asked) in VERSIONS.into_iter().zip(["other.test", "192.0.2.1"]) {
        among_bystanders(move || {
            let (client, server) = options();
            let client = client.version(version).build().expect("options");
            let server = server.build().expect("options");
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let (client, server) = shake_over(&client, &server, ours, theirs, asked);
            let (client, server) = (client.expect_err("refused"), server.expect_err("refused"));
            assert_eq!(kind(&client), TlsErrorKind::NameMismatch);
            let text = client.to_string();
            assert!(text.contains(asked) && text.contains(SERVER_NAME), "{text}");
            assert_eq!(kind(&server), TlsErrorKind::CertificateRefused);
        });
    }
}

#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let cases = [
        (Validity(2000, 2001), TlsErrorKind::Expired),
        (Validity(2099, 2100), TlsErrorKind::NotValidYet),
    ];
    for (validity, expected) in cases {
        among_bystanders(move || {
            let authority = Authority::new("test authority");
            let server = authority.server(&[SERVER_NAME], validity);
            let (client, _) = refused(TlsVersion::Tls13, &authority, &server);
            assert_eq!(kind(&client), expected);
            assert!(
                client
                    .to_string()
                    .contains("the clock of this device says "),
                "{client}"
            );
        });
    }
}

#[test]
fn validity_follows_the_clock_of_the_runtime() {
    among_bystanders(|| {
        // Valid until the year 2100: far beyond it the same certificate has expired.
        let (authority, server) = authority_and_server();
        fiber::sleep(std::time::Duration::from_secs(100 * 366 * 86_400)).expect("no scope is over");
        let (client, _) = refused(TlsVersion::Tls13, &authority, &server);
        assert_eq!(kind(&client), TlsErrorKind::Expired);
    });
}

#[test]
fn a_certificate_for_another_purpose_is_refused() {
    among_bystanders(|| {
        let authority = Authority::new("test authority");
        let (client, _) = refused(
            TlsVersion::Tls13,
            &authority,
            &authority.client(SERVER_NAME),
        );
        assert_eq!(kind(&client), TlsErrorKind::BadCertificate);
        assert!(
            client.to_string().contains("client authentication"),
            "{client}"
        );
    });
}

/// What a client meets whose certificate is missing or bad.
fn demanding(version: TlsVersion, identity: bool) -> (Result<Socket, Error>, Error) {
    let (client, server) = options();
    let wanted = Authority::new("client authority");
    let client = if identity {
        client.identity(Authority::new("another").client("device.test").identity())
    } else {
        client
    };
    let client = client.version(version).build().expect("options");
    let server = server
        .require_client_certificate(wanted.trust())
        .build()
        .expect("options");
    let (client, server) = shake(&client, &server, ROOMY);
    (client, server.expect_err("refused"))
}

#[test]
fn with_tls_12_a_refused_client_fails_in_the_handshake() {
    for (identity, found) in [
        (false, TlsErrorKind::NoCertificate),
        (true, TlsErrorKind::UnknownIssuer),
    ] {
        among_bystanders(move || {
            let (client, server) = demanding(TlsVersion::Tls12, identity);
            assert_eq!(
                kind(&client.expect_err("refused")),
                TlsErrorKind::CertificateRefused
            );
            assert_eq!(kind(&server), found);
        });
    }
}

#[track_caller]
fn says_refused(error: &io::Error) {
    let found = TlsError::of(error).unwrap_or_else(|| panic!("{error}"));
    assert_eq!(found.kind(), TlsErrorKind::CertificateRefused);
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert!(
        error.to_string().starts_with("the server refuses "),
        "{error}"
    );
}

#[test]
fn with_tls_13_a_refused_client_learns_it_at_the_first_read() {
    for (identity, found, alert) in [
        (false, TlsErrorKind::NoCertificate, "CertificateRequired"),
        (true, TlsErrorKind::UnknownIssuer, "UnknownCA"),
    ] {
        among_bystanders(move || {
            let (client, server) = demanding(TlsVersion::Tls13, identity);
            assert_eq!(kind(&server), found);
            let client = client.expect("the client's side of the handshake is done");
            for _ in 0..2 {
                let error = read_text(&client).expect_err("refused");
                says_refused(&error);
                assert!(error.to_string().contains(alert), "{error}");
            }
            says_refused(&(&client).write(b"x").expect_err("refused"));
        });
    }
}

#[test]
fn with_tls_13_a_refused_client_that_writes_first_learns_it_too() {
    among_bystanders(|| {
        let (client, _) = demanding(TlsVersion::Tls13, false);
        let client = client.expect("the client's side of the handshake is done");
        // The server is gone: the transport refuses the bytes, and the alert still explains it.
        let outcome = (&client)
            .write_all(b"CONNECT")
            .and_then(|()| (&client).flush());
        says_refused(&outcome.expect_err("refused"));
    });
}

#[test]
fn sides_without_a_version_in_common_say_so() {
    for (one, other) in [
        (TlsVersion::Tls12, TlsVersion::Tls13),
        (TlsVersion::Tls13, TlsVersion::Tls12),
    ] {
        among_bystanders(move || {
            let (client, server) = options();
            let client = client.version(one).build().expect("options");
            let server = server.version(other).build().expect("options");
            let (client, server) = shake(&client, &server, ROOMY);
            assert_eq!(
                kind(&client.expect_err("refused")),
                TlsErrorKind::Incompatible
            );
            assert_eq!(
                kind(&server.expect_err("refused")),
                TlsErrorKind::Incompatible
            );
        });
    }
}

#[test]
fn a_name_that_no_server_can_have_is_refused_before_anything_is_sent() {
    among_bystanders(|| {
        let (client, _) = options();
        let client = client.build().expect("options");
        let (ours, _theirs) = fiber::net::pipe(ROOMY);
        let before = fiber::stats().bytes_written;
        let error = Socket::tls_client(ours, &client, "not a name").expect_err("no name");
        assert_eq!(error.io().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(fiber::stats().bytes_written, before);
    });
}

#[test]
fn the_alert_gets_through_a_narrow_pipe() {
    among_bystanders(|| {
        let (_, server) = authority_and_server();
        let client = ClientTlsOptions::new(Authority::new("another").trust()).build();
        let server = ServerTlsOptions::new(server.identity()).build();
        let (client, server) = (client.expect("options"), server.expect("options"));
        let (client, server) = shake(&client, &server, 1);
        assert_eq!(
            kind(&client.expect_err("refused")),
            TlsErrorKind::UnknownIssuer
        );
        assert_eq!(
            kind(&server.expect_err("refused")),
            TlsErrorKind::CertificateRefused
        );
    });
}
