//! Our client at `openssl s_server`.

use super::*;
use crate::peers;

#[test]
fn our_client_and_openssl_talk_and_close_in_both_versions() {
    let Some(peers) = peers() else { return };
    for (version, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let mut server = OpensslServer::start(&peers, &pki, &pki.server, &[flag]);
            for host in ["localhost", "127.0.0.1"] {
                let socket = server.dial(host, client(&pki)).unwrap();
                assert_eq!(socket.tls_version(), Some(version));
                talk(&socket, &mut server.openssl, host);
                socket.close().unwrap();
                server.openssl.hear("DONE");
            }
            assert!(!server.openssl.has_said("ERROR"));
        });
    }
}

#[test]
fn an_end_of_openssl_is_one_and_a_connection_that_it_drops_is_cut_off() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let server = OpensslServer::start(&peers, &pki, &pki.server, &[flag, "-www"]);
            let socket = server.dial("localhost", client(&pki)).unwrap();
            say(&socket, "GET / HTTP/1.0\r\n\r\n");
            let mut page = String::new();
            (&socket).read_to_string(&mut page).unwrap();
            assert!(page.starts_with("HTTP/1.0 200 "), "{page}");

            let mut server = OpensslServer::start(&peers, &pki, &pki.server, &[flag]);
            for how in ["q\n", ""] {
                let socket = server.dial("localhost", client(&pki)).unwrap();
                talk(&socket, &mut server.openssl, "before");
                match how {
                    "" => server.openssl.running.kill(),
                    command => server.openssl.running.type_in(command),
                }
                let error = (&socket).read(&mut [0]).unwrap_err();
                expect_any(&error, TlsErrorKind::Truncated, &["without close_notify"]);
            }
        });
    }
}

#[test]
fn openssl_sees_whether_our_client_ended_or_vanished() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let mut server = OpensslServer::start(&peers, &pki, &pki.server, &[flag]);
            let socket = server.dial("localhost", client(&pki)).unwrap();
            talk(&socket, &mut server.openssl, "before");
            drop(socket);
            server.openssl.hear("unexpected eof");
            // It goes on, and so does a reader of a half-closed connection.
            let socket = server.dial("localhost", client(&pki)).unwrap();
            talk(&socket, &mut server.openssl, "after");
            socket.shutdown_write().unwrap();
            server.openssl.hear("DONE");
            assert_eq!((&socket).read(&mut [0]).unwrap(), 0);
        });
    }
}

#[test]
fn openssl_chooses_by_the_name_that_our_client_sends() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            // For the name it has a certificate of its own; without it the one for another name.
            let folder = TempDir::new("servername");
            let (certificate, key) = pki.server.write(&folder, "named");
            let named = [certificate.to_str().unwrap(), key.to_str().unwrap()];
            let args = [flag, "-servername", "localhost", "-servername_fatal"];
            let args = [&args[..], &["-cert2", named[0], "-key2", named[1]]].concat();
            let mut server = OpensslServer::start(&peers, &pki, &pki.wrong_name_server, &args);
            let socket = server.dial("localhost", client(&pki)).unwrap();
            talk(&socket, &mut server.openssl, "named");
            drop(socket);
            // An address is not sent, so the other certificate comes.
            let error = server.dial("127.0.0.1", client(&pki)).unwrap_err();
            let words = ["127.0.0.1", "wrong.example"];
            expect(&error, TlsErrorKind::NameMismatch, &words);

            let args = [flag, "-servername", "else.example", "-servername_fatal"];
            let args = [&args[..], &["-cert2", named[0], "-key2", named[1]]].concat();
            let server = OpensslServer::start(&peers, &pki, &pki.server, &args);
            let error = server.dial("localhost", client(&pki)).unwrap_err();
            expect(&error, TlsErrorKind::Alert, &["UnrecognisedName"]);
        });
    }
}

#[test]
fn an_application_protocol_is_agreed_on_with_openssl_or_refused() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let wanting = |protocol: &str| client(&pki).alpn([protocol, "second"]).require_alpn();
            let args = [flag, "-alpn", "x-other,second,mqtt"];
            let mut server = OpensslServer::start(&peers, &pki, &pki.server, &args);
            let socket = server.dial("localhost", wanting("mqtt")).unwrap();
            // The server's order counts.
            assert_eq!(socket.alpn(), Some(&b"second"[..]));
            talk(&socket, &mut server.openssl, "agreed");
            socket.close().unwrap();

            // One that knows none of them refuses, and one that knows none at all is refused.
            let args = [flag, "-alpn", "x-other"];
            let server = OpensslServer::start(&peers, &pki, &pki.server, &args);
            let error = server.dial("localhost", wanting("mqtt")).unwrap_err();
            expect(&error, TlsErrorKind::AlpnNotAgreed, &["ALPN"]);
            let server = OpensslServer::start(&peers, &pki, &pki.server, &[flag]);
            let error = server.dial("localhost", wanting("mqtt")).unwrap_err();
            expect(&error, TlsErrorKind::AlpnNotAgreed, &["ALPN"]);
        });
    }
}

