//! Switches that turn a part of the check off: loud, visible, and no wider than they say.

use std::slice;

use fiber::net::TcpStream;
use safe_rt::{
    ClientTls, ClientTlsOptions, Incoming, Listener, Pin, ServerTlsOptions, Socket, TlsErrorKind,
    TlsVersion, Trust,
};

use crate::alone::warnings;
use crate::handshake::kind;
use crate::pki::{Authority, Leaf, SERVER_NAME, VALID, Validity, authority_and_server};
use crate::support::{ROOMY, paused, shake, shake_over};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

#[test]
fn a_dangerous_configuration_shows_it_and_checks_the_rest() {
    for version in VERSIONS {
        paused(move || {
            let (authority, server) = authority_and_server();
            let others = Authority::new("unknown");
            let expired = others.server(&["other.test"], Validity(2000, 2001));
            let unknown = others.server(&["other.test"], VALID);
            let with = |leaf: &Leaf| {
                let options = ServerTlsOptions::new(leaf.identity()).build();
                options.expect("options")
            };
            let (server, expired, unknown) = (with(&server), with(&expired), with(&unknown));
            let options = ClientTlsOptions::new(authority.trust()).version(version);

            let usual = options.clone().build().expect("options");
            assert!(!usual.is_dangerous());
            let (socket, _) = shake(&usual, &server, ROOMY);
            assert!(!socket.expect("a client").is_dangerous());

            let any = options.clone().danger().accept_any_certificate();
            let any = any.build().expect("options");
            assert!(any.is_dangerous() && format!("{any:?}").contains("AnyCertificate"));
            let (socket, _) = shake(&any, &expired, ROOMY);
            assert!(socket.expect("a client").is_dangerous());

            let any_name = options.danger().accept_any_name().build().expect("options");
            assert!(any_name.is_dangerous() && format!("{any_name:?}").contains("AnyName"));
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let (socket, _) = shake_over(&any_name, &server, ours, theirs, "other.test");
            assert!(socket.expect("a client").is_dangerous());
            let (socket, _) = shake(&any_name, &unknown, ROOMY);
            let error = socket.expect_err("nobody's");
            assert_eq!(kind(&error), Some(TlsErrorKind::UnknownIssuer));
        });
    }
}

#[test]
fn with_any_name_pins_and_revocation_lists_hold_all_the_same() {
    paused(|| {
        let (authority, server) = authority_and_server();
        let revoked = authority.crl(slice::from_ref(&server.serial), VALID);
        let revoked = authority.trust().crl_pem(revoked.as_bytes());
        let pinned = Trust::pins([Pin::from_sha256([1; 32])]).expect("a pin");
        let pinned = authority.trust().also(pinned);
        for (trust, expected) in [
            (revoked, TlsErrorKind::Revoked),
            (pinned, TlsErrorKind::PinMismatch),
        ] {
            let options = ClientTlsOptions::new(trust.expect("a trust"));
            let client = options.danger().accept_any_name().build().expect("options");
            let server = ServerTlsOptions::new(server.identity()).build();
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let server = server.expect("options");
            let (socket, _) = shake_over(&client, &server, ours, theirs, "other.test");
            assert_eq!(kind(&socket.expect_err("refused")), Some(expected));
        }
    });
}

type Switch = fn(ClientTlsOptions) -> ClientTlsOptions;

/// The switches, and what is said of each.
const SWITCHES: [(Switch, &str); 2] = [
    (
        |options| options.danger().accept_any_certificate(),
        "every certificate of the server is accepted",
    ),
    (
        |options| options.danger().accept_any_name(),
        "the certificate of the server may be for any name",
    ),
];

fn build(options: ClientTlsOptions) -> ClientTls {
    options.build().expect("options")
}

#[test]
fn a_switch_is_logged_when_it_is_built_in_and_at_every_handshake_also_a_resumed_one() {
    for version in VERSIONS {
        for (switch, said) in SWITCHES {
            let lines = warnings(move || {
                paused(move || {
                    let (authority, server) = authority_and_server();
                    let server = ServerTlsOptions::new(server.identity()).build();
                    let server = server.expect("options");
                    let options = ClientTlsOptions::new(authority.trust()).version(version);
                    let client = build(switch(options));
                    for resumed in [false, true] {
                        let (ours, theirs) = shake(&client.clone(), &server, ROOMY);
                        let (ours, theirs) = (ours.expect("a client"), theirs.expect("a server"));
                        assert_eq!(ours.is_resumed(), resumed);
                        assert!(ours.is_dangerous() && !theirs.is_dangerous());
                        crate::resumption::exchange(&theirs, &ours);
                    }
                    // Also one that fails.
                    let (ours, theirs) = fiber::net::pipe(ROOMY);
                    drop(theirs);
                    Socket::tls_client(ours, &client, "other.test").expect_err("nobody there");
                });
            });
            let handshake = format!("WARN a dangerous TLS handshake with {SERVER_NAME}: {said}");
            let expected = [
                format!("WARN a TLS configuration is dangerous: {said}"),
                handshake.clone(),
                handshake,
                format!("WARN a dangerous TLS handshake with other.test: {said}"),
            ];
            assert_eq!(lines, expected);
        }
    }
}

#[test]
fn the_address_is_logged_with_it_and_without_a_switch_nothing_is() {
    for switch in [None, Some(SWITCHES[0])] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let lines = warnings(move || {
            fiber::run(move || {
                let (authority, server) = authority_and_server();
                let server = ServerTlsOptions::new(server.identity()).build();
                let any = ([127, 0, 0, 1], 0).into();
                let listener = Listener::bind_tls(any, server.expect("options"));
                let listener = listener.expect("a port");
                let address = listener.local_addr().expect("an address");
                sender.send(address).expect("it is waited for");
                let serve = move || listener.accept().and_then(Incoming::handshake).map(drop);
                let mut serving = fiber::spawn(serve).expect("a fiber");
                let options = ClientTlsOptions::new(authority.trust());
                let client = build(match switch {
                    Some((switch, _)) => switch(options),
                    None => options,
                });
                let stream = TcpStream::connect(address).expect("a connection");
                let socket = Socket::tls_client(stream, &client, SERVER_NAME);
                let socket = socket.expect("a client");
                assert_eq!(socket.is_dangerous(), switch.is_some());
                assert_eq!(client.is_dangerous(), switch.is_some());
                assert_eq!(format!("{client:?}").contains("danger"), switch.is_some());
                serving.join().expect("its outcome").expect("a handshake");
            })
            .expect("the runtime ran");
        });
        let address = receiver.recv().expect("an address");
        let expected = switch.map(|(_, said)| {
            [
                format!("WARN a TLS configuration is dangerous: {said}"),
                format!("WARN a dangerous TLS handshake with {SERVER_NAME} at {address}: {said}"),
            ]
        });
        assert_eq!(lines, expected.into_iter().flatten().collect::<Vec<_>>());
    }
}
