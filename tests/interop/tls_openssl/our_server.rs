//! Our server with `openssl s_client`.

use super::*;
use crate::peers;

fn server(pki: &Pki) -> ServerTlsOptions {
    ServerTlsOptions::new(identity(&pki.server))
}

#[test]
fn our_server_and_openssl_talk_and_close_in_both_versions() {
    let Some(peers) = peers() else { return };
    for (version, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let (listener, connect) = listen(server(&pki));
            let args = [flag, "-verify_hostname", "localhost"];
            let mut openssl = openssl_client(&peers, (&pki, None), &connect, &args);
            let socket = meet(&listener).unwrap();
            assert_eq!(socket.tls_version(), Some(version));
            openssl.hear("Verify return code: 0 (ok)");
            talk(&socket, &mut openssl, "first");
            openssl.running.type_in("Q\n");
            assert_eq!((&socket).read(&mut [0]).unwrap(), 0);
            drop(socket);

            let mut openssl = openssl_client(&peers, (&pki, None), &connect, &args);
            let socket = meet(&listener).unwrap();
            talk(&socket, &mut openssl, "second");
            socket.close().unwrap();
            openssl.hear("closed");
            assert!(!openssl.has_said("unexpected eof"));
        });
    }
}

#[test]
fn a_client_of_openssl_that_dies_is_told_from_one_that_ended() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let (listener, connect) = listen(server(&pki));
            let mut openssl = openssl_client(&peers, (&pki, None), &connect, &[flag]);
            let socket = meet(&listener).unwrap();
            talk(&socket, &mut openssl, "word");
            openssl.running.kill();
            let error = (&socket).read(&mut [0]).unwrap_err();
            expect_any(&error, TlsErrorKind::Truncated, &["without close_notify"]);
        });
    }
}

#[test]
fn our_server_demands_a_certificate_of_openssl() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let (listener, connect) = listen(server(&pki).require_client_certificate(trust(&pki)));
            let known = (&pki, Some(&pki.client));
            let mut openssl = openssl_client(&peers, known, &connect, &[flag]);
            talk(&meet(&listener).unwrap(), &mut openssl, "known");

            let mut openssl = openssl_client(&peers, (&pki, None), &connect, &[flag]);
            let error = meet(&listener).unwrap_err();
            expect(
                &error,
                TlsErrorKind::NoCertificate,
                &["presented no certificate"],
            );
            openssl.hear("alert");

            let unknown = (&pki, Some(&pki.wrong_authority_client));
            let mut openssl = openssl_client(&peers, unknown, &connect, &[flag]);
            let error = meet(&listener).unwrap_err();
            let found = TlsError::of(&error).map(TlsError::kind);
            let refused = [TlsErrorKind::BadCertificate, TlsErrorKind::UnknownIssuer];
            assert!(refused.map(Some).contains(&found), "{error}");
            openssl.hear("alert");
        });
    }
}

#[test]
fn what_openssl_has_against_our_certificate_is_told_to_our_server() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let hostname = ["-verify_hostname", "localhost"];
            let cases = [
                (&pki.expired_server, "CertificateExpired"),
                (&pki.wrong_name_server, ""),
                (&pki.wrong_authority_server, ""),
            ];
            for (own, alert) in cases {
                let (listener, connect) = listen(ServerTlsOptions::new(identity(own)));
                let args = [&[flag], &hostname[..]].concat();
                let mut openssl = openssl_client(&peers, (&pki, None), &connect, &args);
                // With TLS 1.3 too our server waits for the client's part.
                let error = meet(&listener).unwrap_err();
                let kind = TlsError::of(&error).map(TlsError::kind);
                let told = [TlsErrorKind::CertificateRefused, TlsErrorKind::Alert];
                assert!(told.map(Some).contains(&kind), "{error}");
                assert!(error.to_string().contains(alert), "{error}");
                openssl.hear("certificate verify failed");
            }
        });
    }
}

#[test]
fn an_application_protocol_is_agreed_on_with_a_client_of_openssl_or_refused() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let (listener, connect) = listen(server(&pki).alpn(["mqtt"]));
            let args = [flag, "-alpn", "x-other,mqtt"];
            let mut openssl = openssl_client(&peers, (&pki, None), &connect, &args);
            let socket = meet(&listener).unwrap();
            assert_eq!(socket.alpn(), Some(&b"mqtt"[..]));
            openssl.hear("ALPN protocol: mqtt");

            let args = [flag, "-alpn", "x-other"];
            let mut openssl = openssl_client(&peers, (&pki, None), &connect, &args);
            let error = meet(&listener).unwrap_err();
            expect(&error, TlsErrorKind::AlpnNotAgreed, &["ALPN"]);
            openssl.hear("no application protocol");
        });
    }
}

#[test]
fn openssl_resumes_its_session_with_our_server() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let (listener, connect) = listen(server(&pki));
            let folder = TempDir::new("session");
            let file = folder.path().join("session");
            let file = file.to_str().unwrap();
            for (option, found) in [("-sess_out", "New, TLSv1"), ("-sess_in", "Reused, TLSv1")] {
                let args = [flag, option, file];
                let mut openssl = openssl_client(&peers, (&pki, None), &connect, &args);
                let socket = meet(&listener).unwrap();
                openssl.hear(found);
                // With TLS 1.3 the ticket comes after the handshake, and with the word.
                talk(&socket, &mut openssl, "word");
                openssl.running.type_in("Q\n");
                assert_eq!((&socket).read(&mut [0]).unwrap(), 0);
                drop(socket);
                openssl.running.finish(PROCESS_TIMEOUT).unwrap();
            }
        });
    }
}

#[test]
fn a_client_of_openssl_changes_its_keys_and_asks_our_server_to() {
    let Some(peers) = peers() else { return };
    run(move || {
        let pki = Pki::new();
        let (listener, connect) = listen(server(&pki));
        let mut openssl = openssl_client(&peers, (&pki, None), &connect, &["-tls1_3"]);
        let socket = meet(&listener).unwrap();
        openssl.hear("Verify return code: 0 (ok)");
        talk(&socket, &mut openssl, "first keys");
        for command in ["k\n", "K\n", "K\n", "k\n"] {
            openssl.running.type_in(command);
            openssl.hear("KEYUPDATE");
            talk(&socket, &mut openssl, "next keys");
        }
    });
}

#[test]
fn a_client_of_openssl_may_not_renegotiate() {
    let Some(peers) = peers() else { return };
    run(move || {
        let pki = Pki::new();
        let (listener, connect) = listen(server(&pki));
        let mut openssl = openssl_client(&peers, (&pki, None), &connect, &["-tls1_2"]);
        let socket = meet(&listener).unwrap();
        talk(&socket, &mut openssl, "before");
        openssl.running.type_in("R\n");
        let outcome = (&socket).read(&mut [0]);
        openssl.hear("no renegotiation");
        assert!(matches!(outcome, Ok(0) | Err(_)), "{outcome:?}");
    });
}