#[test]
fn openssl_demands_a_certificate_of_our_client() {
    let Some(peers) = peers() else { return };
    for (version, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let args = [flag, "-Verify", "2", "-verify_return_error"];
            let mut server = OpensslServer::start(&peers, &pki, &pki.server, &args);
            let known = client(&pki).identity(identity(&pki.client));
            let socket = server.dial("localhost", known).unwrap();
            talk(&socket, &mut server.openssl, "known");
            socket.close().unwrap();
            server.openssl.hear("DONE");

            let unknown = client(&pki).identity(identity(&pki.wrong_authority_client));
            for (tls, known_nothing) in [(unknown, false), (client(&pki), true)] {
                let outcome = server.dial("localhost", tls);
                let words = match known_nothing {
                    true => "has no certificate to show",
                    false => "refuses the certificate of this client",
                };
                let refused = (TlsErrorKind::CertificateRefused, words);
                // With TLS 1.3 the first read tells, and with TLS 1.2 a lack of one has no alert of
                // its own.
                match (version, known_nothing) {
                    (TlsVersion::Tls12, true) => {
                        let error = outcome.unwrap_err();
                        expect(&error, TlsErrorKind::Alert, &["HandshakeFailure"]);
                    }
                    (TlsVersion::Tls12, false) => {
                        expect(&outcome.unwrap_err(), refused.0, &[refused.1]);
                    }
                    _ => {
                        let error = (&outcome.unwrap()).read(&mut [0]).unwrap_err();
                        expect_any(&error, refused.0, &[refused.1]);
                    }
                }
                server.openssl.hear("ERROR");
            }
        });
    }
}

#[test]
fn what_is_wrong_with_a_certificate_of_openssl_is_said_and_told_to_it() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let cases = [
                (
                    &pki.wrong_authority_server,
                    TlsErrorKind::BadCertificate,
                    "",
                    "alert",
                ),
                (
                    &pki.expired_server,
                    TlsErrorKind::Expired,
                    "expired",
                    "certificate expired",
                ),
                (
                    &pki.wrong_name_server,
                    TlsErrorKind::NameMismatch,
                    "wrong.example",
                    "bad certificate",
                ),
            ];
            for (own, kind, word, told) in cases {
                let mut server = OpensslServer::start(&peers, &pki, own, &[flag]);
                let error = server.dial("localhost", client(&pki)).unwrap_err();
                expect(&error, kind, &["localhost", word]);
                server.openssl.hear(told);
            }
        });
    }
}

#[test]
fn our_client_resumes_its_session_with_openssl() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let mut server = OpensslServer::start(&peers, &pki, &pki.server, &[flag]);
            let (endpoint, options) = server.way("localhost", client(&pki));
            for word in ["first", "second"] {
                let socket = safe_rt::dial(&endpoint, &options).unwrap();
                talk(&socket, &mut server.openssl, word);
                assert_eq!(server.openssl.has_said("Reused session"), word == "second");
                socket.close().unwrap();
                server.openssl.hear("DONE");
            }
        });
    }
}

#[test]
fn openssl_changes_its_keys_and_asks_our_client_to() {
    let Some(peers) = peers() else { return };
    run(move || {
        let pki = Pki::new();
        let mut server = OpensslServer::start(&peers, &pki, &pki.server, &["-tls1_3"]);
        let socket = server.dial("localhost", client(&pki)).unwrap();
        talk(&socket, &mut server.openssl, "first keys");
        for command in ["k\n", "K\n", "K\n", "k\n"] {
            server.openssl.running.type_in(command);
            talk(&socket, &mut server.openssl, "next keys");
        }
        socket.close().unwrap();
        server.openssl.hear("DONE");
    });
}

#[test]
fn openssl_may_not_renegotiate_with_our_client() {
    let Some(peers) = peers() else { return };
    run(move || {
        let pki = Pki::new();
        let mut server = OpensslServer::start(&peers, &pki, &pki.server, &["-tls1_2"]);
        let socket = server.dial("localhost", client(&pki)).unwrap();
        talk(&socket, &mut server.openssl, "before");
        server.openssl.running.type_in("r\n");
        // Our client says no and goes on; OpenSSL takes that for a failure.
        let error = (&socket).read(&mut [0]);
        server.openssl.hear("no renegotiation");
        assert!(matches!(error, Ok(0) | Err(_)), "{error:?}");
    });
}

#[test]
fn what_openssl_sends_beside_tls_is_refused() {
    let Some(peers) = peers() else { return };
    for (_, flag) in VERSIONS {
        let peers = peers.clone();
        run(move || {
            let pki = Pki::new();
            let mut server = OpensslServer::start(&peers, &pki, &pki.server, &[flag]);
            let socket = server.dial("localhost", client(&pki)).unwrap();
            talk(&socket, &mut server.openssl, "before");
            // It sends a line that is not encrypted.
            server.openssl.running.type_in("P\n");
            let error = (&socket).read(&mut [0]).unwrap_err();
            expect_any(&error, TlsErrorKind::NotTls, &["does not speak TLS"]);
        });
    }
}
