//! Peers that refuse this side, agree on nothing, hang up, or speak something else.

use std::io::{Read, Write};

use safe_rt::{ClientTlsOptions, Identity, Socket, TlsErrorKind};

use super::{meet, told};
use crate::pki::{Authority, SERVER_NAME};
use crate::refusal::VERSIONS;
use crate::support::{ROOMY, options, paused, shake};

#[test]
fn a_demanded_protocol_that_is_not_agreed_on_is_shown() {
    for version in VERSIONS {
        paused(move || {
            let offering =
                |options: ClientTlsOptions| options.alpn(["mqtt", "x-other"]).require_alpn();
            let (client, server) = options();
            let (client, _) = meet(version, offering(client), server, SERVER_NAME);
            client.expect("refused").expect(
                TlsErrorKind::AlpnNotAgreed,
                "no application protocol was agreed on (ALPN): offered \"mqtt\", \"x-other\", and the \
                 server chose none",
                "or demand none",
            );
            let (client, server) = options();
            let (client, server) =
                meet(version, offering(client), server.alpn(["h2"]), SERVER_NAME);
            client.expect("refused").expect(
                TlsErrorKind::AlpnNotAgreed,
                "no application protocol was agreed on (ALPN): offered \"mqtt\", \"x-other\": alert \
                 NoApplicationProtocol (120), none of the protocols offered is spoken",
                "Offer the protocol that the server documents",
            );
            server.expect("refused").expect(
                TlsErrorKind::AlpnNotAgreed,
                "no application protocol was agreed on (ALPN): the client offered none of \"h2\"",
                "Have the client offer a protocol of this server",
            );
        });
    }
}

#[test]
fn a_refused_client_is_told_what_was_wrong_with_its_certificate() {
    let ours = "\"CN=device.test\" (issued by \"CN=another\", valid from 2000-01-01 00:00:00 UTC until \
                2100-01-01 00:00:00 UTC)";
    for version in VERSIONS {
        paused(move || {
            let demanding = |identity: Option<Identity>| {
                let (client, server) = options();
                let server = server.require_client_certificate(Authority::new("clients").trust());
                let client = match identity {
                    Some(identity) => client.identity(identity),
                    None => client,
                };
                meet(version, client, server, SERVER_NAME)
            };
            let (client, server) = demanding(None);
            client.expect("refused").expect(
                TlsErrorKind::CertificateRefused,
                "the server refuses this client, which has no certificate to show: alert \
                 CertificateRequired (116), a certificate is demanded",
                "Give this client an identity",
            );
            server.expect("refused").expect(
                TlsErrorKind::NoCertificate,
                "the client presented no certificate and must have one",
                "Give the client an identity",
            );

            let device = Authority::new("another").client("device.test");
            let (client, server) = demanding(Some(device.identity()));
            client.expect("refused").expect(
                TlsErrorKind::CertificateRefused,
                &format!(
                    "the server refuses the certificate of this client, {ours}: alert UnknownCA (48), \
                     the authority that issued the certificate is not known"
                ),
                "Have the server trust the issuer for clients",
            );
            server.expect("refused").expect(
                TlsErrorKind::UnknownIssuer,
                "the client's certificate was issued by none of the trusted authorities: \
                 \"CN=device.test\" was issued by \"CN=another\", which is neither trusted nor among \
                 the 1 certificate(s) that the client sent",
                "have the client send its certificate too",
            );
        });
    }
}

#[test]
fn what_answers_in_place_of_tls_is_guessed_from_its_first_bytes() {
    let table: [(bool, &[u8], &str, &str); 5] = [
        (
            true,
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "the server does not speak TLS: it speaks HTTP, its first bytes are \"HTTP/1.1 400 Bad\"",
            "A web server or a proxy answers",
        ),
        (
            true,
            b"SSH-2.0-OpenSSH\r\n",
            "the server does not speak TLS: it speaks SSH, its first bytes are \"SSH-2.0-OpenSSH\\r\"",
            "Check the port",
        ),
        (
            true,
            b"\x20\x02\0\x05",
            "the server does not speak TLS: it speaks MQTT in plain text, its first bytes are \
             \" \\u{2}\\0\\u{5}\"",
            "The port is one for plain text",
        ),
        (
            false,
            b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02ab",
            "the client does not speak TLS: it speaks MQTT in plain text, its first bytes are \
             \"\\u{10}\\u{e}\\0\\u{4}MQTT\\u{4}\\u{2}\\0<\\0\\u{2}ab\"",
            "have it dial mqtts://",
        ),
        (
            false,
            b"GET / HTTP/1.1\r\n\r\n",
            "the client does not speak TLS: it speaks HTTP, its first bytes are \"GET / HTTP/1.1\\r\\n\"",
            "a scanner or a browser",
        ),
    ];
    for (is_client, bytes, text, remedy) in table {
        paused(move || {
            let (client, server) = options();
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            (&theirs).write_all(bytes).expect("room");
            let outcome = if is_client {
                Socket::tls_client(ours, &client.build().expect("options"), SERVER_NAME)
            } else {
                Socket::tls_server(ours, &server.build().expect("options"))
            };
            let told = told(&outcome.expect_err("not TLS"));
            told.expect(TlsErrorKind::NotTls, text, remedy);
        });
    }
}

#[test]
fn a_peer_that_hangs_up_gives_a_reason_to_look_for() {
    for version in VERSIONS {
        paused(move || {
            let (client, server) = options();
            let client = client.version(version).build().expect("options");
            let server = server.build().expect("options");
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            theirs.shutdown(fiber::net::Shutdown::Write);
            let outcome = Socket::tls_client(ours, &client, SERVER_NAME);
            told(&outcome.expect_err("closed")).expect(
                TlsErrorKind::ClosedInHandshake,
                "the server closed the connection in the middle of the TLS handshake",
                "Check that the port is one for TLS (MQTT: 8883)",
            );
            let (client, server) = shake(&client, &server, ROOMY);
            drop(server);
            let mut bytes = Vec::new();
            let outcome = (&client.expect("a client")).read_to_end(&mut bytes);
            told(&outcome.expect_err("cut off")).expect(
                TlsErrorKind::Truncated,
                "the stream was cut off: the server closed the connection without close_notify",
                "may have hung up on the client's certificate",
            );
        });
    }
}

#[test]
fn sides_without_a_version_in_common_are_told_which_there_are() {
    let [old, new] = VERSIONS;
    for (one, other) in [(old, new), (new, old)] {
        paused(move || {
            let (client, server) = options();
            let (client, server) = meet(one, client, server.version(other), SERVER_NAME);
            for told in [client.expect("refused"), server.expect("refused")] {
                assert_eq!(told.kind, TlsErrorKind::Incompatible, "{told:?}");
                assert!(
                    told.text.contains("have no way of TLS in common: "),
                    "{told:?}"
                );
                assert!(told.remedy.contains("Allow TLS 1.2 or 1.3"), "{told:?}");
            }
        });
    }
}
